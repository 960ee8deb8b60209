"""The measurements, one function a figure, all in one process and one run, so that ratios hold.

Each opens a state directory of its own under a temporary folder on the disk that is measured.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import anyio

from actors import spec
from runtime import open_runtime, user_kind
from runtime.bench import actors as bench_actors
from runtime.bench.raw import raw_rows_per_s

FIGURES: Final = (
    "raw_sqlite_rows_per_s",
    "durable_transitions_per_s",
    "ratio",
    "tasks_per_s",
    "tasks_ratio",
    "asyncio_queue_per_s",
    "tell_per_s",
    "tell_ratio",
    "submit_to_start_ms_p50",
    "submit_to_start_ms_p99",
    "bytes_per_idle_actor",
    "recovery_tasks_per_s",
    "recovery_ratio",
    "task_cost_growth",
)

# Slots of the pool whose whole tasks are counted: with few, the figure is the latency of a commit.
SLOTS: Final = 256

Say = Callable[[str], None]


def _kind() -> Any:
    return user_kind(
        "bench_switch",
        bench_actors.Switch,
        bench_actors.decide,
        bench_actors.Flip | bench_actors.Look,
        bench_actors.CHART,
    )


async def nothing() -> None:
    """The task that every bench run does."""


def _plan(tasks: int, *, call: str = "nothing", per_workstream: int = 1000) -> spec.Plan:
    task = spec.Task(call=call)
    streams = {}
    for first in range(0, tasks, per_workstream):
        names = range(first, min(first + per_workstream, tasks))
        streams[f"w{first}"] = spec.Workstream(tasks={f"t{n}": task for n in names})
    return spec.Plan(run=spec.Run(name="bench"), workstreams=streams)


async def durable_transitions_per_s(folder: Path, seconds: float) -> float:
    """Flips of 1,000 actors, each an audited transition, through inbox, decide, epoch, commit."""
    async with open_runtime(folder, kinds=[_kind()]) as rt:
        refs = [f"bench_switch:{n}" for n in range(1000)]
        for n in range(1000):
            await rt.spawn("bench_switch", bench_actors.Switch(str(n)))
        flip = bench_actors.Flip()
        first = rt.statistics()
        before, told = first["seq"], first["turns"]
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            for ref in refs:
                await rt.tell(ref, flip)
            told += len(refs)
            while told - rt.statistics()["turns"] > 20_000:  # noqa: ASYNC110 (a pace, not a wait)
                await asyncio.sleep(0.001)
        await rt.wait_idle()
        return float(rt.statistics()["seq"] - before) / (time.perf_counter() - began)


async def tasks_per_s(folder: Path, tasks: int) -> float:
    """Whole no-op tasks in this process, from submit to COMPLETED, every step durable."""
    pools = {"bench": spec.Pool(kind="inline", count=SLOTS)}
    async with open_runtime(folder, calls={"nothing": nothing}, pools=pools) as rt:
        await (await rt.submit(_plan(SLOTS))).wait()
        plan = _plan(tasks)
        began = time.perf_counter()
        run = await rt.submit(plan)
        state = await run.wait()
        assert state == "completed", state
        return tasks / (time.perf_counter() - began)


async def tell_per_s(folder: Path, seconds: float) -> tuple[float, float]:
    """(puts and gets of one asyncio.Queue, tells taken by one actor) per second, in turn."""
    async with open_runtime(folder, kinds=[_kind()]) as rt:
        ref = await rt.spawn("bench_switch", bench_actors.Switch("one"))
        look = bench_actors.Look()
        queue: asyncio.Queue[Any] = asyncio.Queue()
        told = queued = 0
        told_s = queued_s = 0.0
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            began = time.perf_counter()
            for _ in range(1000):
                await rt.tell(ref, look)
            await rt.wait_idle()
            told_s += time.perf_counter() - began
            told += 1000
            began = time.perf_counter()
            for _ in range(1000):
                await queue.put(look)
            for _ in range(1000):
                await queue.get()
            queued_s += time.perf_counter() - began
            queued += 1000
        return queued / queued_s, told / told_s


async def submit_to_start_ms(folder: Path, submissions: int) -> tuple[float, float]:
    """(p50, p99) from a durable submission to the first instruction of its first task."""
    started: list[float] = []

    async def note() -> None:
        started.append(time.perf_counter())

    waits = []
    async with open_runtime(folder, calls={"nothing": note}) as rt:
        for number in range(submissions + 1):
            started.clear()
            run = await rt.submit(_plan(1))
            durable = time.perf_counter()
            await run.wait()
            if number:  # the first one makes the pool
                waits.append(max(0.0, started[0] - durable) * 1000)
    waits.sort()
    return statistics.median(waits), waits[int(len(waits) * 0.99)]


async def bytes_per_idle_actor(folder: Path, actors: int) -> float:
    """Memory that an idle actor keeps, its value and id included."""
    async with open_runtime(folder, kinds=[_kind()]) as rt:
        await rt.spawn("bench_switch", bench_actors.Switch("first"))
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for n in range(actors):
            await rt.spawn("bench_switch", bench_actors.Switch(f"idle-{n}"))
        await rt.wait_idle()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return (after - before) / actors


async def recovery_tasks_per_s(folder: Path, tasks: int) -> float:
    """Unfinished tasks read back and announced by a new owner, until all is calm again."""
    plan = _plan(tasks, call="runtime.bench.program:nothing")
    async with open_runtime(folder, execute=False) as rt:
        await rt.submit(plan)
        await rt.wait_idle()
    began = time.perf_counter()
    async with open_runtime(folder, execute=False) as rt:
        await rt.wait_idle()
        return tasks / (time.perf_counter() - began)


async def large(folder: Path, tasks: int, say: Say) -> dict[str, float]:
    """One run of a million tasks: how fast, and how large the process became."""
    say(f"one run of {tasks:,} tasks (minutes) …")
    speed = await tasks_per_s(folder, tasks)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1024
    return {"large_tasks": float(tasks), "large_tasks_per_s": speed, "large_rss_gib": rss}


async def _all(folder: Path, say: Say) -> dict[str, float]:
    say("raw rows: what sqlite3 alone writes on this disk …")
    raw = raw_rows_per_s(folder, 3.0)
    say("durable transitions …")
    durable = await durable_transitions_per_s(folder / "durable", 5.0)
    say("whole tasks, 1,000 and then 10,000 in one run …")
    small = await tasks_per_s(folder / "small", 1000)
    tasks = await tasks_per_s(folder / "tasks", 10_000)
    say("tell against asyncio.Queue …")
    queue, tell = await tell_per_s(folder / "tell", 3.0)
    say("submission to start …")
    p50, p99 = await submit_to_start_ms(folder / "start", 300)
    say("idle actors …")
    idle = await bytes_per_idle_actor(folder / "idle", 5000)
    say("recovery of 20,000 unfinished tasks …")
    recovery = await recovery_tasks_per_s(folder / "recovery", 20_000)
    raw = (raw + raw_rows_per_s(folder / "again", 3.0)) / 2
    return {
        "raw_sqlite_rows_per_s": raw,
        "durable_transitions_per_s": durable,
        "ratio": durable / raw,
        "tasks_per_s": tasks,
        "tasks_ratio": tasks / raw,
        "asyncio_queue_per_s": queue,
        "tell_per_s": tell,
        "tell_ratio": tell / queue,
        "submit_to_start_ms_p50": p50,
        "submit_to_start_ms_p99": p99,
        "bytes_per_idle_actor": idle,
        "recovery_tasks_per_s": recovery,
        "recovery_ratio": recovery / raw,
        "task_cost_growth": small / tasks,
    }


def measure(*, tasks_large: int = 0, folder: Path | None = None, say: Say) -> dict[str, float]:
    """All figures by name, rounded. `folder`: on which disk (default: the temporary folder's).

    `tasks_large`: instead, one run of so many tasks.
    """
    with tempfile.TemporaryDirectory(prefix="banksman-bench-", dir=folder) as name:
        base = Path(name)
        (base / "again").mkdir()
        if tasks_large:
            figures = anyio.run(large, base / "large", tasks_large, say)
        else:
            figures = anyio.run(_all, base, say)
    return {key: round(value, 4) for key, value in figures.items()}
