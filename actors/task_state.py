"""A task's states, edges and stored value, and what each of its events carries.

The machine itself, its diagram and its invariants are in `actors.task`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeAlias

import msgspec

from actors import messages as m
from actors.guard_messages import Ticket
from actors.machine import Chart, Edge, Turn
from actors.messages import Standing
from actors.override import Wanted
from actors.spec import TaskSeed
from actors.waits import Waits

# Dependents told in one turn: a turn stays short however many wait.
SLICE = 500

Waiting: TypeAlias = m.DependencyEnded | m.DependencyBlocked | m.DependencyReplaced


class State(StrEnum):
    PENDING = "pending"
    QUEUED = "queued"
    BLOCKED = "blocked"
    RUNNING = "running"
    VALIDATING = "validating"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


EDGES = (
    Edge(State.PENDING, State.QUEUED, "dependencies_met", "info"),
    Edge(State.PENDING, State.BLOCKED, "dependency_failed", "warning"),
    Edge(State.PENDING, State.CANCELLED, "task_cancelled", "warning"),
    Edge(State.QUEUED, State.RUNNING, "worker_assigned", "info"),
    Edge(State.QUEUED, State.BLOCKED, "gate_failed", "warning"),
    Edge(State.QUEUED, State.FAILED, "task_failed", "error"),
    Edge(State.QUEUED, State.CANCELLED, "task_cancelled", "warning"),
    Edge(State.BLOCKED, State.PENDING, "dependency_recovered", "info"),
    Edge(State.BLOCKED, State.CANCELLED, "task_cancelled", "warning"),
    Edge(State.RUNNING, State.VALIDATING, "execution_complete", "info"),
    Edge(State.RUNNING, State.RETRYING, "retry_scheduled", "warning"),
    Edge(State.RUNNING, State.FAILED, "task_failed", "error"),
    Edge(State.RUNNING, State.CANCELLED, "task_cancelled", "warning"),
    Edge(State.VALIDATING, State.COMPLETED, "validation_passed", "info"),
    Edge(State.VALIDATING, State.RETRYING, "retry_scheduled", "warning"),
    Edge(State.VALIDATING, State.FAILED, "validation_failed", "error"),
    Edge(State.VALIDATING, State.CANCELLED, "task_cancelled", "warning"),
    Edge(State.RETRYING, State.QUEUED, "retry_queued", "info"),
    Edge(State.RETRYING, State.FAILED, "task_failed", "error"),
    Edge(State.RETRYING, State.CANCELLED, "task_cancelled", "warning"),
)
ENDS = (State.COMPLETED, State.FAILED, State.CANCELLED)
CHART = Chart("task", State, State.PENDING, ENDS, EDGES)

NOTHING = Waits()


class Task(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A task as it is stored. `worker_id` and `lease` are there exactly while it is RUNNING."""

    id: str
    run_id: str
    state: State
    created_at: float
    started_at: float | None = None
    completed_at: float | None = None
    reason: str | None = None
    spec: TaskSeed
    workstream_id: str
    worker_id: str | None = None
    lease: str | None = None
    retry_count: int = 0
    max_retries: int = 0
    exit_code: int | None = None
    retry_of: str | None = None
    since: float = 0.0  # when it entered its present state
    attempt: int = 0  # executions so far: the number of the last output file
    failure: str | None = None  # why the last attempt failed, for the next one
    losses: int = 0  # executions in a row that infrastructure ended
    uet: str | None = None
    begun: bool = False
    asked: bool = False  # its gates know that it needs them
    after: Waits = NOTHING  # tasks
    gates: Waits = NOTHING
    ending: str | None = None  # why its work was asked to end: "cancelled", "timeout", ...
    through_failure: bool = False
    as_done: bool = False
    closed: bool = False  # its workstream ended it: no retry can follow
    operator: str | None = None  # who cancelled it
    wanted: Wanted | None = None  # an override that waits for the end of what runs
    paused: bool = False
    doomed: bool = False  # BLOCKED, and to end as soon as it is certain that a failure blocks it
    held: bool = False  # its clocks stand still for a pause above it
    queue_due: float | None = None  # while its clocks stand still: the seconds that were left
    total_due: float | None = None
    ticket: str | None = None  # of the validation in progress
    unverified: int = 0  # gates of that validation that have not passed
    withheld: int = 0  # those of them that found nothing out, and were not run again
    stalled: bool = False  # that is all of them: who waits for it knows
    judges: tuple[str, ...] = ()
    replaced_by: str | None = None
    offered: m.Assigned | None = None  # QUEUED: the slot that is kept while its breaker is asked
    admitted: Ticket | None = None  # RUNNING: of its tool's breaker
    error: str | None = None  # the signature of its last failure, where its tool looks for loops
    repeats: int = 0  # failures in a row with that signature

    @property
    def address(self) -> str:
        return f"task:{self.id}"

    @property
    def workstream(self) -> str:
        return f"workstream:{self.workstream_id}"

    @property
    def blocked(self) -> bool:
        """Whether something that it waits for does not let it go on."""
        return self.after.blocked or self.gates.blocked


