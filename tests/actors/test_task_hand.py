"""A task in the operator's hand: cancel, pause, unblock, retry; and what may not be done."""

from __future__ import annotations

from typing import Any

import pytest

from actors import messages as m
from actors import task as machine
from actors.effects import CancelTimer, Note, Send, SetTimer, Spawn
from actors.messages import Standing
from actors.task import State, Task
from actors.task_state import SLICE
from tests.actors.steps import after, answer, effects, sent, step, triggers
from tests.actors.task_kit import (
    ASSIGNED,
    BEFORE,
    BEGIN,
    DISPATCH,
    DONE,
    FAIL,
    FAILED,
    GATE,
    JUDGE,
    LOST,
    ME,
    NEXT,
    OK,
    UET,
    WORKSTREAM,
    dependency,
    finished,
    queued,
    running,
    task,
    validating,
    verdict,
)

CANCEL = m.Cancel("enough", "ann")
CLOSING = m.Cancel("r/w/x failed", through_failure=True, closing=True)
AFTER_ONE = {"sources": (BEFORE,)}
BLOCKED = after(machine, task(seed=AFTER_ONE), BEGIN, FAILED)
RETRYING = running(LOST)
COMPLETED = running(OK)
RETRY = m.RetryTask("r/w/t", "ann", "once more")
AGAIN = "task:r/w/t~2"


def timers(decision: Any) -> dict[str, float]:
    return {t.key: t.due for t in effects(decision, SetTimer)}


# --- cancel --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [task(), BLOCKED, queued(), RETRYING, validating()], ids=lambda v: str(v.state)
)
def test_a_task_that_does_not_run_is_cancelled_at_once(value: Task) -> None:
    decision = step(machine, value, CANCEL)
    assert triggers(decision) == ["task_cancelled"]
    assert decision.edges[0].operator == "ann"
    assert isinstance(answer(decision), m.Accepted)
    (ended,) = sent(decision, WORKSTREAM)
    assert (ended.outcome, ended.through_failure) == ("cancelled", False)


def test_a_cancelled_task_leaves_the_queue() -> None:
    decision = step(machine, queued(queue_timeout_s=5.0), CANCEL)
    assert sent(decision, DISPATCH) == [m.Dequeue(ME)]


def test_a_cancelled_task_dismisses_its_judges() -> None:
    decision = step(machine, validating(), CANCEL)
    (dismissed,) = [e for e in effects(decision, Send) if e.to == JUDGE]
    assert (type(dismissed.message), dismissed.control) == (m.Cancel, True)


def test_a_running_task_is_cancelled_once_its_work_is_dead() -> None:
    asked = step(machine, running(), CANCEL)
    assert asked.edges == ()
    end = m.EndWork("1.1", "cancelled")
    assert effects(asked, Send) == [Send(UET, end, control=True)]
    assert effects(asked, Note)[0].event_type == "task_cancel_requested"
    decision = step(machine, asked.state, finished(reason="cancelled", signal=15))
    assert triggers(decision) == ["task_cancelled"]
    assert (decision.state.reason, decision.edges[0].operator) == ("enough", "ann")


def test_a_cancel_holds_also_if_the_work_succeeds_meanwhile_or_is_lost() -> None:
    for outcome in (OK, FAIL, LOST):
        assert step(machine, running(), CANCEL, outcome).state.state is State.CANCELLED


def test_a_cancel_takes_the_place_of_a_timeout_that_is_under_way() -> None:
    value = running(m.TimerFired("execution"), timeout_s=5.0, max_retries=3)
    decision = step(machine, value, CANCEL)
    assert sent(decision, UET) == []
    ended = step(machine, decision.state, finished(reason="timeout", signal=15))
    assert ended.state.state is State.CANCELLED


def test_a_second_cancel_finds_the_first() -> None:
    decision = step(machine, running(), CANCEL, CANCEL)
    assert answer(decision).text == "is being cancelled already"
    assert sent(decision, UET) == []


def test_a_task_that_is_being_cancelled_when_its_workstream_ends_cannot_be_retried() -> None:
    value = running(CANCEL, CLOSING, finished(reason="cancelled"))
    assert "retry the run" in answer(step(machine, value, RETRY)).reason


def test_a_total_timeout_does_not_undo_a_cancel() -> None:
    value = running(CANCEL, m.TimerFired("total"))
    assert after(machine, value, finished(reason="cancelled")).state is State.CANCELLED


