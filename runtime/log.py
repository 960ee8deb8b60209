"""The kernel's own log for operators: JSON lines in `<state-dir>/banksman.log`, through structlog.

Transitions are not logged here: they are in the audit and in transitions.jsonl. What stands here is
what the runtime itself met: recovery, trouble with the disk, dead letters, suspended actors.
Secrets never enter: no environment, no output of tools, no message bodies.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from runtime.limits import LOG_BYTES_MAX


class Log:
    """Opened private at the first line; past its bound it begins anew beside one old file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._logger: Any = None

    def info(self, event: str, **facts: Any) -> None:
        self._write("info", event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        self._write("warning", event, facts)

    def error(self, event: str, **facts: Any) -> None:
        self._write("error", event, facts)

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        self._file = self._logger = None

    def _write(self, level: str, event: str, facts: dict[str, Any]) -> None:
        # What it says is most needed when the disk is full, and must not end the runtime then.
        with suppress(OSError):
            getattr(self._open(), level)(event, **facts)

    def _open(self) -> Any:
        if self._logger is None:
            # Imported here: structlog costs a command line a third of a second.
            import structlog  # noqa: PLC0415

            if self._path.exists() and self._path.stat().st_size > LOG_BYTES_MAX:
                self._path.replace(self._path.with_suffix(".log.1"))
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.fdopen(os.open(self._path, flags, 0o600), "a", encoding="utf-8")
            self._logger = structlog.wrap_logger(
                structlog.WriteLogger(self._file),
                processors=[
                    structlog.processors.add_log_level,
                    structlog.processors.TimeStamper(fmt="iso", utc=True),
                    structlog.processors.JSONRenderer(default=str),
                ],
            )
        return self._logger
