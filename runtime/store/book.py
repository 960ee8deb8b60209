"""The audit chain: turns what was decided into rows that prove their own order.

Invariants:
1. A row's hash is SHA-256 over the previous hash and the row's canonical JSON, so that a changed,
   missing or foreign row is found from there on.
2. `seq` is dense and `transitioned_at` never goes back.
3. Booking changes nothing but the book; a batch that was rolled back is followed by `reset`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from actors.machine import Taken


class Head(NamedTuple):
    """The last row of the chain: its number (0: none yet), its hash, its instant."""

    seq: int
    hash: str
    at: float


class Event(msgspec.Struct, frozen=True, gc=False):
    """The canonical event: the same in JSONL, over the API and in Python."""

    event_id: str
    timestamp: str
    event_type: str
    severity: str
    entity_type: str
    entity_id: str
    from_state: str | None
    to_state: str
    trigger: str
    reason: str | None
    metadata: dict[str, Any]
    operator: str | None
    context: dict[str, str | None]
    seq: int
    hash: str


class Book:
    """Numbers, times and chains audit rows. One per owner, used by one thread."""

    def __init__(self, head: Head, node: bytes) -> None:
        """`node`: six random bytes drawn once per process; they keep event ids apart."""
        self.seq = head.seq
        """The last row that was booked, durable or not."""

    def enter(
        self,
        kind: str,
        id: str,
        run_id: str | None,
        taken: Taken,
        now: float,
        prev: int,
        phase_of: Callable[[str], str | None],
    ) -> tuple[int, str]:
        """Books one audit row. `prev` is the seq of the same entity's previous row, 0 at creation
        (`taken.source` None). Returns its seq and its metadata as stored: the actor's `audit_seq`
        and `metadata` from now on.

        A row that is no transition has equal source and target and its own `event_type`.
        `phase_of` is asked once for a run that the book does not know yet.
        Raises ConstraintFailed, having changed nothing, when the row does not encode to JSON.
        """
        raise NotImplementedError

    def reset(self, head: Head) -> None:
        """Forgets what was booked after `head`: it was rolled back."""
        raise NotImplementedError
