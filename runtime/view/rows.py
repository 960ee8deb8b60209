"""What is, a row an entity: runs, workstreams, tasks, workers and gates with what they count."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

RUN_ENDS = ("completed", "failed", "cancelled")
WORKSTREAM_ENDS = ("completed", "failed", "cancelled", "skipped")


class Counts(msgspec.Struct, frozen=True):
    """How many children are in each state; one that was retried is counted by its newest only."""

    total: int
    by_state: dict[str, int]


NOTHING = Counts(0, {})


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What every entity has. Times are seconds since the Unix epoch."""

    id: str
    state: str
    version: int
    created_at: float
    started_at: float | None
    completed_at: float | None
    reason: str | None


class RunRow(Row, frozen=True, kw_only=True):
    name: str
    phase: str | None
    workstreams: Counts
    tasks: Counts


class WorkstreamRow(Row, frozen=True, kw_only=True):
    run_id: str
    name: str
    critical: bool
    depends_on: tuple[str, ...]
    tasks: Counts


class TaskRow(Row, frozen=True, kw_only=True):
    """`attempt`: executions so far, the number of its last output file; `lease`: under which it
    runs."""

    run_id: str
    workstream_id: str
    worker_id: str | None
    retry_count: int
    max_retries: int
    exit_code: int | None
    retry_of: str | None
    critical: bool
    paused: bool
    attempt: int
    lease: str | None


class WorkerRow(Row, frozen=True, kw_only=True):
    """`since` is when it entered its state; `pid` is that of its live process."""

    run_id: str | None
    pool: str
    kind: str
    task_id: str | None
    uet_id: str | None
    pid: int | None
    since: float


class GateRow(Row, frozen=True, kw_only=True):
    run_id: str
    name: str
    type: str
    subject: str
    attempt: int
    exit_code: int | None
    retry_of: str | None
    approval: bool  # a person judges it
    approver: str | None
    asked_at: float | None  # since when it waits for that person
    judged_by: str | None
    tests: int | None  # executed, where its runner says
    reused_from: str | None  # the gate whose verdict it is: nothing had changed


_PAGE = 1_000

_COMMON = "e.id, e.state, e.version, e.created_at, e.started_at, e.completed_at, e.reason"

# A task that was retried stands in its retry; both are rows, one is counted.
NEWEST = "id NOT IN (SELECT retry_of FROM tasks WHERE retry_of IS NOT NULL)"


def runs(db: sqlite3.Connection, ids: Sequence[str] = (), limit: int | None = None) -> list[RunRow]:
    """The newest first; `ids`: these alone."""
    condition = _among("e.id", ids)
    rows = db.execute(
        f"SELECT {_COMMON}, e.name, e.phase FROM runs e WHERE {condition}"
        " ORDER BY e.created_at DESC, e.n DESC LIMIT ?",
        [*ids, -1 if limit is None else limit],
    ).fetchall()
    shown = [row["id"] for row in rows]
    workstreams = _counts(db, "workstreams", "run_id", shown)
    tasks = _counts(db, "tasks", "run_id", shown)
    return [
        RunRow(
            **common(row),
            name=row["name"],
            phase=row["phase"],
            workstreams=workstreams.get(row["id"], NOTHING),
            tasks=tasks.get(row["id"], NOTHING),
        )
        for row in rows
    ]


def workstreams(db: sqlite3.Connection, run_id: str) -> list[WorkstreamRow]:
    """In the order of the plan."""
    counts = _counts(db, "tasks", "workstream_id", (), run_id)
    found = []
    for row in db.execute(
        f"SELECT {_COMMON}, e.run_id, e.spec FROM workstreams e WHERE e.run_id = ? ORDER BY e.n",
        (run_id,),
    ):
        spec = _spec(row)
        found.append(
            WorkstreamRow(
                **common(row),
                run_id=row["run_id"],
                name=row["id"].rpartition("/")[2],
                critical=spec.get("critical", True),
                depends_on=tuple(source.rpartition("/")[2] for source in spec.get("sources", ())),
                tasks=counts.get(row["id"], NOTHING),
            )
        )
    return found


def tasks(
    db: sqlite3.Connection,
    run_ids: Sequence[str],
    states: Sequence[str] = (),
    *,
    newest: bool = False,
) -> Iterator[TaskRow]:
    """One by one in the order of their creation: there may be a million. `newest`: without those
    that were retried."""
    kept = NEWEST if newest else "1"
    last = 0
    while True:
        # Page by page, each a read of its own: a reader that stalls must not pin the WAL.
        page = db.execute(
            f"SELECT {_COMMON}, e.n, e.run_id, e.workstream_id, e.worker_id, e.retry_count,"
            " e.max_retries, e.exit_code, e.retry_of,"
            " coalesce(json_extract(e.spec, '$.task.critical'), 1) AS critical,"
            " coalesce(json_extract(e.value, '$.paused'), 0) AS paused, e.lease,"
            " coalesce(json_extract(e.value, '$.attempt'), 0) AS attempt"
            f" FROM tasks e WHERE e.n > ? AND {_among('e.run_id', run_ids)}"
            f" AND {_among('e.state', states)} AND {kept} ORDER BY e.n LIMIT ?",
            [last, *run_ids, *states, _PAGE],
        ).fetchall()
        yield from map(_task, page)
        if len(page) < _PAGE:
            return
        last = page[-1]["n"]


