"""A task: waits, queues for a worker, runs, is judged, and tries again while it may."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from actors.machine import Chart, Decision, Edge
from actors.messages import Message
from actors.spec import TaskSeed


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
CHART = Chart("task", State, State.PENDING, (State.COMPLETED, State.FAILED, State.CANCELLED), EDGES)


class Task(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
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
    losses: int = 0  # executions in a row that infrastructure ended
    uet: str | None = None
    begun: bool = False
    asked: bool = False  # its gates know that it needs them
    # Of what it waits for: tasks and gates that are not done yet (these too), failed, and so on.
    unmet: int = 0
    ungated: int = 0
    failed: int = 0
    withdrawn: int = 0
    stalled: int = 0
    causes: tuple[tuple[str, str], ...] = ()  # (source, root cause) of those, up to a bound
    waived: tuple[str, ...] = ()
    ending: str | None = None  # what `EndWork` asked for: "cancelled", "timeout", "total timeout"
    through_failure: bool = False
    as_done: bool = False
    closed: bool = False  # its workstream ended it: no retry can follow
    operator: str | None = None
    paused: bool = False
    held: bool = False  # its clocks stand still for a pause above it
    queue_due: float | None = None  # while its clocks stand still: the seconds that were left
    total_due: float | None = None
    ticket: str | None = None  # of the validation in progress
    unverified: int = 0
    judges: tuple[str, ...] = ()
    replaced_by: str | None = None


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
        unmet=len(seed.sources),
        ungated=len(seed.gates),
    )


def decide(value: Task, message: Message, now: float) -> Decision[Task]:
    """One turn."""
    raise NotImplementedError
