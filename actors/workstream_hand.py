"""The operator's hand on a workstream: pause, resume, cancel, skip, unblock, retry, override.

The machine itself, its diagram and its invariants are in `actors.workstream`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from actors import messages as m
from actors import waits
from actors.effects import Note, Reply, Send
from actors.machine import Edge
from actors.messages import Standing
from actors.override import on_record, source_of, way
from actors.workstream_state import CHART, State, WorkstreamTurn

DISPATCH = "dispatch:main"

Hand: TypeAlias = m.Pause | m.Resume | m.Cancel | m.Skip | m.Unblock | m.RetryTask | m.Override
Answer: TypeAlias = m.Accepted | m.Refused


def hand(turn: WorkstreamTurn, message: Hand) -> None:
    ws = turn.value
    if ws.completed_at is not None:
        cure = ": retry the run" if isinstance(message, m.RetryTask) else ""
        turn.effects.append(Reply(m.Refused(f"{ws.id} is {ws.state} already{cure}")))
        return
    answer: Answer | None
    match message:
        case m.Cancel():
            answer = _cancel(turn, message)
        case m.Pause() | m.Resume():
            answer = _pause(turn, message)
        case m.Skip():
            answer = _skip(turn, message)
        case m.Unblock():
            answer = _unblock(turn, message)
        case m.RetryTask():
            answer = _retry(turn, message)
        case m.Override():
            answer = _override(turn, message)
    if answer is not None:
        turn.effects.append(Reply(answer))


def _note(turn: WorkstreamTurn, event: str, message: m.Pause | m.Resume | m.Unblock) -> None:
    turn.effects.append(Note(event, "info", message.reason, None, message.operator))


def _cancel(turn: WorkstreamTurn, message: m.Cancel) -> Answer:
    ws = turn.value
    if ws.ending is not None:
        return m.Accepted(f"is ending already, as {ws.ending}", ws.id)
    failure = message.through_failure
    end_as(turn, "cancelled", message.reason, operator=message.operator, through_failure=failure)
    return m.Accepted("cancelled, once its tasks have ended", ws.id)


def _pause(turn: WorkstreamTurn, message: m.Pause | m.Resume) -> Answer:
    ws, paused = turn.value, isinstance(message, m.Pause)
    if ws.paused is paused:
        return m.Accepted("is paused already" if paused else "is not paused", ws.id)
    hold_clocks(turn, paused=paused)
    hold(turn)
    said = {"reason": message.reason, "operator": message.operator}
    if paused and ws.state is State.RUNNING and ws.ending is None:
        turn.move(State.PAUSED, "paused", **said)
    elif ws.state is State.PAUSED and ws.ending is None:
        turn.move(State.RUNNING, "resumed", **said)
    else:
        _note(turn, "workstream_paused" if paused else "workstream_resumed", message)
    return m.Accepted("paused: what runs finishes" if paused else "resumed", ws.id)


def _skip(turn: WorkstreamTurn, message: m.Skip) -> Answer:
    ws = turn.value
    if ws.ending is not None:
        return m.Refused(f"{ws.id} is ending already, as {ws.ending}")
    if ws.state not in {State.PENDING, State.READY, State.BLOCKED}:
        return m.Refused(f"{ws.id} is {ws.state}: what has begun is cancelled, not skipped")
    end_as(turn, "skipped", message.reason, operator=message.operator, as_done=True)
    return m.Accepted("skipped, and counts as done", ws.id)


def _unblock(turn: WorkstreamTurn, message: m.Unblock) -> Answer:
    ws = turn.value
    if ws.state is not State.BLOCKED:
        return m.Refused(f"{ws.id} is {ws.state}, not blocked")
    if not ws.after.blocked:
        return m.Refused(f"tasks of {ws.id} are blocked: unblock those, or retry what failed")
    after, waived = waits.waive(ws.after, message.names)
    if not waived:
        known = ", ".join(cause.source for cause in ws.after.causes)
        return m.Refused(f"no cause has that name; {ws.id} is blocked by {known}")
    turn.change(after=after)
    _note(turn, "workstream_unblocked", message)
    return m.Accepted(f"waived {', '.join(waived)}", ws.id)


def _retry(turn: WorkstreamTurn, message: m.RetryTask) -> m.Refused | None:
    """Handed on: the task itself knows whether it has ended. Whoever asks has looked its id up."""
    ws = turn.value
    owner, _, name = message.task_id.rpartition("/")
    if owner != ws.id or name.partition("~")[0] not in ws.spec.tasks:
        return m.Refused(f"{message.task_id} is no task of {ws.id}")
    if ws.ending is not None:
        return m.Refused(f"{ws.id} is ending, as {ws.ending}: retry the run")
    if ws.state is State.VALIDATING:
        return m.Refused(f"{ws.id} is {ws.state}: retry the run")
    turn.change(retrying=ws.retrying + 1)
    turn.effects.append(Send(f"task:{message.task_id}", message, hand_on=True))
    return None


def _override(turn: WorkstreamTurn, order: m.Override) -> Answer:
    ws = turn.value
    edges = way(CHART, ws.state, order.target)
    if isinstance(edges, m.Refused):
        return edges
    if ws.ending is not None:
        return m.Refused(f"{ws.id} is ending already, as {ws.ending}")
    if not ws.begun:
        return m.Refused("its tasks are being made just now: try again in a moment")
    turn.effects.append(on_record(order, ws.state, edges))
    target = State(order.target)
    if ws.paused and target is not State.PAUSED:
        hold_clocks(turn, paused=False)
        hold(turn)
    match target:
        case State.COMPLETED | State.SKIPPED | State.VALIDATING:
            end_as(turn, target, order.reason, operator=order.operator, as_done=True)
        case State.FAILED:
            turn.change(critical_failure=ws.spec.critical)
            by = order.operator
            end_as(turn, target, order.reason, operator=by, through_failure=True)
        case State.CANCELLED:
            end_as(turn, target, order.reason, operator=order.operator)
        case State.PENDING | State.READY | State.RUNNING | State.PAUSED | State.BLOCKED:
            _follow(turn, order, target, edges)
            return m.Accepted(f"is {turn.value.state}", ws.id)
    return m.Accepted(f"is {target} once its tasks have ended", ws.id)


def _follow(
    turn: WorkstreamTurn, order: m.Override, target: State, edges: tuple[Edge, ...]
) -> None:
    said = {"reason": order.reason, "operator": order.operator}
    if turn.value.state is State.BLOCKED:
        turn.change(after=waits.waive(turn.value.after, ())[0])
    if target is State.PAUSED and not turn.value.paused:
        hold_clocks(turn, paused=True)
        hold(turn)
    if target is State.BLOCKED:
        by_hand = (source_of(order.operator), Standing.DONE, Standing.STALLED, order.reason)
        turn.change(after=waits.moved(turn.value.after, *by_hand))
    walk(turn, edges, **said)


def walk(turn: WorkstreamTurn, edges: Sequence[Edge], **said: str | None) -> None:
    """Takes the edges, in order; its tasks begin with the first READY."""
    for edge in edges:
        began = turn.value.started_at
        if edge.target == State.RUNNING and began is None:
            began = turn.now
        turn.move(State(edge.target), edge.trigger, started_at=began, **said)
        if edge.target == State.READY and not turn.value.tasks_begun:
            turn.change(tasks_begun=True)
            if turn.value.ending is None:
                turn.reach(m.Begin())


# --- what these and the machine itself do ------------------------------------------------------


def end_as(
    turn: WorkstreamTurn,
    ending: str,
    reason: str | None,
    *,
    operator: str | None = None,
    through_failure: bool = False,
    as_done: bool = False,
) -> None:
    turn.change(
        ending=ending,
        reason=reason,
        operator=operator,
        through_failure=through_failure,
        as_done=as_done,
    )
    if turn.value.begun and turn.value.unfinished:
        turn.reach(closing(turn, reason))
    # Else at `Begin`, for until then there may be no tasks to tell.


def closing(turn: WorkstreamTurn, reason: str | None) -> m.Cancel:
    ws = turn.value
    return m.Cancel(reason, ws.operator, ws.through_failure, closing=True, as_done=ws.as_done)


def hold_clocks(turn: WorkstreamTurn, **flags: bool) -> None:
    was_still = turn.value.paused or turn.value.run_paused
    turn.change(**flags)
    still = turn.value.paused or turn.value.run_paused
    if still is not was_still and turn.value.begun:
        turn.reach(m.ClockHeld(still))


def hold(turn: WorkstreamTurn) -> None:
    ws = turn.value
    turn.send(DISPATCH, m.HoldRun(ws.run_id, ws.paused, ws.spec.name), control=True)
