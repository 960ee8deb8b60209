"""The breakers that a plan brings along: made where they are not there yet, revised where they are.

A breaker belongs to a tool and a state directory, so it is there before a run and after it. A plan
may find it open. What the plan says of it takes effect with the submission, in the same turn.
"""

from __future__ import annotations

from collections.abc import Mapping

from actors import breaker, guard_messages, run_plan, spec
from actors.effects import Send, Spawn
from runtime.cell import Cell


def breakers(
    plan: spec.Plan, cells: Mapping[str, Cell], run_id: str, now: float
) -> tuple[tuple[Spawn, ...], tuple[Send, ...]]:
    """Those to make, and the messages to those that are there and say otherwise."""
    spawns: list[Spawn] = []
    sends: list[Send] = []
    for breaker_id, tool in run_plan.guarded(plan).items():
        ref = f"circuit_breaker:{breaker_id}"
        base_dir = plan.run.base_dir if tool.health else "."
        if (cell := cells.get(ref)) is None:
            name = breaker_id.rpartition("-")[0]
            made = breaker.create(
                name, tool.command, tool.breaker, now, health=tool.health, base_dir=base_dir
            )
            spawns.append(Spawn("circuit_breaker", made))
            continue
        there = cell.value
        if (there.rules, there.health, there.base_dir) != (tool.breaker, tool.health, base_dir):
            why = f"the plan of {run_id}"
            revise = guard_messages.Revise(tool.breaker, tool.health, base_dir, why)
            sends.append(Send(ref, revise))
    return tuple(spawns), tuple(sends)
