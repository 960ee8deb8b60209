"""Runs the installed command as a person would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

BANKSMAN = str(Path(sys.executable).parent / "banksman")


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def banksman(
    *args: str, cwd: Path | None = None, env: dict[str, str] | None = None, timeout_s: float = 60
) -> Answer:
    """Its exit code and both streams. Whatever happens, it is no traceback."""
    done = subprocess.run(
        [BANKSMAN, *args],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Answer(done.returncode, done.stdout, done.stderr)


class Going:
    """A command that goes on, read line by line: waiting for a line is waiting for what it says."""

    def __init__(self, *args: str, cwd: Path) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [BANKSMAN, *args],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Going:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def until(self, words: str) -> str:
        """The first further line with these words. Fails where the command ends without one."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if words in line:
                return line
        raise AssertionError(f"never said {words!r}, but:\n{''.join(self.lines)}")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Its exit code, once it has ended by itself."""
        assert self.process.stdout is not None
        self.lines += self.process.stdout
        code = self.process.wait(60)
        assert "Traceback" not in self.said, self.said
        return code

    @property
    def said(self) -> str:
        return "".join(self.lines)
