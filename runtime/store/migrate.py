"""The schema, brought forward by numbered scripts, each in one transaction, each backed up before.

A script that was applied never changes: its checksum is on record, and another text is refused.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from runtime.store.backup import backup
from runtime.store.errors import MigrationChanged, NewerDatabase, StateDirUnusable, StoreError

SHIPPED = Path(__file__).parent / "schema"
APPLICATION_ID = 0x426B736D  # "Bksm": `file` and we ourselves tell our databases by it


class Migration(NamedTuple):
    number: int
    name: str
    up: str
    down: str | None
    checksum: str


class Migrated(NamedTuple):
    """What `migrate` did: the scripts applied now, and the backup made before the first."""

    applied: tuple[str, ...]
    backup: Path | None


class NoWayBack(StoreError):
    """The last migration cannot be undone. Nothing was changed."""

    def __init__(self, path: Path, number: int, name: str) -> None:
        super().__init__(
            f"{path}: migration {number:04d} ({name}) has no way back; "
            "restore a backup from archive/ with `banksman db restore`"
        )
        self.path = path
        self.number = number
        self.name = name


def migrations(folder: Path = SHIPPED) -> list[Migration]:
    """The scripts in order: NNNN_name.sql, and NNNN_name.down.sql where there is a way back."""
    return list(_shipped() if folder == SHIPPED else _scripts(folder))


@cache
def _shipped() -> tuple[Migration, ...]:
    # Every connection compares with them.
    return tuple(_scripts(SHIPPED))


def _scripts(folder: Path) -> Iterator[Migration]:
    for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql")):
        if path.name.endswith(".down.sql"):
            continue
        down = path.with_suffix(".down.sql")
        number, _, name = path.stem.partition("_")
        up, way_back = path.read_text(), down.read_text() if down.exists() else None
        checksum = hashlib.sha256(up.encode()).hexdigest()
        yield Migration(int(number), name, up, way_back, checksum)


def applied(db: sqlite3.Connection, path: Path, known: list[Migration]) -> list[Migration]:
    """Those of `known` that the database has.

    Raises NewerDatabase, MigrationChanged, and StateDirUnusable for what is not ours.
    """
    if not db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        return []
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StateDirUnusable(path, "it is not a banksman database", "use another --state-dir")
    rows = db.execute("SELECT number, name, checksum FROM migrations ORDER BY number").fetchall()
    if rows and rows[-1][0] > known[-1].number:
        raise NewerDatabase(path, rows[-1][0], known[-1].number)
    for (number, name, checksum), migration in zip(rows, known, strict=False):
        if (number, checksum) != (migration.number, migration.checksum):
            raise MigrationChanged(path, number, name)
    return known[: len(rows)]


def migrate(
    db: sqlite3.Connection, path: Path, archive: Path, now: float, folder: Path = SHIPPED
) -> Migrated:
    """Applies what is missing. `db` is in autocommit mode; a database that is not new is backed up
    into `archive` before each script. Raises as `applied` does."""
    known = migrations(folder)
    before = len(applied(db, path, known))
    saved = None
    for migration in known[before:]:
        if before:
            saved = archive / f"before-{migration.number:04d}-{int(now)}.db"
            backup(db, saved)
        with transaction(db):
            if len(applied(db, path, known)) != migration.number - 1:
                raise StateDirUnusable(path, "another process has just migrated it", "try again")
            for statement in statements(migration.up):
                db.execute(statement)
            db.execute(
                "INSERT INTO migrations (number, name, checksum, applied_at) VALUES (?, ?, ?, ?)",
                (migration.number, migration.name, migration.checksum, now),
            )
            _stamp(db, migration.number)
    return Migrated(tuple(f"{m.number:04d}_{m.name}" for m in known[before:]), saved)


def missing(db: sqlite3.Connection, known: list[Migration]) -> list[str]:
    """Triggers that these migrations made, and that are gone or were changed: without them the
    database refuses nothing, and a false row looks like a true one."""
    made: dict[str, str] = {}
    for migration in known:
        for statement in statements(migration.up):
            if (trigger := _TRIGGER.search(statement)) is not None:
                made[trigger[1]] = statement[trigger.start() :].strip().rstrip(";")
    there = dict(db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"))
    return [name for name, sql in made.items() if there.get(name) != sql]


_TRIGGER = re.compile(r"^CREATE TRIGGER (\w+)", re.MULTILINE)


def downgrade(
    db: sqlite3.Connection, path: Path, archive: Path, now: float, folder: Path = SHIPPED
) -> Migrated:
    """Undoes the last migration, after a backup. Raises NoWayBack where it has no down script."""
    done = applied(db, path, migrations(folder))
    if not done or done[-1].down is None:
        number, name = (done[-1].number, done[-1].name) if done else (0, "nothing")
        raise NoWayBack(path, number, name)
    last = done[-1]
    saved = archive / f"before-down-{last.number:04d}-{int(now)}.db"
    backup(db, saved)
    with transaction(db):
        for statement in statements(last.down or ""):
            db.execute(statement)
        db.execute("DELETE FROM migrations WHERE number = ?", (last.number,))
        _stamp(db, last.number - 1)
    return Migrated((f"{last.number:04d}_{last.name}",), saved)


def statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: `executescript` would commit before it begins."""
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text
            text = ""


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE to COMMIT, or all of it rolled back."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _stamp(db: sqlite3.Connection, number: int) -> None:
    # Both live in the header page, so that they change with the transaction.
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {number}")
