"""A task before it runs: what it waits for, what blocks it, and its place in the queue."""

from __future__ import annotations

from typing import Any

import pytest

from actors import messages as m
from actors import task as machine
from actors.effects import CancelTimer, SetTimer
from actors.messages import Standing
from actors.task import State
from actors.task_state import SLICE
from tests.actors.steps import after, effects, sent, step, triggers
from tests.actors.task_kit import (
    ASSIGNED,
    BEFORE,
    BEGIN,
    DISPATCH,
    DONE,
    FAIL,
    FAILED,
    GATE,
    ME,
    NEXT,
    OK,
    OTHER,
    WORKSTREAM,
    dependency,
    queued,
    running,
    task,
    verdict,
)

AFTER_ONE = {"sources": (BEFORE,)}
AFTER_TWO = {"sources": (BEFORE, OTHER)}
GATED = {"gates": (GATE,)}
GATE_PASSED = verdict("passed", Standing.DONE, ticket=None)
GATE_FAILED = verdict("failed", Standing.FAILED, ticket=None)
GATE_LOST = verdict("infrastructure", Standing.STALLED, ticket=None)
HELD_UP = m.DependencyBlocked(BEFORE, Standing.STALLED, Standing.WAITING, "root failed")


# --- dependencies --------------------------------------------------------------------------------


def test_a_task_that_waits_for_nothing_queues_when_its_workstream_begins() -> None:
    decision = step(machine, task(), BEGIN)
    assert triggers(decision) == ["dependencies_met"]
    assert sent(decision, WORKSTREAM) == [m.TaskQueued(ME)]


def test_a_task_does_not_queue_before_its_workstream_begins() -> None:
    value = task(seed=AFTER_ONE)
    assert step(machine, value, DONE).edges == ()
    assert triggers(step(machine, value, DONE, BEGIN)) == ["dependencies_met"]


def test_a_task_queues_once_all_that_it_waits_for_is_done() -> None:
    value = after(machine, task(seed=AFTER_TWO), BEGIN, DONE)
    assert value.state is State.PENDING
    other = dependency(Standing.DONE, source=OTHER)
    assert triggers(step(machine, value, other)) == ["dependencies_met"]


def test_begin_twice_queues_once() -> None:
    value = queued()
    assert step(machine, value, BEGIN).state is value


def test_the_request_names_all_that_the_dispatcher_must_know() -> None:
    value = task(
        priority=2,
        requires=("gpu",),
        concurrency_key="db",
        seed={"run_priority": 3, "own_slots": True},
    )
    (request,) = sent(step(machine, value, BEGIN), DISPATCH)
    assert request == m.Enqueue(
        ME,
        "r",
        "w",
        2,
        ("gpu",),
        "db",
        process_only=True,
        run_priority=3,
        since=10.0,
        own_slots=True,
    )


@pytest.mark.parametrize(
    ("how", "inline_only", "process_only"),
    [
        ({"command": ("make",)}, False, True),
        ({"command": (), "call": "package.module:function"}, False, False),
        ({"command": (), "call": "registered"}, True, False),
    ],
)
def test_a_command_needs_a_process_and_a_local_callable_an_inline_slot(
    how: dict[str, Any], inline_only: bool, process_only: bool
) -> None:
    (request,) = sent(step(machine, task(**how), BEGIN), DISPATCH)
    assert (request.inline_only, request.process_only) == (inline_only, process_only)


# --- blocked -------------------------------------------------------------------------------------


def test_a_task_whose_dependency_failed_is_blocked_and_names_the_cause() -> None:
    decision = step(machine, task(seed=AFTER_TWO), BEGIN, FAILED)
    assert triggers(decision) == ["dependency_failed"]
    assert decision.state.reason == "before failed: exit code 1"
    assert sent(decision, WORKSTREAM) == [m.TaskBlocked(ME, blocked=True)]


