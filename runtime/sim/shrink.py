"""Shrinking: what a failing case can do without, and still fail in the same way.

The first step pins the case down: all that was chosen becomes an override, and everything else is
calm. From then on a candidate is an edit of that short list, of the sizes or of the horizon. Keys
are names, so leaving one out does not move the others. Order: all but faults at once, whole kinds
of faults, single faults, fewer tasks and workers, a shorter run, latencies, the order of turns,
smaller values, earlier occasions; then round again, until a round finds nothing to leave out.

Invariants:
1. A candidate counts only if the same invariant fails with the same signature.
2. The case is recorded anew after each edit that counts: the next one works on what then happened.
3. The same failing case gives the same smallest case, unless the time runs out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from runtime.sim.case import Case, Result
from runtime.sim.choices import REST
from runtime.sim.faults import rates_of
from runtime.sim.sites import Sort, sort_of, what_of

RUNS_MAX: Final = 500
"""Candidates tried: what is left after so many is small enough to read."""

SECONDS_MAX: Final = 30.0
"""A person waits for the answer; a case is worth no more of their time."""

_MARGIN_S: Final = 1.0  # past the violation: what fails at a deadline must still reach it

Run = Callable[[Case], Result]


class Extent(msgspec.Struct, frozen=True):
    """How much there is to read in a case."""

    faults: int
    choices: int
    sizes: dict[str, int]
    events: int
    simulated_s: float


class Progress(msgspec.Struct, frozen=True):
    """Where shrinking stands; `stage` is what it is leaving out now."""

    stage: str
    runs: int
    extent: Extent


class Shrunk(msgspec.Struct, frozen=True):
    """The smallest case found: `result` is its run. `whole` is False where a bound ended the search
    before there was nothing more to leave out, `pinned` where the case did not repeat at all."""

    result: Result
    before: Extent
    after: Extent
    runs: int
    seconds: float
    whole: bool
    pinned: bool


class _Spent(Exception):
    """The bound of runs or of time is reached."""


def extent_of(result: Result) -> Extent:
    """How much there is to read in the run of a case."""
    faults = sum(1 for key in result.choices if sort_of(key) is Sort.FAULT)
    return Extent(
        faults,
        len(result.choices),
        dict(result.case.config.sizes),
        result.events,
        result.simulated_s,
    )


def same_failure(one: Result, other: Result) -> bool:
    """Whether both broke the same promise in the same way."""
    a, b = one.failure, other.failure
    if a is None or b is None:
        return False
    return a.invariant == b.invariant and a.signature == b.signature


def pinned(result: Result) -> Case:
    """The case with everything that was chosen written down, and nothing left to chance."""
    overrides = {REST: 0, **dict(sorted(result.choices.items()))}
    return msgspec.structs.replace(result.case, overrides=overrides)


def _bare(result: Result) -> Case:
    """The same, and of the faults only the kinds that came."""
    case = result.case
    came = {what_of(key) for key in result.choices if sort_of(key) is Sort.FAULT}
    rates = rates_of(case.config, case.seed)
    faults = {kind: rate for kind, rate in rates.items() if kind in came}
    config = msgspec.structs.replace(case.config, faults=faults)
    return msgspec.structs.replace(pinned(result), config=config)


def shrink(
    failing: Result,
    run: Run,
    *,
    runs_max: int = RUNS_MAX,
    seconds_max: float = SECONDS_MAX,
    clock: Callable[[], float] = time.perf_counter,
    say: Callable[[Progress], None] | None = None,
) -> Shrunk:
    """The smallest case that fails as `failing` does. `run` must be pure, and give `choices`."""
    began = clock()
    search = _Search(failing, run, runs_max, began + seconds_max, clock, say)
    whole = True
    try:
        search.pin()
        while search.pinned:
            before = search.best
            for stage, edits in _STAGES.items():
                search.stage = stage
                edits(search)
            if search.best is before:
                break
    except _Spent:
        whole = False
    return Shrunk(
        result=search.best,
        before=extent_of(failing),
        after=extent_of(search.best),
        runs=search.runs,
        seconds=clock() - began,
        whole=whole,
        pinned=search.pinned,
    )


class _Search:
    """The smallest case so far, and the one way to try a smaller one."""

    def __init__(
        self,
        failing: Result,
        run: Run,
        runs_max: int,
        until: float,
        clock: Callable[[], float],
        say: Callable[[Progress], None] | None,
    ) -> None:
        self.failing = failing
        self.best = failing
        self.pinned = False
        self.runs = 0
        self.stage = "pinning it down"
        self._run = run
        self._runs_max = runs_max
        self._until = until
        self._clock = clock
        self._say = say
        self._tried: set[bytes] = set()

    def pin(self) -> None:
        self.pinned = self.accepts(_bare(self.failing)) or self.accepts(pinned(self.failing))

    def accepts(self, case: Case) -> bool:
        """Whether this case fails as well; then it is the best from here on."""
        name = msgspec.json.encode(case, order="deterministic")
        if name in self._tried:
            return False
        if self.runs >= self._runs_max or self._clock() > self._until:
            raise _Spent
        self._tried.add(name)
        self.runs += 1
        result = self._run(case)
        counts = same_failure(result, self.failing)
        if counts:
            # Overrides that no longer come up, and calm ones, say nothing: they go.
            result.case = pinned(result)
            self._tried.add(msgspec.json.encode(result.case, order="deterministic"))
            self.best = result
        if self._say is not None:
            self._say(Progress(self.stage, self.runs, extent_of(self.best)))
        return counts

    def with_config(self, **changes: object) -> bool:
        config = msgspec.structs.replace(self.best.case.config, **changes)
        return self.accepts(msgspec.structs.replace(self.best.case, config=config))

    def without(self, keys: set[str], **changes: object) -> bool:
        case = self.best.case
        left = {key: value for key, value in case.overrides.items() if key not in keys}
        config = msgspec.structs.replace(case.config, **changes)
        return self.accepts(msgspec.structs.replace(case, overrides=left, config=config))

    def keys(self, sort: Sort) -> list[str]:
        return sorted(key for key in self.best.choices if sort_of(key) is sort)

    def leave_out(self, sort: Sort) -> None:
        """Delta debugging: halves, then quarters, down to single choices, each left out if it is
        not needed."""
        keys = self.keys(sort)
        size = len(keys)
        while size:
            at = 0
            while at < len(keys):
                chunk = keys[at : at + size]
                if self.without(set(chunk)):
                    gone = set(chunk)
                    left = set(self.keys(sort))
                    keys = [key for key in keys if key in left and key not in gone]
                else:
                    at += size
            size = min(size // 2, len(keys))


def _all_at_once(search: _Search) -> None:
    """The boldest first: where a run takes seconds, there is no time for single choices."""
    search.without({*search.keys(Sort.LATENCY), *search.keys(Sort.ORDER)}, strategy="fifo")
    search.without(set(search.keys(Sort.LATENCY)))
    search.without(set(search.keys(Sort.ORDER)))


def _fault_kinds(search: _Search) -> None:
    for kind in sorted(search.best.case.config.faults):
        gone = {key for key in search.keys(Sort.FAULT) if what_of(key) == kind}
        rates = search.best.case.config.faults
        search.without(gone, faults={k: rate for k, rate in rates.items() if k != kind})


def _faults(search: _Search) -> None:
    search.leave_out(Sort.FAULT)


def _sizes(search: _Search) -> None:
    for name in sorted(search.best.case.config.sizes):
        while any(
            search.with_config(sizes={**search.best.case.config.sizes, name: smaller})
            for smaller in _smaller(search.best.case.config.sizes[name], 1)
        ):
            pass


def _smaller(value: int, least: int) -> Iterator[int]:
    """What to try instead, boldest first."""
    tried = {value}
    for each in (least, value // 2, value - 1):
        if least <= each < value and each not in tried:
            tried.add(each)
            yield each


def _horizon(search: _Search) -> None:
    failure, config = search.best.failure, search.best.case.config
    assert failure is not None
    if failure.at + _MARGIN_S < config.horizon_s:
        search.with_config(horizon_s=float(int(failure.at) + 1))


def _latencies(search: _Search) -> None:
    search.without(set(search.keys(Sort.LATENCY)))
    search.leave_out(Sort.LATENCY)


def _order(search: _Search) -> None:
    keys = set(search.keys(Sort.ORDER))
    config = search.best.case.config
    if config.strategy != "fifo":
        search.without(keys, strategy="fifo")
        search.with_config(strategy="fifo")
    search.leave_out(Sort.ORDER)


def _values(search: _Search) -> None:
    search.leave_out(Sort.VALUE)
    for key in sorted(search.best.choices):
        while any(_with_value(search, key, v) for v in _smaller(search.best.choices[key], 1)):
            if key not in search.best.choices:
                break


def _with_value(search: _Search, key: str, value: int) -> bool:
    case = search.best.case
    return search.accepts(msgspec.structs.replace(case, overrides={**case.overrides, key: value}))


def _earlier(search: _Search) -> None:
    """What happens at somebody's seventh occasion may as well happen at the first."""
    for key in sorted(search.best.choices):
        at = key
        while any(_moved(search, at, n) for n in _smaller(_occurrence(at), 1)):
            left = [k for k in search.best.choices if _place(k) == _place(at)]
            at = min(left, key=_occurrence, default=at)
            if at not in search.best.choices:
                break


def _moved(search: _Search, key: str, n: int) -> bool:
    case = search.best.case
    if key not in case.overrides or f"{_place(key)}/{n}" in case.overrides:
        return False
    overrides = {k: v for k, v in case.overrides.items() if k != key}
    overrides[f"{_place(key)}/{n}"] = case.overrides[key]
    return search.accepts(msgspec.structs.replace(case, overrides=overrides))


def _place(key: str) -> str:
    return key.rpartition("/")[0]


def _occurrence(key: str) -> int:
    last = key.rpartition("/")[2]
    return int(last) if last.isdecimal() else 0


_STAGES: Final[dict[str, Callable[[_Search], None]]] = {
    "all but faults": _all_at_once,
    "kinds of faults": _fault_kinds,
    "faults": _faults,
    "tasks and workers": _sizes,
    "time": _horizon,
    "latencies": _latencies,
    "order": _order,
    "values": _values,
    "places": _earlier,
}
