"""Why an entity is not moving, and what would move it: from the database alone."""

from __future__ import annotations

import sqlite3

import msgspec

from runtime.cell import SUSPENDED
from runtime.view import guards, why_guard, why_task
from runtime.view.because import Cause, Explanation, Move, paused_by
from runtime.view.standing import Standing, at_address, standing
from runtime.view.told import length

_SHOWN_MAX = 8


class Why(msgspec.Struct, frozen=True):
    """One screen: where it stands, what it waits for, what a person could do."""

    kind: str
    id: str
    state: str
    since: float
    version: int
    reason: str | None
    summary: str
    causes: list[Cause]
    moves: list[Move]


def why(db: sqlite3.Connection, kind: str, entity_id: str, now: float) -> Why:
    """The explanation of one entity that exists."""
    found = standing(db, kind, entity_id)
    assert found is not None, f"{kind} {entity_id} was found a moment ago"
    match kind:
        case "run":
            said = _run(db, found, now)
        case "workstream":
            said = _workstream(db, found, now)
        case "task":
            said = why_task.explain(db, found, now)
        case "test_gate":
            said = why_guard.gate(db, found, now)
            why_task.timers(said, found, now)
        case "worker":
            said = _worker(db, found, now)
        case "circuit_breaker":
            said = why_guard.breaker(db, found, now)
        case _:
            said = Explanation(found.reason or "nothing more is on record; see its history")
    _suspended(said, found)
    return Why(
        kind,
        entity_id,
        found.state,
        found.since,
        found.version,
        found.reason,
        said.summary,
        said.causes,
        said.moves,
    )


def _suspended(said: Explanation, found: Standing) -> None:
    """Its turns failed, so that it takes none: before all else."""
    if (reason := found.metadata.get(SUSPENDED)) is None:
        return
    said.summary = "it is suspended: it takes no turns, because its last ones failed"
    said.causes.insert(0, Cause(reason))
    said.moves.insert(0, Move(f"banksman release {found.id}", "lets it go on, once that is mended"))


def _run(db: sqlite3.Connection, run: Standing, now: float) -> Explanation:
    if run.completed_at is not None:
        said = Explanation(f"it has ended: {run.state}")
        for row in _open_or_failed(db, "tasks", run.id, ("failed",)):
            said.because(f"task {row['id']} failed", row["reason"], row["id"])
            said.move(f"banksman logs {row['id']}", "what it printed")
        return said
    said = Explanation("its workstreams have not all ended")
    _held_up(db, said, run, now)
    for row in _open_or_failed(db, "workstreams", run.id, ()):
        said.because(f"workstream {row['id']} is {row['state']}", row["reason"], row["id"])
    blocked = _open_or_failed(db, "tasks", run.id, ("blocked",))
    for row in blocked:
        said.because(f"task {row['id']} is blocked", row["reason"], row["id"])
        said.move(f"banksman unblock {row['id']}", "waives what blocks it")
    for row in _open_or_failed(db, "tasks", run.id, ("validating",)):
        said.because(f"task {row['id']} is validating", row["reason"], row["id"])
        said.move(f"banksman why {row['id']}", "looks one step deeper")
    if said.causes and said.causes[0].entity:
        said.move(f"banksman why {said.causes[0].entity}", "looks one step deeper")
    return said


def _held_up(db: sqlite3.Connection, said: Explanation, run: Standing, now: float) -> None:
    """A pause, its end on the way, a person or a tool that is waited for."""
    if run.state == "paused" or run.value.get("paused"):
        said.summary = "it is paused: nothing of it starts"
        said.cause(paused_by(db, run))
        if run.value.get("overspent"):
            said.because(f"spent: {_spent(run)}")
            said.move(f"banksman resume {run.id}", "grants the whole budget again")
        else:
            said.move(f"banksman resume {run.id}", "lets it go on")
    if run.state == "initializing":
        said.summary = "its tasks are being made"
    if ending := run.value.get("ending"):
        said.summary = f"it is ending ({ending}): what still runs is being ended first"
    for wanted in guards.approvals(db, [run.id])[:_SHOWN_MAX]:
        said.because(f"gate {wanted.gate} waits for a person", None, wanted.gate)
        said.move(f"banksman approve {wanted.gate}", "lets it pass")
    for breaker in guards.breakers(db, closed=False):
        if breaker.parked:
            text = f"{breaker.parked} parked behind a breaker: {why_guard.shut(breaker, now)}"
            said.because(text, breaker.reason, breaker.id)
            said.move(f"banksman why {breaker.id}", "looks one step deeper")


def _spent(run: Standing) -> str:
    spent = run.value
    seconds = length(spent.get("seconds_spent", 0.0))
    return f"{spent.get('attempts_spent', 0)} attempts, {seconds} of executions"


