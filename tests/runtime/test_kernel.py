"""The durable kernel on a real store: turns, epochs, rollback, timers, users' effects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from runtime import VirtualClock
from runtime.errors import ActorSuspended, InboxFull, OutcomeUnknown, TurnFailed, UnknownActor
from runtime.limits import INBOX_SIZE_MAX
from tests.runtime.kernel_kit import account, opened, rows, seen, total
from tests.runtime.ledger_actor import (
    Add,
    AddAndSum,
    Bear,
    Begin,
    Calm,
    Close,
    Do,
    Finish,
    Forge,
    Look,
    Pay,
    Raise,
    Remark,
    Sum,
    Wake,
)


async def test_what_was_told_is_there_for_the_next_owner(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        for _ in range(10):
            await rt.tell(ref, Add(2))
        await rt.wait_idle()
    async with opened(tmp_path) as rt:
        assert await total(rt, "account:a") == 20


async def test_messages_between_two_actors_arrive_in_order_and_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        a, b = await account(rt, "a"), await account(rt, "b")
        for amount in range(100):
            await rt.tell(a, Pay(b, amount))
        await rt.wait_idle()
        assert await total(rt, a) == -4950
        assert await total(rt, b) == 4950


async def test_an_answer_that_promises_a_change_is_given_after_its_commit(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        assert await rt.ask(ref, AddAndSum(7)) == 7
        assert '"sum":7' in rows(tmp_path, "SELECT value FROM actors WHERE id = 'a'")[0][0]


async def test_a_spawn_is_acknowledged_after_its_commit(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        await account(rt, "a")
        assert rows(tmp_path, "SELECT id FROM actors") == [("a",)]


async def test_a_turn_that_raises_leaves_nothing_but_a_dead_letter(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        with pytest.raises(TurnFailed, match="on purpose"):
            await rt.ask(ref, Raise())
        assert await total(rt, ref) == 0
        assert rt.statistics()["dead_letters"] == 1
    found = rows(tmp_path, "SELECT reason FROM state_transitions WHERE event_type='dead_letter'")
    assert found == [("Raise: RuntimeError: on purpose",)]


async def test_an_actor_whose_turns_keep_raising_is_suspended(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        for _ in range(3):
            with pytest.raises(TurnFailed):
                await rt.ask(ref, Raise())
        with pytest.raises(ActorSuspended, match="3 messages in a row failed"):
            await rt.ask(ref, Sum())


async def test_an_edge_that_the_store_refuses_takes_nobody_else_along(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        good = [await account(rt, f"good{n}") for n in range(20)]
        bad = await account(rt, "bad")
        for number, ref in enumerate(good):
            await rt.tell(ref, Add(number))
            if number == 11:
                await rt.tell(bad, Forge())
            await rt.tell(ref, Begin())
        await rt.wait_idle()
        assert [await total(rt, ref) for ref in good] == list(range(20))
        assert rt.statistics()["dead_letters"] == 1
    states = dict(rows(tmp_path, "SELECT id, state FROM actors"))
    assert states["bad"] == "open"
    assert {states[f"good{n}"] for n in range(20)} == {"busy"}
    found = rows(tmp_path, "SELECT entity_id FROM state_transitions WHERE event_type LIKE '%susp%'")
    assert found == [("bad",)]


async def test_the_asker_of_what_the_store_refuses_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "bad")
        with pytest.raises(Exception, match="store refuse"):
            await rt.ask(ref, Forge())


async def test_spawning_what_is_there_already_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        await account(rt, "a")
        with pytest.raises(TurnFailed, match="exists already"):
            await account(rt, "a")


async def test_a_message_to_nobody_is_a_dead_letter_and_an_ask_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        await rt.tell("account:nobody", Add(1))
        await rt.wait_idle()
        assert rt.statistics()["dead_letters"] == 1
        with pytest.raises(UnknownActor):
            await rt.ask("account:nobody", Sum())


async def test_a_full_inbox_gives_the_message_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        for number in range(INBOX_SIZE_MAX):
            rt.tell_nowait(ref, Add(number))
        with pytest.raises(InboxFull) as refused:
            rt.tell_nowait(ref, Add(-1))
        assert refused.value.message == Add(-1)


async def test_a_timer_fires_once_at_its_time(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with opened(tmp_path, clock=clock) as rt:
        ref = await account(rt, "a")
        await rt.ask(ref, AddAndSum(1))
        await rt.tell(ref, Wake("nap", clock.now() + 3600))
        await rt.wait_idle()
        while not await seen(rt, ref):
            await anyio.lowlevel.checkpoint()
        assert await seen(rt, ref) == ["timer nap"]


async def test_a_replaced_timer_is_delivered_once_and_a_cancelled_one_never(tmp_path: Path) -> None:
    clock = VirtualClock(autojump=False)
    async with opened(tmp_path, clock=clock) as rt:
        ref = await account(rt, "a")
        await rt.tell(ref, Wake("nap", clock.now() + 10))
        await rt.tell(ref, Wake("nap", clock.now() + 20))
        await rt.tell(ref, Wake("gone", clock.now() + 15))
        await rt.tell(ref, Calm("gone"))
        await rt.wait_idle()
        clock.advance(15)
        await rt.wait_idle()
        assert await seen(rt, ref) == []
        clock.advance(10)
        await rt.wait_idle()
        assert await seen(rt, ref) == ["timer nap"]


async def test_an_overdue_timer_fires_once_for_the_next_owner(tmp_path: Path) -> None:
    clock = VirtualClock(autojump=False)
    async with opened(tmp_path, clock=clock) as rt:
        ref = await account(rt, "a")
        await rt.tell(ref, Wake("nap", clock.now() + 10))
        await rt.tell(ref, Wake("breath", clock.now() + 10, volatile=True))
        await rt.wait_idle()
    later = VirtualClock(clock.now() + 1000, autojump=False)
    async with opened(tmp_path, clock=later) as rt:
        await rt.wait_idle()
        assert await seen(rt, ref) == ["timer nap"]
    async with opened(tmp_path, clock=VirtualClock(later.now(), autojump=False)) as rt:
        assert await seen(rt, ref) == ["timer nap"]


async def test_an_ended_actor_fires_no_timer_and_tells_its_watchers_once(tmp_path: Path) -> None:
    clock = VirtualClock(autojump=False)
    async with opened(tmp_path, clock=clock) as rt:
        a, b = await account(rt, "a"), await account(rt, "b")
        await rt.tell(b, Look(a))
        await rt.tell(a, Wake("nap", clock.now() + 10))
        await rt.tell(a, Close())
        await rt.wait_idle()
        clock.advance(20)
        await rt.wait_idle()
        assert await seen(rt, b) == ["account:a closed"]
        assert await rt.wait_ended(a) == "closed"
        assert await seen(rt, a) == []


async def test_watching_what_has_ended_long_ago_tells_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        await rt.tell(await account(rt, "a"), Close())
        await rt.wait_idle()
    async with opened(tmp_path) as rt:
        b = await account(rt, "b")
        await rt.tell(b, Look("account:a"))
        await rt.wait_idle()
        assert await seen(rt, b) == ["account:a closed"]


async def test_a_watch_survives_its_owner(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        await account(rt, "a")
        await rt.tell(await account(rt, "b"), Look("account:a"))
        await rt.wait_idle()
    async with opened(tmp_path) as rt:
        await rt.tell("account:a", Close())
        await rt.wait_idle()
        assert await seen(rt, "account:b") == ["account:a closed"]


async def test_an_effect_of_a_user_is_performed_after_its_commit(tmp_path: Path) -> None:
    found: list[Any] = []

    async def perform(key: str, payload: Any, perhaps_done: bool) -> str:
        found.append((key, payload, perhaps_done, rows(tmp_path, "SELECT key FROM outbox")))
        return "ok"

    async with opened(tmp_path, performers={"mail": perform}) as rt:
        ref = await account(rt, "a")
        await rt.tell(ref, Do("mail", "m1", {"to": "b"}))
        while not await seen(rt, ref):
            await anyio.lowlevel.checkpoint()
        assert await seen(rt, ref) == ["performed m1 ok None"]
        await rt.wait_idle()
    assert found == [("m1", {"to": "b"}, False, [("m1",)])]
    assert rows(tmp_path, "SELECT * FROM outbox") == []


async def test_an_unfinished_effect_is_offered_again_with_its_key(tmp_path: Path) -> None:
    never = anyio.Event()

    async def hang(_key: str, _payload: Any, _perhaps_done: bool) -> None:
        await never.wait()

    async with opened(tmp_path, performers={"mail": hang}) as rt:
        ref = await account(rt, "a")
        await rt.tell(ref, Do("mail", "m1"))
        await rt.wait_idle()
    offered: list[Any] = []

    async def perform(key: str, _payload: Any, perhaps_done: bool) -> None:
        offered.append((key, perhaps_done))

    async with opened(tmp_path, performers={"mail": perform}) as rt:
        while not await seen(rt, ref):
            await anyio.lowlevel.checkpoint()
    assert offered == [("m1", True)]


@pytest.mark.parametrize("text", ["\udcff", None], ids=["half a character", "no text"])
async def test_a_performer_that_fails_without_a_text_to_tell_has_failed(
    tmp_path: Path, text: str | None
) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            assert text is not None
            return text

    async def fail(_key: str, _payload: Any, _perhaps_done: bool) -> None:
        raise Mute

    async with opened(tmp_path, performers={"mail": fail}) as rt:
        ref = await account(rt, "a")
        await rt.tell(ref, Do("mail", "m1"))
        with anyio.fail_after(20.0):
            while not await seen(rt, ref):
                await anyio.lowlevel.checkpoint()
        (told,) = await seen(rt, ref)
    assert told.startswith("performed m1 None Mute: ")


async def test_a_missing_or_failing_performer_is_an_outcome(tmp_path: Path) -> None:
    async def fail(_key: str, _payload: Any, _perhaps_done: bool) -> None:
        raise OSError("no line")

    async with opened(tmp_path, performers={"mail": fail}) as rt:
        ref = await account(rt, "a")
        await rt.tell(ref, Do("mail", "m1"))
        await rt.tell(ref, Do("fax", "f1"))
        while len(await seen(rt, ref)) < 2:
            await anyio.lowlevel.checkpoint()
        told = sorted(await seen(rt, ref))
    assert told == [
        "performed f1 None no performer is registered under 'fax'",
        "performed m1 None OSError: no line",
    ]


async def test_events_come_in_order_without_a_gap_from_where_one_asks(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        for _ in range(3):
            await rt.tell(ref, Begin())
            await rt.tell(ref, Finish())
        await rt.wait_idle()
        got: list[Any] = []
        async for event in rt.events(since=0):
            got.append(event)
            if len(got) == 7:
                await rt.tell(ref, Remark("hello"))
            if len(got) == 8:
                break
    assert [e["seq"] for e in got] == list(range(1, 9))
    assert [e["to_state"] for e in got[:3]] == ["open", "busy", "open"]
    assert got[7]["event_type"] == "remark"
    assert got[7]["reason"] == "hello"


async def test_an_actor_may_bear_others(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        await rt.tell(ref, Bear("child"))
        await rt.tell(ref, Pay("account:child", 5))
        await rt.wait_idle()
        assert await total(rt, "account:child") == 5


async def test_idle_actors_that_ended_leave_memory_and_can_still_be_asked(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        before = rt.statistics()["actors_in_memory"]
        await rt.tell(ref, Close())
        await rt.wait_idle()
        assert rt.statistics()["actors_in_memory"] == before - 1
        assert await total(rt, ref) == 0


async def test_a_full_disk_acknowledges_nothing_and_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.kernel.DISK_RETRY_S", 0.01)
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        writer = rt._sup.store._thread._db
        assert writer is not None
        await writer.execute("PRAGMA max_page_count = 1")
        with pytest.raises(OutcomeUnknown):
            await rt.ask(ref, Remark("x" * 200_000), timeout_s=0.2)
        assert rt.statistics()["trouble"]
        await writer.execute("PRAGMA max_page_count = 1000000")
        assert await rt.ask(ref, AddAndSum(3)) == 3
        assert rt.statistics()["trouble"] is None
