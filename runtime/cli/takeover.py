"""An operator's command on a directory that nobody owns: its owner for one epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from runtime.control.client import OwnerRefused
from runtime.control.vocabulary import VOCABULARY, Declined
from runtime.opening import open_runtime


async def order_alone(
    state_dir: Path, name: str, entity_id: str, said: dict[str, Any]
) -> dict[str, Any]:
    """Carries the command out with nothing started. Raises OwnerRefused as an owner would."""
    try:
        async with open_runtime(state_dir, command=f"{name} {entity_id}", execute=False) as rt:
            verb = VOCABULARY[name]
            assert verb.answer is not None
            args = msgspec.convert({"entity": entity_id, **said}, verb.args)
            answer: dict[str, Any] = await verb.answer(rt, args)
            await rt.wait_idle()
            return answer
    except Declined as no:
        raise OwnerRefused(no.code, no.text, no.cure) from None
