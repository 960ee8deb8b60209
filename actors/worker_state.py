"""A worker's states, edges and stored value, and what each of its events carries.

The machine itself, its diagram and its invariants are in `actors.worker`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from actors.machine import Chart, Edge, Turn
from actors.override import Wanted
from actors.spec import WorkerSeed

NO_LEASE: dict[str, Any] = {"lease": None, "task_id": None, "limit_s": None}


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


class Worker(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
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
    ready: bool = False  # that incarnation is up and was not asked to stop
    restarts: tuple[float, ...] = ()  # the last ones, at most as many as the pool's intensity
    paused: bool = False
    draining: bool = False
    replacing: bool = False
    limit_s: float | None = None  # the silence that this lease's task allows
    replaced_by: str | None = None
    wanted: Wanted | None = None  # an override that waits until what it executes is dead


class WorkerMetadata(msgspec.Struct, frozen=True, gc=False):
    """What every event of a slot carries."""

    heartbeat_status: str  # "ok", "missed", or "none" without a process
    current_load: int
    last_heartbeat_age_seconds: float | None
    crash_detected: bool
    task_id: str | None
    uet_id: str | None


def create(seed: WorkerSeed, now: float) -> Worker:
    """The slot of `seed`, which starts its process at `Begin`."""
    return Worker(
        id=seed.id,
        run_id=seed.run_id,
        state=State.INITIALIZING,
        created_at=now,
        spec=seed,
        pool=seed.pool,
        kind=seed.slot.kind,
    )


class WorkerTurn(Turn[Worker]):
    """A slot's turn: every edge carries the slot's metadata."""

    def move(
        self,
        target: State,
        trigger: str,
        *,
        silent_s: float | None = None,
        crashed: bool = False,
        reason: str | None = None,
        operator: str | None = None,
        **changes: Any,
    ) -> None:
        """Takes an edge. `silent_s`: how long its process has been silent, where that led to it."""
        worker = self.value
        beat = "missed" if silent_s is not None else "ok" if worker.ready else "none"
        task_id = changes.get("task_id") or worker.task_id
        load = int(target is State.BUSY or target is State.UNRESPONSIVE)
        metadata = WorkerMetadata(beat, load, silent_s, crashed, task_id, worker.uet_id)
        self.take(target, trigger, metadata, reason=reason, operator=operator, **changes)
