"""The owner's side of the store: open, commit, load, checkpoint, close.

Invariants:
1. One connection writes, in one thread; a batch is one hop and one transaction.
2. Every write transaction checks that the owner epoch is still ours.
3. A line is in transitions.jsonl only after the commit of its row.
4. Cancelling a caller never cuts a write short: the hop runs to its end, and the head follows it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from runtime.store.book import Book, Head

if TYPE_CHECKING:
    from runtime.clock import Clock
    from runtime.kinds import Kind
    from runtime.store.batch import Batch
    from runtime.store.rows import Outgoing, Stored, Undelivered, Watching


class Committed(msgspec.Struct, frozen=True):
    """A durable batch: the head it made."""

    head: Head


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
    next_n: dict[str, int]  # table -> the first unused n
    next_message: int
    next_effect: int

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
    ) -> Store:
        """Takes the directory over: lock, migrations, quick_check after an unclean stop, the tail
        of transitions.jsonl, a new owner epoch.

        `durability`: "power" (an acknowledged commit survives power loss) or "process" (survives
        `kill -9`). `kinds`: the users' own. `command`: who we are, for a second process's error.
        `node`: the randomness of event ids, where a test wants it fixed.
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

    async def commit(self, batch: Batch) -> Committed:
        """Makes the batch durable, whole, then appends its lines to transitions.jsonl.

        Raises ConstraintFailed, StoreFull, StoreBusy: rolled back for certain, the book is back at
        the durable head; OwnerLost: likewise, and for good; CommitUnknown: call `reopen`.
        Cancelled: the commit goes on to its end; the next call waits for it.
        """
        raise NotImplementedError

    async def reopen(self) -> Head:
        """After CommitUnknown: closes, reopens, proves the disk, and returns the true head: the
        batch is durable exactly if its last seq is in it. Raises as `open` does."""
        raise NotImplementedError

    async def load(self, kind: Kind, id: str) -> Stored | None:
        """The actor as the last commit left it, or None."""
        raise NotImplementedError

    async def load_many(self, kind: Kind, ids: Iterable[str]) -> list[Stored]:
        """Those of `ids` that exist, in no order."""
        raise NotImplementedError

    def unfinished(self) -> AsyncIterator[list[Stored]]:
        """Every actor that has not ended, in pages: runs, workstreams, gates, tasks, workers, uet
        workers, breakers, patches, then the users' own."""
        raise NotImplementedError

    async def messages(self) -> list[Undelivered]:
        """What is undelivered, in order."""
        raise NotImplementedError

    async def outbox(self) -> list[Outgoing]:
        """Effects whose outcome is not on record, in order."""
        raise NotImplementedError

    async def watches(self) -> list[Watching]:
        """Who watches whom."""
        raise NotImplementedError

    async def checkpoint(self) -> None:
        """Moves the WAL into the database and marks how far transitions.jsonl is synced. For idle
        moments: nothing depends on it but the size of the WAL and the time of recovery."""
        raise NotImplementedError

    async def close(self) -> None:
        """Marks a clean stop, releases the directory. Idempotent; a cancel cuts nothing."""
        raise NotImplementedError
