"""`banksman db`: looked at beside an owner, changed only without one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from runtime.store import Damaged, OwnerBusy, StateDirUnusable, admin
from runtime.store.migrate import NoWayBack
from runtime.store.verify import verify
from tests.runtime.store_kit import Hand, a_task, a_worker, open_store, plain, three_tasks


async def test_the_status_says_what_is_there(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    status = admin.status(tmp_path)
    assert (status.schema, status.head_seq, status.owner_epoch) == (status.schema_known, 7, 1)
    assert (status.clean, status.holder, status.backups) == (True, None, ())
    assert (status.rows["tasks"], status.rows["state_transitions"]) == (3, 7)
    assert status.size == (tmp_path / "banksman.db").stat().st_size


async def test_the_status_names_the_owner_that_lives(tmp_path: Path) -> None:
    async with await open_store(tmp_path, command="banksman serve"):
        status = admin.status(tmp_path)
    assert status.holder is not None
    assert status.holder["command"] == "banksman serve"
    assert not status.clean


def test_without_a_database_there_is_no_status(tmp_path: Path) -> None:
    with pytest.raises(StateDirUnusable, match="there is no database"):
        admin.status(tmp_path)


async def test_a_backup_is_one_verified_file(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    target = admin.backup(tmp_path)
    assert target.parent == tmp_path / "archive"
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert copy.execute("SELECT count(*) FROM state_transitions").fetchone() == (7,)
    assert [p.name for p in target.parent.iterdir()] == [target.name]
    assert admin.status(tmp_path).backups == (target,)


async def test_a_backup_is_made_beside_a_live_owner(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        hand.born("task", a_task("one"))
        await hand.commit()
        target = admin.backup(tmp_path, tmp_path / "copy.db")
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("SELECT count(*) FROM tasks").fetchone() == (1,)


async def test_a_backup_overwrites_nothing(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    target = tmp_path / "copy.db"
    target.write_text("precious")
    with pytest.raises(StateDirUnusable, match="it is there already"):
        admin.backup(tmp_path, target)
    assert target.read_text() == "precious"


async def test_a_broken_record_is_not_backed_up(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    with closing(plain(tmp_path)) as db:
        db.execute("DROP TRIGGER audit_is_never_changed")
        db.execute("UPDATE state_transitions SET reason = 'nicer' WHERE seq = 2")
    target = tmp_path / "copy.db"
    with pytest.raises(Damaged):
        admin.backup(tmp_path, target)
    assert not target.exists()


async def test_a_backup_is_restored_and_what_it_replaces_is_kept(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    saved = admin.backup(tmp_path)
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        later = a_worker()
        hand.born("worker", later)
        await hand.commit()
        assert store.head.seq == 8
    kept = admin.restore(tmp_path, saved)
    assert kept is not None
    with closing(sqlite3.connect(kept)) as old:
        assert old.execute("SELECT id FROM workers").fetchall() == [(later.id,)]
    assert verify(tmp_path).whole
    lines = (tmp_path / "transitions.jsonl").read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3, 4, 5, 6, 7]
    assert len(kept.with_suffix(".jsonl").read_text().splitlines()) == 8
    async with await open_store(tmp_path) as store:
        # Epoch 2 was given to the owner that is forgotten now; its leases are not given again.
        assert (store.head.seq, store.owner_epoch) == (7, 3)


async def test_a_lost_database_is_restored(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    saved = admin.backup(tmp_path)
    for name in ("banksman.db", "banksman.db-wal", "banksman.db-shm", "transitions.jsonl"):
        (tmp_path / name).unlink(missing_ok=True)
    assert admin.restore(tmp_path, saved) is None
    assert verify(tmp_path).whole


async def test_a_damaged_database_is_replaced(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    saved = admin.backup(tmp_path)
    (tmp_path / "banksman.db").write_bytes(b"nothing that SQLite could read" * 400)
    kept = admin.restore(tmp_path, saved)
    assert kept is not None
    assert kept.read_bytes().startswith(b"nothing that")
    assert verify(tmp_path).whole


async def test_a_damaged_backup_is_not_restored(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    saved = admin.backup(tmp_path)
    content = saved.read_bytes()
    saved.write_bytes(content.replace(b"none to wait for", b"none to wait fos"))
    with pytest.raises(Damaged, match="audit row 6"):
        admin.restore(tmp_path, saved)
    assert verify(tmp_path).whole


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(admin.migrate_now, id="migrate"),
        pytest.param(admin.rollback, id="rollback"),
        pytest.param(admin.vacuum, id="vacuum"),
        pytest.param(lambda folder: admin.restore(folder, folder / "copy.db"), id="restore"),
    ],
)
async def test_nothing_is_changed_beside_a_live_owner(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    await three_tasks(tmp_path)
    admin.backup(tmp_path, tmp_path / "copy.db")
    async with await open_store(tmp_path, command="banksman serve"):
        with pytest.raises(OwnerBusy, match="banksman serve"):
            change(tmp_path)


async def test_a_vacuum_gives_free_pages_back(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    with closing(plain(tmp_path)) as db:
        db.execute("BEGIN")
        rows = [(n, "x" * 500) for n in range(3000)]
        db.executemany("INSERT INTO messages VALUES (?, 'task:x', ?, 0)", rows)
        db.execute("COMMIT")
        db.execute("DELETE FROM messages")
    before, after = admin.vacuum(tmp_path)
    assert after < before
    assert verify(tmp_path).whole


async def test_a_check_finds_what_sqlite_finds(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    assert admin.check(tmp_path) == []
    overwrite(tmp_path, "sqlite_autoindex_tasks_1")
    assert admin.check(tmp_path) == ["database disk image is malformed"]


def overwrite(state_dir: Path, index: str) -> None:
    """Damages the end of the index's page, where its keys lie."""
    with closing(plain(state_dir)) as db:
        sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        page = db.execute(sql, (index,)).fetchone()[0]
        size = db.execute("PRAGMA page_size").fetchone()[0]
    with (state_dir / "banksman.db").open("r+b") as file:
        file.seek(page * size - 40)
        file.write(b"\xff" * 40)


async def test_there_is_nothing_to_migrate_and_no_way_back_from_the_first_schema(
    tmp_path: Path,
) -> None:
    await three_tasks(tmp_path)
    assert admin.migrate_now(tmp_path).applied == ()
    admin.rollback(tmp_path)  # the third
    with pytest.raises(NoWayBack):
        admin.rollback(tmp_path)
    assert [one.partition("_")[0] for one in admin.migrate_now(tmp_path).applied] == ["0003"]
