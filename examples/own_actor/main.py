"""Runs the digest actor on the durable kernel: kill it at any moment and start it again.

    python examples/own_actor/main.py "first line" "second line"

State lies in examples/own_actor/.state, digests arrive in examples/own_actor/.state/digests.txt.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import digest

from runtime import open_runtime, user_kind

HERE = Path(__file__).resolve().parent
STATE = HERE / ".state"


async def deliver(key: str, lines: Any, perhaps_done: bool) -> None:
    """Appends a digest once: a key that is there already was delivered before a crash."""
    path = anyio.Path(STATE / "digests.txt")
    before = await path.read_text() if await path.exists() else ""
    if not perhaps_done or f"[{key}]" not in before:
        await path.write_text(before + f"[{key}] " + "; ".join(lines) + "\n")


async def main(lines: list[str]) -> None:
    kind = user_kind("digest", digest.Digest, digest.decide, digest.Inbox, digest.CHART)
    async with open_runtime(STATE, kinds=[kind], performers={"deliver": deliver}) as rt:
        ref = "digest:morning"
        if not await rt.exists(ref):
            await rt.spawn("digest", digest.Digest(id="morning", wait_s=0.5))
        for line in lines:
            await rt.tell(ref, digest.Line(line))
        async for event in rt.events():
            if event["entity_type"] == "digest" and event["to_state"] == "idle":
                break
        print((STATE / "digests.txt").read_text(), end="")
        print(f"its history: banksman --state-dir {STATE} events --entity digest")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1:] or ["nothing happened"])
