"""What an operator's override means to a gate, and to those who wait for its verdict."""

from __future__ import annotations

from actors import gate_hand as hand
from actors import gate_moves as moves
from actors import messages as m
from actors import waits
from actors.effects import KillGate, Reply
from actors.gate_rules import Finding
from actors.gate_state import CHART, NO_OUTCOME, GateTurn, State, Verdict
from actors.messages import Outcome, Standing
from actors.override import Wanted, on_record, source_of, wanted, way


def override(turn: GateTurn, order: m.Override) -> None:
    """Goes there at once, or as soon as its command is proven dead."""
    gate = turn.value
    edges = way(CHART, gate.state, order.target)
    if isinstance(edges, m.Refused):
        asks = gate.spec.gate.approval and gate.completed_at is None
        cure = f"; `banksman approve {gate.id}` lets it pass" if asks else ""
        return turn.effects.append(Reply(m.Refused(edges.reason + cure)))
    if gate.cancelling or gate.wanted is not None:
        return turn.effects.append(Reply(m.Refused(f"{gate.id} is being ended already")))
    turn.effects.append(on_record(order, gate.state, edges))
    match State(order.target):
        case State.CANCELLED if gate.state is State.RUNNING:
            return hand.cancel_running(turn, m.Cancel(order.reason, order.operator))
        case State.CANCELLED:
            return moves.cancelled(turn, order.reason, order.operator, False)
        case State.BLOCKED:
            by_hand = (source_of(order.operator), Standing.DONE, Standing.STALLED, order.reason)
            turn.change(after=waits.moved(gate.after, *by_hand))
            moves.block(turn, order.operator)
        case State.PENDING:
            turn.change(after=waits.waive(gate.after, ())[0])
            said = {"reason": order.reason, "operator": order.operator}
            turn.move(State.PENDING, "gate_unblocked", NO_OUTCOME, **said)
            turn.tell("pending", Standing.WAITING)
            moves.start(turn)
        case State.FAILED if gate.waiting:
            follow(turn, wanted(order))
        case State.FAILED:
            turn.change(wanted=wanted(order))
            turn.effects.append(KillGate(gate.address, "overridden"))
            text = "is failed once its command is proven dead"
            return turn.effects.append(Reply(m.Accepted(text, gate.id)))
        case State.RUNNING | State.PASSED:
            raise AssertionError(f"nothing leads to {order.target} by a word alone")
    return turn.effects.append(Reply(m.Accepted(f"is {turn.value.state}", gate.id)))


def follow(turn: GateTurn, order: Wanted, outcome: Outcome = NO_OUTCOME) -> None:
    """RUNNING: its command is dead, and it fails by a person's word."""
    moves.settle(turn, None, outcome)
    finding = Finding(Verdict.REJECTED, order.reason)
    moves.conclude(turn, finding, outcome, operator=order.operator)
    moves.leave(turn, held_place=True)
