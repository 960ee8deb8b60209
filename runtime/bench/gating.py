"""What gating ahead of their turn is worth: the planner of the merge queue, in virtual time.

A model of patches, drawn from a seed, is put through the real planner: each is good with
probability `rate`, a tree passes if every patch in it is good, and a gate takes the time 1, give or
take a tenth. Merging, stopping and landing take no time, and the queue never runs dry. A window of
one is the serial queue: what the others are compared with.
"""

from __future__ import annotations

import heapq
from collections import deque
from random import Random
from typing import Final

import msgspec

from actors import merge_odds
from actors.merge_evidence import Evidence
from actors.merge_queue import (
    POSITIONS_PER_PLACE,
    Attempt,
    Build,
    Built,
    End,
    GateOutcome,
    Plan,
    Queue,
    Staged,
    Start,
    plan,
)

CASES: Final = ((2, 0.8), (4, 0.5), (4, 0.8), (4, 0.9), (8, 0.8), (8, 0.9), (8, 0.95))
EARLY: Final = 0.3  # of a gate's time, where what fails fails early
SPREAD: Final = 0.1
GATES: Final = ("gate",)
SEED: Final = 1


class Measured(msgspec.Struct, frozen=True):
    """What a queue came to: per patch that was settled, or per time of one gate."""

    throughput: float  # patches settled in the time of one gate
    starts: float  # gates started per patch
    work: float  # time of gates per patch, that of stopped ones included


class Row(msgspec.Struct, frozen=True):
    """One line of the table; `early` where failing gates end after EARLY of their time."""

    window: int
    rate: float
    of_use: int  # the places whose result is of use at least every second time
    formula: float
    serial: Measured
    speculative: Measured
    serial_early: Measured
    speculative_early: Measured


class Gating(msgspec.Struct, frozen=True):
    """The table, and what it was made with."""

    patches: int
    seed: int
    early: float
    rows: tuple[Row, ...]


def measure(patches: int = 1_500) -> Gating:
    """The whole table, from `patches` patches a cell. The same on every machine."""
    rows = tuple(_row(window, rate, patches) for window, rate in CASES)
    return Gating(patches, SEED, EARLY, rows)


def _row(window: int, rate: float, patches: int) -> Row:
    return Row(
        window,
        rate,
        merge_odds.window(window, rate),
        round(merge_odds.speed_up(rate, window), 3),
        *(
            Model(rate, places, early).run(patches)
            for early in (1.0, EARLY)
            for places in (1, window)
        ),
    )


class Model:
    """A queue that never runs dry, its gates, and the time that they take."""

    def __init__(self, rate: float, window: int, early: float) -> None:
        self.rng = Random(SEED)
        self.rate, self.window, self.early = rate, window, early
        self.now = self.work = 0.0
        self.starts = self.settled = self.arrivals = 0
        self.tree = "0"
        self.good: dict[str, bool] = {self.tree: True}  # by tree and by patch
        self.patches: deque[Staged] = deque()
        self.evidence = Evidence()
        self.ends: list[tuple[float, str]] = []  # a heap
        self.began: dict[str, float] = {}

    def run(self, patches: int) -> Measured:
        """Until so many are settled."""
        while self.settled < patches:
            while self._perform(self._plan()):
                pass
            self._hear()
        return Measured(
            round(self.settled / self.now, 3),
            round(self.starts / self.settled, 3),
            round(self.work / self.settled, 3),
        )

    def _plan(self) -> Plan:
        while len(self.patches) <= POSITIONS_PER_PLACE * self.window:
            self.arrivals += 1
            name = f"p{self.arrivals}"
            self.good[name] = self.rng.random() < self.rate
            self.patches.append(Staged(name, gates=GATES))
        known = self.evidence
        return plan(
            Queue(
                tree=self.tree,
                patches=tuple(self.patches),
                window=self.window,
                attempts=known.attempts.values(),
                builds=known.builds,
                verdicts=known.verdicts,
                stalls=known.stalls,
            )
        )

    def _perform(self, found: Plan) -> bool:
        """Takes the steps. Whether there was any after which there may be others."""
        for end in found.conclude:
            assert end.end is End.QUARANTINED, "in this model a gate says no, and nothing else does"
            assert not self.good[end.patch], "a good patch was blamed"
            self._settle(end.patch)
        if found.land is not None:
            self.tree = found.land.tree
            self._settle(found.land.patch)
        for stop in found.stop:
            self._free(self.evidence.attempts[stop.attempt], None)
        if found.build is not None:
            self._build(found.build)
        for start in found.start:
            self._start(start)
        return bool(found.conclude or found.land or found.stop or found.build)

    def _settle(self, patch: str) -> None:
        first = self.patches.popleft()
        assert first.id == patch, "not in order"
        self.settled += 1
        self.evidence.left(patch)

    def _build(self, order: Build) -> None:
        tree = f"t{len(self.good)}"
        self.good[tree] = self.good[order.base] and self.good[order.patch]
        self.evidence.built(order, Built(tree))

    def _start(self, order: Start) -> None:
        self.starts += 1
        name = f"a{self.starts}"
        self.evidence.started(name, order)
        assert len(self.evidence.attempts) <= self.window, "more than the window"
        length = 1.0 + SPREAD * (2.0 * self.rng.random() - 1.0)
        if not self.good[order.tree]:
            length *= self.early
        self.began[name] = self.now
        heapq.heappush(self.ends, (self.now + length, name))

    def _hear(self) -> None:
        """The next gate that ends."""
        at, name = heapq.heappop(self.ends)
        attempt = self.evidence.attempts.get(name)
        if attempt is None:
            return  # it was stopped
        self.now = at
        good = self.good[attempt.question[0]]
        self._free(attempt, GateOutcome.PASSED if good else GateOutcome.FAILED)

    def _free(self, attempt: Attempt, outcome: GateOutcome | None) -> None:
        self.work += self.now - self.began.pop(attempt.id)
        if outcome is None:
            self.evidence.stopping(attempt.id)
        self.evidence.ended(attempt.id, attempt.question, outcome)
