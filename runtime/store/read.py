"""Reading beside the owner, or without one: sync, read-only, never a writer, never a checkpoint."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

PAGE = 1000


def connect(db_path: Path, *, busy_s: float = 0.25) -> sqlite3.Connection:
    """A read-only connection. Keep its transactions short: an open one pins the WAL.

    Raises StateDirUnusable where there is no database, NewerDatabase."""
    raise NotImplementedError


def events_since(db_path: Path, seq: int, limit: int = PAGE) -> list[dict[str, Any]]:
    """The canonical events after `seq`, oldest first, at most `limit`."""
    raise NotImplementedError
