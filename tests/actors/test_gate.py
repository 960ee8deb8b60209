"""A test gate: when it runs, what its outcome means, and who is told."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from actors import gate as machine
from actors import messages as m
from actors import spec
from actors.effects import KillGate, Note, RunGate, Send, SetTimer, Spawn
from actors.gate import Gate, State, Verdict
from actors.gate_state import SLICE
from actors.messages import Check, Outcome, Standing
from tests.actors.steps import after, answer, effects, sent, step, triggers

ME = "test_gate:r/gate:unit~1"
LINT = "test_gate:r/gate:lint~1"
DISPATCH = "dispatch:main"
TASK = "task:r/w/t"
RUN = "run:r"
SPEC = spec.Gate(
    command=("pytest",), timeout_s=60.0, expected_exit_codes=(0, 5), cwd="src", env={"A": "1"}
)
SEED = spec.GateSeed(
    run_id="r",
    name="unit",
    n=1,
    gate=SPEC,
    askers=(TASK, "test_gate:r/gate:e2e~1"),
    env_pass=("TOKEN",),
    base_dir="/plan",
)
NEEDED = m.GateNeeded(TASK)
ADMITTED = m.GateAdmitted()
CANCEL = m.Cancel("enough", "ann")
MISSING = Outcome(reason="not_started", error="no such file")


def verdict(outcome: str, standing: Standing, was: Standing = Standing.WAITING) -> m.GateVerdict:
    return m.GateVerdict(LINT, "lint", outcome, standing, was, reason=f"lint {outcome}")


LINT_PASSED = verdict("passed", Standing.DONE)
LINT_FAILED = verdict("failed", Standing.FAILED)


def new(**more: Any) -> Gate:
    return machine.create(replace(SEED, **more), 1.0)


def at(*messages: Any) -> Gate:
    value: Gate = after(machine, new(), *messages)
    return value


def ended(outcome: Outcome, attempt: int = 1) -> m.GateEnded:
    return m.GateEnded(attempt, outcome)


PASS = ended(Outcome(exit_code=0, duration_s=2.0))
FAIL = ended(Outcome(exit_code=1))
LOST = ended(MISSING)
WAITING_FOR_LINT = new(sources=(LINT,))
BLOCKED = after(machine, WAITING_FOR_LINT, NEEDED, LINT_FAILED)
QUEUED = at(NEEDED)
RUNNING = at(NEEDED, ADMITTED)
BETWEEN_TRIES = at(NEEDED, ADMITTED, LOST)
PASSED = at(NEEDED, ADMITTED, PASS)
FAILED = at(NEEDED, ADMITTED, FAIL)


def told(decision: Any, to: str = TASK) -> tuple[str, Standing, Standing]:
    (said,) = sent(decision, to)
    return said.outcome, said.standing, said.was


# --- before it runs ------------------------------------------------------------------------------


def test_a_gate_that_nothing_needs_does_not_ask_for_a_place() -> None:
    assert step(machine, WAITING_FOR_LINT, LINT_PASSED).effects == ()


def test_a_needed_gate_asks_for_a_place_once() -> None:
    decision = step(machine, new(), NEEDED)
    assert sent(decision, DISPATCH) == [m.GateQueue(ME, "r")]
    assert step(machine, decision.state, m.GateNeeded("task:r/w/u")).effects == ()


def test_a_needed_gate_needs_the_gates_that_it_depends_on() -> None:
    decision = step(machine, WAITING_FOR_LINT, NEEDED)
    assert sent(decision, LINT) == [m.GateNeeded(ME)]
    assert sent(decision, DISPATCH) == []


def test_it_asks_for_a_place_once_its_own_gates_have_passed() -> None:
    decision = step(machine, WAITING_FOR_LINT, NEEDED, LINT_PASSED)
    assert sent(decision, DISPATCH) == [m.GateQueue(ME, "r")]


def test_a_gate_whose_own_gate_failed_is_blocked_and_says_so() -> None:
    decision = step(machine, WAITING_FOR_LINT, NEEDED, LINT_FAILED)
    assert triggers(decision) == ["gate_blocked"]
    assert decision.state.reason == "lint failed"
    assert told(decision) == ("blocked", Standing.FAILED, Standing.WAITING)


def test_a_gate_whose_own_gate_could_not_run_is_blocked_without_blame() -> None:
    stalled = verdict("infrastructure", Standing.STALLED)
    decision = step(machine, WAITING_FOR_LINT, NEEDED, stalled)
    assert told(decision) == ("blocked", Standing.STALLED, Standing.WAITING)


def test_a_blocked_gate_goes_on_when_its_own_gate_was_run_again_and_passed() -> None:
    again = m.GateVerdict(
        "test_gate:r/gate:lint~2",
        "lint",
        "pending",
        Standing.WAITING,
        Standing.FAILED,
        replaces=LINT,
    )
    freed = step(machine, BLOCKED, again)
    assert triggers(freed) == ["gate_unblocked"]
    assert told(freed) == ("pending", Standing.WAITING, Standing.FAILED)
    passed = m.GateVerdict("test_gate:r/gate:lint~2", "lint", "passed", Standing.DONE)
    assert sent(step(machine, freed.state, passed), DISPATCH) == [m.GateQueue(ME, "r")]


def test_a_blocked_gate_tells_when_it_is_blocked_for_a_worse_cause() -> None:
    two = new(sources=(LINT, "test_gate:r/gate:other~1"))
    stalled = after(machine, two, NEEDED, verdict("infrastructure", Standing.STALLED))
    other = m.GateVerdict("test_gate:r/gate:other~1", "other", "failed", Standing.FAILED)
    worse = step(machine, stalled, other)
    assert told(worse) == ("blocked", Standing.FAILED, Standing.STALLED)
    assert worse.state.reason == "test_gate:r/gate:other~1: failed"


def test_a_blocked_gate_that_gets_needed_starts_once_it_is_freed() -> None:
    blocked = after(machine, WAITING_FOR_LINT, LINT_FAILED, NEEDED)
    freed = step(machine, blocked, verdict("passed", Standing.DONE, was=Standing.FAILED))
    assert sent(freed, DISPATCH) == [m.GateQueue(ME, "r")]


def test_a_blocked_gate_has_nothing_to_tell_a_new_owner() -> None:
    for word in (m.Recovered(2), m.Announce(), PASS, m.TimerFired("retry")):
        assert step(machine, BLOCKED, word).state is BLOCKED


def test_a_gate_that_gets_blocked_while_it_waits_for_a_place_gives_it_up() -> None:
    queued = after(machine, WAITING_FOR_LINT, NEEDED, LINT_PASSED)
    decision = step(machine, queued, verdict("failed", Standing.FAILED, was=Standing.DONE))
    assert sent(decision, DISPATCH) == [m.GateDone(ME)]
    assert decision.state.state is State.BLOCKED
    freed = step(machine, decision.state, verdict("passed", Standing.DONE, was=Standing.FAILED))
    assert sent(freed, DISPATCH) == [m.GateQueue(ME, "r")]


# --- its execution -------------------------------------------------------------------------------


def test_an_admitted_gate_runs_its_command() -> None:
    decision = step(machine, QUEUED, ADMITTED)
    assert triggers(decision) == ["execution_started"]
    assert decision.state.started_at == 10.0
    assert decision.effects == (
        RunGate(ME, 1, ("pytest",), 60.0, "src", {"A": "1"}, ("TOKEN",), "/plan"),
    )


@pytest.mark.parametrize("value", [new(), BLOCKED, PASSED], ids=["pending", "blocked", "ended"])
def test_a_place_that_is_not_wanted_is_given_back(value: Gate) -> None:
    assert sent(step(machine, value, ADMITTED), DISPATCH) == [m.GateDone(f"test_gate:{value.id}")]


@pytest.mark.parametrize("code", [0, 5])
def test_an_expected_exit_code_passes(code: int) -> None:
    decision = step(machine, RUNNING, ended(Outcome(exit_code=code)))
    assert triggers(decision) == ["gate_passed"]
    assert decision.state.exit_code == code
    assert told(decision) == ("passed", Standing.DONE, Standing.WAITING)


def test_the_end_of_a_gate_frees_its_place_and_is_told_to_the_run() -> None:
    for outcome in (PASS, FAIL):
        decision = step(machine, RUNNING, outcome)
        assert sent(decision, DISPATCH) == [m.GateDone(ME)]
        assert sent(decision, RUN) == [m.GateMoved(ME, decision.state.state)]


@pytest.mark.parametrize(
    ("outcome", "verdict", "reason"),
    [
        (Outcome(exit_code=1), Verdict.FAILED, "exit code 1"),
        (Outcome(signal=11), Verdict.FAILED, "signal 11"),
        (Outcome(reason="timeout", signal=9), Verdict.TIMEOUT, "timeout after 60 s"),
    ],
)
def test_a_verdict_against_the_work_says_why(
    outcome: Outcome, verdict: Verdict, reason: str
) -> None:
    decision = step(machine, RUNNING, ended(outcome))
    assert triggers(decision) == ["gate_failed"]
    assert (decision.state.verdict, decision.state.reason) == (verdict, reason)
    assert (decision.edges[0].metadata.verdict, decision.edges[0].reason) == (verdict, reason)
    assert told(decision) == ("failed", Standing.FAILED, Standing.WAITING)


@pytest.mark.parametrize(
    "outcome",
    [
        MISSING,
        Outcome(reason="lost"),
        Outcome(signal=9),
        Outcome(exit_code=1, infrastructure=True),
        Outcome(exit_code=0, check=Check("pytest", 0)),
        Outcome(exit_code=5, check=Check("pytest", 0)),
        Outcome(exit_code=2, check=Check("unittest", 0)),
    ],
    ids=["missing", "lost", "killed", "machine trouble", "no test", "none found", "none, failed"],
)
def test_what_is_no_verdict_is_tried_again_inside_running(outcome: Outcome) -> None:
    decision = step(machine, RUNNING, ended(outcome))
    assert decision.edges == ()
    assert effects(decision, SetTimer) == [SetTimer("retry", 11.0)]
    assert effects(decision, Note)[0].event_type == "gate_try_lost"
    again = step(machine, decision.state, m.TimerFired("retry"))
    assert effects(again, RunGate)[0].attempt == 2


def test_the_third_loss_is_infrastructure_and_blames_nobody() -> None:
    retry = m.TimerFired("retry")
    decision = step(machine, RUNNING, LOST, retry, ended(MISSING, 2), retry, ended(MISSING, 3))
    assert triggers(decision) == ["gate_failed"]
    assert decision.state.verdict is Verdict.INFRASTRUCTURE
    assert decision.state.reason == "infrastructure: no such file"
    assert told(decision) == ("infrastructure", Standing.STALLED, Standing.WAITING)


def test_a_runner_that_never_executes_a_test_is_a_broken_gate_and_no_verdict() -> None:
    retry = m.TimerFired("retry")
    none = Outcome(exit_code=0, check=Check("pytest", 0))
    tries = (ended(none), retry, ended(none, 2), retry, ended(none, 3))
    decision = step(machine, RUNNING, *tries)
    assert decision.state.reason == "infrastructure: no test was executed, says pytest"
    assert told(decision)[:2] == ("infrastructure", Standing.STALLED)


def test_executed_tests_do_not_change_what_the_exit_code_says() -> None:
    some = Check("pytest", 3)
    assert triggers(step(machine, RUNNING, ended(Outcome(exit_code=0, check=some)))) == [
        "gate_passed"
    ]
    failed = step(machine, RUNNING, ended(Outcome(exit_code=1, check=some)))
    assert failed.state.verdict is Verdict.FAILED
    untold = ended(Outcome(exit_code=0, check=Check("go test", None)))
    assert step(machine, RUNNING, untold).state.verdict is Verdict.PASSED


def test_a_verdict_after_a_loss_is_a_verdict() -> None:
    decision = step(machine, BETWEEN_TRIES, m.TimerFired("retry"), ended(Outcome(exit_code=0), 2))
    assert triggers(decision) == ["gate_passed"]


def test_a_command_that_cannot_be_killed_is_not_started_again() -> None:
    decision = step(machine, RUNNING, ended(Outcome(reason="lost", alive=True)))
    assert decision.state.verdict is Verdict.INFRASTRUCTURE


def test_the_end_of_an_earlier_try_means_nothing() -> None:
    for value in (BETWEEN_TRIES, after(machine, BETWEEN_TRIES, m.TimerFired("retry")), new()):
        decision = step(machine, value, PASS)
        assert decision.state is value
        assert decision.effects == ()


def test_a_running_gate_goes_on_whatever_its_own_gates_say_now() -> None:
    decision = step(machine, RUNNING, LINT_FAILED)
    assert decision.state is RUNNING


def test_an_event_of_a_gate_carries_its_outcome() -> None:
    outcome = Outcome(
        exit_code=0,
        duration_s=2.0,
        output_bytes=9,
        output_digest="d",
        truncated=True,
        confinement="none",
    )
    metadata = step(machine, RUNNING, ended(outcome)).edges[0].metadata
    assert (metadata.exit_code, metadata.duration_seconds, metadata.tries) == (0, 2.0, 1)
    assert (metadata.output_bytes, metadata.output_digest, metadata.truncated) == (9, "d", True)
    assert metadata.confinement == "none"


def test_an_event_and_the_row_of_a_gate_say_how_its_verdict_came_about() -> None:
    check = Check("pytest", 3, key="k", reused_from="r0/gate:unit~1")
    decision = step(machine, RUNNING, ended(Outcome(exit_code=0, check=check)))
    known = decision.edges[0].metadata
    assert (known.judged_by, known.tests, known.key) == ("pytest", 3, "k")
    assert known.reused_from == "r0/gate:unit~1"
    assert decision.state.check == check


# --- a new owner ---------------------------------------------------------------------------------


def test_a_gate_that_waits_for_a_place_asks_a_new_dispatcher_again() -> None:
    for word in (m.Recovered(2), m.Announce()):
        assert sent(step(machine, QUEUED, word), DISPATCH) == [m.GateQueue(ME, "r")]


def test_a_gate_that_ran_when_its_owner_ended_runs_again_and_keeps_its_place() -> None:
    decision = step(machine, RUNNING, m.Recovered(2))
    assert sent(decision, DISPATCH) == [m.GateQueue(ME, "r", running=True)]
    assert effects(decision, RunGate)[0].attempt == 2
    assert decision.state.losses == 0


def test_a_gate_between_two_tries_waits_on_under_a_new_owner() -> None:
    decision = step(machine, BETWEEN_TRIES, m.Recovered(2))
    assert effects(decision, RunGate) == []
    assert sent(decision, DISPATCH) == [m.GateQueue(ME, "r", running=True)]


def test_a_running_gate_tells_a_new_dispatcher_of_its_place_and_runs_on() -> None:
    decision = step(machine, RUNNING, m.Announce())
    assert effects(decision, RunGate) == []
    assert sent(decision, DISPATCH) == [m.GateQueue(ME, "r", running=True)]


def test_a_gate_that_was_being_cancelled_when_its_owner_ended_is_cancelled() -> None:
    decision = step(machine, RUNNING, CANCEL, m.Recovered(2))
    assert decision.state.state is State.CANCELLED


# --- its end by hand -----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [QUEUED, BLOCKED, BETWEEN_TRIES], ids=lambda v: str(v.state))
def test_a_gate_that_runs_nothing_is_cancelled_at_once(value: Gate) -> None:
    decision = step(machine, value, CANCEL)
    assert triggers(decision) == ["gate_cancelled"]
    assert (decision.edges[0].operator, decision.state.operator) == ("ann", "ann")
    assert told(decision)[:2] == ("cancelled", Standing.WITHDRAWN)
    (said,) = sent(decision, TASK)
    assert said.reason == f"{value.id} cancelled: enough"
    assert sent(decision, RUN) == [m.GateMoved(f"test_gate:{value.id}", "cancelled")]
    assert isinstance(answer(decision), m.Accepted)


def test_a_gate_that_waited_for_a_place_gives_it_up_when_cancelled() -> None:
    assert sent(step(machine, QUEUED, CANCEL), DISPATCH) == [m.GateDone(ME)]
    assert sent(step(machine, BLOCKED, CANCEL), DISPATCH) == []


def test_a_running_command_is_killed_before_its_gate_is_cancelled() -> None:
    asked = step(machine, RUNNING, CANCEL)
    assert asked.edges == ()
    assert effects(asked, KillGate) == [KillGate(ME, "cancelled")]
    assert effects(step(machine, asked.state, CANCEL), KillGate) == []
    decision = step(machine, asked.state, ended(Outcome(signal=15, reason="cancelled")))
    assert triggers(decision) == ["gate_cancelled"]
    assert sent(decision, DISPATCH) == [m.GateDone(ME)]


def test_a_gate_that_is_cancelled_through_a_failure_says_so() -> None:
    decision = step(machine, QUEUED, m.Cancel("its run failed", through_failure=True))
    assert told(decision)[1] is Standing.FAILED


def test_an_ended_gate_refuses_a_cancel() -> None:
    assert "is passed already" in answer(step(machine, PASSED, CANCEL)).reason


# --- run again -----------------------------------------------------------------------------------

AGAIN = m.RerunGate("r/gate:unit~1", "ann", "flaky", n=4)
SECOND = "test_gate:r/gate:unit~4"


@pytest.mark.parametrize("value", [PASSED, FAILED, at(CANCEL)], ids=lambda v: str(v.state))
def test_an_ended_gate_is_run_again_as_a_new_entity(value: Gate) -> None:
    decision = step(machine, value, AGAIN)
    (spawn,) = effects(decision, Spawn)
    assert (spawn.value.id, spawn.value.retry_of) == ("r/gate:unit~4", "r/gate:unit~1")
    assert sent(decision, SECOND) == [m.GateNeeded(ME)]
    assert decision.state.state is value.state
    assert answer(decision).entity_id == "r/gate:unit~4"


def test_whoever_asked_is_told_that_the_old_verdict_no_longer_stands() -> None:
    (said,) = sent(step(machine, FAILED, AGAIN), TASK)
    assert (said.gate, said.replaces) == (SECOND, ME)
    assert (said.standing, said.was) == (Standing.WAITING, Standing.FAILED)


@pytest.mark.parametrize("value", [QUEUED, BLOCKED, RUNNING], ids=lambda v: str(v.state))
def test_a_gate_without_a_verdict_is_not_run_again_and_the_run_counts_it_out(value: Gate) -> None:
    decision = step(machine, value, AGAIN)
    assert isinstance(answer(decision), m.Refused)
    assert sent(decision, RUN) == [m.GateMoved(f"test_gate:{value.id}", "refused")]


def test_a_gate_is_run_again_only_through_the_newest_entity() -> None:
    decision = step(machine, FAILED, AGAIN, AGAIN)
    assert "r/gate:unit~4" in answer(decision).reason


def test_what_comes_for_a_gate_that_was_run_again_goes_to_the_new_entity() -> None:
    again = after(machine, FAILED, AGAIN)
    for word in (NEEDED, LINT_PASSED):
        assert sent(step(machine, again, word), SECOND) == [word]
    cancel = step(machine, again, CANCEL)
    assert cancel.effects == (Send(SECOND, CANCEL, control=True, hand_on=True),)


def test_a_gate_run_again_while_its_own_gate_is_failed_is_blocked() -> None:
    over = after(machine, BLOCKED, CANCEL)
    (spawn,) = effects(step(machine, over, AGAIN), Spawn)
    assert triggers(step(machine, spawn.value, NEEDED)) == ["gate_blocked"]


def test_an_ended_gate_remembers_what_its_own_gates_say_for_a_rerun() -> None:
    over = after(machine, WAITING_FOR_LINT, CANCEL, LINT_PASSED)
    (spawn,) = effects(step(machine, over, AGAIN), Spawn)
    assert sent(step(machine, spawn.value, NEEDED), DISPATCH)


# --- many askers ---------------------------------------------------------------------------------


def test_many_askers_are_told_a_slice_in_a_turn() -> None:
    askers = tuple(f"task:r/w/t{n}" for n in range(SLICE + 3))
    decision = step(machine, new(askers=askers), NEEDED, ADMITTED, PASS)
    heard = [e.to for e in decision.effects if getattr(e, "to", "").startswith("task:")]
    (rest,) = sent(decision, ME)
    assert len(heard) == SLICE
    last = step(machine, decision.state, rest)
    heard += [e.to for e in last.effects if getattr(e, "to", "").startswith("task:")]
    assert heard == list(askers)
    assert last.state is decision.state


@pytest.mark.parametrize("value", [PASSED, FAILED], ids=lambda v: str(v.state))
def test_an_ended_gate_ignores_what_comes_too_late(value: Gate) -> None:
    for late in (NEEDED, PASS, m.TimerFired("retry"), m.Recovered(2), m.Announce()):
        decision = step(machine, value, late)
        assert decision.state is value
        assert decision.effects == ()
