"""Each kind of fault happens where it can, and a run under it keeps every promise."""

from __future__ import annotations

import pytest

from actors import spec
from runtime.sim import faults, worlds
from runtime.sim.case import Case, Config
from runtime.sim.scenario import Sim
from tests.sim.engine_kit import scenario, whats
from tests.sim.test_scenario import counting


def everything(sim: Sim) -> None:
    """Work that outlasts its timeout and a heartbeat, a gate, a user's actor with effects."""
    sim.tool("long", duration_s=400)
    tasks = {
        "long": spec.Task(command=("work",), timeout_s=200.0, max_retries=2, gates=("lint",)),
        "short": spec.Task(command=("work",), max_retries=2, timeout_s=900.0),
    }
    gates = {"lint": spec.Gate(type="LINT", command=("lint",), timeout_s=60.0)}
    sim.submit(worlds.plan("all", {"main": spec.Workstream(tasks=tasks)}, 2, gates=gates))
    counting(sim)


@pytest.mark.parametrize("kind", sorted(faults.KINDS))
def test_a_kind_of_fault_happens_and_no_promise_is_broken(kind: str) -> None:
    of = scenario("ledger" if kind.startswith("git_") else everything)
    happened = 0
    # A rate of 1 has no budget: a crash at every commit would leave no owner time to live.
    config = Config(strategy="timed", faults={"crash_after_commit": 0.1, kind: 0.6})
    for seed in range(8):
        result = of.run(Case(of.locator, seed, config))
        assert result.failure is None, (seed, result.failure)
        happened += result.coverage.faults[kind]
    assert happened > 0


@pytest.mark.parametrize("name", sorted(faults.COMPOUND))
def test_faults_that_come_together_break_no_promise(name: str) -> None:
    of = scenario(everything)
    for seed in range(6):
        config = Config(strategy="timed", faults={name: 0.3})
        assert of.run(Case(of.locator, seed, config)).failure is None


def test_faults_stop_at_the_horizon_and_the_run_then_ends() -> None:
    of = scenario(everything)
    config = Config(strategy="timed", faults={"worker_crash": 1.0}, horizon_s=20.0)
    result = of.run(Case(of.locator, 1, config), record=True)
    assert result.failure is None
    assert len(whats(result, "heal")) == 1
    assert not [h for h in result.happenings if h.fault and h.at > 20.0]


def test_an_orphan_is_dead_before_the_next_owner_runs_its_task_again() -> None:
    def orphaned(sim: Sim) -> None:
        sim.tool("t", duration_s=300)
        task = spec.Task(command=("work",), max_retries=1)
        sim.submit(worlds.plan("one", {"main": spec.Workstream(tasks={"t": task})}, 1))
        sim.at("60s").crash()

    of = scenario(orphaned)
    config = Config(strategy="timed", faults={"orphan": 1.0})
    result = of.run(Case(of.locator, 2, config), record=True)
    assert result.failure is None
    seen = [(h.what, h.detail) for h in result.happenings if h.what in {"exec", "dead", "crash"}]
    assert [what for what, _ in seen] == ["exec", "crash", "dead", "exec", "dead"]
    assert seen[2][1] == seen[0][1]
