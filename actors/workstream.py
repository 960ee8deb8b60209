"""A workstream: a line of tasks, whose state follows from theirs."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from actors.machine import Chart, Decision, Edge
from actors.messages import Message
from actors.spec import WorkstreamSeed


class State(StrEnum):
    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    PAUSED = "paused"
    BLOCKED = "blocked"
    VALIDATING = "validating"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


EDGES = (
    Edge(State.PENDING, State.READY, "ready", "info"),
    Edge(State.PENDING, State.BLOCKED, "blocked", "warning"),
    Edge(State.PENDING, State.SKIPPED, "skipped", "info"),
    Edge(State.PENDING, State.CANCELLED, "cancelled", "warning"),
    Edge(State.READY, State.RUNNING, "started", "info"),
    Edge(State.READY, State.SKIPPED, "skipped", "info"),
    Edge(State.READY, State.CANCELLED, "cancelled", "warning"),
    Edge(State.READY, State.FAILED, "failed", "error"),
    Edge(State.RUNNING, State.PAUSED, "paused", "info"),
    Edge(State.RUNNING, State.BLOCKED, "blocked", "warning"),
    Edge(State.RUNNING, State.VALIDATING, "validating", "info"),
    Edge(State.RUNNING, State.FAILED, "failed", "error"),
    Edge(State.RUNNING, State.CANCELLED, "cancelled", "warning"),
    Edge(State.PAUSED, State.RUNNING, "resumed", "info"),
    Edge(State.PAUSED, State.FAILED, "failed", "error"),
    Edge(State.PAUSED, State.CANCELLED, "cancelled", "warning"),
    Edge(State.BLOCKED, State.PENDING, "unblocked", "info"),
    Edge(State.BLOCKED, State.SKIPPED, "skipped", "warning"),
    Edge(State.BLOCKED, State.FAILED, "failed", "error"),
    Edge(State.BLOCKED, State.CANCELLED, "cancelled", "warning"),
    Edge(State.VALIDATING, State.COMPLETED, "completed", "info"),
    Edge(State.VALIDATING, State.FAILED, "failed", "error"),
    Edge(State.VALIDATING, State.CANCELLED, "cancelled", "warning"),
)
CHART = Chart(
    "workstream",
    State,
    State.PENDING,
    (State.COMPLETED, State.FAILED, State.CANCELLED, State.SKIPPED),
    EDGES,
)


class Workstream(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A workstream as it is stored: it counts its tasks and lists none of them."""

    id: str
    run_id: str
    state: State
    created_at: float
    started_at: float | None = None
    completed_at: float | None = None
    reason: str | None = None
    spec: WorkstreamSeed
    begun: bool = False
    # Of the workstreams that it waits for: not done yet (these too), failed, withdrawn.
    unmet: int = 0
    deps_failed: int = 0
    deps_withdrawn: int = 0
    causes: tuple[tuple[str, str], ...] = ()  # (source, root cause) of those
    waived: tuple[str, ...] = ()
    # Of its tasks, a retried one counted once.
    unfinished: int = 0
    blocked: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    noncritical_failures: int = 0
    retrying: int = 0  # retries handed on to a task that has not answered yet
    ending: str | None = None  # "cancelled", "failed" or "skipped": why its tasks are cancelled
    through_failure: bool = False
    as_done: bool = False  # skipped by plan or operator: counts as done
    critical_failure: bool = False
    paused: bool = False
    run_paused: bool = False
    stuck: bool = False
    validations: int = 0
    unverified: int = 0  # gates of its validation that have not passed yet
    judges: tuple[str, ...] = ()


def create(seed: WorkstreamSeed, now: float) -> Workstream:
    """The workstream of `seed`, which waits for `Begin`."""
    return Workstream(
        id=seed.id,
        run_id=seed.run_id,
        state=State.PENDING,
        created_at=now,
        spec=seed,
        unmet=len(seed.sources),
        unfinished=len(seed.tasks),
    )


def decide(value: Workstream, message: Message, now: float) -> Decision[Workstream]:
    """One turn."""
    raise NotImplementedError
