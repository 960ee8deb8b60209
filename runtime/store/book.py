"""The audit chain: turns what was decided into rows that prove their own order.

Invariants:
1. A row's hash is SHA-256 over the previous hash and the row's canonical JSON, so that a changed,
   missing or foreign row is found from there on.
2. `seq` is dense and `transitioned_at` never goes back.
3. Booking changes nothing but the book; what was booked and rolled back is followed by `reset`.

`enter` is the one hot path of the store: every transition of every actor passes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from runtime.store.audit import NOT_JSON, Canonical, Event, Head, context, encode, timestamp
from runtime.store.errors import ConstraintFailed

if TYPE_CHECKING:
    from actors.machine import Taken

# Contexts are kept encoded for as many runs and workstreams; beyond, all are made anew.
_CONTEXTS_MAX = 4096
# The last twelve bits of the count in an event id; the bits above are in its prefix.
_COUNTS = tuple(f"{n:03x}" for n in range(4096))
_NO_METADATA = msgspec.Raw(b"{}")


class Booked(NamedTuple):
    """What was booked since the last `take`: the columns of all rows, flat, the canonical event of
    each row, and the head that they make."""

    parameters: list[Any]
    lines: list[bytes]
    head: Head


class Book:
    """Numbers, times and chains audit rows. One per owner, used by one thread."""

    def __init__(self, head: Head, node: bytes, phases: Mapping[str, str]) -> None:
        """`node`: six random bytes drawn once per process; they keep event ids apart. `phases`:
        run id to phase, of the runs that have one."""
        self.seq = head.seq
        """The last row that was booked, durable or not."""
        self._hash = head.hash.encode()
        self._at = head.at
        self._stamp = timestamp(head.at)
        self._second = int(head.at)
        self._millis = -1
        self._count = len(_COUNTS)
        self._high = 0
        self._prefix = ""
        self._suffix = f"-{node.hex()}"
        self._phases = dict(phases)
        self._contexts: dict[str | None, msgspec.Raw] = {}
        self._event_types: dict[str, str] = {}
        self._parameters: list[Any] = []
        self._lines: list[bytes] = []

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
        `phase_of` is asked for a run that the book knows no phase of.
        Raises ConstraintFailed, having booked nothing, when the row does not encode to JSON.
        """
        if now != self._at:
            now = self._move_to(now)
        event_type = taken.event_type or self._event_types.get(kind) or self._event_type(kind)
        # A state may come as a member of its StrEnum: a plain str is bound several times faster.
        source, target, trigger = taken.source, taken.target, taken.trigger
        if source is not None and type(source) is not str:
            source = str(source)
        if type(target) is not str:
            target = str(target)
        severity, reason, operator = taken.severity, taken.reason, taken.operator
        seq, event_id, before = self.seq + 1, self._event_id(), prev or None
        # One row is one line of columns, or three shapes of it could not be compared by eye.
        # fmt: off
        try:
            metadata, raw = _metadata(taken.metadata)
            row = encode(Canonical(
                id, before, kind, event_id, event_type, source, metadata, operator, reason,
                run_id, seq, severity, target, now, trigger))
        except NOT_JSON as error:
            why = f"the event {trigger} does not encode to JSON: {error}"
            raise ConstraintFailed(why, table="state_transitions", entity_id=id) from error
        hash_ = sha256(self._hash + row).hexdigest()
        self._parameters += (
            seq, event_id, event_type, kind, id, source, target, trigger, severity, reason,
            metadata, operator, run_id, now, hash_, before)
        part_of = (
            id.rpartition("/")[0] if kind == "task" else id if kind == "workstream" else run_id)
        context = self._contexts.get(part_of)
        if context is None:
            context = self._context(kind, part_of, run_id, phase_of)
        self._lines.append(encode(Event(
            event_id, self._stamp, event_type, severity, kind, id, source, target, trigger,
            reason, raw, operator, context, seq, hash_)))
        # fmt: on
        self._hash = hash_.encode()
        self.seq = seq
        return seq, metadata

    def take(self) -> Booked:
        """Hands over what was booked since the last `take`."""
        head = Head(self.seq, self._hash.decode(), self._at)
        booked = Booked(self._parameters, self._lines, head)
        self._parameters, self._lines = [], []
        return booked

    def reset(self, head: Head) -> None:
        """Forgets what was booked after `head`: it was rolled back."""
        self.seq = head.seq
        self._hash = head.hash.encode()
        self._parameters, self._lines = [], []

    def _move_to(self, now: float) -> float:
        """The instant of the rows to come: `now`, or the last instant where `now` lies before."""
        if now < self._at:
            return self._at
        seconds = int(now)
        if seconds == self._second:
            micros = round((now - seconds) * 1_000_000)
            self._stamp = f"{self._stamp[:20]}{micros:06d}Z"
        if seconds != self._second or micros == 1_000_000:
            self._stamp = timestamp(now)
            self._second = seconds
        self._at = now
        if int(now * 1000) != self._millis:
            self._millis = int(now * 1000)
            self._high = -1
            self._count = len(_COUNTS)
        return now

    def _event_id(self) -> str:
        """ "evt_" and a UUIDv7: milliseconds, then a count that orders, then this process."""
        count = self._count
        if count == len(_COUNTS):
            self._high += 1
            time, count = f"{self._millis:012x}", 0
            self._prefix = f"evt_{time[:8]}-{time[8:]}-7{self._high & 0xFFF:03x}-8"
        self._count = count + 1
        return f"{self._prefix}{_COUNTS[count]}{self._suffix}"

    def _event_type(self, kind: str) -> str:
        return self._event_types.setdefault(kind, f"{kind}_state_transition")

    def _context(
        self,
        kind: str,
        part_of: str | None,
        run_id: str | None,
        phase_of: Callable[[str], str | None],
    ) -> msgspec.Raw:
        phase = None
        if run_id is not None:
            phase = self._phases.get(run_id) or phase_of(run_id)
            if phase is not None:
                self._phases[run_id] = phase
        if len(self._contexts) >= _CONTEXTS_MAX:
            self._contexts.clear()
        found = context(run_id, part_of if kind in {"task", "workstream"} else None, phase)
        self._contexts[part_of] = found
        return found


def _metadata(metadata: Any) -> tuple[str, msgspec.Raw]:
    """As it is stored, and as it stands in the event. Raises TypeError for what is no object."""
    if metadata is None:
        return "{}", _NO_METADATA
    encoded = encode(metadata)
    if encoded[0] != 0x7B:
        raise TypeError("metadata is not a JSON object")
    return encoded.decode(), msgspec.Raw(encoded)
