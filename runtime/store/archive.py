"""Retention: the oldest audit rows leave the database for archive/, and the chain stays verifiable.

In one transaction: whoever may yet be heard of and has its last row in the part that goes gets a
new one, which says so and changes nothing; the anchor moves to the last row that goes, with its
hash; the rows are deleted, which the database refuses without that. The archive is written and
synced before.

An archive is `audit-FIRST-LAST.jsonl`: the canonical events, each with the `entity_prev` that its
hash is taken over too, so that it can be verified without the database.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import msgspec

from actors.machine import Taken
from runtime.store import sql
from runtime.store.admin import owned
from runtime.store.audit import COLUMNS, SELECT, Head, line_of
from runtime.store.book import Book
from runtime.store.journal import events_after
from runtime.store.layout import sync_directory
from runtime.store.loading import TABLES, living
from runtime.store.migrate import transaction

CARRIED = "audit_carried"

_AUDIT = sql.insert("state_transitions", COLUMNS)
_ROWS = (
    f"{SELECT.replace(' FROM ', ', r.phase FROM ')} LEFT JOIN runs r ON r.id = a.run_id"
    " WHERE a.seq <= ? ORDER BY a.seq"
)
_SET = "UPDATE meta SET value = ? WHERE key = ?"


class Archived(msgspec.Struct, frozen=True):
    """What left the database: the rows from `first` to `last` (0: none did), and where they are."""

    first: int = 0
    last: int = 0
    carried: int = 0  # actors that got a new row
    path: Path | None = None


def archive(state_dir: Path, before: float) -> Archived:
    """Moves the audit rows older than `before` to archive/. The last row of all always stays.

    Raises OwnerBusy while an owner lives, and what opening raises.
    """
    with owned(state_dir, "banksman db archive") as (layout, db):
        meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
        anchor = int(meta["anchor"].partition(":")[0])
        last = _last_before(db, before)
        if last <= anchor:
            return Archived()
        path = layout.archive / f"audit-{anchor + 1}-{last}.jsonl"
        part = layout.jsonl.with_suffix(".part")
        may_be_gone = False
        try:
            _write_archive(db, last, path)
            with transaction(db):
                carried = _carry_over(db, last)
                _cut(db, last)
                _set_jsonl(db, part, last)
                may_be_gone = True  # a COMMIT that fails may have been one
        except BaseException:
            if not may_be_gone:
                path.unlink(missing_ok=True)
            part.unlink(missing_ok=True)
            raise
        # Killed before this, the next owner finds a false file, keeps it and renders the true one.
        part.replace(layout.jsonl)
        sync_directory(layout.dir)
        return Archived(anchor + 1, last, carried, path)


def _last_before(db: sqlite3.Connection, before: float) -> int:
    found = db.execute(
        "SELECT max(seq) FROM state_transitions WHERE transitioned_at < ?"
        " AND seq < (SELECT max(seq) FROM state_transitions)",
        (before,),
    ).fetchone()[0]
    return found or 0


def _write_archive(db: sqlite3.Connection, last: int, path: Path) -> None:
    private = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(private, "wb") as file:
        for row in db.execute(_ROWS, (last,)):
            prev = b"null" if row[15] is None else b"%d" % row[15]
            file.write(line_of(row, row[16])[:-1] + b',"entity_prev":' + prev + b"}\n")
        file.flush()
        os.fsync(file.fileno())
    sync_directory(path.parent)


def _carry_over(db: sqlite3.Connection, last: int) -> int:
    """A new row for whoever may yet be heard of and has its last one in the part that goes."""
    head = db.execute(
        "SELECT seq, hash, transitioned_at FROM state_transitions ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    phases = dict(db.execute("SELECT id, phase FROM runs WHERE phase IS NOT NULL").fetchall())
    book = Book(Head(*head), os.urandom(6), phases)
    now, carried = round(time.time(), 6), 0
    reason = f"its rows up to {last} are in archive/"
    for table in TABLES:
        for n, kind, entity, run_id, state, seq, text in _old(db, table, last):
            # The metadata is carried too: it may say that the actor is suspended.
            metadata = msgspec.json.decode(text)
            taken = Taken(state, state, CARRIED, "debug", reason, metadata, None, CARRIED)
            new = book.enter(kind, entity, run_id, taken, now, seq, phases.get)
            booked = book.take()
            sql.write(db, _AUDIT, booked.parameters)
            db.execute(
                f"UPDATE {table} SET audit_seq = ?, metadata = ?, version = version + 1"
                " WHERE n = ?",
                (*new, n),
            )
            head, carried = booked.head, carried + 1
    if carried:
        db.execute(_SET, (str(head.seq), "head_seq"))
        db.execute(_SET, (head.hash, "head_hash"))
    return carried


def _old(db: sqlite3.Connection, table: str, last: int) -> list[tuple[Any, ...]]:
    """Who may yet be heard of: the living, whatever belongs to a run that lives (a late result is
    put on record, a task that has ended is tried again), and patches that can be rolled back."""
    wanted = living(table)
    if table != "actors":
        wanted += " OR run_id IN (SELECT id FROM runs WHERE completed_at IS NULL)"
    if table == "patch_ledger":
        wanted += " OR state = 'committed'"
    run_id = "NULL" if table == "actors" else "e.run_id"
    return db.execute(
        f"SELECT e.n, a.entity_type, e.id, {run_id}, e.state, e.audit_seq, e.metadata"
        f" FROM (SELECT * FROM {table} WHERE audit_seq <= ? AND ({wanted})) e"
        " JOIN state_transitions a ON a.seq = e.audit_seq ORDER BY e.n",
        (last,),
    ).fetchall()


def _cut(db: sqlite3.Connection, last: int) -> None:
    sql_hash = "SELECT hash FROM state_transitions WHERE seq = ?"
    (hash_,) = db.execute(sql_hash, (last,)).fetchone()
    db.execute(_SET, (f"{last}:{hash_}", "anchor"))
    db.execute("DELETE FROM state_transitions WHERE seq <= ?", (last,))


def _set_jsonl(db: sqlite3.Connection, part: Path, last: int) -> None:
    """Renders what is left of transitions.jsonl, and says how far it is true."""
    private = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    size, shown = 0, last
    with os.fdopen(private, "wb") as file:
        for seq, line in events_after(db, last):
            size += file.write(line + b"\n")
            shown = seq
        file.flush()
        os.fsync(file.fileno())
    db.execute(_SET, (f"{size}:{shown}", "jsonl"))
