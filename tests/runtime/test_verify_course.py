"""verify: rows, each of them legal, that cannot all be true; forged by who knows the hash."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from actors import spec, task
from runtime import VirtualClock, open_runtime
from runtime.store.audit import COLUMNS, hash_of
from runtime.store.verify import verify
from tests.runtime.store_kit import (
    Hand,
    a_run,
    a_task,
    a_worker,
    a_workstream,
    open_store,
    plain,
    queued,
    without_refusals,
)

SLOT = "worker_id"


async def a_true_record(state_dir: Path) -> None:
    """Two tasks at a time on two slots, one after a gate that passed; one tried twice."""
    tries: list[int] = []

    async def work() -> None:
        pass

    async def flaky() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("not yet")

    tasks = {
        "gated": spec.Task(call="work", gates=("g",)),
        "flaky": spec.Task(call="flaky", max_retries=2),
        "third": spec.Task(call="work"),
    }
    plan = spec.Plan(
        run=spec.Run(name="true"),
        gates={"g": spec.Gate(command=(sys.executable, "-c", "print(1)"))},
        workstreams={"w": spec.Workstream(tasks=tasks)},
    )
    calls = {"work": work, "flaky": flaky}
    pools = {"inline": spec.Pool(kind="inline", count=2)}
    async with open_runtime(state_dir, clock=VirtualClock(), calls=calls, pools=pools) as rt:
        run = await rt.submit(plan)
        assert await run.wait() == "completed"


def forge(state_dir: Path, *statements: str) -> list[tuple[str, str, str]]:
    """What verify finds after this was done, and the chain made good again."""
    with closing(plain(state_dir)) as db:
        sql = "SELECT sql FROM sqlite_schema WHERE type = 'trigger'"
        triggers = [row[0] for row in db.execute(sql)]
        without_refusals(db)
        db.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            changed = db.execute(statement)
            assert changed.rowcount > 0, statement
        _rehash(db)
        for trigger in triggers:
            db.execute(trigger)
    return [(f.code, f.where, f.text) for f in verify(state_dir).findings if f.code != "jsonl"]


def _rehash(db: sqlite3.Connection) -> None:
    previous, seq = "", 0
    rows = db.execute(f"SELECT {', '.join(COLUMNS)} FROM state_transitions ORDER BY seq").fetchall()
    for row in rows:
        previous, seq = hash_of(row, previous), row[0]
        db.execute("UPDATE state_transitions SET hash = ? WHERE seq = ?", (previous, seq))
    db.execute("UPDATE meta SET value = ? WHERE key = 'head_hash'", (previous,))
    db.execute("UPDATE meta SET value = ? WHERE key = 'head_seq'", (str(seq),))


def seq_of(state_dir: Path, condition: str) -> int:
    with closing(plain(state_dir)) as db:
        sql = f"SELECT seq FROM state_transitions WHERE {condition} ORDER BY seq"
        return int(db.execute(sql).fetchone()[0])


def a_copy_of(seq: int, **changes: Any) -> str:
    """Appends a row that is like the row `seq`, but for these columns."""
    fresh = {"seq": "(SELECT max(seq) + 1 FROM state_transitions)", "event_id": "'evt_new'"}
    fresh["transitioned_at"] = "(SELECT max(transitioned_at) FROM state_transitions)"
    fresh |= {name: "NULL" if v is None else repr(v) for name, v in changes.items()}
    columns = ", ".join(fresh.get(name, name) for name in COLUMNS)
    return (
        f"INSERT INTO state_transitions SELECT {columns} FROM state_transitions WHERE seq = {seq}"
    )


async def test_a_true_record_is_whole(tmp_path: Path) -> None:
    await a_true_record(tmp_path)
    verified = verify(tmp_path)
    assert verified.findings == ()
    assert verified.whole


async def test_a_task_that_runs_on_a_slot_of_another_is_named(tmp_path: Path) -> None:
    await a_true_record(tmp_path)
    seq = seq_of(tmp_path, "to_state = 'running' AND entity_id LIKE '%/third'")
    change = "metadata = json_set(metadata, '$.worker_id', 'worker:inline.9')"
    found = forge(tmp_path, f"UPDATE state_transitions SET {change} WHERE seq = {seq}")
    first = found[0]
    assert first[0] == "course"
    assert first[1].startswith(f"audit row {seq} (task ")
    assert first[2] == "it runs on worker:inline.9, which was not assigned to it"


async def test_a_lease_that_is_no_later_than_the_last_is_named(tmp_path: Path) -> None:
    await a_true_record(tmp_path)
    seq = seq_of(tmp_path, "entity_type = 'uet_worker' AND trigger = 'task_assigned'")
    change = "metadata = json_set(metadata, '$.lease', '0.0')"
    found = forge(tmp_path, f"UPDATE state_transitions SET {change} WHERE seq = {seq}")
    assert found[0][:2] == ("course", found[0][1])
    assert found[0][1].startswith(f"audit row {seq} (uet_worker ")
    assert "lease 0.0, which is not later than the last" in found[0][2]


async def test_a_second_process_in_a_slot_is_named(tmp_path: Path) -> None:
    await a_true_record(tmp_path)
    seq = seq_of(tmp_path, "entity_type = 'uet_worker' AND from_state IS NULL")
    second = a_copy_of(seq, entity_id="worker:inline.1@2", entity_prev=None)
    found = [f for f in forge(tmp_path, second) if f[0] == "course"]
    assert [f[2] for f in found] == [
        "it is the process of worker:inline.1, whose worker:inline.1@1 has not ended"
    ]


async def test_a_probe_that_a_closed_breaker_lent_is_named(tmp_path: Path) -> None:
    await a_true_record(tmp_path)
    seq = seq_of(tmp_path, "entity_type = 'circuit_breaker'")
    lent = a_copy_of(
        seq,
        event_type="breaker_probe_lent",
        trigger="breaker_probe_lent",
        from_state="closed",
        metadata='{"serial":1}',
        entity_prev=seq,
    )
    found = [f[2] for f in forge(tmp_path, lent) if f[0] == "course"]
    assert found == ["it lends a probe, and is closed"]


async def test_a_task_that_ran_before_its_gate_had_passed_is_named(tmp_path: Path) -> None:
    await a_true_record(tmp_path)
    seq = seq_of(tmp_path, "trigger = 'gate_passed'")
    change = "to_state = 'failed', trigger = 'gate_failed', severity = 'error'"
    found = forge(tmp_path, f"UPDATE state_transitions SET {change} WHERE seq = {seq}")
    (course,) = (f for f in found if f[0] == "course")
    assert "/gated)" in course[1]
    assert course[2].startswith("it runs, and true-")
    assert course[2].endswith("/gate:g~1, which it needs, has not passed")


async def test_a_slot_that_was_freed_while_its_task_ran_is_named(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        slot, value = a_worker(), a_task("t")
        states = type(slot.state)
        idle = msgspec.structs.replace(slot, state=states.IDLE)
        busy = msgspec.structs.replace(idle, state=states.BUSY, lease="1.1", task_id=value.id)
        running = msgspec.structs.replace(
            queued(value), state=task.State.RUNNING, worker_id=slot.id, lease="1.1"
        )
        hand.born("run", a_run())
        hand.born("workstream", a_workstream())
        hand.born("worker", slot)
        hand.born("task", value)
        hand.move("worker", slot, idle, "registered")
        hand.move("worker", idle, busy, "task_assigned", metadata={"task_id": value.id})
        hand.move("task", value, queued(value), "dependencies_met")
        said = {"worker_id": slot.id}
        hand.move("task", queued(value), running, "worker_assigned", metadata=said)
        hand.move("worker", busy, idle, "task_completed")
        await hand.commit()
    texts = [f.text for f in verify(tmp_path).findings if f.code == "course"]
    assert texts == ["it is idle, and nightly-1a2b/build/t runs on it"]


@pytest.mark.parametrize(
    ("change", "where", "text"),
    [
        (
            "UPDATE tasks SET retry_count = 2, value = json_set(value, '$.retry_count', 2)"
            " WHERE id LIKE '%/flaky'",
            "/flaky",
            "the audit says that it was tried again 1 times",
        ),
        (
            "UPDATE tasks SET exit_code = 3, value = json_set(value, '$.exit_code', 3)"
            " WHERE id LIKE '%/third'",
            "/third",
            "the audit says that its exit code is none",
        ),
        (
            "UPDATE tasks SET completed_at = completed_at + 9, value = json_set(value,"
            " '$.completed_at', completed_at + 9) WHERE id LIKE '%/third'",
            "/third",
            "the audit says that it ended at ",
        ),
        ("UPDATE runs SET version = 0", "run true-", "its version is 0, which no commit gives"),
    ],
)
async def test_a_row_that_is_not_what_its_audit_says_is_named(
    tmp_path: Path, change: str, where: str, text: str
) -> None:
    await a_true_record(tmp_path)
    found = forge(tmp_path, change)
    assert found
    assert {f[0] for f in found} == {"relation"}
    assert where in found[0][1]
    assert found[0][2].startswith(text)


async def test_a_call_under_a_ticket_of_an_open_breakers_own_epoch_is_named(tmp_path: Path) -> None:
    await a_true_record(tmp_path)
    with closing(plain(tmp_path)) as db:
        breaker = db.execute("SELECT id FROM circuit_breakers").fetchone()[0]
    ticket = f"json_object('breaker', '{breaker}', 'epoch', 0, 'serial', 0)"
    change = f"UPDATE tasks SET value = json_set(value, '$.admitted', {ticket})"
    opened = "UPDATE circuit_breakers SET state = 'open'"
    texts = [f[2] for f in forge(tmp_path, change, opened) if f[0] == "relation"]
    assert len(texts) == 3
    assert texts[0].startswith("it is open, and true-")
    assert texts[0].endswith("calls under a ticket of its present epoch")


async def test_a_half_open_breaker_with_two_calls_is_named(tmp_path: Path) -> None:
    await a_true_record(tmp_path)
    with closing(plain(tmp_path)) as db:
        breaker = db.execute("SELECT id FROM circuit_breakers").fetchone()[0]
    ticket = f"json_object('breaker', '{breaker}', 'epoch', 0, 'serial', 1)"
    change = f"UPDATE tasks SET value = json_set(value, '$.admitted', {ticket})"
    half = "UPDATE circuit_breakers SET state = 'half_open', value = json_set(value, '$.serial', 1)"
    texts = [f[2] for f in forge(tmp_path, change, half) if f[0] == "relation"]
    assert texts == ["it is half open, and 3 calls are made under tickets of its present epoch"]


async def test_the_command_names_the_first_broken_row_and_exits_6(tmp_path: Path) -> None:
    await a_true_record(tmp_path)
    seq = seq_of(tmp_path, "to_state = 'running' AND entity_id LIKE '%/third'")
    change = "metadata = json_set(metadata, '$.worker_id', 'worker:inline.9')"
    forge(tmp_path, f"UPDATE state_transitions SET {change} WHERE seq = {seq}")
    told = await anyio.run_process(
        [sys.executable, "-m", "runtime", "verify", "--state-dir", str(tmp_path)], check=False
    )
    assert told.returncode == 6
    assert f"audit row {seq} (task " in (told.stdout + told.stderr).decode()
