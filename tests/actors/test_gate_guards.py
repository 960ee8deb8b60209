"""What stands before a gate's execution: its breaker, or a person."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from actors import gate as machine
from actors import messages as m
from actors import spec
from actors.effects import CancelTimer, Note, RunGate, Send, SetTimer, Spawn
from actors.gate import Gate, State, Verdict
from actors.guard_messages import Admit, CallOutcome, Refusal, Settle, Ticket
from actors.messages import Check, Outcome, Standing
from tests.actors.steps import after, answer, effects, sent, step, triggers

ME = "test_gate:r/gate:unit~1"
BREAKER = "circuit_breaker:gate.unit-1"
DISPATCH = "dispatch:main"
TASK = "task:r/w/t"
LINT = "test_gate:r/gate:lint~1"
NEEDED = m.GateNeeded(TASK)
ADMITTED = m.GateAdmitted()
TICKET = Ticket("gate.unit-1", 0, ME, 10.0, 99.0)
SHUT = Refusal("gate.unit-1", "open", "auto", 42, "5 failures in a row")
CANCEL = m.Cancel("enough", "ann")
RETRY = m.TimerFired("retry")


def new(gate: spec.Gate, **more: Any) -> Gate:
    seed = spec.GateSeed(run_id="r", name="unit", n=1, gate=gate, askers=(TASK,), **more)
    return machine.create(seed, 1.0)


COMMAND = new(spec.Gate(command=("pytest",)), breaker="gate.unit-1")
QUEUED = after(machine, COMMAND, NEEDED)
ASKING = after(machine, QUEUED, ADMITTED)
RUNNING = after(machine, ASKING, TICKET)
PARKED = after(machine, ASKING, SHUT)


def ended(outcome: Outcome, attempt: int = 1) -> m.GateEnded:
    return m.GateEnded(attempt, outcome)


# --- its breaker ---------------------------------------------------------------------------------


def test_a_gate_asks_for_a_place_with_the_name_of_its_breaker() -> None:
    decision = step(machine, COMMAND, NEEDED)
    assert sent(decision, DISPATCH) == [m.GateQueue(ME, "r", tool="gate.unit-1")]


def test_a_gate_with_a_place_asks_its_breaker_before_it_runs() -> None:
    decision = step(machine, QUEUED, ADMITTED)
    assert decision.edges == ()
    (asked,) = sent(decision, BREAKER)
    assert isinstance(asked, Admit)
    assert asked.owner == ME
    assert asked.lease_s > 3 * 600


def test_a_ticket_lets_it_run() -> None:
    decision = step(machine, ASKING, TICKET)
    assert triggers(decision) == ["execution_started"]
    assert effects(decision, RunGate)[0].attempt == 1


def test_a_refusal_gives_the_place_back_and_says_what_it_waits_for() -> None:
    decision = step(machine, ASKING, SHUT)
    assert decision.state.state is State.PENDING
    assert decision.state.reason == "its breaker gate.unit-1 is open: 5 failures in a row"
    queue = m.GateQueue(ME, "r", tool="gate.unit-1")
    assert sent(decision, DISPATCH) == [m.GateDone(ME), queue]
    (note,) = effects(decision, Note)
    assert (note.event_type, note.metadata["retry_after_s"]) == ("gate_parked", 42)


def test_a_parked_gate_is_refused_again_without_another_word_on_record() -> None:
    decision = step(machine, PARKED, ADMITTED, SHUT)
    assert effects(decision, Note) == []
    assert decision.state.parked


def test_a_parked_gate_runs_as_soon_as_its_breaker_lets_it() -> None:
    decision = step(machine, PARKED, ADMITTED, TICKET)
    assert triggers(decision) == ["execution_started"]
    assert (decision.state.parked, decision.state.reason) == (False, None)


@pytest.mark.parametrize(
    ("outcome", "meant"),
    [
        (Outcome(exit_code=0), CallOutcome.OK),
        (Outcome(exit_code=1), CallOutcome.OK),
        (Outcome(reason="timeout"), CallOutcome.OK),
        (Outcome(exit_code=0, check=Check("pytest", 3, reused_from="x")), CallOutcome.CANCELLED),
    ],
    ids=["pass", "fail", "timeout", "reused"],
)
def test_whatever_a_gate_found_its_breaker_hears_that_it_judged(
    outcome: Outcome, meant: CallOutcome
) -> None:
    decision = step(machine, RUNNING, ended(outcome))
    assert sent(decision, BREAKER) == [Settle(TICKET, meant, ME)]
    assert decision.state.ticket is None


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(reason="not_started", error="no such file"),
        Outcome(exit_code=0, check=Check("pytest", 0)),
        Outcome(reason="lost", infrastructure=True),
    ],
    ids=["missing", "no test", "lost"],
)
def test_a_gate_that_gives_no_verdict_counts_once_against_its_breaker(outcome: Outcome) -> None:
    tries = (ended(outcome), RETRY, ended(outcome, 2), RETRY)
    tried = step(machine, RUNNING, *tries)
    assert sent(tried, BREAKER) == []
    decision = step(machine, tried.state, ended(outcome, 3))
    (settled,) = sent(decision, BREAKER)
    assert settled.outcome is CallOutcome.TOOL_FAILURE


def test_a_cancelled_gate_settles_its_ticket_and_counts_for_nothing() -> None:
    killed = ended(Outcome(signal=15, reason="cancelled"))
    decision = step(machine, RUNNING, CANCEL, killed)
    (settled,) = sent(decision, BREAKER)
    assert settled.outcome is CallOutcome.CANCELLED


def test_a_gate_that_is_cancelled_while_it_asks_gives_back_place_and_ticket() -> None:
    cancelled = step(machine, ASKING, CANCEL)
    assert sent(cancelled, DISPATCH) == [m.GateDone(ME)]
    late = step(machine, cancelled.state, TICKET)
    assert sent(late, BREAKER) == [Settle(TICKET, CallOutcome.CANCELLED, ME)]
    assert step(machine, cancelled.state, SHUT).effects == ()


def test_a_gate_that_gets_blocked_while_it_asks_gives_back_place_and_ticket() -> None:
    asking = after(
        machine,
        new(spec.Gate(command=("x",)), breaker="gate.unit-1", sources=(LINT,)),
        NEEDED,
        m.GateVerdict(LINT, "lint", "passed", Standing.DONE),
        ADMITTED,
    )
    failed = m.GateVerdict(LINT, "lint", "failed", Standing.FAILED, Standing.DONE, reason="no")
    decision = step(machine, asking, failed)
    assert sent(decision, DISPATCH) == [m.GateDone(ME)]
    assert sent(step(machine, decision.state, TICKET), BREAKER) == [
        Settle(TICKET, CallOutcome.CANCELLED, ME)
    ]


def test_a_new_owner_finds_a_gate_that_was_asking_in_the_queue_again() -> None:
    decision = step(machine, ASKING, m.Recovered(2))
    assert sent(decision, DISPATCH) == [m.GateQueue(ME, "r", tool="gate.unit-1")]
    late = step(machine, decision.state, TICKET)
    assert sent(late, BREAKER) == [Settle(TICKET, CallOutcome.CANCELLED, ME)]
    assert triggers(step(machine, late.state, ADMITTED, TICKET)) == ["execution_started"]


def test_a_gate_that_is_asking_tells_a_new_dispatcher_of_its_place() -> None:
    decision = step(machine, ASKING, m.Announce())
    assert sent(decision, DISPATCH) == [m.GateQueue(ME, "r", True, "gate.unit-1")]
    assert sent(step(machine, ASKING, ADMITTED), DISPATCH) == []


def test_a_ticket_survives_the_owner() -> None:
    decision = step(machine, RUNNING, m.Recovered(2), ended(Outcome(exit_code=0), 2))
    assert sent(decision, BREAKER) == [Settle(TICKET, CallOutcome.OK, ME)]


# --- a person ------------------------------------------------------------------------------------

APPROVAL = new(spec.Gate(approval=True))
WAITING = after(machine, APPROVAL, NEEDED)
APPROVE = m.Approve("ann", "looks good")
REJECT = m.Reject("bob", "not on a friday")


def test_an_approval_that_is_needed_asks_a_person_and_takes_no_place() -> None:
    decision = step(machine, APPROVAL, NEEDED)
    assert decision.state.asked_at == 10.0
    assert decision.state.reason == "waits for a person's approval"
    assert sent(decision, DISPATCH) == []
    assert [n.event_type for n in effects(decision, Note)] == ["approval_wanted"]
    assert effects(decision, SetTimer) == []


def test_an_approval_asks_once_its_own_gates_have_passed() -> None:
    behind = new(spec.Gate(approval=True), sources=(LINT,))
    waiting = after(machine, behind, NEEDED)
    assert waiting.asked_at is None
    passed = m.GateVerdict(LINT, "lint", "passed", Standing.DONE)
    assert after(machine, waiting, passed).asked_at == 10.0


def test_an_approval_passes_with_the_one_who_approved() -> None:
    decision = step(machine, WAITING, APPROVE, now=20.0)
    assert triggers(decision) == ["execution_started", "gate_passed"]
    assert [taken.operator for taken in decision.edges] == ["ann", "ann"]
    value = decision.state
    assert (value.approver, value.verdict) == ("ann", Verdict.PASSED)
    assert value.reason == "approved by ann: looks good"
    assert decision.edges[1].metadata.approver == "ann"
    (said,) = sent(decision, TASK)
    assert said.standing is Standing.DONE
    assert sent(decision, "run:r") == [m.GateMoved(ME, "passed")]
    assert answer(decision).text == "approved"


def test_an_approval_is_a_row_of_the_audit_with_who_and_why() -> None:
    (note,) = effects(step(machine, WAITING, APPROVE), Note)
    assert (note.event_type, note.operator, note.reason) == ("gate_approved", "ann", "looks good")


def test_a_rejected_approval_fails_with_the_reason() -> None:
    decision = step(machine, WAITING, REJECT)
    assert decision.state.state is State.FAILED
    assert decision.state.reason == "rejected by bob: not on a friday"
    (said,) = sent(decision, TASK)
    assert (said.standing, said.outcome) == (Standing.FAILED, "failed")
    assert effects(decision, Note)[0].operator == "bob"


def test_a_second_word_of_the_same_kind_hears_that_it_is_so_already() -> None:
    again = answer(step(machine, WAITING, APPROVE, m.Approve("eve")))
    assert again == m.Accepted("was approved by ann already", "r/gate:unit~1")
    refused = answer(step(machine, WAITING, REJECT, m.Reject("eve")))
    assert refused.text == "was rejected by bob: not on a friday already"


@pytest.mark.parametrize(("first", "second"), [(APPROVE, REJECT), (REJECT, APPROVE)], ids=str)
def test_a_word_against_a_given_verdict_is_refused_with_the_way_to_ask_again(
    first: Any, second: Any
) -> None:
    decision = step(machine, WAITING, first, second)
    assert "gate rerun" in answer(decision).reason
    assert decision.edges == ()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (APPROVAL, "not asked for yet"),
        (QUEUED, "judged by its command"),
        (after(machine, WAITING, CANCEL), "cancelled already"),
        (
            after(
                machine,
                new(spec.Gate(approval=True), sources=(LINT,)),
                m.GateVerdict(LINT, "lint", "failed", Standing.FAILED, reason="lint failed"),
            ),
            "is blocked: lint failed",
        ),
    ],
    ids=["not asked", "a command", "cancelled", "blocked"],
)
def test_a_word_that_is_not_waited_for_is_refused(value: Gate, why: str) -> None:
    decision = step(machine, value, APPROVE)
    assert why in answer(decision).reason
    assert decision.state is value


def test_an_approval_with_a_timeout_that_nobody_gives_fails() -> None:
    asked = step(machine, new(spec.Gate(approval=True, timeout_s=60.0)), NEEDED)
    assert effects(asked, SetTimer) == [SetTimer("approval", 70.0)]
    decision = step(machine, asked.state, m.TimerFired("approval"), now=70.0)
    assert decision.state.verdict is Verdict.EXPIRED
    assert decision.state.reason == "nobody approved it within 60 s"
    assert sent(decision, TASK)[0].standing is Standing.FAILED
    assert step(machine, decision.state, m.TimerFired("approval")).effects == ()
    late = answer(step(machine, decision.state, APPROVE)).reason
    assert "is failed already (nobody approved it within 60 s)" in late


def test_an_approval_whose_own_gate_fails_meanwhile_asks_no_more() -> None:
    behind = new(spec.Gate(approval=True, timeout_s=60.0), sources=(LINT,))
    passed = m.GateVerdict(LINT, "lint", "passed", Standing.DONE)
    failed = m.GateVerdict(LINT, "lint", "failed", Standing.FAILED, Standing.DONE, reason="no")
    decision = step(machine, behind, NEEDED, passed, failed)
    assert effects(decision, CancelTimer) == [CancelTimer("approval")]
    assert decision.state.asked_at is None
    again = replace(passed, was=Standing.FAILED)
    assert after(machine, decision.state, again).asked_at == 10.0


def test_an_approval_can_be_cancelled() -> None:
    decision = step(machine, WAITING, CANCEL)
    assert triggers(decision) == ["gate_cancelled"]
    assert sent(decision, DISPATCH) == []


def test_an_approval_goes_on_asking_under_a_new_owner() -> None:
    decision = step(machine, WAITING, m.Recovered(2))
    assert decision.state is WAITING
    assert decision.effects == ()


def test_a_rejected_approval_is_asked_for_again_by_a_rerun_which_takes_the_next_word() -> None:
    rejected = after(machine, WAITING, REJECT)
    again = step(machine, rejected, m.RerunGate("r/gate:unit~1", "ann", n=2))
    (spawned,) = effects(again, Spawn)
    asking = after(machine, spawned.value, m.GateNeeded(ME))
    assert asking.asked_at == 10.0
    handed = step(machine, again.state, APPROVE)
    assert handed.effects == (Send("test_gate:r/gate:unit~2", APPROVE, control=True, hand_on=True),)


def test_a_gate_that_a_person_has_run_again_runs_whatever_is_known() -> None:
    failed = after(machine, RUNNING, ended(Outcome(exit_code=1)))
    again = step(machine, failed, m.RerunGate("r/gate:unit~1", "ann", n=2))
    (spawned,) = effects(again, Spawn)
    ticket = replace(TICKET, owner=spawned.value.address)
    second = step(machine, spawned.value, m.GateNeeded(ME), ADMITTED, ticket)
    assert effects(second, RunGate)[0].fresh
    assert not effects(step(machine, ASKING, TICKET), RunGate)[0].fresh
