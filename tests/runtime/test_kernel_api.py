"""What a program that embeds the runtime relies on: submissions, events, ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import spec
from actors.machine import Decision
from runtime.events import Lagged
from tests.runtime.kernel_kit import account, opened, rows, until
from tests.runtime.ledger_actor import AddAndSum, Close, Play, Remark, Sum


async def nothing(**_kwargs: Any) -> None:
    """A call without work."""


def plan(tasks: int = 1) -> spec.Plan:
    made = {f"t{n}": spec.Task(call="nothing") for n in range(tasks)}
    return spec.Plan(run=spec.Run(name="x"), workstreams={"w": spec.Workstream(tasks=made)})


async def test_submissions_with_one_key_at_once_are_one_run(tmp_path: Path) -> None:
    made: list[str] = []
    async with opened(tmp_path, calls={"nothing": nothing}) as rt:

        async def submit() -> None:
            made.append((await rt.submit(plan(), key="k")).id)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(submit)
        assert len(set(made)) == 1
        assert len(rows(tmp_path, "SELECT id FROM runs")) == 1
    async with opened(tmp_path, calls={"nothing": nothing}) as rt:
        assert (await rt.submit(plan(), key="k")).id == made[0]


async def test_a_key_whose_first_caller_gave_up_still_is_one_run(tmp_path: Path) -> None:
    async with opened(tmp_path, calls={"nothing": nothing}) as rt:
        async with anyio.create_task_group() as group:
            group.start_soon(rt.submit, plan(), "k")
            await until(lambda: rt._sup.router.cells["creator:main"].scheduled)
            group.cancel_scope.cancel()
        second = await rt.submit(plan(), key="k")
        assert rows(tmp_path, "SELECT id FROM runs") == [(second.id,)]


async def test_the_first_submissions_at_once_share_the_owners_workers(tmp_path: Path) -> None:
    ends: list[str] = []
    async with opened(tmp_path, calls={"nothing": nothing}) as rt:

        async def submit() -> None:
            ends.append(await (await rt.submit(plan())).wait())

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(submit)
    assert ends == ["completed"] * 3


async def test_events_begin_at_the_call(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        events = rt.events()
        await rt.tell(ref, Remark("first"))
        await rt.wait_idle()
        assert (await anext(events))["reason"] == "first"
        await events.aclose()


async def test_an_epoch_of_any_size_does_not_end_a_prompt_subscriber(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.events.EVENTS_QUEUE_MAX", 3)
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        events = rt.events()
        for number in range(20):
            await rt.tell(ref, Remark(str(number)))
        got = [(await anext(events))["reason"] for _ in range(20)]
        await events.aclose()
    assert got == [str(n) for n in range(20)]


async def collect(events: AsyncIterator[dict[str, Any]], reasons: list[str]) -> None:
    async for event in events:
        reasons.append(event["reason"])  # noqa: PERF401 (what came before it raised counts)


async def test_a_subscriber_that_lags_is_ended_and_can_go_on_without_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.events.EVENTS_QUEUE_MAX", 3)
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        events = rt.events()
        for number in range(20):
            await rt.ask(ref, AddAndSum(1))
            await rt.tell(ref, Remark(str(number)))
            await rt.wait_idle()
        got: list[str] = []
        with pytest.raises(Lagged) as lagged:
            await collect(events, got)
        again = rt.events(since=lagged.value.seq)
        async for event in again:
            got.append(event["reason"])
            if len(got) == 20:
                break
        await again.aclose()
    assert got == [str(n) for n in range(20)]


async def test_events_since_come_without_a_gap_under_load_and_across_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.events.EVENTS_QUEUE_MAX", 3)
    got: list[int] = []
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        async for event in rt.events(since=0):
            got.append(event["seq"])
            if len(got) == 100:
                break
            for _ in range(2):
                await rt.tell(ref, Remark("more"))
    async with opened(tmp_path) as rt:
        await rt.tell(ref, Remark("last"))
        async for event in rt.events(since=got[-1]):
            got.append(event["seq"])
            if event["reason"] == "last":
                break
    assert got == list(range(1, len(got) + 1))
    assert len(got) > 190


async def test_waiting_for_ends_leaves_nothing_behind(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        with anyio.move_on_after(0.01):
            await rt.wait_ended(ref)
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(rt.wait_ended, ref)
            await rt.tell(ref, Close())
        assert await rt.wait_ended(ref) == "closed"
        assert rt._ends == {}


async def test_an_asker_that_gave_up_leaves_nothing_behind(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        with anyio.move_on_after(0.01):
            await rt.ask(ref, Play(Decision))
        assert rt._sup.waiting == set()
        assert (await rt.ask(ref, Sum()))[0] == 0
