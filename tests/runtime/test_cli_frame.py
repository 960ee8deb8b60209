"""One frame of the live view, drawn from a board: bounded, stable, legible."""

from __future__ import annotations

from typing import Any

import pytest
from rich.text import Text

from runtime.cli.frame import Heights, Style, frame
from runtime.cli.scene import Scene
from runtime.view.board import Board, Underway
from runtime.view.guards import Approval, BreakerRow, Guards, Spent
from tests.runtime.test_view_board import Story
from tests.runtime.view_kit import RUN

NARROW = Style(79, 23)
WIDE = Style(199, 49)


def drawn(
    story: Story,
    style: Style,
    heights: Heights | None = None,
    line: str = "",
    guards: Guards | None = None,
) -> list[str]:
    scene = Scene()
    scene.watch(story.board)
    scene.guards = guards or Guards()

    def printed(_each: Underway) -> str:
        return line

    rows = frame(scene, style, heights or Heights(), float(story.seq), printed)
    assert all(isinstance(row, Text) for row in rows)
    return [row.plain for row in rows]


def busy(workstreams: int, tasks: int, running: int) -> Story:
    story = Story()
    story.tell("run", RUN, None, "initializing")
    story.tell("run", RUN, "initializing", "running")
    for w in range(workstreams):
        story.tell("workstream", f"{RUN}/stream-{w}", None, "pending")
        for t in range(tasks):
            states = ("pending", "queued", "running") if t < running else ("pending",)
            story.path(f"{RUN}/stream-{w}/task-{t}", *states)
    return story


@pytest.mark.parametrize("style", [NARROW, WIDE, Style(20, 5), Style(300, 100)])
@pytest.mark.parametrize("size", [(1, 1, 1), (3, 1, 0), (40, 100, 4), (1, 3000, 64)])
def test_a_frame_never_leaves_its_columns_and_rows(
    style: Style, size: tuple[int, int, int]
) -> None:
    rows = drawn(busy(*size), style, line="x" * 500)
    assert len(rows) <= style.height
    assert max(map(len, rows)) <= style.width


def test_a_small_run_shows_each_workstream_and_each_running_task() -> None:
    text = "\n".join(drawn(busy(2, 3, 1), NARROW, line="Compiling foo.c"))
    for shown in (RUN, "stream-0", "stream-1", "stream-0/task-0", "Compiling foo.c", "0/6"):
        assert shown in text


def test_what_does_not_fit_is_counted() -> None:
    rows = drawn(busy(40, 10, 1), NARROW)
    assert any("more: " in row and "pending" in row for row in rows)
    assert any("more at work" in row for row in rows)


def test_a_workstream_in_trouble_is_shown_before_others() -> None:
    story = busy(40, 1, 0)
    story.tell(
        "workstream", f"{RUN}/stream-39", "pending", "blocked", reason="stream-1 failed: make"
    )
    assert any("stream-39" in row and "blocked" in row for row in drawn(story, NARROW))


def test_the_view_never_gets_lower_while_a_run_goes_on() -> None:
    heights = Heights()
    story = busy(2, 4, 2)
    before = len(drawn(story, NARROW, heights))
    for w in range(2):
        for t in range(2):
            story.tell("task", f"{RUN}/stream-{w}/task-{t}", "running", "completed")
    assert len(drawn(story, NARROW, heights)) == before


def test_a_task_between_two_attempts_says_why() -> None:
    story = busy(1, 2, 1)
    task = f"{RUN}/stream-0/task-0"
    story.tell("task", task, "running", "retrying", reason="exit code 7")
    assert any("task-0 tries again after a pause: exit code 7" in r for r in drawn(story, NARROW))


def test_a_paused_run_says_how_it_goes_on() -> None:
    story = busy(1, 1, 0)
    story.tell("run", RUN, "running", "paused", reason="lunch")
    assert any("lunch" in r and "banksman resume" in r for r in drawn(story, NARROW))


def test_without_unicode_a_frame_is_plain_ascii() -> None:
    story = busy(3, 4, 2)
    story.tell("workstream", f"{RUN}/stream-0", "pending", "blocked")
    for row in drawn(story, Style(79, 23, unicode=False)):
        assert row.isascii(), row


