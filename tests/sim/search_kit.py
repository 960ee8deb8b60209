"""Small worlds for the tests of the search."""

from __future__ import annotations

from typing import Any

from actors import messages as m
from actors import spec
from runtime.sim.small import OK, SmallWorld
from runtime.sim.states import States
from runtime.sim.view import View

FAILED = m.Outcome(exit_code=1)
LOST = m.Outcome(reason="lost", infrastructure=True)


def plan(tasks: int = 1, *, chained: bool = False, **task: Any) -> spec.Plan:
    """One workstream of so many tasks, each after the one before it where `chained`."""
    made = {
        f"t{n}": spec.Task(call="f", depends_on=(f"t{n - 1}",) if chained and n else (), **task)
        for n in range(tasks)
    }
    return spec.Plan(run=spec.Run(name="r"), workstreams={"w": spec.Workstream(tasks=made)})


def world(
    tasks: int = 1,
    slots: int = 1,
    *,
    fails: bool = False,
    deaths: int = 0,
    chained: bool = False,
    **task: Any,
) -> SmallWorld:
    """A run of `plan`, with so many slots. `fails`: whatever runs may pass or fail."""

    def outcomes(_task_id: str, _attempt: int) -> tuple[m.Outcome, ...]:
        return (OK, FAILED) if fails else (OK,)

    small = SmallWorld(outcomes=outcomes, deaths=deaths)
    small.slots(slots)
    small.submit(plan(tasks, chained=chained, **task))
    return small


def gated(**task: Any) -> SmallWorld:
    """A task and a gate, which may pass, fail or be lost."""

    def verdicts(_gate_id: str, _attempt: int) -> tuple[m.Outcome, ...]:
        return (OK, FAILED, LOST)

    small = SmallWorld(gate_outcomes=verdicts)
    small.slots(1)
    tasks = {"t": spec.Task(call="f", **task)}
    small.submit(
        spec.Plan(
            run=spec.Run(name="r"),
            gates={"g": spec.Gate(command=("check",))},
            workstreams={"w": spec.Workstream(tasks=tasks)},
        )
    )
    return small


def reached(small: SmallWorld, *, reduction: bool, crashes: int = 0, drops: int = 0) -> set[Any]:
    """Every state of the world, by its key: visited by a search with or without reduction."""
    from runtime.sim.search import _Search  # noqa: PLC0415 (a test looks inside)

    budgets = {"crashes": crashes, "drops": drops, **small.budgets}
    states = States(small, small.space(symmetry=False), budgets, patient=True)
    search = _Search(states, (), reduction=reduction, depth_max=None)
    search.run(1_000_000, 60.0, {})
    return set(search.visited)


def states_of(kind: str, view: View) -> list[str]:
    """The states of all actors of a kind."""
    return sorted(str(value.state) for value in view.of(kind))
