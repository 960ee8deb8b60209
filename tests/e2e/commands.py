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
