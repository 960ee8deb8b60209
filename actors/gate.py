"""A test gate: one entity of it, which runs its command once it is needed and gives one verdict.

    PENDING ──needed, admitted──> RUNNING ──> PASSED, FAILED
       ↕ a gate it needs failed      └── infrastructure: again, inside RUNNING
    BLOCKED                                             (CANCELLED from all three)

Invariants:
1. A verdict never changes: to run a gate again makes a new entity, which stands for this one.
2. It runs only if something that could go on but for it needs it, and its own gates have passed.
3. It holds one of the places for gate commands exactly from its admission to its end.
4. What is no verdict on the work (a missing command, a lost process, a runner that executed no
   test) never says "failed", and counts against the gate's own breaker.
5. It runs under a ticket of that breaker, and gives it back once.
6. A gate that a person judges holds no place, and nothing but that person's word, or a timeout that
   the plan names, takes it out of PENDING.

Deliberately absent: the timeout of a command, which the shell measures from its real start, and
whether a verdict can be reused, which only the shell can see; it says so with the outcome.
"""

from __future__ import annotations

from typing import TypeAlias

from actors import gate_hand as hand
from actors import gate_moves as moves
from actors import gate_override, pacing, waits
from actors import gate_rules as rules
from actors import messages as m
from actors.effects import Note, Reply, RunGate, Send, SetTimer
from actors.gate_rules import Finding
from actors.gate_state import (
    CHART,
    EDGES,
    Gate,
    GateMetadata,
    GateTurn,
    State,
    Verdict,
    create,
)
from actors.guard_messages import Refusal, Ticket
from actors.machine import Decision
from actors.messages import Outcome, Standing

__all__ = [
    "CHART",
    "EDGES",
    "Gate",
    "GateMetadata",
    "Inbox",
    "State",
    "Verdict",
    "create",
    "decide",
]

DISPATCH = moves.DISPATCH

Place: TypeAlias = m.GateAdmitted | m.GateEnded | m.TimerFired
Hand: TypeAlias = m.Cancel | m.RerunGate
Kernel: TypeAlias = m.Recovered | m.Announce
Live: TypeAlias = m.GateNeeded | m.GateVerdict | Place | Hand | Kernel
Inbox: TypeAlias = Live | Ticket | Refusal | m.Approve | m.Reject | m.Override | m.Reach


def decide(gate: Gate, message: Inbox, now: float) -> Decision[Gate]:
    """One turn."""
    turn = GateTurn(CHART, gate, now)
    if isinstance(message, m.Reach):
        assert isinstance(message.order, m.GateVerdict)
        turn.reach(message.order, message.index)
        return turn.decision()
    if isinstance(message, m.Approve | m.Reject):
        hand.judge(turn, message)
        return turn.decision()
    if isinstance(message, m.Override):
        gate_override.override(turn, message)
        return turn.decision()
    if isinstance(message, Ticket | Refusal):
        _told_by_breaker(turn, message)
        return turn.decision()
    if isinstance(message, m.RerunGate) and message.stale is not None:
        hand.refuse_rerun(turn, message.stale)
        return turn.decision()
    match gate.state:
        case State.PENDING:
            _pending(turn, message)
        case State.BLOCKED:
            _blocked(turn, message)
        case State.RUNNING:
            _running(turn, message)
        case State.PASSED | State.FAILED | State.CANCELLED:
            _ended(turn, message)
    return turn.decision()


def _pending(turn: GateTurn, message: Live) -> None:
    gate = turn.value
    match message:
        case m.GateNeeded():
            _need(turn)
        case m.GateVerdict():
            turn.change(after=waits.judged(gate.after, message))
            if turn.value.after.blocked:
                moves.block(turn)
            else:
                moves.start(turn)
        case m.GateAdmitted():
            _admitted(turn)
        case m.Cancel():
            moves.cancelled(turn, message.reason, message.operator, message.through_failure)
        case m.RerunGate():
            hand.refuse_rerun(turn, f"{gate.id} is {gate.state}: it has given no verdict yet")
        case m.Recovered():
            _ask_again(turn)
        case m.Announce():
            if gate.queued or gate.admitting:
                moves.queue(turn, running=gate.admitting)
        case m.TimerFired() if message.key == "approval" and gate.asked_at is not None:
            hand.expire(turn)
        case m.GateEnded() | m.TimerFired():
            pass  # of no execution of this entity


