"""One audit row in its three shapes: columns, canonical JSON for the hash, canonical event line.

What is written here is also what `verify` recomputes, so that the two cannot drift apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

COLUMNS = (
    "seq",
    "event_id",
    "event_type",
    "entity_type",
    "entity_id",
    "from_state",
    "to_state",
    "trigger",
    "severity",
    "reason",
    "metadata",
    "operator",
    "run_id",
    "transitioned_at",
    "hash",
    "entity_prev",
)
SELECT = f"SELECT {', '.join(f'a.{c}' for c in COLUMNS)} FROM state_transitions a"

encode = msgspec.json.Encoder().encode
# What that raises for a value that is no JSON: of another type, not text, too large, too deep.
NOT_JSON = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)


class Head(NamedTuple):
    """The last row of the chain: its number (0: none yet), its hash, its instant."""

    seq: int
    hash: str
    at: float


class Canonical(msgspec.Struct, frozen=True, gc=False):
    """All columns but the hash, in the order of their names: what the hash is taken over."""

    entity_id: str
    entity_prev: int | None
    entity_type: str
    event_id: str
    event_type: str
    from_state: str | None
    metadata: str
    operator: str | None
    reason: str | None
    run_id: str | None
    seq: int
    severity: str
    to_state: str
    transitioned_at: float
    trigger: str


class Event(msgspec.Struct, frozen=True, gc=False):
    """The canonical event, in the order in which it is written."""

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
    metadata: msgspec.Raw
    operator: str | None
    context: msgspec.Raw
    seq: int
    hash: str


def hash_of(row: Sequence[Any], previous: str) -> str:
    """The hash that `row` (its columns in order) must carry behind the hash `previous`."""
    (seq, event_id, event_type, entity_type, entity_id, source, target, trigger) = row[:8]
    (severity, reason, metadata, operator, run_id, at, _hash, prev) = row[8:16]
    canonical = Canonical(
        entity_id,
        prev,
        entity_type,
        event_id,
        event_type,
        source,
        metadata,
        operator,
        reason,
        run_id,
        seq,
        severity,
        target,
        at,
        trigger,
    )
    return hashlib.sha256(previous.encode() + encode(canonical)).hexdigest()


def line_of(row: Sequence[Any], phase: str | None) -> bytes:
    """The canonical event line of a stored row, without its line end."""
    (seq, event_id, event_type, entity_type, entity_id, source, target, trigger) = row[:8]
    (severity, reason, metadata, operator, run_id, at, hash_, _prev) = row[8:16]
    return encode(
        Event(
            event_id,
            timestamp(at),
            event_type,
            severity,
            entity_type,
            entity_id,
            source,
            target,
            trigger,
            reason,
            msgspec.Raw(metadata.encode()),
            operator,
            context(run_id, workstream_of(entity_type, entity_id), phase),
            seq,
            hash_,
        )
    )


def timestamp(at: float) -> str:
    """ISO 8601, UTC, always with six digits of the second."""
    seconds, micros = divmod(round(at * 1_000_000), 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"


def workstream_of(entity_type: str, entity_id: str) -> str | None:
    """The workstream that the entity is or belongs to: the path of its id says so."""
    if entity_type == "task":
        return entity_id.rpartition("/")[0]
    return entity_id if entity_type == "workstream" else None


def context(run_id: str | None, workstream_id: str | None, phase: str | None) -> msgspec.Raw:
    """The event's `context`, encoded."""
    named = {"run_id": run_id, "workstream_id": workstream_id, "phase_id": phase}
    return msgspec.Raw(encode(named))
