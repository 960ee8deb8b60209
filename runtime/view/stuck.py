"""What takes longer than it should: how long, what was expected and on what ground, what to do.

The ground is the plan's own bound where it names one; else what the same name took before in this
state directory; else a default of `runtime.limits`. What a person has paused is not stuck.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec

from runtime.limits import (
    STUCK_DEFAULT_S,
    STUCK_FACTOR,
    STUCK_HISTORY_MIN,
    STUCK_HISTORY_RUNS,
    STUCK_LISTED_MAX,
    STUCK_PERSON_S,
    STUCK_START_S,
    STUCK_WAIT_S,
)
from runtime.view.because import Move
from runtime.view.guards import WITHOUT_PLACE, BreakerRow, approvals, breakers
from runtime.view.standing import standing
from runtime.view.told import length


class Expected(msgspec.Struct, frozen=True):
    """So many seconds, and why so many."""

    seconds: float
    ground: str


class Stuck(msgspec.Struct, frozen=True):
    """One entity that is past its time. `moves`: what a person could type next."""

    kind: str
    id: str
    state: str
    since: float
    seconds: float
    expected_s: float
    ground: str
    what: str
    moves: tuple[Move, ...]


class More(msgspec.Struct, frozen=True):
    """So many more of the kind are in the state, and were not looked at one by one."""

    kind: str
    state: str
    count: int


class Findings(msgspec.Struct, frozen=True):
    """What is past its time, the furthest first, and how many were not looked at."""

    stuck: list[Stuck]
    more: list[More]


def stuck(db: sqlite3.Connection, now: float) -> Findings:
    """Looks at `STUCK_LISTED_MAX` of each kind and state, those that are there longest."""
    more: list[More] = []
    shut = [row for row in breakers(db, closed=False) if row.parked]
    found = [
        *_tasks(db, now, shut, more),
        *_parked(db, now, shut, more),
        *_gates(db, now, more),
        *_workers(db, now),
        *_workstreams(db, now, more),
    ]
    past = [one for one in found if one.seconds > one.expected_s]
    return Findings(sorted(past, key=lambda one: one.expected_s - one.seconds), more)


def _some(
    db: sqlite3.Connection,
    which: str,
    parameters: tuple[Any, ...],
    of: tuple[str, str],
    more: list[More],
) -> list[sqlite3.Row]:
    """The oldest rows that are meant; those beyond the bound go into `more`, as `of`: their kind
    and state."""
    query = f"{which} ORDER BY n LIMIT {STUCK_LISTED_MAX}"
    rows = db.execute(f"SELECT * FROM {query}", parameters).fetchall()
    if len(rows) == STUCK_LISTED_MAX:
        count = db.execute(f"SELECT count(*) FROM {which}", parameters).fetchone()[0]
        if count > len(rows):
            more.append(More(*of, count - len(rows)))
    return rows


_RUNNING = "run_id IN (SELECT id FROM runs WHERE state = 'running')"
_NOT_PAUSED = "coalesce(json_extract(value, '$.paused'), 0) = 0"


# --- tasks ---------------------------------------------------------------------------------------


def _tasks(
    db: sqlite3.Connection, now: float, shut: list[BreakerRow], more: list[More]
) -> Iterator[Stuck]:
    behind = ", ".join("?" * len(shut))
    free = f"coalesce(json_extract(spec, '$.breaker'), '') NOT IN ({behind})"
    ids = tuple(row.id for row in shut)
    for state in ("running", "validating", "retrying", "blocked", "queued"):
        which = f"tasks WHERE state = ? AND {_RUNNING} AND {_NOT_PAUSED} AND {free}"
        for row in _some(db, which, (state, *ids), ("task", state), more):
            value, spec = msgspec.json.decode(row["value"]), msgspec.json.decode(row["spec"])
            since = float(value.get("since") or row["created_at"])
            expected, what, moves = _task(db, row, spec, now)
            yield _one("task", row, since, now, expected, what, moves)


def _parked(
    db: sqlite3.Connection, now: float, shut: list[BreakerRow], more: list[More]
) -> Iterator[Stuck]:
    """Tasks, and gates without a place, that a shut breaker keeps back."""
    waiting = (
        ("task", "tasks", f"state = 'queued' AND {_NOT_PAUSED}"),
        ("test_gate", "test_gates", WITHOUT_PLACE),
    )
    for breaker in shut:
        due = 0.0 if breaker.due is None else max(0.0, breaker.due - breaker.since)
        expected = Expected(due + STUCK_WAIT_S, f"its breaker's cooldown and {STUCK_WAIT_S:g} s")
        what = f"parked behind breaker {breaker.id}, which is {breaker.state}"
        moves = (Move(f"banksman why {breaker.id}", "who opened it, and until when"),)
        behind = f"{_RUNNING} AND json_extract(spec, '$.breaker') = ?"
        for kind, table, waits in waiting:
            which = f"{table} WHERE {waits} AND {behind}"
            for row in _some(db, which, (breaker.id,), (kind, "parked"), more):
                # A gate is there long before it is asked for: what it waits for is the breaker.
                value = msgspec.json.decode(row["value"])
                since = float(value.get("since") or max(row["created_at"], breaker.since))
                yield _one(kind, row, since, now, expected, what, moves)


def _task(
    db: sqlite3.Connection, row: sqlite3.Row, spec: dict[str, Any], now: float
) -> tuple[Expected, str, tuple[Move, ...]]:
    task_id, plan = row["id"], spec.get("task", {})
    look = Move(f"banksman why {task_id}", "what it waits for")
    match row["state"]:
        case "running":
            what, after = (
                "its execution takes long",
                Move(f"banksman cancel {task_id}", "gives up on it"),
            )
            logs = Move(f"banksman logs -f {task_id}", "what it prints")
            return _execution(db, row, plan), what, (logs, look, after)
        case "queued":
            bound = plan.get("queue_timeout_s")
            expected = _planned(bound, "queue_timeout_s") or _default(STUCK_WAIT_S)
            slots = Move("banksman workers", "who has the slots")
            return expected, "no slot has taken it", (look, slots)
        case "blocked":
            free = Move(f"banksman unblock {task_id}", "waives what blocks it")
            return _default(STUCK_WAIT_S), f"blocked: {row['reason'] or 'no reason'}", (look, free)
        case "validating":
            return _default(STUCK_DEFAULT_S), "its gates give no verdict", (look,)
        case _:
            bound = plan.get("backoff_s_max", 300.0)
            expected = Expected(bound + STUCK_WAIT_S, f"backoff_s_max and {STUCK_WAIT_S:g} s")
            return expected, "it does not try again", (look,)


def _execution(db: sqlite3.Connection, row: sqlite3.Row, plan: dict[str, Any]) -> Expected:
    planned = _planned(plan.get("timeout_s"), "timeout_s")
    path = row["id"].partition("/")[2].partition("~")[0]
    return planned or _before(db, "tasks", path, "AND retry_count = 0") or _default(STUCK_DEFAULT_S)


# --- gates ---------------------------------------------------------------------------------------


def _gates(db: sqlite3.Connection, now: float, more: list[More]) -> Iterator[Stuck]:
    for row in _some(db, "test_gates WHERE state = 'running'", (), ("test_gate", "running"), more):
        spec = msgspec.json.decode(row["spec"]).get("gate", {})
        bound = _planned(spec.get("timeout_s"), "timeout_s")
        took = _took(
            db,
            "SELECT completed_at - started_at FROM test_gates WHERE name = ?"
            " AND state = 'passed' ORDER BY n DESC LIMIT 50",
            (row["name"],),
        )
        expected = bound or _history(took) or _default(STUCK_DEFAULT_S)
        moves = (
            Move(f"banksman logs -f {row['id']}", "what it prints"),
            Move(f"banksman cancel {row['id']}", "gives up on it"),
        )
        since = row["started_at"] or row["created_at"]
        yield _one("test_gate", row, since, now, expected, "its command takes long", moves)
    for wanted in approvals(db):
        at = standing(db, "test_gate", wanted.gate)
        assert at is not None
        moves = (
            Move(f"banksman approve {wanted.gate}", "lets it pass"),
            Move(f"banksman reject {wanted.gate}", "lets it fail"),
        )
        expected, what = _default(STUCK_PERSON_S), "it waits for a person"
        yield _one("test_gate", at.row, wanted.since, now, expected, what, moves)


# --- workers and workstreams ---------------------------------------------------------------------


_SLOT = {
    "unresponsive": "its process is silent",
    "failed": "it gets no new process",
    "initializing": "its process does not come up",
}


def _workers(db: sqlite3.Connection, now: float) -> Iterator[Stuck]:
    states = ", ".join(f"'{state}'" for state in _SLOT)
    for row in db.execute(f"SELECT * FROM workers WHERE state IN ({states})").fetchall():
        at = standing(db, "worker", row["id"])
        assert at is not None
        slot = at.spec.get("slot", {})
        if at.state == "unresponsive":
            bound = slot.get("recovery_window_s", 300.0)
            expected = Expected(bound, "recovery_window_s")
        elif at.state == "failed":
            bound = slot.get("restart", {}).get("backoff_s_max", 60.0)
            expected = Expected(bound + STUCK_START_S, f"backoff_s_max and {STUCK_START_S:g} s")
        else:
            expected = _default(STUCK_START_S)
        moves = (
            Move(f"banksman why {at.id}", "what happened to it"),
            Move(f"banksman worker replace {at.id}", "gives it a new process"),
        )
        yield _one("worker", at.row, at.since, now, expected, _SLOT[at.state], moves)


def _workstreams(db: sqlite3.Connection, now: float, more: list[More]) -> Iterator[Stuck]:
    states = "state IN ('ready', 'running', 'validating', 'blocked')"
    which = f"workstreams WHERE {states} AND {_RUNNING} AND {_NOT_PAUSED}"
    for row in _some(db, which, (), ("workstream", "unfinished"), more):
        at = standing(db, "workstream", row["id"])
        assert at is not None
        path = row["id"].partition("/")[2]
        expected = _before(db, "workstreams", path) or _default(STUCK_DEFAULT_S)
        what = f"it is {at.state}"
        if at.state == "blocked":
            expected, what = _default(STUCK_WAIT_S), f"blocked: {at.reason or 'no reason'}"
        moves = (Move(f"banksman why {at.id}", "what it waits for"),)
        since = at.since if at.state != "running" else row["started_at"] or at.since
        yield _one("workstream", at.row, since, now, expected, what, moves)


# --- what is expected ----------------------------------------------------------------------------


def _planned(bound: float | None, name: str) -> Expected | None:
    return None if bound is None else Expected(bound, f"{name} of the plan")


def _default(seconds: float) -> Expected:
    return Expected(seconds, "the default")


def _before(db: sqlite3.Connection, table: str, path: str, more: str = "") -> Expected | None:
    """What the same name took in earlier runs; ids are looked up, however many entities there
    are."""
    runs = db.execute("SELECT id FROM runs ORDER BY n DESC LIMIT ?", (STUCK_HISTORY_RUNS,))
    ids = [f"{run[0]}/{path}" for run in runs]
    return _history(
        _took(
            db,
            f"SELECT completed_at - started_at FROM {table}"
            f" WHERE id IN ({', '.join('?' * len(ids))}) AND state = 'completed' {more}",
            tuple(ids),
        )
    )


def _took(db: sqlite3.Connection, query: str, parameters: tuple[Any, ...]) -> list[float]:
    return sorted(row[0] for row in db.execute(query, parameters) if row[0] is not None)


def _history(took: list[float]) -> Expected | None:
    """A multiple of the 95th percentile, where there is enough to have one."""
    if len(took) < STUCK_HISTORY_MIN:
        return None
    p95 = took[int(0.95 * (len(took) - 1))]
    ground = f"{STUCK_FACTOR:g} x p95 of the last {len(took)} ({length(p95)})"
    # What takes milliseconds is not stuck after some more of them.
    return Expected(max(STUCK_FACTOR * p95, STUCK_START_S), ground)


def _one(
    kind: str,
    row: Any,
    since: float,
    now: float,
    expected: Expected,
    what: str,
    moves: tuple[Move, ...],
) -> Stuck:
    seconds = max(0.0, now - since)
    bound, ground = expected.seconds, expected.ground
    return Stuck(kind, row["id"], row["state"], since, seconds, bound, ground, what, moves)
