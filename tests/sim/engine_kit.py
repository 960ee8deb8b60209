"""Scenarios and cases for tests of the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runtime.sim import worlds
from runtime.sim.case import Case, Config, Result
from runtime.sim.scenario import Scenario, Sim
from runtime.sim.seeds import config_of

SWARM = Config(strategy="portfolio", faults={"swarm": 1.0})


def scenario(world: str | Callable[[Sim], Any]) -> Scenario:
    """A ready world by its name, or a function of a `Sim`."""
    if isinstance(world, str):
        return Scenario(f"world:{world}", worlds.WORLDS[world])
    return Scenario(f"test:{world.__name__}", world)


def case(of: Scenario, seed: int, config: Config = SWARM) -> Case:
    return Case(of.locator, seed, config_of(seed, config))


def ran(world: str | Callable[[Sim], Any], seed: int = 1, **config: Any) -> Result:
    """One recorded run, calm unless said otherwise, that broke no promise."""
    of = scenario(world)
    made = Config(**{"strategy": "fifo", **config})
    result = of.run(Case(of.locator, seed, made), record=True)
    assert result.failure is None, result.failure
    return result


def whats(result: Result, what: str) -> list[Any]:
    """The happenings of a kind."""
    return [h for h in result.happenings if h.what == what]