class TaskMetadata(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What every event of a task carries; the end of an execution also what stood around it."""

    worker_id: str | None
    duration_seconds: float | None
    retry_count: int
    exit_code: int | None
    timeout_occurred: bool
    confinement: str | None = None


def create(seed: TaskSeed, now: float) -> Task:
    """The task of `seed`, which waits for `Begin` and for what it depends on."""
    return Task(
        id=seed.id,
        run_id=seed.run_id,
        state=State.PENDING,
        created_at=now,
        spec=seed,
        workstream_id=f"{seed.run_id}/{seed.workstream}",
        max_retries=seed.task.max_retries,
        since=now,
        after=Waits(len(seed.sources)) if seed.sources else NOTHING,
        gates=Waits(len(seed.gates)) if seed.gates else NOTHING,
    )


class TaskTurn(Turn[Task]):
    """A task's turn: every edge carries the task's metadata."""

    confinement: str | None = None  # of the execution whose end this turn takes

    def move(
        self,
        target: State,
        trigger: str,
        *,
        reason: str | None = None,
        timeout: bool = False,
        severity: str | None = None,
        operator: str | None = None,
        **changes: Any,
    ) -> None:
        """Takes an edge. `timeout`: a timeout led to it."""
        if self.value.stalled:
            self.stall(stalled=False)
        task, now = self.value, self.now
        since = task.since if task.state is State.RUNNING else task.started_at
        metadata = TaskMetadata(
            changes.get("worker_id") or task.worker_id,
            None if since is None else round(now - since, 6),
            changes.get("retry_count", task.retry_count),
            changes.get("exit_code", task.exit_code),
            timeout,
            self.confinement,
        )
        self.take(
            target,
            trigger,
            metadata,
            reason=reason,
            severity=severity,
            operator=operator,
            since=now,
            **changes,
        )

    def stall(self, *, stalled: bool) -> None:
        """VALIDATING: tells whoever waits whether anything but a person moves it."""
        task = self.value
        if stalled is task.stalled:
            return
        self.change(stalled=stalled)
        self.send(task.workstream, m.TaskStalled(task.address, stalled))
        was, stands = Standing.WAITING, Standing.STALLED
        if not stalled:
            was, stands = stands, was
        reason = task.reason if stalled else None
        self.tell(m.DependencyBlocked(task.address, stands, was, reason))

    def tell(self, order: Waiting, index: int = 0) -> None:
        """Tells all who wait for this task, from `index` on, a slice of them in a turn."""
        dependents = self.value.spec.dependents
        following = index + SLICE
        for dependent in dependents[index:following]:
            self.send(dependent, order)
        if following < len(dependents):
            self.send(self.value.address, m.Reach(order, following))
        elif isinstance(order, m.DependencyReplaced) and self.value.begun:
            # Not earlier: who waived the old one must know the new one before it moves.
            self.send(order.new, m.Begin())
