"""What many runs came to, added up: counts, coverage, failures. Adding is associative, so the sum
does not depend on how the runs were spread over processes."""

from __future__ import annotations

from collections import Counter

import msgspec

from runtime.sim.case import Case, Coverage, Failure, Result
from runtime.sim.coverage import Alone
from runtime.sim.covering import add


class Tally(msgspec.Struct):
    """The sum of some runs, in the order of their seeds."""

    runs: int = 0
    events: int = 0
    simulated_s: float = 0.0
    coverage: Coverage = msgspec.field(default_factory=Coverage)
    alone: Alone = msgspec.field(default_factory=Alone)
    """Abstract states that just one run has been in, by its seed."""
    failures: list[Result] = msgspec.field(default_factory=list)
    passed: Case | None = None
    """The last case that passed."""

    def add(self, result: Result) -> None:
        """One more run."""
        self.runs += 1
        self.events += result.events
        self.simulated_s += result.simulated_s
        seen = result.coverage.states
        self.alone.take(seen, dict.fromkeys(seen, result.case.seed), self.coverage.states)
        add(self.coverage, result.coverage)
        if result.failure is None:
            self.passed = result.case
        else:
            result.coverage = Coverage()  # counted now, and large
            self.failures.append(result)

    def merge(self, later: Tally) -> None:
        """All runs of another tally, which come after these."""
        self.runs += later.runs
        self.events += later.events
        self.simulated_s += later.simulated_s
        self.alone.take(later.coverage.states, later.alone.states, self.coverage.states)
        add(self.coverage, later.coverage)
        self.failures += later.failures
        self.passed = later.passed or self.passed

    def unseen(self) -> float:
        """The chance that one more run shows a state that none has shown, after Good and Turing:
        the share of runs that have been in a state which no other has been in."""
        return len(self.alone.runs) / self.runs if self.runs else 1.0


def same_bug(failure: Failure) -> tuple[str, str]:
    """What two failures of one bug have in common."""
    return failure.invariant, failure.signature


def distinct(failures: list[Result]) -> tuple[list[Result], Counter[tuple[str, str]]]:
    """The first failure of each bug, and how many runs each bug has failed."""
    firsts: dict[tuple[str, str], Result] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for result in failures:
        assert result.failure is not None
        bug = same_bug(result.failure)
        counts[bug] += 1
        firsts.setdefault(bug, result)
    return list(firsts.values()), counts
