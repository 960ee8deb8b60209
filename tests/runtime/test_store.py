"""What is committed is read back: actors, messages, effects, watches, the head."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from actors.machine import Taken
from runtime.kinds import KINDS
from runtime.store import Batch, Change, Damaged
from runtime.store.audit import hash_of
from tests.runtime.store_kit import Hand, a_run, a_task, a_workstream, open_store, plain, queued

TASK = KINDS["task"]


async def test_a_committed_actor_is_read_back_as_it_was(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        value = a_task("compile", reason="käse\n'\"", exit_code=3)
        hand.born("task", value)
        hand.batch.changes[0].timers = {"backoff": 1_000_007.5}
        await hand.commit()
        stored = await store.load(TASK, value.id)
    assert stored is not None
    assert (stored.value, stored.n, stored.version, stored.audit_seq) == (value, 1, 1, 1)
    assert (stored.timers, stored.metadata) == ({"backoff": 1_000_007.5}, "{}")
    assert stored.address == f"task:{value.id}"


async def test_the_spec_is_written_once_and_not_in_the_value(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        before = a_task("compile")
        hand.born("task", before)
        await hand.commit()
        hand.move("task", before, queued(before), "dependencies_met")
        await hand.commit()
        stored = await store.load(TASK, before.id)
    db = plain(tmp_path)
    spec, value = db.execute("SELECT spec, value FROM tasks").fetchone()
    db.close()
    assert json.loads(spec)["task"]["command"] == ["true"]
    assert "spec" not in json.loads(value)
    assert stored is not None
    assert stored.value == queued(before)


async def test_an_actor_that_does_not_exist_is_not_found(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        assert await store.load(TASK, "r/w/none") is None
        assert await store.load_many(["task:r/w/none", "door:front", "nonsense"]) == {}


async def test_many_actors_are_found_by_address(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        for n in range(3):
            hand.born("task", a_task(f"t{n}"))
        hand.born("run", a_run())
        await hand.commit()
        wanted = [f"task:{a_task('t1').id}", f"run:{a_run().id}", "task:r/w/none"]
        found = await store.load_many(wanted)
    assert {address: stored.value for address, stored in found.items()} == {
        wanted[0]: a_task("t1"),
        wanted[1]: a_run(),
    }


async def test_the_unfinished_come_in_pages_parents_first_and_the_ended_stay_away(
    tmp_path: Path,
) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        for n in range(1500):
            hand.born("task", a_task(f"t{n}"))
        hand.born("workstream", a_workstream())
        hand.born("run", a_run())
        gone = a_task("t7")
        after = msgspec.structs.replace(
            gone, state=type(gone.state).CANCELLED, completed_at=1_000_000.0
        )
        hand.move("task", gone, after, "task_cancelled")
        await hand.commit()
        pages = [page async for page in store.unfinished()]
    assert [(page[0].kind, len(page)) for page in pages] == [
        ("run", 1),
        ("workstream", 1),
        ("task", 1000),
        ("task", 499),
    ]
    assert gone.id not in {stored.id for page in pages for stored in page}


async def test_the_unfinished_are_looked_for_from_the_first_that_was_found_unfinished(
    tmp_path: Path,
) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        values = [a_task(f"t{n}") for n in range(4)]
        for value in values:
            hand.born("task", value)
        for value in values[:2]:
            ended = msgspec.structs.replace(
                value, state=type(value.state).CANCELLED, completed_at=1_000_000.0
            )
            hand.move("task", value, ended, "task_cancelled")
        await hand.commit()
        await store.checkpoint()
        found = [stored.n async for page in store.unfinished() for stored in page]
    db = plain(tmp_path)
    marks = json.loads(db.execute("SELECT value FROM meta WHERE key = 'unfinished'").fetchone()[0])
    db.close()
    assert (found, marks["tasks"], marks["runs"]) == ([3, 4], 3, 1)


async def test_without_a_checkpoint_the_search_is_shortened_by_the_commits_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.store.store._MARK_ROWS", 3)
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        value = a_task("t")
        hand.born("task", value)
        ended = msgspec.structs.replace(
            value, state=type(value.state).CANCELLED, completed_at=1_000_000.0
        )
        hand.move("task", value, ended, "task_cancelled")
        await hand.commit()
        hand.born("task", a_task("u"))
        await hand.commit()
        db = plain(tmp_path)
        marks = db.execute("SELECT value FROM meta WHERE key = 'unfinished'").fetchone()[0]
        db.close()
        unfinished = [s.id async for page in store.unfinished() for s in page]
    assert json.loads(marks)["tasks"] == 2
    assert unfinished == [a_task("u").id]


async def test_messages_effects_and_watches_are_kept_until_they_are_gone(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        batch = Batch()
        batch.messages_new = [(4, "task:a", '{"type":"Begin"}', 1), (5, "task:b", "{}", 0)]
        batch.outbox_new = [(1, "door:front", "ring", "k1", {"times": 2})]
        batch.watches_new = [("run:r", "door:front"), ("run:r", "door:back")]
        await store.commit(batch)
        again = Batch()
        again.watches_new = [("run:r", "door:front")]
        await store.commit(again)
    async with await open_store(tmp_path) as store:
        assert await store.messages() == [
            (4, "task:a", '{"type":"Begin"}', True),
            (5, "task:b", "{}", False),
        ]
        assert await store.outbox() == [(1, "door:front", "ring", "k1", {"times": 2})]
        assert {k: sorted(v) for k, v in (await store.watches()).items()} == {
            "run:r": ["door:back", "door:front"]
        }
        assert (store.next_message, await store.next_outbox()) == (6, 2)
        batch = Batch()
        batch.messages_gone, batch.outbox_gone, batch.watches_gone = [4], [1], ["run:r"]
        await store.commit(batch)
        assert [row[0] for row in await store.messages()] == [5]
        assert (await store.outbox(), await store.watches()) == ([], {})


async def test_a_run_is_found_by_its_idempotency_key(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        hand.born("run", a_run(idempotency_key="k"))
        await hand.commit()
        assert await store.find_run("k") == a_run().id
        assert await store.find_run("other") is None


async def test_the_next_rows_follow_the_last_ones(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        for n in range(3):
            hand.born("task", a_task(f"t{n}"))
        await hand.commit()
        rows = await store.next_rows()
    assert (rows["tasks"], rows["runs"], rows["actors"]) == (4, 1, 1)


async def test_a_value_that_cannot_be_read_back_names_its_actor(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        hand.born("task", a_task("t"))
        await hand.commit()
    db = plain(tmp_path)
    db.execute("UPDATE tasks SET value = '{}'")
    db.close()
    async with await open_store(tmp_path) as store:
        with pytest.raises(Damaged, match=f"the task {a_task('t').id} cannot be read back"):
            await store.load(TASK, a_task("t").id)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 1023, 1024, 1025, 2500])
async def test_a_batch_of_any_size_is_written_whole(tmp_path: Path, rows: int) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        values = [a_task(f"t{n}") for n in range(rows)]
        seqs = []
        for n, value in enumerate(values, 1):
            taken = Taken(None, "pending", "created")
            seq, metadata = store.book.enter("task", value.id, "r", taken, hand.now, 0, str)
            hand.batch.changes.append(Change(TASK, n, value, None, 1, seq, metadata, True))
            seqs.append(seq)
        await hand.commit()
        for n, (value, prev) in enumerate(zip(values, seqs, strict=True), 1):
            taken = Taken("pending", "queued", "dependencies_met")
            seq, metadata = store.book.enter("task", value.id, "r", taken, hand.now, prev, str)
            change = Change(TASK, n, queued(value), None, 2, seq, metadata, False)
            hand.batch.changes.append(change)
        batch = await hand.commit()
    db = plain(tmp_path)
    assert db.execute("SELECT count(*), min(state), max(state) FROM tasks").fetchone() == (
        rows,
        "queued",
        "queued",
    )
    assert (
        db.execute("SELECT count(*), max(seq) FROM state_transitions").fetchone() == (2 * rows,) * 2
    )
    db.close()
    assert len(batch.lines) == rows


async def test_the_head_is_the_last_row(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        hand.born("task", a_task("t"))
        hand.now = 1_000_003.0
        hand.born("task", a_task("u"))
        await hand.commit()
        head = store.head
    db = plain(tmp_path)
    last = db.execute("SELECT * FROM state_transitions ORDER BY seq DESC").fetchone()
    db.close()
    assert (head.seq, head.hash, head.at) == (2, last[14], 1_000_003.0)
    async with await open_store(tmp_path) as store:
        assert store.head == head
        hand = Hand(store)
        hand.now = 5.0
        seq, _ = store.book.enter(
            "task", "r/w/v", "r", Taken(None, "pending", "created"), 5.0, 0, str
        )
        booked = store.book.take()
    assert (seq, booked.head.at) == (3, 1_000_003.0)
    assert hash_of(booked.parameters, head.hash) == booked.head.hash