def test_a_blocked_task_holds_up_those_who_wait_for_it_and_names_the_root_cause() -> None:
    decision = step(machine, task(seed=AFTER_ONE), BEGIN, FAILED)
    (said,) = sent(decision, NEXT)
    assert said == m.DependencyBlocked(
        ME, Standing.STALLED, Standing.WAITING, "before failed: exit code 1"
    )


def test_a_task_that_is_held_up_is_blocked_too() -> None:
    decision = step(machine, task(seed=AFTER_ONE), BEGIN, HELD_UP)
    assert triggers(decision) == ["dependency_failed"]
    assert decision.state.reason == "root failed"


def test_a_task_can_be_blocked_before_its_workstream_begins() -> None:
    assert triggers(step(machine, task(seed=AFTER_ONE), FAILED)) == ["dependency_failed"]


def test_a_task_goes_on_when_what_held_it_up_goes_on() -> None:
    blocked = after(machine, task(seed=AFTER_ONE), BEGIN, HELD_UP)
    free = step(machine, blocked, m.DependencyBlocked(BEFORE, Standing.WAITING, Standing.STALLED))
    assert triggers(free) == ["dependency_recovered"]
    assert sent(free, WORKSTREAM) == [m.TaskBlocked(ME, blocked=False)]
    assert sent(free, NEXT) == [m.DependencyBlocked(ME, Standing.WAITING, Standing.STALLED)]
    assert triggers(step(machine, free.state, DONE)) == ["dependencies_met"]


def test_a_blocked_task_is_blocked_until_the_last_cause_is_gone() -> None:
    blocked = after(machine, task(seed=AFTER_TWO), BEGIN, FAILED)
    other = m.DependencyBlocked(OTHER, Standing.STALLED, Standing.WAITING, "other root")
    both = after(machine, blocked, other)
    replaced = m.DependencyReplaced(BEFORE, f"{BEFORE}~2", Standing.FAILED)
    decision = step(machine, both, replaced)
    assert decision.edges == ()
    assert decision.state.reason == "other root"


def test_a_dependency_that_is_retried_frees_the_task_and_is_waited_for() -> None:
    blocked = after(machine, task(seed=AFTER_ONE), BEGIN, FAILED)
    free = step(machine, blocked, m.DependencyReplaced(BEFORE, f"{BEFORE}~2", Standing.FAILED))
    assert triggers(free) == ["dependency_recovered"]
    done = dependency(Standing.DONE, source=f"{BEFORE}~2")
    assert triggers(step(machine, free.state, done)) == ["dependencies_met"]


def test_a_done_dependency_that_is_run_again_is_waited_for_again() -> None:
    value = after(machine, task(seed=AFTER_TWO), BEGIN, DONE)
    again = after(machine, value, m.DependencyReplaced(BEFORE, f"{BEFORE}~2", Standing.DONE))
    other = dependency(Standing.DONE, source=OTHER)
    assert step(machine, again, other).edges == ()


def test_a_task_that_was_admitted_goes_on_when_a_dependency_is_run_again() -> None:
    value = after(machine, task(seed=AFTER_ONE), BEGIN, DONE)
    again = step(machine, value, m.DependencyReplaced(BEFORE, f"{BEFORE}~2", Standing.DONE))
    assert again.edges == ()
    failed = dependency(Standing.FAILED, source=f"{BEFORE}~2")
    assert step(machine, again.state, failed).edges == ()


# --- what can never start ------------------------------------------------------------------------


def test_a_blocked_task_ends_through_the_failure_that_blocks_it() -> None:
    blocked = after(machine, task(seed=AFTER_ONE), BEGIN, FAILED)
    decision = step(machine, blocked, m.EndBlocked())
    assert triggers(decision) == ["task_cancelled"]
    assert decision.state.through_failure
    (ended,) = sent(decision, WORKSTREAM)
    assert ended == m.TaskEnded(ME, "cancelled", True, True, True, "before failed: exit code 1")


