"""A wall clock that is set back an hour or forward a day, under a live owner and between two."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from actors import breaker, spec
from actors import guard_messages as guard
from runtime import Runtime, VirtualClock, open_runtime
from runtime.clock import SystemClock
from runtime.store.verify import verify
from tests.runtime.kernel_kit import account, opened, rows, seen
from tests.runtime.ledger_actor import Wake

HOUR, DAY = 3_600.0, 86_400.0


@pytest.mark.parametrize("jump", [-HOUR, DAY], ids=["back an hour", "forward a day"])
def test_a_live_owner_does_not_notice_that_the_wall_clock_was_set(
    monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    clock = SystemClock()
    before = clock.now()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    assert 0.0 <= clock.now() - before < 60.0


def test_a_clock_that_starts_behind_the_record_counts_on_from_there() -> None:
    clock = SystemClock()
    clock.start(clock.now() + HOUR)
    first = clock.now()
    assert first >= time.time() + HOUR - 60.0
    assert clock.now() >= first


@pytest.fixture(params=[-HOUR, DAY], ids=["back an hour", "forward a day"])
def jump(request: pytest.FixtureRequest) -> float:
    jump: float = request.param
    return jump


async def test_a_timer_comes_once_and_no_later_than_it_was_to_whatever_the_clock_says(
    tmp_path: Path, jump: float
) -> None:
    async with opened(tmp_path, clock=VirtualClock(1e9, autojump=False)) as rt:
        ref = await account(rt, "a")
        await rt.tell(ref, Wake("nap", 1e9 + 30.0))
        await rt.wait_idle()
    later = VirtualClock(1e9 + jump, autojump=False)
    async with opened(tmp_path, clock=later) as rt:
        later.advance(30.0)
        await rt.wait_idle()
        assert await seen(rt, ref) == ["timer nap"]
        later.advance(2 * DAY)
        await rt.wait_idle()
        assert await seen(rt, ref) == ["timer nap"]


async def test_a_cooldown_never_grows_and_the_record_never_goes_back(
    tmp_path: Path, jump: float
) -> None:
    settings = spec.Breaker(failure_threshold=1, cooldown_s=60.0, jitter=0.0)

    async def trip(rt: Runtime, ref: str) -> None:
        ticket = await rt.ask(ref, guard.Admit())
        await rt.ask(ref, guard.Settle(ticket, guard.CallOutcome.TOOL_FAILURE))

    async with opened(tmp_path, clock=VirtualClock(1e9, autojump=False)) as rt:
        ref = await rt.spawn("circuit_breaker", breaker.create("t", ("t",), settings, 1e9))
        await trip(rt, ref)
    clock = VirtualClock(1e9 + jump, autojump=False)
    async with opened(tmp_path, clock=clock) as rt:
        clock.advance(60.0)
        await rt.wait_idle()
        assert (await rt.ask(ref, guard.WouldAdmit())).state == "half_open"
    async with opened(tmp_path, clock=VirtualClock(1e9 + 1.0, autojump=False)) as rt:
        ticket = await rt.ask(ref, guard.Admit())  # the clock is right again
        await rt.ask(ref, guard.Settle(ticket, guard.CallOutcome.OK))
    instants = rows(tmp_path, "SELECT transitioned_at FROM state_transitions ORDER BY seq")
    assert instants == sorted(instants)
    assert verify(tmp_path / ".state").whole


async def test_a_run_goes_on_and_ends_well_after_its_clock_was_wrong(
    tmp_path: Path, jump: float
) -> None:
    tries: list[int] = []

    async def work() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("once")

    task = spec.Task(call="work", max_retries=3, backoff_s=30.0)
    plan = spec.Plan(
        run=spec.Run(name="late"), workstreams={"w": spec.Workstream(tasks={"t": task})}
    )
    state = tmp_path / "s"
    async with open_runtime(
        state, clock=VirtualClock(1e9, autojump=False), calls={"work": work}
    ) as rt:
        run = await rt.submit(plan)
        await rt.wait_idle()
        while not tries:
            await rt.wait_idle()
    async with open_runtime(state, clock=VirtualClock(1e9 + jump), calls={"work": work}) as rt:
        assert await rt.wait_ended(f"run:{run.id}") == "completed"
    assert len(tries) == 2
    assert verify(state).whole
