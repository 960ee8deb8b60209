"""A commit that fails, is cancelled or is cut short: whole or not at all, and it is known which."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from actors.machine import Taken
from runtime.kinds import KINDS
from runtime.store import (
    Batch,
    Change,
    CommitUnknown,
    ConstraintFailed,
    OwnerLost,
    Store,
    StoreBusy,
    StoreFull,
    TryAgain,
)
from runtime.store.lock import is_owned
from runtime.store.verify import verify
from tests.runtime.store_kit import Hand, a_run, a_task, open_store, plain, queued

REPOSITORY = Path(__file__).parents[2]


def counts(state_dir: Path) -> tuple[int, int]:
    """(audit rows, tasks)"""
    db = plain(state_dir)
    try:
        sql = "SELECT (SELECT count(*) FROM state_transitions), (SELECT count(*) FROM tasks)"
        audit, tasks = db.execute(sql).fetchone()
        return audit, tasks
    finally:
        db.close()


def seqs(state_dir: Path) -> list[int]:
    """Of transitions.jsonl."""
    lines = (state_dir / "transitions.jsonl").read_text().splitlines()
    return [json.loads(line)["seq"] for line in lines]


def forge(hand: Hand, entity: str = "other") -> None:
    """Books an edge that does not exist."""
    value = a_task(entity)
    hand.born("task", value)
    ended = msgspec.structs.replace(value, state=type(value.state).COMPLETED, completed_at=hand.now)
    hand.move("task", value, ended, "validation_passed")


# --- refused --------------------------------------------------------------------------------------


async def test_a_refused_batch_leaves_nothing_and_the_next_one_is_committed(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        hand.born("task", a_task("one"))
        forge(hand)
        with pytest.raises(ConstraintFailed):
            await hand.commit()
        assert (store.head.seq, store.book.seq) == (0, 0)
        hand = Hand(store)
        hand.born("task", a_task("one"))
        await hand.commit()
        assert store.head.seq == 1
    assert counts(tmp_path) == (1, 1)
    assert seqs(tmp_path) == [1]
    assert verify(tmp_path).whole


async def test_a_refusal_names_the_entity(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        for name in ("one", "two"):
            hand.born("task", a_task(name))
        forge(hand)
        with pytest.raises(ConstraintFailed, match="the edge is not in the chart") as caught:
            await hand.commit()
    assert caught.value.table == "state_transitions"
    assert caught.value.entity_id == a_task("other").id


async def test_a_broken_invariant_names_the_entity(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        values = [a_task("one"), a_task("two")]
        for value in values:
            hand.born("task", value)
        await hand.commit()
        for value in values:
            lease = None if value is values[0] else "1.1"
            after = msgspec.structs.replace(queued(value), lease=lease)
            hand.move("task", value, after, "dependencies_met")
        with pytest.raises(ConstraintFailed, match="running_has_worker_and_lease") as caught:
            await hand.commit()
    assert (caught.value.table, caught.value.entity_id) == ("tasks", values[1].id)


async def test_an_actor_whose_row_is_not_there_is_refused(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        value = a_task("one")
        taken = Taken(None, "pending", "created")
        seq, metadata = store.book.enter("task", value.id, "r", taken, 1.0, 0, str)
        batch = Batch()
        batch.changes.append(Change(KINDS["task"], 7, value, None, 2, seq, metadata, False))
        with pytest.raises(ConstraintFailed, match="1 rows are not there"):
            await store.commit(batch)
    assert counts(tmp_path) == (0, 0)


@pytest.mark.parametrize("reason", ["\ud800", object()])
async def test_a_value_that_does_not_encode_is_refused_by_name(
    tmp_path: Path, reason: object
) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        hand.born("task", a_task("one", reason=reason))
        with pytest.raises(ConstraintFailed, match="does not encode to JSON") as caught:
            await hand.commit()
        assert store.book.seq == 0
    assert caught.value.entity_id == a_task("one").id


async def test_a_number_that_sqlite_cannot_hold_is_refused_by_name(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        hand.born("task", a_task("one"))
        hand.born("task", a_task("two", exit_code=1 << 63))
        with pytest.raises(ConstraintFailed) as caught:
            await hand.commit()
    assert caught.value.entity_id == a_task("two").id


async def test_a_payload_that_does_not_encode_is_refused_by_its_actor(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        batch = Batch()
        batch.outbox_new = [(1, "door:front", "ring", "k", object())]
        with pytest.raises(ConstraintFailed, match="payload of ring") as caught:
            await store.commit(batch)
    assert caught.value.entity_id == "door:front"


# --- again, later ---------------------------------------------------------------------------------


async def test_a_database_locked_by_another_process_is_waited_for_and_the_batch_committed_later(
    tmp_path: Path,
) -> None:
    async with await open_store(tmp_path, busy_s=0.05) as store:
        hand = Hand(store)
        hand.born("task", a_task("one"))
        batch = hand.batch
        with locked_elsewhere(tmp_path), pytest.raises(StoreBusy, match="held the database locked"):
            await store.commit(batch)
        assert store.head.seq == 0
        await store.commit(batch)
        assert store.head.seq == 1
    assert counts(tmp_path) == (1, 1)


@contextmanager
def locked_elsewhere(state_dir: Path) -> Iterator[None]:
    """Another process holds the write lock."""
    script = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
        " db.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(state_dir / "banksman.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        yield
        process.communicate()


async def pragma(store: Store, text: str) -> int:
    """A setting of the writing connection, from within its thread."""
    found: list[int] = []
    await store._thread.run(lambda db: found.append(db.execute(f"PRAGMA {text}").fetchone()[0]))
    return found[0]


async def test_a_full_disk_loses_nothing_and_the_batch_is_committed_when_there_is_room(
    tmp_path: Path,
) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        pages = await pragma(store, "page_count")
        await pragma(store, f"max_page_count = {pages + 1}")
        for n in range(500):
            hand.born("task", a_task(f"t{n}"))
        batch = hand.batch
        for _ in range(2):
            with pytest.raises(StoreFull, match="no space left; nothing is lost"):
                await store.commit(batch)
            assert counts(tmp_path) == (0, 0)
        await pragma(store, "max_page_count = 1000000")
        await store.commit(batch)
    assert counts(tmp_path) == (500, 500)
    assert seqs(tmp_path) == list(range(1, 501))
    assert verify(tmp_path).whole


def test_full_and_busy_both_mean_the_same_batch_again() -> None:
    assert issubclass(StoreFull, TryAgain)
    assert issubclass(StoreBusy, TryAgain)


# --- unknown --------------------------------------------------------------------------------------


@contextmanager
def no_file_grows(state_dir: Path) -> Iterator[None]:
    """Writes beyond the present size of the WAL fail, as on a failing disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (state_dir / "banksman.db-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_commit_that_could_not_be_written_is_unknown_until_reopened_and_then_repeated(
    tmp_path: Path,
) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        hand.born("run", a_run())
        await hand.commit()
        hand.born("task", a_task("one"))
        batch = hand.batch
        with no_file_grows(tmp_path), pytest.raises(CommitUnknown, match="unknown: disk I/O error"):
            await store.commit(batch)
        with pytest.raises(CommitUnknown, match="reopen first"):
            await store.commit(batch)
        assert await store.reopen() == 1
        await store.commit(batch)
        assert store.head.seq == 2
    assert counts(tmp_path) == (2, 1)
    assert verify(tmp_path).whole


