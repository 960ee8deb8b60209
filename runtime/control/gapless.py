"""Events without a gap, however slow the reader: where it was cut off, it begins again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from runtime.control.engine import Engine
from runtime.events import Lagged


async def gapless(engine: Engine, since: int | None) -> AsyncGenerator[dict[str, Any], None]:
    """Every committed event after `since` (None: from now on), until the engine stops."""
    while True:
        events = engine.events(since)
        try:
            async for event in events:
                since = event["seq"]
                yield event
        except Lagged as lagged:
            since = lagged.seq
        else:
            return
        finally:
            await events.aclose()
