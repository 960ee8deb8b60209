"""The moves of a task that several messages lead to: into the queue, into BLOCKED, to its end."""

from __future__ import annotations

from typing import Any

from actors import messages as m
from actors import task_rules as rules
from actors import task_tool as tools
from actors import waits
from actors.effects import CancelTimer, SetTimer
from actors.messages import Standing
from actors.task_state import State, Task, TaskTurn

DISPATCH = "dispatch:main"
NO_LEASE: dict[str, Any] = {"worker_id": None, "lease": None}
# A timer's key, and the field that holds its due time.
_CLOCKS = {"queue": "queue_due", "total": "total_due"}


def start(turn: TaskTurn) -> None:
    """PENDING: queues once its workstream has begun, its dependencies are done and its gates have
    passed. A gate runs only for work that could start but for it."""
    task = turn.value
    if task.blocked:
        block(turn, "dependency_failed")
        return
    if not task.begun or task.paused or task.after.open:
        return
    if not task.gates.open:
        queue(turn, "dependencies_met")
        turn.send(task.workstream, m.TaskQueued(task.address))
    elif not task.asked:
        turn.change(asked=True)
        for gate in task.spec.gates:
            turn.send(gate, m.GateNeeded(task.address))


def queue(turn: TaskTurn, trigger: str, **said: Any) -> None:
    """To QUEUED; each entry has its own queue timeout, the first one starts the total one."""
    spec = turn.value.spec.task
    turn.move(State.QUEUED, trigger, **said)
    if spec.queue_timeout_s is not None:
        set_clock(turn, "queue", spec.queue_timeout_s)
    if spec.total_timeout_s is not None and turn.value.total_due is None:
        set_clock(turn, "total", spec.total_timeout_s)
    if not turn.value.paused:
        enqueue(turn)


def enqueue(turn: TaskTurn) -> None:
    task = turn.value
    turn.send(DISPATCH, rules.enqueue(task.spec, task.id, task.since))


def leave_queue(turn: TaskTurn) -> None:
    """Before QUEUED is left otherwise than by an assignment."""
    if turn.value.state is State.QUEUED:
        turn.send(DISPATCH, m.Dequeue(turn.value.address))
        tools.give_back(turn)
        stop_queue_clock(turn)


def block(turn: TaskTurn, trigger: str, operator: str | None = None) -> None:
    """To BLOCKED, with the root cause as the reason."""
    worst = waits.worst(turn.value.after, turn.value.gates)
    reason = worst.root()
    turn.move(State.BLOCKED, trigger, reason=reason, operator=operator)
    address = turn.value.address
    turn.send(turn.value.workstream, m.TaskBlocked(address, blocked=True))
    turn.tell(m.DependencyBlocked(address, Standing.STALLED, Standing.WAITING, reason))


def reconsider(turn: TaskTurn, operator: str | None = None) -> None:
    """BLOCKED: free to go, or still blocked, perhaps for another cause."""
    worst = waits.worst(turn.value.after, turn.value.gates)
    if worst.blocked:
        if worst.root() != turn.value.reason:
            turn.change(reason=worst.root())
        if turn.value.doomed:
            end_blocked(turn)
        return
    turn.move(State.PENDING, "dependency_recovered", operator=operator, doomed=False)
    address = turn.value.address
    turn.send(turn.value.workstream, m.TaskBlocked(address, blocked=False))
    turn.tell(m.DependencyBlocked(address, Standing.WAITING, Standing.STALLED))
    start(turn)


def end_blocked(turn: TaskTurn) -> None:
    """BLOCKED, and nothing but an operator could move it: ends where the cause is certain. What is
    only stalled waits, and is remembered."""
    worst = waits.worst(turn.value.after, turn.value.gates)
    if worst.standing is Standing.STALLED:
        turn.change(doomed=True)
        return
    turn.change(through_failure=worst.standing is Standing.FAILED)
    end(turn, State.CANCELLED, "task_cancelled", worst.root())