async def test_a_commit_that_was_written_is_found_when_reopened(tmp_path: Path) -> None:
    fail = False

    def crash_point(name: str) -> None:
        if fail and name == "after_commit_before_jsonl":
            raise OSError("as if COMMIT had not answered")

    async with await open_store(tmp_path, crash_point=crash_point) as store:
        hand = Hand(store)
        hand.born("task", a_task("one"))
        fail = True
        with pytest.raises(CommitUnknown):
            await hand.commit()
        fail = False
        assert await store.reopen() == 1
        assert seqs(tmp_path) == [1]
        hand.born("task", a_task("two"))
        await hand.commit()
    assert counts(tmp_path) == (2, 2)
    assert seqs(tmp_path) == [1, 2]


# --- another owner --------------------------------------------------------------------------------


async def test_an_owner_whose_epoch_is_over_writes_nothing_more(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        db = plain(tmp_path)
        db.execute("UPDATE meta SET value = '9' WHERE key = 'owner_epoch'")
        db.close()
        hand = Hand(store)
        hand.born("task", a_task("one"))
        with pytest.raises(OwnerLost, match="owner epoch 1 is over"):
            await hand.commit()
        with pytest.raises(OwnerLost):
            await store.checkpoint()
    assert counts(tmp_path) == (0, 0)
    db = plain(tmp_path)
    assert db.execute("SELECT value FROM meta WHERE key = 'clean'").fetchone() == ("0",)
    db.close()


# --- cancelled ------------------------------------------------------------------------------------


class Gate:
    """Holds the writing thread within a commit."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def pass_by(self, name: str) -> None:
        if name == "in_commit":
            self.reached.set()
            assert self.open.wait(10)

    async def wait_reached(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 10)


async def test_a_commit_whose_caller_is_cancelled_ends_and_the_head_follows(tmp_path: Path) -> None:
    gate = Gate()
    async with await open_store(tmp_path, crash_point=gate.pass_by) as store:
        hand = Hand(store)
        hand.born("task", a_task("one"))
        gate.open.clear()
        first = asyncio.ensure_future(hand.commit())
        await gate.wait_reached()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        gate.open.set()
        hand.born("task", a_task("two"))
        await hand.commit()
        assert store.head.seq == 2
    assert counts(tmp_path) == (2, 2)
    assert seqs(tmp_path) == [1, 2]


async def test_a_close_that_is_cancelled_closes(tmp_path: Path) -> None:
    gate = Gate()
    store = await open_store(tmp_path, crash_point=gate.pass_by)
    hand = Hand(store)
    hand.born("task", a_task("one"))
    gate.open.clear()
    commit = asyncio.ensure_future(hand.commit())
    await gate.wait_reached()
    closing = asyncio.ensure_future(store.close())
    await asyncio.sleep(0)
    closing.cancel()
    gate.open.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await commit
    await store.close()
    assert not is_owned(store.layout)
    assert counts(tmp_path) == (1, 1)


# --- killed ---------------------------------------------------------------------------------------


def killed_at(state_dir: Path, point: str) -> None:
    command = [sys.executable, "-m", "tests.runtime.store_child", str(state_dir), point]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (-9, b"ready\n"), done.stderr.decode()


async def test_a_process_killed_before_its_commit_has_written_nothing_of_it(tmp_path: Path) -> None:
    killed_at(tmp_path, "in_commit")
    async with await open_store(tmp_path) as store:
        assert (store.head.seq, store.owner_epoch) == (1, 2)
        assert not store.opened.clean
    assert counts(tmp_path) == (1, 0)
    assert verify(tmp_path).whole


async def test_a_process_killed_after_its_commit_has_written_all_of_it(tmp_path: Path) -> None:
    killed_at(tmp_path, "after_commit_before_jsonl")
    assert seqs(tmp_path) == [1]
    async with await open_store(tmp_path) as store:
        assert store.head.seq == 2
        assert (store.opened.lines_completed, store.opened.lines_dropped_bytes) == (1, 0)
    assert counts(tmp_path) == (2, 1)
    assert seqs(tmp_path) == [1, 2]
    assert verify(tmp_path).whole


# --- durability -----------------------------------------------------------------------------------

NORMAL, FULL = 1, 2


@pytest.mark.parametrize(("durability", "level"), [("power", FULL), ("process", NORMAL)])
async def test_the_durability_is_what_was_asked_for(
    tmp_path: Path, durability: str, level: int
) -> None:
    async with await open_store(tmp_path, durability=durability) as store:
        assert await pragma(store, "synchronous") == level
        assert await pragma(store, "wal_autocheckpoint") == 4000


async def test_a_barrier_is_synced_under_either_durability(tmp_path: Path) -> None:
    levels: list[int] = []

    def look(name: str) -> None:
        if name == "in_commit":
            assert store._thread._db is not None
            levels.append(store._thread._db._conn.execute("PRAGMA synchronous").fetchone()[0])

    async with await open_store(tmp_path, durability="process", crash_point=look) as store:
        hand = Hand(store)
        for name, barrier in (("one", False), ("two", True), ("three", False)):
            hand.born("task", a_task(name))
            hand.batch.barrier = barrier
            await hand.commit()
    assert levels == [NORMAL, FULL, NORMAL]


async def test_another_durability_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="want power or process"):
        await open_store(tmp_path, durability="none")
