"""The owner's own slots: whether they can be what they ask for."""

from __future__ import annotations

from collections.abc import Mapping

from actors.spec import Pool
from runtime.errors import NotConfined
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
