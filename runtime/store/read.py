"""Reading beside the owner, or without one: sync, read-only, never a writer, never a checkpoint."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from runtime.store.errors import Damaged, StateDirUnusable, StoreBusy
from runtime.store.journal import events_after
from runtime.store.loading import PAGE
from runtime.store.migrate import applied, migrations

_BUSY_S = 0.25
_decode = msgspec.json.Decoder().decode


def connect(db_path: Path, *, busy_s: float = _BUSY_S) -> sqlite3.Connection:
    """A read-only connection. Keep its transactions short: an open one pins the WAL.

    Raises StateDirUnusable where there is no database of ours, NewerDatabase, MigrationChanged,
    Damaged, StoreBusy.
    """
    if not db_path.is_file():
        raise StateDirUnusable(db_path, "there is no database", "`banksman run PLAN` makes one")
    db = sqlite3.connect(_uri(db_path), uri=True, isolation_level=None, timeout=busy_s)
    try:
        db.execute("PRAGMA query_only = ON")
        applied(db, db_path, migrations())
    except sqlite3.Error as error:
        db.close()
        raise _meaning(error, db_path, busy_s) from error
    except BaseException:
        db.close()
        raise
    return db


def events_since(db_path: Path, seq: int, limit: int = PAGE) -> list[dict[str, Any]]:
    """The canonical events after `seq`, oldest first, at most `limit`."""
    with closing(connect(db_path)) as db:
        return [_decode(line) for _, line in events_after(db, seq, limit)]


def _uri(db_path: Path) -> str:
    return f"file:{quote(str(db_path.absolute()))}?mode=ro"


def _meaning(error: sqlite3.Error, path: Path, busy_s: float) -> Exception:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreBusy(path, busy_s)
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return Damaged(path, str(error))
    return StateDirUnusable(path, str(error), "look at the rights of the directory and its files")
