"""The one connection that writes, its thread, and what SQLite's refusals mean.

aiosqlite gives each call to a thread of its own; here a whole job, with its BEGIN and COMMIT, is
one call.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from runtime.store.errors import (
    ConstraintFailed,
    Damaged,
    StateDirUnusable,
    StoreBusy,
    StoreError,
    StoreFull,
)

T = TypeVar("T")

_JOB = ":batch:"
# Larger than SQLite's own: fewer frames for the bulk, and as quick for a single row.
PAGE_SIZE = 8192
# In pages: a safety net, for checkpoints are the owner's at idle moments.
_WAL_PAGES_MAX = 4000
_WAL_BYTES_KEPT = 64 << 20
# More than there are statements, of all sizes together.
_STATEMENTS_MAX = 512


class _Connection(sqlite3.Connection):
    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        """`:batch:` runs the callable `parameters` in the connection's thread, in one hop."""
        if sql == _JOB:
            parameters(self)
            return self.cursor()
        return super().executemany(sql, parameters)


class Thread:
    """A connection to `path` in a thread of its own. Jobs run there one by one, in order, each to
    its end, whatever becomes of its caller."""

    def __init__(self, path: Path, busy_s: float) -> None:
        """`busy_s`: how long a foreign lock on the database is waited for."""
        self._path = path
        self._busy_s = busy_s
        self._db: aiosqlite.Connection | None = None
        self._back: asyncio.Event | None = None  # while it is opened anew

    async def open(self) -> None:
        """Raises what `run` raises."""
        if not self._path.exists():
            # SQLite would let everybody read it, and gives its WAL the rights that it has.
            with suppress(OSError):  # SQLite fails likewise, and says so
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))
        try:
            self._db = await aiosqlite.connect(
                self._path,
                factory=_Connection,
                isolation_level=None,
                cached_statements=_STATEMENTS_MAX,
                timeout=self._busy_s,
            )
        except sqlite3.Error as error:
            raise self._or_unusable(error) from error

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Raises what the job raises, and what SQLite raises as StoreBusy, StoreFull, Damaged or
        StateDirUnusable."""
        while self._back is not None:
            await self._back.wait()
        if self._db is None:
            raise StateDirUnusable(self._path, "it is closed", "open the state directory again")
        result: list[T] = []
        try:
            await self._db.executemany(_JOB, lambda db: result.append(job(db)))
        except sqlite3.Error as error:
            raise self._or_unusable(error) from error
        return result[0]

    async def reopen(self) -> None:
        """Closes it and opens it anew; whoever comes meanwhile waits. Raises what `run` raises."""
        back = self._back = asyncio.Event()
        try:
            await self.close()
            await self.open()
        finally:
            self._back = None
            back.set()

    async def close(self) -> None:
        """Idempotent."""
        db, self._db = self._db, None
        if db is not None:
            await db.close()

    def meaning(self, error: Exception) -> StoreError | None:
        """What an error within a transaction means where it says so itself: nothing was written
        then. None: the caller must say."""
        if isinstance(error, StoreError):
            return error
        if isinstance(error, OverflowError | ValueError):
            # What SQLite cannot bind: an integer beyond 64 bits, a lone surrogate.
            return ConstraintFailed(str(error))
        if isinstance(error, sqlite3.ProgrammingError) and "binding parameter" in str(error):
            # An object where a column wants text or a number.
            return ConstraintFailed(str(error))
        if not isinstance(error, sqlite3.Error) or not hasattr(error, "sqlite_errorcode"):
            return None
        primary = error.sqlite_errorcode & 0xFF
        if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return StoreBusy(self._path, self._busy_s)
        if primary == sqlite3.SQLITE_FULL:
            return StoreFull(self._path)
        if primary in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            return Damaged(self._path, str(error))
        if primary in {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH}:
            return ConstraintFailed(str(error))
        return None

    def _or_unusable(self, error: sqlite3.Error) -> StoreError:
        cure = "look at the disk and at the rights of the directory"
        return self.meaning(error) or StateDirUnusable(self._path, str(error), cure)


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
