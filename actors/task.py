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

from msgspec.structs import replace

from actors import messages as m
from actors import task_moves as moves
from actors import task_rules as rules
from actors import waits
from actors.effects import CancelTimer, Note, Reply, Send, SetTimer, Spawn
from actors.machine import Decision
from actors.messages import Outcome, Standing
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

# A task whose executions are lost this often in a row is what kills its workers.
LOSSES_MAX = 5

Work: TypeAlias = m.Assigned | m.AssignmentRefused | m.WorkFinished | m.GatesMade
Hand: TypeAlias = m.Pause | m.Resume | m.Unblock | m.RetryTask | m.Skip
Above: TypeAlias = m.Begin | m.Cancel | m.EndBlocked | m.ClockHeld
Kernel: TypeAlias = m.TimerFired | m.Reach | m.Recovered | m.Announce
Inbox: TypeAlias = Waiting | m.GateVerdict | Work | Hand | Above | Kernel


def decide(task: Task, message: Inbox, now: float) -> Decision[Task]:
    """One turn. Read by message: most mean one thing in the states that they can meet."""
    turn = TaskTurn(CHART, task, now)
    match message:
        case m.WorkFinished() | m.Assigned() | m.AssignmentRefused() | m.GatesMade():
            _work(turn, message)
        case m.Begin() | m.Cancel() | m.EndBlocked() | m.ClockHeld():
            _above(turn, message)
        case m.DependencyEnded() | m.DependencyBlocked() | m.DependencyReplaced():
            _dependency(turn, message)
        case m.GateVerdict():
            _verdict(turn, message)
        case m.TimerFired():
            _timer(turn, message.key)
        case m.Reach():
            assert isinstance(message.order, Waiting)
            turn.tell(message.order, message.index)
        case m.Recovered() | m.Announce():
            _announce(turn, message)
        case m.Pause() | m.Resume() | m.Unblock() | m.RetryTask() | m.Skip():
            _hand(turn, message)
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
            _judged(turn, message)
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


# --- its work -----------------------------------------------------------------------------------


def _work(turn: TaskTurn, message: Work) -> None:
    task = turn.value
    match message:
        case m.Assigned() if task.state is State.QUEUED and not task.paused:
            _assigned(turn, message)
        case m.Assigned():
            turn.send(message.worker, m.ReturnAssignment(message.lease))
        case m.WorkFinished() if message.lease == task.lease:
            _finished(turn, message.outcome)
        case m.WorkFinished():
            reason = f"a result of lease {message.lease}, which is not the present one"
            turn.effects.append(Note("result_refused", "warning", reason, message.outcome))
        case m.AssignmentRefused() if task.state is State.QUEUED and not task.paused:
            moves.enqueue(turn)
        case m.AssignmentRefused():
            pass  # when it left QUEUED, or was paused, the dispatcher was told
        case m.GatesMade() if message.ticket == task.ticket and task.completed_at is None:
            turn.change(judges=message.gates)
        case m.GatesMade():
            moves.dismiss(turn, message.gates)  # its validation was over before they were there


def _assigned(turn: TaskTurn, message: m.Assigned) -> None:
    task, spec = turn.value, turn.value.spec.task
    moves.stop_queue_clock(turn)
    turn.move(
        State.RUNNING,
        "worker_assigned",
        worker_id=message.worker.removeprefix("worker:"),
        lease=message.lease,
        uet=message.uet,
        attempt=task.attempt + 1,
        exit_code=None,
        started_at=turn.now if task.started_at is None else task.started_at,
    )
    turn.send(message.uet, rules.execute(task.spec, task.id, message.lease, task.attempt + 1))
    _limit_execution(turn)
    if spec.heartbeat_timeout_s is not None:
        turn.send(message.worker, m.HeartbeatLimit(message.lease, spec.heartbeat_timeout_s))


def _limit_execution(turn: TaskTurn) -> None:
    """Volatile: an execution does not outlive its owner."""
    timeout_s = turn.value.spec.task.timeout_s
    if timeout_s is not None:
        due = turn.value.since + timeout_s
        turn.effects.append(SetTimer("execution", due, volatile=True))


