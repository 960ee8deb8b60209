"""A run's budget: counted by the end of each execution, paused when used up, granted by resume."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from actors import messages as m
from actors import run as machine
from actors import spec, task
from actors.effects import Note, Send
from actors.run import Run, State
from tests.actors.steps import after, answer, effects, sent, step, triggers

ME = "run:r"
A, B = "workstream:r/a", "workstream:r/b"
DISPATCH = "dispatch:main"
RESUME = m.Resume("ann", "go on")
LINE = spec.Workstream(tasks={"x": spec.Task(command=("make",))})


def running(**budget: Any) -> Run:
    """A run of two workstreams with this budget, begun."""
    plan = spec.Plan(
        run=spec.Run(name="nightly", budget=spec.Budget(**budget)),
        workstreams={"a": LINE, "b": LINE},
    )
    value: Run = after(machine, machine.create(plan, "r", 1.0), m.Begin(), m.Expand(0))
    return value


def spent(seconds: float = 1.0, *, attempt: bool = True, lease: str = "1.1") -> m.WorkSpent:
    return m.WorkSpent("task:r/a/x", lease, attempt, seconds)


def completed(workstream: str) -> tuple[m.WorkstreamMoved, ...]:
    ways = ("pending", "ready", "running", "completed")
    return tuple(m.WorkstreamMoved(workstream, a, b) for a, b in pairwise(ways))


def test_below_its_budget_a_run_only_counts() -> None:
    value = after(machine, running(attempts=3, seconds=10.0), spent(2.5), spent(2.5))
    assert (value.state, value.attempts_spent, value.seconds_spent) == (State.RUNNING, 2, 5.0)


def test_a_budget_of_attempts_that_is_used_up_pauses_the_run() -> None:
    decision = step(machine, running(attempts=2), spent(), spent())
    assert decision.state.state is State.PAUSED
    assert triggers(decision) == ["run_paused"]
    assert decision.edges[-1].reason == "its budget of 2 attempts is used up"
    assert sent(decision, DISPATCH) == [m.HoldRun("r", held=True)]


def test_a_budget_of_seconds_that_is_used_up_pauses_the_run() -> None:
    decision = step(machine, running(seconds=10.0), spent(9.999), spent(0.001))
    assert decision.edges[-1].reason == "its budget of 10 seconds is used up"


def test_what_burned_no_attempt_costs_its_seconds_only() -> None:
    value = after(machine, running(attempts=1), spent(3.0, attempt=False))
    assert (value.state, value.attempts_spent, value.seconds_spent) == (State.RUNNING, 0, 3.0)


def test_the_end_of_a_budget_is_an_event_with_what_was_spent() -> None:
    (note,) = effects(step(machine, running(attempts=1), spent(2.0)), Note)
    assert (note.event_type, note.severity) == ("run_budget_exhausted", "warning")
    assert note.metadata == {"attempts": 1, "seconds": 2.0}


def test_what_still_runs_is_counted_on_and_pauses_nothing_again() -> None:
    over = after(machine, running(attempts=1), spent())
    decision = step(machine, over, spent())
    assert (triggers(decision), decision.effects) == ([], ())
    assert decision.state.attempts_spent == 2


def test_resume_grants_the_whole_budget_again_and_says_who_did() -> None:
    over = after(machine, running(attempts=2), spent(), spent(), spent())
    decision = step(machine, over, RESUME)
    assert decision.state.state is State.RUNNING
    assert answer(decision).text == (
        "resumed: its budget of 2 attempts is used up, and granted again"
    )
    (note,) = effects(decision, Note)
    assert (note.event_type, note.operator, note.reason) == ("run_budget_granted", "ann", "go on")
    once_more = step(machine, decision.state, spent())
    assert once_more.state.state is State.RUNNING
    assert step(machine, once_more.state, spent()).state.state is State.PAUSED


def test_resume_after_a_person_paused_it_grants_nothing_that_is_left() -> None:
    value = after(machine, running(attempts=2), spent(), m.Pause("ann"))
    decision = step(machine, value, RESUME)
    assert answer(decision).text == "resumed"
    assert step(machine, decision.state, spent()).state.state is State.PAUSED


def test_a_budget_that_ends_while_a_person_has_paused_the_run_is_granted_by_their_resume() -> None:
    value = after(machine, running(attempts=1), m.Pause("ann"), spent())
    decision = step(machine, value, RESUME)
    assert "granted again" in answer(decision).text
    assert decision.state.state is State.RUNNING


def test_a_run_over_budget_with_nothing_left_to_start_completes_by_itself() -> None:
    value = after(machine, running(attempts=1), *completed(A), spent())
    assert value.state is State.PAUSED
    decision = step(machine, value, *completed(B))
    assert triggers(decision) == ["run_resumed", "run_completed"]
    assert sent(decision, DISPATCH) == [m.HoldRun("r", held=False)]


def test_a_run_that_a_person_paused_does_not_complete_by_itself_over_budget() -> None:
    value = after(machine, running(attempts=1), m.Pause("ann"), spent(), *completed(A))
    assert after(machine, value, *completed(B)).state is State.PAUSED


def test_a_run_that_is_ending_is_not_paused_for_its_budget() -> None:
    value = after(machine, running(attempts=1), m.Cancel("enough", "ann"), spent())
    assert value.state is State.RUNNING


# --- what a task tells -----------------------------------------------------------------------


def finished(outcome: m.Outcome, *, budgeted: bool = True) -> list[Any]:
    """What the run hears of a task whose execution of four seconds ends so."""
    seed = spec.TaskSeed(
        run_id="r",
        workstream="a",
        name="x",
        task=spec.Task(command=("make",), max_retries=1),
        budgeted=budgeted,
    )
    value = task.create(seed, 1.0)
    value = after(task, value, m.Begin())
    assigned = m.Assigned("worker:w", "uet_worker:w@1", "1.7")
    value = task.decide(value, assigned, 10.0).state
    decision = task.decide(value, m.WorkFinished("1.7", outcome), 14.0)
    return [e.message for e in decision.effects if isinstance(e, Send) and e.to == ME]


def test_a_task_tells_its_run_what_an_execution_cost() -> None:
    assert finished(m.Outcome(exit_code=0)) == [m.WorkSpent("task:r/a/x", "1.7", True, 4.0)]
    assert finished(m.Outcome(exit_code=1)) == [m.WorkSpent("task:r/a/x", "1.7", True, 4.0)]


def test_a_lost_execution_costs_its_seconds_and_one_lost_with_its_owner_nothing() -> None:
    lost = m.Outcome(reason="lost", infrastructure=True)
    assert finished(lost) == [m.WorkSpent("task:r/a/x", "1.7", False, 4.0)]
    with_owner = m.Outcome(reason="lost", infrastructure=True, error=m.OWNER_RESTARTED)
    assert finished(with_owner) == [m.WorkSpent("task:r/a/x", "1.7", False, 0.0)]


def test_a_task_of_a_run_without_a_budget_tells_it_nothing() -> None:
    assert finished(m.Outcome(exit_code=0), budgeted=False) == []
