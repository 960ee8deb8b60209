"""Taking a database over, in the thread of its connection: schema, checks, owner epoch, JSONL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from runtime.store.audit import Head
from runtime.store.connection import configure
from runtime.store.errors import Damaged, OwnerLost
from runtime.store.journal import Journal, Repaired
from runtime.store.layout import Layout, sync_directory, unusable
from runtime.store.loading import next_message
from runtime.store.migrate import applied, migrate, migrations, missing, transaction

if TYPE_CHECKING:
    from runtime.kinds import Kind


class Opened(msgspec.Struct, frozen=True):
    """What opening found and did, for the recovery report."""

    created: bool  # there was no database
    clean: bool  # the last owner closed it
    migrated: tuple[str, ...]  # scripts applied now
    backup: Path | None  # made before them
    lines_completed: int  # appended to transitions.jsonl from the database
    lines_dropped_bytes: int  # a torn or false tail that was cut off it
    lines_kept: Path | None  # that tail, if it said more than the database
    notes: tuple[str, ...]  # the same in sentences, for people


class Taken(msgspec.Struct, frozen=True):
    """A database taken over."""

    opened: Opened
    journal: Journal
    head: Head
    epoch: int
    phases: dict[str, str]
    next_message: int


def take_over(
    db: sqlite3.Connection, layout: Layout, durability: str, kinds: Iterable[Kind], now: float
) -> Taken:
    """Everything between the lock and the first commit.

    Raises NewerDatabase, MigrationChanged, Damaged, StateDirUnusable, and what SQLite raises.
    """
    applied(db, layout.db, migrations())  # what is not ours is not even put into WAL mode
    configure(db, layout.db, durability)
    migrated = migrate(db, layout.db, layout.archive, now)
    created = migrated.backup is None and bool(migrated.applied)
    if created:
        sync_directory(layout.dir)
    meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
    clean = meta["clean"] == "1"
    if not clean:
        answer = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if answer != "ok":
            raise Damaged(layout.db, answer)
    head = _head(db, layout.db, meta)
    if lost := missing(db, migrations()):
        raise Damaged(layout.db, f"what refuses false rows is gone or changed: {', '.join(lost)}")
    epoch = int(meta["owner_epoch"]) + 1
    with transaction(db):
        db.execute("UPDATE meta SET value = '0' WHERE key = 'clean'")
        db.execute("UPDATE meta SET value = ? WHERE key = 'owner_epoch'", (str(epoch),))
        _add_edges(db, kinds)
    journal, repaired = _journal(db, layout, meta)
    notes = _notes(layout, clean, migrated.applied if not created else (), repaired)
    opened = Opened(created, clean, migrated.applied, migrated.backup, *repaired, notes)
    phases = dict(db.execute("SELECT id, phase FROM runs WHERE phase IS NOT NULL").fetchall())
    return Taken(opened, journal, head, epoch, phases, next_message(db))


def take_back(db: sqlite3.Connection, layout: Layout, durability: str, epoch: int) -> Head:
    """After a commit of unknown outcome, on a fresh connection: the true head, on a disk that
    holds. Raises OwnerLost, Damaged, and what SQLite raises."""
    configure(db, layout.db, "power")
    meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
    if int(meta["owner_epoch"]) != epoch:
        raise OwnerLost(epoch)
    head = _head(db, layout.db, meta)
    # After a failed sync the page cache may call clean what the disk has not: moving every frame
    # into the database and syncing that, and one synced write, prove that it took them.
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with transaction(db):
        db.execute("UPDATE meta SET value = '0' WHERE key = 'clean'")
    configure(db, layout.db, durability)
    return head


def _head(db: sqlite3.Connection, path: Path, meta: dict[str, str]) -> Head:
    row = db.execute(
        "SELECT seq, hash, transitioned_at FROM state_transitions ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    head = Head(*row) if row is not None else Head(0, "", 0.0)
    if (str(head.seq), head.hash) != (meta["head_seq"], meta["head_hash"]):
        raise Damaged(
            path, f"the last audit row is {head.seq}, the recorded head {meta['head_seq']}"
        )
    return head


def _journal(
    db: sqlite3.Connection, layout: Layout, meta: dict[str, str]
) -> tuple[Journal, Repaired]:
    try:
        journal = Journal(layout.jsonl)
        try:
            anchor = int(meta["anchor"].partition(":")[0])
            return journal, journal.repair(db, meta["jsonl"], anchor, layout.archive)
        except BaseException:
            journal.close()
            raise
    except OSError as error:
        raise unusable(layout.jsonl, error) from error


def _add_edges(db: sqlite3.Connection, kinds: Iterable[Kind]) -> None:
    for kind in kinds:
        for edge in kind.chart.edges if kind.chart is not None else ():
            row = (kind.name, str(edge.source), str(edge.target), edge.trigger, edge.severity)
            known = db.execute(
                "SELECT 1 FROM legal_edges WHERE machine = ? AND from_state = ? AND to_state = ?"
                " AND trigger = ?",
                row[:4],
            ).fetchone()
            if known is None:
                db.execute("INSERT INTO legal_edges VALUES (?, ?, ?, ?, ?)", row)


def _notes(
    layout: Layout, clean: bool, migrated: tuple[str, ...], repaired: Repaired
) -> tuple[str, ...]:
    notes = []
    if not clean:
        notes.append(
            "the last owner did not close the store; the database was checked and is whole"
        )
    if migrated:
        notes.append(f"the database was migrated: {', '.join(migrated)}")
    if repaired.kept is not None:
        kept = repaired.kept.relative_to(layout.dir)
        notes.append(f"{layout.jsonl.name}: what the database does not know of was moved to {kept}")
    elif repaired.dropped:
        notes.append(
            f"{layout.jsonl.name}: a torn or false tail of {repaired.dropped} bytes was cut off"
        )
    if repaired.completed:
        notes.append(f"{layout.jsonl.name}: {repaired.completed} lines were completed")
    return tuple(notes)