def test_a_persons_cancel_is_no_failure_to_those_who_wait() -> None:
    (said,) = sent(step(machine, queued(), CANCEL), NEXT)
    assert said.standing is Standing.WITHDRAWN
    assert said.reason == "r/w/t cancelled: enough"


def test_a_blocked_task_that_a_person_cancels_is_named_itself() -> None:
    (said,) = sent(step(machine, BLOCKED, CANCEL), NEXT)
    assert said.reason == "r/w/t cancelled: enough"


def test_a_cancel_through_a_failure_is_a_failure_to_those_who_wait() -> None:
    decision = step(machine, queued(), CLOSING)
    assert sent(decision, NEXT)[0].standing is Standing.FAILED
    assert sent(decision, WORKSTREAM)[0].through_failure


def test_a_task_of_a_skipped_workstream_counts_as_done() -> None:
    decision = step(machine, queued(), m.Cancel("not today", closing=True, as_done=True))
    assert decision.state.state is State.CANCELLED
    assert sent(decision, NEXT)[0].standing is Standing.DONE


def test_a_task_that_has_ended_refuses_a_cancel() -> None:
    decision = step(machine, COMPLETED, CANCEL)
    assert answer(decision) == m.Refused("r/w/t is completed already")
    assert decision.state is COMPLETED


def test_a_task_that_its_workstream_ended_counts_no_more() -> None:
    closed = after(machine, task(seed=AFTER_ONE), BEGIN, CLOSING)
    assert step(machine, closed, DONE).state is closed


# --- pause ---------------------------------------------------------------------------------------


def test_a_paused_task_does_not_queue_until_it_is_resumed() -> None:
    value = after(machine, task(seed=AFTER_ONE), BEGIN, m.Pause("ann"), DONE)
    assert value.state is State.PENDING
    assert triggers(step(machine, value, m.Resume("ann"))) == ["dependencies_met"]


def test_a_paused_task_leaves_the_dispatchers_queue_and_comes_back() -> None:
    decision = step(machine, queued(), m.Pause("ann"))
    assert decision.state.state is State.QUEUED
    assert sent(decision, DISPATCH) == [m.Dequeue(ME)]
    resumed = step(machine, decision.state, m.Resume("ann"))
    assert [type(x) for x in sent(resumed, DISPATCH)] == [m.Enqueue]


def test_a_paused_task_is_not_announced() -> None:
    assert sent(step(machine, queued(m.Pause()), m.Recovered(2)), DISPATCH) == []
    assert sent(step(machine, queued(m.Pause()), m.AssignmentRefused("1.1")), DISPATCH) == []


def test_the_answer_says_whether_something_still_runs() -> None:
    assert answer(step(machine, queued(), m.Pause())).text == "paused"
    assert "finishes what runs" in answer(step(machine, running(), m.Pause())).text


def test_what_runs_finishes_but_does_not_land_while_paused() -> None:
    value = running(m.Pause("ann"), OK)
    assert value.state is State.VALIDATING
    assert triggers(step(machine, value, m.Resume("ann"))) == ["validation_passed"]


def test_a_retry_of_a_paused_task_waits_in_the_queue_unseen() -> None:
    value = running(m.Pause("ann"), FAIL, max_retries=1)
    decision = step(machine, value, m.TimerFired("backoff"))
    assert decision.state.state is State.QUEUED
    assert sent(decision, DISPATCH) == []


def test_pause_and_resume_are_on_record_with_their_operator() -> None:
    for word, event in ((m.Pause("ann", "look"), "task_paused"), (m.Resume("bo"), "task_resumed")):
        value = queued(m.Pause()) if event == "task_resumed" else queued()
        decision = step(machine, value, word)
        (note,) = effects(decision, Note)
        assert (note.event_type, note.operator) == (event, word.operator)


def test_pausing_twice_and_resuming_what_is_not_paused_are_answered() -> None:
    assert answer(step(machine, queued(), m.Pause(), m.Pause())).text == "is paused already"
    assert answer(step(machine, queued(), m.Resume())).text == "is not paused"


# --- clocks that stand still ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hold", "go"),
    [(m.Pause(), m.Resume()), (m.ClockHeld(True), m.ClockHeld(False))],
    ids=["its own pause", "a pause above it"],
)
def test_queue_and_total_clocks_stand_still_while_paused(hold: Any, go: Any) -> None:
    value = queued(queue_timeout_s=5.0, total_timeout_s=50.0)
    held = step(machine, value, hold, now=12.0)
    assert effects(held, CancelTimer) == [CancelTimer("queue"), CancelTimer("total")]
    assert timers(step(machine, held.state, go, now=100.0)) == {"queue": 103.0, "total": 148.0}


