"""A workstream: its state follows from its tasks; failure, skip, cancel and pause."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from actors import messages as m
from actors import spec
from actors import workstream as machine
from actors.effects import Note, Send
from actors.messages import Standing
from actors.workstream import State, Workstream
from actors.workstream_state import SLICE
from tests.actors.steps import after, answer, effects, sent, step, triggers

ME = "workstream:r/w"
RUN = "run:r"
NEXT = "workstream:r/next"
BEFORE = "workstream:r/before"
DISPATCH = "dispatch:main"
A, B = "task:r/w/a", "task:r/w/b"
JUDGE = "test_gate:r/gate:unit~1"
SEED = spec.WorkstreamSeed(run_id="r", name="w", tasks=("a", "b"), dependents=(NEXT,))
BEGIN = m.Begin()
QUEUED = m.TaskQueued(A)
CANCEL = m.Cancel("enough", "ann")


def new(**more: Any) -> Workstream:
    return machine.create(replace(SEED, **more), 1.0)


def at(*messages: Any, **more: Any) -> Workstream:
    value: Workstream = after(machine, new(**more), *messages)
    return value


def ended(
    task: str, outcome: str = "completed", *, critical: bool = True, **more: Any
) -> m.TaskEnded:
    return m.TaskEnded(task, outcome, critical, **more)


def dependency(standing: Standing, was: Standing = Standing.WAITING) -> m.DependencyEnded:
    outcome = "completed" if standing is Standing.DONE else "failed"
    return m.DependencyEnded(BEFORE, outcome, standing, was, "r/before failed: r/before/x failed")


def closing(**more: Any) -> m.Cancel:
    return m.Cancel(closing=True, **more)


A_DONE, B_DONE = ended(A), ended(B)
A_BLOCKED, B_BLOCKED = m.TaskBlocked(A, blocked=True), m.TaskBlocked(B, blocked=True)
A_FREE = m.TaskBlocked(A, blocked=False)
AFTER_ONE = {"sources": (BEFORE,)}
DONE, FAILED = dependency(Standing.DONE), dependency(Standing.FAILED)
HELD_UP = m.DependencyBlocked(BEFORE, Standing.STALLED, Standing.WAITING, "root")
GOES_ON = m.DependencyBlocked(BEFORE, Standing.WAITING, Standing.STALLED)

READY = at(BEGIN)
RUNNING = at(BEGIN, QUEUED)
PAUSED = at(BEGIN, QUEUED, m.Pause("ann"))
BLOCKED = at(BEGIN, QUEUED, A_BLOCKED, B_BLOCKED)
HELD = at(BEGIN, FAILED, **AFTER_ONE)
VALIDATING = at(BEGIN, A_DONE, B_DONE, m.GatesMade("r/w", (JUDGE,)), gates=("unit",))
COMPLETED = at(BEGIN, A_DONE, B_DONE)
STATES = [READY, RUNNING, PAUSED, BLOCKED]
by_state = {"ids": lambda v: str(v.state)}


def moves(decision: Any) -> list[str]:
    return [taken.target for taken in decision.edges]


# --- beginning -----------------------------------------------------------------------------------


def test_a_workstream_that_waits_for_nothing_is_ready_and_begins_its_tasks() -> None:
    decision = step(machine, new(), BEGIN)
    assert triggers(decision) == ["ready"]
    assert sent(decision, A) == [BEGIN]
    assert sent(decision, B) == [BEGIN]


def test_the_run_hears_of_every_edge() -> None:
    decision = step(machine, new(critical=False), BEGIN)
    assert sent(decision, RUN) == [m.WorkstreamMoved(ME, "pending", "ready", critical=False)]


def test_a_workstream_waits_for_those_that_it_depends_on() -> None:
    waiting = at(BEGIN, **AFTER_ONE)
    assert waiting.state is State.PENDING
    assert triggers(step(machine, waiting, DONE)) == ["ready"]


def test_a_dependency_that_ends_before_begin_counts() -> None:
    assert at(DONE, BEGIN, **AFTER_ONE).state is State.READY


def test_begin_twice_begins_once() -> None:
    assert step(machine, READY, BEGIN).effects == ()


def test_it_runs_from_its_first_queued_task_on() -> None:
    decision = step(machine, READY, QUEUED)
    assert triggers(decision) == ["started"]
    assert decision.state.started_at == 10.0
    assert step(machine, decision.state, m.TaskQueued(B)).state is decision.state


def test_many_tasks_are_told_a_slice_in_a_turn() -> None:
    names = tuple(f"t{n}" for n in range(SLICE + 1))
    decision = step(machine, new(tasks=names), BEGIN)
    (rest,) = sent(decision, ME)
    assert rest == m.Reach(BEGIN, SLICE)
    last = step(machine, decision.state, rest)
    assert last.effects == (Send(f"task:r/w/t{SLICE}", BEGIN),)


# --- ending well ---------------------------------------------------------------------------------


def test_it_completes_after_its_last_task() -> None:
    decision = step(machine, RUNNING, A_DONE, B_DONE)
    assert triggers(decision) == ["validating", "completed"]
    (said,) = sent(decision, NEXT)
    assert (said.outcome, said.standing) == ("completed", Standing.DONE)


def test_it_runs_from_its_last_tasks_end_on_even_if_none_was_queued() -> None:
    decision = step(machine, READY, ended(A, "cancelled"), ended(B, "cancelled"))
    assert triggers(decision) == ["started", "validating", "completed"]


def test_a_workstream_without_tasks_completes_when_it_begins() -> None:
    decision = step(machine, new(tasks=()), BEGIN)
    assert moves(decision) == ["ready", "running", "validating", "completed"]


def test_its_own_gates_judge_it_once_its_tasks_have_ended() -> None:
    decision = step(machine, at(BEGIN, A_DONE, gates=("unit", "unit")), B_DONE)
    assert moves(decision) == ["running", "validating"]
    assert sent(decision, RUN)[-1] == m.NeedGates(ME, ("unit",), "r/w")


def verdict(outcome: str, standing: Standing, was: Standing = Standing.WAITING) -> m.GateVerdict:
    return m.GateVerdict(JUDGE, "unit", outcome, standing, was, "r/w", f"unit {outcome}")


def test_it_completes_once_its_gates_have_passed() -> None:
    decision = step(machine, VALIDATING, verdict("passed", Standing.DONE))
    assert triggers(decision) == ["completed"]


def test_a_gate_of_its_own_that_fails_fails_it() -> None:
    decision = step(machine, VALIDATING, verdict("failed", Standing.FAILED))
    assert triggers(decision) == ["failed"]
    assert decision.state.reason == "validation failed: unit failed"
    assert [type(x) for x in sent(decision, JUDGE)] == [m.Cancel]


def test_what_is_no_verdict_leaves_it_validating() -> None:
    decision = step(machine, VALIDATING, verdict("infrastructure", Standing.STALLED))
    assert decision.edges == ()
    assert decision.state.reason == "unit infrastructure"
    again = verdict("pending", Standing.WAITING, Standing.STALLED)
    passed = step(machine, decision.state, again, verdict("passed", Standing.DONE))
    assert triggers(passed) == ["completed"]


def test_gates_for_a_validation_that_is_over_are_dismissed() -> None:
    over = at(BEGIN, A_DONE, B_DONE, CANCEL, gates=("unit",))
    decision = step(machine, over, m.GatesMade("r/w", (JUDGE,)))
    assert [type(x) for x in sent(decision, JUDGE)] == [m.Cancel]


def test_an_event_carries_the_counts_that_others_read() -> None:
    value = at(BEGIN, QUEUED, ended(A, "failed", critical=False))
    metadata = step(machine, value, B_DONE, now=15.0).edges[-1].metadata
    assert metadata == machine.WorkstreamMetadata(
        total_tasks=2,
        completed_tasks=1,
        failed_tasks=1,
        cancelled_tasks=0,
        noncritical_failures=1,
        duration_seconds=5.0,
        critical_failure=False,
    )


# --- failing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", STATES, **by_state)
def test_a_critical_failure_ends_the_other_tasks_first(value: Workstream) -> None:
    decision = step(machine, value, ended(A, "failed", reason="exit code 1"))
    assert decision.edges == ()
    reason = "r/w/a failed: exit code 1"
    assert sent(decision, B) == [closing(reason=reason, through_failure=True)]
    last = step(machine, decision.state, ended(B, "cancelled", through_failure=True))
    assert triggers(last) == ["failed"]
    assert (last.state.reason, last.edges[0].severity) == (reason, "critical")
    assert last.edges[0].metadata.critical_failure


def test_a_failure_of_an_uncritical_workstream_is_an_error_not_critical() -> None:
    decision = step(machine, at(BEGIN, A_DONE, critical=False), ended(B, "failed"))
    assert decision.edges[-1].severity == "error"


def test_a_critical_task_cancelled_through_a_failure_fails_it_too() -> None:
    doomed = ended(B, "cancelled", through_failure=True, was_blocked=True, reason="root")
    decision = step(machine, at(BEGIN, QUEUED, B_BLOCKED, A_DONE), doomed)
    assert moves(decision)[-1] == "failed"


def test_a_critical_task_that_a_person_cancelled_does_not_fail_it() -> None:
    decision = step(machine, RUNNING, ended(A, "cancelled"), B_DONE)
    assert triggers(decision)[-1] == "completed"


def test_a_failure_of_an_uncritical_task_is_counted_and_no_more() -> None:
    value = at(BEGIN, QUEUED, ended(A, "failed", critical=False))
    decision = step(machine, value, B_DONE)
    assert triggers(decision)[-1] == "completed"
    assert sent(decision, RUN)[-1].noncritical_failures == 1


def test_what_is_cancelled_because_it_failed_is_not_counted_as_a_failure() -> None:
    value = at(BEGIN, QUEUED, ended(A, "failed"))
    last = after(machine, value, ended(B, "cancelled", critical=False, through_failure=True))
    assert last.noncritical_failures == 0


def test_those_who_wait_hear_of_its_failure_down_to_the_root() -> None:
    value = at(BEGIN, A_DONE)
    (said,) = sent(step(machine, value, ended(B, "failed", reason="exit code 1")), NEXT)
    assert said.standing is Standing.FAILED
    assert said.reason == "r/w failed: r/w/b failed: exit code 1"


# --- blocked by its tasks ------------------------------------------------------------------------


def test_it_is_blocked_once_every_task_left_is() -> None:
    one = step(machine, RUNNING, A_BLOCKED)
    assert one.edges == ()
    assert triggers(step(machine, one.state, B_BLOCKED)) == ["blocked"]


def test_it_is_blocked_when_the_last_task_that_moved_has_ended() -> None:
    decision = step(machine, RUNNING, A_BLOCKED, ended(B))
    assert triggers(decision) == ["blocked"]


def test_it_runs_again_when_a_task_is_freed_and_queues() -> None:
    freed = step(machine, BLOCKED, A_FREE)
    assert triggers(freed) == ["unblocked", "ready"]
    assert sent(freed, A) == []
    assert triggers(step(machine, freed.state, QUEUED)) == ["started"]


def test_it_completes_when_its_blocked_uncritical_tasks_were_ended() -> None:
    doomed = {"critical": False, "was_blocked": True, "through_failure": True}
    decision = step(
        machine, BLOCKED, ended(A, "cancelled", **doomed), ended(B, "cancelled", **doomed)
    )
    assert moves(decision) == ["pending", "ready", "running", "validating", "completed"]
    assert decision.state.noncritical_failures == 2


def test_a_ready_workstream_of_which_all_is_blocked_is_stuck_and_says_so_once() -> None:
    stuck = step(machine, READY, A_BLOCKED, B_BLOCKED)
    assert stuck.edges == ()
    assert sent(stuck, RUN) == [m.WorkstreamStuck(ME, True)]
    free = step(machine, stuck.state, A_FREE)
    assert sent(free, RUN) == [m.WorkstreamStuck(ME, False)]


def test_a_stuck_workstream_is_no_longer_stuck_before_it_moves() -> None:
    stuck = at(BEGIN, A_BLOCKED, B_BLOCKED)
    decision = step(
        machine, stuck, CANCEL, *(ended(t, "cancelled", was_blocked=True) for t in (A, B))
    )
    assert decision.state.state is State.CANCELLED
    assert sent(step(machine, stuck, CANCEL), RUN) == [m.WorkstreamStuck(ME, False)]


def test_those_who_wait_know_while_it_is_blocked() -> None:
    decision = step(machine, RUNNING, A_BLOCKED, B_BLOCKED)
    (said,) = sent(decision, NEXT)
    assert (said.standing, said.was) == (Standing.STALLED, Standing.WAITING)
    (freed,) = sent(step(machine, decision.state, A_FREE), NEXT)
    assert (freed.standing, freed.was) == (Standing.WAITING, Standing.STALLED)


def test_what_can_never_start_is_told_to_end() -> None:
    for value in (BLOCKED, at(BEGIN, A_BLOCKED, B_BLOCKED)):
        decision = step(machine, value, m.EndBlocked())
        assert sent(decision, A) == [m.EndBlocked()]


def test_what_still_moves_is_not_told_to_end() -> None:
    for value in (READY, RUNNING, PAUSED, at(BEGIN, **AFTER_ONE)):
        assert step(machine, value, m.EndBlocked()).effects == ()


# --- blocked by a dependency ---------------------------------------------------------------------


def test_a_failed_dependency_blocks_it() -> None:
    decision = step(machine, at(BEGIN, **AFTER_ONE), FAILED)
    assert triggers(decision) == ["blocked"]
    assert decision.state.reason == "r/before failed: r/before/x failed"


def test_a_workstream_that_a_failure_blocks_is_skipped_once_its_tasks_have_ended() -> None:
    decision = step(machine, HELD, m.EndBlocked())
    (cancel,) = sent(decision, A)
    assert (cancel.closing, cancel.through_failure, cancel.as_done) == (True, True, False)
    through = {"through_failure": True}
    last = step(
        machine, decision.state, ended(A, "cancelled", **through), ended(B, "cancelled", **through)
    )
    assert triggers(last) == ["skipped"]
    (moved,) = sent(last, RUN)
    assert (moved.target, moved.through_failure) == ("skipped", True)
    (said,) = sent(last, NEXT)
    assert (said.standing, said.was) == (Standing.FAILED, Standing.STALLED)
    assert said.reason == "r/before failed: r/before/x failed"


def test_a_workstream_that_a_persons_cancel_blocks_is_skipped_without_a_failure() -> None:
    held = at(BEGIN, dependency(Standing.WITHDRAWN), **AFTER_ONE)
    over = after(machine, held, m.EndBlocked(), ended(A, "cancelled"))
    decision = step(machine, over, ended(B, "cancelled"))
    assert triggers(decision) == ["skipped"]
    assert not sent(decision, RUN)[0].through_failure
    assert sent(decision, NEXT)[0].standing is Standing.WITHDRAWN


def test_a_dependency_that_is_only_held_up_holds_it_up_but_does_not_block_it() -> None:
    decision = step(machine, at(BEGIN, **AFTER_ONE), HELD_UP)
    assert decision.state.state is State.PENDING
    assert sent(decision, NEXT)[0].standing is Standing.STALLED
    (freed,) = sent(step(machine, decision.state, GOES_ON), NEXT)
    assert freed.standing is Standing.WAITING


def test_tasks_that_others_wait_for_are_held_up_with_it_before_it_begins() -> None:
    value = at(BEGIN, bridges=("b",), **AFTER_ONE)
    decision = step(machine, value, HELD_UP)
    assert [x.standing for x in sent(decision, B)] == [Standing.STALLED]
    assert sent(decision, A) == []
    freed = step(machine, decision.state, dependency(Standing.DONE, was=Standing.STALLED))
    assert [type(x) for x in sent(freed, B)] == [m.Begin, m.DependencyBlocked]


def test_unblock_waives_the_dependency_and_it_begins() -> None:
    decision = step(machine, HELD, m.Unblock(("before",), "ann", "known"))
    assert triggers(decision) == ["unblocked", "ready"]
    assert sent(decision, A) == [BEGIN]
    assert effects(decision, Note)[0].event_type == "workstream_unblocked"
    assert answer(decision).text == f"waived {BEFORE}"


def test_unblock_is_refused_where_it_cannot_help() -> None:
    assert "not blocked" in answer(step(machine, RUNNING, m.Unblock())).reason
    assert "unblock those" in answer(step(machine, BLOCKED, m.Unblock())).reason
    assert BEFORE in answer(step(machine, HELD, m.Unblock(("nobody",)))).reason


# --- skip ----------------------------------------------------------------------------------------


def test_one_that_the_plan_skips_counts_as_done_and_so_do_its_tasks() -> None:
    value = new(skip=True, **AFTER_ONE)
    decision = step(machine, value, BEGIN)
    assert [x.as_done for x in sent(decision, A)] == [True]
    last = step(machine, decision.state, ended(A, "cancelled"), ended(B, "cancelled"))
    assert triggers(last) == ["skipped"]
    assert sent(last, NEXT)[0].standing is Standing.DONE


@pytest.mark.parametrize("value", [at(BEGIN, **AFTER_ONE), READY, BLOCKED, HELD], **by_state)
def test_an_operator_skips_what_has_not_begun_to_run(value: Workstream) -> None:
    decision = step(machine, value, m.Skip("not today", "ann"))
    assert isinstance(answer(decision), m.Accepted)
    last = step(
        machine,
        decision.state,
        *(ended(t, "cancelled", was_blocked=value is BLOCKED) for t in (A, B)),
    )
    assert triggers(last) == ["skipped"]
    assert (last.edges[0].operator, last.state.reason) == ("ann", "not today")
    assert sent(last, NEXT)[0].standing is Standing.DONE


@pytest.mark.parametrize("value", [RUNNING, PAUSED, VALIDATING], **by_state)
def test_what_runs_is_cancelled_not_skipped(value: Workstream) -> None:
    assert "cancelled, not skipped" in answer(step(machine, value, m.Skip())).reason


def test_what_is_ending_is_neither_skipped_nor_told_to_end() -> None:
    ending = after(machine, BLOCKED, CANCEL)
    assert "ending already, as cancelled" in answer(step(machine, ending, m.Skip())).reason
    assert step(machine, ending, m.EndBlocked()).effects == ()


def test_a_skipped_workstream_does_not_start_meanwhile() -> None:
    skipping = after(machine, READY, m.Skip("not today"))
    assert step(machine, skipping, QUEUED).edges == ()


# --- cancel --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [*STATES, at(BEGIN, **AFTER_ONE), HELD], **by_state)
def test_a_cancel_ends_the_tasks_first(value: Workstream) -> None:
    decision = step(machine, value, CANCEL)
    assert decision.edges == ()
    assert sent(decision, A) == [closing(reason="enough", operator="ann")]
    blocked = value is BLOCKED
    last = step(
        machine, decision.state, *(ended(t, "cancelled", was_blocked=blocked) for t in (A, B))
    )
    assert triggers(last) == ["cancelled"]
    assert last.edges[0].operator == "ann"
    assert sent(last, NEXT)[0].standing is Standing.WITHDRAWN


def test_a_cancel_while_it_is_judged_dismisses_the_gates() -> None:
    decision = step(machine, VALIDATING, CANCEL)
    assert triggers(decision) == ["cancelled"]
    assert [type(x) for x in sent(decision, JUDGE)] == [m.Cancel]


def test_a_second_cancel_finds_the_first() -> None:
    decision = step(machine, RUNNING, CANCEL, CANCEL)
    assert answer(decision).text == "is ending already, as cancelled"
    assert sent(decision, A) == []


def test_a_cancel_through_a_failure_is_a_failure_to_those_who_wait() -> None:
    through = m.Cancel("r/x failed", through_failure=True)
    decision = step(machine, VALIDATING, through)
    assert sent(decision, NEXT)[0].standing is Standing.FAILED


def test_a_task_that_fails_while_it_is_cancelled_changes_nothing() -> None:
    value = after(machine, RUNNING, CANCEL, ended(A, "failed"))
    assert after(machine, value, ended(B, "cancelled")).state is State.CANCELLED


def test_what_is_ended_before_its_tasks_are_there_reaches_them_when_they_are() -> None:
    for word, as_done in ((CANCEL, False), (m.Skip("not today", "ann"), True)):
        early = step(machine, new(), word)
        assert sent(early, A) == []
        begun = step(machine, early.state, BEGIN)
        assert begun.edges == ()
        assert [x.as_done for x in sent(begun, A)] == [as_done]


# --- pause ---------------------------------------------------------------------------------------


def test_a_paused_workstream_starts_nothing_more() -> None:
    decision = step(machine, RUNNING, m.Pause("ann", "look"))
    assert triggers(decision) == ["paused"]
    assert sent(decision, DISPATCH) == [m.HoldRun("r", True, "w")]
    resumed = step(machine, decision.state, m.Resume("bo"))
    assert triggers(resumed) == ["resumed"]
    assert sent(resumed, DISPATCH) == [m.HoldRun("r", False, "w")]


@pytest.mark.parametrize("value", [new(), READY, BLOCKED, VALIDATING], **by_state)
def test_where_the_chart_has_no_pause_it_is_a_flag_on_record(value: Workstream) -> None:
    decision = step(machine, value, m.Pause("ann"))
    assert decision.state.paused
    assert decision.state.state is value.state
    assert effects(decision, Note)[0].event_type == "workstream_paused"


def test_a_workstream_that_was_paused_before_it_ran_runs_into_its_pause() -> None:
    decision = step(machine, READY, m.Pause("ann"), QUEUED)
    assert triggers(decision) == ["started", "paused"]


def test_what_lands_waits_for_the_resume() -> None:
    value = after(machine, PAUSED, A_DONE, B_DONE)
    assert value.state is State.PAUSED
    assert triggers(step(machine, value, m.Resume())) == ["resumed", "validating", "completed"]


def test_a_verdict_that_passes_lands_after_the_resume() -> None:
    value = after(machine, VALIDATING, m.Pause(), verdict("passed", Standing.DONE))
    assert value.state is State.VALIDATING
    assert triggers(step(machine, value, m.Resume())) == ["completed"]


def test_a_failure_ends_a_paused_workstream() -> None:
    value = after(machine, PAUSED, ended(A, "failed"))
    assert triggers(step(machine, value, ended(B, "cancelled"))) == ["failed"]


def test_clocks_of_timed_tasks_stand_still_while_it_or_its_run_is_paused() -> None:
    value = at(BEGIN, timed=("b",))
    held = step(machine, value, m.Pause())
    assert sent(held, B) == [m.ClockHeld(True)]
    assert sent(held, A) == []
    both = step(machine, held.state, m.ClockHeld(True))
    assert sent(both, B) == []
    one = step(machine, both.state, m.Resume())
    assert sent(one, B) == []
    assert sent(step(machine, one.state, m.ClockHeld(False)), B) == [m.ClockHeld(False)]


def test_clocks_that_are_held_before_the_tasks_are_there_are_held_when_they_are() -> None:
    paused = after(machine, new(timed=("b",)), m.Pause())
    assert m.ClockHeld(True) in sent(step(machine, paused, BEGIN), B)


def test_a_new_dispatcher_learns_of_the_pause() -> None:
    for word in (m.Recovered(2), m.Announce()):
        assert sent(step(machine, PAUSED, word), DISPATCH) == [m.HoldRun("r", True, "w")]
        assert step(machine, RUNNING, word).effects == ()


def test_a_paused_workstream_that_ends_leaves_no_hold_behind() -> None:
    value = after(machine, PAUSED, CANCEL, ended(A, "cancelled"))
    decision = step(machine, value, ended(B, "cancelled"))
    assert m.HoldRun("r", False, "w") in sent(decision, DISPATCH)


def test_pausing_twice_and_resuming_what_is_not_paused_are_answered() -> None:
    assert answer(step(machine, PAUSED, m.Pause())).text == "is paused already"
    assert answer(step(machine, RUNNING, m.Resume())).text == "is not paused"


# --- retry ---------------------------------------------------------------------------------------

RETRY = m.RetryTask("r/w/a", "ann")


def retried(outcome: str, *, noncritical: bool = False) -> m.TaskRetried:
    return m.TaskRetried(A, f"{A}~2", outcome, noncritical)


def test_a_retry_is_handed_on_to_the_task_which_answers() -> None:
    decision = step(machine, RUNNING, RETRY)
    assert decision.effects == (Send(A, RETRY, hand_on=True),)


def test_a_retried_task_counts_as_the_one_that_stands_for_it() -> None:
    failed = ended(A, "failed", critical=False)
    value = after(machine, RUNNING, failed, RETRY, retried("failed", noncritical=True))
    assert (value.unfinished, value.failed, value.noncritical_failures) == (2, 0, 0)
    over = after(machine, value, ended(f"{A}~2"), B_DONE)
    assert (over.state, over.completed) == (State.COMPLETED, 2)


def test_it_does_not_end_while_a_retry_is_under_way() -> None:
    value = after(machine, RUNNING, A_DONE, RETRY, B_DONE)
    assert value.state is State.RUNNING
    refused = m.TaskRetried(A, None)
    assert triggers(step(machine, value, refused)) == ["validating", "completed"]


def test_a_blocked_workstream_goes_on_with_the_retry() -> None:
    value = after(machine, at(BEGIN, QUEUED, B_BLOCKED), ended(A, "failed", critical=False))
    assert value.state is State.BLOCKED
    decision = step(machine, value, RETRY)
    assert triggers(decision) == ["unblocked", "ready"]


def test_a_retry_that_comes_true_while_it_ends_is_cancelled() -> None:
    value = after(machine, RUNNING, ended(A, "failed", critical=False), RETRY, CANCEL)
    decision = step(machine, value, retried("failed", noncritical=True))
    assert sent(decision, f"{A}~2") == [closing(reason="enough", operator="ann")]


@pytest.mark.parametrize("value", [VALIDATING, COMPLETED, at(BEGIN, CANCEL)], **by_state)
def test_a_retry_is_refused_once_it_lands_or_ends(value: Workstream) -> None:
    decision = step(machine, value, RETRY)
    assert "retry the run" in answer(decision).reason
    assert sent(decision, A) == []


def test_a_retry_of_what_is_no_task_of_it_is_refused() -> None:
    for name in ("r/w/nobody", "r/other/a", "a"):
        decision = step(machine, RUNNING, m.RetryTask(name, "ann"))
        assert "is no task of r/w" in answer(decision).reason


# --- after its end -------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [m.Pause(), m.Resume(), CANCEL, m.Skip(), m.Unblock(), RETRY])
def test_a_workstream_that_has_ended_refuses_the_operators_hand(word: Any) -> None:
    decision = step(machine, COMPLETED, word)
    assert answer(decision).reason.startswith("r/w is completed already")
    assert decision.state is COMPLETED


@pytest.mark.parametrize("word", [BEGIN, m.EndBlocked(), m.ClockHeld(True), m.Recovered(2)])
def test_a_workstream_that_has_ended_hears_nothing_more(word: Any) -> None:
    decision = step(machine, COMPLETED, word)
    assert decision.state is COMPLETED
    assert decision.effects == ()
