"""What an operator's override means to a task, and to those who wait for it.

Who waits hears of where it was and where it is now, as if the last edge had been taken otherwise;
the states between are on record, and nobody acted on them.
"""

from __future__ import annotations

from typing import Any

from actors import messages as m
from actors import task_moves as moves
from actors import task_rules as rules
from actors import waits
from actors.effects import CancelTimer, Reply
from actors.messages import Standing
from actors.override import Wanted, on_record, source_of, wanted, way
from actors.task_state import CHART, State, TaskTurn

# Why the work of a task was asked to end.
ENDING = "overridden"


def override(turn: TaskTurn, order: m.Override) -> None:
    """Goes there at once, or as soon as what runs is proven dead."""
    task = turn.value
    edges = way(CHART, task.state, order.target)
    if isinstance(edges, m.Refused):
        return turn.effects.append(Reply(edges))
    if task.ending in {"cancelled", ENDING}:
        refusal = f"{task.id} is being ended already ({task.ending})"
        return turn.effects.append(Reply(m.Refused(refusal)))
    turn.effects.append(on_record(order, task.state, edges))
    if task.state is not State.RUNNING:
        follow(turn, wanted(order))
        return turn.effects.append(Reply(m.Accepted(f"is {turn.value.state}", task.id)))
    assert task.uet is not None
    assert task.lease is not None
    if task.ending is None:
        turn.send(task.uet, m.EndWork(task.lease, "cancelled"), control=True)
    turn.change(ending=ENDING, wanted=wanted(order))
    text = f"is {order.target} once every process of it is proven dead"
    return turn.effects.append(Reply(m.Accepted(text, task.id)))


def follow(turn: TaskTurn, order: Wanted) -> None:
    """Takes the way. RUNNING is left by it only once the processes are dead."""
    before = turn.value
    edges = way(CHART, before.state, order.target)
    assert not isinstance(edges, m.Refused), "it was asked before"
    said: dict[str, Any] = {"reason": order.reason, "operator": order.operator}
    _leave(turn, freed=edges[0].target == State.PENDING)
    for edge in edges[:-1]:
        turn.move(State(edge.target), edge.trigger, **said, **_let_go(turn))
    turn.change(wanted=None)
    last = edges[-1].trigger
    match State(order.target):
        case State.QUEUED:
            if last == "dependencies_met":
                _wait_for_nothing(turn)
                turn.send(before.workstream, m.TaskQueued(before.address))
            moves.queue(turn, last, **said)
        case State.BLOCKED:
            hand = (source_of(order.operator), Standing.DONE, Standing.STALLED, order.reason)
            turn.change(after=waits.moved(turn.value.after, *hand))
            moves.block(turn, last, order.operator)
        case State.PENDING:
            turn.move(State.PENDING, last, **said)
            moves.start(turn)
        case State.RETRYING:
            wait_s = rules.retry_wait(before.spec.task, before.id, 1)
            moves.wait(turn, order.reason, wait_s, operator=order.operator)
        case State.COMPLETED | State.FAILED | State.CANCELLED as end:
            moves.end(turn, end, last, order.reason, operator=order.operator)
        case State.RUNNING | State.VALIDATING:
            raise AssertionError(f"{order.target} is entered by the end of an execution")


def _wait_for_nothing(turn: TaskTurn) -> None:
    """What it still waits for is waived, by name, so that the record says what it went without."""
    spec = turn.value.spec
    turn.change(after=waits.Waits(waived=spec.sources), gates=waits.Waits(waived=spec.gates))


def _let_go(turn: TaskTurn) -> dict[str, Any]:
    return dict(moves.NO_LEASE, ending=None, wanted=None) if turn.value.lease else {}


def _leave(turn: TaskTurn, *, freed: bool) -> None:
    """Ends what the present state has going. `freed`: out of BLOCKED, and not by its end."""
    task = turn.value
    match task.state:
        case State.QUEUED:
            moves.leave_queue(turn)
        case State.RETRYING:
            turn.effects.append(CancelTimer("backoff"))
        case State.VALIDATING:
            moves.dismiss(turn, task.judges)
            turn.change(judges=(), ticket=None, unverified=0)
        case State.BLOCKED if freed:
            after, gates = waits.waive(task.after, ())[0], waits.waive(task.gates, ())[0]
            turn.change(after=after, gates=gates, doomed=False)
            turn.send(task.workstream, m.TaskBlocked(task.address, blocked=False))
            turn.tell(m.DependencyBlocked(task.address, Standing.WAITING, Standing.STALLED))
        case State.BLOCKED | State.PENDING | State.RUNNING:
            pass
        case State.COMPLETED | State.FAILED | State.CANCELLED:
            raise AssertionError(f"nothing leads out of {task.state}")
