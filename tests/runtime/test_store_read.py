"""Readers: beside an owner, without one, and never a writer."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from runtime.store import Damaged, StateDirUnusable
from runtime.store.errors import NewerDatabase
from runtime.store.read import connect, events_since
from tests.runtime.store_kit import Hand, a_task, open_store, plain, three_tasks

REPOSITORY = Path(__file__).parents[2]


def rows(state_dir: Path) -> int:
    with closing(connect(state_dir / "banksman.db")) as db:
        return int(db.execute("SELECT count(*) FROM state_transitions").fetchone()[0])


async def test_a_reader_sees_every_commit_of_a_live_owner(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        for n in (1, 2, 3):
            hand.born("task", a_task(f"t{n}"))
            await hand.commit()
            assert rows(tmp_path) == n


async def test_a_reader_needs_no_owner(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    assert rows(tmp_path) == 7


def test_a_reader_sees_what_a_killed_owner_had_committed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.runtime.store_child", str(tmp_path), "in_commit"]
    subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False, timeout=60)
    assert rows(tmp_path) == 1


async def test_a_reader_cannot_write(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    with (
        closing(connect(tmp_path / "banksman.db")) as db,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        db.execute("UPDATE meta SET value = '1' WHERE key = 'clean'")


async def test_an_open_reader_does_not_hold_the_owner_up(tmp_path: Path) -> None:
    async with await open_store(tmp_path, busy_s=0.05) as store:
        hand = Hand(store)
        with closing(connect(tmp_path / "banksman.db")) as db:
            db.execute("BEGIN")
            assert db.execute("SELECT count(*) FROM tasks").fetchone() == (0,)
            hand.born("task", a_task("t"))
            await hand.commit()
            await store.checkpoint()
            assert db.execute("SELECT count(*) FROM tasks").fetchone() == (0,)
        assert rows(tmp_path) == 1


def test_without_a_database_there_is_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(StateDirUnusable, match="there is no database"):
        connect(tmp_path / "banksman.db")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "banksman.db").write_bytes(b"no database, and long enough to be looked at" * 99)
    with pytest.raises(Damaged, match="file is not a database"):
        connect(tmp_path / "banksman.db")


async def test_a_newer_database_is_not_read(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    with closing(plain(tmp_path)) as db:
        db.execute("INSERT INTO migrations VALUES (99, 'future', 'x', 0.0)")
    with pytest.raises(NewerDatabase):
        connect(tmp_path / "banksman.db")


async def test_a_path_with_strange_characters_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "what? 100% #1"
    await three_tasks(folder)
    assert rows(folder) == 7


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
async def test_a_directory_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    with read_only(tmp_path):
        assert rows(tmp_path) == 7


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    folder.chmod(0o500)
    try:
        yield
    finally:
        folder.chmod(0o700)


async def test_events_come_in_pages_after_a_number(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    path = tmp_path / "banksman.db"
    assert [e["seq"] for e in events_since(path, 0)] == [1, 2, 3, 4, 5, 6, 7]
    assert [e["seq"] for e in events_since(path, 2, limit=3)] == [3, 4, 5]
    assert events_since(path, 7) == []
    assert events_since(path, 5)[0]["context"]["phase_id"] == "PH-002"


def test_a_database_whose_first_opening_came_to_nothing_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "banksman.db").touch()
    with pytest.raises(StateDirUnusable, match=r"it is empty.*`banksman resume` makes it whole"):
        connect(tmp_path / "banksman.db")
