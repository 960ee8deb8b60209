"""A workstream: a line of tasks, whose state follows from theirs.

    PENDING ──dependencies done──> READY ──first task queued──> RUNNING ⇄ PAUSED
       ↕ one failed                  ^                          │    │
    BLOCKED ──────unblocked──────────┘ <──all blocked───────────┘    └──all ended─> VALIDATING
       └──> SKIPPED          (FAILED, CANCELLED from nearly anywhere)    COMPLETED <──┘

Invariants:
1. It ends only when every task of it has: a failure, a cancel and a skip first end the tasks
   (`ending`), and take their edge when the last one is over.
2. It counts its tasks and lists none of them, so an event costs the same in a workstream of ten
   and of a hundred thousand. It reaches them by the names of its seed, a slice in a turn.
3. The run hears of every edge; whoever waits for it hears when it is held up, and of its end.
4. Nothing is taken back: a task is retried only while the workstream can still take it in.

Deliberately absent: what a task needs and when it runs (the task's), who is next (dispatch).
"""

from __future__ import annotations

from typing import TypeAlias

from actors import messages as m
from actors import waits
from actors import workstream_hand as hand
from actors.machine import Decision
from actors.messages import Standing
from actors.override import way
from actors.workstream_state import (
    CHART,
    EDGES,
    Order,
    State,
    Workstream,
    WorkstreamMetadata,
    WorkstreamTurn,
    create,
)

__all__ = [
    "CHART",
    "EDGES",
    "Inbox",
    "State",
    "Workstream",
    "WorkstreamMetadata",
    "create",
    "decide",
]

Tasks: TypeAlias = m.TaskQueued | m.TaskBlocked | m.TaskStalled | m.TaskEnded | m.TaskRetried
Waiting: TypeAlias = m.DependencyEnded | m.DependencyBlocked
Judges: TypeAlias = m.GatesMade | m.GateVerdict
Above: TypeAlias = m.Begin | m.EndBlocked | m.ClockHeld
Kernel: TypeAlias = m.Reach | m.Recovered | m.Announce
Inbox: TypeAlias = Tasks | Waiting | Judges | Above | hand.Hand | Kernel


def decide(ws: Workstream, message: Inbox, now: float) -> Decision[Workstream]:
    """One turn. Read by message: each changes counts or wishes, and `_settle` draws the
    conclusions, the same for all."""
    turn = WorkstreamTurn(CHART, ws, now)
    match message:
        case m.TaskEnded() | m.TaskQueued() | m.TaskBlocked() | m.TaskStalled() | m.TaskRetried():
            _task(turn, message)
        case m.DependencyEnded() | m.DependencyBlocked():
            _dependency(turn, message)
        case m.GatesMade() | m.GateVerdict():
            _judged(turn, message)
        case m.Begin() | m.EndBlocked() | m.ClockHeld():
            _above(turn, message)
        case m.Pause() | m.Resume() | m.Cancel() | m.Skip() | m.Unblock():
            hand.hand(turn, message)
        case m.RetryTask() | m.Override():
            hand.hand(turn, message)
        case m.Reach():
            assert isinstance(message.order, Order)
            turn.reach(message.order, message.index)
        case m.Recovered() | m.Announce():
            if ws.paused and ws.completed_at is None:
                hand.hold(turn)
    if turn.value is not ws:
        _settle(turn)
    return turn.decision()


# --- what its tasks say ---------------------------------------------------------------------------


def _task(turn: WorkstreamTurn, message: Tasks) -> None:
    ws = turn.value
    match message:
        case m.TaskEnded():
            _task_ended(turn, message)
        case m.TaskQueued():
            if ws.state is State.READY and ws.ending is None:
                _run(turn)
        case m.TaskBlocked():
            turn.change(blocked=ws.blocked + (1 if message.blocked else -1))
        case m.TaskStalled():
            turn.change(stalled=ws.stalled + (1 if message.stalled else -1))
        case m.TaskRetried():
            _task_retried(turn, message)


def _task_ended(turn: WorkstreamTurn, message: m.TaskEnded) -> None:
    ws = turn.value
    counts = {message.outcome: getattr(ws, message.outcome) + 1}
    turn.change(unfinished=ws.unfinished - 1, blocked=ws.blocked - message.was_blocked, **counts)
    failed = message.outcome == "failed" or message.through_failure
    if not failed or ws.ending is not None:
        return
    if message.critical:
        turn.change(critical_failure=True)
        task_id = message.task.removeprefix("task:")
        _fail(turn, f"{task_id} {message.outcome}: {message.reason}")
    else:
        turn.change(noncritical_failures=ws.noncritical_failures + 1)


