"""A task for tests: its addresses, and the messages that take it from state to state."""

from __future__ import annotations

from typing import Any

from actors import messages as m
from actors import spec
from actors import task as machine
from actors.messages import Outcome, Standing
from actors.task import Task
from tests.actors.steps import after

ME = "task:r/w/t"
BEFORE = "task:r/w/before"
OTHER = "task:r/w/other"
NEXT = "task:r/w/next"
WORKSTREAM = "workstream:r/w"
RUN = "run:r"
DISPATCH = "dispatch:main"
GATE = "test_gate:r/gate:lint~1"
SLOT = "worker:p.1"
UET = "uet_worker:p.1@1"
BEGIN = m.Begin()
ASSIGNED = m.Assigned(SLOT, UET, "1.1")
JUDGE = "test_gate:r/gate:unit~1"


def task(*, seed: dict[str, Any] | None = None, **more: Any) -> Task:
    """A new task with these keys of the plan; `seed`: its place in the run."""
    more.setdefault("command", ("make",))
    place = {"run_id": "r", "workstream": "w", "name": "t", "dependents": (NEXT,)} | (seed or {})
    return machine.create(spec.TaskSeed(task=spec.Task(**more), **place), 1.0)


def queued(*messages: Any, **more: Any) -> Task:
    """A task in QUEUED, and after these messages."""
    value: Task = after(machine, task(**more), BEGIN, *messages)
    return value


def running(*messages: Any, **more: Any) -> Task:
    """A task in RUNNING under the lease 1.1, and after these messages."""
    return queued(ASSIGNED, *messages, **more)


def finished(lease: str = "1.1", **outcome: Any) -> m.WorkFinished:
    return m.WorkFinished(lease, Outcome(**outcome))


OK = finished(exit_code=0)
FAIL = finished(exit_code=1)
LOST = finished(reason="lost", error="its process died", infrastructure=True)


def validating(*messages: Any, **more: Any) -> Task:
    """A task in VALIDATING, judged by one gate, and after these messages."""
    more.setdefault("validate", ("unit",))
    made = m.GatesMade("1.1", (JUDGE, "test_gate:r/gate:lint~2"))
    return running(OK, made, *messages, **more)


def verdict(
    outcome: str, standing: Standing, was: Standing = Standing.WAITING, ticket: str | None = "1.1"
) -> m.GateVerdict:
    """What the gate that judges it says; without a ticket, the gate before it."""
    gate = JUDGE if ticket else GATE
    return m.GateVerdict(gate, "unit", outcome, standing, was, ticket, f"unit {outcome}")


def dependency(
    standing: Standing, was: Standing = Standing.WAITING, source: str = BEFORE
) -> m.DependencyEnded:
    outcome = "completed" if standing is Standing.DONE else "failed"
    return m.DependencyEnded(source, outcome, standing, was, "before failed: exit code 1")


DONE = dependency(Standing.DONE)
FAILED = dependency(Standing.FAILED)
