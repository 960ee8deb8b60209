"""verify: whatever was done to the record, it is found, and the first broken row is named."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from actors import task
from runtime.store.verify import FINDINGS_MAX, Verified, verify
from tests.runtime.store_kit import (
    Hand,
    a_run,
    a_task,
    a_worker,
    a_workstream,
    open_store,
    plain,
    queued,
    three_tasks,
    without_refusals,
)

JSONL = "transitions.jsonl"


def forged(state_dir: Path, *statements: str) -> Verified:
    """verify, after somebody dropped the triggers, did this, and put them back."""
    with closing(plain(state_dir)) as db:
        sql = "SELECT sql FROM sqlite_schema WHERE type = 'trigger'"
        triggers = [row[0] for row in db.execute(sql)]
        without_refusals(db)
        db.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            db.execute(statement)
        for trigger in triggers:
            db.execute(trigger)
    return verify(state_dir)


def found(verified: Verified) -> list[tuple[str, str]]:
    return [(f.code, f.where) for f in verified.findings]


async def test_what_nobody_touched_is_whole(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    verified = verify(tmp_path)
    assert verified == Verified(
        rows=7, entities=5, lines=7, head_seq=7, findings=(), more=0, notes=()
    )
    assert verified.whole


async def test_an_empty_store_is_whole(tmp_path: Path) -> None:
    async with await open_store(tmp_path):
        pass
    assert verify(tmp_path).whole


# --- the chain ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "reason = 'none to wait fos'",
        "severity = 'debug'",
        "metadata = '{\"retry_count\":1}'",
        "operator = 'somebody'",
        "run_id = NULL",
        "event_id = 'evt_0'",
        "transitioned_at = transitioned_at + 0.000001",
        "hash = 'b' || substr(hash, 2)",
    ],
)
async def test_a_changed_row_is_named(tmp_path: Path, change: str) -> None:
    await three_tasks(tmp_path)
    verified = forged(tmp_path, f"UPDATE state_transitions SET {change} WHERE seq = 6")
    assert not verified.whole
    first = verified.findings[0]
    assert (first.code, first.where) == ("hash", "audit row 6 (task nightly-1a2b/build/fetch)")
    assert first.text == "its hash does not match its content and the row before it"


async def test_one_flipped_byte_in_the_file_is_found(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    path = tmp_path / "banksman.db"
    content = path.read_bytes()
    assert content.count(b"none to wait for") == 1
    path.write_bytes(content.replace(b"none to wait for", b"none to wait fos"))
    assert found(verify(tmp_path))[0] == ("hash", "audit row 6 (task nightly-1a2b/build/fetch)")


async def test_a_cut_tail_is_found_by_the_head(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    verified = forged(tmp_path, "DELETE FROM state_transitions WHERE seq = 7")
    assert ("head", "audit row 7") in found(verified)
    assert "1 rows were cut off" in next(f.text for f in verified.findings if f.code == "head")


async def test_a_row_taken_from_the_middle_is_found(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    verified = forged(tmp_path, "DELETE FROM state_transitions WHERE seq = 4")
    gap = next(f for f in verified.findings if f.code == "gap")
    assert gap.where == "audit row 5 (task nightly-1a2b/build/link)"
    assert gap.text == "rows 4 before it are missing"


async def test_a_row_added_behind_the_head_is_found(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    with closing(plain(tmp_path)) as db:
        db.execute(
            "INSERT INTO state_transitions SELECT 8, 'evt_8', event_type, entity_type, entity_id,"
            " 'queued', 'failed', 'task_failed', 'error', NULL, '{}', NULL, run_id,"
            " transitioned_at, hash, 7 FROM state_transitions WHERE seq = 6"
        )
    codes = {code for code, _ in found(verify(tmp_path))}
    assert codes == {"hash", "head", "entity", "jsonl"}


async def test_a_forged_edge_is_found_though_the_whole_chain_was_recomputed(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    with closing(plain(tmp_path)) as db:
        without_refusals(db)
        db.execute("UPDATE state_transitions SET trigger = 'task_failed' WHERE seq = 6")
        rehash(db)
    assert ("chart", "audit row 6 (task nightly-1a2b/build/fetch)") in found(verify(tmp_path))


def rehash(db: sqlite3.Connection) -> None:
    """What a forger who knows the hash would do."""
    from runtime.store.audit import COLUMNS, hash_of  # noqa: PLC0415 (only a forger needs it)

    previous = ""
    for row in db.execute(f"SELECT {', '.join(COLUMNS)} FROM state_transitions").fetchall():
        previous = hash_of(row, previous)
        db.execute("UPDATE state_transitions SET hash = ? WHERE seq = ?", (previous, row[0]))
    db.execute("UPDATE meta SET value = ? WHERE key = 'head_hash'", (previous,))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("to_state = 'blocked', from_state = 'running'", "its from_state running is not where row"),
        ("from_state = NULL, entity_prev = NULL", "a task is born pending, not queued"),
        ("entity_prev = 4", "is not where row 4 left the entity"),
    ],
)
async def test_a_row_that_does_not_follow_its_entitys_last_one_is_found(
    tmp_path: Path, change: str, text: str
) -> None:
    await three_tasks(tmp_path)
    verified = forged(tmp_path, f"UPDATE state_transitions SET {change} WHERE seq = 6")
    assert any(f.code == "chart" and text in f.text for f in verified.findings)


async def test_time_that_goes_back_is_found(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    sql = "UPDATE state_transitions SET transitioned_at = 5.0 WHERE seq = 6"
    assert ("time", "audit row 6 (task nightly-1a2b/build/fetch)") in found(forged(tmp_path, sql))


# --- the schema and the charts --------------------------------------------------------------------


async def test_a_dropped_trigger_is_found(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    with closing(plain(tmp_path)) as db:
        db.execute("DROP TRIGGER tasks_kept")
    (finding,) = verify(tmp_path).findings
    assert (finding.code, finding.where) == ("schema", "trigger tasks_kept")


async def test_a_weakened_trigger_is_found(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    with closing(plain(tmp_path)) as db:
        db.execute("DROP TRIGGER tasks_kept")
        db.execute("CREATE TRIGGER tasks_kept BEFORE DELETE ON tasks BEGIN SELECT 1; END")
    (finding,) = verify(tmp_path).findings
    assert (finding.where, finding.text) == ("trigger tasks_kept", "it differs from the schema")


async def test_an_edge_that_the_charts_do_not_have_is_found(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    verified = forged(
        tmp_path,
        "INSERT INTO legal_edges VALUES ('task', 'failed', 'pending', 'again', 'info')",
        "DELETE FROM legal_edges WHERE machine = 'run' AND to_state = 'paused'",
    )
    assert found(verified) == [
        ("legal_edges", "task failed pending again info"),
        ("legal_edges", "run running paused run_paused info"),
    ]


# --- entities -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "code", "text"),
    [
        ("UPDATE tasks SET state = 'blocked' WHERE n = 1", "entity", "it is blocked, but was last"),
        ("UPDATE tasks SET audit_seq = 4 WHERE n = 1", "entity", "its last audit row is not there"),
        ("UPDATE tasks SET audit_seq = 3 WHERE n = 1", "entity", "left behind by audit row 6"),
        ("UPDATE tasks SET exit_code = 1 WHERE n = 1", "entity", "its column exit_code differ"),
        ("UPDATE tasks SET value = 'x' WHERE n = 1", "entity", "its value does not decode"),
        ("UPDATE tasks SET state = 'lost' WHERE n = 1", "invariant", "its state is in the chart"),
        ("UPDATE tasks SET completed_at = 2e6 WHERE n = 1", "invariant", "completed_at is set"),
        ("UPDATE tasks SET started_at = 5.0 WHERE n = 1", "invariant", "are in order"),
        ("UPDATE tasks SET lease = '1.1' WHERE n = 1", "invariant", "a worker and a lease"),
        ("UPDATE tasks SET retry_count = 9 WHERE n = 1", "invariant", "within max_retries"),
    ],
)
async def test_a_changed_entity_is_named(tmp_path: Path, sql: str, code: str, text: str) -> None:
    await three_tasks(tmp_path)
    verified = forged(tmp_path, sql)
    wanted = (code, "task nightly-1a2b/build/fetch")
    assert any((f.code, f.where) == wanted and text in f.text for f in verified.findings), (
        verified.findings
    )


async def test_an_entity_that_was_taken_away_is_missed(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    verified = forged(tmp_path, "DELETE FROM tasks WHERE n = 2")
    (finding,) = (f for f in verified.findings if f.code == "entity")
    assert (finding.where, finding.text) == (
        "task",
        "the audit saw 3 of them created, 2 are there",
    )


async def busy(state_dir: Path, **worker_changes: object) -> None:
    """A task RUNNING under a lease that its worker holds."""
    async with await open_store(state_dir) as store:
        hand = Hand(store)
        hand.born("run", a_run())
        hand.born("workstream", a_workstream())
        slot = a_worker()
        idle = msgspec.structs.replace(slot, state=type(slot.state).IDLE)
        value = a_task("t")
        works = msgspec.structs.replace(
            idle,
            state=type(slot.state).BUSY,
            **{"lease": "1.1", "task_id": value.id, **worker_changes},
        )
        running = msgspec.structs.replace(
            queued(value), state=task.State.RUNNING, worker_id=slot.id, lease="1.1"
        )
        hand.born("worker", slot)
        hand.move("worker", slot, idle, "registered")
        hand.move("worker", idle, works, "task_assigned")
        hand.born("task", value)
        hand.move("task", value, queued(value), "dependencies_met")
        hand.move("task", queued(value), running, "worker_assigned")
        await hand.commit()


async def test_a_task_and_its_worker_agree_on_the_lease(tmp_path: Path) -> None:
    await busy(tmp_path)
    assert verify(tmp_path).whole


async def test_a_task_that_runs_under_a_lease_that_its_worker_does_not_hold_is_found(
    tmp_path: Path,
) -> None:
    await busy(tmp_path, lease="1.2")
    assert found(verify(tmp_path)) == [
        ("relation", "task nightly-1a2b/build/t"),
        ("relation", "worker worker:local.1"),
    ]


async def test_they_need_not_agree_while_a_message_is_under_way(tmp_path: Path) -> None:
    await busy(tmp_path, lease="1.2")
    with closing(plain(tmp_path)) as db:
        db.execute("INSERT INTO messages VALUES (1, 'worker:worker:local.1', '{}', 0)")
    assert verify(tmp_path).whole


async def test_an_ended_parent_with_a_living_child_is_found(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        before = a_run()
        ended = msgspec.structs.replace(
            before, state=type(before.state).CANCELLED, completed_at=1_000_000.0
        )
        hand.born("run", before)
        hand.born("workstream", a_workstream())
        hand.born("task", a_task("t"))
        hand.move("run", before, ended, "run_cancelled")
        await hand.commit()
    verified = verify(tmp_path)
    assert [f.text for f in verified.findings] == [
        "it has ended, and its workstream nightly-1a2b/build has not",
        "it has ended, and its task nightly-1a2b/build/t has not",
    ]


# --- the lines ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "where", "text"),
    [
        (lambda found: [*found[:2], b"{}\n", *found[3:]], "3 (row 3)", "not the event of row 3"),
        (lambda found: [*found[:2], *found[3:]], "3 (row 3)", "not the event of row 3"),
        (lambda found: found[:5], "6 (row 6)", "ends before the event of row 6"),
        (lambda found: [*found[:6], found[6][:30]], "7 (row 7)", "ends before the event of row 7"),
        (lambda found: [*found, found[6]], "8", "ahead of the database"),
    ],
)
async def test_lines_that_differ_from_the_rows_are_found(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], where: str, text: str
) -> None:
    await three_tasks(tmp_path)
    rewrite(tmp_path / JSONL, change)
    (finding,) = verify(tmp_path).findings
    assert (finding.code, finding.where) == ("jsonl", f"{JSONL}:{where}")
    assert text in finding.text


def rewrite(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


async def test_a_missing_file_is_found(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    (tmp_path / JSONL).unlink()
    assert found(verify(tmp_path)) == [("jsonl", f"{JSONL}:1 (row 1)")]


async def test_a_tail_that_a_crash_left_out_is_no_damage(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    rewrite(tmp_path / JSONL, lambda found: [*found[:6], found[6][:30]])
    with closing(plain(tmp_path)) as db:
        db.execute("UPDATE meta SET value = '0' WHERE key = 'clean'")
    verified = verify(tmp_path)
    assert verified.whole
    assert verified.notes == (
        f"{JSONL}: it ends before row 7, as a crash left it; the next owner completes it",
    )


# --- beside a live owner --------------------------------------------------------------------------


async def test_it_runs_beside_a_live_owner(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        for n in range(50):
            hand.born("task", a_task(f"t{n}"))
            await hand.commit()
        assert verify(tmp_path).whole


# --- bounds ---------------------------------------------------------------------------------------


async def test_what_it_lists_is_bounded_and_the_rest_counted(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        for n in range(FINDINGS_MAX + 30):
            hand.born("task", a_task(f"t{n}"))
        await hand.commit()
    verified = forged(tmp_path, "UPDATE state_transitions SET reason = 'x'")
    hashes = [f for f in verified.findings if f.code == "hash"]
    assert len(hashes) + verified.more >= FINDINGS_MAX + 30
    assert len(hashes) == FINDINGS_MAX - len([f for f in verified.findings if f.code == "jsonl"])
