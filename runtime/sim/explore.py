"""A campaign: saved cases first, then seeds, then what was found is made small, told and kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from itertools import count
from pathlib import Path

import msgspec

from runtime.sim import cases, covering
from runtime.sim.case import Case, Config, Failure, Result
from runtime.sim.finding import Finding, near
from runtime.sim.pool import DETERMINISM, Load, Plan, Runnable, run_twice, sums
from runtime.sim.report import Ended, Explored, Found, Known, Report
from runtime.sim.settings import ENDLESS, Settings
from runtime.sim.shrink import Progress, same_failure
from runtime.sim.tally import Tally, distinct, same_bug


class Standing(msgspec.Struct, frozen=True):
    """Where a campaign stands, for somebody who watches. Without `seeds` the budget ends it."""

    name: str
    explored: Explored
    seeds: int | None
    bugs: int
    shrinking: Progress | None = None


class Replayed(msgspec.Struct, frozen=True):
    """A saved case that failed again."""

    path: Path
    case: cases.Saved
    now: Result


def explore(
    runnable: Runnable,
    name: str,
    base: Config,
    settings: Settings,
    *,
    load: Load | None = None,
    say: Callable[[Standing], None] | None = None,
) -> Report:
    """Explores a scenario. `load` finds it in another process; without it there is but one.

    An interruption (KeyboardInterrupt) ends it with what is known so far.
    Raises BadCase where `settings.case` cannot be read, and PoolBroke.
    """
    campaign = _Campaign(runnable, name, base, settings, load, say)
    ended = Ended.SEEDS
    try:
        ended = campaign.run()
    except KeyboardInterrupt:
        ended = Ended.INTERRUPTED
    return campaign.report(ended)


class _Campaign:
    """One scenario, explored once."""

    def __init__(
        self,
        runnable: Runnable,
        name: str,
        base: Config,
        settings: Settings,
        load: Load | None,
        say: Callable[[Standing], None] | None,
    ) -> None:
        self._runnable = runnable
        self._name = name
        self._base = base
        self._settings = settings
        self._load = load
        self._say = say
        self._tally = Tally()
        self._known: list[Known] = []
        self._replayed: list[Replayed] = []
        self._notes: list[str] = []
        self._began = time.perf_counter()
        self._ended: float | None = None

    def run(self) -> Ended:
        settings = self._settings
        if settings.case is not None:
            self._replay(settings.case)
            return Ended.SEEDS
        if settings.folder is not None:
            for path in cases.Folder(settings.folder).known(self._name):
                self._run_known(path)
        if len(self._replayed) >= settings.failures:
            return Ended.FAILURES
        return self._run_seeds()

    # --- saved cases --------------------------------------------------------------------------

    def _run_known(self, path: Path) -> None:
        try:
            self._run_saved(path, cases.read(path))
        except cases.BadCase as error:
            self._known.append(Known(near(path), "cannot be read", str(error)))

    def _run_saved(self, path: Path, case: cases.Saved) -> Result:
        # Saved elsewhere, perhaps: here the scenario has this name.
        ours = msgspec.structs.replace(case.case, scenario=self._runnable.locator)
        now = self._again(ours, case.failure)
        state, text = "passes", ""
        if now.failure is not None:
            was = Result(case.case, case.failure, case.trace_hash, case.events, 0.0)
            state = "fails" if same_failure(now, was) else "fails otherwise"
            self._replayed.append(Replayed(path, case, now))
        elif case.failure is not None and not cases.aligned(case, now):
            state = "stale"
            text = "what it steers no longer comes up, so it proves nothing: find it anew"
        self._known.append(Known(near(path), state, text))
        return now

    def _again(self, ours: Case, was: Failure | None) -> Result:
        """The run of a saved case; two of it where that two are one is in question."""
        questioned = was is not None and was.invariant == DETERMINISM
        if questioned or (self._settings.case is not None and self._settings.check_determinism):
            twice = run_twice(self._runnable, ours)
            if twice.failure is not None and twice.failure.invariant == DETERMINISM:
                return twice
        return self._runnable.run(ours, record=True)

    def _replay(self, path: Path) -> None:
        """One case, strictly: the first event that is not what it was is told."""
        case = cases.read(path)
        now = self._run_saved(path, case)
        if now.trace_hash == case.trace_hash:
            return
        if now.failure is not None and now.failure.invariant == DETERMINISM:
            return  # of course it is another run
        unlike = cases.told_unlike(case, now.happenings)
        if now.failure is not None:
            self._notes.append(unlike)
            return
        # It was asked for by name, to see that failure: a run that is another one and shows none
        # must not be read as proof that nothing is broken.
        anew = f"{self._settings.command} '{self._settings.target or self._runnable.locator}'"
        self._known[-1] = Known(near(path), "stale", f"{unlike}; find it anew: {anew}")

    # --- seeds --------------------------------------------------------------------------------

    def _run_seeds(self) -> Ended:
        settings = self._settings
        until = None if settings.budget_s is None else time.monotonic() + settings.budget_s
        with closing(self._sums(until)) as blocks:
            for block in blocks:
                self._tally.merge(block)
                self._tell(None)
                if len(distinct(self._tally.failures)[0]) >= settings.failures:
                    return Ended.FAILURES
                if until is not None and time.monotonic() >= until:
                    return Ended.BUDGET
        return Ended.SEEDS

    def _sums(self, until: float | None) -> Generator[Tally]:
        settings = self._settings
        base = msgspec.structs.replace(
            self._base,
            strategy=settings.strategy,
            depth=settings.depth,
            faults=self._base.faults if settings.faults is None else settings.faults,
        )
        plan = Plan(self._runnable.locator, base, settings.failures, settings.check_determinism)
        jobs, load = settings.jobs, self._load
        if jobs > 1 and load is None:
            self._notes.append("one process only: another would not find a function inside another")
        return sums(self._runnable, plan, settings.seeds, jobs=jobs, until=until, load=load)

    def _tell(self, shrinking: Progress | None) -> None:
        if self._say is not None:
            seeds = None if self._settings.seeds is ENDLESS else len(self._settings.seeds)
            bugs = len(distinct(self._tally.failures)[0])
            self._say(Standing(self._name, self._explored(), seeds, bugs, shrinking))

    # --- what became of it --------------------------------------------------------------------

    def report(self, ended: Ended) -> Report:
        self._ended = time.perf_counter()
        found: list[Found] = []
        try:
            for each in self._findings():
                found.append(each)  # noqa: PERF402 - an interruption keeps those before it
        except KeyboardInterrupt:
            ended = Ended.INTERRUPTED
        complete = ended is Ended.SEEDS and self._settings.case is None and not found
        return Report(
            name=self._name,
            scenario=self._runnable.locator,
            explored=self._explored(),
            ended=ended,
            failures=tuple(found),
            known=tuple(self._known),
            never=covering.never(self._tally.coverage) if complete else (),
            notes=tuple(self._notes),
            strict=self._settings.case is not None,
            coverage=self._tally.coverage,
        )

    def _findings(self) -> Generator[Found]:
        say = self._tell if self._say is not None else None
        passed = self._tally.passed
        finding = Finding(self._runnable, self._name, self._settings, passed, say)
        told = set()
        for each in self._replayed:
            assert each.now.failure is not None
            if (bug := same_bug(each.now.failure)) not in told:
                told.add(bug)
                yield finding.of_case(each.path, each.case, each.now)
        firsts, times = distinct(self._tally.failures)
        for first in firsts:
            assert first.failure is not None
            if (bug := same_bug(first.failure)) not in told and len(told) < self._settings.failures:
                told.add(bug)
                yield finding.of_seed(first, self._nth(first.case), times[bug])

    def _nth(self, case: Case) -> int:
        numbered = zip(count(1), self._settings.seeds, strict=False)
        return next(nth for nth, seed in numbered if seed == case.seed)

    def _explored(self) -> Explored:
        tally, coverage = self._tally, self._tally.coverage
        return Explored(
            runs=tally.runs,
            events=tally.events,
            simulated_s=tally.simulated_s,
            seconds=(self._ended or time.perf_counter()) - self._began,
            states=len(coverage.states),
            unseen=tally.unseen(),
            faults=dict(sorted(coverage.faults.items())),
            pairs=len(coverage.pairs),
            edges=len(coverage.edges),
        )
