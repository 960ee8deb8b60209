"""Entities held against the audit, the charts, the invariants, and each other."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from runtime.kinds import KINDS
from runtime.store.course import PROMISES
from runtime.store.findings import Finding

if TYPE_CHECKING:
    from runtime.kinds import Kind

_ANCHOR = "(SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'anchor')"
_COMMON = ("id", "run_id", "state", "created_at", "started_at", "completed_at", "reason")
_STAMPS = (
    "(started_at IS NULL OR created_at <= started_at)"
    " AND (completed_at IS NULL OR completed_at >= coalesce(started_at, created_at))"
)
# (what must hold, the condition) by table, beside what follows from the charts.
_INVARIANTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "tasks": (
        (
            "a running task has a worker and a lease, no other has",
            "(state = 'running') = (worker_id IS NOT NULL)"
            " AND (state = 'running') = (lease IS NOT NULL)",
        ),
        ("retry_count is within max_retries", "retry_count BETWEEN 0 AND max_retries"),
    ),
    "test_gates": (
        (
            "a passed gate has an exit code or an approver",
            "state <> 'passed' OR exit_code IS NOT NULL OR approver IS NOT NULL",
        ),
        (
            "a failed gate has an exit code or a reason",
            "state <> 'failed' OR exit_code IS NOT NULL OR length(reason) > 0",
        ),
    ),
    "patch_ledger": (
        (
            "a quarantined patch has a reason",
            "state <> 'quarantined' OR length(quarantine_reason) > 0",
        ),
        (
            "a rolled back patch has a reason",
            "state <> 'rolled_back' OR length(rollback_reason) > 0",
        ),
    ),
}

# Between two commits a message may be under way: then the two need not agree yet.
_QUIET = (
    "NOT EXISTS (SELECT 1 FROM messages m WHERE m.target IN"
    " ('task:' || {task}, 'worker:' || {worker}, 'uet_worker:' || {uet}))"
)
# (what is wrong, the query for whose) in terms of several tables.
_RELATIONS = (
    (
        "it runs under a lease that its worker does not hold",
        "SELECT 'task ' || t.id FROM tasks t LEFT JOIN workers w ON w.id = t.worker_id"
        " WHERE t.state = 'running'"
        " AND (w.lease = t.lease AND w.state IN ('busy', 'unresponsive')) IS NOT TRUE AND "
        + _QUIET.format(task="t.id", worker="t.worker_id", uet="coalesce(w.uet_id, '')"),
    ),
    (
        "it holds a lease under which no task runs",
        "SELECT 'worker ' || w.id FROM workers w LEFT JOIN tasks t ON t.id = w.task_id"
        " WHERE w.state IN ('busy', 'unresponsive')"
        " AND (w.lease = t.lease AND t.state = 'running') IS NOT TRUE AND "
        + _QUIET.format(task="w.task_id", worker="w.id", uet="coalesce(w.uet_id, '')"),
    ),
    (
        "it runs more than one task",
        "SELECT 'worker ' || worker_id FROM tasks WHERE state = 'running'"
        " GROUP BY worker_id HAVING count(*) > 1",
    ),
    *(
        (
            f"it has ended, and its {child} {{}} has not",
            f"SELECT 'run ' || r.id, c.id FROM {table} c JOIN runs r ON r.id = c.run_id"
            f" WHERE c.completed_at IS NULL AND r.completed_at IS NOT NULL{but}",
        )
        for child, table, but in (
            ("workstream", "workstreams", ""),
            ("task", "tasks", ""),
            ("gate", "test_gates", ""),
            ("patch", "patch_ledger", " AND c.state <> 'quarantined'"),
        )
    ),
    (
        "it has ended, and its task {} has not",
        "SELECT 'workstream ' || w.id, t.id FROM tasks t"
        " JOIN workstreams w ON w.id = t.workstream_id"
        " WHERE t.completed_at IS NULL AND w.completed_at IS NOT NULL",
    ),
)


def broken_entities(db: sqlite3.Connection, born: Mapping[str, int] | None) -> Iterator[Finding]:
    """`born`: how many entities of each type the audit saw created; None where it was pruned.

    It is read only after the audit was: fill it meanwhile.
    """
    for kind in KINDS.values():
        yield from _states(db, kind.name, kind.table or "")
        yield from _invariants(db, kind)
        yield from _values(db, kind)
    for (name,) in db.execute("SELECT DISTINCT kind FROM actors").fetchall():
        yield from _states(db, name, "actors")
    for text, sql in (*_RELATIONS, *PROMISES):
        for where, *child in db.execute(sql):
            yield Finding("relation", where, text.format(*child))
    if born is not None:
        yield from _counts(db, born)


def _states(db: sqlite3.Connection, name: str, table: str) -> Iterator[Finding]:
    """The state is that of the entity's last audit row."""
    own = "WHERE e.kind = ?" if table == "actors" else "WHERE ? IS NOT NULL"
    ended = "e.ended = 1" if table == "actors" else "e.completed_at IS NOT NULL"
    own += f" AND NOT ({ended} AND e.audit_seq <= {_ANCHOR})"  # its past is in archive/
    for entity, state, entity_type, entity_id, audited, successor in db.execute(
        "SELECT e.id, e.state, a.entity_type, a.entity_id, a.to_state, s.seq"
        f" FROM {table} e LEFT JOIN state_transitions a ON a.seq = e.audit_seq"
        f" LEFT JOIN state_transitions s ON s.entity_prev = e.audit_seq {own}",
        (name,),
    ):
        where = f"{name} {entity}"
        if successor is not None:
            yield Finding("entity", where, f"it was left behind by audit row {successor}")
        elif (entity_type, entity_id) != (name, entity):
            yield Finding("entity", where, "its last audit row is not there, or another's")
        elif state != audited:
            yield Finding("entity", where, f"it is {state}, but was last audited as {audited}")


