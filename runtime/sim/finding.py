"""What a failing run is told as: made small, recorded, compared with one that passes, kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from runtime.sim import cases, compare, html, story
from runtime.sim.case import Case, Failure, Result
from runtime.sim.pool import DETERMINISM, Runnable, ScenarioRaised
from runtime.sim.report import Found, Smaller
from runtime.sim.settings import Settings
from runtime.sim.shrink import Progress, Shrunk, same_failure, shrink


class Finding:
    """Tells of the failures of one scenario. `passed` is a case that does not fail."""

    def __init__(
        self,
        runnable: Runnable,
        name: str,
        settings: Settings,
        passed: Case | None,
        say: Callable[[Progress], None] | None,
    ) -> None:
        self._runnable = runnable
        self._locator = runnable.locator
        self._name = name
        self._settings = settings
        self._folder = cases.Folder(settings.folder) if settings.folder is not None else None
        self._passed = passed
        self._say = say

    def _run(self, case: Case, *, record: bool = False) -> Result:
        """The run of an edited case. A scenario that cannot be set up in so small a world has not
        failed in it."""
        try:
            return self._runnable.run(case, record=record)
        except ScenarioRaised:
            return Result(case, None, "", 0, 0.0)

    def of_case(self, path: Path, case: cases.Saved, now: Result) -> Found:
        """A saved case that fails: it is small already, and kept."""
        return self._tell(now, case.case, 0, 1, None, path)

    def of_seed(self, first: Result, nth: int, times: int) -> Found:
        """The `nth` run of a campaign failed, as `times` did in all."""
        failure = first.failure
        assert failure is not None
        if failure.invariant == DETERMINISM:  # no edit of it would mean anything
            return self._tell(first, first.case, nth, times, None, None)
        shrunk: Shrunk | None = None
        smallest = first.case
        if self._settings.shrink:
            shrunk = shrink(first, self._run, say=self._say)
            smallest = shrunk.result.case
        recorded = self._run(smallest, record=True)
        if not same_failure(recorded, first):
            recorded = first  # it does not repeat: what the seed came to is all there is
        return self._tell(recorded, first.case, nth, times, shrunk, None)

    def _tell(
        self,
        recorded: Result,
        found_by: Case,
        nth: int,
        times: int,
        shrunk: Shrunk | None,
        kept: Path | None,
    ) -> Found:
        failure = recorded.failure
        assert failure is not None
        steps = story.steps(recorded)
        path = kept or self._keep(recorded, shrunk)
        replay = self._how(path, found_by.seed, failure)
        return Found(
            failure=failure,
            found_by=found_by,
            nth=nth,
            times=times,
            case=recorded.case,
            smaller=Smaller.of(shrunk) if shrunk is not None else None,
            steps=steps,
            chain=story.how_it_came(recorded.happenings, failure.n),
            parted=self._parted(recorded),
            replay=replay,
            case_file="" if path is None else near(path),
            timeline=self._draw(recorded, steps, replay),
        )

    def _keep(self, recorded: Result, shrunk: Shrunk | None) -> Path | None:
        if self._folder is None or not recorded.happenings:
            return None
        case = cases.saved(recorded)
        if shrunk is not None and shrunk.pinned:
            self._folder.keep(self._name, case)
        return self._folder.report(self._name, case)

    def _how(self, path: Path | None, seed: int, failure: Failure) -> str:
        option = self._settings.option
        what = f"{option}seed {seed}" if path is None else f"{option}case {near(path)}"
        twice = f" {option}check-determinism" if failure.invariant == DETERMINISM else ""
        return f"{self._settings.command} '{self._settings.target or self._locator}' {what}{twice}"

    def _draw(self, recorded: Result, steps: tuple[str, ...], replay: str) -> str:
        folder = self._settings.html
        if folder is None and self._folder is not None:
            folder = self._folder.failures()
        if folder is None or not recorded.happenings:
            return ""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{cases.slug(self._name)}-{recorded.case.seed}.html"
        path.write_text(html.page(recorded, steps=steps, replay=replay), encoding="utf-8")
        return near(path)

    def _parted(self, recorded: Result) -> str:
        """Where the failure leaves a run that passes, the nearest first."""
        for text, case in self._near(recorded):
            other = self._run(case, record=True)
            if other.failure is None:
                parting = compare.first_difference(recorded.happenings, other.happenings)
                return f"first difference from {text}: {story.parted(parting)}" if parting else ""
        return ""

    def _near(self, recorded: Result) -> Iterator[tuple[str, Case]]:
        case = recorded.case
        if steered := [key for key in cases.steers(case) if key in recorded.choices]:
            places = story.places_of(recorded.happenings)
            last = max(steered, key=lambda key: (places.get(key, 0), key))
            left = {key: value for key, value in case.overrides.items() if key != last}
            without = msgspec.structs.replace(case, overrides=left)
            step = story.order(recorded).index(last) + 1
            yield f"a passing run, the same without step {step}", without
        if self._passed is not None:
            yield f"the last passing seed ({self._passed.seed})", self._passed


def near(path: Path) -> str:
    """The path as one types it from here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
