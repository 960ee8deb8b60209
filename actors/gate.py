"""A test gate: one entity of it, which runs its command once it is needed and gives one verdict.

    PENDING ──needed, place free──> RUNNING ──> PASSED, FAILED
       ↕ a gate it needs failed        └── infrastructure: again, inside RUNNING
    BLOCKED                                               (CANCELLED from all three)

Invariants:
1. A verdict never changes: to run a gate again makes a new entity, which stands for this one.
2. It runs only if something that could go on but for it needs it, and its own gates have passed.
3. It holds one of the places for gate commands exactly from its admission to its end.
4. What is no verdict on the work (a missing command, a lost process) never says "failed".

Deliberately absent: approvals, verdicts that are reused, the breaker of a gate; and its timeout,
which the shell measures from the command's real start.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec.structs import replace

from actors import messages as m
from actors import pacing, waits
from actors.effects import KillGate, Note, Reply, RunGate, Send, SetTimer, Spawn
from actors.gate_state import (
    CHART,
    EDGES,
    NO_OUTCOME,
    Gate,
    GateMetadata,
    GateTurn,
    State,
    create,
)
from actors.machine import Decision
from actors.messages import Outcome, Standing

__all__ = ["CHART", "EDGES", "Gate", "GateMetadata", "Inbox", "State", "create", "decide"]

DISPATCH = "dispatch:main"
# A machine that cannot run a command three times in a row needs a person.
LOSSES_MAX = 3
RETRY_WAIT_S = 1.0
RETRY_WAIT_S_MAX = 30.0
SIGKILL = 9


Place: TypeAlias = m.GateAdmitted | m.GateEnded | m.TimerFired
Hand: TypeAlias = m.Cancel | m.RerunGate
Kernel: TypeAlias = m.Recovered | m.Announce | m.Reach
Inbox: TypeAlias = m.GateNeeded | m.GateVerdict | Place | Hand | Kernel


def decide(gate: Gate, message: Inbox, now: float) -> Decision[Gate]:
    """One turn."""
    turn = GateTurn(CHART, gate, now)
    if isinstance(message, m.Reach):
        assert isinstance(message.order, m.GateVerdict)
        turn.reach(message.order, message.index)
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


Live: TypeAlias = m.GateNeeded | m.GateVerdict | Place | Hand | m.Recovered | m.Announce


def _pending(turn: GateTurn, message: Live) -> None:
    gate = turn.value
    match message:
        case m.GateNeeded():
            _need(turn)
        case m.GateVerdict():
            turn.change(after=waits.judged(gate.after, message))
            if turn.value.after.blocked:
                _block(turn)
            else:
                _start(turn)
        case m.GateAdmitted() if gate.queued:
            _run(turn)
        case m.GateAdmitted():
            turn.send(DISPATCH, m.GateDone(gate.address))
        case m.Cancel():
            _cancelled(turn, message.reason, message.operator, message.through_failure)
        case m.RerunGate():
            _refuse_rerun(turn, f"{gate.id} is {gate.state}: it has given no verdict yet")
        case m.Recovered() | m.Announce():
            if gate.queued:
                turn.send(DISPATCH, m.GateQueue(gate.address, gate.run_id))
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
            _cancelled(turn, message.reason, message.operator, message.through_failure)
        case m.RerunGate():
            _refuse_rerun(turn, f"{gate.id} is blocked: run the gate again that blocks it")
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
            _cancel_running(turn, message)
        case m.RerunGate():
            _refuse_rerun(turn, f"{gate.id} is running: wait for its verdict, or cancel it first")
        case m.Recovered():
            _again(turn)
        case m.Announce():
            turn.send(DISPATCH, m.GateQueue(gate.address, gate.run_id, running=True))
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
            _refuse_rerun(turn, f"{gate.id} was run again as {gate.replaced_by}")
        case m.RerunGate():
            _rerun(turn, message)
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
        _block(turn)  # run again, and what it depends on was not
    elif gate.state is State.PENDING:
        _start(turn)


def _start(turn: GateTurn) -> None:
    gate = turn.value
    if gate.needed and not gate.after.open and not gate.queued:
        turn.change(queued=True)
        turn.send(DISPATCH, m.GateQueue(gate.address, gate.run_id))


def _leave_queue(turn: GateTurn) -> None:
    if turn.value.queued:
        turn.change(queued=False)
        turn.send(DISPATCH, m.GateDone(turn.value.address))


def _block(turn: GateTurn) -> None:
    _leave_queue(turn)
    after = turn.value.after
    turn.move(State.BLOCKED, "gate_blocked", reason=after.root())
    turn.tell("blocked", after.standing, after.root())


def _reconsider(turn: GateTurn) -> None:
    after = turn.value.after
    if not after.blocked:
        turn.move(State.PENDING, "gate_unblocked")
        turn.tell("pending", Standing.WAITING)
        _start(turn)
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
            seed.gate.timeout_s,
            seed.gate.cwd,
            seed.gate.env,
            seed.env_pass,
            seed.base_dir,
        )
    )


def _again(turn: GateTurn) -> None:
    """A new owner: what ran is dead, and that is nobody's failure."""
    gate = turn.value
    if gate.cancelling:
        return _cancelled(turn, gate.reason, gate.operator, gate.through_failure)
    turn.send(DISPATCH, m.GateQueue(gate.address, gate.run_id, running=True))
    return None if gate.waiting else _try(turn)


