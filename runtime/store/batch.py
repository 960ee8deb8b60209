"""What one epoch changes, gathered in the order it was decided, as the parameters of its SQL.

A batch is built on the event loop thread in one pass and committed whole or not at all:

    batch = Batch(store.book)
    for each edge taken or note:
        cell.audit_seq, cell.metadata = batch.enter(
            kind.name, id, value.run_id, taken, now, cell.audit_seq)
    for each actor that changed:
        batch.change(kind, n, value, due_times, version, cell.audit_seq, cell.metadata, is_new)
    await store.commit(batch)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.store.book import Book, Event

if TYPE_CHECKING:
    from actors.machine import Taken
    from runtime.kinds import Kind


class Batch:
    """One transaction to be. Every method raises ConstraintFailed, having changed nothing, when
    its argument does not encode to JSON."""

    def __init__(self, book: Book) -> None:
        self.barrier = False
        """True: this commit is synced to the disk under either durability."""

    def enter(
        self, kind: str, id: str, run_id: str | None, taken: Taken, now: float, prev: int
    ) -> tuple[int, str]:
        """Books one audit row. `prev` is the seq of the same entity's previous row, 0 at creation
        (`taken.source` None). Returns its seq and its metadata as stored: the actor's `audit_seq`
        and `metadata` from now on.

        A row that is no transition has equal source and target and its own `event_type`.
        """
        raise NotImplementedError

    def change(
        self,
        kind: Kind,
        n: int,
        value: Any,
        timers: dict[str, float] | None,
        version: int,
        audit_seq: int,
        metadata: str,
        is_new: bool,
    ) -> None:
        """The actor's row as it is at the end of the epoch: once per actor, after its entries."""
        raise NotImplementedError

    def message(
        self, id: int, target: str, message: Any, *, control: bool, operator: str | None
    ) -> None:
        """A message still undelivered at the end of the epoch."""
        raise NotImplementedError

    def message_gone(self, id: int) -> None:
        """A stored message was taken (or its actor ended)."""
        raise NotImplementedError

    def effect(self, id: int, actor: str, name: str, key: str, payload: Any, attempts: int) -> None:
        """A `Perform` to be carried out after the commit; again with more `attempts`: replaced."""
        raise NotImplementedError

    def effect_gone(self, id: int) -> None:
        """Its outcome was taken."""
        raise NotImplementedError

    def watch(self, target: str, watcher: str) -> None:
        """`watcher` wants to know of `target`'s end. Known already: nothing."""
        raise NotImplementedError

    def watch_gone(self, target: str, watcher: str) -> None:
        """Told, or no longer wanted."""
        raise NotImplementedError

    @property
    def rows(self) -> int:
        """How many rows the batch writes: audit, actors, messages and the rest."""
        raise NotImplementedError

    def events(self) -> list[Event]:
        """The batch's audit rows as canonical events. For subscribers: not on the hot path."""
        raise NotImplementedError
