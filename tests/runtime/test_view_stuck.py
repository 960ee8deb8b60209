"""`stuck`: what is past its expected time, on which ground, and what to type next."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors import breaker, spec
from runtime.limits import STUCK_LISTED_MAX
from runtime.store.read import connect
from runtime.view.stuck import Findings, More, Stuck, stuck
from tests.runtime.view_kit import (
    DONE,
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


@pytest.fixture
def record(tmp_path: Path) -> Record:
    made = Record(tmp_path / ".state")
    made.add("run", a_run(), *STARTED)
    made.add("workstream", a_workstream(), *READY)
    return made


def found(record: Record, after_s: float) -> dict[str, Stuck]:
    return {one.id: one for one in findings(record, after_s).stuck}


def findings(record: Record, after_s: float) -> Findings:
    if not (record.state_dir / "banksman.db").exists():
        record.write()
    with closing(connect(record.state_dir / "banksman.db")) as db:
        db.row_factory = sqlite3.Row
        return stuck(db, record.at + after_s)


def running(record: Record, **plan: Any) -> str:
    value = a_task("a")
    planned = msgspec.structs.replace(value.spec.task, **plan)
    value = msgspec.structs.replace(value, spec=msgspec.structs.replace(value.spec, task=planned))
    record.add("worker", a_worker(1), ("idle", "registered"), ("busy", "task_assigned"))
    entered = {"worker_id": "worker:local.1", "lease": "1.1", "since": record.at + 2.0}
    return record.add("task", value, *RUNNING, **entered)


def test_nothing_is_stuck_within_its_time(record: Record) -> None:
    running(record)
    assert found(record, 20.0) == {}


def test_a_task_is_measured_by_the_plans_own_timeout(record: Record) -> None:
    task = running(record, timeout_s=30.0)
    one = found(record, 60.0)[task]
    assert (one.expected_s, one.ground) == (30.0, "timeout_s of the plan")
    assert f"banksman logs -f {task}" in [move.command for move in one.moves]


def test_without_a_timeout_by_what_the_same_name_took_in_earlier_runs(record: Record) -> None:
    for n in range(3):
        earlier = f"nightly-2222{n:03d}"
        over = (*STARTED, ("completed", "run_completed"))
        record.add("run", a_run(earlier), *over, completed_at=record.at + 2.0)
        began = record.at
        times = {"started_at": began, "completed_at": began + 100.0}
        record.add("task", a_task("a", "build", earlier), *DONE, exit_code=0, **times)
    task = running(record)
    one = found(record, 400.0)[task]
    assert one.expected_s == 300.0
    assert one.ground == "3 x p95 of the last 3 (1m40s)"


def test_without_either_by_the_default(record: Record) -> None:
    task = running(record)
    assert found(record, 1_000.0) == {}
    assert found(record, 2_000.0)[task].ground == "the default"


def test_a_task_behind_a_breaker_is_parked_and_stuck_after_the_cooldown(record: Record) -> None:
    shut = breaker.create("ruff", ("ruff",), spec.Breaker(), record.at)
    due = {"due": record.at + 60.0}
    record.add("circuit_breaker", shut, ("open", "failure_threshold_exceeded"), **due)
    value = a_task("a")
    behind = msgspec.structs.replace(value.spec, breaker=shut.id)
    task = record.add("task", msgspec.structs.replace(value, spec=behind), *QUEUED)
    assert task not in found(record, 320.0)
    one = found(record, 400.0)[task]
    assert one.what == f"parked behind breaker {shut.id}, which is open"
    assert one.expected_s == 360.0


def test_a_gate_without_a_place_behind_a_breaker_is_parked_too(record: Record) -> None:
    shut = breaker.create("lint", ("lint",), spec.Breaker(), record.at)
    asked = a_gate("lint")
    asked = msgspec.structs.replace(
        asked, spec=msgspec.structs.replace(asked.spec, breaker=shut.id), queued=True
    )
    gate = record.add("test_gate", asked)
    record.at += 1_000.0  # it was asked long after it was made, and by then the breaker opened
    said = {"since": record.at, "due": record.at + 60.0}
    record.add("circuit_breaker", shut, ("open", "failure_threshold_exceeded"), **said)
    assert gate not in found(record, 320.0)
    one = found(record, 400.0)[gate]
    assert (one.kind, one.expected_s) == ("test_gate", 360.0)
    assert one.what == f"parked behind breaker {shut.id}, which is open"


def test_of_more_than_are_looked_at_the_rest_is_counted(record: Record) -> None:
    for n in range(STUCK_LISTED_MAX + 7):
        record.add("task", a_task(f"t{n}"), *QUEUED)
    late = findings(record, 1_000_000.0)
    assert len([one for one in late.stuck if one.kind == "task"]) == STUCK_LISTED_MAX
    assert late.more == [More("task", "queued", 7)]


def test_those_that_a_person_has_paused_hide_none_of_the_others(record: Record) -> None:
    for n in range(STUCK_LISTED_MAX):
        record.add("task", a_task(f"p{n}"), *QUEUED, paused=True)
    task = record.add("task", a_task("a"), *QUEUED)
    assert task in found(record, 1_000_000.0)


def test_a_gate_is_measured_by_its_timeout_and_a_person_by_an_hour(record: Record) -> None:
    gate = record.add("test_gate", a_gate("lint"), ("running", "execution_started"))
    asked = record.add("test_gate", a_gate("ok"), asked_at=record.at)
    late = found(record, 4_000.0)
    assert "command takes long" in late[gate].what
    assert [move.command for move in late[asked].moves] == [
        f"banksman approve {asked}",
        f"banksman reject {asked}",
    ]
    assert asked not in found(record, 3_000.0)


def test_a_slot_that_stays_silent_or_gets_no_process_is_stuck(record: Record) -> None:
    silent = record.add(
        "worker",
        a_worker(2),
        *(("idle", "registered"), ("busy", "task_assigned")),
        ("unresponsive", "heartbeat_missed"),
    )
    late = found(record, 400.0)[silent]
    assert (late.what, late.ground) == ("its process is silent", "recovery_window_s")


def test_what_a_person_paused_is_not_stuck(record: Record) -> None:
    record.add("task", a_task("a"), *QUEUED, paused=True)
    assert "a" not in "".join(found(record, 1_000.0))


def test_the_furthest_past_its_time_comes_first(record: Record) -> None:
    queued = record.add("task", a_task("b"), *QUEUED)
    task = running(record)
    late = found(record, 2_500.0)
    assert next(iter(late)) == queued
    assert {task, f"{RUN}/build"} <= set(late)
