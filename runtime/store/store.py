"""The owner's side of the store: open, commit, load, checkpoint, close.

Invariants:
1. One connection writes, in one thread; a batch is one hop and one transaction.
2. Every write transaction checks that the owner epoch is still ours.
3. A line is in transitions.jsonl only after the commit of its row.
4. Cancelling a caller never cuts a write short: the hop runs to its end, and the head follows it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from runtime.store.book import Book, Head

if TYPE_CHECKING:
    from runtime.clock import Clock
    from runtime.kinds import Kind
    from runtime.store.rows import Batch, Stored


class Opened(msgspec.Struct, frozen=True):
    """What opening found and did, for the recovery report."""

    created: bool  # there was no database
    clean: bool  # the last owner closed it
    migrated: tuple[str, ...]  # migrations applied now
    backup: Path | None  # made before them
    lines_completed: int  # appended to transitions.jsonl from the database
    lines_dropped_bytes: int  # a torn or false tail that was cut off it
    notes: tuple[str, ...]  # the same in sentences, for people


class Store:
    """One owned state directory. `async with await Store.open(dir, ...) as store:`."""

    opened: Opened
    book: Book
    owner_epoch: int  # this owner's; leases begin with it
    head: Head  # the last durable row; `head.at`: no later instant is on record
    next_message: int  # the first unused id of a message; whoever uses it counts it on

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
        crash_point: Callable[[str], None] | None = None,
    ) -> Store:
        """Takes the directory over: lock, migrations, quick_check after an unclean stop, the tail
        of transitions.jsonl, a new owner epoch.

        `durability`: "power" (an acknowledged commit survives power loss) or "process" (survives
        `kill -9`). `kinds`: the users' own. `command`: who we are, for a second process's error.
        `node`: the randomness of event ids, where a test wants it fixed. `crash_point` is called
        in the writing thread at "in_commit" and "after_commit_before_jsonl".
        Raises StateDirUnusable, OwnerBusy, NewerDatabase, MigrationChanged, Damaged, StoreBusy,
        StoreFull.
        """
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        raise NotImplementedError

    async def commit(self, batch: Batch) -> list[bytes]:
        """Makes the batch, with every audit row booked since the last one, durable, whole; then
        appends its lines to transitions.jsonl, and returns them.

        Raises StoreFull and StoreBusy: rolled back for certain, commit the same batch again later;
        ConstraintFailed: likewise, and the book is back at the durable head, so discard the batch;
        OwnerLost: likewise, and for good; CommitUnknown: call `reopen`.
        Cancelled: the commit goes on to its end; the next call waits for it.
        """
        raise NotImplementedError

    async def reopen(self) -> int:
        """After CommitUnknown: closes, reopens, proves the disk, and returns the true head's seq:
        the batch is durable exactly if its last seq is not beyond it (then `batch.lines` are its
        events), else commit it again or `discard` it. Raises as `open` does."""
        raise NotImplementedError

    def discard(self) -> None:
        """What was booked and not committed is given up: the book is back at the durable head."""
        raise NotImplementedError

    async def load(self, kind: Kind, id: str) -> Stored | None:
        """The actor as the last commit left it, or None."""
        raise NotImplementedError

    async def load_many(self, addresses: Iterable[str]) -> dict[str, Stored]:
        """Those of the addresses that exist."""
        raise NotImplementedError

    def unfinished(self) -> AsyncIterator[list[Stored]]:
        """Every actor that has not ended, in pages: runs, workstreams, gates, tasks, workers, uet
        workers, breakers, patches, then the users' own."""
        raise NotImplementedError

    async def messages(self) -> list[tuple[int, str, str, bool]]:
        """What is undelivered, in order: (id, target, body as JSON text, control)."""
        raise NotImplementedError

    async def outbox(self) -> list[tuple[int, str, str, str, Any]]:
        """Effects whose outcome is not on record, in order: (id, actor, name, key, payload)."""
        raise NotImplementedError

    async def watches(self) -> dict[str, list[str]]:
        """Who is to be told of whose end: target to watchers."""
        raise NotImplementedError

    async def next_rows(self) -> dict[str, int]:
        """By table: the first unused n."""
        raise NotImplementedError

    async def next_outbox(self) -> int:
        """The first unused id of the outbox."""
        raise NotImplementedError

    async def checkpoint(self) -> None:
        """Moves the WAL into the database and marks how far transitions.jsonl is synced. For idle
        moments: nothing depends on it but the size of the WAL and the time of recovery."""
        raise NotImplementedError

    async def close(self) -> None:
        """Marks a clean stop, releases the directory. Idempotent; a cancel cuts nothing."""
        raise NotImplementedError
