"""What a submission makes beside its run: the slots and breakers that its owner lacks."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping

from actors import breaker, run_plan, spec, worker
from actors.effects import Send, Spawn
from actors.messages import Begin
from runtime.seed import Create


def missing(
    plan: spec.Plan, there: Container[str], pools: Mapping[str, spec.Pool], now: float
) -> tuple[Spawn, ...]:
    """What the plan needs of its owner, whose pools these are, and is not `there` (by address):
    slots, and the breakers of tools and gates. One that is there keeps its state."""
    breakers = tuple(
        Spawn(
            "circuit_breaker",
            breaker.create(breaker_id.rpartition("-")[0], tool.command, tool.breaker, now),
        )
        for breaker_id, tool in run_plan.guarded(plan).items()
        if f"circuit_breaker:{breaker_id}" not in there
    )
    return (*breakers, *_missing_workers(plan, there, pools, now))


def creation(spawns: tuple[Spawn, ...], run_id: str) -> Create:
    """The message that makes them all in one turn, and sets those going that have a beginning."""
    begins = [spawn for spawn in spawns if spawn.kind != "circuit_breaker"]
    sends = tuple(Send(f"{s.kind}:{s.value.id}", Begin()) for s in begins)
    return Create(spawns, sends, run_id)


def _missing_workers(
    plan: spec.Plan, there: Container[str], pools: Mapping[str, spec.Pool], now: float
) -> tuple[Spawn, ...]:
    if plan.workers:
        return ()
    tasks = [t for w in plan.workstreams.values() for t in w.tasks.values()]
    # A callable runs in this process where a pool for that is there, else in a child.
    inline = any(pool.kind == "inline" for pool in pools.values())
    wanted = {"inline" if task.call and inline else "process" for task in tasks}
    spawns = []
    for name, pool in pools.items():
        if pool.kind not in wanted:
            continue
        for number in range(1, (pool.count or os.cpu_count() or 1) + 1):
            worker_id = f"worker:{name}.{number}"
            if f"worker:{worker_id}" not in there:
                seed = spec.WorkerSeed(id=worker_id, run_id=None, pool=name, slot=pool)
                spawns.append(Spawn("worker", worker.create(seed, now)))
    return tuple(spawns)
