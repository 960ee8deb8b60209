"""Counts over the whole record: what fails, and where an operator stepped in."""

from __future__ import annotations

import sqlite3

import msgspec


class Failure(msgspec.Struct, frozen=True):
    """One cause: how often, and the last entity that it hit. `name` is without its run, so that the
    same task of many runs is one line."""

    kind: str
    name: str
    trigger: str
    reason: str | None
    count: int
    last_at: float
    last_id: str


class Override(msgspec.Struct, frozen=True):
    """One operator's hand of one kind."""

    operator: str
    event_type: str
    trigger: str
    count: int
    last_at: float
    last_id: str
    last_reason: str | None


# An id without its run; a run itself counts by its name in the plan.
_NAME = (
    "CASE WHEN entity_type = 'run' THEN (SELECT name FROM runs WHERE runs.id = entity_id)"
    " WHEN instr(entity_id, '/') > 0 THEN substr(entity_id, instr(entity_id, '/') + 1)"
    " ELSE entity_id END"
)


def failures(db: sqlite3.Connection, since: float, limit: int) -> list[Failure]:
    """What failed or had to be retried, by entity and reason, most frequent first."""
    rows = db.execute(
        f"SELECT entity_type, {_NAME} AS name, trigger,"
        " replace(reason, run_id || '/', '') AS cause, count(*) AS count,"
        " max(transitioned_at) AS last_at, entity_id AS last_id FROM state_transitions"
        " WHERE from_state <> to_state AND transitioned_at >= ? AND ("
        "   (to_state = 'failed')"
        "   OR (entity_type = 'task' AND to_state = 'retrying')"
        "   OR (entity_type = 'uet_worker' AND trigger IN ('crashed', 'spawn_failed')"
        # The end of an owner is no failure of the processes that end with it.
        "       AND reason IS NOT 'owner restarted'))"
        " GROUP BY entity_type, name, trigger, cause ORDER BY count DESC, last_at DESC LIMIT ?",
        (since, limit),
    )
    return [
        Failure(
            row["entity_type"],
            row["name"],
            row["trigger"],
            row["cause"],
            row["count"],
            row["last_at"],
            row["last_id"],
        )
        for row in rows
    ]


def overrides(db: sqlite3.Connection, since: float, limit: int) -> list[Override]:
    """Every kind of event with an operator on record, most frequent first."""
    rows = db.execute(
        "SELECT operator, event_type, trigger, count(*) AS count, max(transitioned_at) AS last_at,"
        " entity_id AS last_id, reason AS last_reason FROM state_transitions"
        " WHERE operator IS NOT NULL AND transitioned_at >= ?"
        " GROUP BY operator, event_type, trigger ORDER BY count DESC, last_at DESC LIMIT ?",
        (since, limit),
    )
    return [
        Override(
            row["operator"],
            row["event_type"],
            row["trigger"],
            row["count"],
            row["last_at"],
            row["last_id"],
            row["last_reason"],
        )
        for row in rows
    ]
