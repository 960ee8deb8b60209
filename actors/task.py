"""A task: waits, queues for a worker, runs, is judged, and tries again while it may.

    PENDING ──met──> QUEUED ──assigned──> RUNNING ──> VALIDATING ──> COMPLETED
       ↕ cause          ^                    └──┬────────┘
    BLOCKED             └──backoff── RETRYING <─┴──> FAILED      (CANCELLED from anywhere)

Invariants:
1. A lease is there exactly while RUNNING, and RUNNING is left only by the `WorkFinished` of that
   lease: its processes are dead by then. A cancel or a timeout before is a request (`ending`).
2. Every lease is given back once, when RUNNING is left or by `ReturnAssignment`.
3. `retry_count` counts what the work itself did wrong; what infrastructure did is `losses`.
4. Whoever waits for it hears of every change that matters to them, with what it was before.
5. A task that was retried hands on what comes for it: `<id>~2` stands for it, dependents and all.

Deliberately absent: which slot (the dispatcher's), and what becomes of the workstream.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from actors import guard_messages as guard
from actors import messages as m
from actors import task_hand as hand
from actors import task_moves as moves
from actors import task_override, waits
from actors import task_rules as rules
from actors import task_tool as tools
from actors import task_work as work
from actors.effects import Note, Send
from actors.machine import Decision
from actors.messages import Standing
from actors.task_state import (
    CHART,
    EDGES,
    State,
    Task,
    TaskMetadata,
    TaskTurn,
    Waiting,
    create,
)

__all__ = ["CHART", "EDGES", "Inbox", "State", "Task", "TaskMetadata", "create", "decide"]

Above: TypeAlias = m.Begin | m.Cancel | m.EndBlocked | m.ClockHeld
Kernel: TypeAlias = m.TimerFired | m.Reach | m.Recovered | m.Announce
Inbox: TypeAlias = Waiting | m.GateVerdict | work.Work | hand.Hand | Above | Kernel


def decide(task: Task, message: Inbox, now: float) -> Decision[Task]:
    """One turn. Read by message: most mean one thing in the states that they can meet. What every
    task hears comes first: a case that does not match costs a tenth of a microsecond."""
    turn = TaskTurn(CHART, task, now)
    match message:
        case m.Assigned() | m.WorkFinished():
            work.work(turn, message)
        case m.DependencyEnded() | m.DependencyBlocked() | m.DependencyReplaced():
            _dependency(turn, message)
        case m.Begin() | m.Cancel() | m.EndBlocked() | m.ClockHeld():
            _above(turn, message)
        case guard.Ticket() | guard.Refusal() | m.AssignmentRefused() | m.GatesMade():
            work.work(turn, message)
        case m.GateVerdict():
            _verdict(turn, message)
        case m.TimerFired():
            _timer(turn, message.key)
        case m.Reach():
            assert isinstance(message.order, Waiting)
            turn.tell(message.order, message.index)
        case m.Recovered() | m.Announce():
            _announce(turn, message)
        case m.Pause() | m.Resume() | m.Unblock() | m.RetryTask() | m.Skip() | m.Override():
            hand.hand(turn, message)
    return turn.decision()


# --- what it waits for --------------------------------------------------------------------------


def _dependency(turn: TaskTurn, message: Waiting) -> None:
    task = turn.value
    if task.replaced_by is not None:
        return turn.send(f"task:{task.replaced_by}", message)
    if isinstance(message, m.DependencyReplaced):
        after = waits.replaced(task.after, message.old, message.new, message.was)
    else:
        source = message.source
        after = waits.moved(task.after, source, message.was, message.standing, message.reason)
    return _advance(turn, after=after)


def _verdict(turn: TaskTurn, message: m.GateVerdict) -> None:
    task = turn.value
    if message.ticket is not None:
        if message.ticket == task.ticket and task.state is State.VALIDATING:
            work.judged(turn, message)
        return None  # else of a validation that is over
    if task.replaced_by is not None:
        return turn.send(f"task:{task.replaced_by}", message)
    gates = waits.judged(task.gates, message)
    if task.state is State.QUEUED and message.standing not in {Standing.DONE, Standing.WAITING}:
        moves.leave_queue(turn)
        turn.change(gates=gates)
        return moves.block(turn, "gate_failed")
    return _advance(turn, gates=gates)


def _advance(turn: TaskTurn, **changes: Any) -> None:
    """After what it waits for has moved. A task that was admitted goes on; one that has ended
    counts on, for a retry of it begins with these counts."""
    before = turn.value
    if before.closed:
        return
    turn.change(**changes)
    if before.state is State.PENDING:
        moves.start(turn)
    elif before.state is State.BLOCKED:
        moves.reconsider(turn)


# --- its workstream ------------------------------------------------------------------------------


def _above(turn: TaskTurn, message: Above) -> None:
    task = turn.value
    if task.replaced_by is not None:
        by_hand = isinstance(message, m.Cancel)
        turn.effects.append(Send(f"task:{task.replaced_by}", message, by_hand, by_hand))
        return
    match message:
        case m.Begin():
            if not task.begun and not task.closed:
                turn.change(begun=True)
                if task.state is State.PENDING:
                    moves.start(turn)
        case m.Cancel():
            _cancel(turn, message)
        case m.EndBlocked():
            if task.state is State.BLOCKED:
                moves.end_blocked(turn)
        case m.ClockHeld():
            moves.hold_clocks(turn, held=message.held)


def _cancel(turn: TaskTurn, message: m.Cancel) -> None:
    task = turn.value
    if task.completed_at is not None:
        return hand.refuse(turn, f"{task.id} is {task.state} already")
    if task.ending == "cancelled":
        if message.closing:
            turn.change(closed=True)
        return hand.accept(turn, "is being cancelled already")
    turn.change(
        through_failure=message.through_failure,
        as_done=message.as_done,
        closed=message.closing,
        operator=message.operator,
    )
    if task.state is not State.RUNNING:
        moves.end(
            turn, State.CANCELLED, "task_cancelled", message.reason, operator=message.operator
        )
        return hand.accept(turn, "cancelled")
    # Only a request: the slot stays taken until every process of the work is proven dead.
    turn.change(ending="cancelled", reason=message.reason)
    turn.effects.append(
        Note("task_cancel_requested", "warning", message.reason, None, message.operator)
    )
    if task.ending is None:
        _end_work(turn, "cancelled")
    return hand.accept(turn, "is being cancelled")


def _end_work(turn: TaskTurn, reason: str) -> None:
    task = turn.value
    assert task.uet is not None
    assert task.lease is not None
    turn.send(task.uet, m.EndWork(task.lease, reason), control=True)


# --- time ---------------------------------------------------------------------------------------


def _timer(turn: TaskTurn, key: str) -> None:
    state = turn.value.state
    if key == "backoff" and state is State.RETRYING:
        moves.queue(turn, "retry_queued")
    elif key == "execution" and state is State.RUNNING and turn.value.ending is None:
        turn.change(ending="timeout")
        _end_work(turn, "timeout")
    elif key == "queue" and state is State.QUEUED:
        reason = rules.timeout(turn.value.spec.task.queue_timeout_s, "queue ")
        moves.end(turn, State.FAILED, "task_failed", reason, timeout=True)
    elif key == "total":
        _total_timeout(turn)
    # Else the state that set it is over.


def _total_timeout(turn: TaskTurn) -> None:
    task = turn.value
    reason = rules.timeout(task.spec.task.total_timeout_s, "total ")
    match task.state:
        case State.PENDING | State.BLOCKED:
            turn.change(through_failure=True)
            moves.end(turn, State.CANCELLED, "task_cancelled", reason, timeout=True)
        case State.QUEUED | State.RETRYING:
            moves.end(turn, State.FAILED, "task_failed", reason, timeout=True)
        case State.VALIDATING:
            moves.end(turn, State.FAILED, "validation_failed", reason, timeout=True)
        case State.RUNNING:
            if task.ending is None:
                _end_work(turn, "timeout")
            if task.ending not in {"cancelled", task_override.ENDING}:
                turn.change(ending="total timeout")
        case State.COMPLETED | State.FAILED | State.CANCELLED:
            pass  # the kernel drops the timers of what has ended


def _announce(turn: TaskTurn, message: m.Recovered | m.Announce) -> None:
    task = turn.value
    key = task.spec.task.concurrency_key
    waiting = tools.announce(turn, new_owner=isinstance(message, m.Recovered))
    if task.state is State.QUEUED and not task.paused and not waiting:
        moves.enqueue(turn)
    elif task.state is State.RUNNING or waiting:
        if key is not None:
            turn.send(moves.DISPATCH, m.KeyTaken(task.address, task.run_id, key))
        if isinstance(message, m.Recovered) and not waiting:
            work.limit_execution(turn)
