"""Coverage: what was seen of what there is, and what is probably still unseen."""

from __future__ import annotations

import random
from collections import Counter

import msgspec
import pytest

from actors.task_state import CHART
from runtime.sim import faults, worlds
from runtime.sim.case import Case, Config, Coverage, Result
from runtime.sim.coverage import (
    AbstractStates,
    Growth,
    declared_edges,
    declared_pairs,
    summary,
)
from runtime.sim.engine import run_case
from runtime.sim.invariants import default_monitors
from runtime.sim.scenario import Scenario
from runtime.sim.tally import Tally


def runs(count: int) -> list[Coverage]:
    """What so many runs under faults went through."""
    scenario = Scenario("runtime.sim.worlds:failing", worlds.failing())
    config = Config(faults=faults.default)

    def monitors() -> list[object]:
        return [*default_monitors(), AbstractStates()]

    return [
        run_case(scenario, Case("failing", seed, config), monitors=monitors).coverage  # type: ignore[arg-type]
        for seed in range(count)
    ]


def test_declared_is_every_message_of_a_machine_in_each_of_its_states() -> None:
    tasks = {pair for pair in declared_pairs() if pair[0] == "task"}
    assert ("task", "queued", "Assigned") in tasks
    assert {state for _, state, _ in tasks} == set(CHART.states)
    kinds = {kind for kind, _, _ in declared_pairs()}
    assert kinds >= {"run", "task", "test_gate", "circuit_breaker", "patch_ledger"}


def test_declared_edges_are_those_of_the_charts() -> None:
    tasks = {edge[1:] for edge in declared_edges() if edge[0] == "task"}
    assert tasks == {(str(e.source), str(e.target), e.trigger) for e in CHART.edges}


def test_what_simulations_take_and_do_is_declared() -> None:
    for coverage in runs(5):
        assert coverage.edges - {e for e in coverage.edges if not e[1]} <= declared_edges()
        everyones = {"Recovered", "Ended", "Performed"}
        assert {p for p in coverage.pairs if p[2] not in everyones} <= declared_pairs()


def test_the_summary_counts_what_was_seen_of_what_there_is() -> None:
    coverage = Coverage(
        pairs={("task", "queued", "Assigned")},
        edges={("task", "queued", "running", "worker_assigned")},
        faults=Counter(crash=3),
    )
    found = summary(coverage, runs=4)
    assert (found.pairs.seen, found.edges.seen, found.faults.seen) == (1, 1, 1)
    assert found.edges.declared == len(CHART.edges)
    assert "task pending queued dependencies_met" in found.edges.missing
    assert str(found.edges) == f"1 of {len(CHART.edges)} (5 %)"
    assert msgspec.json.decode(msgspec.json.encode(found))["faults"]["seen"] == 1


def test_what_was_never_put_to_the_test_is_warned_of() -> None:
    coverage = Coverage(sometimes={"opened": 0, "closed": 2}, always={"order": 0, "sum": 9})
    assert summary(coverage, runs=1).lines()[-2:] == [
        "warning: 'opened' should hold sometimes, and never did",
        "warning: 'order' should hold always, and was never looked at",
    ]


def test_abstract_states_are_counted_and_their_number_grows_ever_slower() -> None:
    growth = Growth()
    for coverage in runs(32):
        assert coverage.states
        growth.add(coverage.states)
    points = dict(growth.points)
    assert points[1] < points[2] < points[8] < points[32]
    assert points[32] - points[16] < 16 * points[1]


def test_every_promise_is_looked_at_in_some_run() -> None:
    looked: Counter[str] = Counter()
    for coverage in runs(6):
        looked.update(coverage.always)
    assert {label for label, times in looked.items() if not times} <= {
        "gates before starts",
        "breakers keep shut",
        "infrastructure burns nothing",
    }


@pytest.mark.parametrize("seed", range(5))
def test_the_estimate_of_what_is_unseen_is_near_the_truth(seed: int) -> None:
    """Each run draws ten of a thousand states, some far likelier than others."""
    draw = random.Random(seed)
    weights = [1 / (n + 1) for n in range(1000)]
    growth, seen = Growth(), set()
    for _ in range(200):
        states = set(draw.choices(range(1000), weights, k=10))
        growth.add(states)
        seen |= states
    more = [set(draw.choices(range(1000), weights, k=10)) for _ in range(1000)]
    new = sum(not states <= seen for states in more) / 1000
    assert 0.2 < new < 0.98
    assert abs(growth.alone / growth.runs - new) < 0.12


def tally_of(*runs: set[int]) -> Tally:
    found = Tally()
    for seed, states in enumerate(runs):
        found.add(Result(Case("x", seed), None, "", 0, 0.0, coverage=Coverage(states=states)))
    return found


def test_a_run_that_has_brought_many_states_counts_once_in_the_estimate() -> None:
    assert tally_of({1}, {1, *range(10, 60)}, {1}, {1}).unseen() == 0.25


def test_a_state_that_a_second_run_has_been_in_says_nothing_of_what_is_unseen() -> None:
    assert tally_of({1, 2}, {1, 3}, {2, 3}, {1}).unseen() == 0.0


def test_the_estimate_is_the_same_however_the_runs_were_summed() -> None:
    runs = [{1, 2}, {2, 7}, {1}, {1, 9, 10}, {3}, {3, 2}]
    for at in range(len(runs)):
        first, later = tally_of(*runs[:at]), Tally()
        for seed, states in enumerate(runs[at:], at):
            coverage = Coverage(states=set(states))
            later.add(Result(Case("x", seed), None, "", 0, 0.0, coverage=coverage))
        first.merge(later)
        assert first.unseen() == tally_of(*runs).unseen() == 2 / 6
