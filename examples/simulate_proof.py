"""Small worlds, searched whole: every order, every crash, every state that can be reached.

    banksman simulate examples/simulate_proof.py

In the first, two tasks, one after the other, on two workers; in the second, one task, and an owner
that may be killed once, at any moment. Whatever runs may pass or fail. A proof visits every state
and says "complete within these bounds", or shows the shortest way to one in which something is
broken. What lies outside of the bounds it does not prove.
"""

from __future__ import annotations

from typing import Any

from actors import spec
from actors.messages import Outcome
from runtime.sim import SmallWorld, simulate

PASSES, FAILS = Outcome(exit_code=0), Outcome(exit_code=1)


def world_of(slots: int, **tasks: spec.Task) -> SmallWorld:
    """One workstream of these tasks, each of which may fail whenever it is tried."""
    world = SmallWorld(outcomes=lambda _task, _attempt: (PASSES, FAILS))
    world.slots(slots)
    streams = {"w": spec.Workstream(tasks=tasks)}
    world.submit(spec.Plan(run=spec.Run(name="r"), workstreams=streams))
    return world


def in_order(view: Any) -> str | None:
    """The second task does not run before the first has completed."""
    first, second = view.get("task:r/w/first"), view.get("task:r/w/second")
    if second is None or second.state != "running" or first.state == "completed":
        return None
    return f"the second runs while the first is {first.state}"


def one_retry_at_most(view: Any) -> str | None:
    """A crash burns no attempt, a failure burns one."""
    task = view.get("task:r/w/only")
    return f"{task.retry_count} retries" if task is not None and task.retry_count > 1 else None


@simulate.exhaustive()
def two_tasks_keep_their_order() -> tuple[SmallWorld, Any]:
    second = spec.Task(call="f", depends_on=("first",), max_retries=1)
    return world_of(2, first=spec.Task(call="f", max_retries=1), second=second), in_order


@simulate.exhaustive(crashes=1)
def a_crash_at_any_moment_loses_nothing() -> tuple[SmallWorld, Any]:
    return world_of(1, only=spec.Task(call="f", max_retries=1)), one_retry_at_most
