"""The live view on a real terminal: a pseudo-terminal of a known size, read as it is written."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.commands import BANKSMAN, banksman

PLAN = """
[run]
name = "live"
[workstreams.build.tasks.a]
command = ["cat", "pipe"]
[workstreams.build.tasks.b]
command = ["echo", "b"]
depends_on = ["a"]
[workstreams.docs.tasks.c]
command = ["sh", "-c", "echo half way through the docs; cat pipe2"]
"""


class Terminal:
    """What a program writes to a terminal of `columns` by `rows`."""

    def __init__(self, handle: int, process: subprocess.Popen[bytes]) -> None:
        self.handle = handle
        self.process = process
        self.seen = b""

    def until(self, words: str) -> str:
        """Everything written so far, once `words` are in it."""
        while words.encode() not in self.seen:
            self._read(words)
        return self.seen.decode(errors="replace")

    def rest(self) -> str:
        """Everything written, once the program has ended."""
        try:
            while True:
                self._read("the end")
        except AssertionError:
            return self.seen.decode(errors="replace")

    def _read(self, wanted: str) -> None:
        try:
            chunk = os.read(self.handle, 65536)
        except OSError:  # what a terminal's other end says when the last writer is gone
            chunk = b""
        assert chunk, f"ended without {wanted!r}:\n{self.seen.decode(errors='replace')}"
        self.seen += chunk


@contextmanager
def terminal(
    *args: str, cwd: Path, columns: int = 80, rows: int = 24, **env: str
) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    known = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    with subprocess.Popen(
        [BANKSMAN, *args],
        cwd=cwd,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**known, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **env},
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            yield Terminal(ours, process)
        finally:
            process.kill()
            os.close(ours)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "live.toml").write_text(PLAN)
    for name in ("pipe", "pipe2"):
        os.mkfifo(tmp_path / name)
    return tmp_path


def let_go(here: Path) -> None:
    for name in ("pipe", "pipe2"):
        (here / name).write_text("go\n")


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


def frames(text: str) -> list[list[str]]:
    """The rows of each frame: every one begins where the last did."""
    parts = re.split(r"\x1b\[\d+A\r", text)
    return [[plain(row) for row in part.split("\x1b[K\r\n")[:-1]] for part in parts[1:]]


def test_a_terminal_shows_workstreams_and_what_runs_with_its_last_line(here: Path) -> None:
    with terminal("run", "live.toml", cwd=here) as shown:
        shown.until("half way through the docs")
        let_go(here)
        text = shown.rest()
        assert shown.process.wait(30) == 0
    last = frames(text)[-2]
    assert any("build" in row for row in last)
    assert "completed  3/3 done" in plain(text)


def test_a_frame_stays_within_its_terminal(here: Path) -> None:
    for columns, rows in ((80, 24), (200, 50), (40, 10)):
        state_dir = f".state-{columns}"
        with terminal(
            "run", "live.toml", "--state-dir", state_dir, cwd=here, columns=columns, rows=rows
        ) as shown:
            let_go(here)
            text = shown.rest()
        for frame in frames(text)[:-1]:
            assert len(frame) < rows
            assert max(map(len, frame), default=0) < columns


def test_the_view_changes_no_mode_of_the_terminal(here: Path) -> None:
    with terminal("run", "live.toml", cwd=here) as shown:
        shown.until("half way")
        let_go(here)
        text = shown.rest()
    assert "\x1b[?" not in text  # no hidden cursor, no other screen: kill -9 leaves no mess


def test_colours_are_left_out_when_told_so(here: Path) -> None:
    with terminal("run", "live.toml", cwd=here, NO_COLOR="1") as shown:
        shown.until("half way")
        let_go(here)
        text = shown.rest()
    assert not re.search(r"\x1b\[(3[0-7]|9[0-7]|38;)[0-9;]*m", text)


def test_a_dumb_terminal_gets_lines(here: Path) -> None:
    with terminal("run", "live.toml", cwd=here, TERM="dumb") as shown:
        shown.until("task docs/c  queued -> running")
        let_go(here)
        assert "\x1b" not in shown.rest()


def test_ctrl_c_says_what_is_still_running(here: Path) -> None:
    with terminal("run", "live.toml", cwd=here) as shown:
        shown.until("half way")
        shown.process.send_signal(signal.SIGINT)
        text = plain(shown.until("draining: nothing more starts"))
        assert "docs/c" in text
        let_go(here)
        shown.rest()
        assert shown.process.wait(30) == 130


def test_a_tool_cannot_write_to_the_terminal_behind_the_view(here: Path) -> None:
    hostile = "printf '\\\\033]0;owned\\\\007\\\\033[2Jgone half way\\\\n'; cat pipe2"
    (here / "live.toml").write_text(
        PLAN.replace("echo half way through the docs; cat pipe2", hostile)
    )
    with terminal("run", "live.toml", cwd=here) as shown:
        shown.until("gone half way")
        let_go(here)
        text = shown.rest()
    assert "\x1b]0;" not in text
    with terminal("logs", "docs/c", cwd=here) as logs:
        printed = logs.rest()
    assert "gone half way" in printed
    assert "\x1b]0;" not in printed
    assert "\x1b]0;" in banksman("logs", "docs/c", cwd=here).out
