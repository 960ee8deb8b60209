"""The runtime inside a program of your own: async and sync callables as durable tasks.

    python examples/embedded.py [STATE_DIR]

Eight pages are fetched (async; one line is bad, so some fail and are tried again), each is counted
in a thread (sync), and one task adds up. Kill it at any moment and start it again: what has
completed is not done again, because the same key is the same run.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio

from runtime import Runtime, open_runtime, spec

PAGES = range(8)
HERE = Path(__file__).resolve().parent
folder = Path(sys.argv[1] if len(sys.argv) > 1 else HERE / ".state" / "embedded")


async def fetch(page: int) -> None:
    """Async: it runs on the program's own event loop."""
    await anyio.sleep(0.05)
    if random.random() < 0.3:
        raise ConnectionError(f"page {page}: the line is bad")
    await anyio.Path(folder / f"page{page}.txt").write_text("word " * (page + 1))


def count(page: int) -> None:
    """Sync: it runs in a thread. A task may run more than once, so what it does can be repeated."""
    time.sleep(0.02)
    words = (folder / f"page{page}.txt").read_text().split()
    (folder / f"count{page}.txt").write_text(str(len(words)))


def add_up() -> None:
    total = sum(int((folder / f"count{page}.txt").read_text()) for page in PAGES)
    (folder / "total.txt").write_text(str(total))


def plan() -> spec.Plan:
    fetching = {
        f"page{n}": spec.Task(call="fetch", kwargs={"page": n}, max_retries=50, backoff_s=0.05)
        for n in PAGES
    }
    counting = {
        f"page{n}": spec.Task(call="count", kwargs={"page": n}, depends_on=(f"fetch/page{n}",))
        for n in PAGES
    }
    return spec.Plan(
        run=spec.Run(name="pages"),
        workstreams={
            "fetch": spec.Workstream(tasks=fetching),
            "count": spec.Workstream(tasks=counting),
            "sum": spec.Workstream(depends_on=("count",), tasks={"all": spec.Task(call="add_up")}),
        },
    )


async def tell_retries(events: AsyncIterator[dict[str, Any]]) -> None:
    """Committed events, each once and in order; they end with the runtime."""
    async for event in events:
        if event["to_state"] == "retrying":
            print(f"{event['entity_id']}: {event['reason']}, tried again")


async def follow(rt: Runtime) -> str:
    events = rt.events()  # from here on, so that nothing of the run is missed
    async with anyio.create_task_group() as group:
        group.start_soon(tell_retries, events)
        run = await rt.submit(plan(), key="pages-of-today")  # durable when it returns
        state = await run.wait()
        group.cancel_scope.cancel()
    return state


async def main() -> None:
    async with open_runtime(
        folder,
        calls={"fetch": fetch, "count": count, "add_up": add_up},
        pools={"own": spec.Pool(kind="inline", count=4)},
    ) as rt:
        state = await follow(rt)
    print(f"{state}: {(folder / 'total.txt').read_text()} words")
    print(f"its history: banksman events --state-dir {folder}")


if __name__ == "__main__":
    folder.mkdir(parents=True, exist_ok=True)
    anyio.run(main)