def test_clocks_go_on_only_when_both_pauses_are_over() -> None:
    value = queued(m.Pause(), m.ClockHeld(True), total_timeout_s=50.0)
    decision = step(machine, value, m.Resume())
    assert timers(decision) == {}
    assert timers(step(machine, decision.state, m.ClockHeld(False))) == {"total": 60.0}


def test_a_clock_that_starts_while_it_stands_still_keeps_its_seconds() -> None:
    value = task(seed=AFTER_ONE, queue_timeout_s=5.0)
    decision = step(machine, value, m.ClockHeld(True), BEGIN, DONE)
    assert decision.state.state is State.QUEUED
    assert timers(decision) == {}
    assert timers(step(machine, decision.state, m.ClockHeld(False), now=70.0)) == {"queue": 75.0}


def test_the_clock_of_an_execution_does_not_stand_still() -> None:
    decision = step(machine, running(timeout_s=5.0), m.Pause())
    assert effects(decision, CancelTimer) == []


def test_the_clocks_of_an_ended_task_are_not_set_again() -> None:
    value = queued(m.ClockHeld(True), CANCEL, total_timeout_s=50.0)
    assert timers(step(machine, value, m.ClockHeld(False))) == {}


# --- unblock -------------------------------------------------------------------------------------


def test_unblock_waives_the_cause_and_lets_the_task_go_on() -> None:
    decision = step(machine, BLOCKED, m.Unblock((), "ann", "known"))
    assert triggers(decision) == ["dependency_recovered", "dependencies_met"]
    assert decision.edges[0].operator == "ann"
    assert effects(decision, Note)[0].event_type == "task_unblocked"
    assert answer(decision).text == f"waived {BEFORE}"


def test_unblock_by_name_leaves_the_other_causes() -> None:
    gated = task(seed=AFTER_ONE | {"gates": (GATE,)})
    blocked = after(machine, gated, BEGIN, FAILED, verdict("failed", Standing.FAILED, ticket=None))
    decision = step(machine, blocked, m.Unblock(("lint",), "ann"))
    assert decision.state.state is State.BLOCKED
    assert answer(decision).text == f"waived {GATE}"


def test_unblock_by_a_name_that_is_no_cause_says_what_the_causes_are() -> None:
    decision = step(machine, BLOCKED, m.Unblock(("nobody",), "ann"))
    assert BEFORE in answer(decision).reason
    assert decision.state is BLOCKED


def test_unblock_of_a_task_that_is_not_blocked_is_refused() -> None:
    assert answer(step(machine, queued(), m.Unblock())).reason == "r/w/t is queued, not blocked"


# --- retry ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [COMPLETED, running(FAIL), queued(CANCEL)], ids=lambda v: str(v.state)
)
def test_a_task_that_has_ended_is_retried_as_a_new_one(value: Task) -> None:
    decision = step(machine, value, RETRY)
    (spawn,) = effects(decision, Spawn)
    new = spawn.value
    assert (new.id, new.retry_of, new.state) == ("r/w/t~2", "r/w/t", State.PENDING)
    assert new.spec is value.spec
    assert sent(decision, AGAIN) == [BEGIN]
    assert answer(decision).entity_id == "r/w/t~2"
    assert decision.state.state is value.state


def test_the_retry_of_a_retry_counts_on() -> None:
    (first,) = effects(step(machine, COMPLETED, RETRY), Spawn)
    (second,) = effects(step(machine, first.value, CANCEL, RETRY), Spawn)
    assert (second.value.id, second.value.retry_of) == ("r/w/t~3", "r/w/t~2")


def test_a_retry_inherits_the_count_unless_it_is_cleared() -> None:
    again = m.Assigned("worker:p.1", UET, "1.2")
    value = running(
        FAIL, m.TimerFired("backoff"), again, finished("1.2", exit_code=0), max_retries=1
    )
    (kept,) = effects(step(machine, value, RETRY), Spawn)
    (cleared,) = effects(
        step(machine, value, m.RetryTask("r/w/t", "ann", clear_retry_count=True)), Spawn
    )
    assert (kept.value.retry_count, cleared.value.retry_count) == (1, 0)


