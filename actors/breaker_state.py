"""A breaker's states, edges and stored value.

The machine itself, its diagram and its invariants are in `actors.breaker`.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
from msgspec.structs import replace

from actors import breaker_rules as rules
from actors.guard_messages import Ticket
from actors.machine import Chart, Edge
from actors.spec import Breaker as BreakerSpec
from actors.spec import breaker_id


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


EDGES: tuple[Edge, ...] = (
    Edge(State.CLOSED, State.OPEN, "failure_threshold_exceeded", "error"),
    Edge(State.OPEN, State.HALF_OPEN, "cooldown_expired", "warning"),
    Edge(State.HALF_OPEN, State.CLOSED, "success_threshold_met", "info"),
    Edge(State.HALF_OPEN, State.OPEN, "test_failed", "error"),
    Edge(State.CLOSED, State.OPEN, "manual_override", "warning"),
    Edge(State.OPEN, State.HALF_OPEN, "manual_override", "warning"),
    Edge(State.HALF_OPEN, State.CLOSED, "manual_override", "warning"),
    Edge(State.HALF_OPEN, State.OPEN, "manual_override", "warning"),
)

CHART = Chart("circuit_breaker", State, State.CLOSED, (), EDGES)


class Mode(StrEnum):
    """What an operator laid over the three states."""

    AUTO = "auto"
    HELD = "held"
    DISABLED = "disabled"
    SHADOW = "shadow"


class Breaker(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One tool's breaker."""

    id: str
    run_id: str | None
    state: State
    created_at: float
    started_at: float | None
    completed_at: float | None
    reason: str | None
    spec: BreakerSpec
    tool: str
    since: float  # when this state, or its present cooldown, began
    mode: Mode = Mode.AUTO
    epoch: int = 0
    due: float | None = None  # the end of the cooldown
    streak: int = 0  # openings without a close between: the rung of the cooldown's ladder
    counts: rules.Counts = rules.NOTHING_COUNTED
    successes: int = 0  # of probes, in a row
    inconclusive: int = 0  # probes, in a row
    serial: int = 0  # of the last probe
    probe: Ticket | None = None
    ramp: int | None = None  # after a close: calls that may be under way at a time; None: any
    answers: int = 0  # of the tool, at the present step of the ramp
    revised: BreakerSpec | None = None  # what a later plan says instead of `spec`
    health: tuple[str, ...] = ()  # the tool's health command, started in `base_dir`
    base_dir: str = "."

    @property
    def rules(self) -> BreakerSpec:
        """The settings in force."""
        return self.spec if self.revised is None else self.revised


def create(
    tool: str,
    command: tuple[str, ...],
    spec: BreakerSpec,
    now: float,
    *,
    health: tuple[str, ...] = (),
    base_dir: str = ".",
) -> Breaker:
    """A breaker as it is spawned. ValueError names every fault of the spec."""
    if found := rules.faults(spec):
        raise ValueError(f"breaker of {tool}: {'; '.join(found)}")
    name = breaker_id(tool, command)
    made = Breaker(name, None, State.CLOSED, now, now, None, None, spec, tool, now)
    return replace(made, health=health, base_dir=base_dir)
