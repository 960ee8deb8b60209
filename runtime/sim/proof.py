"""A small world that is searched whole, told and kept as a simulation is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runtime.sim import search
from runtime.sim.case import Case, Config, Result
from runtime.sim.search import SearchResult
from runtime.sim.small import SmallWorld
from runtime.sim.trace import columns


class ProofFailed(AssertionError):
    """A promise is broken in some state, or not all states could be visited. `result` is what the
    search came to."""

    def __init__(self, name: str, result: SearchResult) -> None:
        super().__init__("\n".join(story(name, result)))
        self.result = result


class Proof:
    """A function that makes a small world, and the bounds within which it is searched."""

    def __init__(
        self, function: Callable[[], Any], name: str, locator: str, bounds: dict[str, Any]
    ) -> None:
        self.name = name
        self.locator = locator
        self.bounds = bounds
        self._function = function

    def search(self) -> SearchResult:
        """Searches it. Raises TypeError where the function makes no world."""
        made = self._function()
        world, *promises = made if isinstance(made, tuple) else (made,)
        if not isinstance(world, SmallWorld):
            raise TypeError(f"{self.name} must return a SmallWorld, or one and its promises")
        return search.explore(world, promises, **self.bounds)

    def check(self) -> SearchResult:
        """Searches it. Raises ProofFailed unless it is complete and nothing is broken."""
        result = self.search()
        if not result.complete:
            raise ProofFailed(self.name, result)
        return result


def story(name: str, result: SearchResult) -> list[str]:
    """What the search came to; of a failure the shortest way to it, event by event."""
    lines = [f"{name}: {result}"]
    if result.failure is not None:
        lines += [f"  {line}" for line in columns(as_result(name, result))]
    elif result.cut is not None:
        lines.append("  a larger bound (states_max, seconds_max, depth_max) may complete it")
    return lines


def as_result(name: str, result: SearchResult) -> Result:
    """The way to the failure as a recorded run, for a trace or a page."""
    case = Case(name, 0, Config(strategy="bfs"))
    return Result(
        case,
        result.failure,
        "",
        len(result.happenings),
        0.0,
        coverage=result.coverage,
        happenings=result.happenings,
    )
