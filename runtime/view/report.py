"""What became of a run: what landed, what failed and waits, what it cost."""

from __future__ import annotations

import heapq
import sqlite3

import msgspec

from actors.messages import OWNER_RESTARTED
from runtime.view import rows
from runtime.view.rows import NEWEST, GateRow, RunRow, TaskRow, WorkstreamRow

_SHOWN_MAX = 50  # failures and waits that are spelled out; the counts are whole
_SLOWEST = 5
_ENDED = ("completed", "failed", "cancelled")


# More turns than one execution takes: only what may have had several is looked at row by row.
_TRIED_AGAIN = "run_id = :run AND started_at IS NOT NULL AND (retry_count > 0 OR version > 4)"
_EXECUTIONS = f"""
WITH RECURSIVE step(task, at, state, reason, before) AS (
  SELECT t.id, a.transitioned_at, a.from_state, a.reason, a.entity_prev
    FROM (SELECT * FROM tasks WHERE {_TRIED_AGAIN}) t
    JOIN state_transitions a ON a.seq = t.audit_seq
  UNION ALL
  SELECT s.task, a.transitioned_at, a.from_state, a.reason, a.entity_prev
    FROM step s JOIN state_transitions a ON a.seq = s.before)
SELECT s.task, sum(CASE WHEN s.state IN ('running', 'validating')
                        AND s.reason IS NOT '{OWNER_RESTARTED}'  -- nobody saw when it ended
                   THEN s.at - p.transitioned_at ELSE 0.0 END) AS seconds
  FROM step s JOIN state_transitions p ON p.seq = s.before GROUP BY s.task"""


class TaskTime(msgspec.Struct, frozen=True):
    id: str
    seconds: float
    retries: int


class Report(msgspec.Struct, frozen=True):
    """`seconds` is from the run's start to its end, or to now; `work_seconds` is the sum over its
    tasks, without what they waited between two tries or what an owner's death cut short, so that
    their ratio is what running side by side saved."""

    run: RunRow
    seconds: float
    work_seconds: float
    retries: int
    noncritical_failures: int
    workstreams: list[WorkstreamRow]
    failed: list[TaskRow]
    waiting: list[TaskRow]
    gates: list[GateRow]
    slowest: list[TaskTime]


def report(db: sqlite3.Connection, run_id: str, now: float) -> Report:
    """The report of one run as it stands."""
    run = rows.runs(db, [run_id])[0]
    open_states = [s for s in run.tasks.by_state if s not in _ENDED]
    began = run.started_at if run.started_at is not None else run.created_at
    work, retries, failures = db.execute(
        f"SELECT coalesce(sum(CASE WHEN {_TRIED_AGAIN} THEN 0.0"
        " ELSE coalesce(completed_at, :now) - started_at END), 0.0),"
        f" coalesce(sum(CASE WHEN {NEWEST} THEN retry_count END), 0),"
        " coalesce(sum(state = 'failed' AND json_extract(spec, '$.task.critical') = 0"
        f" AND {NEWEST}), 0) FROM tasks WHERE run_id = :run",
        {"run": run_id, "now": now},
    ).fetchone()
    again = _executed(db, run_id, now)
    return Report(
        run=run,
        seconds=max(0.0, (run.completed_at or now) - began),
        work_seconds=max(0.0, work + sum(again.values())),
        retries=retries,
        noncritical_failures=failures,
        workstreams=rows.workstreams(db, run_id),
        failed=_some(db, run_id, ["failed"]),
        waiting=_some(db, run_id, open_states) if open_states else [],
        gates=rows.gates(db, [run_id]),
        slowest=_slowest(db, run_id, again),
    )


def root_failure(db: sqlite3.Connection, run_id: str) -> TaskRow | None:
    """The critical task whose failure came first: what a person must look at."""
    failed = [t for t in _some(db, run_id, ["failed"]) if t.critical] or _some(
        db, run_id, ["failed"]
    )
    return min(failed, key=lambda t: t.completed_at or 0.0, default=None)


def root_gate(db: sqlite3.Connection, run: RunRow) -> GateRow | None:
    """The gate whose verdict failed the run, if one did: what it printed tells more than the task
    or workstream that it judged."""
    failed = [g for g in rows.gates(db, [run.id]) if g.state == "failed"]
    return next((g for g in failed if f"{g.id} failed" in (run.reason or "")), None)


def _some(db: sqlite3.Connection, run_id: str, states: list[str]) -> list[TaskRow]:
    found = []
    for task in rows.tasks(db, [run_id], states, newest=True):
        found.append(task)
        if len(found) == _SHOWN_MAX:
            break
    return found


def _executed(db: sqlite3.Connection, run_id: str, now: float) -> dict[str, float]:
    """How long each task that may have been tried again was executed and validated, all in all."""
    found = {row[0]: row[1] for row in db.execute(_EXECUTIONS, {"run": run_id})}
    for task_id, since in db.execute(
        f"SELECT t.id, a.transitioned_at FROM (SELECT * FROM tasks WHERE {_TRIED_AGAIN}) t"
        " JOIN state_transitions a ON a.seq = t.audit_seq"
        " WHERE t.state IN ('running', 'validating')",
        {"run": run_id},
    ):
        found[task_id] += max(0.0, now - since)
    return found


def _slowest(db: sqlite3.Connection, run_id: str, again: dict[str, float]) -> list[TaskTime]:
    ended = db.execute(
        "SELECT id, completed_at - started_at AS seconds, retry_count FROM tasks"
        f" WHERE run_id = :run AND completed_at IS NOT NULL AND started_at IS NOT NULL"
        f" AND NOT ({_TRIED_AGAIN}) ORDER BY seconds DESC LIMIT :some",
        {"run": run_id, "some": _SLOWEST},
    )
    tried = db.execute(
        f"SELECT id, 0.0, retry_count FROM tasks WHERE {_TRIED_AGAIN} AND completed_at IS NOT NULL",
        {"run": run_id},
    )
    times = [TaskTime(task, again.get(task, seconds), n) for task, seconds, n in (*ended, *tried)]
    return heapq.nlargest(_SLOWEST, times, key=lambda time: time.seconds)
