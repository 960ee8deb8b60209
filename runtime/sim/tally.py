"""What many runs came to, added up: counts, coverage, failures. Adding is associative, so the sum
does not depend on how the runs were spread over processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from runtime.sim.case import Case, Coverage, Failure, Result


class Tally(msgspec.Struct):
    """The sum of some runs, in the order of their seeds."""

    runs: int = 0
    events: int = 0
    simulated_s: float = 0.0
    coverage: Coverage = msgspec.field(default_factory=Coverage)
    once: set[int] = msgspec.field(default_factory=set)
    """Abstract states that exactly one run has been in."""
    failures: list[Result] = msgspec.field(default_factory=list)
    passed: Case | None = None
    """The last case that passed."""

    def add(self, result: Result) -> None:
        """One more run."""
        self.runs += 1
        self.events += result.events
        self.simulated_s += result.simulated_s
        seen = result.coverage.states
        self._states(seen, seen)
        _join(self.coverage, result.coverage)
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
        self._states(later.coverage.states, later.once)
        _join(self.coverage, later.coverage)
        self.failures += later.failures
        self.passed = later.passed or self.passed

    def _states(self, states: set[int], once: set[int]) -> None:
        # In place: a campaign has many runs, and the sets grow with it.
        self.once -= states
        self.once |= once - self.coverage.states

    def unseen(self) -> float:
        """The chance that one more run shows a state that none has shown, after Good and Turing:
        how many states a run has brought that no other did, at most 1."""
        return min(1.0, len(self.once) / self.runs) if self.runs else 1.0


def _join(into: Coverage, more: Coverage) -> None:
    into.pairs |= more.pairs
    into.edges |= more.edges
    into.states |= more.states
    into.faults.update(more.faults)
    for mine, theirs in ((into.sometimes, more.sometimes), (into.always, more.always)):
        for label, count in theirs.items():
            mine[label] = mine.get(label, 0) + count


def write_coverage(path: Path, covered: Iterable[Coverage]) -> None:
    """The sum of what was covered, as JSON: pairs of state and message, edges, faults, how often
    each `sometimes` held and each `always` was looked at, and how many states there were."""
    total = Coverage()
    for each in covered:
        _join(total, each)
    told = {
        "pairs": sorted(total.pairs),
        "edges": sorted(total.edges),
        "faults": dict(sorted(total.faults.items())),
        "sometimes": dict(sorted(total.sometimes.items())),
        "always": dict(sorted(total.always.items())),
        "states": len(total.states),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n")


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
