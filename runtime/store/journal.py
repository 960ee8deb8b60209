"""transitions.jsonl: the canonical events, derived from committed rows, for tools that read lines.

Invariants:
1. A line is appended only after the commit of its row; the file is never ahead of the database.
2. It is complete again whenever an owner has opened the store: what a crash or a full disk left
   out is rendered from the rows, and a torn or false tail is cut off first. A tail that says more
   than the database goes to archive/: of a database that was lost, it is all that is left.
3. Up to `synced` it is known to be true and on the disk, so that only what follows is compared.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from runtime.store.audit import SELECT, line_of
from runtime.store.layout import sync_directory

# After so many lines the file is synced, so that the next owner has few to compare.
_SYNC_LINES = 20_000
_PAGE = 1000
_BLOCK = 1 << 20
# No event is longer: what is longer without a line end is not ours.
_LINE_MAX = 1 << 26

_ROWS = (
    f"{SELECT.replace(' FROM ', ', r.phase FROM ')} LEFT JOIN runs r ON r.id = a.run_id"
    " WHERE a.seq > ? ORDER BY a.seq LIMIT ?"
)


class Repaired(NamedTuple):
    """What opening had to do: lines rendered from the database, bytes cut off before, and where
    those were put if they said more than the database."""

    completed: int
    dropped: int
    kept: Path | None


class Journal:
    """The file, open for appending. Used by the writing thread only."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self._fd = os.open(path, flags, 0o600)
        self._path = path
        self._size = 0
        self._seq = 0
        self._synced_seq = 0
        self.synced = "0:0"
        """bytes:seq, as `meta` keeps it."""

    def repair(self, db: sqlite3.Connection, synced: str, start: int, archive: Path) -> Repaired:
        """Makes the file agree with the rows. `synced` is what `meta` says, `start` the seq before
        the first row. Raises OSError."""
        size = os.fstat(self._fd).st_size
        known, seq = (int(part) for part in synced.split(":"))
        if known > size or (known and not self._ends_line(known)):
            known, seq = 0, start
        self._size, self._seq = known, max(seq, start)
        rows = events_after(db, self._seq)
        with self._path.open("rb") as lines:
            lines.seek(known)
            for expected_seq, expected in rows:
                if lines.readline(_LINE_MAX) != expected + b"\n":
                    break
                self._size += len(expected) + 1
                self._seq = expected_seq
        dropped = size - self._size
        kept = None
        if dropped:
            kept = self._keep_ahead(db, archive)
            os.ftruncate(self._fd, self._size)
        before = self._seq
        self.catch_up(db)
        self.sync()
        return Repaired(self._seq - before, dropped, kept)

    def _keep_ahead(self, db: sqlite3.Connection, archive: Path) -> Path | None:
        """Copies the tail that is about to be cut off where it has more lines than rows are left
        to render. Raises OSError."""
        (left,) = db.execute(
            "SELECT count(*) FROM state_transitions WHERE seq > ?", (self._seq,)
        ).fetchone()
        with self._path.open("rb") as lines:
            lines.seek(self._size)
            if sum(block.count(b"\n") for block in iter(lambda: lines.read(_BLOCK), b"")) <= left:
                return None
            lines.seek(self._size)
            kept = archive / f"transitions-{time.time_ns()}.jsonl"
            private = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(private, "wb") as copy:
                shutil.copyfileobj(lines, copy)
                copy.flush()
                os.fsync(copy.fileno())
        sync_directory(archive)
        return kept

    def append(self, db: sqlite3.Connection, lines: list[bytes], head: int) -> None:
        """Appends the lines of the rows up to `head`, after whatever is still missing before them.

        Raises nothing of the disk: the rows are committed, and what finds no room comes later.
        """
        try:
            if self._seq == head - len(lines):
                self._write(b"\n".join(lines) + b"\n" if lines else b"")
                self._seq = head
            else:
                self.catch_up(db)
            if self._seq - self._synced_seq >= _SYNC_LINES:
                self.sync()
        except OSError:
            self._give_up()

    def settle(self, db: sqlite3.Connection) -> None:
        """Completes and syncs the file, as far as the disk lets it."""
        try:
            self.catch_up(db)
            self.sync()
        except OSError:
            self._give_up()

    def catch_up(self, db: sqlite3.Connection) -> None:
        """Renders the rows that have no line yet. Raises OSError."""
        while True:
            page = list(events_after(db, self._seq, _PAGE))
            if not page:
                return
            self._write(b"".join(line + b"\n" for _, line in page))
            self._seq = page[-1][0]

    def sync(self) -> None:
        """Raises OSError."""
        os.fsync(self._fd)
        self._synced_seq = self._seq
        self.synced = f"{self._size}:{self._seq}"

    def close(self) -> None:
        os.close(self._fd)

    def _ends_line(self, offset: int) -> bool:
        return os.pread(self._fd, 1, offset - 1) == b"\n"

    def _give_up(self) -> None:
        """Cuts off what was torn; the next append begins with what is missing."""
        with suppress(OSError):  # else the next write cuts it off
            self._cut()

    def _cut(self) -> None:
        if os.fstat(self._fd).st_size > self._size:
            os.ftruncate(self._fd, self._size)

    def _write(self, data: bytes) -> None:
        self._cut()
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self._size += len(data)


def events_after(db: sqlite3.Connection, seq: int, limit: int = -1) -> Iterator[tuple[int, bytes]]:
    """(seq, canonical event line) of the rows after `seq`, in order."""
    for row in db.execute(_ROWS, (seq, limit)):
        yield row[0], line_of(row, row[16])
