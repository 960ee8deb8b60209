"""The world of a ledger: what must hold there does, and is noticed where it does not."""

from __future__ import annotations

from typing import Any

import pytest

from actors import patch_messages as pm
from runtime.sim import faults
from runtime.sim.case import Case, Config, Coverage, Failure
from runtime.sim.engine import run_case
from runtime.sim.git import INTEGRATION, TARGET
from runtime.sim.gitwork import GitWork
from runtime.sim.ledger import World, ledger, passes
from runtime.sim.ledger_promises import ASIDE, GATED, KEPT, ONCE, SWAPPED, UNDONE
from runtime.sim.scenario import Scenario, Sim
from tests.sim.engine_kit import ran, scenario


def covered(seeds: int) -> Coverage:
    """What so many runs with a swarm of faults have covered, all of them together."""
    of, every = scenario("ledger"), Coverage()
    for seed in range(seeds):
        result = of.run(Case(of.locator, seed, Config(faults=faults.default, horizon_s=3600.0)))
        assert result.failure is None, (seed, result.failure)
        every.edges |= result.coverage.edges
        every.faults.update(result.coverage.faults)
        for promise, times in result.coverage.always.items():
            every.always[promise] = every.always.get(promise, 0) + times
    return every


def test_patches_of_every_sort_end_in_every_way_and_each_promise_is_looked_at() -> None:
    every = covered(40)
    ends = {edge[2] for edge in every.edges if edge[0] == "patch_ledger"}
    assert ends >= {"committed", "quarantined", "rolled_back", "expired", "superseded", "dropped"}
    assert all(every.always[promise] for promise in (GATED, SWAPPED, ONCE, ASIDE, UNDONE, KEPT))
    assert {"git_torn", "git_failed", "git_locked", "git_foreign"} <= set(every.faults)


def test_a_calm_ledger_commits_what_is_good_and_its_run_ends() -> None:
    result = ran(ledger(3), seed=4, strategy="fifo")
    taken = {edge[:3] for edge in result.coverage.edges}
    assert ("run", "running", "completed") in taken or ("run", "validating", "completed") in taken


@pytest.mark.parametrize(
    ("files", "gate", "expected"),
    [
        ({"c": "c1", "d": "d0"}, "unit", True),
        ({"c": "c1", "d": "d1"}, "unit", False),
        ({"x": "poison"}, "lint", False),
        ({"x": "poison"}, "unit", True),
    ],
)
def test_a_gate_is_a_function_of_its_tree(
    files: dict[str, str], gate: str, *, expected: bool
) -> None:
    assert passes(gate, tuple(sorted(files.items()))) is expected


def broken_by(monkeypatch: pytest.MonkeyPatch, name: str, instead: Any) -> Failure | None:
    """What is found where one of the works on git does something else."""
    monkeypatch.setattr(GitWork, name, instead)
    of = Scenario("tests.sim.test_ledger_world:broken", ledger())
    for seed in range(40):
        failure = run_case(of, Case(of.locator, seed, Config(horizon_s=600.0))).failure
        if failure is not None:
            return failure
    return None


def test_a_landing_that_is_told_and_was_none_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def pretends(_work: Any, _key: str, order: Any) -> Any:
        return pm.Landed(order.commit_sha)

    failure = broken_by(monkeypatch, "land", pretends)
    assert failure is not None
    assert failure.invariant == ONCE


def test_a_rollback_that_leaves_the_integration_ref_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def pretends(_work: Any, _key: str, _order: Any) -> Any:
        return pm.Restored()

    monkeypatch.setattr("runtime.sim.ledger._verbs", _only_rollbacks)
    failure = broken_by(monkeypatch, "restore", pretends)
    assert failure is not None
    assert failure.invariant == UNDONE


def _only_rollbacks() -> tuple[Any, ...]:
    return (pm.Rollback("ann", "because"),) * 9


def test_a_ref_that_is_moved_for_a_patch_in_quarantine_is_found() -> None:
    def meddled(sim: Sim) -> None:
        world = World(sim)
        world.begin(4)

        def meddle() -> None:
            aside = [e.id for e in sim.view.all("patch_ledger") if e.state == "quarantined"]
            for name in aside[:1]:
                world.git.swap(
                    INTEGRATION + name,
                    world.git.refs.get(INTEGRATION + name),
                    world.git.root,
                    f"{name}.1:patch_apply",
                )

        sim.at("3m").do(meddle)

    of = Scenario("tests.sim.test_ledger_world:meddled", meddled)
    runs = (run_case(of, Case(of.locator, seed, Config())).failure for seed in range(20))
    assert next(failure for failure in runs if failure is not None).invariant == ASIDE


def test_a_stranger_may_move_the_target_as_he_likes() -> None:
    def stranger(sim: Sim) -> None:
        world = World(sim)
        world.begin(3)
        sim.at("2m").do(lambda: world.git.force(TARGET, world.git.root, "a stranger"))

    assert ran(stranger, seed=2, strategy="timed").failure is None
