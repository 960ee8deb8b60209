"""More actors than memory is to hold: those that wait are in the store until a message comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from actors import spec
from runtime import Runtime, VirtualClock, open_runtime, user_kind
from runtime.errors import TurnFailed
from tests.runtime.kernel_kit import until
from tests.runtime.ledger_actor import (
    CHART,
    Account,
    Add,
    Close,
    Forge,
    Inbox,
    Look,
    Raise,
    Sum,
    Wake,
    decide,
)


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.kernel.CELLS_MAX", 20)


async def test_a_run_of_more_tasks_than_fit_completes_with_few_in_memory(tmp_path: Path) -> None:
    seen: list[int] = []

    async with open_runtime(tmp_path / "s", clock=VirtualClock()) as rt:

        async def look() -> None:
            seen.append(rt.statistics()["actors_in_memory"])

        tasks = {
            f"t{n}": spec.Task(
                call=rt.register_call(look, "look"), depends_on=(f"t{n - 100}",) if n > 99 else ()
            )
            for n in range(300)
        }
        stream = spec.Workstream(tasks=tasks)
        run = await rt.submit(spec.Plan(run=spec.Run(name="many"), workstreams={"w": stream}))
        assert await run.wait() == "completed"
    assert len(seen) == 300
    assert sorted(seen)[150] < 200


async def test_a_sleeping_actor_answers_and_remembers(tmp_path: Path) -> None:
    kind = user_kind("account", Account, decide, Inbox, CHART)
    async with open_runtime(tmp_path / "s", clock=VirtualClock(), kinds=[kind]) as rt:
        for n in range(60):
            await rt.spawn("account", Account(str(n)))
            await rt.tell(f"account:{n}", Add(n))
        await rt.wait_idle()
        assert rt.statistics()["actors_in_memory"] < 40
        for n in range(60):
            assert (await rt.ask(f"account:{n}", Sum()))[0] == n


async def test_an_actor_with_a_timer_stays_and_is_woken_by_it(tmp_path: Path) -> None:
    clock = VirtualClock(autojump=False)
    kind = user_kind("account", Account, decide, Inbox, CHART)
    async with open_runtime(tmp_path / "s", clock=clock, kinds=[kind]) as rt:
        for n in range(60):
            await rt.spawn("account", Account(str(n)))
            await rt.tell(f"account:{n}", Wake("nap", clock.now() + 10 + n))
        await rt.wait_idle()
        clock.advance(100)
        await rt.wait_idle()
        for n in range(60):
            assert (await rt.ask(f"account:{n}", Sum()))[1] == ("timer nap",)


async def test_a_rollback_loses_no_queued_task_that_was_asleep(tmp_path: Path) -> None:
    kind = user_kind("account", Account, decide, Inbox, CHART)
    done: list[int] = []
    pools = {"one": spec.Pool(kind="inline", count=1)}
    async with open_runtime(tmp_path / "s", kinds=[kind], pools=pools) as rt:
        await rt.spawn("account", Account("bad"))

        async def work() -> None:
            done.append(1)
            if len(done) == 5:
                rt.tell_nowait("account:bad", Forge())

        call = rt.register_call(work, "work")
        stream = spec.Workstream(tasks={f"t{n}": spec.Task(call=call) for n in range(100)})
        run = await rt.submit(spec.Plan(run=spec.Run(name="many"), workstreams={"w": stream}))
        assert await run.wait() == "completed"
        assert len(done) == 100
        assert rt.statistics()["dead_letters"] == 1


# --- asleep, and then something comes ------------------------------------------------------------

KIND = user_kind("account", Account, decide, Inbox, CHART)


@asynccontextmanager
async def crowd(folder: Path, **options: Any) -> AsyncIterator[Runtime]:
    """Sixty accounts of which most are asleep, and one that will be refused."""
    options.setdefault("clock", VirtualClock(autojump=False))
    async with open_runtime(folder / "s", kinds=[KIND], **options) as rt:
        for n in range(60):
            await rt.spawn("account", Account(str(n)))
        await rt.spawn("account", Account("bad"))
        await rt.wait_idle()
        assert "account:53" not in rt._sup.router.cells
        yield rt


async def test_what_is_told_to_a_sleeping_actor_during_a_rollback_arrives_once(
    tmp_path: Path,
) -> None:
    async with crowd(tmp_path) as rt:
        for n in range(60):
            await rt.tell(f"account:{n}", Add(1))
            if n == 30:
                await rt.tell("account:bad", Forge())
        await until(lambda: rt._sup.rollback.pending)
        for n in range(60):
            await rt.tell(f"account:{n}", Add(10))
        await rt.wait_idle()
        assert rt.statistics()["suspended"] == 1
        for n in range(60):
            assert (await rt.ask(f"account:{n}", Sum()))[0] == 11


async def test_a_sleeping_actor_that_is_watched_tells_of_its_end(tmp_path: Path) -> None:
    async with crowd(tmp_path) as rt:
        await rt.tell("account:51", Look("account:53"))
        await rt.wait_idle()
        assert (await rt.ask("account:51", Sum()))[1] == ()
        await rt.tell("account:53", Close())
        await rt.wait_idle()
        assert (await rt.ask("account:51", Sum()))[1] == ("account:53 closed",)


async def test_a_watcher_that_sleeps_is_told_also_when_the_end_was_rolled_back_once(
    tmp_path: Path,
) -> None:
    async with crowd(tmp_path) as rt:
        await rt.tell("account:51", Look("account:53"))
        await rt.wait_idle()
        await rt.tell("account:bad", Forge())
        await rt.tell("account:53", Close())
        await rt.wait_idle()
        assert (await rt.ask("account:51", Sum()))[1] == ("account:53 closed",)


async def test_a_timer_set_by_one_that_was_asleep_comes(tmp_path: Path) -> None:
    clock = VirtualClock(autojump=False)
    async with crowd(tmp_path, clock=clock) as rt:
        await rt.tell("account:53", Wake("nap", clock.now() + 10))
        await rt.tell("account:54", Wake("doze", clock.now() + 10, volatile=True))
        await rt.wait_idle()
        await rt.tell("account:bad", Forge())
        await rt.wait_idle()
        clock.advance(20)
        await rt.wait_idle()
        assert (await rt.ask("account:53", Sum()))[1] == ("timer nap",)
        assert (await rt.ask("account:54", Sum()))[1] == ("timer doze",)


async def test_a_name_that_only_a_sleeping_actor_has_is_taken(tmp_path: Path) -> None:
    async with crowd(tmp_path) as rt:
        await rt.tell("account:53", Add(7))
        await rt.wait_idle()
        assert "account:53" not in rt._sup.router.cells
        with pytest.raises(TurnFailed):
            await rt.spawn("account", Account("53"))
        assert (await rt.ask("account:53", Sum()))[0] == 7
        assert rt.suspended() == {}


async def test_a_rollback_leaves_sleeping_actors_of_a_kind_that_is_not_registered_alone(
    tmp_path: Path,
) -> None:
    other = user_kind("other", Account, decide, Inbox)
    async with open_runtime(tmp_path / "s", kinds=[other], clock=VirtualClock()) as rt:
        await rt.spawn("other", Account("x"))
    async with crowd(tmp_path) as rt:
        await rt.tell("account:bad", Forge())
        await rt.tell("account:53", Add(5))
        await rt.wait_idle()
        assert (await rt.ask("account:53", Sum()))[0] == 5


async def test_one_that_fails_each_time_is_found_to_be_broken_though_it_has_time_to_sleep(
    tmp_path: Path,
) -> None:
    async with crowd(tmp_path) as rt:
        for _ in range(3):
            await rt.tell("account:53", Raise())
            await rt.wait_idle()
        assert list(rt.suspended()) == ["account:53"]


async def test_the_watches_of_what_has_ended_are_gone(tmp_path: Path) -> None:
    async with crowd(tmp_path) as rt:
        for watcher in ("account:51", "account:52"):
            await rt.tell(watcher, Look("account:53"))
        await rt.tell("account:51", Look("account:54"))
        await rt.wait_idle()
        await rt.tell("account:51", Close())
        await rt.wait_idle()
        assert await rt._sup.store.watches() == {"account:53": ["account:52"]}
        assert list(rt._sup.turns.watches) == ["account:53"]


@pytest.mark.parametrize("verb", ["open", "hold"])
async def test_queued_tasks_that_are_asleep_move_their_run_unless_a_person_keeps_them_back(
    tmp_path: Path, verb: str
) -> None:
    pools = {"one": spec.Pool(count=1)}
    tools = {"tool": spec.Tool(command=("true",))}

    def plan(tasks: int) -> spec.Plan:
        named = {f"t{n}": spec.Task(tool="tool") for n in range(tasks)}
        streams = {"w": spec.Workstream(tasks=named)}
        return spec.Plan(run=spec.Run(name="many"), tools=tools, workstreams=streams)

    async with open_runtime(tmp_path / "s", pools=pools) as rt:
        assert await (await rt.submit(plan(1))).wait() == "completed"
        breaker = spec.breaker_id("tool", ("true",))
        said: dict[str, Any] = {"operator": "ann", "reason": "x", "verb": verb}
        await rt.command("breaker", breaker, **said)
        run = await rt.submit(plan(60))
        await rt.wait_idle()
        assert rt.statistics()["actors_in_memory"] < 40
        assert rt.waits_for_person() == ([run.id] if verb == "hold" else [])
        await rt.command("cancel", run.id, operator="ann")
        assert await run.wait() == "cancelled"