def _judge(turn: GateTurn, outcome: Outcome) -> None:
    gate = turn.value
    if gate.cancelling:
        return _cancelled(turn, gate.reason, gate.operator, gate.through_failure, outcome)
    if outcome.reason == "timeout":
        text = f"timeout after {gate.spec.gate.timeout_s:g} s"
        return _verdict(turn, State.FAILED, outcome, "timeout", text)
    if _is_infrastructure(outcome):
        return _lost(turn, outcome)
    if outcome.exit_code in gate.spec.gate.expected_exit_codes:
        return _verdict(turn, State.PASSED, outcome, None, "")
    return _verdict(turn, State.FAILED, outcome, "verdict", outcome.why())


def _is_infrastructure(outcome: Outcome) -> bool:
    # Nobody but the machine itself kills a gate's command that has time left.
    killed = outcome.signal == SIGKILL
    return outcome.infrastructure or outcome.reason in {"lost", "not_started"} or killed


def _lost(turn: GateTurn, outcome: Outcome) -> None:
    losses = turn.value.losses + 1
    turn.change(losses=losses)
    if outcome.alive or losses >= LOSSES_MAX:
        text = f"infrastructure: {outcome.why()}"
        return _verdict(turn, State.FAILED, outcome, "infrastructure", text)
    wait_s = pacing.backoff(RETRY_WAIT_S, losses - 1, RETRY_WAIT_S_MAX)
    turn.change(waiting=True)
    turn.effects += [
        Note("gate_try_lost", "warning", outcome.why()),
        SetTimer("retry", turn.now + wait_s),
    ]
    return None


# --- its end -------------------------------------------------------------------------------------


def _verdict(
    turn: GateTurn, target: State, outcome: Outcome, reason: str | None, text: str
) -> None:
    passed = target is State.PASSED
    stalled = reason == "infrastructure"
    trigger = "gate_passed" if passed else "gate_failed"
    turn.move(target, trigger, outcome, reason=reason, exit_code=outcome.exit_code)
    if passed:
        turn.tell("passed", Standing.DONE)
    elif stalled:
        turn.tell("infrastructure", Standing.STALLED, f"{turn.value.id} failed: {text}")
    else:
        turn.tell("failed", Standing.FAILED, f"{turn.value.id} failed: {text}")
    _leave(turn, held_place=True)


def _leave(turn: GateTurn, *, held_place: bool) -> None:
    gate = turn.value
    if held_place:
        turn.send(DISPATCH, m.GateDone(gate.address))
    turn.send(f"run:{gate.run_id}", m.GateMoved(gate.address, gate.state))


def _cancel_running(turn: GateTurn, message: m.Cancel) -> None:
    gate = turn.value
    if gate.waiting:
        return _cancelled(turn, message.reason, message.operator, message.through_failure)
    if not gate.cancelling:
        # Only a request: it ends when the shell says that all of it is dead.
        turn.change(
            cancelling=True,
            reason=message.reason,
            operator=message.operator,
            through_failure=message.through_failure,
        )
        turn.effects.append(KillGate(gate.address, "cancelled"))
    return turn.effects.append(Reply(m.Accepted("is being cancelled", gate.id)))


def _cancelled(
    turn: GateTurn,
    reason: str | None,
    operator: str | None,
    through_failure: bool,
    outcome: Outcome = NO_OUTCOME,
) -> None:
    held_place = turn.value.queued or turn.value.state is State.RUNNING
    turn.change(operator=operator)
    turn.move(
        State.CANCELLED,
        "gate_cancelled",
        outcome,
        reason=reason,
        operator=operator,
        queued=False,
        exit_code=outcome.exit_code,
    )
    standing = Standing.FAILED if through_failure else Standing.WITHDRAWN
    turn.tell("cancelled", standing, f"{turn.value.id} cancelled: {reason or 'by hand'}")
    _leave(turn, held_place=held_place)
    turn.effects.append(Reply(m.Accepted("cancelled", turn.value.id)))


# --- run again -----------------------------------------------------------------------------------


def _refuse_rerun(turn: GateTurn, reason: str) -> None:
    turn.send(f"run:{turn.value.run_id}", m.GateMoved(turn.value.address, "refused"))
    turn.effects.append(Reply(m.Refused(reason)))


def _rerun(turn: GateTurn, message: m.RerunGate) -> None:
    """Makes the entity of number `message.n`, which stands for this one from now on."""
    gate = turn.value
    fresh = create(replace(gate.spec, n=message.n), turn.now)
    new = replace(fresh, retry_of=gate.id, after=gate.after)
    turn.effects += [
        Spawn("test_gate", new),
        Note("gate_rerun", "info", message.reason, {"rerun": new.id}, message.operator),
    ]
    said = ("pending", Standing.WAITING, gate.told, gate.spec.ticket, message.reason)
    turn.reach(m.GateVerdict(new.address, gate.name, *said, replaces=gate.address))
    turn.change(replaced_by=new.id)
    turn.send(new.address, m.GateNeeded(gate.address))
    turn.effects.append(Reply(m.Accepted(f"runs again as {new.id}", new.id)))