def _invariants(db: sqlite3.Connection, kind: Kind) -> Iterator[Finding]:
    chart = kind.chart
    assert chart is not None
    states = ", ".join(f"'{s}'" for s in chart.states)
    ends = ", ".join(f"'{s}'" for s in sorted(chart.terminal))
    for text, condition in (
        ("its state is in the chart", f"state IN ({states})"),
        ("completed_at is set exactly at the end", f"(state IN ({ends})) = (completed_at NOTNULL)"),
        ("created_at, started_at, completed_at are in order", _STAMPS),
        *_INVARIANTS.get(kind.table or "", ()),
    ):
        for (entity,) in db.execute(f"SELECT id FROM {kind.table} WHERE ({condition}) IS NOT TRUE"):
            yield Finding("invariant", f"{kind.name} {entity}", f"broken: {text}")


def _values(db: sqlite3.Connection, kind: Kind) -> Iterator[Finding]:
    """The stored value decodes, and says what the columns say."""
    columns = (*_COMMON, *kind.own_columns)
    for value, spec, *row in db.execute(
        f"SELECT value, spec, {', '.join(columns)} FROM {kind.table}"
    ):
        where = f"{kind.name} {row[0]}"
        try:
            decoded = kind.decode(value, spec)
        except msgspec.MsgspecError as error:
            yield Finding("entity", where, f"its value does not decode: {error}")
            continue
        for column, stored in zip(columns, row, strict=True):
            if getattr(decoded, column) != stored:
                yield Finding("entity", where, f"its value and its column {column} differ")


def _counts(db: sqlite3.Connection, born: Mapping[str, int]) -> Iterator[Finding]:
    found = {
        kind.name: db.execute(f"SELECT count(*) FROM {kind.table}").fetchone()[0]
        for kind in KINDS.values()
    }
    found |= dict(db.execute("SELECT kind, count(*) FROM actors GROUP BY kind").fetchall())
    for name in sorted(found.keys() | born.keys()):
        there, made = found.get(name, 0), born.get(name, 0)
        if there != made:
            text = f"the audit saw {made} of them created, {there} are there"
            yield Finding("entity", name, text)
