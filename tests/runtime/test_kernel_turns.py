"""What a turn may do wrong without harm to others, what it leaves, and who comes when."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from actors.effects import Note, Perform, Reply, Send, SetTimer, Spawn, Watch
from actors.machine import Decision, Edge
from actors.messages import Refused
from runtime.errors import ActorSuspended, TurnFailed
from runtime.limits import SLICE_TURNS
from runtime.store import Store
from tests.runtime.kernel_kit import (
    Boundary,
    account,
    boundary,
    locked,
    opened,
    rows,
    seen,
    total,
    until,
)
from tests.runtime.ledger_actor import (
    Account,
    Add,
    AddAndSum,
    Begin,
    Forge,
    Pay,
    Play,
    Raise,
    Remark,
    Sum,
    see,
)

__all__ = ["boundary"]

more = msgspec.structs.replace


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def say(error: Exception) -> Any:
    def decide(_account: Account) -> Decision[Account]:
        raise error

    return decide


# --- wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "decide",
    [
        lambda _a: None,
        lambda _a: Decision(None),
        lambda a: Decision(a.id),
        lambda a: Decision(more(a, id="another")),
        lambda a: Decision(a, (Edge("open", "busy", "began"),)),
        lambda a: Decision(a, (), Reply(1)),
        lambda a: Decision(a, (), ("reply",)),
        lambda a: Decision(a, (), (Send(None, Add(1)),)),
        lambda a: Decision(a, (), (SetTimer("x", "soon"),)),
        lambda a: Decision(a, (), (SetTimer("x", math.nan),)),
        lambda a: Decision(a, (), (SetTimer([], 5.0),)),
        lambda a: Decision(a, (), (Watch(5),)),
        lambda a: Decision(a, (), (Spawn("account", "b"),)),
        lambda a: Decision(a, (), (Spawn("nothing", a),)),
        say(ValueError("\ud800")),
        say(Unspeakable()),
    ],
)
async def test_a_turn_that_decides_nonsense_fails_alone(tmp_path: Path, decide: Any) -> None:
    async with opened(tmp_path) as rt:
        ref, other = await account(rt, "a"), await account(rt, "b")
        with pytest.raises(TurnFailed):
            await rt.ask(ref, Play(decide))
        assert await rt.ask(ref, AddAndSum(1)) == 1
        assert await rt.ask(other, AddAndSum(1)) == 1


@pytest.mark.parametrize(
    "decide",
    [
        lambda a: Decision(more(a, seen=deep())),
        lambda a: Decision(more(a, seen=(object(),))),
        lambda a: Decision(a, (), (Note("remark", reason={"not": "text"}),)),
        lambda a: Decision(a, (), (Note("remark", metadata=deep()),)),
        lambda a: Decision(a, (), (Note("remark", severity="loud"),)),
        lambda a: Decision(a, (), (Perform("mail", "k", object()),)),
        lambda a: Decision(a, (), (Perform({}, "k"),)),
    ],
)
async def test_what_the_store_cannot_hold_suspends_its_actor_alone(
    tmp_path: Path, decide: Any
) -> None:
    async with opened(tmp_path) as rt:
        ref, other = await account(rt, "a"), await account(rt, "b")
        await rt.tell(other, Add(1))
        with pytest.raises(TurnFailed, match="the store refuses"):
            await rt.ask(ref, Play(decide))
        assert await rt.ask(other, AddAndSum(1)) == 2
        assert list(rt.suspended()) == [ref]


async def test_a_message_that_is_no_json_and_cannot_be_taken_at_once_is_its_senders_fault(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as rt:
        ref, other = await account(rt, "a"), await account(rt, "b")
        await rt.tell(other, Forge())
        await rt.wait_idle()
        await rt.tell(ref, Play(lambda a: Decision(a, (), (Send(other, Play(len)),))))
        await rt.wait_idle()
        assert sorted(rt.suspended()) == [ref, other]
        assert await total(rt, await account(rt, "c")) == 0


async def test_what_the_creator_refuses_does_not_suspend_the_creator(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        await account(rt, "a")
        for _ in range(5):
            with pytest.raises(TurnFailed, match="exists already"):
                await account(rt, "a")
        assert await total(rt, await account(rt, "b")) == 0


async def test_only_failures_in_a_row_suspend(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        for _ in range(5):
            await rt.tell(ref, Raise())
            await rt.tell(ref, Raise())
            await rt.tell(ref, Sum())  # changes nothing
            await rt.tell(ref, Raise())
            await rt.tell(ref, Play(Decision))
        await rt.wait_idle()
        assert rt.suspended() == {}


async def test_every_dead_letter_says_to_whom_and_why(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        await rt.tell(ref, Raise())
        await rt.tell("account:nobody", Add(1))
        await rt.wait_idle()
        told = [(letter.to, letter.message, letter.reason) for letter in rt.dead_letters()]
    assert told == [
        (ref, Raise(), "RuntimeError: on purpose"),
        ("account:nobody", Add(1), "no such actor"),
    ]
    assert "no such actor" in (tmp_path / ".state" / "banksman.log").read_text()


# --- suspended ------------------------------------------------------------------------------------


async def test_a_suspended_actor_takes_nothing_more_of_a_burst(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        for _ in range(3):
            await rt.tell(ref, Raise())
        for _ in range(5):
            await rt.tell(ref, Add(1))
        await rt.wait_idle()
        assert '"sum":0' in rows(tmp_path, "SELECT value FROM actors")[0][0]
        await rt.release(ref)
        assert await total(rt, ref) == 5


async def test_a_suspension_survives_its_owner_until_it_is_lifted_on_record(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as rt:
        ref, other = await account(rt, "a"), await account(rt, "b")
        await rt.tell(ref, Forge())
        await rt.wait_idle()
        await rt.tell(other, Pay(ref, 7))
        await rt.wait_idle()
    async with opened(tmp_path) as rt:
        assert list(rt.suspended()) == [ref]
        [line] = [line for line in rt.recovery.lines if line.entity == ref]
        assert line.action.startswith("stays suspended: Forge led to what the store refuses")
        with pytest.raises(ActorSuspended):
            await rt.ask(ref, Sum())
        await rt.release(ref, operator="eve", reason="mended")
        assert await total(rt, ref) == 7
        assert await rt.release(ref) == Refused(f"{ref} is not suspended")
    async with opened(tmp_path) as rt:
        assert rt.suspended() == {}
        assert await total(rt, ref) == 7
    found = rows(
        tmp_path,
        "SELECT operator, reason FROM state_transitions WHERE event_type = 'actor_released'",
    )
    assert found == [("eve", "mended")]


async def test_a_message_sent_to_a_suspended_actor_is_durable(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref, other = await account(rt, "a"), await account(rt, "b")
        await rt.tell(ref, Forge())
        await rt.wait_idle()
        await rt.tell(other, Play(lambda a: Decision(a, (), (Send(ref, Add(3)),))))
        await rt.wait_idle()
        assert rows(tmp_path, "SELECT target FROM messages") == [(ref,)]


# --- who comes when -------------------------------------------------------------------------------


async def test_an_ask_is_taken_after_what_was_told_before_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        for _ in range(1000):
            await rt.tell(ref, Add(1))
        assert await total(rt, ref) == 1000


async def test_the_control_lane_comes_before_the_work_lane(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        for _ in range(1000):
            await rt.tell(ref, Add(1))
        assert (await rt.ask(ref, Sum(), control=True))[0] == 0
        assert await total(rt, ref) == 1000


async def test_a_flooded_actor_keeps_the_others_not_waiting(tmp_path: Path) -> None:
    waiting: list[int] = []
    async with opened(tmp_path) as rt:
        flooded, other = await account(rt, "a"), await account(rt, "b")
        for _ in range(10_000):
            await rt.tell(flooded, Add(1))

        def look(account: Account) -> Decision[Account]:
            waiting.append(len(rt._sup.router.cells[flooded].inbox or ()))
            return Decision(account)

        await rt.tell(other, Play(look))
        assert await total(rt, flooded) == 10_000
    assert waiting[0] > 9_000


async def test_actors_that_never_stop_answering_each_other_are_committed_all_the_same(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as rt:
        a, b, other = [await account(rt, name) for name in "abc"]

        def to(ref: str, back: str) -> Play:
            def decide(one: Account) -> Decision[Account]:
                return Decision(more(one, sum=one.sum + 1), (), (Send(ref, to(back, ref)),))

            return Play(decide)

        await rt.tell(a, to(b, a))
        for _ in range(20):
            await rt.ask(other, AddAndSum(1))
        assert await total(rt, other) == 20
        await rt.tell(a, Play(lambda one: Decision(one, (), (Reply(None),))))


async def test_what_was_read_only_is_not_remembered(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        for _ in range(100):
            await rt.ask(ref, Sum())
        await rt.wait_idle()
        assert rt._sup.turns.open.inputs == 0


async def test_an_answer_handed_on_waits_for_the_ground_that_it_stands_on(
    tmp_path: Path, boundary: Boundary
) -> None:
    answers: list[Any] = []
    async with opened(tmp_path) as rt, anyio.create_task_group() as group:
        ref, other = await account(rt, "a"), await account(rt, "b")

        async def ask() -> None:
            hand_on = Send(other, Sum(), hand_on=True)
            answers.append(await rt.ask(ref, Play(lambda a: Decision(a, (), (hand_on,)))))

        boundary.hold = "in_commit"
        await rt.tell(ref, Add(1))
        await until(boundary.reached.is_set)
        group.start_soon(ask)
        await until(lambda: rt._sup.turns.open.dirty)
        assert answers == []
        boundary.hold = None
        boundary.go_on.set()
        await until(lambda: answers)


async def test_order_is_kept_from_one_actor_to_another_over_both_lanes_of_a_crowd(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as rt:
        sink = await account(rt, "sink")
        senders = [await account(rt, f"s{n}") for n in range(5)]
        for number in range(50):
            for ref in senders:
                said = f"{ref} {number}"
                note = Play(lambda a, said=said: see(a, said))
                await rt.tell(ref, Play(lambda a, note=note: Decision(a, (), (Send(sink, note),))))
        told = await seen(rt, sink)
        while len(told) < 250:
            told = await seen(rt, sink)
    for ref in senders:
        assert [s for s in told if s.startswith(f"{ref} ")] == [f"{ref} {n}" for n in range(50)]


async def test_statistics_count_what_happened(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        before = rt.statistics()
        ref = await account(rt, "a")
        await rt.ask(ref, AddAndSum(1))
        await rt.tell(ref, Remark("x"))
        await rt.tell(ref, Begin())
        await rt.wait_idle()
        after = rt.statistics()
    assert after["turns"] - before["turns"] == 4
    assert after["seq"] - before["seq"] == 3
    assert after["epochs_durable"] > before["epochs_durable"]
    assert after["actors_in_memory"] - before["actors_in_memory"] == 1
    assert (after["ready"], after["dead_letters"], after["suspended"]) == (0, 0, 0)


async def test_an_actor_that_tells_itself_to_go_on_lets_those_it_told_go_first(
    tmp_path: Path,
) -> None:
    order: list[str] = []

    def told(number: int) -> Play:
        def decide(account: Account) -> Decision[Account]:
            order.append(f"told {number}")
            return Decision(account)

        return Play(decide)

    def going(number: int, other: str) -> Play:
        def decide(account: Account) -> Decision[Account]:
            order.append(f"goes on {number}")
            if number == 3:
                return Decision(account)
            own = Send(f"account:{account.id}", going(number + 1, other))
            return Decision(account, (), (own, Send(other, told(number))))

        return Play(decide)

    async with opened(tmp_path) as rt:
        first, other = await account(rt, "a"), await account(rt, "b")
        await rt.tell(first, going(1, other))
        await rt.wait_idle()
    assert order == ["goes on 1", "told 1", "goes on 2", "told 2", "goes on 3"]


def compute(seconds: float) -> None:
    """What a slow decide does."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


