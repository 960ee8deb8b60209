"""The owner's own slots: whether they can be what they ask for, and new ones for those that a
submission finds gone, under ids that were never used.

A slot that was retired for an undead task left another in its place; one that was drained left
none, and its row stays for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from actors import worker
from actors.effects import Spawn
from actors.spec import Pool, WorkerSeed
from runtime.errors import NotConfined
from runtime.supervisor import Supervisor
from runtime.work.fence import fence_refusal


def refuse_unconfined(pools: Mapping[str, Pool]) -> None:
    """Raises NotConfined where a pool asks for a sandbox that it cannot have."""
    for name, pool in pools.items():
        if pool.sandbox == "none":
            continue
        if pool.kind == "inline":
            cure = 'write kind = "process"'
            raise NotConfined(name, "no fence surrounds the owner's own process", cure)
        refusal = fence_refusal()
        if refusal is not None:
            raise NotConfined(name, *refusal)


async def vacant(spawns: Iterable[Spawn], sup: Supervisor, now: float) -> tuple[Spawn, ...]:
    """`spawns` without the workers whose slot is there under a later id, and with unused ids."""
    found = []
    for spawn in spawns:
        if spawn.kind == "worker":
            seed = await _vacant(spawn.value.spec, sup)
            if seed is not None:
                found.append(Spawn("worker", worker.create(seed, now)))
        else:
            found.append(spawn)
    return tuple(found)


async def _vacant(seed: WorkerSeed, sup: Supervisor) -> WorkerSeed | None:
    """The seed under the first id that was never used; None where the slot lives under an id."""
    number, later = 1, seed
    while True:
        ref = f"worker:{later.id}"
        cell = sup.router.cells.get(ref)
        if cell is not None and not cell.ended:
            return None
        if cell is None and not await sup.store.load_many([ref]):
            return later
        number += 1
        later = replace(seed, id=f"{seed.id}~{number}")
