"""A task and the breaker of its tool: admission before it runs, settlement after, loops between.

The slot comes first and the breaker last: `offered` is the slot that is kept while the breaker is
asked, `admitted` the breaker's ticket while the task is RUNNING. Both stand in the task's own row,
so that after a crash it knows what it holds, and gives it back.
"""

from __future__ import annotations

from typing import TypeAlias

from actors import guard_messages as guard
from actors import messages as m
from actors import task_rules as rules
from actors.effects import Note
from actors.guard_messages import CallOutcome
from actors.messages import Outcome
from actors.task_state import Task, TaskTurn

Answer: TypeAlias = guard.Ticket | guard.Refusal

DISPATCH = "dispatch:main"

# A task without a timeout may run for hours, and its end and its worker's are noticed without any
# deadline: this one is only for what nobody thought of, and shorter than a night.
UNTIMED_LEASE_S = 4 * 3_600.0
# The kill of what ran too long takes a while; its verdict is to come before the deadline does.
KILL_MARGIN_S = 60.0

# Why a task ends that goes round in circles.
LOOP = "loop"


def ask(turn: TaskTurn, offered: m.Assigned) -> None:
    """QUEUED, with a slot: the breaker has the last word."""
    task, timeout_s = turn.value, turn.value.spec.task.timeout_s
    if task.offered is not None:
        return turn.send(offered.worker, m.ReturnAssignment(offered.lease))
    turn.change(offered=offered)
    lease_s = UNTIMED_LEASE_S if timeout_s is None else timeout_s + KILL_MARGIN_S
    return turn.send(_breaker(task), guard.Admit(task.address, lease_s, offered.lease))


def give_back(turn: TaskTurn) -> None:
    """The slot that was offered, if one is. The breaker's answer, should it come, finds it gone."""
    offered = turn.value.offered
    if offered is not None:
        turn.change(offered=None)
        turn.send(offered.worker, m.ReturnAssignment(offered.lease))


def accepts(turn: TaskTurn, answer: Answer) -> m.Assigned | None:
    """The slot to begin in, if the answer is a ticket for it."""
    task = turn.value
    offered = task.offered
    if offered is not None and offered.lease == answer.call:
        if isinstance(answer, guard.Ticket):
            turn.change(offered=None, admitted=answer)
            return offered
        give_back(turn)
        # Back behind the limit of its tool, where it stood: `since` is what it was.
        turn.send(DISPATCH, rules.enqueue(task.spec, task.id, task.since))
    elif isinstance(answer, guard.Ticket):
        # For a slot that was given back meanwhile: whoever holds a ticket settles it.
        turn.send(
            f"circuit_breaker:{answer.breaker}",
            guard.Settle(answer, CallOutcome.CANCELLED, task.address),
        )
    return None


def announce(turn: TaskTurn, *, new_owner: bool) -> bool:
    """Tells a new dispatcher what it holds of its tool; whether it waits for its breaker.

    With a former owner its slot's process has gone, so the slot goes back and it queues again.
    """
    task = turn.value
    if task.spec.breaker is None:
        return False
    if new_owner:
        give_back(turn)
    waiting = turn.value.offered is not None
    if waiting or task.lease is not None:
        turn.send(DISPATCH, m.ToolTaken(task.address, task.spec.breaker))
    return waiting


# --- its end ------------------------------------------------------------------------------------


def settle(turn: TaskTurn, outcome: Outcome) -> bool:
    """Gives the ticket back with what the end says of the tool. True if the task goes round in
    circles: then it ends here, and that is the tool's failure too."""
    task = turn.value
    ticket = task.admitted
    assert ticket is not None
    assert task.spec.breaker is not None
    said = verdict(task, outcome)
    looping = False
    if said is CallOutcome.CALLER_FAULT or (
        said is CallOutcome.TOOL_FAILURE and outcome.retry_after_s is None
    ):
        looping = repeated(turn, outcome.signature)
    if looping:
        said = CallOutcome.TOOL_FAILURE
    turn.change(admitted=None)
    failed = said is not CallOutcome.OK
    turn.send(
        _breaker(task),
        guard.Settle(
            ticket,
            said,
            task.address,
            outcome.duration_s,
            outcome.retry_after_s if said is CallOutcome.TOOL_FAILURE else None,
            outcome.why() if failed else None,
        ),
    )
    turn.send(DISPATCH, m.ToolFree(task.address, task.spec.breaker))
    return looping


def verdict(task: Task, outcome: Outcome) -> CallOutcome:
    """What the end of an execution says of the tool."""
    tool = task.spec.tool
    assert tool is not None
    if task.ending not in {None, "timeout"}:
        return CallOutcome.CANCELLED  # a total timeout too: how long the tool had says the queue
    if rules.succeeded(task.spec, outcome):
        return CallOutcome.OK
    if outcome.reason == "lost":
        return CallOutcome.LAPSED
    if outcome.reason == "not_started" or (outcome.infrastructure and not outcome.alive):
        return CallOutcome.UNREACHABLE
    by_itself = task.ending is None and outcome.reason is None and outcome.retry_after_s is None
    if by_itself and outcome.exit_code in tool.caller_fault_exit_codes:
        return CallOutcome.CALLER_FAULT
    return CallOutcome.TOOL_FAILURE


def rate_limited(task: Task, outcome: Outcome) -> bool:
    """Whether the execution failed because the tool wants to be left alone."""
    return task.spec.tool is not None and outcome.retry_after_s is not None and task.ending is None


def repeated(turn: TaskTurn, signature: str | None) -> bool:
    """Counts one more failure of the work itself; whether that is one too many of its kind."""
    task = turn.value
    loop = task.spec.tool.loop if task.spec.tool is not None else None
    if loop is None:
        return False
    repeats = task.repeats + 1 if signature is not None and signature == task.error else 1
    turn.change(error=signature, repeats=repeats)
    attempts = task.retry_count + 1
    if loop.max_error_repeats is not None and repeats >= loop.max_error_repeats:
        why = f"the same error {repeats} times in a row"
    elif loop.max_attempts is not None and attempts >= loop.max_attempts:
        why = f"{attempts} attempts"
    else:
        return False
    turn.effects.append(Note("task_loop", "warning", why))
    return True


def blame(turn: TaskTurn) -> None:
    """Its tool's call was settled, but what it left was refused once too often."""
    task = turn.value
    turn.send(_breaker(task), guard.Blame(task.address, f"{task.id} goes round in circles"))


def _breaker(task: Task) -> str:
    return f"circuit_breaker:{task.spec.breaker}"
