"""What a campaign found, for a person and for a program.

The text of a failure reads as a story: what was broken and when, how to see it again, what it takes
to make it fail, how it came about.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec

from runtime.sim import covering
from runtime.sim.case import Case, Coverage, Failure
from runtime.sim.choices import REST
from runtime.sim.shrink import Extent, Shrunk
from runtime.sim.trace import clock, length, plain

_DETAIL_MAX = 3
_STEPS_MAX = 8
_WIDTH = 240  # a chain of causes is cut off there: the timeline has all of it


class Ended(StrEnum):
    """Why a campaign ended."""

    SEEDS = "seeds"  # all were run
    BUDGET = "budget"
    FAILURES = "failures"  # as many as were asked for
    INTERRUPTED = "interrupted"


class Smaller(msgspec.Struct, frozen=True):
    """How far a case was shrunk."""

    before: Extent
    after: Extent
    runs: int
    seconds: float
    whole: bool
    pinned: bool

    @classmethod
    def of(cls, shrunk: Shrunk) -> Smaller:
        return cls(
            shrunk.before, shrunk.after, shrunk.runs, shrunk.seconds, shrunk.whole, shrunk.pinned
        )

    def __str__(self) -> str:
        if not self.pinned:
            return "no: it does not fail again the same way; run it with --check-determinism"
        a, b = self.before, self.after
        parts = [f"{_many(a.faults, 'fault')} to {b.faults}"] if a.faults else []
        parts += [
            f"{was} {name} to {b.sizes[name]}"
            for name, was in sorted(a.sizes.items())
            if b.sizes.get(name, was) != was
        ]
        parts.append(f"{_many(a.choices, 'choice')} to {b.choices}")
        parts.append(f"{_many(a.events, 'event')} to {b.events}")
        ran = f"{_many(self.runs, 'run')}, {self.seconds:.1f} s"
        return f"{', '.join(parts)} ({ran}{'' if self.whole else ', cut off'})"


class Found(msgspec.Struct, frozen=True):
    """One bug: the first run that showed it, and what is left of it after shrinking."""

    failure: Failure
    found_by: Case
    nth: int  # of the campaign's runs
    times: int  # how many of its runs showed the same bug
    case: Case
    smaller: Smaller | None
    steps: tuple[str, ...]
    chain: str
    parted: str
    replay: str
    case_file: str = ""
    timeline: str = ""

    def lines(self, name: str) -> Iterator[str]:
        """The story, about fifteen lines."""
        failure = self.failure
        where = f"at {clock(failure.at)}, event #{failure.n}"
        yield f"{name}: {plain(failure.invariant)} is broken {where}"
        yield f"  {_cut(plain(failure.text))}"
        yield from (f"    {plain(line)}" for line in failure.detail[:_DETAIL_MAX])
        again = f", and {self.times - 1} more like it" if self.times > 1 else ""
        strategy = self.found_by.config.strategy
        by = f"seed {self.found_by.seed} ({strategy})"
        if self.nth:
            by = f"{by}, run {self.nth:,}{again}"
        elif REST in self.found_by.overrides:  # its strategy is what shrinking left of the seed's
            by = f"a saved case, shrunk from seed {self.found_by.seed}"
        else:
            by = f"a saved case, {by}"
        yield f"  found by  {by}"
        yield f"  replay    {self.replay}"
        if self.smaller is not None:
            yield f"  shrunk    {self.smaller}"
        yield "  what it takes:" if self.steps else "  what it takes: nothing, the calm run fails"
        yield from (f"    {k}. {step}" for k, step in enumerate(self.steps[:_STEPS_MAX], 1))
        if len(self.steps) > _STEPS_MAX:
            yield f"    and {len(self.steps) - _STEPS_MAX} more, which the case names"
        if self.steps and self.smaller is not None and self.smaller.pinned:
            yield "    everything else: first come, first served, no fault, no delay"
        if self.chain:
            yield f"  how it came  {_cut(self.chain)}"
        if self.parted:
            yield f"  {_cut(self.parted)}"
        for label, path in (("case", self.case_file), ("timeline", self.timeline)):
            if path:
                yield f"  {label:<9} {path}"


class Known(msgspec.Struct, frozen=True):
    """A saved case that was run again. `state`: passes, fails, stale, or not (readable)."""

    file: str
    state: str
    text: str = ""


class Explored(msgspec.Struct, frozen=True):
    """How much ground a campaign has covered."""

    runs: int
    events: int
    simulated_s: float
    seconds: float
    states: int
    unseen: float
    faults: dict[str, int] = {}
    pairs: int = 0
    edges: int = 0


class Report(msgspec.Struct, frozen=True):
    """What a campaign came to. `ok`: nothing was found, and a case that was named is not stale."""

    name: str
    scenario: str
    explored: Explored
    ended: Ended
    failures: tuple[Found, ...] = ()
    known: tuple[Known, ...] = ()
    never: tuple[str, ...] = ()
    """Labels of `sometimes` and `always` that no run came by."""
    notes: tuple[str, ...] = ()
    strict: bool = False
    """Whether all that was asked for is one saved case, by its name."""
    coverage: Coverage = msgspec.field(default_factory=Coverage)
    """Of all runs; `to_json` leaves it out."""

    @property
    def ok(self) -> bool:
        return not self.failures and not (self.strict and self.stale)

    @property
    def idle(self) -> bool:
        """Whether there were runs, and in none of them anything to look at."""
        e = self.explored
        return bool(e.runs) and not (e.states or e.pairs or e.simulated_s)

    @property
    def stale(self) -> int:
        """How many saved cases prove nothing any more."""
        return sum(known.state == "stale" for known in self.known)

    def to_json(self) -> dict[str, Any]:
        """The whole report as plain values."""
        told: dict[str, Any] = msgspec.to_builtins(
            msgspec.structs.replace(self, coverage=Coverage())
        )
        del told["coverage"]
        return {"ok": self.ok, **told}

    def lines(self) -> Iterator[str]:
        """The report for a person: each failure as a story, then what was covered."""
        for found in self.failures:
            yield from found.lines(self.name)
            yield ""
        yield summary(self)
        if self.explored.runs and (covered := covering.told(self)):
            yield f"  covered: {covered}"
        if self.ended is Ended.INTERRUPTED:
            yield "  interrupted: this is what is known so far"
        for known in self.known:
            if known.state != "passes":
                yield f"  saved case {known.file}: {known.state}{_after(known.text)}"
        if self.idle:
            yield "  warning: nothing happened in any run: sim.submit a plan, or sim.spawn an actor"
        if self.never:
            yield f"  never came by: {', '.join(plain(label) for label in self.never)}"
        yield from (f"  note: {plain(note)}" for note in self.notes)

    def __str__(self) -> str:
        return "\n".join(self.lines())


def summary(report: Report) -> str:
    """One line: how many runs, and what they covered."""
    e = report.explored
    speed = f"{e.events / e.seconds:,.0f} events/s" if e.seconds > 0 else "no time"
    found = _many(len(report.failures), "bug") if report.failures else "nothing found"
    known = f", {_many(len(report.known), 'saved case')}" if report.known else ""
    if report.stale and report.strict:
        return f"{report.name}: the saved case is stale, so nothing is known"
    if report.stale:
        known += (
            f", {_many(report.stale, 'saved case')} {'is' if report.stale == 1 else 'are'} stale"
        )
    if known and not e.runs:
        return f"{report.name}: {found}{known}"
    return (
        f"{report.name}: {found} in {_many(e.runs, 'run')}{known}; {_many(e.events, 'event')}, "
        f"{speed}, {length(e.simulated_s)} simulated in {e.seconds:.1f} s; "
        f"{_many(e.states, 'state')}, a new one in the next run: {share(e.unseen)}"
    )


def share(part: float) -> str:
    """A probability; what is hardly ever is not shown as never."""
    return "under 0.1%" if 0 < part < 0.001 else f"{part:.1%}"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _after(text: str) -> str:
    return f", {plain(text)}" if text else ""


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 4] + " ..."
