"""The board of a run: moved by events, or read from the record, it says the same."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors import task
from runtime.store.read import connect
from runtime.view import audit
from runtime.view.board import Board, load
from runtime.view.filters import EventFilter
from tests.runtime.test_view_what_is import written
from tests.runtime.view_kit import RUN, Record

W = f"{RUN}/build"


class Story:
    """Events as a runtime would tell them, one a second."""

    def __init__(self) -> None:
        self.board = Board(RUN)
        self.seq = 0

    def tell(
        self, kind: str, id: str, source: str | None, target: str, run_id: str = RUN, **more: Any
    ) -> None:
        self.seq += 1
        event = {
            "seq": self.seq,
            "entity_type": kind,
            "event_type": f"{kind}_state_transition",
            "entity_id": id,
            "from_state": source,
            "to_state": target,
            "reason": None,
            "metadata": {},
            "context": {"run_id": run_id},
        }
        self.board.apply(event | more, float(self.seq))

    def path(self, id: str, *states: str) -> None:
        for source, target in zip((None, *states), states, strict=False):
            self.tell("task", id, source, target)


def test_tasks_are_counted_by_state_in_their_workstream() -> None:
    story = Story()
    story.path(f"{W}/a", "pending", "queued", "running")
    story.path(f"{W}/b", "pending")
    assert story.board.lines[W].counts == {"pending": 1, "queued": 0, "running": 1}


def test_a_running_task_says_where_it_runs_and_for_how_long() -> None:
    story = Story()
    story.path(f"{W}/a", "pending", "queued")
    metadata = {"worker_id": "worker:local.1", "retry_count": 2}
    story.tell("task", f"{W}/a", "queued", "running", metadata=metadata)
    running = story.board.tasks[f"{W}/a"]
    assert (running.worker, running.attempt, running.since) == ("worker:local.1", 3, 3.0)


def test_a_task_that_ended_is_no_longer_held() -> None:
    story = Story()
    story.path(f"{W}/a", "pending", "queued", "running", "validating", "completed")
    assert story.board.tasks == {}


def test_a_retry_takes_the_place_of_what_failed() -> None:
    story = Story()
    story.path(f"{W}/a", "pending", "queued", "running", "failed")
    story.path(f"{W}/a~2", "pending", "queued")
    assert story.board.totals()["failed"] == 0
    assert story.board.lines[W].total == 1


def test_a_second_retry_takes_the_place_of_the_first() -> None:
    story = Story()
    story.path(f"{W}/a", "pending", "queued", "running", "failed")
    story.path(f"{W}/a~2", "pending", "cancelled")
    story.path(f"{W}/a~3", "pending")
    assert {k: v for k, v in story.board.totals().items() if v} == {"pending": 1}


def test_events_of_another_run_are_nothing() -> None:
    story = Story()
    story.tell("task", "other-2222222/w/t", None, "pending", run_id="other-2222222")
    assert story.board.lines == {}


def test_what_is_no_transition_changes_nothing() -> None:
    story = Story()
    story.path(f"{W}/a", "pending")
    before = story.board.changes
    story.tell("task", f"{W}/a", "pending", "pending")
    assert story.board.changes == before


def test_an_event_that_the_record_held_already_is_not_counted_twice() -> None:
    story = Story()
    story.board.seq = 1
    story.path(f"{W}/a", "pending")
    assert story.board.lines == {}


def test_a_gate_at_work_is_held_until_its_verdict() -> None:
    story = Story()
    gate = f"{RUN}/gate:unit~1"
    story.tell("test_gate", gate, None, "pending")
    story.tell("test_gate", gate, "pending", "running")
    assert list(story.board.gates) == [gate]
    story.tell("test_gate", gate, "running", "passed")
    assert story.board.gates == {}
    assert story.board.gate_counts["passed"] == 1


def test_a_board_read_from_the_record_is_the_one_its_events_make(tmp_path: Path) -> None:
    record = Record(tmp_path / ".state")
    written(record)
    with closing(connect(record.write() / "banksman.db")) as db:
        db.row_factory = sqlite3.Row
        read = load(db, RUN)
        told = Board(RUN)
        for number, event in enumerate(audit.events(db, EventFilter())):
            told.apply(event, float(number))
    assert read.seq >= told.seq
    for board in (read, told):
        assert {k: v for k, v in board.totals().items() if v} == {
            "completed": 1,
            "failed": 2,
            "retrying": 1,
            "running": 1,
            "queued": 1,
        }
    assert read.tasks.keys() == told.tasks.keys()
    assert (read.state, read.gate_counts) == (told.state, {"failed": 1})


_steps = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 20)), max_size=80)


@given(_steps)
def test_whatever_the_tasks_do_none_is_lost_or_counted_twice(steps: list[tuple[int, int]]) -> None:
    story = Story()
    states: dict[int, str] = {}
    for number, choice in steps:
        state = states.get(number)
        if state is None:
            story.path(f"{W}/t{number}", "pending")
            states[number] = "pending"
            continue
        targets = sorted({e.target for e in task.CHART.edges if e.source == state})
        if targets:
            target = targets[choice % len(targets)]
            story.tell("task", f"{W}/t{number}", state, target)
            states[number] = target
    totals = story.board.totals()
    assert sum(totals.values()) == len(states)
    for state in set(states.values()):
        assert totals[state] == list(states.values()).count(state)
