"""Strategies, latencies and faults: what is drawn, by which name, and that 0 is the calm choice."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from runtime.cell import Cell
from runtime.seed import creator_kind
from runtime.sim import faults
from runtime.sim.case import Config
from runtime.sim.choices import Choices
from runtime.sim.luck import WAITS, Luck
from runtime.sim.strategies import STRATEGIES, Pool, rule_of

_KIND = creator_kind()


def _pool(strategy: str, seed: int = 1, overrides: dict[str, int] | None = None) -> Pool:
    choices = Choices(seed, overrides or {}, record=True)
    return Pool(choices, rule_of(strategy, 3, choices, 30, {"x:1": 9, "x:2": 1}))


def _order(pool: Pool, actors: int = 6) -> list[str]:
    for n in range(actors):
        pool.append(Cell(f"x:{n}", _KIND, None, 0))
    return [pool.pop().address for _ in range(actors)]


_FIRST_COME = [f"x:{n}" for n in range(6)]


def test_fifo_is_first_come_first_served() -> None:
    assert _order(_pool("fifo")) == _FIRST_COME


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_with_every_choice_calm_each_strategy_is_first_come_first_served(strategy: str) -> None:
    assert _order(_pool(strategy, overrides={"*": 0})) == _FIRST_COME


@pytest.mark.parametrize("strategy", ["random", "pos", "pct", "urw"])
def test_seeds_give_different_orders_and_one_seed_one_order(strategy: str) -> None:
    assert len({tuple(_order(_pool(strategy, seed))) for seed in range(30)}) > 20
    assert _order(_pool(strategy, 7)) == _order(_pool(strategy, 7))


def test_random_gives_each_of_those_that_are_ready_the_same_chance() -> None:
    first = Counter(_order(_pool("random", seed), 4)[0] for seed in range(2000))
    assert all(420 < times < 580 for times in first.values())


def test_delay_holds_back_as_many_as_its_depth_at_most() -> None:
    for seed in range(20):
        pool = _pool("delay", seed)
        _order(pool, 6)
        assert len(pool._choices.log or {}) <= 3


def test_pct_keeps_an_actors_rank_until_it_falls() -> None:
    pool = _pool("pct", 3)
    cell, other = Cell("x:1", _KIND, None, 0), Cell("x:2", _KIND, None, 0)
    firsts = []
    for _ in range(25):
        pool.append(cell)
        pool.append(other)
        firsts.append(pool.pop().address)
        pool.pop()
    changes = sum(a != b for a, b in pairwise(firsts))
    assert changes <= 3


def test_an_unknown_strategy_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match="fifo, timed"):
        _pool("fast")


def _luck(strategy: str, seed: int = 1, overrides: dict[str, int] | None = None) -> Luck:
    return Luck(Choices(seed, overrides or {}, record=True), Config(strategy=strategy), seed)


def test_a_calm_run_waits_for_nothing() -> None:
    assert _luck("fifo").latency("commit", "store", 0.01) == 0.0


def test_latencies_are_near_the_usual_one_and_rarely_far_above() -> None:
    luck = _luck("timed")
    waits = sorted(luck.latency("commit", "store", 0.01) for _ in range(4000))
    assert 0.006 < waits[2000] < 0.016
    assert waits[3800] < 0.1
    assert waits[-1] > 1.0


def test_an_override_sets_a_latency_and_0_is_none() -> None:
    overrides = {"latency.commit/store/2": 0, "latency.commit/store/3": 15}
    luck = _luck("timed", overrides=overrides)
    waits = [luck.latency("commit", "store", 5.0) for _ in range(3)]
    assert waits[1:] == [0.0, WAITS[15]]


def test_a_fault_happens_at_its_rate_and_only_so_often() -> None:
    luck = _luck("timed")
    luck.set_rates({"worker_crash": 0.5})
    happened = [luck.fault("worker_crash", f"w{n}") for n in range(200)]
    assert 1 <= sum(happened) <= 9
    assert luck.happened["worker_crash"] == sum(happened)
    assert not luck.fault("disk_full", "store")


def test_a_swarm_has_about_half_of_all_kinds_and_differs_by_seed() -> None:
    sizes = [len(faults.rates_of(Config(faults=faults.default), seed)) for seed in range(60)]
    assert len(faults.KINDS) * 0.4 < sum(sizes) / 60 < len(faults.KINDS) * 0.7
    assert len(set(sizes)) > 5


def test_a_compound_fault_is_all_of_its_kinds() -> None:
    rates = faults.rates_of(Config(faults={"crash_loop": 0.2}), 1)
    assert rates == {"crash": 0.2, "crash_in_recovery": 0.2, "orphan": 0.2}


def test_every_compound_is_made_of_known_kinds() -> None:
    assert {kind for kinds in faults.COMPOUND.values() for kind in kinds} <= faults.KINDS.keys()
