"""Whole runs in virtual time, on the real store and the in-process workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio

from actors import spec
from runtime import Runtime, VirtualClock, open_runtime

HOUR = 3600.0


def plan(*tasks: tuple[str, spec.Task], **run: Any) -> spec.Plan:
    stream = spec.Workstream(tasks=dict(tasks))
    return spec.Plan(run=spec.Run(name="virtual", **run), workstreams={"w": stream})


async def states(rt: Runtime, run_id: str) -> dict[str, str]:
    """The last state of each task, from the events."""
    found: dict[str, str] = {}
    async for event in rt.events(since=0):
        if event["entity_type"] == "task":
            found[event["entity_id"].rpartition("/")[2]] = event["to_state"]
        if event["entity_id"] == run_id and event["to_state"] in ("completed", "failed"):
            break
    return found


async def test_a_backoff_of_hours_passes_in_no_time(tmp_path: Path) -> None:
    tries: list[float] = []
    clock = VirtualClock()

    async def flaky() -> None:
        tries.append(clock.now())
        if len(tries) < 3:
            raise OSError("not yet")

    async with open_runtime(tmp_path / "s", clock=clock, calls={"flaky": flaky}) as rt:
        task = spec.Task(call="flaky", max_retries=5, backoff_s=HOUR, backoff_s_max=10 * HOUR)
        run = await rt.submit(plan(("t", task)))
        assert await run.wait() == "completed"
    assert len(tries) == 3
    assert 0.8 * HOUR <= tries[1] - tries[0] <= 1.2 * HOUR
    assert 1.6 * HOUR <= tries[2] - tries[1] <= 2.4 * HOUR


async def test_retries_spent_fail_the_task_and_its_run(tmp_path: Path) -> None:
    async def broken() -> None:
        raise ValueError("never")

    async with open_runtime(tmp_path / "s", clock=VirtualClock(), calls={"broken": broken}) as rt:
        run = await rt.submit(plan(("t", spec.Task(call="broken", max_retries=2))))
        assert await run.wait() == "failed"
        assert await states(rt, run.id) == {"t": "failed"}


async def test_an_execution_timeout_cancels_the_call_and_fails_the_task(tmp_path: Path) -> None:
    clock = VirtualClock(autojump=False)
    hanging, cancelled = anyio.Event(), anyio.Event()

    async def hang() -> None:
        hanging.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    async with open_runtime(tmp_path / "s", clock=clock, calls={"hang": hang}) as rt:
        run = await rt.submit(plan(("t", spec.Task(call="hang", timeout_s=HOUR))))
        await hanging.wait()
        clock.advance(HOUR + 1)
        assert await run.wait() == "failed"
        assert cancelled.is_set()


async def test_a_task_that_no_slot_takes_in_time_fails_by_its_queue_timeout(
    tmp_path: Path,
) -> None:
    clock = VirtualClock(autojump=False)
    hanging = anyio.Event()

    async def hang() -> None:
        hanging.set()
        await anyio.sleep_forever()

    pools = {"one": spec.Pool(kind="inline", count=1)}
    async with open_runtime(tmp_path / "s", clock=clock, calls={"hang": hang}, pools=pools) as rt:
        tasks = (
            ("first", spec.Task(call="hang", priority=1, critical=False)),
            ("second", spec.Task(call="hang", queue_timeout_s=60.0)),
        )
        run = await rt.submit(plan(*tasks))
        await hanging.wait()
        clock.advance(61)
        assert await run.wait() == "failed"
        assert (await states(rt, run.id))["second"] == "failed"


async def test_a_dependent_waits_for_what_it_depends_on(tmp_path: Path) -> None:
    order: list[str] = []

    def named(name: str) -> Any:
        async def call() -> None:
            order.append(name)

        return call

    calls = {name: named(name) for name in ("a", "b", "c")}
    async with open_runtime(tmp_path / "s", clock=VirtualClock(), calls=calls) as rt:
        run = await rt.submit(
            plan(
                ("c", spec.Task(call="c", depends_on=("b",))),
                ("b", spec.Task(call="b", depends_on=("a",))),
                ("a", spec.Task(call="a")),
            )
        )
        assert await run.wait() == "completed"
    assert order == ["a", "b", "c"]


async def test_the_same_key_gives_the_same_run_also_to_the_next_owner(tmp_path: Path) -> None:
    async def nothing() -> None:
        return None

    calls = {"nothing": nothing}
    async with open_runtime(tmp_path / "s", calls=calls) as rt:
        run = await rt.submit(plan(("t", spec.Task(call="nothing"))), key="today")
        again = await rt.submit(plan(("t", spec.Task(call="nothing"))), key="today")
        assert again.id == run.id
        assert await run.wait() == "completed"
    async with open_runtime(tmp_path / "s", calls=calls) as rt:
        later = await rt.submit(plan(("t", spec.Task(call="nothing"))), key="today")
        assert later.id == run.id
        assert await later.wait() == "completed"
