"""A worker: a durable slot that the dispatcher assigns to, whatever process stands in it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from actors.machine import Chart, Decision, Edge
from actors.messages import Message
from actors.spec import Pool, WorkerSeed


class State(StrEnum):
    INITIALIZING = "initializing"
    IDLE = "idle"
    BUSY = "busy"
    PAUSED = "paused"
    UNRESPONSIVE = "unresponsive"
    FAILED = "failed"
    SHUTDOWN = "shutdown"


EDGES = (
    Edge(State.INITIALIZING, State.IDLE, "registered", "info"),
    Edge(State.INITIALIZING, State.FAILED, "worker_failed", "error"),
    Edge(State.INITIALIZING, State.SHUTDOWN, "shutdown", "info"),
    Edge(State.IDLE, State.BUSY, "task_assigned", "info"),
    Edge(State.IDLE, State.PAUSED, "paused", "info"),
    Edge(State.IDLE, State.FAILED, "worker_failed", "error"),
    Edge(State.IDLE, State.SHUTDOWN, "shutdown", "info"),
    Edge(State.BUSY, State.IDLE, "task_completed", "info"),
    Edge(State.BUSY, State.IDLE, "assignment_returned", "info"),
    Edge(State.BUSY, State.UNRESPONSIVE, "heartbeat_missed", "warning"),
    Edge(State.BUSY, State.FAILED, "worker_failed", "error"),
    Edge(State.BUSY, State.SHUTDOWN, "shutdown", "info"),
    Edge(State.PAUSED, State.IDLE, "resumed", "info"),
    Edge(State.PAUSED, State.FAILED, "worker_failed", "error"),
    Edge(State.PAUSED, State.SHUTDOWN, "shutdown", "info"),
    Edge(State.UNRESPONSIVE, State.BUSY, "heartbeat_resumed", "warning"),
    Edge(State.UNRESPONSIVE, State.IDLE, "heartbeat_recovered", "warning"),
    Edge(State.UNRESPONSIVE, State.FAILED, "worker_failed", "error"),
    Edge(State.UNRESPONSIVE, State.FAILED, "recovery_window_exceeded", "error"),
    Edge(State.UNRESPONSIVE, State.SHUTDOWN, "shutdown", "info"),
    Edge(State.FAILED, State.IDLE, "recovered", "warning"),
    Edge(State.FAILED, State.SHUTDOWN, "shutdown", "info"),
)
CHART = Chart("worker", State, State.INITIALIZING, (State.SHUTDOWN,), EDGES)


class Worker(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A slot as it is stored. `lease` and `task_id` are there from the assignment to its end."""

    id: str
    run_id: str | None
    state: State
    created_at: float
    started_at: float | None = None
    completed_at: float | None = None
    reason: str | None = None
    spec: WorkerSeed
    pool: str
    kind: str
    lease: str | None = None
    task_id: str | None = None
    uet_id: str | None = None  # the incarnation that has not ended yet
    incarnation: int = 0
    ready: bool = False  # that incarnation is up
    restarts: tuple[float, ...] = ()  # within the window of the pool's intensity, and no more
    paused: bool = False
    draining: bool = False
    replacing: bool = False
    limit_s: float | None = None  # silence that this lease's task allows
    replaced_by: str | None = None


def create(
    worker_id: str,
    run_id: str | None,
    pool: str,
    slot: Pool,
    now: float,
    env_pass: tuple[str, ...] = (),
) -> Worker:
    """A slot of `pool`, which starts its process at `Begin`. `run_id` None: of the owner's pool."""
    return Worker(
        id=worker_id,
        run_id=run_id,
        state=State.INITIALIZING,
        created_at=now,
        spec=WorkerSeed(id=worker_id, run_id=run_id, pool=pool, slot=slot, env_pass=env_pass),
        pool=pool,
        kind=slot.kind,
    )


def decide(value: Worker, message: Message, now: float) -> Decision[Worker]:
    """One turn."""
    raise NotImplementedError
