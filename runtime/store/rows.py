"""What goes into the store and what comes back: rows as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from runtime.kinds import Kind
    from runtime.store.audit import Head
    from runtime.store.sql import Statement


class Stored(msgspec.Struct, frozen=True, gc=False):
    """One actor as it stands in the store. `timers` are its durable timers, key to due time."""

    kind: str
    n: int
    id: str
    value: Any
    version: int
    audit_seq: int
    metadata: str
    timers: dict[str, float] | None = None

    @property
    def address(self) -> str:
        return f"{self.kind}:{self.id}"


class Change(msgspec.Struct, eq=False):
    """An actor's row as it is at the end of an epoch: one per actor that changed."""

    kind: Kind
    n: int
    value: Any
    timers: dict[str, float] | None
    version: int
    audit_seq: int
    metadata: str
    is_new: bool


class Batch:
    """What one epoch changes beside the audit rows booked since the last commit.

    Built on the event loop's thread, committed whole or not at all; after StoreFull, StoreBusy or
    a CommitUnknown that `reopen` found not written, the very same batch is committed again.
    """

    __slots__ = (
        "audit",
        "barrier",
        "changes",
        "head",
        "lines",
        "messages_gone",
        "messages_new",
        "outbox_gone",
        "outbox_new",
        "rows",
        "watches_gone",
        "watches_left",
        "watches_new",
    )

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.messages_new: list[tuple[int, str, str, int]] = []
        """(id, target, body as JSON text, 1 for the control lane)"""
        self.messages_gone: list[int] = []
        self.outbox_new: list[tuple[int, str, str, str, Any]] = []
        """(id, actor, name, key, payload)"""
        self.outbox_gone: list[int] = []
        self.watches_new: list[tuple[str, str]] = []
        """(target, watcher); one that is known already is nothing"""
        self.watches_gone: list[str] = []
        """targets"""
        self.watches_left: list[tuple[str, str]] = []
        """(target, watcher); the watcher has ended"""
        self.barrier = False
        """True: this commit is synced to the disk under either durability."""
        self.lines: list[bytes] = []
        """The canonical events of the batch, one JSON line each, from `Store.commit` on."""
        # What `Store.commit` makes of it, once: it is written as it stands if it is tried again.
        self.audit: list[Any] = []
        self.rows: list[tuple[Statement, list[Any]]] = []
        self.head: Head | None = None
