"""What was: canonical events out of state_transitions, in order, page by page."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec

from runtime.store.audit import SELECT, line_of
from runtime.view.filters import EventFilter
from runtime.view.find import TABLES

_PAGE = 1_000  # rows a read transaction: a reader that stalls must not pin the WAL


def events(
    db: sqlite3.Connection, where: EventFilter, after: int = 0, newest: int | None = None
) -> Iterator[dict[str, Any]]:
    """The events of `where` with a seq beyond `after`, oldest first; `newest`: the last so many."""
    condition, values = where.where()
    if newest is not None:
        after = max(after, _start_of_newest(db, condition, values, newest))
    phases = dict(db.execute("SELECT id, phase FROM runs WHERE phase IS NOT NULL").fetchall())
    while True:
        page = db.execute(
            f"{SELECT} WHERE seq > ? AND {condition} ORDER BY seq LIMIT ?",
            [after, *values, _PAGE],
        ).fetchall()
        for row in page:
            yield canonical(row, phases)
        if len(page) < _PAGE:
            return
        after = page[-1]["seq"]


def history(db: sqlite3.Connection, kind: str, entity_id: str) -> list[dict[str, Any]]:
    """Every event of one entity, oldest first. Each row names the entity's row before it, so that
    this costs its own length and not the chain's."""
    phases = dict(db.execute("SELECT id, phase FROM runs WHERE phase IS NOT NULL").fetchall())
    rows = db.execute(
        "WITH RECURSIVE own(seq) AS ("
        "  SELECT max(seq) FROM state_transitions WHERE seq = :head"
        "  UNION ALL SELECT t.entity_prev FROM state_transitions t JOIN own USING (seq)"
        "  WHERE t.entity_prev IS NOT NULL)"
        f" {SELECT} JOIN own ON own.seq = a.seq ORDER BY a.seq",
        {"head": _head_of(db, kind, entity_id)},
    )
    return [canonical(row, phases) for row in rows]


def head_seq(db: sqlite3.Connection) -> int:
    """The seq of the last event on record; 0 where there is none."""
    row = db.execute("SELECT max(seq) FROM state_transitions").fetchone()
    return row[0] or 0


def canonical(row: sqlite3.Row, phases: dict[str, str]) -> dict[str, Any]:
    """A row of the audit in the shape that JSONL, the API and Python share."""
    event: dict[str, Any] = msgspec.json.decode(line_of(row, phases.get(row["run_id"])))
    return event


def _start_of_newest(db: sqlite3.Connection, condition: str, values: list[Any], newest: int) -> int:
    row = db.execute(
        f"SELECT min(seq) FROM (SELECT seq FROM state_transitions WHERE {condition}"
        " ORDER BY seq DESC LIMIT ?)",
        [*values, newest],
    ).fetchone()
    return (row[0] or 1) - 1


def _head_of(db: sqlite3.Connection, kind: str, entity_id: str) -> int | None:
    if kind in TABLES:
        query = f"SELECT audit_seq FROM {TABLES[kind]} WHERE id = :id"
    else:
        query = "SELECT audit_seq FROM actors WHERE kind = :kind AND id = :id"
    row = db.execute(query, {"kind": kind, "id": entity_id}).fetchone()
    return row[0] if row else None