def test_the_workstream_hears_what_the_retried_task_had_counted_as() -> None:
    decision = step(machine, running(FAIL, critical=False), RETRY)
    assert sent(decision, WORKSTREAM) == [m.TaskRetried(ME, AGAIN, "failed", True)]
    for value, outcome in ((COMPLETED, "completed"), (running(FAIL), "failed")):
        decision = step(machine, value, RETRY)
        assert sent(decision, WORKSTREAM) == [m.TaskRetried(ME, AGAIN, outcome, False)]
        assert effects(decision, Note)[0].event_type == "task_retried"


def test_those_who_wait_for_a_retried_task_wait_for_the_new_one() -> None:
    decision = step(machine, running(FAIL), RETRY)
    assert sent(decision, NEXT) == [m.DependencyReplaced(ME, AGAIN, Standing.FAILED)]


def test_a_retried_task_begins_with_what_is_known_of_what_it_waits_for() -> None:
    two = {"sources": (BEFORE, "task:r/w/other")}
    cancelled = after(machine, task(seed=two), BEGIN, CANCEL, DONE)
    (spawn,) = effects(step(machine, cancelled, RETRY), Spawn)
    other = dependency(Standing.DONE, source="task:r/w/other")
    assert triggers(step(machine, spawn.value, BEGIN, other)) == ["dependencies_met"]


def test_a_retried_task_whose_dependency_failed_is_blocked_when_it_begins() -> None:
    cancelled = after(machine, BLOCKED, CANCEL)
    (spawn,) = effects(step(machine, cancelled, RETRY), Spawn)
    assert triggers(step(machine, spawn.value, BEGIN)) == ["dependency_failed"]


def test_what_comes_for_a_retried_task_goes_to_the_new_one() -> None:
    value = after(machine, queued(CANCEL), RETRY)
    gate = verdict("passed", Standing.DONE, ticket=None)
    for word in (BEGIN, DONE, gate, m.EndBlocked(), m.ClockHeld(True)):
        assert sent(step(machine, value, word), AGAIN) == [word]


def test_a_cancel_of_a_retried_task_is_answered_by_the_new_one() -> None:
    decision = step(machine, queued(CANCEL, RETRY), CANCEL)
    assert decision.effects == (Send(AGAIN, CANCEL, control=True, hand_on=True),)


@pytest.mark.parametrize("value", [task(), queued(), running()], ids=lambda v: str(v.state))
def test_a_task_that_has_not_ended_is_not_retried(value: Task) -> None:
    decision = step(machine, value, RETRY)
    assert "cancel it first, or wait for its end" in answer(decision).reason
    assert sent(decision, WORKSTREAM) == [m.TaskRetried(ME, None)]


def test_a_task_is_retried_only_through_the_newest() -> None:
    decision = step(machine, COMPLETED, RETRY, RETRY)
    assert "r/w/t~2 stands for it" in answer(decision).reason
    assert sent(decision, WORKSTREAM) == [m.TaskRetried(ME, None)]


def test_a_task_that_ended_with_its_workstream_is_not_retried() -> None:
    decision = step(machine, queued(CLOSING), RETRY)
    assert "retry the run" in answer(decision).reason


def test_a_retry_begins_after_all_who_wait_know_of_it() -> None:
    dependents = tuple(f"task:r/w/d{n}" for n in range(SLICE + 1))
    value = queued(CANCEL, seed={"dependents": dependents})
    decision = step(machine, value, RETRY)
    assert sent(decision, AGAIN) == []
    (rest,) = sent(decision, ME)
    assert sent(step(machine, decision.state, rest), AGAIN) == [BEGIN]


def test_a_task_that_had_not_begun_is_retried_to_wait_for_begin() -> None:
    decision = step(machine, task(), CANCEL, RETRY)
    assert sent(decision, AGAIN) == []


# --- what may not be done ------------------------------------------------------------------------


def test_a_task_is_not_skipped() -> None:
    assert "only workstreams are skipped" in answer(step(machine, queued(), m.Skip())).reason


@pytest.mark.parametrize("word", [m.Pause(), m.Resume(), m.Unblock()])
def test_a_task_that_has_ended_refuses_the_operators_hand(word: Any) -> None:
    decision = step(machine, COMPLETED, word)
    assert answer(decision) == m.Refused("r/w/t is completed already")
    retried = after(machine, COMPLETED, RETRY)
    assert "r/w/t~2 stands for it" in answer(step(machine, retried, word)).reason


def test_an_assignment_of_a_cancelled_task_is_returned() -> None:
    decision = step(machine, queued(CANCEL), ASSIGNED)
    assert sent(decision, "worker:p.1") == [m.ReturnAssignment("1.1")]
