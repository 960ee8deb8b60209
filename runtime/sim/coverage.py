"""What simulations went through, against what there is; and what they have probably not seen.

Declared are: every message of a machine in each of its states, every edge of its chart, every kind
of fault. A state of the whole world is abstracted to how many actors of each kind are in which
state, counted 0, 1, 2, many; how fast new ones appear says how much is left to be seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from math import log2
from types import UnionType
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin
from zlib import crc32

import msgspec

from runtime.kinds import KINDS
from runtime.sim.faults import KINDS as FAULTS
from runtime.sim.monitors import Monitor

if TYPE_CHECKING:
    from runtime.epoch import Epoch
    from runtime.sim.case import Coverage
    from runtime.sim.monitors import World

_MANY: Final = 3
_MODULES: Final = {"test_gate": "gate", "circuit_breaker": "breaker", "patch_ledger": "patch"}


class AbstractStates(Monitor):
    """Adds the abstract state after each commit to the coverage of the run."""

    name = "abstract states"

    def __init__(self) -> None:
        self._hash = 0
        # By kind and state: how many actors there are, and what each number is in the hash.
        self._places: dict[tuple[str, str], tuple[list[int], dict[int, int]]] = {}

    def on_commit(self, world: World, epoch: Epoch) -> None:
        for cell, taken, _at in epoch.entries:
            if taken.event_type is None and cell.kind.chart is not None:
                kind = cell.kind.name
                if taken.source is not None:
                    self._count(kind, taken.source, -1)
                self._count(kind, taken.target, 1)
        world.coverage.states.add(self._hash)

    def _count(self, kind: str, state: str, step: int) -> None:
        place = self._places.get((kind, state))
        if place is None:
            place = self._places[kind, state] = ([0], {0: 0})
        counted, parts = place
        before = counted[0]
        counted[0] = after = before + step
        if before < _MANY or after < _MANY:
            if after not in parts:
                text = f"{kind}/{state}/{after}".encode()
                parts[after] = crc32(text) << 32 | crc32(text[::-1])
            self._hash ^= parts[before] ^ parts[after]


# --- what there is --------------------------------------------------------------------------------


@cache
def declared_pairs() -> frozenset[tuple[str, str, str]]:
    """Kind, state and message of everything that our machines say they take."""
    return frozenset(
        (name, state, message)
        for name, kind in KINDS.items()
        if kind.chart is not None
        for state in kind.chart.states
        for message in _messages(name)
    )


@cache
def declared_edges() -> frozenset[tuple[str, str, str, str]]:
    """Kind, source, target and trigger of every edge."""
    return frozenset(
        (name, str(edge.source), str(edge.target), edge.trigger)
        for name, kind in KINDS.items()
        if kind.chart is not None
        for edge in kind.chart.edges
    )


def _messages(kind: str) -> list[str]:
    module = import_module(f"actors.{_MODULES.get(kind, kind)}")
    return sorted({found.__name__ for found in _members(module.Inbox)})


def _members(of: Any) -> Iterator[type[Any]]:
    if get_origin(of) in {Union, UnionType}:
        for each in get_args(of):
            yield from _members(each)
    elif isinstance(of, type):
        yield of


# --- how much of it was seen ----------------------------------------------------------------------


class Share(msgspec.Struct, frozen=True):
    """So many of so many; and which are missing."""

    seen: int
    declared: int
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        percent = 100 * self.seen / self.declared if self.declared else 100.0
        return f"{self.seen:,} of {self.declared:,} ({percent:.0f} %)"


class Summary(msgspec.Struct, frozen=True):
    """What a campaign of `runs` covered. `unseen`: the chance that the next run shows an abstract
    state that none has shown, after Good and Turing. `growth`: abstract states after 1, 2, 4, ...
    runs. `vacuous`: what was promised or hoped for, and never once looked at or reached."""

    runs: int
    pairs: Share
    edges: Share
    faults: Share
    states: int
    unseen: float
    growth: tuple[tuple[int, int], ...]
    vacuous: tuple[str, ...]

    def lines(self) -> list[str]:
        """For a person."""
        curve = ", ".join(f"{states:,} after {runs:,}" for runs, states in self.growth)
        told = [
            f"messages in states: {self.pairs}",
            f"edges: {self.edges}",
            f"kinds of faults: {self.faults}",
            f"abstract states: {self.states:,}{f' ({curve})' if curve else ''}",
            f"a new one in the next run: {100 * self.unseen:.1f} %",
        ]
        return told + [f"warning: {each}" for each in self.vacuous]


def summary(
    coverage: Coverage,
    runs: int,
    alone: int = 0,
    growth: tuple[tuple[int, int], ...] = (),
    *,
    kinds: frozenset[str] = frozenset(),
) -> Summary:
    """`alone`: runs that have been in an abstract state that no other has been in. `kinds`: the
    machines that count; by default those of which any was seen."""
    counted = kinds or frozenset(kind for kind, _, _ in coverage.pairs)
    pairs = {pair for pair in declared_pairs() if pair[0] in counted}
    edges = {edge for edge in declared_edges() if edge[0] in counted}
    return Summary(
        runs=runs,
        pairs=_share(pairs, coverage.pairs),
        edges=_share(edges, coverage.edges),
        faults=_share({(kind,) for kind in FAULTS}, {(kind,) for kind in coverage.faults}),
        states=len(coverage.states),
        unseen=alone / runs if runs else 1.0,
        growth=growth,
        vacuous=tuple(vacuous(coverage)),
    )


def _share(declared: set[Any], seen: set[Any]) -> Share:
    missing = sorted(" ".join(each) for each in declared - seen)
    return Share(len(declared & seen), len(declared), tuple(missing))


def vacuous(coverage: Coverage) -> Iterator[str]:
    """What says nothing, because it was never put to the test."""
    for label, times in sorted(coverage.sometimes.items()):
        if not times:
            yield f"{label!r} should hold sometimes, and never did"
    for label, times in sorted(coverage.always.items()):
        if not times:
            yield f"{label!r} should hold always, and was never looked at"


class Alone(msgspec.Struct):
    """Which abstract states just one run has been in, and how many such each run has: the share of
    runs that have any is how likely one more run shows a new state (after Good and Turing; each run
    is asked whether it would have shown one, had it been the last)."""

    states: dict[int, int] = msgspec.field(default_factory=dict)  # state -> its run
    runs: dict[int, int] = msgspec.field(default_factory=dict)  # run -> how many, from 1 on

    def take(self, states: set[int], alone: Mapping[int, int], seen: set[int]) -> None:
        """More runs have been in `states`, of which just one in each of `alone`; before: `seen`."""
        for state in states & self.states.keys():
            run = self.states.pop(state)
            self.runs[run] -= 1
            if not self.runs[run]:
                del self.runs[run]
        for state, run in alone.items():
            if state not in seen:
                self.states[state] = run
                self.runs[run] = self.runs.get(run, 0) + 1


class Growth:
    """The number of abstract states after 1, 2, 4, 8, ... runs, as they are added one by one."""

    def __init__(self) -> None:
        self.runs = 0
        self._seen: set[int] = set()
        self._alone = Alone()
        self._points: dict[int, int] = {}

    def add(self, states: set[int]) -> None:
        """One more run has been in these."""
        self.runs += 1
        self._alone.take(states, dict.fromkeys(states, self.runs), self._seen)
        self._seen |= states
        if log2(self.runs).is_integer():
            self._points[self.runs] = len(self._seen)

    @property
    def alone(self) -> int:
        """How many runs have been in a state that no other has been in."""
        return len(self._alone.runs)

    @property
    def points(self) -> tuple[tuple[int, int], ...]:
        """Runs, and states after so many; the last point is the present."""
        return tuple({**self._points, self.runs: len(self._seen)}.items()) if self.runs else ()
