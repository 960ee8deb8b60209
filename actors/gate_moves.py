"""The moves of a gate that several messages lead to: into the queue, into BLOCKED, to its end."""

from __future__ import annotations

from actors import gate_rules as rules
from actors import messages as m
from actors.effects import CancelTimer, Note, Reply, SetTimer
from actors.gate_rules import Finding
from actors.gate_state import NO_OUTCOME, GateTurn, State, Verdict
from actors.guard_messages import Admit, CallOutcome, Settle, Ticket
from actors.messages import Outcome, Standing

DISPATCH = "dispatch:main"
ASKS = "waits for a person's approval"


def start(turn: GateTurn) -> None:
    """PENDING: asks for a place, or a person, once it is needed and its own gates have passed."""
    gate = turn.value
    if not gate.needed or gate.after.open or gate.queued or gate.asked_at is not None:
        return
    if not gate.spec.gate.approval:
        turn.change(queued=True)
        queue(turn)
        return
    turn.change(asked_at=turn.now, reason=ASKS)
    within_s = gate.spec.gate.timeout_s
    wanted = {"gate": gate.id, "name": gate.name, "within_s": within_s}
    turn.effects.append(Note("approval_wanted", "info", ASKS, wanted))
    if within_s is not None:
        turn.effects.append(SetTimer("approval", turn.now + within_s))


def queue(turn: GateTurn, *, running: bool = False) -> None:
    """Tells the dispatcher that it waits for a place, or has one."""
    gate = turn.value
    turn.send(DISPATCH, m.GateQueue(gate.address, gate.run_id, running, gate.spec.breaker))


def withdraw(turn: GateTurn) -> None:
    """Before PENDING is left otherwise than to run: gives back what it has asked for."""
    gate = turn.value
    if gate.queued or gate.admitting:
        turn.change(queued=False, admitting=False, parked=False)
        turn.send(DISPATCH, m.GateDone(gate.address))
    if gate.asked_at is not None:
        turn.change(asked_at=None)
        turn.effects.append(CancelTimer("approval"))


def block(turn: GateTurn, operator: str | None = None) -> None:
    """To BLOCKED, with the root cause as the reason."""
    withdraw(turn)
    after = turn.value.after
    turn.move(State.BLOCKED, "gate_blocked", reason=after.root(), operator=operator)
    turn.tell("blocked", after.standing, after.root())


# --- its breaker ----------------------------------------------------------------------------------


def ask_breaker(turn: GateTurn, breaker: str) -> None:
    """It has its place: may its command be tried now?"""
    gate = turn.value
    turn.change(queued=False, admitting=True)
    asked = Admit(gate.address, rules.lease_s(gate.spec.gate))
    turn.send(f"circuit_breaker:{breaker}", asked)


def settle(turn: GateTurn, verdict: Verdict | None, outcome: Outcome) -> None:
    """Gives the ticket back with what the execution says of the gate itself."""
    ticket = turn.value.ticket
    if ticket is not None:
        turn.change(ticket=None)
        error = outcome.error if verdict is Verdict.INFRASTRUCTURE else None
        _settled(turn, ticket, rules.bearing(verdict, outcome), outcome.duration_s, error)


def give_back(turn: GateTurn, ticket: Ticket) -> None:
    """A ticket that was asked for by a PENDING that is over."""
    _settled(turn, ticket, CallOutcome.CANCELLED)


def _settled(
    turn: GateTurn,
    ticket: Ticket,
    outcome: CallOutcome,
    duration_s: float = 0.0,
    error: str | None = None,
) -> None:
    settled = Settle(ticket, outcome, turn.value.address, duration_s, error=error)
    turn.send(f"circuit_breaker:{ticket.breaker}", settled)


# --- its end --------------------------------------------------------------------------------------


def conclude(
    turn: GateTurn,
    finding: Finding,
    outcome: Outcome = NO_OUTCOME,
    *,
    operator: str | None = None,
    approver: str | None = None,
) -> None:
    """RUNNING: to PASSED or FAILED, and all who asked are told."""
    verdict, text = finding.verdict, finding.text
    settle(turn, verdict, outcome)
    passed, stalled = verdict is Verdict.PASSED, verdict is Verdict.INFRASTRUCTURE
    reason = f"infrastructure: {text}" if stalled else text
    turn.move(
        State.PASSED if passed else State.FAILED,
        "gate_passed" if passed else "gate_failed",
        outcome,
        reason=None if passed and approver is None else reason,
        operator=operator,
        exit_code=outcome.exit_code,
        approver=approver,
        verdict=verdict,
        check=outcome.check,
    )
    if passed:
        turn.tell("passed", Standing.DONE)
    else:
        standing = Standing.STALLED if stalled else Standing.FAILED
        said = "infrastructure" if stalled else "failed"
        turn.tell(said, standing, f"{turn.value.id} failed: {reason}")


def leave(turn: GateTurn, *, held_place: bool) -> None:
    """It has ended: frees its place, and tells the run."""
    gate = turn.value
    if held_place:
        turn.send(DISPATCH, m.GateDone(gate.address))
    turn.send(f"run:{gate.run_id}", m.GateMoved(gate.address, gate.state))


def cancelled(
    turn: GateTurn,
    reason: str | None,
    operator: str | None,
    through_failure: bool,
    outcome: Outcome = NO_OUTCOME,
) -> None:
    """To CANCELLED; nothing of it runs."""
    held_place = turn.value.state is State.RUNNING
    withdraw(turn)
    settle(turn, None, outcome)
    turn.change(operator=operator)
    turn.move(
        State.CANCELLED,
        "gate_cancelled",
        outcome,
        reason=reason,
        operator=operator,
        exit_code=outcome.exit_code,
    )
    standing = Standing.FAILED if through_failure else Standing.WITHDRAWN
    turn.tell("cancelled", standing, f"{turn.value.id} cancelled: {reason or 'by hand'}")
    leave(turn, held_place=held_place)
    turn.effects.append(Reply(m.Accepted("cancelled", turn.value.id)))
