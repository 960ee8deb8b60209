"""The read models over a hand-made record: lists, counts, report, statistics, events."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runtime.store.read import connect
from runtime.view import audit, rows, stats
from runtime.view.filters import EventFilter
from runtime.view.report import report, root_failure
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

OLD = "nightly-2222222"
RETRYING = (*RUNNING, ("retrying", "retry_scheduled"))


def written(record: Record) -> None:
    """An old run that was cancelled, and one under way: a retry that worked, a failure that is not
    critical, one that is, one between two attempts, one running, one that waits."""
    end = NOW + 500
    record.add(
        "run",
        a_run(OLD),
        *STARTED,
        ("cancelled", "run_cancelled"),
        operator="ada",
        reason="wrong branch",
        completed_at=end,
    )
    record.add("run", a_run(), *STARTED, started_at=NOW + 10)
    record.add(
        "workstream",
        a_workstream(sources=(f"workstream:{RUN}/prepare",)),
        *READY,
        started_at=NOW + 20,
    )
    record.add("workstream", a_workstream("docs", critical=False))
    record.add(
        "task", a_task("a"), *FAILED, reason="exit code 1", exit_code=1, **spent(0, 4), attempt=1
    )
    record.add("task", a_task("a~2"), *DONE, **spent(5, 65), retry_of=f"{RUN}/build/a", exit_code=0)
    record.add(
        "task",
        a_task("b", critical=False),
        *FAILED,
        reason="exit code 3",
        exit_code=3,
        **spent(0, 2),
    )
    record.add("task", a_task("c", max_retries=2), *RETRYING, started_at=NOW + 1, retry_count=1)
    busy = (("idle", "registered"), ("busy", "task_assigned"))
    record.add("worker", a_worker(1), *busy, task_id=f"{RUN}/build/d", lease="1.1")
    record.add("worker", a_worker(2), ("shutdown", "shutdown"), completed_at=end)
    record.add(
        "task", a_task("d"), *RUNNING, worker_id="worker:local.1", lease="1.1", started_at=NOW + 30
    )
    record.add("task", a_task("e"), *QUEUED)
    record.add(
        "task",
        a_task("f"),
        *FAILED,
        reason="exit code 1",
        exit_code=1,
        completed_at=NOW + 9,
        started_at=NOW + 6,
    )
    record.add(
        "test_gate",
        a_gate("unit"),
        ("running", "execution_started"),
        ("failed", "gate_failed"),
        reason="verdict",
        exit_code=1,
        started_at=NOW,
        completed_at=NOW + 3,
    )
    record.note("run", RUN, "manual_override", operator="ada", reason="known flake")


def spent(start: float, end: float) -> dict[str, float]:
    return {"started_at": NOW + start, "completed_at": NOW + end}


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    record = Record(tmp_path_factory.mktemp("what_is") / ".state")
    written(record)
    with closing(connect(record.write() / "banksman.db")) as found:
        found.row_factory = sqlite3.Row
        yield found


def test_runs_come_newest_first(db: sqlite3.Connection) -> None:
    assert [run.id for run in rows.runs(db)] == [RUN, OLD]


def test_a_person_who_names_no_run_means_the_unfinished_ones(db: sqlite3.Connection) -> None:
    assert rows.runs_in_view(db) == [RUN]


def test_a_task_that_was_retried_is_counted_by_its_retry(db: sqlite3.Connection) -> None:
    counts = rows.runs(db, [RUN])[0].tasks
    assert counts.total == 6
    assert counts.by_state["failed"] == 2
    assert counts.by_state["completed"] == 1


def test_a_workstream_knows_what_it_waits_for_by_name(db: sqlite3.Connection) -> None:
    build, docs = rows.workstreams(db, RUN)
    assert (build.name, build.depends_on, build.critical) == ("build", ("prepare",), True)
    assert (docs.critical, docs.tasks.total) == (False, 0)


def test_tasks_can_be_asked_for_by_state(db: sqlite3.Connection) -> None:
    found = list(rows.tasks(db, [RUN], ["running", "retrying"]))
    assert [task.id.rpartition("/")[2] for task in found] == ["c", "d"]


def test_tasks_of_many_pages_come_in_order(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_PAGE", 2)
    assert [t.id.rpartition("/")[2] for t in rows.tasks(db, [])] == ["a", "a~2", *"bcdef"]


def test_a_slot_that_was_shut_down_is_shown_on_demand(db: sqlite3.Connection) -> None:
    assert [w.id for w in rows.workers(db)] == ["worker:local.1"]
    assert len(rows.workers(db, ended=True)) == 2


def test_a_gate_shows_its_verdict(db: sqlite3.Connection) -> None:
    (gate,) = rows.gates(db, [RUN])
    assert (gate.state, gate.exit_code, gate.type, gate.reason) == ("failed", 1, "UNIT", "verdict")


def test_the_report_counts_failures_that_are_not_critical(db: sqlite3.Connection) -> None:
    assert report(db, RUN, NOW + 100).noncritical_failures == 1


def test_the_report_lists_what_failed_without_what_was_retried(db: sqlite3.Connection) -> None:
    found = report(db, RUN, NOW + 100)
    assert [task.id.rpartition("/")[2] for task in found.failed] == ["b", "f"]


def test_the_report_lists_what_has_not_ended(db: sqlite3.Connection) -> None:
    found = report(db, RUN, NOW + 100)
    assert [task.id.rpartition("/")[2] for task in found.waiting] == ["c", "d", "e"]


def test_the_report_adds_up_the_time_of_work(db: sqlite3.Connection) -> None:
    found = report(db, RUN, NOW + 100)
    assert found.seconds == 90
    executed_of_c = 1  # and not what it has waited since for its next try
    assert found.work_seconds == 4 + 60 + 2 + executed_of_c + 70 + 3
    assert found.slowest[0].id == f"{RUN}/build/a~2"


def test_the_failure_to_look_at_is_the_first_critical_one(db: sqlite3.Connection) -> None:
    failed = root_failure(db, RUN)
    assert failed is not None
    assert failed.id == f"{RUN}/build/f"


def test_failures_are_counted_by_what_failed_and_why(db: sqlite3.Connection) -> None:
    found = {(f.kind, f.name, f.reason): f.count for f in stats.failures(db, 0.0, 50)}
    assert found["task", "build/b", "exit code 3"] == 1
    assert found["task", "build/c", None] == 1
    assert found["test_gate", "gate:unit~1", "verdict"] == 1


def test_overrides_name_operator_and_reason(db: sqlite3.Connection) -> None:
    found = {o.event_type: o for o in stats.overrides(db, 0.0, 50)}
    assert found["manual_override"].last_reason == "known flake"
    assert found["run_state_transition"].operator == "ada"


def test_an_entitys_history_is_its_own_rows_in_order(db: sqlite3.Connection) -> None:
    moves = [(e["from_state"], e["to_state"]) for e in audit.history(db, "task", f"{RUN}/build/e")]
    assert moves == [(None, "pending"), ("pending", "queued")]


def test_an_event_has_the_shape_of_the_line_in_transitions_jsonl(
    db: sqlite3.Connection, tmp_path: Path
) -> None:
    record = Record(tmp_path / ".state")
    written(record)
    state_dir = record.write()
    lines = (state_dir / "transitions.jsonl").read_text().splitlines()
    import msgspec  # noqa: PLC0415 - only here

    with closing(connect(state_dir / "banksman.db")) as own:
        own.row_factory = sqlite3.Row
        assert list(audit.events(own, EventFilter())) == [msgspec.json.decode(x) for x in lines]


@pytest.mark.parametrize(
    ("where", "count"),
    [
        (EventFilter(run=OLD), 3),
        (EventFilter(entity=f"{RUN}/build/a"), 4),
        (EventFilter(entity=f"{RUN}/docs"), 1),
        (EventFilter(type="manual_override"), 1),
        (EventFilter(type="worker"), 5),
        (EventFilter(severity="error"), 4),
        (EventFilter(operator="ada"), 2),
        (EventFilter(operator="ada", run=OLD), 1),
        (EventFilter(since=NOW + 1_000), 0),
    ],
)
def test_events_are_filtered(db: sqlite3.Connection, where: EventFilter, count: int) -> None:
    assert len(list(audit.events(db, where))) == count


def test_an_entity_stands_for_all_below_it(db: sqlite3.Connection) -> None:
    below = {e["entity_id"] for e in audit.events(db, EventFilter(entity=f"{RUN}/build"))}
    assert f"{RUN}/build/f" in below
    assert f"{RUN}/docs" not in below


def test_a_live_filter_chooses_what_the_same_filter_finds_on_record(
    db: sqlite3.Connection,
) -> None:
    everything = list(audit.events(db, EventFilter()))
    for where in (
        EventFilter(entity=f"{RUN}/build"),
        EventFilter(severity="warning"),
        EventFilter(type="task"),
        EventFilter(operator="ada"),
        EventFilter(run=RUN),
    ):
        assert list(audit.events(db, where)) == [e for e in everything if where.matches(e)]


def test_the_newest_events_can_be_asked_for(db: sqlite3.Connection) -> None:
    everything = list(audit.events(db, EventFilter(type="task")))
    assert list(audit.events(db, EventFilter(type="task"), newest=3)) == everything[-3:]


def test_events_of_many_pages_come_whole(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [e["seq"] for e in audit.events(db, EventFilter())]
    monkeypatch.setattr(audit, "_PAGE", 3)
    assert [e["seq"] for e in audit.events(db, EventFilter())] == whole
