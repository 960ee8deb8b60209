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

# `a` ends when what has opened the pipe for writing closes it.
_READS = """
[run]
name = "reads"
[workstreams.w.tasks.a]
command = ["cat", "pipe"]
[workstreams.w.tasks.b]
command = ["true"]
depends_on = ["a"]
"""


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
    _plan(tmp_path, _READS)
    run = subprocess.Popen(
        _DEAF_RUN, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with (tmp_path / "pipe").open("w"):  # returns once the command reads
        run.send_signal(signal.SIGHUP)
    assert run.wait(20) == 0


def test_what_it_writes_is_private_also_where_the_folder_is_not(tmp_path: Path) -> None:
    _plan(
        tmp_path,
        """
        [run]
        name = "private"
        [workstreams.w.tasks.a]
        command = ["echo", "one word"]
        """,
    )
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    assert banksman("run", "p.toml", "--state-dir", str(state), cwd=tmp_path).code == 0
    seen = [path for path in state.rglob("*") if path.name != ".gitignore"]
    assert {path for path in seen if path.stat().st_mode & 0o077} == set()


def test_a_signal_that_timeout_hands_on_twice_drains_and_kills_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    _plan(tmp_path, _READS)
    with subprocess.Popen(
        [BANKSMAN, "run", "p.toml"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        with (tmp_path / "pipe").open("w"):
            run.send_signal(signal.SIGTERM)
            run.send_signal(signal.SIGHUP)
            assert any("draining" in line for line in run.stdout)
        assert "killing" not in run.stdout.read()
        assert run.wait(20) == 130
    assert [task["state"] for task in banksman("tasks", "--json", cwd=tmp_path).json] == [
        "completed",
        "queued",
    ]


def test_retry_of_a_run_does_what_was_cancelled_in_a_workstream_that_completed(
    tmp_path: Path,
) -> None:
    _plan(
        tmp_path,
        """
        [run]
        name = "again"
        [workstreams.w.tasks.a]
        command = ["true"]
        [workstreams.w.tasks.b]
        command = ["test", "-e", "ready"]
        critical = false
        """,
    )
    assert banksman("run", "p.toml", cwd=tmp_path).code == 0
    (tmp_path / "ready").touch()
    assert banksman("retry", "again", cwd=tmp_path).code == 0
    assert banksman("resume", cwd=tmp_path).code == 0
    tasks = banksman("tasks", "--json", cwd=tmp_path).json
    assert [(task["id"].rpartition("/")[2], task["state"]) for task in tasks] == [
        ("b", "completed")
    ]


def test_a_state_directory_named_by_a_variable_that_is_not_set_is_refused(tmp_path: Path) -> None:
    _plan(tmp_path, _READS)
    answer = banksman("run", "p.toml", "--state-dir", "", cwd=tmp_path)
    assert (answer.code, answer.err) == (
        2,
        "banksman: invalid value for '--state-dir': it is empty; see `banksman run --help`\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["p.toml"]


def test_a_false_jsonl_is_cured_by_moving_it_away(tmp_path: Path) -> None:
    _plan(tmp_path, _READS.replace('"cat", "pipe"', '"true"'))
    assert banksman("run", "p.toml", cwd=tmp_path).code == 0
    jsonl = tmp_path / ".state/transitions.jsonl"
    jsonl.write_text(jsonl.read_text().replace("created", "CREATED", 1))
    proof = banksman("verify", cwd=tmp_path)
    assert (proof.code, "move transitions.jsonl away" in proof.err) == (6, True)
    jsonl.unlink()
    assert banksman("resume", cwd=tmp_path).code == 0
    assert banksman("verify", cwd=tmp_path).code == 0
