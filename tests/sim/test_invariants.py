"""The built-in promises: each is broken on purpose, and says so; and an honest run breaks none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from runtime.sim import faults, grounds, worlds
from runtime.sim.case import Case, Config, Failure
from runtime.sim.coverage import AbstractStates
from runtime.sim.engine import run_case
from runtime.sim.invariants import default_monitors
from runtime.sim.monitors import Monitor
from runtime.sim.scenario import Scenario, Sim


def watched(
    monitor: Monitor, world: Callable[[Sim], None] | None = None, seed: int = 0, **config: Any
) -> Failure | None:
    """What a run breaks in which `monitor` does its mischief before the promises look."""
    scenario = Scenario("tests.sim.test_invariants:watched", world or worlds.pipeline())
    case = Case(scenario.locator, seed, Config(**config))

    def monitors() -> list[Monitor]:
        return [msgspec_copy(monitor), *default_monitors()]

    return run_case(scenario, case, record=True, monitors=monitors).failure


def msgspec_copy(monitor: Monitor) -> Monitor:
    """A fresh one: a run must not see what another has done."""
    return type(monitor)()


class AtTheEnd(Monitor):
    """Tampers with the log when all is over."""

    def on_end(self, world: Any) -> None:
        self.tamper(world.store.audit)

    def tamper(self, audit: list[Any]) -> None:
        raise NotImplementedError


class RowTakenAway(AtTheEnd):
    def tamper(self, audit: list[Any]) -> None:
        del audit[5]


class RowsExchanged(AtTheEnd):
    def tamper(self, audit: list[Any]) -> None:
        first = next(n for n, row in enumerate(audit) if row.source is not None)
        audit[first] = replace(audit[first], source="completed")


class TimeGoesBack(AtTheEnd):
    def tamper(self, audit: list[Any]) -> None:
        audit[-1] = replace(audit[-1], at=1.0)


class LastWordChanged(AtTheEnd):
    def tamper(self, audit: list[Any]) -> None:
        task = max(n for n, row in enumerate(audit) if row.kind == "task")
        audit[task] = replace(audit[task], target="failed")


@pytest.mark.parametrize(
    ("monitor", "text"),
    [
        (RowTakenAway, "row 6 is numbered 7"),
        (RowsExchanged, "leaves completed: it stood in"),
        (TimeGoesBack, "is earlier than the one before it"),
        (LastWordChanged, "and its last row says failed"),
    ],
)
def test_a_log_that_is_not_whole_is_found(monitor: type[Monitor], text: str) -> None:
    failure = watched(monitor())
    assert failure is not None
    assert failure.invariant == "the log is whole"
    assert text in failure.text


class RunForgotten(Monitor):
    """The store loses a run that was acknowledged."""

    def on_crash(self, world: Any) -> None:
        for address in [a for a in world.store.rows if a.startswith("run:")]:
            del world.store.rows[address]


def test_a_run_that_was_acknowledged_and_is_gone_after_a_crash_is_found() -> None:
    failures = [
        watched(RunForgotten(), seed=seed, faults={"crash": 0.1}, horizon_s=60.0)
        for seed in range(4)
    ]
    assert "nothing acknowledged is lost" in {f.invariant for f in failures if f is not None}


class MemoryDiffers(Monitor):
    """Memory drifts from the store."""

    def on_end(self, world: Any) -> None:
        for cell in world.cells.values():
            if cell.kind.name == "worker":
                cell.value = msgspec.structs.replace(cell.value, incarnation=99)


def test_memory_that_is_not_what_is_stored_is_found() -> None:
    failure = watched(MemoryDiffers(), worlds.owners_pool())
    assert failure is not None
    assert failure.invariant == "memory is what is stored"


class MessageLeftBehind(Monitor):
    """A message is stored as under way, and nobody has it."""

    def on_commit(self, world: Any, epoch: Any) -> None:
        workers = [a for a in world.cells if a.startswith("worker:")]
        if workers:
            world.store.undelivered[9999] = (9999, workers[0], '{"type":"Begin"}', False)


def test_a_message_that_is_stored_and_under_way_nowhere_is_found() -> None:
    failure = watched(MessageLeftBehind())
    assert failure is not None
    assert failure.invariant == "messages are conserved"


@pytest.mark.parametrize(
    "world", [*worlds.WORLDS.values(), grounds.tooled, grounds.short_of_time, grounds.paid_once]
)
@pytest.mark.parametrize("seed", range(3))
def test_an_honest_run_breaks_nothing(world: Callable[[Sim], None], seed: int) -> None:
    scenario = Scenario("tests.sim.test_invariants:honest", world)
    config = Config(faults=faults.default, horizon_s=3600.0)
    assert run_case(scenario, Case(scenario.locator, seed, config)).failure is None


def test_each_promise_has_a_name_of_its_own_and_says_how_often_it_looked() -> None:
    names = [monitor.name for monitor in default_monitors()]
    assert len(set(names)) == len(names)
    scenario = Scenario("tests.sim.test_invariants:named", worlds.gated())
    coverage = run_case(scenario, Case(scenario.locator, 1)).coverage
    looked = {m.name for m in default_monitors() if hasattr(m, "looked")}
    assert looked <= coverage.always.keys()
    assert coverage.states
    assert AbstractStates.name in names
