"""An owner in a process of its own, to be killed: `python -m tests.runtime.store_child DIR POINT`.

It commits a run; then a task, dying at POINT of that second commit ("none": it lives on until its
standard input ends). It prints "ready" before the second commit.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.runtime.store_kit import Hand, a_run, a_task, open_store


async def main(state_dir: Path, point: str) -> None:
    armed = False

    def crash_point(name: str) -> None:
        if armed and name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    async with await open_store(state_dir, crash_point=crash_point, command="a child") as store:
        hand = Hand(store)
        hand.born("run", a_run())
        await hand.commit()
        armed = True
        print("ready", flush=True)
        if point == "none":
            await asyncio.to_thread(sys.stdin.read)
        hand.born("task", a_task("t"))
        await hand.commit()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