def test_the_root_cause_goes_on_to_those_who_wait_for_what_it_ended() -> None:
    blocked = after(machine, task(seed=AFTER_ONE), BEGIN, FAILED)
    (said,) = sent(step(machine, blocked, m.EndBlocked()), NEXT)
    assert (said.standing, said.was) == (Standing.FAILED, Standing.STALLED)
    assert said.reason == "before failed: exit code 1"


def test_a_task_that_a_persons_cancel_blocks_ends_without_a_failure() -> None:
    withdrawn = dependency(Standing.WITHDRAWN)
    decision = step(machine, task(seed=AFTER_ONE), BEGIN, withdrawn, m.EndBlocked())
    assert decision.state.state is State.CANCELLED
    assert not decision.state.through_failure
    assert sent(decision, NEXT)[0].standing is Standing.WITHDRAWN


def test_what_is_only_stalled_does_not_end() -> None:
    for word in (HELD_UP, GATE_LOST):
        blocked = after(machine, task(seed=AFTER_ONE | GATED), BEGIN, word)
        decision = step(machine, blocked, m.EndBlocked())
        assert decision.state.state is State.BLOCKED


def test_a_stalled_task_that_was_to_end_ends_once_a_failure_is_certain() -> None:
    blocked = after(machine, task(seed=AFTER_ONE), BEGIN, HELD_UP, m.EndBlocked())
    decision = step(machine, blocked, dependency(Standing.FAILED, was=Standing.STALLED))
    assert triggers(decision) == ["task_cancelled"]


def test_a_stalled_task_that_was_to_end_lives_on_when_it_is_freed() -> None:
    blocked = after(machine, task(seed=AFTER_ONE), BEGIN, HELD_UP, m.EndBlocked())
    free = after(machine, blocked, dependency(Standing.DONE, was=Standing.STALLED))
    assert free.state is State.QUEUED
    assert not free.doomed


def test_a_task_that_is_not_blocked_does_not_end() -> None:
    for value in (task(), queued(), running()):
        assert step(machine, value, m.EndBlocked()).state is value


# --- gates before it -----------------------------------------------------------------------------


def test_a_gate_is_needed_only_once_the_dependencies_are_done() -> None:
    value = after(machine, task(seed=AFTER_ONE | GATED), BEGIN)
    assert value.state is State.PENDING
    decision = step(machine, value, DONE)
    assert sent(decision, GATE) == [m.GateNeeded(ME)]
    assert decision.edges == ()


def test_a_gate_is_asked_for_once() -> None:
    value = after(machine, task(seed=AFTER_ONE | GATED), BEGIN, DONE)
    again = m.DependencyReplaced(BEFORE, f"{BEFORE}~2", Standing.DONE)
    done = dependency(Standing.DONE, source=f"{BEFORE}~2")
    assert sent(step(machine, value, again, done), GATE) == []


def test_a_task_queues_once_its_gates_have_passed() -> None:
    decision = step(machine, task(seed=GATED), BEGIN, GATE_PASSED)
    assert triggers(decision) == ["dependencies_met"]


def test_a_verdict_that_comes_before_the_dependencies_counts() -> None:
    decision = step(machine, task(seed=AFTER_ONE | GATED), BEGIN, GATE_PASSED, DONE)
    assert triggers(decision) == ["dependencies_met"]


def test_a_failed_gate_blocks_the_task() -> None:
    decision = step(machine, task(seed=GATED), BEGIN, GATE_FAILED)
    assert triggers(decision) == ["dependency_failed"]
    assert decision.state.reason == "unit failed"


def test_a_failed_gate_takes_a_queued_task_out_of_the_queue() -> None:
    value = after(machine, task(seed=GATED, queue_timeout_s=5.0), BEGIN, GATE_PASSED)
    decision = step(machine, value, verdict("failed", Standing.FAILED, Standing.DONE, ticket=None))
    assert triggers(decision) == ["gate_failed"]
    assert decision.state.reason == "unit failed"
    assert sent(decision, DISPATCH) == [m.Dequeue(ME)]
    assert CancelTimer("queue") in decision.effects
    assert decision.state.queue_due is None


