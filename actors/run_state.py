"""A run's states, edges and stored value, and what each of its events carries.

The machine itself, its diagram and its invariants are in `actors.run`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from actors import messages as m
from actors.effects import Reply
from actors.machine import Chart, Edge, Turn
from actors.override import Wanted
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
ENDS = (State.COMPLETED, State.FAILED, State.CANCELLED)
CHART = Chart("run", State, State.INITIALIZING, ENDS, EDGES)


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
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
    expanded: int = -1  # tasks made so far; -1 before `Begin`
    workstreams: int = 0
    unfinished: int = 0  # workstreams that are not terminal
    movable: int = 0  # workstreams that not only an operator could move
    blocked: int = 0  # BLOCKED ones, and READY ones of which all that is left is BLOCKED
    completed: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0
    critical_failures: int = 0  # workstreams
    noncritical_failures: int = 0  # tasks and workstreams
    cause: str | None = None  # of the first critical failure
    gates_open: int = 0  # gates that are not terminal
    gate_counts: tuple[int, ...] = ()  # the last n of each gate, in the order of the plan
    reruns: tuple[str, ...] = ()  # gates that a person had run again
    paused: bool = False
    ending: str | None = None  # "cancelled", "failed", "overridden": why all was asked to end
    wanted: Wanted | None = None  # the override that ends it
    operator: str | None = None  # who cancelled it
    closing: bool = False  # all workstreams are over, what gates are left was asked to end
    attempts_spent: int = 0  # executions that burned an attempt; counted where there is a budget
    seconds_spent: float = 0.0  # of all executions
    granted: tuple[int, float] = (0, 0.0)  # what was spent when the present budget was granted
    overspent: bool = False  # paused, and not by a person: its budget is used up

    @property
    def address(self) -> str:
        return f"run:{self.id}"


class RunMetadata(msgspec.Struct, frozen=True, gc=False):
    """What every event of a run carries."""

    total_workstreams: int
    completed_workstreams: int
    failed_workstreams: int
    skipped_workstreams: int
    cancelled_workstreams: int
    noncritical_failures: int
    duration_seconds: float | None


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


class RunTurn(Turn[Run]):
    """A run's turn: every edge carries the run's metadata."""

    def move(
        self,
        target: State,
        trigger: str,
        *,
        reason: str | None = None,
        operator: str | None = None,
        **changes: Any,
    ) -> None:
        """Takes an edge."""
        run = self.value
        metadata = RunMetadata(
            run.workstreams,
            run.completed,
            run.failed,
            run.skipped,
            run.cancelled,
            run.noncritical_failures,
            None if run.started_at is None else round(self.now - run.started_at, 6),
        )
        self.take(target, trigger, metadata, reason=reason, operator=operator, **changes)

    def tell_all(self, message: m.Message, *, control: bool = False) -> None:
        """Tells every workstream."""
        for name in self.value.spec.workstreams:
            self.send(f"workstream:{self.value.id}/{name}", message, control=control)

    def reply(self, answer: m.Accepted | m.Refused) -> None:
        """Answers whoever asked."""
        self.effects.append(Reply(answer))
