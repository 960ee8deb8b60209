"""The schema goes forward by numbered scripts, backed up before, and never past what is known."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from runtime.store.errors import MigrationChanged, NewerDatabase
from runtime.store.migrate import (
    APPLICATION_ID,
    SHIPPED,
    NoWayBack,
    applied,
    downgrade,
    migrate,
    migrations,
)
from tests.runtime.store_kit import open_store, plain

NOW = 1_700_000_000.0
NEXT = "CREATE TABLE later (x INTEGER) STRICT;\nINSERT INTO later VALUES (1);\n"


class Scripts:
    """The shipped scripts and a next one, and a database that has the shipped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "schema"
        shutil.copytree(SHIPPED, self.folder)
        self.archive = folder / "archive"
        self.archive.mkdir()
        self.path = folder / "banksman.db"
        self.db = sqlite3.connect(self.path, isolation_level=None)
        self.number = migrations()[-1].number + 1
        migrate(self.db, self.path, self.archive, NOW)

    def write(self, text: str, down: str | None = None) -> None:
        name = f"{self.number:04d}_later"
        (self.folder / f"{name}.sql").write_text(text)
        if down is not None:
            (self.folder / f"{name}.down.sql").write_text(down)

    def migrate(self) -> tuple[tuple[str, ...], Path | None]:
        return migrate(self.db, self.path, self.archive, NOW, self.folder)

    def version(self) -> int:
        found: int = self.db.execute("PRAGMA user_version").fetchone()[0]
        return found


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    return Scripts(tmp_path)


def test_a_new_database_gets_every_script_and_our_mark(scripts: Scripts) -> None:
    recorded = scripts.db.execute("SELECT number, name, checksum, applied_at FROM migrations")
    assert recorded.fetchall() == [(m.number, m.name, m.checksum, NOW) for m in migrations()]
    assert scripts.version() == migrations()[-1].number
    assert scripts.db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert list(scripts.archive.iterdir()) == []


def test_what_is_missing_is_applied_after_a_backup(scripts: Scripts) -> None:
    scripts.write(NEXT)
    names, backup = scripts.migrate()
    assert names == (f"{scripts.number:04d}_later",)
    assert scripts.db.execute("SELECT x FROM later").fetchall() == [(1,)]
    assert scripts.version() == scripts.number
    assert backup is not None
    copy = sqlite3.connect(backup)
    assert copy.execute("PRAGMA user_version").fetchone() == (scripts.number - 1,)
    copy.close()


def test_what_is_applied_is_not_applied_again(scripts: Scripts) -> None:
    scripts.write(NEXT)
    scripts.migrate()
    assert scripts.migrate() == ((), None)


def test_a_script_that_fails_leaves_the_database_as_it_was(scripts: Scripts) -> None:
    scripts.write(NEXT + "INSERT INTO nowhere VALUES (1);\n")
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        scripts.migrate()
    assert scripts.version() == scripts.number - 1
    assert scripts.db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'later'").fetchall() == []
    scripts.db.close()


def test_a_script_that_changed_after_it_was_applied_is_refused(scripts: Scripts) -> None:
    scripts.write(NEXT)
    scripts.migrate()
    scripts.write(NEXT + "-- improved\n")
    with pytest.raises(MigrationChanged, match=f"migration {scripts.number:04d} \\(later\\)"):
        scripts.migrate()


def test_a_newer_database_is_refused_with_the_cure(scripts: Scripts) -> None:
    scripts.write(NEXT)
    scripts.migrate()
    known = scripts.number - 1
    with pytest.raises(
        NewerDatabase,
        match=f"has schema {scripts.number}, this banksman knows up to {known}: install the newer",
    ):
        applied(scripts.db, scripts.path, migrations())


async def test_an_owner_refuses_a_newer_database_and_changes_nothing(tmp_path: Path) -> None:
    async with await open_store(tmp_path):
        pass
    db = plain(tmp_path)
    db.execute("INSERT INTO migrations VALUES (99, 'future', 'x', 0.0)")
    db.close()
    before = (tmp_path / "banksman.db").read_bytes()
    with pytest.raises(NewerDatabase):
        await open_store(tmp_path)
    assert (tmp_path / "banksman.db").read_bytes() == before


def test_the_last_script_is_undone_where_it_says_how(scripts: Scripts) -> None:
    scripts.write(NEXT, down="DROP TABLE later;\n")
    scripts.migrate()
    names, backup = downgrade(scripts.db, scripts.path, scripts.archive, NOW, scripts.folder)
    assert names == (f"{scripts.number:04d}_later",)
    assert backup is not None
    assert backup.exists()
    assert scripts.version() == scripts.number - 1
    assert applied(scripts.db, scripts.path, migrations()) == migrations()


def test_a_script_without_a_way_back_is_not_undone(scripts: Scripts) -> None:
    scripts.write(NEXT)
    scripts.migrate()
    with pytest.raises(NoWayBack, match="has no way back; restore a backup"):
        downgrade(scripts.db, scripts.path, scripts.archive, NOW, scripts.folder)
    assert scripts.version() == scripts.number


def test_the_shipped_scripts_are_numbered_without_a_gap() -> None:
    assert [m.number for m in migrations()] == list(range(1, len(migrations()) + 1))