def test_a_gate_that_is_run_again_and_passes_frees_the_task() -> None:
    blocked = after(machine, task(seed=GATED), BEGIN, GATE_FAILED)
    new = "test_gate:r/gate:lint~2"
    again = m.GateVerdict(new, "lint", "pending", Standing.WAITING, Standing.FAILED, replaces=GATE)
    free = step(machine, blocked, again)
    assert triggers(free) == ["dependency_recovered"]
    passed = m.GateVerdict(new, "lint", "passed", Standing.DONE)
    assert triggers(step(machine, free.state, passed)) == ["dependencies_met"]


# --- the queue -----------------------------------------------------------------------------------


def test_a_slot_that_could_not_take_the_task_lets_it_queue_again() -> None:
    value = queued()
    decision = step(machine, value, m.AssignmentRefused("1.1"), now=99.0)
    assert sent(decision, DISPATCH)[0].since == 10.0
    assert decision.state is value


def test_a_refused_assignment_of_a_task_that_left_the_queue_means_nothing() -> None:
    value = running()
    assert step(machine, value, m.AssignmentRefused("1.0")).effects == ()


def test_a_slot_that_the_task_no_longer_wants_is_given_back() -> None:
    late = m.Assigned("worker:p.2", "uet_worker:p.2@1", "1.2")
    for value in (task(), running(), queued(m.Cancel()), queued(m.Pause())):
        decision = step(machine, value, late)
        assert decision.state is value
        assert sent(decision, "worker:p.2") == [m.ReturnAssignment("1.2")]


def test_a_slot_that_comes_after_the_end_keeps_no_key_for_itself() -> None:
    late = m.Assigned("worker:p.2", "uet_worker:p.2@1", "1.2")
    for value in (running(OK, concurrency_key="db"), running(FAIL, concurrency_key="db")):
        assert sent(step(machine, value, late), DISPATCH) == [m.Dequeue(ME)]
    # It has the key, and gives it back with its end.
    assert sent(step(machine, running(concurrency_key="db"), late), DISPATCH) == []


def test_a_queue_timeout_fails_the_task() -> None:
    value = queued(queue_timeout_s=5.0)
    decision = step(machine, value, m.TimerFired("queue"))
    assert triggers(decision) == ["task_failed"]
    assert decision.state.reason == "queue timeout after 5 s"
    assert decision.edges[0].metadata.timeout_occurred
    assert sent(decision, DISPATCH) == [m.Dequeue(ME)]


def test_a_queue_timeout_runs_from_each_entry_into_the_queue() -> None:
    decision = step(machine, task(queue_timeout_s=5.0), BEGIN)
    assert effects(decision, SetTimer) == [SetTimer("queue", 15.0)]
    assigned = step(machine, decision.state, ASSIGNED)
    assert CancelTimer("queue") in assigned.effects


def test_a_total_timeout_runs_from_the_first_entry_into_the_queue() -> None:
    decision = step(machine, task(total_timeout_s=50.0), BEGIN)
    assert effects(decision, SetTimer) == [SetTimer("total", 60.0)]


def test_a_queued_task_is_announced_to_a_new_dispatcher() -> None:
    for word in (m.Recovered(2), m.Announce()):
        assert [type(x) for x in sent(step(machine, queued(), word), DISPATCH)] == [m.Enqueue]
        assert sent(step(machine, task(), word), DISPATCH) == []


# --- many dependents -----------------------------------------------------------------------------


def test_many_dependents_are_told_a_slice_in_a_turn() -> None:
    dependents = tuple(f"task:r/w/t{n}" for n in range(2 * SLICE + 1))
    value = task(seed={"dependents": dependents, "sources": (BEFORE,)})
    decision = step(machine, value, FAILED)
    heard: list[str] = []
    for _ in range(3):
        heard += [e.to for e in decision.effects if getattr(e, "to", "").startswith("task:r/w/t")]
        heard = [to for to in heard if to != ME]
        rest = sent(decision, ME)
        if rest:
            decision = step(machine, decision.state, *rest)
    assert heard == list(dependents)
