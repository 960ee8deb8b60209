"""A test gate: one entity of it, which runs its command once it is needed and gives one verdict."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from actors.machine import Chart, Decision, Edge
from actors.messages import Message, Standing
from actors.spec import GateSeed


class State(StrEnum):
    PENDING = "pending"
    BLOCKED = "blocked"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    CANCELLED = "cancelled"


EDGES = (
    Edge(State.PENDING, State.RUNNING, "execution_started", "info"),
    Edge(State.PENDING, State.BLOCKED, "gate_blocked", "warning"),
    Edge(State.PENDING, State.CANCELLED, "gate_cancelled", "warning"),
    Edge(State.RUNNING, State.PASSED, "gate_passed", "info"),
    Edge(State.RUNNING, State.FAILED, "gate_failed", "error"),
    Edge(State.RUNNING, State.CANCELLED, "gate_cancelled", "warning"),
    Edge(State.BLOCKED, State.PENDING, "gate_unblocked", "info"),
    Edge(State.BLOCKED, State.CANCELLED, "gate_cancelled", "warning"),
)
CHART = Chart(
    "test_gate", State, State.PENDING, (State.PASSED, State.FAILED, State.CANCELLED), EDGES
)


class Gate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A gate entity as it is stored."""

    id: str
    run_id: str
    state: State
    created_at: float
    started_at: float | None = None
    completed_at: float | None = None
    reason: str | None = None
    spec: GateSeed
    name: str
    subject: str
    attempt: int  # the n of its id
    exit_code: int | None = None
    approver: str | None = None
    retry_of: str | None = None
    since: float = 0.0
    needed: bool = False
    queued: bool = False  # it has asked for a place and has none yet
    # Of the gates that it depends on: not passed yet (these too), failed, and so on.
    unmet: int = 0
    failed: int = 0
    withdrawn: int = 0
    stalled: int = 0
    tries: int = 0  # executions so far: the number of the last output file
    losses: int = 0  # executions that infrastructure ended
    waiting: bool = False  # RUNNING between two tries
    cancelling: bool = False
    through_failure: bool = False
    operator: str | None = None
    paused: bool = False
    told: Standing = Standing.WAITING  # what its askers know
    replaced_by: str | None = None


def create(seed: GateSeed, now: float) -> Gate:
    """The entity of `seed`, which starts once it is needed and its own gates have passed."""
    return Gate(
        id=seed.id,
        run_id=seed.run_id,
        state=State.PENDING,
        created_at=now,
        spec=seed,
        name=seed.name,
        subject=seed.run_id,
        attempt=seed.n,
        since=now,
        unmet=len(seed.sources),
    )


def decide(value: Gate, message: Message, now: float) -> Decision[Gate]:
    """One turn."""
    raise NotImplementedError