def _task_retried(turn: WorkstreamTurn, message: m.TaskRetried) -> None:
    ws = turn.value
    turn.change(retrying=ws.retrying - 1)
    if message.new is None or message.outcome is None:
        return
    turn.change(
        unfinished=ws.unfinished + 1,
        noncritical_failures=ws.noncritical_failures - message.noncritical_failure,
        **{message.outcome: getattr(ws, message.outcome) - 1},
    )
    if ws.ending is not None:
        turn.send(message.new, hand.closing(turn, ws.reason), control=True)


def _fail(turn: WorkstreamTurn, reason: str) -> None:
    """A critical task failed: what else there is ends first."""
    hand.end_as(turn, "failed", reason, through_failure=True)


# --- the conclusions -----------------------------------------------------------------------------


def _settle(turn: WorkstreamTurn) -> None:
    """Takes the edges that the counts and wishes call for, until they call for none."""
    while turn.value.completed_at is None and _step(turn):
        pass
    turn.stick(stuck=turn.value.at_a_stand)
    _tell_held(turn)


def _step(turn: WorkstreamTurn) -> bool:
    ws = turn.value
    if ws.ending is not None:
        if ws.unfinished or ws.retrying:
            return False
        _finish(turn, ws.ending)
        return True
    match ws.state:
        case State.PENDING:
            return _from_pending(turn)
        case State.BLOCKED:
            return _from_blocked(turn)
        case State.READY:
            return _from_ready(turn)
        case State.RUNNING:
            return _from_running(turn)
        case State.VALIDATING:
            return _from_validating(turn)
        case State.PAUSED | State.COMPLETED | State.FAILED | State.CANCELLED | State.SKIPPED:
            return False


_DOOMED = frozenset({Standing.FAILED, Standing.WITHDRAWN})


def _from_pending(turn: WorkstreamTurn) -> bool:
    ws = turn.value
    if ws.after.standing in _DOOMED:
        turn.move(State.BLOCKED, "blocked", reason=ws.after.root())
        return True
    if not ws.begun or ws.after.open:
        return False
    turn.move(State.READY, "ready")
    if not ws.tasks_begun:
        turn.change(tasks_begun=True)
        turn.reach(m.Begin())
    return True


def _from_blocked(turn: WorkstreamTurn) -> bool:
    ws = turn.value
    if ws.held_by_hand or ws.after.standing in _DOOMED or (ws.tasks_begun and ws.all_blocked):
        return False
    turn.move(State.PENDING, "unblocked")
    return True


def _from_ready(turn: WorkstreamTurn) -> bool:
    ws = turn.value
    if ws.unfinished or ws.retrying:
        return False
    _run(turn)
    return True


def _run(turn: WorkstreamTurn) -> None:
    turn.move(
        State.RUNNING,
        "started",
        started_at=turn.now if turn.value.started_at is None else turn.value.started_at,
    )
    if turn.value.paused:
        turn.move(State.PAUSED, "paused")


def _from_running(turn: WorkstreamTurn) -> bool:
    ws = turn.value
    if ws.all_blocked:
        turn.move(State.BLOCKED, "blocked", reason="every task left is blocked")
        return True
    if ws.unfinished or ws.retrying:
        return False
    _validate(turn)
    return True


def _validate(turn: WorkstreamTurn, **said: str | None) -> None:
    ws = turn.value
    names = tuple(dict.fromkeys(ws.spec.gates))
    turn.move(State.VALIDATING, "validating", unverified=len(names), **said)
    if names:
        turn.send(f"run:{ws.run_id}", m.NeedGates(ws.address, names, ws.id))


def _from_validating(turn: WorkstreamTurn) -> bool:
    if turn.value.unverified or turn.value.paused:
        return False
    turn.move(State.COMPLETED, "completed")
    _tell_end(turn, Standing.DONE)
    return True


def _finish(turn: WorkstreamTurn, ending: str) -> None:
    ws = turn.value
    for judge in ws.judges:
        turn.send(judge, m.Cancel("what it judges is over"), control=True)
    said = {"reason": ws.reason, "operator": ws.operator}
    edges = way(CHART, ws.state, ending)
    assert not isinstance(edges, m.Refused), f"{ws.state} leads to {ending}"
    hand.walk(turn, edges[:-1], **said)
    match State(ending):
        case State.VALIDATING:
            turn.change(ending=None, as_done=False, operator=None)
            _validate(turn, **said)
        case State.COMPLETED:
            turn.move(State.COMPLETED, "completed", **said)
            _tell_end(turn, Standing.DONE)
        case State.FAILED:
            severity = "critical" if ws.spec.critical else None
            turn.move(State.FAILED, "failed", severity=severity, **said)
            _tell_end(turn, Standing.FAILED)
        case State.SKIPPED | State.CANCELLED:
            turn.move(State(ending), ending, **said)
            failed = Standing.FAILED if ws.through_failure else Standing.WITHDRAWN
            _tell_end(turn, Standing.DONE if ws.as_done else failed)
        case State.PENDING | State.READY | State.RUNNING | State.PAUSED | State.BLOCKED:
            raise AssertionError(f"nothing ends as {ending}")


