"""What a user with bad luck, or bad intentions, does to the installed command."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from textwrap import dedent

from tests.e2e.commands import BANKSMAN, banksman

# nohup, and the `&` of a script, have what they start ignore signals.
_DEAF_RUN = ["sh", "-c", "trap '' HUP INT QUIT; exec \"$0\" run p.toml", BANKSMAN]


def _plan(folder: Path, text: str, name: str = "p") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(dedent(text))
    return path


def test_a_command_inherits_no_signal_that_the_shell_had_banksman_ignore(tmp_path: Path) -> None:
    _plan(
        tmp_path,
        """
        [run]
        name = "signals"
        [workstreams.w.tasks.a]
        command = ["grep", "-E", "^SigIgn", "/proc/self/status"]
        """,
    )
    subprocess.run(_DEAF_RUN, cwd=tmp_path, check=True, capture_output=True)
    assert banksman("logs", "a", cwd=tmp_path).out.split() == ["SigIgn:", "0" * 16]


def test_under_nohup_the_end_of_the_terminal_ends_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    _plan(
        tmp_path,
        """
        [run]
        name = "hup"
        [workstreams.w.tasks.a]
        command = ["cat", "pipe"]
        [workstreams.w.tasks.b]
        command = ["true"]
        depends_on = ["a"]
        """,
    )
    run = subprocess.Popen(
        _DEAF_RUN, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with (tmp_path / "pipe").open("w"):  # returns once the command reads
        run.send_signal(signal.SIGHUP)
    assert run.wait(20) == 0
