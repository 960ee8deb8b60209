"""A workstream's states, edges and stored value, and what each of its events carries.

The machine itself, its diagram and its invariants are in `actors.workstream`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeAlias

import msgspec

from actors import messages as m
from actors.machine import Chart, Edge, Turn
from actors.override import BY_HAND
from actors.spec import WorkstreamSeed
from actors.waits import Waits

# Tasks told in one turn: a turn stays short however many there are, and of a thousand workstreams
# that begin at once not more than so many messages each stand in inboxes.
SLICE = 64

Order: TypeAlias = m.Begin | m.Cancel | m.EndBlocked | m.ClockHeld | m.DependencyBlocked


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
ENDS = (State.COMPLETED, State.FAILED, State.CANCELLED, State.SKIPPED)
CHART = Chart("workstream", State, State.PENDING, ENDS, EDGES)


class Workstream(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A workstream as it is stored."""

    id: str
    run_id: str
    state: State
    created_at: float
    started_at: float | None = None
    completed_at: float | None = None
    reason: str | None = None
    spec: WorkstreamSeed
    begun: bool = False
    tasks_begun: bool = False
    after: Waits = Waits()  # the workstreams that it waits for
    # Of its tasks, a retried one counted as what stands for it.
    unfinished: int = 0
    blocked: int = 0
    stalled: int = 0  # VALIDATING, and only a person moves them
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    noncritical_failures: int = 0
    retrying: int = 0  # retries handed on to a task that has not answered yet
    ending: str | None = None  # the state that it goes to once its tasks have ended
    through_failure: bool = False
    as_done: bool = False  # skipped by plan or operator: counts as done
    operator: str | None = None  # who ended it
    critical_failure: bool = False
    paused: bool = False
    run_paused: bool = False
    stuck: bool = False  # READY, RUNNING or VALIDATING, and only a person moves it
    held_up: bool = False  # what its dependents know: nothing of it moves but by an operator
    bridges_held: bool = False  # likewise those who wait for its tasks, before it has begun
    unverified: int = 0  # gates of its validation that have not passed
    withheld: int = 0  # those of them that found nothing out, and were not run again
    judges: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        return f"workstream:{self.id}"

    @property
    def held_by_hand(self) -> bool:
        """Whether an operator's override blocked it, and nobody has waived that."""
        return any(cause.source.startswith(BY_HAND) for cause in self.after.causes)

    @property
    def all_blocked(self) -> bool:
        """Whether no task of it can move by itself."""
        return 0 < self.unfinished == self.blocked and not self.retrying

    @property
    def at_a_stand(self) -> bool:
        """Whether nothing but a person moves it, while its state says that it moves."""
        if self.paused or self.ending is not None:
            return False
        match self.state:
            case State.READY | State.RUNNING:
                held_up = self.blocked + self.stalled
                return 0 < self.unfinished == held_up and not self.retrying
            case State.VALIDATING:
                return 0 < self.unverified == self.withheld
            case State.PENDING | State.PAUSED | State.BLOCKED:
                return False  # which says so itself
            case State.COMPLETED | State.FAILED | State.CANCELLED | State.SKIPPED:
                return False


class WorkstreamMetadata(msgspec.Struct, frozen=True, gc=False):
    """What every event of a workstream carries."""

    total_tasks: int
    completed_tasks: int
    failed_tasks: int
    cancelled_tasks: int
    noncritical_failures: int
    duration_seconds: float | None
    critical_failure: bool


def create(seed: WorkstreamSeed, now: float) -> Workstream:
    """The workstream of `seed`, which waits for `Begin`."""
    return Workstream(
        id=seed.id,
        run_id=seed.run_id,
        state=State.PENDING,
        created_at=now,
        spec=seed,
        after=Waits(len(seed.sources)),
        unfinished=len(seed.tasks),
    )


class WorkstreamTurn(Turn[Workstream]):
    """A workstream's turn: every edge carries its metadata, and the run hears of it."""

    def move(
        self,
        target: State,
        trigger: str,
        *,
        reason: str | None = None,
        severity: str | None = None,
        operator: str | None = None,
        **changes: Any,
    ) -> None:
        """Takes an edge."""
        self.stick(stuck=False)  # before: the run counts it by the state that it leaves
        ws = self.value
        metadata = WorkstreamMetadata(
            len(ws.spec.tasks),
            ws.completed,
            ws.failed,
            ws.cancelled,
            ws.noncritical_failures,
            None if ws.started_at is None else round(self.now - ws.started_at, 6),
            ws.critical_failure,
        )
        said = {"reason": reason, "severity": severity, "operator": operator}
        self.take(target, trigger, metadata, **said, **changes)
        left_behind = ws.noncritical_failures if target in ENDS else 0
        what = (ws.address, ws.state, target, ws.spec.critical, ws.through_failure, left_behind)
        self.send(f"run:{ws.run_id}", m.WorkstreamMoved(*what, reason))

    def stick(self, *, stuck: bool) -> None:
        """Tells the run whether only a person moves a workstream whose state does not say so."""
        if stuck is not self.value.stuck:
            self.change(stuck=stuck)
            self.send(f"run:{self.value.run_id}", m.WorkstreamStuck(self.value.address, stuck))

    def reach(self, order: Order, index: int = 0) -> None:
        """Tells a slice of the tasks that `order` concerns."""
        spec = self.value.spec
        match order:
            case m.ClockHeld():
                names = spec.timed
            case m.DependencyBlocked():
                names = spec.bridges
            case m.Begin() | m.Cancel() | m.EndBlocked():
                names = spec.tasks
        following = index + SLICE
        urgent = isinstance(order, m.Cancel)
        for name in names[index:following]:
            self.send(f"task:{self.value.id}/{name}", order, control=urgent)
        if following < len(names):
            self.send(self.value.address, m.Reach(order, following), control=urgent)