def retry(turn: TaskTurn, reason: str, *, timeout: bool = False) -> None:
    """To RETRYING for a fault of the work: burns an attempt."""
    count = turn.value.retry_count + 1
    wait_s = rules.retry_wait(turn.value.spec.task, turn.value.id, count)
    wait(turn, reason, wait_s, timeout=timeout, retry_count=count, failure=reason)


def wait(turn: TaskTurn, reason: str, wait_s: float, **changes: Any) -> None:
    """To RETRYING for `wait_s`."""
    turn.move(State.RETRYING, "retry_scheduled", reason=reason, ending=None, **NO_LEASE, **changes)
    turn.effects.append(SetTimer("backoff", turn.now + wait_s))


def accept_work(turn: TaskTurn) -> None:
    """VALIDATING: COMPLETED once every gate of it has passed, and nothing withholds the landing."""
    task = turn.value
    if task.state is State.VALIDATING and not task.unverified and not task.paused:
        end(turn, State.COMPLETED, "validation_passed")


def dismiss(turn: TaskTurn, gates: tuple[str, ...]) -> None:
    """Gates whose verdict nobody waits for any more."""
    for gate in gates:
        turn.send(gate, m.Cancel("what it judges is over"), control=True)


def end(
    turn: TaskTurn, target: State, trigger: str, reason: str | None = None, **said: Any
) -> None:
    """To a terminal state; the workstream and all who wait hear of it. `reason` stays the root
    cause where that ends a BLOCKED task."""
    before = turn.value
    if before.judges and target is not State.COMPLETED:
        dismiss(turn, before.judges)
    leave_queue(turn)
    if before.lease is not None:
        said |= NO_LEASE
    turn.move(target, trigger, reason=reason, **said)
    task = turn.value
    blocked = before.state is State.BLOCKED
    ended = (target, task.spec.task.critical, task.through_failure, blocked, reason)
    turn.send(task.workstream, m.TaskEnded(task.address, *ended))
    if not task.spec.dependents:
        return
    stands = standing(task)
    if stands is not Standing.DONE:
        through_another = blocked and reason == before.reason
        reason = reason if through_another else f"{task.id} {target}: {reason or 'by hand'}"
    turn.tell(m.DependencyEnded(task.address, target, stands, standing(before), reason))


def standing(task: Task) -> Standing:
    """How the task stands to those who wait for it."""
    match task.state:
        case State.COMPLETED:
            return Standing.DONE
        case State.FAILED:
            return Standing.FAILED
        case State.CANCELLED:
            if task.as_done:
                return Standing.DONE
            return Standing.FAILED if task.through_failure else Standing.WITHDRAWN
        case State.BLOCKED:
            return Standing.STALLED  # an operator may still free it
        case State.PENDING | State.QUEUED | State.RUNNING | State.VALIDATING | State.RETRYING:
            return Standing.WAITING


# --- clocks that stand still while paused ---------------------------------------------------------


def set_clock(turn: TaskTurn, key: str, seconds: float) -> None:
    """Starts a clock; while the task's clocks stand still, what is kept is the seconds left."""
    if turn.value.paused or turn.value.held:
        turn.change(**{_CLOCKS[key]: seconds})
    else:
        turn.change(**{_CLOCKS[key]: turn.now + seconds})
        turn.effects.append(SetTimer(key, turn.now + seconds))


def stop_queue_clock(turn: TaskTurn) -> None:
    if turn.value.queue_due is not None:
        turn.effects.append(CancelTimer("queue"))
        turn.change(queue_due=None)


def hold_clocks(turn: TaskTurn, **flags: bool) -> None:
    """Sets `paused` or `held`; the clocks stand still while either is set."""
    was_still = turn.value.paused or turn.value.held
    turn.change(**flags)
    still = turn.value.paused or turn.value.held
    if still == was_still or turn.value.completed_at is not None:
        return
    for key, field in _CLOCKS.items():
        at: float | None = getattr(turn.value, field)
        if at is None:
            continue
        if still:
            turn.change(**{field: max(0.0, at - turn.now)})
            turn.effects.append(CancelTimer(key))
        else:
            set_clock(turn, key, at)