def _finished(turn: TaskTurn, outcome: Outcome) -> None:
    """Leaves RUNNING: the only way out of it."""
    task, spec = turn.value, turn.value.spec.task
    assert task.lease is not None
    timeout = task.ending in {"timeout", "total timeout"}
    if outcome.alive:
        turn.change(exit_code=outcome.exit_code)
        moves.end(turn, State.FAILED, "task_failed", "undead", timeout=timeout, severity="critical")
    elif task.ending == "cancelled":
        turn.change(exit_code=outcome.exit_code)
        moves.end(turn, State.CANCELLED, "task_cancelled", task.reason, operator=task.operator)
    elif task.ending == "total timeout":
        _failed(turn, outcome, task.ending, retry=False, timeout=True)
    elif rules.succeeded(spec, outcome):
        _executed(turn, outcome)
    elif task.ending == "timeout":
        _failed(turn, outcome, "timeout", retry=True, timeout=True)
    elif outcome.infrastructure:
        _lost(turn, outcome)
    else:
        _failed(turn, outcome, outcome.why(), retry=rules.may_retry(spec, outcome))
    turn.send(f"worker:{task.worker_id}", m.LeaseEnded(task.lease, undead=outcome.alive))
    if spec.concurrency_key is not None:
        turn.send(moves.DISPATCH, m.KeyFree(task.run_id, spec.concurrency_key))
    if spec.timeout_s is not None and turn.value.completed_at is None:
        turn.effects.append(CancelTimer("execution"))


def _failed(
    turn: TaskTurn, outcome: Outcome, reason: str, *, retry: bool, timeout: bool = False
) -> None:
    task = turn.value
    turn.change(exit_code=outcome.exit_code, losses=0)
    if retry and task.retry_count < task.max_retries:
        moves.retry(turn, reason, timeout=timeout)
    else:
        moves.end(turn, State.FAILED, "task_failed", reason, timeout=timeout)


def _lost(turn: TaskTurn, outcome: Outcome) -> None:
    """No fault of the work, so no attempt is burned; the owner's own end does not even count."""
    task = turn.value
    if outcome.error == m.OWNER_RESTARTED:
        return moves.wait(turn, m.OWNER_RESTARTED, 0.0)
    losses = task.losses + 1
    turn.change(losses=losses, exit_code=outcome.exit_code)
    if losses < LOSSES_MAX:
        wait_s = rules.retry_wait(task.spec.task, task.id, losses)
        return moves.wait(turn, outcome.why(), wait_s)
    reason = "poison" if outcome.reason == "lost" else "infrastructure"
    return moves.end(turn, State.FAILED, "task_failed", reason)


def _executed(turn: TaskTurn, outcome: Outcome) -> None:
    task = turn.value
    changes = dict(moves.NO_LEASE, exit_code=outcome.exit_code)
    if task.losses:
        changes["losses"] = 0
    names = tuple(dict.fromkeys(task.spec.task.validate))
    if names:
        assert task.lease is not None
        changes |= {"unverified": len(names), "ticket": task.lease}
        turn.send(f"run:{task.run_id}", m.NeedGates(task.address, names, task.lease))
    turn.move(State.VALIDATING, "execution_complete", **changes)
    moves.accept_work(turn)


def _judged(turn: TaskTurn, message: m.GateVerdict) -> None:
    task = turn.value
    if message.standing is Standing.FAILED:
        return _invalid(turn, f"validation failed: {message.reason or message.name}")
    left = task.unverified + (message.was is Standing.DONE) - (message.standing is Standing.DONE)
    # What is no verdict on the work leaves it VALIDATING, with the reason, until the gate is rerun.
    passing = message.standing in {Standing.DONE, Standing.WAITING}
    turn.change(unverified=left, reason=None if passing else message.reason)
    return moves.accept_work(turn)


def _invalid(turn: TaskTurn, reason: str) -> None:
    moves.dismiss(turn, turn.value.judges)
    turn.change(judges=(), ticket=None)
    if turn.value.retry_count < turn.value.max_retries:
        moves.retry(turn, reason)
    else:
        moves.end(turn, State.FAILED, "validation_failed", reason)


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
        return _refuse(turn, f"{task.id} is {task.state} already")
    if task.ending == "cancelled":
        if message.closing:
            turn.change(closed=True)
        return _accept(turn, "is being cancelled already")
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
        return _accept(turn, "cancelled")
    # Only a request: the slot stays taken until every process of the work is proven dead.
    turn.change(ending="cancelled", reason=message.reason)
    turn.effects.append(
        Note("task_cancel_requested", "warning", message.reason, None, message.operator)
    )
    if task.ending is None:
        _end_work(turn, "cancelled")
    return _accept(turn, "is being cancelled")


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
        moves.end(turn, State.FAILED, "task_failed", "queue timeout", timeout=True)
    elif key == "total":
        _total_timeout(turn)
    # Else the state that set it is over.


def _total_timeout(turn: TaskTurn) -> None:
    task, reason = turn.value, "total timeout"
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
            if task.ending != "cancelled":
                turn.change(ending=reason)
        case State.COMPLETED | State.FAILED | State.CANCELLED:
            pass  # the kernel drops the timers of what has ended


