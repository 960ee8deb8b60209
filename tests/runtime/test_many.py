"""More actors than memory is to hold: those that wait are in the store until a message comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors import spec
from runtime import VirtualClock, open_runtime, user_kind
from tests.runtime.ledger_actor import CHART, Account, Add, Forge, Inbox, Sum, Wake, decide


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
