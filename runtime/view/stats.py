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
    """What operators ordered, most frequent first. A command counts once, whatever it led to: the
    edges that an override took, the end of what was cancelled, and of all that lay below it."""
    rows = db.execute(
        "SELECT operator, event_type, trigger, reason, entity_type, entity_id, transitioned_at,"
        " from_state = to_state AS noted FROM state_transitions"
        " WHERE operator IS NOT NULL AND transitioned_at >= ? ORDER BY seq",
        (since,),
    ).fetchall()
    ordered = {_key(row) for row in rows if row["noted"] or row["trigger"] in _ENDS_ABOVE}
    noted = {_moment(row) for row in rows if row["noted"]}
    found: dict[tuple[str, str, str], Override] = {}
    last: tuple[str, str, float] | None = None
    for row in rows:
        moment = _moment(row)
        if not row["noted"] and (moment in noted or moment == last or _follows(row, ordered)):
            continue
        last = moment
        kind = (row["operator"], row["event_type"], row["trigger"])
        count = found[kind].count + 1 if kind in found else 1
        facts = (row["transitioned_at"], row["entity_id"], row["reason"])
        found[kind] = Override(*kind, count, *facts)
    counted = sorted(found.values(), key=lambda o: (-o.count, -o.last_at))
    return counted[:limit]


# A command that is a row of its own, and the trigger of the edge that it leads to (None: of any).
_LEADS_TO: dict[str, str | None] = {
    "manual_override": None,
    "breaker_overridden": "manual_override",
    "task_cancel_requested": "task_cancelled",
    "run_cancel_requested": "run_cancelled",
    "worker_drain_requested": "shutdown",
}
# What ends with the workstream or run above it, in that one's name.
_ENDS_BELOW = frozenset({"task_cancelled", "gate_cancelled", "cancelled"})
_ENDS_ABOVE = ("cancelled", "skipped", "failed", "completed", "validating", "run_cancel_requested")


def _key(row: sqlite3.Row) -> tuple[str, str | None, str, str]:
    what = row["event_type"] if row["noted"] else row["trigger"]
    return row["operator"], row["reason"], row["entity_id"], what


def _moment(row: sqlite3.Row) -> tuple[str, str, float]:
    """Whose hand on what, and when: rows that agree in this are one turn's."""
    return row["operator"], row["entity_id"], row["transitioned_at"]


def _follows(row: sqlite3.Row, ordered: set[tuple[str, str | None, str, str]]) -> bool:
    """Whether the row tells what another command led to."""
    operator, reason, entity_id, trigger = _key(row)
    for command, leads_to in _LEADS_TO.items():
        if leads_to in {None, trigger} and (operator, reason, entity_id, command) in ordered:
            return True
    if trigger not in _ENDS_BELOW:
        return False
    above = entity_id.split("/")
    return any(
        (operator, reason, "/".join(above[:depth]), end) in ordered
        for depth in range(1, len(above))
        for end in (*_ENDS_ABOVE, "manual_override")
    )
