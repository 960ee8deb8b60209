"""The work of a task: its assignment, the end of its execution, and the verdicts on it.

The machine itself, its diagram and its invariants are in `actors.task`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from actors import guard_messages as guard
from actors import messages as m
from actors import pacing, task_override
from actors import task_moves as moves
from actors import task_rules as rules
from actors import task_tool as tools
from actors.effects import CancelTimer, Note, SetTimer
from actors.messages import Outcome, Standing
from actors.override import Wanted
from actors.task_state import State, Task, TaskTurn

# A task whose executions are lost this often in a row is what kills its workers.
LOSSES_MAX = 5

Work: TypeAlias = tools.Answer | m.Assigned | m.AssignmentRefused | m.WorkFinished | m.GatesMade


def work(turn: TaskTurn, message: Work) -> None:
    task = turn.value
    match message:
        case m.Assigned() if task.state is State.QUEUED and not task.paused:
            if task.spec.breaker is None:
                _begin(turn, message)
            else:
                tools.ask(turn, message)
        case m.WorkFinished() if message.lease == task.lease:
            _finished(turn, message.outcome)
        case guard.Ticket() | guard.Refusal():
            offered = tools.accepts(turn, message)
            if offered is not None:
                _begin(turn, offered)
        case m.Assigned():
            turn.send(message.worker, m.ReturnAssignment(message.lease))
            _give_up_grant(turn)
        case m.WorkFinished():
            reason = f"a result of lease {message.lease}, which is not the present one"
            turn.effects.append(Note("result_refused", "warning", reason, message.outcome))
        case m.AssignmentRefused() if _is_waiting(task):
            moves.enqueue(turn)
        case m.AssignmentRefused():
            pass  # when it left QUEUED, or was paused, the dispatcher was told
        case m.GatesMade() if message.ticket == task.ticket and task.completed_at is None:
            turn.change(judges=message.gates)
        case m.GatesMade():
            moves.dismiss(turn, message.gates)  # its validation was over before they were there


def _give_up_grant(turn: TaskTurn) -> None:
    """What an index that was built anew granted to a task that had moved on already: its key and
    its tool would stay taken. While it is RUNNING they are its own, and its end frees them."""
    task = turn.value
    limited = task.spec.task.concurrency_key is not None or task.spec.breaker is not None
    if limited and task.state not in {State.QUEUED, State.RUNNING}:
        turn.send(moves.DISPATCH, m.Dequeue(task.address))


def _is_waiting(task: Task) -> bool:
    return task.state is State.QUEUED and not task.paused and task.offered is None


def _begin(turn: TaskTurn, message: m.Assigned) -> None:
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
    attempt, failure = task.attempt + 1, task.failure
    turn.send(message.uet, rules.execute(task.spec, task.id, message.lease, attempt, failure))
    limit_execution(turn)
    if spec.heartbeat_timeout_s is not None:
        turn.send(message.worker, m.HeartbeatLimit(message.lease, spec.heartbeat_timeout_s))


def limit_execution(turn: TaskTurn) -> None:
    """Volatile: an execution does not outlive its owner."""
    timeout_s = turn.value.spec.task.timeout_s
    if timeout_s is not None:
        due = turn.value.since + timeout_s
        turn.effects.append(SetTimer("execution", due, volatile=True))


def _finished(turn: TaskTurn, outcome: Outcome) -> None:
    """Leaves RUNNING: the only way out of it."""
    task, spec = turn.value, turn.value.spec.task
    assert task.lease is not None
    turn.confinement = outcome.confinement
    timeout = task.ending in {"timeout", "total timeout"}
    looping = task.admitted is not None and tools.settle(turn, outcome)
    if outcome.alive:
        turn.change(exit_code=outcome.exit_code)
        moves.end(turn, State.FAILED, "task_failed", "undead", timeout=timeout, severity="critical")
    elif task.ending == "cancelled":
        turn.change(exit_code=outcome.exit_code)
        moves.end(turn, State.CANCELLED, "task_cancelled", task.reason, operator=task.operator)
    elif task.wanted is not None and task.ending == task_override.ENDING:
        _overridden(turn, outcome, task.wanted)
    elif task.ending == "total timeout":
        reason = rules.timeout(spec.total_timeout_s, "total ")
        _failed(turn, outcome, reason, retry=False, timeout=True)
    else:
        _ended(turn, outcome, looping=looping)
    if task.spec.budgeted:
        attempt = not outcome.infrastructure and outcome.retry_after_s is None
        seconds = 0.0 if outcome.error == m.OWNER_RESTARTED else round(turn.now - task.since, 6)
        turn.send(f"run:{task.run_id}", m.WorkSpent(task.address, task.lease, attempt, seconds))
    turn.send(f"worker:{task.worker_id}", m.LeaseEnded(task.lease, undead=outcome.alive))
    if spec.concurrency_key is not None:
        turn.send(moves.DISPATCH, m.KeyFree(task.run_id, spec.concurrency_key))
    if spec.timeout_s is not None and turn.value.completed_at is None:
        turn.effects.append(CancelTimer("execution"))


def _ended(turn: TaskTurn, outcome: Outcome, *, looping: bool) -> None:
    """The work ended by itself, or by its own timeout."""
    task, spec = turn.value, turn.value.spec.task
    if rules.succeeded(task.spec, outcome):
        _executed(turn, outcome)
    elif looping:
        _failed(turn, outcome, tools.LOOP, retry=False, timeout=task.ending == "timeout")
    elif task.ending == "timeout":
        _failed(turn, outcome, rules.timeout(spec.timeout_s), retry=True, timeout=True)
    elif outcome.infrastructure:
        _lost(turn, outcome)
    elif tools.rate_limited(task, outcome):
        _told_to_wait(turn, outcome)
    else:
        _failed(turn, outcome, outcome.why(), retry=rules.may_retry(spec, outcome))


def _overridden(turn: TaskTurn, outcome: Outcome, wanted: Wanted) -> None:
    if wanted.target == State.VALIDATING:
        turn.change(wanted=None, ending=None)
        return _executed(turn, outcome, reason=wanted.reason, operator=wanted.operator)
    turn.change(exit_code=outcome.exit_code)
    return task_override.follow(turn, wanted)


def _failed(
    turn: TaskTurn, outcome: Outcome, reason: str, *, retry: bool, timeout: bool = False
) -> None:
    task = turn.value
    turn.change(exit_code=outcome.exit_code, losses=0)
    if retry and task.retry_count < task.max_retries:
        moves.retry(turn, reason, timeout=timeout)
    else:
        moves.end(turn, State.FAILED, "task_failed", reason, timeout=timeout)


def _told_to_wait(turn: TaskTurn, outcome: Outcome) -> None:
    """Its tool wants to be left alone for a while: no attempt is burned. The breaker keeps it back
    for as long; by itself it waits no longer than between other attempts, so that whoever closes
    the breaker, or has disabled it, need not look for the tasks."""
    assert outcome.retry_after_s is not None
    told_s = pacing.told_wait(outcome.retry_after_s)
    turn.change(exit_code=outcome.exit_code, losses=0)
    reason = f"rate limited: its tool asked for {told_s:g} s"
    moves.wait(turn, reason, min(told_s, turn.value.spec.task.backoff_s_max))


def _lost(turn: TaskTurn, outcome: Outcome) -> None:
    """No fault of the work, so no attempt is burned; the owner's own end, and what a person did to
    its worker, do not even count."""
    task = turn.value
    if outcome.error == m.OWNER_RESTARTED or outcome.by_hand:
        return moves.wait(turn, outcome.why(), 0.0)
    losses = task.losses + 1
    turn.change(losses=losses, exit_code=outcome.exit_code)
    if losses < LOSSES_MAX:
        wait_s = rules.retry_wait(task.spec.task, task.id, losses)
        return moves.wait(turn, outcome.why(), wait_s)
    reason = "poison" if outcome.reason == "lost" else "infrastructure"
    return moves.end(turn, State.FAILED, "task_failed", reason)


def _executed(turn: TaskTurn, outcome: Outcome, **said: Any) -> None:
    task = turn.value
    changes = dict(moves.NO_LEASE, exit_code=outcome.exit_code)
    if task.losses:
        changes["losses"] = 0
    names = tuple(dict.fromkeys(task.spec.task.validate))
    if names:
        assert task.lease is not None
        changes |= {"unverified": len(names), "withheld": 0, "ticket": task.lease}
        turn.send(f"run:{task.run_id}", m.NeedGates(task.address, names, task.lease))
    turn.move(State.VALIDATING, "execution_complete", **changes, **said)
    moves.accept_work(turn)


_NO_VERDICT = frozenset({Standing.STALLED, Standing.WITHDRAWN})


def judged(turn: TaskTurn, message: m.GateVerdict) -> None:
    task = turn.value
    if message.standing is Standing.FAILED:
        return _invalid(turn, f"validation failed: {message.reason or message.name}")
    was, stands = message.was, message.standing
    left = task.unverified + (was is Standing.DONE) - (stands is Standing.DONE)
    withheld = task.withheld + (stands in _NO_VERDICT) - (was in _NO_VERDICT)
    # What is no verdict on the work leaves it VALIDATING, with the reason, until the gate is rerun.
    reason = message.reason if stands in _NO_VERDICT else task.reason if withheld else None
    turn.change(unverified=left, withheld=withheld, reason=reason)
    turn.stall(stalled=0 < left == withheld)
    return moves.accept_work(turn)


def _invalid(turn: TaskTurn, reason: str) -> None:
    moves.dismiss(turn, turn.value.judges)
    turn.change(judges=(), ticket=None)
    if tools.repeated(turn, reason):
        tools.blame(turn)
        moves.end(turn, State.FAILED, "validation_failed", tools.LOOP)
    elif turn.value.retry_count < turn.value.max_retries:
        moves.retry(turn, reason)
    else:
        moves.end(turn, State.FAILED, "validation_failed", reason)
