"""A state directory: made, found, owned by one process at a time, taken over after its end."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from runtime.store import Damaged, OwnerBusy, StateDirUnusable
from runtime.store.layout import Layout, discover
from runtime.store.lock import is_owned
from tests.runtime.store_kit import Hand, a_run, open_store, plain

REPOSITORY = Path(__file__).parents[2]


@contextmanager
def owned_elsewhere(state_dir: Path) -> Iterator[Popen[bytes]]:
    """Another process owns the directory until the context ends, or it is killed."""
    with Popen(
        [sys.executable, "-m", "tests.runtime.store_child", str(state_dir), "none"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            process.communicate()


# --- one owner ----------------------------------------------------------------------------------


async def test_a_second_process_is_refused_and_told_who_holds_the_directory(tmp_path: Path) -> None:
    with owned_elsewhere(tmp_path) as process:
        with pytest.raises(OwnerBusy, match=f"is held by pid {process.pid} on .* \\(a child\\)"):
            await open_store(tmp_path)
        assert is_owned(Layout(tmp_path))
    assert not is_owned(Layout(tmp_path))


async def test_a_second_owner_in_the_same_process_is_refused(tmp_path: Path) -> None:
    async with await open_store(tmp_path, command="the first"):
        with pytest.raises(OwnerBusy, match=f"pid {os.getpid()} .*the first"):
            await open_store(tmp_path)


async def test_a_directory_whose_owner_was_killed_is_taken_over(tmp_path: Path) -> None:
    with owned_elsewhere(tmp_path) as process:
        process.kill()
        process.wait()
    async with await open_store(tmp_path) as store:
        assert (store.owner_epoch, store.head.seq) == (2, 1)
        assert store.opened.notes == (
            "the last owner did not close the store; the database was checked and is whole",
        )


async def test_a_child_of_a_dead_owner_does_not_hold_the_directory(tmp_path: Path) -> None:
    async with await open_store(tmp_path):
        child = a_child()
    try:
        assert not is_owned(Layout(tmp_path))
    finally:
        child.communicate()


def a_child() -> Popen[bytes]:
    return Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)


async def test_each_owner_has_a_greater_epoch(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        async with await open_store(tmp_path) as store:
            assert store.owner_epoch == epoch


async def test_a_clean_stop_is_known_to_the_next_owner(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        assert store.opened.created
    async with await open_store(tmp_path) as store:
        assert (store.opened.created, store.opened.clean, store.opened.notes) == (False, True, ())


async def test_a_failed_opening_frees_the_directory(tmp_path: Path) -> None:
    (tmp_path / "banksman.db").write_bytes(
        b"not a database at all, but long enough to be read" * 99
    )
    for _ in range(2):
        with pytest.raises(Damaged, match="file is not a database"):
            await open_store(tmp_path)
    assert not is_owned(Layout(tmp_path))


async def test_somebody_elses_database_is_left_as_it_is(tmp_path: Path) -> None:
    db = plain(tmp_path)
    db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(StateDirUnusable, match="not a banksman database"):
        await open_store(tmp_path)
    db = plain(tmp_path)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    db.close()


async def test_a_database_whose_tail_was_cut_off_is_not_taken_over(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        hand.born("run", a_run())
        await hand.commit()
    db = plain(tmp_path)
    db.execute("DROP TRIGGER audit_is_never_deleted")
    db.execute("DELETE FROM state_transitions")
    db.close()
    with pytest.raises(Damaged, match="the last audit row is 0, the recorded head 1"):
        await open_store(tmp_path)


async def test_a_database_page_that_was_overwritten_is_found_after_an_unclean_stop(
    tmp_path: Path,
) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        hand.born("run", a_run())
        await hand.commit()
    db = plain(tmp_path)
    db.execute("UPDATE meta SET value = '0' WHERE key = 'clean'")
    root = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'watches'").fetchone()[0]
    size = db.execute("PRAGMA page_size").fetchone()[0]
    db.close()
    with (tmp_path / "banksman.db").open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * 64)
    with pytest.raises(Damaged):
        await open_store(tmp_path)


# --- the directory ------------------------------------------------------------------------------


async def test_a_new_directory_is_private_and_ignored_by_git(tmp_path: Path) -> None:
    state_dir = tmp_path / "deep" / ".state"
    async with await open_store(state_dir):
        assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
        assert (state_dir / ".gitignore").read_text() == "*\n"
        modes = {
            stat.S_IMODE(p.stat().st_mode) for p in (state_dir / "lock", store_jsonl(state_dir))
        }
        assert modes == {0o600}


def store_jsonl(state_dir: Path) -> Path:
    return state_dir / "transitions.jsonl"


async def test_a_directory_that_cannot_be_made_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateDirUnusable, match="use another --state-dir") as caught:
        await open_store(tmp_path / "file" / ".state")
    assert caught.value.path == tmp_path / "file" / ".state"


async def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".state").write_text("")
    with pytest.raises(StateDirUnusable, match="is not a directory"):
        await open_store(tmp_path / ".state")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
async def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    async with await open_store(tmp_path):
        pass
    with read_only(tmp_path), pytest.raises(StateDirUnusable, match="cannot be written to"):
        await open_store(tmp_path)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    folder.chmod(0o500)
    try:
        yield
    finally:
        folder.chmod(0o700)


def test_the_state_of_a_plan_is_the_nearest_one_above_it(tmp_path: Path) -> None:
    plan = tmp_path / "a" / "b" / "plan.toml"
    assert discover(plan) == tmp_path / "a" / "b" / ".state"
    state = tmp_path / "a" / ".state"
    state.mkdir(parents=True)
    assert discover(plan) == tmp_path / "a" / "b" / ".state"
    sqlite3.connect(state / "banksman.db").close()
    assert discover(plan) == state