def _task(row: sqlite3.Row) -> TaskRow:
    return TaskRow(
        **common(row),
        run_id=row["run_id"],
        workstream_id=row["workstream_id"],
        worker_id=row["worker_id"],
        retry_count=row["retry_count"],
        max_retries=row["max_retries"],
        exit_code=row["exit_code"],
        retry_of=row["retry_of"],
        critical=bool(row["critical"]),
        paused=bool(row["paused"]),
        attempt=row["attempt"],
        lease=row["lease"],
    )


def workers(db: sqlite3.Connection, *, ended: bool = False) -> list[WorkerRow]:
    """Every slot; `ended`: those that were shut down too."""
    condition = "1" if ended else "e.state <> 'shutdown'"
    return [
        WorkerRow(
            **common(row),
            run_id=row["run_id"],
            pool=row["pool"],
            kind=row["kind"],
            task_id=row["task_id"],
            uet_id=row["uet_id"],
            pid=row["pid"] or None,
            since=row["since"] or row["created_at"],
        )
        for row in db.execute(
            f"SELECT {_COMMON}, e.run_id, e.pool, e.kind, e.task_id, e.uet_id, u.pid,"
            " (SELECT transitioned_at FROM state_transitions t WHERE t.seq = e.audit_seq) AS since"
            " FROM workers e LEFT JOIN uet_workers u ON u.id = e.uet_id AND u.state <> 'terminated'"
            f" WHERE {condition} ORDER BY e.n"
        )
    ]


def gates(db: sqlite3.Connection, run_ids: Sequence[str]) -> list[GateRow]:
    """Every gate entity of the runs, in the order of their creation."""
    return [
        _gate(row)
        for row in db.execute(
            f"SELECT {_COMMON}, e.run_id, e.name, e.spec, e.value, e.subject, e.attempt,"
            " e.exit_code, e.approver, e.retry_of"
            f" FROM test_gates e WHERE {_among('e.run_id', run_ids)} ORDER BY e.n",
            list(run_ids),
        )
    ]


def _gate(row: sqlite3.Row) -> GateRow:
    spec, value = _spec(row).get("gate", {}), msgspec.json.decode(row["value"])
    check = value.get("check") or {}
    return GateRow(
        **common(row),
        run_id=row["run_id"],
        name=row["name"],
        type=spec.get("type", "UNIT"),
        subject=row["subject"],
        attempt=row["attempt"],
        exit_code=row["exit_code"],
        retry_of=row["retry_of"],
        approval=spec.get("approval", False),
        approver=row["approver"],
        asked_at=value.get("asked_at"),
        judged_by=check.get("judged_by"),
        tests=check.get("tests"),
        reused_from=check.get("reused_from"),
    )


def runs_in_view(db: sqlite3.Connection) -> list[str]:
    """What a person looks at who names no run: the unfinished ones, else the newest."""
    open_runs = [
        row["id"]
        for row in db.execute("SELECT id FROM runs WHERE completed_at IS NULL ORDER BY n DESC")
    ]
    if open_runs:
        return open_runs
    return [row["id"] for row in db.execute("SELECT id FROM runs ORDER BY n DESC LIMIT 1")]


def _counts(
    db: sqlite3.Connection, table: str, parent: str, ids: Sequence[str], run_id: str | None = None
) -> dict[str, Counts]:
    conditions = [_among(parent, ids), NEWEST if table == "tasks" else "1"]
    if run_id is not None:
        conditions.append("run_id = ?")
    by_parent: dict[str, dict[str, int]] = {}
    for owner, state, count in db.execute(
        f"SELECT {parent}, state, count(*) FROM {table} WHERE {' AND '.join(conditions)}"
        " GROUP BY 1, 2",
        [*ids, *([run_id] if run_id is not None else [])],
    ):
        by_parent.setdefault(owner, {})[state] = count
    return {owner: Counts(sum(states.values()), states) for owner, states in by_parent.items()}


def _among(column: str, values: Sequence[str]) -> str:
    return f"{column} IN ({', '.join('?' * len(values))})" if values else "1"


def common(row: sqlite3.Row) -> dict[str, Any]:
    """The fields of `Row`, from a row of any machine's table."""
    return {
        "id": row["id"],
        "state": row["state"],
        "version": row["version"],
        "created_at": row["created_at"],
        "started_at": row["started_at"],
        "completed_at": row["completed_at"],
        "reason": row["reason"],
    }


def _spec(row: sqlite3.Row) -> dict[str, Any]:
    spec: dict[str, Any] = msgspec.json.decode(row["spec"]) if row["spec"] else {}
    return spec
