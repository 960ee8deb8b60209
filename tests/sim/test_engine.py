"""The engine: whole runs of the real kernel under virtual time, with and without faults."""

from __future__ import annotations

from typing import Any

import pytest

from actors import spec
from runtime.sim import faults, worlds
from runtime.sim.case import Case, Config
from runtime.sim.scenario import Sim, seconds
from runtime.sim.worlds import WORLDS, pipeline_plan
from tests.sim.engine_kit import SWARM, case, ran, scenario, whats

_TASK = spec.Task(command=("work",), max_retries=1)


def one_task(sim: Sim, **task: Any) -> None:
    made = spec.Task(**{"command": ("work",), **task})
    sim.submit(worlds.plan("one", {"main": spec.Workstream(tasks={"t": made})}, 1))


@pytest.mark.parametrize("world", sorted(WORLDS))
def test_a_calm_run_of_each_world_ends_without_a_fault(world: str) -> None:
    result = ran(world)
    sites = {key.partition("/")[0].partition(".")[0] for key in result.choices}
    assert sites.isdisjoint({"order", "latency", "fault"})
    assert not [h for h in result.happenings if h.fault]


@pytest.mark.parametrize("world", sorted(WORLDS))
def test_a_swarm_of_faults_breaks_no_promise(world: str) -> None:
    of = scenario(world)
    failed = [r.failure for n in range(1, 13) if (r := of.run(case(of, n, SWARM))).failure]
    assert failed == []


@pytest.mark.parametrize("strategy", ["timed", "random", "pct", "pos", "urw", "delay"])
def test_each_strategy_takes_turns_in_an_order_of_its_own(strategy: str) -> None:
    of = scenario("gated")
    calm = of.run(Case(of.locator, 1, Config(strategy="fifo")))
    runs = {of.run(Case(of.locator, n, Config(strategy=strategy))).trace_hash for n in range(6)}
    assert len(runs) == 6
    assert calm.trace_hash not in runs


def test_a_simulated_month_takes_seconds() -> None:
    def month(sim: Sim) -> None:
        for day in range(30):
            sim.submit(pipeline_plan(4, 2), at=f"{day}d")

    assert ran(month).simulated_s > 29 * 86400


def test_work_takes_as_long_as_its_tool_says() -> None:
    def slow(sim: Sim) -> None:
        sim.tool("t", duration_s="90s")
        one_task(sim)

    ended = whats(ran(slow), "dead")[0]
    assert 90 <= ended.at < 91


def test_a_tool_that_fails_once_is_tried_again() -> None:
    def flaky(sim: Sim) -> None:
        sim.tool("t", fails=1)
        one_task(sim, max_retries=2)
        sim.eventually(
            "completed", lambda v: v.task("main/t") and v.task("main/t").retry_count == 1
        )

    assert len(whats(ran(flaky), "exec")) == 2


def test_work_past_its_timeout_is_told_to_end() -> None:
    def hung(sim: Sim) -> None:
        sim.tool("t", hangs=True)
        one_task(sim, timeout_s=60.0)

    result = ran(hung)
    assert ("task", "running", "failed", "task_failed") in result.coverage.edges
    assert 60 <= whats(result, "dead")[0].at < 61


def test_after_a_crash_the_next_owner_runs_the_task_again_under_a_new_lease() -> None:
    def crashed(sim: Sim) -> None:
        sim.tool("t", duration_s=100)
        one_task(sim)
        sim.at("30s").crash("supervisor")
        sim.eventually("no attempt burned", lambda v: v.task("t").state == "completed")
        sim.always("none burned", lambda v: not v.task("t").retry_count)

    leases = [h.detail for h in whats(ran(crashed), "exec")]
    assert leases == ["1.1", "2.1"]


def test_a_submission_is_made_again_until_it_is_acknowledged() -> None:
    def crashed(sim: Sim) -> None:
        one_task(sim)
        sim.at(0.0003).crash()

    result = ran(crashed, faults={"disk_slow": 1.0})
    assert len(whats(result, "acknowledged")) == 1


def test_a_killed_worker_gets_a_new_process_and_its_task_a_new_try() -> None:
    def killed(sim: Sim) -> None:
        sim.tool("t", duration_s=100)
        one_task(sim)
        sim.at("30s").kill_worker()

    assert len(whats(ran(killed), "exec")) == 2


def test_a_run_that_is_paused_waits_for_a_person_and_is_no_deadlock() -> None:
    def paused(sim: Sim) -> None:
        run = sim.submit(pipeline_plan(4, 1))
        sim.at("1500ms").pause(run)

    result = ran(paused)
    assert ("run", "running", "paused", "run_paused") in result.coverage.edges


@pytest.mark.parametrize("gate", ["lint~1", "lint~2", "whole~1"])
def test_work_whose_gate_never_gets_its_verdict_waits_for_a_person_and_is_no_deadlock(
    gate: str,
) -> None:
    of = scenario("gated")
    never = {f"fault.gate_infra/test_gate:gated-1/gate:{gate}/{n}": 1 for n in (1, 2, 3)}
    config = Config(faults={"gate_infra": 0.1}, sizes={"tasks": 1, "workers": 1}, strategy="fifo")
    result = of.run(Case(of.locator, 1, config, {"*": 0, **never}), record=True)
    assert result.failure is None
    assert len(whats(result, "gate_infra")) == 3


def test_a_message_that_nobody_sends_is_a_deadlock_that_says_who_waits() -> None:
    def stuck(sim: Sim) -> None:
        sim.tool("t", hangs=True)
        one_task(sim)

    of = scenario(stuck)
    failure = of.run(Case(of.locator, 1, Config(strategy="fifo"))).failure
    assert failure is not None
    assert failure.invariant == "no deadlock"
    assert any(line.startswith("task:one-1/main/t is running") for line in failure.detail)


@pytest.mark.parametrize("kind", sorted(faults.KINDS))
def test_each_kind_of_fault_alone_breaks_no_promise(kind: str) -> None:
    world = "gated" if kind.startswith("gate_") else "pipeline"
    of = scenario(world)
    for seed in range(3):
        result = of.run(Case(of.locator, seed, Config(strategy="timed", faults={kind: 0.2})))
        assert result.failure is None, (seed, result.failure)


def test_an_unknown_fault_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match="crash_in_commit"):
        ran("pipeline", faults={"meteor": 1.0})


def test_lengths_of_time_are_read_as_people_write_them() -> None:
    assert [seconds(each) for each in ("250ms", "1h30m", 7)] == [0.25, 5400.0, 7.0]
    with pytest.raises(ValueError, match="no length"):
        seconds("soon")