def _announce(turn: TaskTurn, message: m.Recovered | m.Announce) -> None:
    task = turn.value
    key = task.spec.task.concurrency_key
    if task.state is State.QUEUED and not task.paused:
        moves.enqueue(turn)
    elif task.state is State.RUNNING:
        if key is not None:
            turn.send(moves.DISPATCH, m.KeyTaken(task.address, task.run_id, key))
        if isinstance(message, m.Recovered):
            _limit_execution(turn)


# --- the operator's hand -------------------------------------------------------------------------


def _accept(turn: TaskTurn, text: str) -> None:
    turn.effects.append(Reply(m.Accepted(text, turn.value.id)))


def _refuse(turn: TaskTurn, reason: str) -> None:
    turn.effects.append(Reply(m.Refused(reason)))


def _hand(turn: TaskTurn, message: Hand) -> None:
    task = turn.value
    if isinstance(message, m.RetryTask):
        return _retried(turn, message)
    if isinstance(message, m.Skip):
        return _refuse(turn, "only workstreams are skipped: cancel the task instead")
    if task.replaced_by is not None:
        return _refuse(turn, f"{task.id} was retried: {task.replaced_by} stands for it")
    if task.completed_at is not None:
        return _refuse(turn, f"{task.id} is {task.state} already")
    match message:
        case m.Pause():
            return _pause(turn, message)
        case m.Resume():
            return _resume(turn, message)
        case m.Unblock():
            return _unblock(turn, message)


def _note(turn: TaskTurn, event_type: str, message: m.Pause | m.Resume | m.Unblock) -> None:
    turn.effects.append(Note(event_type, "info", message.reason, None, message.operator))


def _pause(turn: TaskTurn, message: m.Pause) -> None:
    if turn.value.paused:
        return _accept(turn, "is paused already")
    if turn.value.state is State.QUEUED:
        turn.send(moves.DISPATCH, m.Dequeue(turn.value.address))
    moves.hold_clocks(turn, paused=True)
    _note(turn, "task_paused", message)
    running = turn.value.state is State.RUNNING
    return _accept(turn, "finishes what runs, then waits" if running else "paused")


def _resume(turn: TaskTurn, message: m.Resume) -> None:
    if not turn.value.paused:
        return _accept(turn, "is not paused")
    moves.hold_clocks(turn, paused=False)
    _note(turn, "task_resumed", message)
    if turn.value.state is State.PENDING:
        moves.start(turn)
    elif turn.value.state is State.QUEUED:
        moves.enqueue(turn)
    else:
        moves.accept_work(turn)
    return _accept(turn, "resumed")


def _unblock(turn: TaskTurn, message: m.Unblock) -> None:
    before = turn.value
    if before.state is not State.BLOCKED:
        return _refuse(turn, f"{before.id} is {before.state}, not blocked")
    after, waived = waits.waive(before.after, message.names)
    gates, waived_gates = waits.waive(before.gates, message.names)
    waived += waived_gates
    if not waived:
        known = ", ".join(c.source for c in (*before.after.causes, *before.gates.causes))
        return _refuse(turn, f"no cause has that name; {before.id} is blocked by {known}")
    turn.change(after=after, gates=gates)
    _note(turn, "task_unblocked", message)
    moves.reconsider(turn, message.operator)
    return _accept(turn, f"waived {', '.join(waived)}")


def _retried(turn: TaskTurn, message: m.RetryTask) -> None:
    """Makes `<id>~2`, which begins with what this one knows of what it waits for."""
    task = turn.value
    if task.completed_at is None or task.replaced_by is not None or task.closed:
        turn.send(task.workstream, m.TaskRetried(task.address, None))
        if task.completed_at is None:
            return _refuse(turn, f"{task.id} is {task.state}: cancel it first, or wait for its end")
        if task.replaced_by is not None:
            return _refuse(turn, f"{task.id} was retried: {task.replaced_by} stands for it")
        return _refuse(turn, f"{task.id} ended with its workstream: retry the run")
    base, _, n = task.id.partition("~")
    new = replace(
        create(task.spec, turn.now),
        id=f"{base}~{int(n or 1) + 1}",
        retry_of=task.id,
        retry_count=0 if message.clear_retry_count else task.retry_count,
        after=task.after,
        gates=task.gates,
        held=task.held,
    )
    critical = task.spec.task.critical
    noncritical = not critical and (task.state is State.FAILED or task.through_failure)
    turn.change(replaced_by=new.id)
    turn.effects.append(Spawn("task", new))
    turn.effects.append(
        Note("task_retried", "info", message.reason, {"retry": new.id}, message.operator)
    )
    turn.send(task.workstream, m.TaskRetried(task.address, new.address, task.state, noncritical))
    turn.tell(m.DependencyReplaced(task.address, new.address, moves.standing(task)))
    return turn.effects.append(Reply(m.Accepted(f"retried as {new.id}", new.id)))
