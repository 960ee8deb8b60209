"""One actor as the kernel holds it: a small object without a task, a thread or an inbox of its own.

Invariants:
1. `value` is the state after the last turn; only the supervisor replaces it, after `decide`.
2. `epoch` is the number of the last epoch in which it changed: it is clean, and its next turn
   stands on durable ground, once that epoch is committed.
3. A cell is in the run queue exactly while `scheduled`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors.messages import HandedOn, Refused

if TYPE_CHECKING:
    from runtime.inbox import Envelope
    from runtime.kinds import Kind
    from runtime.timers import Timer

SUSPENDED: Final = "actor_suspended"
"""The event that suspends an actor, and the one key of its metadata. As the last event's metadata
stands in the actor's row, the suspension is there for the next owner too, until another event."""


def suspension(metadata: str) -> str | None:
    """Why the actor whose last event has this metadata takes no turns; None where it does."""
    if not metadata.startswith(f'{{"{SUSPENDED}":'):
        return None
    reason: str = msgspec.json.decode(metadata)[SUSPENDED]
    return reason


class Cell:
    """Mutable on purpose: it is the kernel's bookkeeping around an immutable value."""

    __slots__ = (
        "address",
        "audit_seq",
        "control",
        "decide",
        "dirty",
        "epoch",
        "failures",
        "inbox",
        "is_new",
        "kind",
        "metadata",
        "n",
        "scheduled",
        "suspended",
        "timers",
        "value",
        "version",
    )

    def __init__(self, address: str, kind: Kind, value: Any, n: int) -> None:
        self.address = address
        self.kind = kind
        self.decide = kind.decide
        self.value = value
        self.n = n
        self.version = 0
        self.audit_seq = 0
        self.metadata = "{}"
        self.timers: dict[str, Timer] | None = None
        self.inbox: deque[Any] | None = None
        self.control: deque[Any] | None = None
        self.epoch = 0
        self.failures = 0
        self.dirty = False
        self.is_new = False
        self.scheduled = False
        self.suspended: str | None = None

    @property
    def id(self) -> str:
        return self.address.partition(":")[2]

    @property
    def state(self) -> str:
        return self.kind.state_of(self.value)

    @property
    def ended(self) -> bool:
        return self.kind.is_ended(self.value)

    def due_times(self) -> dict[str, float] | None:
        """The durable timers, as they are stored."""
        if not self.timers:
            return None
        return {t.key: t.due for t in self.timers.values() if not t.volatile} or None


def as_due(cell: Cell, envelope: Envelope) -> Any:
    """The message as the actor is to take it now: marked as stale, or else its refusal, where it is
    an order that was decided on another version. One that is handed on is held against the version
    of the entity that it is for, not of those on the way, which have to hear of its refusal."""
    seen, item = envelope.if_version, envelope.item
    handed_on = isinstance(item, HandedOn)
    if handed_on and item.if_version is not None and item.entity == cell.address:
        seen = item.if_version
    if seen is None or (cell.version == seen and not cell.dirty):
        return item
    now = cell.version + cell.dirty
    stale = f"{cell.id} is at version {now}, not {seen}: look again and decide anew"
    return msgspec.structs.replace(item, stale=stale) if handed_on else Refused(stale)
