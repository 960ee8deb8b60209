"""How fast the simulation is: events per second of the engine, states per second of the search.

The hash of the trace and every built-in promise are on, as in a campaign. One process; seconds are
those of its core, so that a shared machine does not show. An event is a turn or a thing that came
due; what it led to, such as the commit that a disk's answer is, does not count again.
"""

from __future__ import annotations

import gc
import time
from typing import Final

from actors import spec
from runtime.sim import faults, worlds
from runtime.sim.case import Case, Config
from runtime.sim.scenario import Scenario
from runtime.sim.search import explore
from runtime.sim.seeds import config_of
from runtime.sim.small import SmallWorld

FIGURES: Final = (
    "sim_events_per_s",
    "sim_events_per_s_one_long_run",
    "sim_seeds_per_s",
    "sim_hours_per_s",
    "search_states_per_s",
)


def measure(seconds: float = 5.0) -> dict[str, float]:
    """All figures by name. Takes about three times `seconds`."""
    gc.collect()
    gc.freeze()
    try:
        return {
            **{name: round(value, 4) for name, value in _campaign(seconds).items()},
            "sim_events_per_s_one_long_run": round(_long_run(seconds), 1),
            "search_states_per_s": round(_search(seconds), 1),
        }
    finally:
        gc.unfreeze()


def _campaign(seconds: float) -> dict[str, float]:
    """A pipeline of eight tasks on three workers, with the portfolio and faults of a campaign."""
    scenario = Scenario("runtime.bench.simulated:pipeline", worlds.pipeline())
    base = Config(strategy="portfolio", faults=faults.default)
    events = runs = 0
    simulated_s = 0.0
    began = time.process_time()
    while (took := time.process_time() - began) < seconds:
        result = scenario.run(Case(scenario.locator, runs, config_of(runs, base)))
        assert result.failure is None, result.failure
        events += result.steps
        simulated_s += result.simulated_s
        runs += 1
    return {
        "sim_events_per_s": events / took,
        "sim_seeds_per_s": runs / took,
        "sim_hours_per_s": simulated_s / 3600 / took,
    }


def _long_run(seconds: float) -> float:
    """Events per second of runs of many tasks: what setting a run up costs no longer shows."""
    scenario = Scenario("runtime.bench.simulated:many", worlds.pipeline(tasks=400, workers=8))
    config = Config(strategy="random")
    events = runs = 0
    began = time.process_time()
    while (took := time.process_time() - began) < seconds:
        events += scenario.run(Case(scenario.locator, runs, config)).steps
        runs += 1
    return events / took


def _search(seconds: float) -> float:
    """New states per second of the search: two tasks on one slot, and one crash at any moment."""
    world = SmallWorld()
    world.slots(1)
    tasks = {"a": spec.Task(call="f"), "b": spec.Task(call="f", depends_on=("a",))}
    streams = {"w": spec.Workstream(tasks=tasks)}
    world.submit(spec.Plan(run=spec.Run(name="r"), workstreams=streams))
    return explore(world, crashes=1, seconds_max=seconds).states_per_s