def test_a_tools_output_cannot_move_the_cursor() -> None:
    rows = drawn(busy(1, 1, 1), WIDE, line="\x1b[31mred\x1b[0m \x1b]0;title\x07 \r\x1b[2Jgone")
    assert "\x1b" not in "".join(rows)
    assert any("red" in row and "gone" in row for row in rows)


def test_the_same_board_gives_the_same_frame() -> None:
    story = busy(3, 4, 2)
    assert drawn(story, NARROW) == drawn(story, NARROW)


def test_of_many_runs_those_that_go_on_are_shown_and_the_rest_is_counted() -> None:
    scene = Scene()
    for number in range(12):
        board = Board(f"night-{number}")
        board.began, board.ended = 1.0, None if number == 9 else 2.0
        scene.watch(board)
    rows = [r.plain for r in frame(scene, NARROW, Heights(), 3.0, lambda _each: "")]
    assert len(rows) <= NARROW.height
    assert rows[0].startswith("night-9")
    assert "and 9 more runs" in rows[-3]
    assert "Ctrl-C" in rows[-1]


def breaker(**more: Any) -> BreakerRow:
    plain: dict[str, Any] = {"created_at": 0.0, "started_at": 0.0, "completed_at": None}
    plain |= {"version": 1, "probe": None, "probe_until": None, "openings": 1, "ramp": None}
    plain |= {"id": "ruff-12", "tool": "ruff", "state": "open", "mode": "auto", "since": 0.0}
    plain |= {"reason": "5 failures in a row", "due": 63.0, "parked": 3, "health": ()}
    return BreakerRow(**plain | more)


def test_what_keeps_work_back_stands_before_what_merely_waits() -> None:
    story = busy(1, 5, 1)
    for task in (1, 2, 3):
        story.tell("task", f"{RUN}/stream-0/task-{task}", "pending", "queued")
    wanted = Approval(f"{RUN}/gate:ok~1", RUN, "ok", 3.0)
    spent = Spent(RUN, 3, 20, 0.0, None)
    guards = Guards((breaker(),), (wanted,), (spent,))
    rows = drawn(story, NARROW, guards=guards)
    first = next(n for n, row in enumerate(rows) if "gate ok waits for you" in row)
    assert "banksman approve ok" in rows[first]
    assert rows[first + 1].startswith("  breaker ruff open, a probe in ")
    assert "3 tasks parked: 5 failures in a row" in rows[first + 1]
    assert rows[first + 2] == "  budget: 3 of 20 attempts used"
    # What is parked does not wait for a slot.
    assert not any("waiting for a slot" in row for row in rows)


def test_a_held_breaker_does_nothing_by_itself() -> None:
    rows = drawn(busy(1, 1, 0), NARROW, guards=Guards((breaker(mode="held", due=None),)))
    assert any("breaker ruff open (held), nothing by itself" in row for row in rows)


def test_a_paused_task_whose_work_is_done_is_shown_as_paused_and_how_it_goes_on() -> None:
    story = busy(1, 1, 1)
    task = f"{RUN}/stream-0/task-0"
    story.tell("task", task, "running", "validating")
    story.tell("task", task, "validating", "validating", event_type="task_paused")
    (row,) = [row for row in drawn(story, NARROW) if "stream-0/task-0" in row]
    assert "paused: banksman resume stream-0/task-0" in row
    story.tell("task", task, "validating", "validating", event_type="task_resumed")
    (row,) = [row for row in drawn(story, NARROW) if "stream-0/task-0" in row]
    assert "paused" not in row


def test_verdicts_that_were_reused_are_counted() -> None:
    story = busy(1, 1, 1)
    gate = f"{RUN}/gate:unit~1"
    story.tell("test_gate", gate, None, "pending")
    story.tell("test_gate", gate, "pending", "running")
    story.tell("test_gate", gate, "running", "passed", metadata={"reused_from": "x/gate:unit~1"})
    assert any("1 verdict reused: nothing had changed" in row for row in drawn(story, NARROW))
