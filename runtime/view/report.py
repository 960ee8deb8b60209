"""What became of a run: what landed, what failed and waits, what it cost."""

from __future__ import annotations

import sqlite3

import msgspec

from runtime.view import rows
from runtime.view.rows import NEWEST, GateRow, RunRow, TaskRow, WorkstreamRow

_SHOWN_MAX = 50  # failures and waits that are spelled out; the counts are whole
_SLOWEST = 5
_ENDED = ("completed", "failed", "cancelled")


class TaskTime(msgspec.Struct, frozen=True):
    id: str
    seconds: float
    retries: int


class Report(msgspec.Struct, frozen=True):
    """`seconds` is from the run's start to its end, or to now; `work_seconds` is the sum over its
    tasks, so that their ratio is what running side by side saved."""

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
        "SELECT coalesce(sum(coalesce(completed_at, ?) - started_at), 0.0),"
        f" coalesce(sum(CASE WHEN {NEWEST} THEN retry_count END), 0),"
        " coalesce(sum(state = 'failed' AND json_extract(spec, '$.task.critical') = 0"
        f" AND {NEWEST}), 0) FROM tasks WHERE run_id = ?",
        (now, run_id),
    ).fetchone()
    return Report(
        run=run,
        seconds=max(0.0, (run.completed_at or now) - began),
        work_seconds=max(0.0, work),
        retries=retries,
        noncritical_failures=failures,
        workstreams=rows.workstreams(db, run_id),
        failed=_some(db, run_id, ["failed"]),
        waiting=_some(db, run_id, open_states) if open_states else [],
        gates=rows.gates(db, [run_id]),
        slowest=_slowest(db, run_id),
    )


def root_failure(db: sqlite3.Connection, run_id: str) -> TaskRow | None:
    """The critical task whose failure came first: what a person must look at."""
    failed = [t for t in _some(db, run_id, ["failed"]) if t.critical] or _some(
        db, run_id, ["failed"]
    )
    return min(failed, key=lambda t: t.completed_at or 0.0, default=None)


def _some(db: sqlite3.Connection, run_id: str, states: list[str]) -> list[TaskRow]:
    found = []
    for task in rows.tasks(db, [run_id], states, newest=True):
        found.append(task)
        if len(found) == _SHOWN_MAX:
            break
    return found


def _slowest(db: sqlite3.Connection, run_id: str) -> list[TaskTime]:
    return [
        TaskTime(row["id"], row["seconds"], row["retry_count"])
        for row in db.execute(
            "SELECT id, completed_at - started_at AS seconds, retry_count FROM tasks"
            " WHERE run_id = ? AND completed_at IS NOT NULL AND started_at IS NOT NULL"
            " ORDER BY seconds DESC LIMIT ?",
            (run_id, _SLOWEST),
        )
    ]