def _blocked(turn: GateTurn, message: Live) -> None:
    gate = turn.value
    match message:
        case m.GateNeeded():
            _need(turn)
        case m.GateVerdict():
            turn.change(after=waits.judged(gate.after, message))
            _reconsider(turn)
        case m.Cancel():
            moves.cancelled(turn, message.reason, message.operator, message.through_failure)
        case m.RerunGate():
            hand.refuse_rerun(turn, f"{gate.id} is blocked: run the gate again that blocks it")
        case m.GateAdmitted():
            turn.send(DISPATCH, m.GateDone(gate.address))
        case m.GateEnded() | m.TimerFired() | m.Recovered() | m.Announce():
            pass  # nothing of it runs or waits for a place


def _running(turn: GateTurn, message: Live) -> None:
    gate = turn.value
    match message:
        case m.GateEnded() if message.attempt == gate.tries and not gate.waiting:
            _judge(turn, message.outcome)
        case m.GateEnded():
            pass  # of an earlier try
        case m.TimerFired():
            if gate.waiting:
                turn.change(waiting=False)
                _try(turn)
        case m.Cancel():
            hand.cancel_running(turn, message)
        case m.RerunGate():
            text = f"{gate.id} is running: wait for its verdict, or cancel it first"
            hand.refuse_rerun(turn, text)
        case m.Recovered():
            _again(turn)
        case m.Announce():
            moves.queue(turn, running=True)
        case m.GateNeeded() | m.GateVerdict() | m.GateAdmitted():
            pass  # it has begun, and goes on with what had passed when it began


def _ended(turn: GateTurn, message: Live) -> None:
    gate = turn.value
    successor = gate.replaced_by and f"test_gate:{gate.replaced_by}"
    match message:
        case m.Cancel() if successor:
            turn.effects.append(Send(successor, message, control=True, hand_on=True))
        case m.Cancel():
            turn.effects.append(Reply(m.Refused(f"{gate.id} is {gate.state} already")))
        case m.GateNeeded() | m.GateVerdict() if successor:
            turn.send(successor, message)
        case m.GateVerdict():
            turn.change(after=waits.judged(gate.after, message))  # what a rerun begins with
        case m.RerunGate() if successor:
            hand.refuse_rerun(turn, f"{gate.id} was run again as {gate.replaced_by}")
        case m.RerunGate():
            hand.rerun(turn, message)
        case m.GateAdmitted():
            turn.send(DISPATCH, m.GateDone(gate.address))
        case m.GateNeeded():
            pass  # its askers were told when it ended
        case m.GateEnded() | m.TimerFired() | m.Recovered() | m.Announce():
            pass


# --- before it runs ------------------------------------------------------------------------------


def _need(turn: GateTurn) -> None:
    gate = turn.value
    if gate.needed:
        return
    turn.change(needed=True)
    for source in gate.spec.sources if gate.after.open else ():
        turn.send(source, m.GateNeeded(gate.address))
    if gate.state is State.PENDING and gate.after.blocked:
        moves.block(turn)  # run again, and what it depends on was not
    elif gate.state is State.PENDING:
        moves.start(turn)


def _admitted(turn: GateTurn) -> None:
    gate = turn.value
    if not gate.queued:
        if not gate.admitting:
            turn.send(DISPATCH, m.GateDone(gate.address))
    elif gate.spec.breaker is not None:
        moves.ask_breaker(turn, gate.spec.breaker)
    else:
        _run(turn)


