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
from actors.effects import Note, Reply, Send
from actors.machine import Decision
from actors.messages import Standing
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

DISPATCH = "dispatch:main"

Tasks: TypeAlias = m.TaskQueued | m.TaskBlocked | m.TaskEnded | m.TaskRetried
Waiting: TypeAlias = m.DependencyEnded | m.DependencyBlocked
Judges: TypeAlias = m.GatesMade | m.GateVerdict
Above: TypeAlias = m.Begin | m.EndBlocked | m.ClockHeld
Hand: TypeAlias = m.Pause | m.Resume | m.Cancel | m.Skip | m.Unblock | m.RetryTask
Kernel: TypeAlias = m.Reach | m.Recovered | m.Announce
Answer: TypeAlias = m.Accepted | m.Refused
Inbox: TypeAlias = Tasks | Waiting | Judges | Above | Hand | Kernel


def decide(ws: Workstream, message: Inbox, now: float) -> Decision[Workstream]:
    """One turn. Read by message: each changes counts or wishes, and `_settle` draws the
    conclusions, the same for all."""
    turn = WorkstreamTurn(CHART, ws, now)
    match message:
        case m.TaskQueued() | m.TaskBlocked() | m.TaskEnded() | m.TaskRetried():
            _task(turn, message)
        case m.DependencyEnded() | m.DependencyBlocked():
            _dependency(turn, message)
        case m.GatesMade() | m.GateVerdict():
            _judged(turn, message)
        case m.Begin() | m.EndBlocked() | m.ClockHeld():
            _above(turn, message)
        case m.Pause() | m.Resume() | m.Cancel() | m.Skip() | m.Unblock() | m.RetryTask():
            _hand(turn, message)
        case m.Reach():
            assert isinstance(message.order, Order)
            turn.reach(message.order, message.index)
        case m.Recovered() | m.Announce():
            if ws.paused and ws.completed_at is None:
                _hold(turn)
    if turn.value is not ws:
        _settle(turn)
    return turn.decision()


# --- what its tasks say ---------------------------------------------------------------------------


def _task(turn: WorkstreamTurn, message: Tasks) -> None:
    ws = turn.value
    match message:
        case m.TaskQueued():
            if ws.state is State.READY and ws.ending is None:
                _run(turn)
        case m.TaskBlocked():
            turn.change(blocked=ws.blocked + (1 if message.blocked else -1))
        case m.TaskEnded():
            _task_ended(turn, message)
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
        turn.send(message.new, _closing(turn, ws.reason), control=True)


def _fail(turn: WorkstreamTurn, reason: str) -> None:
    """A critical task failed: what else there is ends first."""
    _end_as(turn, "failed", reason, through_failure=True)


def _end_as(
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
        turn.reach(_closing(turn, reason))
    # Else at `Begin`, for until then there may be no tasks to tell.


def _closing(turn: WorkstreamTurn, reason: str | None) -> m.Cancel:
    ws = turn.value
    return m.Cancel(reason, ws.operator, ws.through_failure, closing=True, as_done=ws.as_done)


# --- the conclusions -----------------------------------------------------------------------------


def _settle(turn: WorkstreamTurn) -> None:
    """Takes the edges that the counts and wishes call for, until they call for none."""
    while turn.value.completed_at is None and _step(turn):
        pass
    ws = turn.value
    stuck = ws.state is State.READY and ws.all_blocked and not ws.paused and ws.ending is None
    turn.stick(stuck=stuck)
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
    if ws.after.standing in _DOOMED or (ws.tasks_begun and ws.all_blocked):
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
    names = tuple(dict.fromkeys(ws.spec.gates))
    turn.move(State.VALIDATING, "validating", unverified=len(names))
    if names:
        turn.send(f"run:{ws.run_id}", m.NeedGates(ws.address, names, ws.id))
    return True


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
    if ending == "failed":
        severity = "critical" if ws.spec.critical else None
        turn.move(State.FAILED, "failed", severity=severity, **said)
        _tell_end(turn, Standing.FAILED)
        return
    if ending == "skipped":
        turn.move(State.SKIPPED, "skipped", **said)
    else:
        turn.move(State.CANCELLED, "cancelled", **said)
    if ws.as_done:
        _tell_end(turn, Standing.DONE)
    else:
        _tell_end(turn, Standing.FAILED if ws.through_failure else Standing.WITHDRAWN)


def _tell_end(turn: WorkstreamTurn, standing: Standing) -> None:
    ws = turn.value
    if ws.paused:
        turn.send(DISPATCH, m.HoldRun(ws.run_id, False, ws.spec.name), control=True)
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
        # What is no verdict leaves it VALIDATING, with the reason, until the gate is rerun.
        passing = stands in {Standing.DONE, Standing.WAITING}
        turn.change(unverified=left, reason=None if passing else message.reason)


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
            _hold_clocks(turn, run_paused=message.held)


def _begin(turn: WorkstreamTurn) -> None:
    """Its tasks are there: whatever was asked for before reaches them now."""
    ws = turn.value
    if ws.begun:
        return
    turn.change(begun=True)
    if ws.paused or ws.run_paused:
        turn.reach(m.ClockHeld(held=True))
    if ws.ending is not None:
        turn.reach(_closing(turn, ws.reason))
    elif ws.spec.skip:
        _end_as(turn, "skipped", "skipped by the plan", as_done=True)


def _end_blocked(turn: WorkstreamTurn) -> None:
    ws = turn.value
    if ws.ending is not None:
        return
    if ws.state is State.BLOCKED and ws.after.standing in _DOOMED:
        failure = ws.after.standing is Standing.FAILED
        _end_as(turn, "skipped", ws.after.root(), through_failure=failure)
    elif ws.stuck or ws.state is State.BLOCKED:
        turn.reach(m.EndBlocked())
    # Else it moves again, or waits for one that was told the same.


def _hold_clocks(turn: WorkstreamTurn, **flags: bool) -> None:
    was_still = turn.value.paused or turn.value.run_paused
    turn.change(**flags)
    still = turn.value.paused or turn.value.run_paused
    if still is not was_still and turn.value.begun:
        turn.reach(m.ClockHeld(still))


def _hold(turn: WorkstreamTurn) -> None:
    ws = turn.value
    turn.send(DISPATCH, m.HoldRun(ws.run_id, ws.paused, ws.spec.name), control=True)


# --- the operator's hand -------------------------------------------------------------------------


def _hand(turn: WorkstreamTurn, message: Hand) -> None:
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
    if answer is not None:
        turn.effects.append(Reply(answer))


def _note(turn: WorkstreamTurn, event: str, message: m.Pause | m.Resume | m.Unblock) -> None:
    turn.effects.append(Note(event, "info", message.reason, None, message.operator))


def _cancel(turn: WorkstreamTurn, message: m.Cancel) -> Answer:
    ws = turn.value
    if ws.ending is not None:
        return m.Accepted(f"is ending already, as {ws.ending}", ws.id)
    failure = message.through_failure
    _end_as(turn, "cancelled", message.reason, operator=message.operator, through_failure=failure)
    return m.Accepted("cancelled, once its tasks have ended", ws.id)


def _pause(turn: WorkstreamTurn, message: m.Pause | m.Resume) -> Answer:
    ws, paused = turn.value, isinstance(message, m.Pause)
    if ws.paused is paused:
        return m.Accepted("is paused already" if paused else "is not paused", ws.id)
    _hold_clocks(turn, paused=paused)
    _hold(turn)
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
    _end_as(turn, "skipped", message.reason, operator=message.operator, as_done=True)
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