def _tell_end(turn: WorkstreamTurn, standing: Standing) -> None:
    ws = turn.value
    if ws.paused:
        turn.send(hand.DISPATCH, m.HoldRun(ws.run_id, False, ws.spec.name), control=True)
    through_another = ws.state is State.SKIPPED and not ws.as_done
    reason = ws.reason if through_another else f"{ws.id} {ws.state}: {ws.reason or 'by hand'}"
    was = Standing.STALLED if ws.held_up else Standing.WAITING
    ended = m.DependencyEnded(ws.address, ws.state, standing, was, reason)
    for dependent in ws.spec.dependents:
        turn.send(dependent, ended)


def _tell_held(turn: WorkstreamTurn) -> None:
    """Tells dependents, and before it has begun whoever waits for its tasks, when nothing but an
    operator could move it: so that they count as held up too, however long the chain."""
    ws = turn.value
    if ws.completed_at is not None:
        return
    waits_in_vain = not ws.tasks_begun and ws.after.blocked
    held_up = waits_in_vain or ws.stuck or ws.state is State.BLOCKED
    reason = ws.after.root() or ws.reason
    if held_up is not ws.held_up:
        turn.change(held_up=held_up)
        for dependent in ws.spec.dependents:
            turn.send(dependent, _hold_up(ws, held_up, reason))
    if waits_in_vain is not ws.bridges_held:
        turn.change(bridges_held=waits_in_vain)
        turn.reach(_hold_up(ws, waits_in_vain, reason))


def _hold_up(ws: Workstream, held: bool, reason: str | None) -> m.DependencyBlocked:
    if held:
        return m.DependencyBlocked(ws.address, Standing.STALLED, Standing.WAITING, reason)
    return m.DependencyBlocked(ws.address, Standing.WAITING, Standing.STALLED)


# --- what others say -----------------------------------------------------------------------------


def _dependency(turn: WorkstreamTurn, message: Waiting) -> None:
    after = waits.moved(
        turn.value.after, message.source, message.was, message.standing, message.reason
    )
    turn.change(after=after)


_NO_VERDICT = frozenset({Standing.STALLED, Standing.WITHDRAWN})


def _judged(turn: WorkstreamTurn, message: Judges) -> None:
    ws = turn.value
    if ws.state is not State.VALIDATING:
        if isinstance(message, m.GatesMade):
            for gate in message.gates:
                turn.send(gate, m.Cancel("what it judges is over"), control=True)
        return
    if isinstance(message, m.GatesMade):
        turn.change(judges=message.gates)
    elif message.standing is Standing.FAILED:
        turn.change(critical_failure=True)
        _fail(turn, f"validation failed: {message.reason or message.name}")
    else:
        was, stands = message.was, message.standing
        left = ws.unverified + (was is Standing.DONE) - (stands is Standing.DONE)
        withheld = ws.withheld + (stands in _NO_VERDICT) - (was in _NO_VERDICT)
        # What is no verdict leaves it VALIDATING, with the reason, until the gate is rerun.
        reason = message.reason if stands in _NO_VERDICT else ws.reason if withheld else None
        turn.change(unverified=left, withheld=withheld, reason=reason)


def _above(turn: WorkstreamTurn, message: Above) -> None:
    ws = turn.value
    if ws.completed_at is not None:
        return
    match message:
        case m.Begin():
            _begin(turn)
        case m.EndBlocked():
            _end_blocked(turn)
        case m.ClockHeld():
            hand.hold_clocks(turn, run_paused=message.held)


def _begin(turn: WorkstreamTurn) -> None:
    """Its tasks are there: whatever was asked for before reaches them now."""
    ws = turn.value
    if ws.begun:
        return
    turn.change(begun=True)
    if ws.paused or ws.run_paused:
        turn.reach(m.ClockHeld(held=True))
    if ws.ending is not None:
        turn.reach(hand.closing(turn, ws.reason))
    elif ws.spec.skip:
        hand.end_as(turn, "skipped", "skipped by the plan", as_done=True)


def _end_blocked(turn: WorkstreamTurn) -> None:
    ws = turn.value
    if ws.ending is not None:
        return
    if ws.state is State.BLOCKED and ws.after.standing in _DOOMED:
        failure = ws.after.standing is Standing.FAILED
        hand.end_as(turn, "skipped", ws.after.root(), through_failure=failure)
    elif ws.unfinished and (ws.stuck or ws.state is State.BLOCKED):
        turn.reach(m.EndBlocked())
    # Else it moves again, or waits for one that was told the same.