def _workstream(db: sqlite3.Connection, stream: Standing, now: float) -> Explanation:
    value = stream.value
    if stream.completed_at is not None:
        said = Explanation(f"it has ended: {stream.state}")
        for source, root in stream.causes:
            said.because(why_task.rooted(source, root))
        for row in _of_workstream(db, stream.id, ("failed",)):
            said.because(f"task {row['id']} failed", row["reason"], row["id"])
            said.move(f"banksman logs {row['id']}", "what it printed")
        return said
    said = Explanation(_WORKSTREAM[stream.state])
    if value.get("paused") or stream.state == "paused":
        said.cause(paused_by(db, stream))
        said.move(f"banksman resume {stream.id}", "lets it go on")
    if value.get("run_paused"):
        said.because("its run is paused", None, str(stream.row["run_id"]))
        said.move(f"banksman resume {stream.row['run_id']}", "lets the whole run go on")
    if ending := value.get("ending"):
        said.because(f"it is ending ({ending}): what still runs is being ended first")
    if stream.state in ("pending", "blocked"):
        _wait_for(db, said, stream, now)
    if stream.state == "blocked":
        for source, root in stream.causes:
            said.because(why_task.rooted(source, root))
            said.move(f"banksman unblock {stream.id}", "waives what blocks it")
    for address in value.get("judges", ()):
        why_guard.not_passed(db, said, address, now)
    for row in _unfinished(db, stream):
        said.because(f"task {row['id']} is {row['state']}", row["reason"], row["id"])
        said.move(f"banksman why {row['id']}", "looks one step deeper")
    return said


def _unfinished(db: sqlite3.Connection, stream: Standing) -> list[sqlite3.Row]:
    """The tasks that it waits for: those at work, else also those that have not begun."""
    found = _of_workstream(db, stream.id, _AT_WORK)
    if all(row["state"] == "blocked" for row in found) and stream.state in ("ready", "running"):
        found += _of_workstream(db, stream.id, ("pending",))
    return found


_AT_WORK = ("blocked", "validating", "running", "retrying", "queued")
_WORKSTREAM = {
    "pending": "it waits for what it depends on",
    "ready": "it may start, as soon as a task of it may",
    "running": "its tasks have not all ended",
    "paused": "it is paused: nothing of it starts",
    "blocked": "it cannot go on by itself",
    "validating": "its tasks are done: its own gates must pass",
}


def _worker(db: sqlite3.Connection, worker: Standing, now: float) -> Explanation:
    said = Explanation(_WORKER[worker.state])
    if task := worker.row["task_id"]:
        found = standing(db, "task", task)
        if found is not None:
            said.because(f"it executes task {task}", None, task)
    if worker.value.get("paused") or worker.state == "paused":
        said.cause(paused_by(db, worker))
        said.move(f"banksman resume {worker.id}", "lets it take tasks again")
    if worker.value.get("draining"):
        said.because("it drains: nothing new is given to it")
    if worker.reason:
        said.because(worker.reason)
    why_task.timers(said, worker, now)
    return said


_WORKER = {
    "initializing": "its process is being started",
    "idle": "it is free: no task that it may execute is queued",
    "busy": "it executes a task",
    "paused": "it is paused: it takes no task",
    "unresponsive": "its process has fallen silent: it is given time to come back",
    "failed": "its process is gone: it gets a new one after a pause",
    "shutdown": "it was removed from its pool",
}


def _wait_for(db: sqlite3.Connection, said: Explanation, found: Standing, now: float) -> None:
    for address in found.spec.get("sources", ()):
        source = at_address(db, address)
        if source is not None and not source.done and address not in found.waived:
            why_task.dependency(said, source, now)


def _open_or_failed(
    db: sqlite3.Connection, table: str, run_id: str, states: tuple[str, ...]
) -> list[sqlite3.Row]:
    among = f"state IN ({', '.join('?' * len(states))})" if states else "completed_at IS NULL"
    return db.execute(
        f"SELECT id, state, reason FROM {table} WHERE run_id = ? AND {among} ORDER BY n LIMIT ?",
        (run_id, *states, _SHOWN_MAX),
    ).fetchall()


def _of_workstream(
    db: sqlite3.Connection, stream_id: str, states: tuple[str, ...]
) -> list[sqlite3.Row]:
    return db.execute(
        "SELECT id, state, reason FROM tasks WHERE workstream_id = ?"
        f" AND state IN ({', '.join('?' * len(states))}) ORDER BY n LIMIT ?",
        (stream_id, *states, _SHOWN_MAX),
    ).fetchall()