async def test_an_actor_whose_turns_are_slow_keeps_the_others_not_waiting(tmp_path: Path) -> None:
    taken: list[str] = []

    def slow(account: Account) -> Decision[Account]:
        taken.append("slow")
        compute(0.004)
        return Decision(account)

    def quick(account: Account) -> Decision[Account]:
        taken.append("quick")
        return Decision(account)

    async with opened(tmp_path) as rt:
        one, other = await account(rt, "a"), await account(rt, "b")
        for _ in range(100):
            await rt.tell(one, Play(slow))
        await rt.tell(other, Play(quick))
        await until(lambda: "quick" in taken)
        # 10 ms are used up after 3 of them, noticed after 8, and the other comes next.
        assert taken.index("quick") <= 16


async def test_the_loop_has_its_turn_between_actors_whose_turns_are_slow(tmp_path: Path) -> None:
    taken: list[int] = []

    def slow(account: Account) -> Decision[Account]:
        taken.append(1)
        compute(0.004)
        return Decision(account)

    async with opened(tmp_path) as rt:
        refs = [await account(rt, str(n)) for n in range(60)]
        for ref in refs:
            await rt.tell(ref, Play(slow))
        await until(lambda: taken)
        assert len(taken) <= 16


async def test_while_nothing_can_be_committed_only_so_many_inputs_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.kernel.EPOCH_INPUTS_MAX", 100)
    monkeypatch.setattr("runtime.kernel.DISK_RETRY_S", 0.01)
    monkeypatch.setitem(Store.open.__func__.__kwdefaults__, "busy_s", 0.05)
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        with locked(tmp_path):
            await rt.tell(ref, Add(1))
            await until(lambda: rt.statistics()["trouble"])
            for _ in range(30_000):
                await rt.tell(ref, Add(1))
            epoch = rt._sup.turns.open
            await until(lambda: epoch.inputs >= 100)
            for _ in range(100):
                await anyio.lowlevel.checkpoint()
            assert epoch.inputs <= 100 + SLICE_TURNS
        assert await total(rt, ref) == 30_001
