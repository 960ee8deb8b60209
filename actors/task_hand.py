"""The operator's hand on a task: pause, resume, unblock, retry.

The machine itself, its diagram and its invariants are in `actors.task`.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec.structs import replace

from actors import messages as m
from actors import task_moves as moves
from actors import task_override, waits
from actors import task_tool as tools
from actors.effects import Note, Reply, Spawn
from actors.task_state import State, TaskTurn, create

Hand: TypeAlias = m.Pause | m.Resume | m.Unblock | m.RetryTask | m.Skip | m.Override


def accept(turn: TaskTurn, text: str) -> None:
    turn.effects.append(Reply(m.Accepted(text, turn.value.id)))


def refuse(turn: TaskTurn, reason: str) -> None:
    turn.effects.append(Reply(m.Refused(reason)))


def hand(turn: TaskTurn, message: Hand) -> None:
    task = turn.value
    if isinstance(message, m.RetryTask):
        return _retried(turn, message)
    if isinstance(message, m.Skip):
        return refuse(turn, "only workstreams are skipped: cancel the task instead")
    if task.replaced_by is not None:
        return refuse(turn, f"{task.id} was retried: {task.replaced_by} stands for it")
    if task.completed_at is not None:
        return refuse(turn, f"{task.id} is {task.state} already")
    match message:
        case m.Pause():
            return _pause(turn, message)
        case m.Resume():
            return _resume(turn, message)
        case m.Unblock():
            return _unblock(turn, message)
        case m.Override():
            return task_override.override(turn, message)


def _note(turn: TaskTurn, event_type: str, message: m.Pause | m.Resume | m.Unblock) -> None:
    turn.effects.append(Note(event_type, "info", message.reason, None, message.operator))


def _pause(turn: TaskTurn, message: m.Pause) -> None:
    if turn.value.paused:
        return accept(turn, "is paused already")
    if turn.value.state is State.QUEUED:
        turn.send(moves.DISPATCH, m.Dequeue(turn.value.address))
        tools.give_back(turn)
    moves.hold_clocks(turn, paused=True)
    _note(turn, "task_paused", message)
    running = turn.value.state is State.RUNNING
    return accept(turn, "finishes what runs, then waits" if running else "paused")


def _resume(turn: TaskTurn, message: m.Resume) -> None:
    if not turn.value.paused:
        return accept(turn, "is not paused")
    moves.hold_clocks(turn, paused=False)
    _note(turn, "task_resumed", message)
    if turn.value.state is State.PENDING:
        moves.start(turn)
    elif turn.value.state is State.QUEUED:
        moves.enqueue(turn)
    else:
        moves.accept_work(turn)
    return accept(turn, "resumed")


def _unblock(turn: TaskTurn, message: m.Unblock) -> None:
    before = turn.value
    if before.state is not State.BLOCKED:
        return refuse(turn, f"{before.id} is {before.state}, not blocked")
    after, waived = waits.waive(before.after, message.names)
    gates, waived_gates = waits.waive(before.gates, message.names)
    waived += waived_gates
    if not waived:
        known = ", ".join(c.source for c in (*before.after.causes, *before.gates.causes))
        return refuse(turn, f"no cause has that name; {before.id} is blocked by {known}")
    turn.change(after=after, gates=gates)
    _note(turn, "task_unblocked", message)
    moves.reconsider(turn, message.operator)
    return accept(turn, f"waived {', '.join(waived)}")


def _retried(turn: TaskTurn, message: m.RetryTask) -> None:
    """Makes `<id>~2`, which begins with what this one knows of what it waits for."""
    task = turn.value
    ended = task.completed_at is not None
    if message.stale is not None or not ended or task.replaced_by is not None or task.closed:
        turn.send(task.workstream, m.TaskRetried(task.address, None))
        if message.stale is not None:
            return refuse(turn, message.stale)
        if task.completed_at is None:
            return refuse(turn, f"{task.id} is {task.state}: cancel it first, or wait for its end")
        if task.replaced_by is not None:
            return refuse(turn, f"{task.id} was retried: {task.replaced_by} stands for it")
        return refuse(turn, f"{task.id} ended with its workstream: retry the run")
    base, _, n = task.id.partition("~")
    new = replace(
        create(task.spec, turn.now),
        id=f"{base}~{int(n or 1) + 1}",
        retry_of=task.id,
        retry_count=0 if message.clear_retry_count else task.retry_count,
        after=task.after,
        gates=task.gates,
        held=task.held,
        failure=task.reason if task.state is State.FAILED else task.failure,
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
