"""`why`, from the database alone: every kind of waiting names its cause and the way out."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from actors.messages import Standing
from actors.waits import Cause, Waits
from runtime.store.read import connect
from runtime.view.why import Why, why
from tests.runtime.view_kit import (
    DONE,
    FAILED,
    NOW,
    QUEUED,
    READY,
    RUN,
    RUNNING,
    STARTED,
    Record,
    a_gate,
    a_run,
    a_task,
    a_worker,
    a_workstream,
)

W = f"{RUN}/build"


@pytest.fixture
def record(tmp_path: Path) -> Record:
    made = Record(tmp_path / ".state")
    made.add("run", a_run(), *STARTED)
    made.add("workstream", a_workstream(), *READY)
    return made


def explained(record: Record, kind: str, entity_id: str) -> Why:
    with closing(connect(record.write() / "banksman.db")) as db:
        db.row_factory = sqlite3.Row
        return why(db, kind, entity_id, NOW + 100)


def texts(said: Why) -> str:
    return "; ".join(c.text + (f" ({c.reason})" if c.reason else "") for c in said.causes)


def commands(said: Why) -> list[str]:
    return [move.command for move in said.moves]


def test_a_pending_task_names_the_dependency_it_waits_for(record: Record) -> None:
    record.add("worker", a_worker(1), ("idle", "registered"), ("busy", "task_assigned"))
    record.add("task", a_task("a"), *RUNNING, worker_id="worker:local.1", lease="1.1")
    after = Waits(1)
    record.add("task", a_task("b", seed={"sources": (f"task:{W}/a",)}), after=after)
    said = explained(record, "task", f"{W}/b")
    assert f"task {W}/a is running" in texts(said)
    assert f"banksman why {W}/a" in commands(said)


def test_a_dependency_that_is_done_is_not_a_cause(record: Record) -> None:
    record.add("task", a_task("a"), *DONE, completed_at=NOW + 50, exit_code=0)
    record.add("task", a_task("b", seed={"sources": (f"task:{W}/a",)}))
    assert explained(record, "task", f"{W}/b").causes == []


def test_a_waived_dependency_is_not_a_cause(record: Record) -> None:
    record.add("task", a_task("a"), *FAILED, completed_at=NOW + 50, exit_code=1)
    waived = Waits(waived=(f"task:{W}/a",))
    record.add("task", a_task("b", seed={"sources": (f"task:{W}/a",)}), after=waived)
    assert explained(record, "task", f"{W}/b").causes == []


def test_a_dependency_that_was_retried_is_looked_at_as_its_retry(record: Record) -> None:
    retry = f"task:{W}/a~2"
    record.add("task", a_task("a"), *FAILED, completed_at=NOW + 50, exit_code=1, replaced_by=retry)
    record.add("task", a_task("a~2"), *QUEUED)
    record.add("task", a_task("b", seed={"sources": (f"task:{W}/a",)}))
    said = explained(record, "task", f"{W}/b")
    assert f"task {W}/a~2 is queued" in texts(said)


def test_a_pending_task_names_the_gate_that_has_no_verdict(record: Record) -> None:
    record.add("test_gate", a_gate("lint"), ("running", "execution_started"))
    record.add("task", a_task("b", seed={"gates": (f"test_gate:{RUN}/gate:lint~1",)}))
    assert "test gate" in texts(explained(record, "task", f"{W}/b"))


def test_a_task_of_a_paused_run_names_who_paused_it_and_why(tmp_path: Path) -> None:
    record = Record(tmp_path / ".state")
    paused = (*STARTED, ("paused", "run_paused"))
    record.add("run", a_run(), *paused, operator="ada", reason="lunch", paused=True)
    record.add("workstream", a_workstream(), *READY)
    record.add("task", a_task("a"), *QUEUED)
    said = explained(record, "task", f"{W}/a")
    assert "its run is paused by ada (lunch)" in texts(said)
    assert f"banksman resume {RUN}" in commands(said)


def test_a_queued_task_names_who_has_the_slots(record: Record) -> None:
    record.add(
        "worker", a_worker(1), ("idle", "registered"), ("busy", "task_assigned"), task_id=f"{W}/x"
    )
    record.add("task", a_task("a"), *QUEUED)
    said = explained(record, "task", f"{W}/a")
    assert "none of the 1 slots it may use is free" in texts(said)
    assert f"worker:local.1 is busy, executes {W}/x" in texts(said)


def test_a_queued_task_that_no_worker_can_take_says_what_is_missing(record: Record) -> None:
    record.add("worker", a_worker(1), ("idle", "registered"))
    record.add("task", a_task("a", requires=("gpu",)), *QUEUED)
    assert "none offers gpu" in texts(explained(record, "task", f"{W}/a"))


def test_slots_bound_to_other_workstreams_do_not_count(record: Record) -> None:
    record.add("worker", a_worker(1, affinity=("docs",)), ("idle", "registered"))
    record.add("task", a_task("a"), *QUEUED)
    assert "no worker may take it" in texts(explained(record, "task", f"{W}/a"))


def test_a_queued_task_names_the_holder_of_its_key(record: Record) -> None:
    record.add("worker", a_worker(1), ("idle", "registered"), ("busy", "task_assigned"))
    holder = a_task("a", concurrency_key="db")
    record.add("task", holder, *RUNNING, worker_id="worker:local.1", lease="1.1")
    record.add("task", a_task("b", concurrency_key="db"), *QUEUED)
    assert f"task {W}/a holds the key 'db'" in texts(explained(record, "task", f"{W}/b"))


def test_a_blocked_task_names_the_root_cause_and_the_ways_out(record: Record) -> None:
    record.add("task", a_task("a"), *FAILED, completed_at=NOW + 50, exit_code=2)
    cause = Cause(f"task:{W}/a", Standing.FAILED, f"task {W}/a failed: exit code 2")
    record.add(
        "task",
        a_task("b", seed={"sources": (f"task:{W}/a",)}),
        ("blocked", "dependency_failed"),
        after=Waits(1, failed=1, causes=(cause,)),
    )
    said = explained(record, "task", f"{W}/b")
    assert "exit code 2" in texts(said)
    assert f"banksman retry {W}/a" in commands(said)
    assert f"banksman unblock {W}/b" in commands(said)


def test_a_running_task_names_its_worker_and_its_attempt(record: Record) -> None:
    record.add("worker", a_worker(1), ("idle", "registered"), ("busy", "task_assigned"))
    running = a_task("a", max_retries=3)
    record.add("task", running, *RUNNING, worker_id="worker:local.1", lease="1.1", retry_count=1)
    said = explained(record, "task", f"{W}/a")
    assert "attempt 2 of 4" in texts(said)
    assert "on worker:local.1" in texts(said)
    assert f"banksman logs -f {W}/a" in commands(said)


def test_a_task_that_is_being_ended_says_that_its_death_is_not_proven(record: Record) -> None:
    record.add("worker", a_worker(1), ("idle", "registered"), ("busy", "task_assigned"))
    ending = {"worker_id": "worker:local.1", "lease": "1.1", "ending": "cancelled"}
    record.add("task", a_task("a"), *RUNNING, **ending)
    assert "not proven dead" in explained(record, "task", f"{W}/a").summary


def test_a_task_between_two_attempts_says_when_it_goes_on(record: Record) -> None:
    retrying = (*RUNNING, ("retrying", "retry_scheduled"))
    of = a_task("a", max_retries=3)
    due = {"backoff": NOW + 112.0}
    record.add("task", of, *retrying, reason="exit code 7", retry_count=1, timers=due)
    said = explained(record, "task", f"{W}/a")
    assert "exit code 7" in texts(said)
    assert "'backoff' is due in 12s" in texts(said)


def test_a_failed_task_offers_its_output_and_another_try(record: Record) -> None:
    record.add(
        "task", a_task("a"), *FAILED, completed_at=NOW + 50, exit_code=2, reason="exit code 2"
    )
    said = explained(record, "task", f"{W}/a")
    assert [c.text for c in said.causes] == ["exit code 2"]
    assert commands(said) == [f"banksman logs {W}/a", f"banksman retry {W}/a"]


def test_a_failed_task_of_an_ended_workstream_offers_no_retry(tmp_path: Path) -> None:
    record = Record(tmp_path / ".state")
    record.add("run", a_run(), *STARTED)
    record.add("workstream", a_workstream(), *READY, ("failed", "failed"), completed_at=NOW + 60)
    record.add("task", a_task("a"), *FAILED, completed_at=NOW + 50, exit_code=2)
    assert commands(explained(record, "task", f"{W}/a")) == [f"banksman logs {W}/a"]


def test_a_retried_task_points_at_its_retry(record: Record) -> None:
    record.add(
        "task", a_task("a"), *FAILED, completed_at=NOW + 50, exit_code=1, replaced_by=f"{W}/a~2"
    )
    assert f"retried as {W}/a~2" in texts(explained(record, "task", f"{W}/a"))


def test_a_run_lists_its_open_workstreams_and_blocked_tasks(record: Record) -> None:
    record.add("task", a_task("a"), ("blocked", "dependency_failed"))
    said = explained(record, "run", RUN)
    assert f"workstream {W} is running" in texts(said)
    assert f"banksman unblock {W}/a" in commands(said)


def test_a_failed_run_points_at_the_tasks_that_failed(tmp_path: Path) -> None:
    record = Record(tmp_path / ".state")
    record.add("run", a_run(), *STARTED, ("failed", "run_failed"), completed_at=NOW + 90)
    record.add(
        "task", a_task("a"), *FAILED, completed_at=NOW + 50, exit_code=2, reason="exit code 2"
    )
    said = explained(record, "run", RUN)
    assert f"task {W}/a failed (exit code 2)" in texts(said)


def test_a_pending_workstream_names_the_one_it_waits_for(record: Record) -> None:
    record.add("workstream", a_workstream("docs", sources=(f"workstream:{W}",)))
    said = explained(record, "workstream", f"{RUN}/docs")
    assert f"workstream {W} is running" in texts(said)


def test_a_paused_workstream_names_who_paused_it(tmp_path: Path) -> None:
    record = Record(tmp_path / ".state")
    record.add("run", a_run(), *STARTED)
    record.add("workstream", a_workstream(), *READY, ("paused", "paused"), operator="ada")
    said = explained(record, "workstream", W)
    assert "paused by ada" in texts(said)
    assert f"banksman resume {W}" in commands(said)


def test_a_gate_names_the_gate_that_it_depends_on(record: Record) -> None:
    record.add("test_gate", a_gate("lint"), ("running", "execution_started"))
    record.add("test_gate", a_gate("unit", sources=(f"test_gate:{RUN}/gate:lint~1",)), needed=True)
    said = explained(record, "test_gate", f"{RUN}/gate:unit~1")
    assert f"{RUN}/gate:lint~1 is running" in texts(said)


def test_a_failed_gate_shows_its_verdict_and_its_output(record: Record) -> None:
    record.add(
        "test_gate",
        a_gate("lint"),
        ("running", "execution_started"),
        ("failed", "gate_failed"),
        exit_code=3,
        completed_at=NOW + 9,
    )
    said = explained(record, "test_gate", f"{RUN}/gate:lint~1")
    assert said.summary == "its verdict: failed, exit code 3"
    gate = f"{RUN}/gate:lint~1"
    assert commands(said) == [f"banksman gate rerun {gate}", f"banksman logs {gate}"]


def test_a_gate_that_tries_again_says_what_the_machine_did_to_it(record: Record) -> None:
    gate = record.add("test_gate", a_gate("lint"), ("running", "execution_started"), waiting=True)
    record.note("test_gate", gate, "gate_try_lost", reason="make: not found; install it")
    assert texts(explained(record, "test_gate", gate)) == "make: not found; install it"


def test_a_gate_that_the_machine_failed_has_no_verdict(record: Record) -> None:
    gate = record.add(
        "test_gate",
        a_gate("lint"),
        ("running", "execution_started"),
        ("failed", "gate_failed"),
        reason="infrastructure",
        completed_at=NOW + 9,
    )
    assert explained(record, "test_gate", gate).summary.startswith("it has no verdict")


@pytest.mark.parametrize(("kind", "above"), [("run", RUN), ("workstream", W)])
def test_what_is_above_a_task_names_it_while_it_waits_for_its_validation(
    record: Record, kind: str, above: str
) -> None:
    task = record.add("task", a_task("a"), *RUNNING, ("validating", "execution_complete"))
    assert f"task {task} is validating" in texts(explained(record, kind, above))


def test_a_task_that_was_set_aside_says_why(record: Record) -> None:
    task = record.add("task", a_task("a"), *FAILED, reason="poison", completed_at=NOW + 9)
    said = explained(record, "task", task)
    assert texts(said) == "poison: its workers died of it, again and again"


def test_a_busy_worker_names_its_task(record: Record) -> None:
    record.add("task", a_task("a"), *QUEUED)
    busy = (("idle", "registered"), ("busy", "task_assigned"))
    record.add("worker", a_worker(1), *busy, task_id=f"{W}/a")
    assert f"it executes task {W}/a" in texts(explained(record, "worker", "worker:local.1"))


def test_a_task_that_a_gate_blocks_names_the_rerun_that_would_let_it_go_on(record: Record) -> None:
    gate = record.add(
        "test_gate",
        a_gate("lint"),
        ("running", "execution_started"),
        ("failed", "gate_failed"),
        exit_code=3,
        completed_at=NOW + 9,
    )
    after = Waits(causes=(Cause(f"test_gate:{gate}", Standing.FAILED, f"{gate} failed"),))
    seed = {"gates": (f"test_gate:{gate}",)}
    blocked = ("blocked", "dependency_failed")
    task = record.add("task", a_task("a", seed=seed), blocked, after=after)
    assert f"banksman gate rerun {gate}" in commands(explained(record, "task", task))


def test_a_workstream_that_has_not_begun_names_the_task_that_waits(record: Record) -> None:
    task = record.add("task", a_task("a"))
    said = explained(record, "workstream", W)
    assert texts(said) == f"task {task} is pending"
    assert f"banksman why {task}" in commands(said)


def test_a_task_that_went_round_in_circles_says_in_which(record: Record) -> None:
    task = record.add("task", a_task("a"), *FAILED, reason="loop", completed_at=NOW + 9)
    record.note("task", task, "task_loop", reason="2 attempts")
    said = explained(record, "task", task)
    assert texts(said) == "loop: it went round in circles (2 attempts)"


def test_a_task_behind_a_blocked_one_is_told_to_look_there_not_to_retry_it(record: Record) -> None:
    blocked = ("blocked", "dependency_failed")
    record.add("task", a_task("a"), blocked)
    cause = Cause(f"task:{W}/a", Standing.FAILED, f"{W}/x failed: exit code 2")
    after = Waits(1, failed=1, causes=(cause,))
    task = record.add("task", a_task("b"), blocked, after=after)
    said = commands(explained(record, "task", task))
    assert f"banksman why {W}/a" in said
    assert f"banksman retry {W}/a" not in said


def test_a_task_that_a_person_blocked_blames_no_dependency(record: Record) -> None:
    after = Waits(causes=(Cause("operator:ada", Standing.STALLED, "not today"),))
    task = record.add("task", a_task("a"), ("blocked", "dependency_failed"), after=after)
    said = explained(record, "task", task)
    assert said.summary.startswith("a person blocked it")
    assert texts(said) == "operator ada: not today"


def test_a_task_between_two_attempts_names_the_way_to_try_at_once(record: Record) -> None:
    told = "rate limited: its tool asked for 86400 s"
    retrying = (*RUNNING, ("retrying", "retry_scheduled"))
    task = record.add("task", a_task("a", max_retries=1), *retrying, reason=told)
    said = explained(record, "task", task)
    assert told in texts(said)
    assert f"banksman override {task} queued --reason TEXT" in commands(said)
