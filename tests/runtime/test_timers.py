"""The heap of timers, and the kernel in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio

from actors.effects import SetTimer
from actors.machine import Decision
from runtime import VirtualClock, user_kind
from runtime.cell import Cell
from runtime.timers import Timers
from tests.runtime.kernel_kit import ACCOUNTS, account, opened, seen, total
from tests.runtime.ledger_actor import Account, Add, Inbox, Wake


def test_replacing_one_timer_for_ever_keeps_the_heap_small() -> None:
    timers, cell = Timers(), Cell("account:a", ACCOUNTS, Account("a"), 1)
    for number in range(100_000):
        timers.arm(cell, "nap", float(number), volatile=False)
    assert len(timers) <= 2048
    assert [timer.due for timer in timers.pop_due(1e9)] == [99_999.0]


def test_due_timers_come_in_the_order_of_their_instants_then_of_their_arming() -> None:
    timers, cell = Timers(), Cell("account:a", ACCOUNTS, Account("a"), 1)
    for key, due in (("c", 3.0), ("a", 1.0), ("b1", 2.0), ("b2", 2.0), ("late", 9.0)):
        timers.arm(cell, key, due, volatile=False)
    assert [timer.key for timer in timers.pop_due(3.0)] == ["a", "b1", "b2", "c"]
    assert timers.next_due() == 9.0


def test_a_timer_that_was_replaced_while_its_message_waited_is_not_armed() -> None:
    timers, cell = Timers(), Cell("account:a", ACCOUNTS, Account("a"), 1)
    timers.arm(cell, "nap", 1.0, volatile=False)
    [popped] = timers.pop_due(1.0)
    timers.arm(cell, "nap", 5.0, volatile=False)
    assert not popped.armed


async def test_a_timer_replaced_after_its_message_was_queued_is_delivered_once(
    tmp_path: Path,
) -> None:
    clock = VirtualClock(autojump=False)
    async with opened(tmp_path, clock=clock) as rt:
        ref = await account(rt, "a")
        await rt.tell(ref, Wake("nap", clock.now() + 10))
        await rt.wait_idle()
        await rt.tell(ref, Wake("nap", clock.now() + 30))
        clock.advance(10)
        rt._sup.fire_due()  # its message waits behind what replaces it
        await rt.wait_idle()
        assert await seen(rt, ref) == []
        clock.advance(30)
        await rt.wait_idle()
        assert await seen(rt, ref) == ["timer nap"]


def tick(account: Account, message: Inbox, now: float) -> Decision[Account]:
    """A volatile timer that sets itself for ever and changes nothing."""
    return Decision(account, (), (SetTimer("tick", now + 1, volatile=True),))


async def test_time_that_jumps_for_ever_leaves_others_their_turn(tmp_path: Path) -> None:
    clock: Any = VirtualClock()
    kinds = [ACCOUNTS, user_kind("ticker", Account, tick, Inbox)]
    async with opened(tmp_path, clock=clock, kinds=kinds) as rt:
        ref = await account(rt, "a")
        await rt.spawn("ticker", Account("t"), Add(1))
        start = clock.now()
        with anyio.fail_after(20):
            while clock.now() < start + 50:
                await anyio.lowlevel.checkpoint()
        await rt.tell(ref, Add(1))
        assert await total(rt, ref) == 1
