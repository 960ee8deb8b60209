"""A run: makes its workstreams, tasks and gates, and ends when all of them have."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from actors.machine import Chart, Decision, Edge
from actors.messages import Message
from actors.spec import Plan


class State(StrEnum):
    INITIALIZING = "initializing"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


EDGES = (
    Edge(State.INITIALIZING, State.RUNNING, "run_started", "info"),
    Edge(State.INITIALIZING, State.FAILED, "run_failed", "error"),
    Edge(State.INITIALIZING, State.CANCELLED, "run_cancelled", "warning"),
    Edge(State.RUNNING, State.PAUSED, "run_paused", "info"),
    Edge(State.RUNNING, State.COMPLETED, "run_completed", "info"),
    Edge(State.RUNNING, State.FAILED, "run_failed", "error"),
    Edge(State.RUNNING, State.CANCELLED, "run_cancelled", "warning"),
    Edge(State.PAUSED, State.RUNNING, "run_resumed", "info"),
    Edge(State.PAUSED, State.FAILED, "run_failed", "error"),
    Edge(State.PAUSED, State.CANCELLED, "run_cancelled", "warning"),
)
CHART = Chart(
    "run", State, State.INITIALIZING, (State.COMPLETED, State.FAILED, State.CANCELLED), EDGES
)


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run as it is stored."""

    id: str
    run_id: str
    state: State
    created_at: float
    started_at: float | None = None
    completed_at: float | None = None
    reason: str | None = None
    spec: Plan
    name: str
    phase: str | None = None
    idempotency_key: str | None = None
    expanded: int = -1  # how many tasks have been made; -1 before Begin
    workstreams: int = 0
    unfinished: int = 0  # workstreams that are not terminal
    movable: int = 0  # workstreams that more than an operator could move
    blocked: int = 0  # workstreams that only an operator could move
    completed: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0
    critical_failures: int = 0
    noncritical_failures: int = 0  # tasks and workstreams
    gates_open: int = 0  # gates that are not terminal
    gate_counts: tuple[int, ...] = ()  # the last n of each gate, in the order of the plan
    paused: bool = False
    ending: str | None = None  # "cancelled" or "failed": why everything is being cancelled


def create(plan: Plan, run_id: str, now: float, idempotency_key: str | None = None) -> Run:
    """The run of `plan`, which `Begin` sets in motion."""
    return Run(
        id=run_id,
        run_id=run_id,
        state=State.INITIALIZING,
        created_at=now,
        spec=plan,
        name=plan.run.name,
        phase=plan.run.phase,
        idempotency_key=idempotency_key,
        workstreams=len(plan.workstreams),
        unfinished=len(plan.workstreams),
        gate_counts=(0,) * len(plan.gates),
    )


def decide(value: Run, message: Message, now: float) -> Decision[Run]:
    """One turn."""
    raise NotImplementedError
