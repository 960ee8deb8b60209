"""Reading beside the owner, or without one: sync, read-only, never a writer, never a checkpoint."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from runtime.store.errors import Damaged, StateDirUnusable, StoreBusy
from runtime.store.journal import events_after
from runtime.store.migrate import applied, migrations

_BUSY_S = 0.25
_PAGE = 1000
_EMPTY = "it is empty, its first opening has not come to its end, so that nothing is on record"
_decode = msgspec.json.Decoder().decode


def connect(db_path: Path, *, busy_s: float = _BUSY_S) -> sqlite3.Connection:
    """A read-only connection. Keep its transactions short: an open one pins the WAL.

    Raises StateDirUnusable where there is no database of ours, NewerDatabase, MigrationChanged,
    Damaged, StoreBusy.
    """
    if not db_path.is_file():
        raise StateDirUnusable(db_path, "there is no database", "`banksman run PLAN` makes one")
    db = _open(db_path, "mode=ro", busy_s)
    try:
        begun = applied(db, db_path, migrations())
    except sqlite3.Error as error:
        db.close()
        if _is_read_only(error) and not _wal(db_path).exists():
            # A directory that we may not write to has no owner either: the file stands still.
            return _open(db_path, "mode=ro&immutable=1", busy_s)
        raise _meaning(error, db_path, busy_s) from error
    except BaseException:
        db.close()
        raise
    if not begun:
        db.close()
        raise StateDirUnusable(db_path, _EMPTY, "`banksman resume` makes it whole")
    return db


@contextmanager
def readable(db_path: Path) -> Iterator[None]:
    """What SQLite raises while it reads, as ours: StoreBusy, Damaged, StateDirUnusable."""
    try:
        yield
    except sqlite3.Error as error:
        raise _meaning(error, db_path, _BUSY_S) from error


def events_since(db_path: Path, seq: int, limit: int = _PAGE) -> list[dict[str, Any]]:
    """The canonical events after `seq`, oldest first, at most `limit`."""
    with closing(connect(db_path)) as db, readable(db_path):
        return [_decode(line) for _, line in events_after(db, seq, limit)]


def _open(db_path: Path, how: str, busy_s: float) -> sqlite3.Connection:
    uri = f"file:{quote(str(db_path.absolute()))}?{how}"
    try:
        db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=busy_s)
        db.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        raise _meaning(error, db_path, busy_s) from error
    return db


def _is_read_only(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}


def _wal(db_path: Path) -> Path:
    return db_path.with_name(db_path.name + "-wal")


def _meaning(error: sqlite3.Error, path: Path, busy_s: float) -> Exception:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreBusy(path, busy_s)
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return Damaged(path, str(error))
    return StateDirUnusable(path, str(error), "look at the rights of the directory and its files")
