"""One entity as it stands, with what the explanations of `why` need to know about it."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from runtime.view.find import TABLES

_CHAIN_LOOKED_AT = 200  # rows of one entity's history that are searched for an operator's hand


class Standing(msgspec.Struct, frozen=True):
    """The row of an entity: its columns, its value and its spec, and when it entered its state."""

    kind: str
    id: str
    state: str
    version: int
    reason: str | None
    completed_at: float | None
    since: float
    value: dict[str, Any]
    spec: dict[str, Any]
    timers: dict[str, float]
    row: dict[str, Any]
    metadata: dict[str, Any]  # of its last event

    @property
    def done(self) -> bool:
        """Whether what waits for it may go on: it succeeded, or counts as done."""
        return self.state in ("completed", "passed") or bool(self.value.get("as_done"))

    @property
    def causes(self) -> list[tuple[str, str]]:
        """What keeps it from going on by itself: the source's address, and the root cause."""
        return [(cause[0], cause[-1]) for waits in self._waits for cause in waits.get("causes", ())]

    @property
    def waived(self) -> set[str]:
        """The addresses that it no longer waits for, by an operator's word."""
        return {source for waits in self._waits for source in waits.get("waived", ())}

    @property
    def _waits(self) -> list[dict[str, Any]]:
        parts = (self.value.get("after"), self.value.get("gates"), self.value)
        return [part for part in parts if isinstance(part, dict)]


class Hand(msgspec.Struct, frozen=True):
    """Who did something to an entity, and why they said."""

    operator: str
    reason: str | None
    at: float


def standing(db: sqlite3.Connection, kind: str, entity_id: str) -> Standing | None:
    """The entity, or None where there is none."""
    if kind in TABLES:
        query = f"SELECT * FROM {TABLES[kind]} WHERE id = :id"
    else:
        query = "SELECT * FROM actors WHERE kind = :kind AND id = :id"
    row = db.execute(query, {"kind": kind, "id": entity_id}).fetchone()
    if row is None:
        return None
    fields = dict(row)
    return Standing(
        kind,
        entity_id,
        fields["state"],
        fields["version"],
        fields.get("reason"),
        fields.get("completed_at"),
        _entered(db, fields["audit_seq"]),
        msgspec.json.decode(fields["value"]),
        msgspec.json.decode(fields.get("spec") or "{}"),
        msgspec.json.decode(fields["timers"] or "{}"),
        fields,
        msgspec.json.decode(fields["metadata"]) or {},
    )


def newest(db: sqlite3.Connection, kind: str, entity_id: str) -> Standing | None:
    """What stands for the entity now: itself, or the last retry of it."""
    found = standing(db, kind, entity_id)
    while found is not None and (after := found.value.get("replaced_by")):
        following = standing(db, kind, after.removeprefix(f"{kind}:"))
        if following is None:
            break
        found = following
    return found


def at_address(db: sqlite3.Connection, address: str) -> Standing | None:
    """What stands now for the actor of "<kind>:<id>"."""
    kind, _, entity_id = address.partition(":")
    return newest(db, kind, entity_id)


def hand(db: sqlite3.Connection, found: Standing, what: str) -> Hand | None:
    """The last operator whose event or trigger on this entity holds the word `what`."""
    seq = found.row["audit_seq"]
    for _ in range(_CHAIN_LOOKED_AT):
        row = db.execute("SELECT * FROM state_transitions WHERE seq = ?", (seq,)).fetchone()
        if row is None:
            return None
        if row["operator"] and (what in row["trigger"] or what in row["event_type"]):
            return Hand(row["operator"], row["reason"], row["transitioned_at"])
        seq = row["entity_prev"]
    return None


def trouble(db: sqlite3.Connection, found: Standing) -> str | None:
    """What the machine did to it last, where that ended it or makes it try again; of a loop, which
    it was."""
    seq = found.row["audit_seq"]
    for _ in range(_CHAIN_LOOKED_AT):
        row = db.execute("SELECT * FROM state_transitions WHERE seq = ?", (seq,)).fetchone()
        if row is None:
            return None
        if row["trigger"] in ("retry_scheduled", "gate_try_lost", "task_loop"):
            return str(row["reason"])
        seq = row["entity_prev"]
    return None


def _entered(db: sqlite3.Connection, seq: int) -> float:
    at = 0.0
    for _ in range(_CHAIN_LOOKED_AT):
        row = db.execute(
            "SELECT from_state, to_state, transitioned_at, entity_prev"
            " FROM state_transitions WHERE seq = ?",
            (seq,),
        ).fetchone()
        if row is None:
            break
        at = row["transitioned_at"]
        if row["from_state"] != row["to_state"]:
            break
        seq = row["entity_prev"]
    return at
