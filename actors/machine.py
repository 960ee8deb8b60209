"""The compiled edge tables: the only way in which a state changes.

Invariants:
1. An edge exists once, in its module's EDGES; everything else (SQL checks, diagrams, tests) is
   derived from the `Chart` compiled here.
2. `Chart.take` either returns the edge or raises; when it raises, nothing has happened.
3. A terminal state has no edge out, save those named in `sanctioned`.

Deliberately absent: callbacks, guards, hierarchy. A guard is an `if` in `decide`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Generic, TypeVar

import msgspec

from actors.effects import Effect, Send

S = TypeVar("S", covariant=True)
V = TypeVar("V", bound=msgspec.Struct)


class Edge(msgspec.Struct, frozen=True):
    """One legal move. `severity` is what its event carries unless the taker raises it."""

    source: str
    target: str
    trigger: str
    severity: str = "info"


class Taken(msgspec.Struct, frozen=True, gc=False):
    """An edge that a decision took, with what goes on record.

    `metadata` is any value that msgspec encodes to a JSON object. `event_type` None means
    "<entity_type>_state_transition".
    """

    source: str | None
    target: str
    trigger: str
    severity: str = "info"
    reason: str | None = None
    metadata: Any = None
    operator: str | None = None
    event_type: str | None = None


class Decision(msgspec.Struct, Generic[S], frozen=True, gc=False):
    """What one turn decided: the next state, the edges taken in order, the effects in order."""

    state: S
    edges: tuple[Taken, ...] = ()
    effects: tuple[Any, ...] = ()


class Turn(msgspec.Struct, Generic[V], gc=False):
    """What a turn has decided so far. It changes in place, its values do not.

    `move` takes an edge and stamps the end: `reason` and, in a terminal state, `completed_at` are
    the value's. Machines with more to say at every edge extend it.
    """

    chart: Chart
    value: V
    now: float
    edges: list[Taken] = []
    effects: list[Effect] = []

    def change(self, **changes: Any) -> None:
        """Replaces fields of the value."""
        self.value = msgspec.structs.replace(self.value, **changes)

    def take(
        self,
        target: StrEnum,
        trigger: str,
        metadata: Any,
        *,
        reason: str | None = None,
        severity: str | None = None,
        operator: str | None = None,
        **changes: Any,
    ) -> None:
        """Takes an edge from where the value stands. Raises as `Chart.take` does."""
        value, chart = self.value, self.chart
        edge = chart.edge(value.state, target, trigger)  # type: ignore[attr-defined] # all have one
        self.edges.append(
            Taken(
                edge.source,
                edge.target,
                trigger,
                severity or edge.severity,
                reason,
                metadata,
                operator,
            )
        )
        if target in chart.terminal:
            changes["completed_at"] = self.now
        self.value = msgspec.structs.replace(value, state=target, reason=reason, **changes)

    def send(self, to: str, message: Any, *, control: bool = False) -> None:
        """Puts a message into another inbox."""
        self.effects.append(Send(to, message, control))

    def decision(self) -> Decision[V]:
        """The turn as the kernel takes it."""
        return Decision(self.value, tuple(self.edges), tuple(self.effects))


class InvalidTransition(Exception):
    """An edge that is not in the chart; nothing has happened."""

    def __init__(self, machine: str, source: str, target: str, trigger: str) -> None:
        super().__init__(
            f"{machine}: no edge {source} -> {target} by {trigger}; see `banksman charts`"
        )
        self.machine = machine
        self.source = source
        self.target = target
        self.trigger = trigger


class TerminalState(InvalidTransition):
    """An edge out of a state that ends its entity; nothing has happened."""


class Chart:
    """The states and edges of one machine, compiled once.

    `sanctioned` names edges that may leave a terminal state (a committed patch that is rolled
    back). Raises ValueError when the table contradicts itself: a duplicate or dangling edge, an
    edge out of a terminal state, a state that cannot be reached.
    """

    __slots__ = ("_legal", "edges", "initial", "name", "states", "terminal")

    def __init__(
        self,
        name: str,
        states: type[StrEnum],
        initial: StrEnum,
        terminal: tuple[StrEnum, ...],
        edges: tuple[Edge, ...],
        sanctioned: tuple[tuple[StrEnum, StrEnum], ...] = (),
    ) -> None:
        self.name = name
        self.states: tuple[str, ...] = tuple(str(s) for s in states)
        self.initial = str(initial)
        self.terminal = frozenset(str(s) for s in terminal)
        self.edges = edges
        self._legal = {(e.source, e.target, e.trigger): e for e in edges}
        self._check({(str(a), str(b)) for a, b in sanctioned})

    def _check(self, sanctioned: set[tuple[str, str]]) -> None:
        if len(self._legal) != len(self.edges):
            raise ValueError(f"{self.name}: an edge is written twice")
        known = set(self.states)
        for e in self.edges:
            if e.source not in known or e.target not in known:
                raise ValueError(f"{self.name}: {e} names an unknown state")
            if e.source in self.terminal and (e.source, e.target) not in sanctioned:
                raise ValueError(f"{self.name}: {e} leaves a terminal state")
        reached = {self.initial}
        while more := {e.target for e in self.edges if e.source in reached} - reached:
            reached |= more
        if reached != known:
            raise ValueError(f"{self.name}: never reached: {sorted(known - reached)}")

    def is_terminal(self, state: str) -> bool:
        """Whether `state` ends its entity."""
        return state in self.terminal

    def edge(self, source: str, target: str, trigger: str) -> Edge:
        """The edge, or InvalidTransition; TerminalState where `source` is an end."""
        found = self._legal.get((source, target, trigger))
        if found is not None:
            return found
        wrong = TerminalState if source in self.terminal else InvalidTransition
        raise wrong(self.name, source, target, trigger)

    def take(
        self,
        source: str,
        target: str,
        trigger: str,
        *,
        reason: str | None = None,
        metadata: Any = None,
        severity: str | None = None,
        operator: str | None = None,
    ) -> Taken:
        """Takes the edge, for `Decision.edges`. Raises as `edge` does."""
        edge = self.edge(source, target, trigger)
        return Taken(source, target, trigger, severity or edge.severity, reason, metadata, operator)

    def born(self, *, reason: str | None = None, metadata: Any = None) -> Taken:
        """The creation of an entity, in its initial state."""
        return Taken(None, self.initial, "created", "info", reason, metadata)
