"""A gate's states, edges and stored value, and what each of its events carries.

The machine itself, its diagram and its invariants are in `actors.gate`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from actors import messages as m
from actors.guard_messages import Ticket
from actors.machine import Chart, Edge, Turn
from actors.messages import Check, Outcome, Standing
from actors.override import Wanted
from actors.spec import GateSeed
from actors.waits import Waits

# Askers told in one turn: a turn stays short however many wait.
SLICE = 500


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
ENDS = (State.PASSED, State.FAILED, State.CANCELLED)
CHART = Chart("test_gate", State, State.PENDING, ENDS, EDGES)


class Verdict(StrEnum):
    """What an entity found, in one word. The last one is none on the work."""

    PASSED = "passed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    REJECTED = "rejected"
    EXPIRED = "expired"  # nobody approved in time
    INFRASTRUCTURE = "infrastructure"


class Gate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
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
    needed: bool = False
    queued: bool = False  # it has asked for a place and has none yet
    admitting: bool = False  # it has a place, and has asked its breaker
    parked: bool = False  # its breaker refused it: it waits until that lets calls through again
    ticket: Ticket | None = None  # of its breaker, while RUNNING
    asked_at: float | None = None  # PENDING, since when it waits for a person's word
    after: Waits = Waits()  # the gates that it depends on
    tries: int = 0  # executions so far: the number of the last output file
    losses: int = 0  # those that infrastructure ended
    waiting: bool = False  # RUNNING, between two tries
    cancelling: bool = False
    through_failure: bool = False
    operator: str | None = None  # who cancelled it
    told: Standing = Standing.WAITING  # what its askers know
    replaced_by: str | None = None
    wanted: Wanted | None = None  # an override that waits until its command is dead
    verdict: Verdict | None = None
    check: Check | None = None  # how the verdict came about, where a command gave it

    @property
    def address(self) -> str:
        return f"test_gate:{self.id}"


class GateMetadata(msgspec.Struct, frozen=True, gc=False):
    """What every event of a gate carries."""

    name: str
    verdict: str | None
    exit_code: int | None
    approver: str | None
    duration_seconds: float | None
    tries: int
    judged_by: str | None
    tests: int | None
    key: str | None
    unkeyed: str | None
    reused_from: str | None
    error: str | None
    output_bytes: int
    output_digest: str | None
    truncated: bool
    confinement: str | None


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
        after=Waits(len(seed.sources)),
    )


NO_OUTCOME = Outcome()
NO_CHECK = Check()


class GateTurn(Turn[Gate]):
    """A gate's turn: every edge carries what its command came to, and its askers can be told."""

    def move(
        self,
        target: State,
        trigger: str,
        outcome: Outcome = NO_OUTCOME,
        *,
        reason: str | None = None,
        operator: str | None = None,
        **changes: Any,
    ) -> None:
        """Takes an edge."""
        check = outcome.check or NO_CHECK
        metadata = GateMetadata(
            self.value.name,
            changes.get("verdict"),
            outcome.exit_code,
            changes.get("approver"),
            None if outcome is NO_OUTCOME else outcome.duration_s,
            self.value.tries,
            check.judged_by,
            check.tests,
            check.key,
            check.unkeyed,
            check.reused_from,
            outcome.error,
            outcome.output_bytes,
            outcome.output_digest,
            outcome.truncated,
            outcome.confinement,
        )
        self.take(target, trigger, metadata, reason=reason, operator=operator, **changes)

    def tell(self, outcome: str, standing: Standing, reason: str | None = None) -> None:
        """Tells all who asked, or will ask, what this entity means to them now."""
        gate = self.value
        said = (outcome, standing, gate.told, gate.spec.ticket, reason)
        self.reach(m.GateVerdict(gate.address, gate.name, *said))
        self.change(told=standing)

    def reach(self, order: m.GateVerdict, index: int = 0) -> None:
        """Tells a slice of the askers in a turn."""
        askers = self.value.spec.askers
        following = index + SLICE
        for asker in askers[index:following]:
            self.send(asker, order)
        if following < len(askers):
            self.send(self.value.address, m.Reach(order, following))
