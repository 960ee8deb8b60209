"""A UET worker: one incarnation of the process in a worker's slot."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from actors.machine import Chart, Decision, Edge
from actors.messages import Message
from actors.spec import UetSeed


class State(StrEnum):
    SPAWNING = "spawning"
    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    TERMINATED = "terminated"


EDGES = (
    Edge(State.SPAWNING, State.IDLE, "spawned", "info"),
    Edge(State.SPAWNING, State.TERMINATED, "spawn_failed", "error"),
    Edge(State.IDLE, State.BUSY, "task_assigned", "info"),
    Edge(State.IDLE, State.TERMINATED, "shutdown_requested", "info"),
    Edge(State.BUSY, State.IDLE, "task_completed", "info"),
    Edge(State.BUSY, State.DRAINING, "shutdown_requested", "info"),
    Edge(State.BUSY, State.TERMINATED, "crashed", "error"),
    Edge(State.DRAINING, State.TERMINATED, "drained", "info"),
    Edge(State.SPAWNING, State.TERMINATED, "shutdown_requested", "info"),
    Edge(State.IDLE, State.TERMINATED, "crashed", "error"),
    Edge(State.DRAINING, State.TERMINATED, "crashed", "error"),
)
CHART = Chart("uet_worker", State, State.SPAWNING, (State.TERMINATED,), EDGES)


class UetWorker(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An incarnation as it is stored: with `pid`, `start_ticks` and `boot_id` it can be found again."""

    id: str
    run_id: str | None
    state: State
    created_at: float
    started_at: float | None = None
    completed_at: float | None = None
    reason: str | None = None
    spec: UetSeed
    worker_id: str
    pid: int | None = None
    start_ticks: int | None = None
    boot_id: str | None = None
    lease: str | None = None
    child_pid: int | None = None
    child_pgid: int | None = None
    child_ticks: int | None = None
    task: str | None = None  # the address that is told how the lease's work ended
    withdrawn: bool = False  # its lease's work was asked to end
    stopping: bool = False  # its process was asked to end


def create(seed: UetSeed, now: float) -> UetWorker:
    """The incarnation of `seed`, whose process `Begin` starts."""
    return UetWorker(
        id=seed.id,
        run_id=seed.run_id,
        state=State.SPAWNING,
        created_at=now,
        spec=seed,
        worker_id=seed.worker_id,
    )


def decide(value: UetWorker, message: Message, now: float) -> Decision[UetWorker]:
    """One turn."""
    raise NotImplementedError
