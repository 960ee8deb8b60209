"""The one connection that writes, and what SQLite's refusals mean.

aiosqlite gives each call to its thread; a whole transaction is one call here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiosqlite

from runtime.store.errors import (
    ConstraintFailed,
    Damaged,
    StateDirUnusable,
    StoreBusy,
    StoreError,
    StoreFull,
)

Job = Callable[[sqlite3.Connection], None]

_JOB = ":batch:"
# Larger than SQLite's own: fewer frames for the bulk, and as quick for a single row.
PAGE_SIZE = 8192
# In pages: a safety net, for checkpoints are the owner's at idle moments.
_WAL_PAGES_MAX = 4000
_WAL_BYTES_KEPT = 64 << 20


class _Connection(sqlite3.Connection):
    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        """`:batch:` runs the callable `parameters` in the connection's thread, in one hop."""
        if sql == _JOB:
            parameters(self)
            return self.cursor()
        return super().executemany(sql, parameters)


async def run(db: aiosqlite.Connection, job: Job) -> None:
    """Runs `job` in the thread of `db`. A cancel of the caller does not stop it."""
    await db.executemany(_JOB, job)


def connect(path: Path, busy_s: float) -> aiosqlite.Connection:
    """The connection, still to be awaited."""
    return aiosqlite.connect(
        path, factory=_Connection, isolation_level=None, cached_statements=512, timeout=busy_s
    )


def configure(db: sqlite3.Connection, path: Path, durability: str) -> None:
    """Sets what a connection does not remember. Raises StateDirUnusable without WAL."""
    db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StateDirUnusable(
            path, f"SQLite answers {mode!r} to WAL, as on a network file system", "use a local disk"
        )
    synchronous(db, full=durability == "power")
    for pragma in (
        "fullfsync = ON",
        "checkpoint_fullfsync = ON",
        f"wal_autocheckpoint = {_WAL_PAGES_MAX}",
        f"journal_size_limit = {_WAL_BYTES_KEPT}",
        "foreign_keys = ON",
        "cache_size = -16000",
        "temp_store = MEMORY",
        "mmap_size = 0",
    ):
        db.execute(f"PRAGMA {pragma}")


def synchronous(db: sqlite3.Connection, *, full: bool) -> None:
    """Whether the commits to come are synced to the disk. Only between transactions."""
    db.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")


def meaning(error: Exception, path: Path, busy_s: float) -> StoreError | None:
    """What an error of SQLite means where its code says so: nothing was written then. None: the
    caller must say."""
    if isinstance(error, StoreError):
        return error
    if not isinstance(error, sqlite3.Error) or not hasattr(error, "sqlite_errorcode"):
        # A value that SQLite cannot bind: an integer beyond 64 bits, a lone surrogate.
        return ConstraintFailed(str(error))
    primary = error.sqlite_errorcode & 0xFF
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreBusy(path, busy_s)
    if primary == sqlite3.SQLITE_FULL:
        return StoreFull(path)
    if primary in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return Damaged(path, str(error))
    if primary in {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH}:
        return ConstraintFailed(str(error))
    return None
