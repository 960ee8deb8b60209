"""A person's hand on a gate: its approval, its cancel, and running it again."""

from __future__ import annotations

from typing import TypeAlias

from msgspec.structs import replace

from actors import gate_moves as moves
from actors import messages as m
from actors.effects import KillGate, Note, Reply, Send, Spawn
from actors.gate_rules import Finding
from actors.gate_state import GateTurn, State, Verdict, create
from actors.messages import Standing

Word: TypeAlias = m.Approve | m.Reject


def judge(turn: GateTurn, word: Word) -> None:
    """A person's word, where it is waited for; else why it is not taken."""
    gate = turn.value
    successor = gate.replaced_by and f"test_gate:{gate.replaced_by}"
    if successor:
        turn.effects.append(Send(successor, word, control=True, hand_on=True))
    elif gate.asked_at is not None:
        _decide(turn, word)
    else:
        turn.effects.append(Reply(_why_not(turn, word)))


def _decide(turn: GateTurn, word: Word) -> None:
    gate = turn.value
    approved = isinstance(word, m.Approve)
    event, verb = ("gate_approved", "approved") if approved else ("gate_rejected", "rejected")
    said = f"{verb} by {word.operator}" + (f": {word.reason}" if word.reason else "")
    named = {"gate": gate.id, "waited_s": round(turn.now - (gate.asked_at or turn.now), 6)}
    turn.effects.append(Note(event, "info", word.reason, named, word.operator))
    moves.withdraw(turn)
    turn.move(State.RUNNING, "execution_started", operator=word.operator, started_at=turn.now)
    finding = Finding(Verdict.PASSED if approved else Verdict.REJECTED, said)
    approver = word.operator if approved else None
    moves.conclude(turn, finding, operator=word.operator, approver=approver)
    moves.leave(turn, held_place=False)
    turn.effects.append(Reply(m.Accepted(verb, gate.id)))


def expire(turn: GateTurn) -> None:
    """Nobody gave a word in the time that the plan allows for it."""
    within_s = turn.value.spec.gate.timeout_s or 0.0
    moves.withdraw(turn)
    turn.move(State.RUNNING, "execution_started", started_at=turn.now)
    moves.conclude(turn, Finding(Verdict.EXPIRED, f"nobody approved it within {within_s:g} s"))
    moves.leave(turn, held_place=False)


def _why_not(turn: GateTurn, word: Word) -> m.Accepted | m.Refused:
    gate = turn.value
    if not gate.spec.gate.approval:
        return m.Refused(f"{gate.id} is judged by its command, not by a person")
    match gate.state:
        case State.PASSED if isinstance(word, m.Approve):
            return m.Accepted(f"was approved by {gate.approver} already", gate.id)
        case State.FAILED if isinstance(word, m.Reject) and gate.verdict is Verdict.REJECTED:
            return m.Accepted(f"was {gate.reason} already", gate.id)
        case State.PASSED | State.FAILED:
            cure = f"`banksman gate rerun {gate.id}` asks again"
            why = f" ({gate.reason})" if gate.reason else ""
            return m.Refused(f"{gate.id} is {gate.state} already{why}; {cure}")
        case State.CANCELLED:
            return m.Refused(f"{gate.id} is cancelled already")
        case State.BLOCKED:
            return m.Refused(f"{gate.id} is blocked: {gate.reason}")
        case State.PENDING | State.RUNNING:
            return m.Refused(f"{gate.id} is not asked for yet: what needs it cannot start")


def cancel_running(turn: GateTurn, message: m.Cancel) -> None:
    """RUNNING: only a request while its command runs; it ends when all of that is dead."""
    gate = turn.value
    if gate.waiting:
        return moves.cancelled(turn, message.reason, message.operator, message.through_failure)
    if not gate.cancelling:
        turn.change(
            cancelling=True,
            reason=message.reason,
            operator=message.operator,
            through_failure=message.through_failure,
        )
        turn.effects.append(KillGate(gate.address, "cancelled"))
    return turn.effects.append(Reply(m.Accepted("is being cancelled", gate.id)))


def refuse_rerun(turn: GateTurn, reason: str) -> None:
    """It cannot be run again now; the run, which counted on a new entity, hears of it."""
    turn.send(f"run:{turn.value.run_id}", m.GateMoved(turn.value.address, "refused"))
    turn.effects.append(Reply(m.Refused(reason)))


def rerun(turn: GateTurn, message: m.RerunGate) -> None:
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