def _told_by_breaker(turn: GateTurn, message: Ticket | Refusal) -> None:
    gate = turn.value
    match message:
        case Ticket() if gate.admitting:
            turn.change(admitting=False, parked=False, ticket=message)
            _run(turn)
        case Ticket():
            moves.give_back(turn, message)  # a former owner asked, or a PENDING that is over
        case Refusal() if gate.admitting:
            _refused(turn, message)
        case Refusal():
            pass  # it no longer asks


def _refused(turn: GateTurn, refusal: Refusal) -> None:
    """Its breaker is shut: the place is for others, until the dispatcher hears that it lets calls
    through."""
    gate = turn.value
    text = f"its breaker {refusal.breaker} is {refusal.state}"
    reason = f"{text}: {refusal.reason}" if refusal.reason else text
    if not gate.parked:
        known = {"breaker": refusal.breaker, "retry_after_s": refusal.retry_after_s}
        turn.effects.append(Note("gate_parked", "warning", reason, known))
    turn.change(admitting=False, queued=True, parked=True, reason=reason)
    turn.send(DISPATCH, m.GateDone(gate.address))
    moves.queue(turn)


def _ask_again(turn: GateTurn) -> None:
    """A new owner: a ticket that is still on its way is given back when it comes."""
    if turn.value.admitting:
        turn.change(admitting=False, queued=True)
    if turn.value.queued:
        moves.queue(turn)


def _reconsider(turn: GateTurn) -> None:
    after = turn.value.after
    if not after.blocked:
        turn.move(State.PENDING, "gate_unblocked")
        turn.tell("pending", Standing.WAITING)
        moves.start(turn)
    elif after.standing is not turn.value.told:
        turn.change(reason=after.root())
        turn.tell("blocked", after.standing, after.root())


# --- its executions ------------------------------------------------------------------------------


def _run(turn: GateTurn) -> None:
    turn.move(State.RUNNING, "execution_started", queued=False, started_at=turn.now)
    _try(turn)


def _try(turn: GateTurn) -> None:
    turn.change(tries=turn.value.tries + 1)
    gate, seed = turn.value, turn.value.spec
    turn.effects.append(
        RunGate(
            gate.address,
            gate.tries,
            seed.gate.command,
            rules.timeout_s(seed.gate),
            seed.gate.cwd,
            seed.gate.env,
            seed.env_pass,
            seed.base_dir,
            fresh=gate.retry_of is not None,
        )
    )


def _again(turn: GateTurn) -> None:
    """A new owner: what ran is dead, and that is nobody's failure."""
    gate = turn.value
    if gate.wanted is not None:
        return gate_override.follow(turn, gate.wanted)
    if gate.cancelling:
        return moves.cancelled(turn, gate.reason, gate.operator, gate.through_failure)
    moves.queue(turn, running=True)
    return None if gate.waiting else _try(turn)


def _judge(turn: GateTurn, outcome: Outcome) -> None:
    gate = turn.value
    if gate.wanted is not None:
        gate_override.follow(turn, gate.wanted, outcome)
        return
    if gate.cancelling:
        moves.cancelled(turn, gate.reason, gate.operator, gate.through_failure, outcome)
        return
    finding = rules.found(gate.spec.gate, outcome)
    if finding.verdict is Verdict.INFRASTRUCTURE:
        losses = gate.losses + 1
        turn.change(losses=losses)
        if not outcome.alive and losses < rules.LOSSES_MAX:
            _wait(turn, finding, losses)
            return
    moves.conclude(turn, finding, outcome)
    moves.leave(turn, held_place=True)


def _wait(turn: GateTurn, lost: Finding, losses: int) -> None:
    wait_s = pacing.backoff(rules.RETRY_WAIT_S, losses - 1, rules.RETRY_WAIT_S_MAX)
    turn.change(waiting=True)
    turn.effects += [
        Note("gate_try_lost", "warning", lost.text),
        SetTimer("retry", turn.now + wait_s),
    ]
