"""The owner's side of the store: open, commit, load, checkpoint, close.

Invariants:
1. One connection writes, in one thread; a batch is one hop and one transaction.
2. Every write transaction checks that the owner epoch is still ours.
3. A line is in transitions.jsonl only after the commit of its row.
4. Cancelling a caller never cuts a write short: the hop runs to its end, and the head follows it.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio

from runtime.kinds import KINDS
from runtime.store import commit, loading, opening
from runtime.store.book import Book
from runtime.store.brisk import brisk
from runtime.store.connection import Thread, synchronous
from runtime.store.errors import (
    CommitUnknown,
    ConstraintFailed,
    OwnerLost,
    StoreError,
    TryAgain,
)
from runtime.store.layout import Layout, make
from runtime.store.lock import OwnerLock, acquire
from runtime.store.migrate import transaction

if TYPE_CHECKING:
    from runtime.clock import Clock
    from runtime.kinds import Kind
    from runtime.store.audit import Head
    from runtime.store.journal import Journal
    from runtime.store.opening import Opened
    from runtime.store.rows import Batch, Stored

T = TypeVar("T")

# How long the writer waits for a foreign lock on the database before it says so.
BUSY_S = 5.0
# After so many audit rows without a checkpoint a commit moves the marks on by itself, so that the
# next owner's search for the unfinished stays short.
_MARK_ROWS = 50_000


def _pass_by(_point: str) -> None:
    """The crash point of an owner that is not to crash."""


class Store:
    """One owned state directory. `async with await Store.open(dir, ...) as store:`."""

    opened: Opened
    book: Book
    head: Head
    """The last durable row; no later instant than `head.at` is on record."""
    owner_epoch: int
    """This owner's; leases begin with it."""
    next_message: int
    """The first unused id of a message; whoever uses it counts it on."""

    def __init__(
        self,
        layout: Layout,
        lock: OwnerLock,
        durability: str,
        kinds: Iterable[Kind],
        crash_point: Callable[[str], None],
        busy_s: float,
    ) -> None:
        """Not for callers: `open` makes it."""
        self.layout = layout
        self.durability = durability
        self._lock = lock
        self._kinds = {**KINDS, **{kind.name: kind for kind in kinds}}
        self._crash_point = crash_point
        self._thread = Thread(layout.db, busy_s)
        self._journal: Journal | None = None
        self._last: asyncio.Task[Any] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._full = durability == "power"
        self._marked = 0
        self._unknown = False

    @classmethod
    async def open(
        cls,
        state_dir: Path,
        *,
        clock: Clock,
        durability: str = "power",
        kinds: Iterable[Kind] = (),
        command: str = "",
        node: bytes | None = None,
        crash_point: Callable[[str], None] = _pass_by,
        busy_s: float = BUSY_S,
    ) -> Store:
        """Takes the directory over: lock, migrations, quick_check after an unclean stop, the tail
        of transitions.jsonl, a new owner epoch.

        `durability`: "power" (an acknowledged commit survives power loss) or "process" (survives
        `kill -9`). `kinds`: the users' own. `command`: who we are, for a second process's error.
        `node`: the randomness of event ids, where a test wants it fixed. `crash_point` is called
        in the writing thread at "in_commit" and "after_commit_before_jsonl". `busy_s`: how long a
        foreign lock on the database is waited for.
        Raises StateDirUnusable, OwnerBusy, NewerDatabase, MigrationChanged, Damaged, StoreBusy,
        StoreFull.
        """
        if durability not in {"power", "process"}:
            raise ValueError(f"durability {durability!r}: want power or process")
        own = tuple(kinds)
        layout = make(state_dir)
        lock = acquire(layout, command)
        store = cls(layout, lock, durability, own, crash_point, busy_s)
        try:
            await store._thread.open()
            taken = await store._thread.run(
                lambda db: opening.take_over(db, layout, durability, own, clock.now())
            )
        except BaseException:
            await store._thread.close()
            lock.release()
            raise
        store.opened = taken.opened
        store.head = taken.head
        store._marked = taken.head.seq
        store.owner_epoch = taken.epoch
        store.next_message = taken.next_message
        store._journal = taken.journal
        store.book = Book(taken.head, node or os.urandom(6), taken.phases)
        return store

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.close()

    # --- writing ---------------------------------------------------------------------------------

    async def commit(self, batch: Batch) -> list[bytes]:
        """Makes the batch, with every audit row booked since the last one, durable, whole; then
        appends its lines to transitions.jsonl, and returns them.

        Raises StoreFull and StoreBusy: rolled back for certain, commit the same batch again later;
        ConstraintFailed: likewise, and the book is back at the durable head, so discard the batch;
        OwnerLost: likewise, and for good; CommitUnknown: call `reopen`.
        Cancelled: the commit goes on to its end; the next call waits for it.
        """
        return await self._to_end(self._commit(batch))

    async def _commit(self, batch: Batch) -> list[bytes]:
        if self._unknown:
            raise CommitUnknown(self.layout.db, "a former commit; reopen first")
        try:
            self.lay_out(batch)
            await self._thread.run(partial(self._write, batch))
        except (ConstraintFailed, OwnerLost):
            self.discard()
            raise
        except CommitUnknown:
            self._unknown = True
            raise
        assert batch.head is not None
        self.head = batch.head
        return batch.lines

    def lay_out(self, batch: Batch) -> None:
        """Makes the batch's rows, and takes what was booked since the last one into it, once;
        `commit` does it for a batch that has none yet. Raises ConstraintFailed where a value does
        not encode to JSON: `discard` then."""
        if batch.head is None:
            batch.rows = commit.lay_out(batch)
            batch.audit, batch.lines, batch.head = self.book.take()

    def _write(self, batch: Batch, db: sqlite3.Connection) -> None:
        with brisk():
            self._write_whole(batch, db)

    def _write_whole(self, batch: Batch, db: sqlite3.Connection) -> None:
        journal = self._journal
        assert journal is not None
        assert batch.head is not None
        full = batch.barrier or self.durability == "power"
        committing = False
        try:
            if full != self._full:
                synchronous(db, full=full)
                self._full = full
            db.execute("BEGIN IMMEDIATE")
            commit.write(db, batch, self.owner_epoch, journal.synced)
            if batch.head.seq - self._marked >= _MARK_ROWS:
                loading.mark(db)
                self._marked = batch.head.seq
            self._crash_point("in_commit")
            committing = True
            db.execute("COMMIT")
            self._crash_point("after_commit_before_jsonl")
        except Exception as error:
            raise self._rolled_back(db, batch, error, committing) from error
        journal.append(db, batch.lines, batch.head.seq)

    def _rolled_back(
        self, db: sqlite3.Connection, batch: Batch, error: Exception, committing: bool
    ) -> StoreError:
        path = self.layout.db
        try:
            if db.in_transaction:
                db.execute("ROLLBACK")
        except sqlite3.Error as second:
            return CommitUnknown(path, f"{error}; and then {second}")
        meant = self._thread.meaning(error)
        if meant is None or (committing and not isinstance(meant, TryAgain)):
            return CommitUnknown(path, str(error))
        if isinstance(meant, ConstraintFailed) and not meant.entity_id:
            table, entity_id = commit.culprit(db, batch)
            return ConstraintFailed(meant.text, table=table, entity_id=entity_id)
        return meant

    def discard(self) -> None:
        """What was booked and not committed is given up: the book is back at the durable head."""
        self.book.reset(self.head)

    async def reopen(self) -> int:
        """After CommitUnknown: closes, reopens, proves the disk, and returns the true head's seq:
        the batch is durable exactly if its last seq is not beyond it (then `batch.lines` are its
        events), else commit it again or `discard` it. Raises as `open` does."""
        return await self._to_end(self._reopen())

    async def _reopen(self) -> int:
        await self._thread.reopen()
        self.head = await self._thread.run(
            lambda db: opening.take_back(db, self.layout, self.durability, self.owner_epoch)
        )
        self._full = self.durability == "power"
        self._unknown = False
        if self._journal is not None:
            await self._thread.run(self._journal.settle)
        return self.head.seq

    async def checkpoint(self) -> None:
        """Moves the WAL into the database and marks how far transitions.jsonl is synced. For idle
        moments: nothing depends on it but the size of the WAL and the time of recovery."""
        await self._to_end(self._thread.run(partial(self._mark, clean=False)))

    def _mark(self, db: sqlite3.Connection, *, clean: bool) -> None:
        journal = self._journal
        assert journal is not None
        journal.settle(db)
        with transaction(db):
            commit.check_epoch(db, self.owner_epoch)
            loading.mark(db)
            self._marked = self.head.seq
            for key, value in (("clean", "1" if clean else "0"), ("jsonl", journal.synced)):
                db.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))
        db.execute(f"PRAGMA wal_checkpoint({'TRUNCATE' if clean else 'PASSIVE'})")

    async def close(self) -> None:
        """Marks a clean stop, releases the directory. Idempotent; a cancel cuts nothing. Raises
        nothing of ours: a store that could not be marked is checked by the next owner."""
        closing = self._closing
        if closing is None:
            closing = self._closing = asyncio.ensure_future(_after(self._last, self._close()))
        cancelled: asyncio.CancelledError | None = None
        with anyio.CancelScope(shield=True):
            while not closing.done():
                try:
                    await asyncio.shield(closing)
                except asyncio.CancelledError as error:
                    # The loop must not end before the connection's thread has.
                    cancelled = error
        closing.result()
        if cancelled is not None:
            raise cancelled

    async def _close(self) -> None:
        try:
            if not self._unknown:
                with suppress(StoreError):
                    await self._thread.run(partial(self._mark, clean=True))
        finally:
            await self._thread.close()
            if self._journal is not None:
                self._journal.close()
            self._lock.release()

    # --- reading ---------------------------------------------------------------------------------

    async def load(self, kind: Kind, id: str) -> Stored | None:
        """The actor as the last commit left it, or None."""
        address = f"{kind.name}:{id}"
        return (await self.load_many((address,))).get(address)

    async def load_many(self, addresses: Iterable[str]) -> dict[str, Stored]:
        """Those of the addresses that exist. Raises Damaged where one does not decode."""
        wanted = tuple(addresses)
        return await self._thread.run(
            lambda db: loading.by_address(db, wanted, self._kinds, self.layout.db)
        )

    async def unfinished(self) -> AsyncIterator[list[Stored]]:
        """Every actor that has not ended, in pages: runs, workstreams, gates, tasks, workers, uet
        workers, breakers, patches, then the users' own (value None where the kind is unknown).

        Raises Damaged where one does not decode.
        """
        marks = await self._thread.run(loading.marks)
        for table in loading.TABLES:
            after = marks.get(table, 1) - 1
            while page := await self._thread.run(
                partial(
                    loading.unfinished_page,
                    table=table,
                    after=after,
                    kinds=self._kinds,
                    path=self.layout.db,
                )
            ):
                yield page
                after = page[-1].n

    async def find_run(self, key: str) -> str | None:
        """The id of the run that was submitted with this idempotency key."""
        return await self._thread.run(partial(loading.find_run, key=key))

    async def messages(self) -> list[tuple[int, str, str, bool]]:
        """What is undelivered, in order: (id, target, body as JSON text, control)."""
        return await self._thread.run(loading.messages)

    async def outbox(self) -> list[tuple[int, str, str, str, Any]]:
        """Effects whose outcome is not on record, in order: (id, actor, name, key, payload)."""
        return await self._thread.run(partial(loading.outbox, path=self.layout.db))

    async def watches(self) -> dict[str, list[str]]:
        """Who is to be told of whose end: target to watchers."""
        return await self._thread.run(loading.watches)

    async def next_rows(self) -> dict[str, int]:
        """By table: the first unused n."""
        return await self._thread.run(loading.next_rows)

    async def next_outbox(self) -> int:
        """The first unused id of the outbox."""
        return await self._thread.run(loading.next_outbox)

    # --- to its end --------------------------------------------------------------------------

    async def _to_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs the work after what runs now, to its end, whatever becomes of the caller."""
        before = self._last
        task = asyncio.ensure_future(_after(before, work))
        self._last = task
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_look_at)
            raise


async def _after(before: asyncio.Task[Any] | None, work: Coroutine[Any, Any, T]) -> T:
    if before is not None and not before.done():
        await asyncio.wait([before])
    return await work


def _look_at(task: asyncio.Task[Any]) -> None:
    """Whoever waited for it was cancelled: what the work left, the next call will find."""
    if not task.cancelled():
        task.exception()
