"""What a submission makes beside its run: the slots that its owner lacks.

A slot that was retired for an undead task left another in its place; one that was drained left
none, and its row stays for ever: a new one gets an id that was never used.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from actors import spec, worker
from actors.effects import Send, Spawn
from actors.messages import Begin
from runtime.seed import Create

if TYPE_CHECKING:
    from runtime.kernel import Kernel


def creation(spawns: tuple[Spawn, ...], told: tuple[Send, ...], run_id: str) -> Create:
    """The message that makes them all in one turn, tells what is `told`, and then sets those going
    that have a beginning."""
    begins = [spawn for spawn in spawns if spawn.kind != "circuit_breaker"]
    sends = tuple(Send(f"{s.kind}:{s.value.id}", Begin()) for s in begins)
    return Create(spawns, (*told, *sends), run_id)


async def vacant(spawns: Iterable[Spawn], kernel: Kernel, now: float) -> tuple[Spawn, ...]:
    """`spawns` without the workers whose slot is there under a later id, and with unused ids."""
    found = []
    for spawn in spawns:
        if spawn.kind == "worker":
            seed = await _vacant(spawn.value.spec, kernel)
            if seed is not None:
                found.append(Spawn("worker", worker.create(seed, now)))
        else:
            found.append(spawn)
    return tuple(found)


def missing_workers(
    plan: spec.Plan, there: Container[str], pools: Mapping[str, spec.Pool], now: float
) -> tuple[Spawn, ...]:
    """The slots of its owner, whose pools these are, that the plan could use and that are not
    `there` (by address)."""
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


async def _vacant(seed: spec.WorkerSeed, kernel: Kernel) -> spec.WorkerSeed | None:
    """The seed under the first id that was never used; None where the slot lives under an id."""
    number, later = 1, seed
    while True:
        ref = f"worker:{later.id}"
        cell = kernel.router.cells.get(ref)
        if cell is not None and not cell.ended:
            return None
        if cell is None and not await kernel.store.load_many([ref]):
            return later
        number += 1
        later = replace(seed, id=f"{seed.id}~{number}")
