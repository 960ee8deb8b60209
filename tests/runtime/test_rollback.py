"""What the store refuses, and a commit whose outcome is not known: nothing lost, nothing twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from actors import spec
from actors.effects import CancelTimer, Perform, Reply, Send
from actors.machine import Decision, Taken
from runtime import VirtualClock
from runtime.errors import RuntimeStopped, TurnFailed
from runtime.store import Store
from runtime.store.verify import verify
from tests.runtime.kernel_kit import (
    Boundary,
    account,
    boundary,
    execute,
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
    Do,
    Forge,
    Look,
    Pay,
    Play,
    Remark,
    State,
    Wake,
    see,
)

__all__ = ["boundary"]

FORGED = Taken("open", "closed", "forged")


def forging(*effects: Any) -> Play:
    """A turn with effects, of an epoch that the store refuses."""

    def decide(account: Account) -> Decision[Account]:
        closed = msgspec.structs.replace(account, state=State.CLOSED)
        return Decision(closed, (FORGED,), effects)

    return Play(decide)


async def never(**_kwargs: Any) -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize("place", [0, 150, 299])
async def test_one_culprit_among_300_inputs_is_found_and_the_others_act_once_in_order(
    tmp_path: Path, place: int
) -> None:
    async with opened(tmp_path) as rt:
        good = [await account(rt, f"good{n}") for n in range(30)]
        bad = await account(rt, "bad")
        for number in range(300):
            said = str(number)
            await rt.tell(good[number % 30], Play(lambda a, said=said: see(a, said)))
            if number == place:
                await rt.tell(bad, Forge())
        await rt.wait_idle()
        for n, ref in enumerate(good):
            assert await seen(rt, ref) == [str(n + 30 * k) for k in range(10)]
        assert list(rt.suspended()) == [bad]
        assert rt.statistics()["dead_letters"] == 1
    assert verify(tmp_path / ".state").whole


async def test_a_culprit_is_found_beside_a_live_run(tmp_path: Path) -> None:
    tasks = {f"t{n}": spec.Task(call="never") for n in range(20)}
    plan = spec.Plan(run=spec.Run(name="x"), workstreams={"w": spec.Workstream(tasks=tasks)})
    pools = {"inline": spec.Pool(kind="inline", count=4)}
    async with opened(tmp_path, calls={"never": never}, pools=pools) as rt:
        await rt.submit(plan)
        bad, good = await account(rt, "bad"), await account(rt, "good")
        await rt.tell(good, Add(1))
        await rt.tell(bad, Forge())
        await rt.tell(good, Add(1))
        with anyio.fail_after(20):
            await until(rt.suspended)
            assert await total(rt, good) == 2
        assert list(rt.suspended()) == [bad]


async def test_what_was_booked_ahead_of_a_refused_epoch_is_given_up_with_it(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as rt:
        bad, good = await account(rt, "bad"), await account(rt, "good")
        sup = rt._sup
        with locked(tmp_path):
            await rt.tell(bad, Forge())
            await until(lambda: sup.in_flight)
            refused = sup.store.book.seq
            for _ in range(3):
                await rt.tell(good, Remark("x"))
            await until(lambda: sup.store.book.seq == refused + 3)
        await rt.wait_idle()
        assert list(rt.suspended()) == [bad]
        assert len(rt.dead_letters()) == 1
    assert verify(tmp_path / ".state").whole
    assert rows(tmp_path, "SELECT count(*) FROM state_transitions WHERE reason = 'x'") == [(3,)]


async def test_every_asker_of_a_discarded_epoch_is_answered_once_and_truly(tmp_path: Path) -> None:
    answers: list[int] = []
    async with opened(tmp_path) as rt:
        refs = [await account(rt, f"a{n}") for n in range(10)]
        bad = await account(rt, "bad")

        async def ask(ref: str) -> None:
            answers.append(await rt.ask(ref, AddAndSum(1)))

        async with anyio.create_task_group() as group:
            for number, ref in enumerate(refs):
                group.start_soon(ask, ref)
                if number == 5:
                    await rt.tell(bad, Forge())
        assert answers == [1] * 10
        assert [await total(rt, ref) for ref in refs] == [1] * 10


async def test_no_effect_of_a_discarded_turn_leaves(tmp_path: Path) -> None:
    performed: list[str] = []

    async def perform(key: str, _payload: Any, _perhaps_done: bool) -> None:
        performed.append(key)

    async with opened(tmp_path, performers={"mail": perform}) as rt:
        bad, good = await account(rt, "bad"), await account(rt, "good")
        await rt.tell(good, Do("mail", "good"))
        events = rt.events()
        with pytest.raises(TurnFailed):
            await rt.ask(bad, forging(Perform("mail", "bad"), Send(good, Add(5)), Reply("done")))
        while not await seen(rt, good):
            await anyio.lowlevel.checkpoint()
        assert await total(rt, good) == 0
        shown = await anext(events)
        await events.aclose()
    assert performed == ["good"]
    assert shown["event_type"] == "actor_suspended"


async def test_a_message_that_was_stored_with_a_refused_epoch_is_not_delivered_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.kernel.EPOCH_ROWS_MAX", 8)
    for name in ("SLICE_TURNS", "LOOK_TURNS"):
        monkeypatch.setattr(f"runtime.turns.{name}", 1)
    async with opened(tmp_path) as rt:
        bad, payer, payee = [await account(rt, name) for name in ("bad", "payer", "payee")]
        cell = rt._sup.router.cells[payee]
        with locked(tmp_path):
            await rt.tell(bad, Forge())
            for _ in range(2):
                await rt.tell(bad, Remark("x"))
            await rt.tell(payer, Pay(payee, 5))
            await until(lambda: cell.value.sum == 5)
        await rt.wait_idle()
        assert await total(rt, payee) == 5
        assert await total(rt, payer) == -5


async def test_a_due_timer_keeps_its_place_among_the_inputs_of_a_discarded_epoch(
    tmp_path: Path,
) -> None:
    clock = VirtualClock(autojump=False)
    async with opened(tmp_path, clock=clock) as rt:
        ref, bad = await account(rt, "a"), await account(rt, "bad")
        for volatile in (False, True):
            await rt.tell(ref, Wake(f"nap {volatile}", clock.now() + 10, volatile))
        await rt.wait_idle()
        clock.advance(10)
        rt._sup.fire_due()
        await rt.tell(ref, Play(lambda a: see(a, "told")))
        await rt.tell(bad, Forge())
        await rt.wait_idle()
        assert await seen(rt, ref) == ["timer nap False", "timer nap True", "told"]


async def test_a_volatile_timer_that_a_discarded_turn_called_off_is_armed_again(
    tmp_path: Path,
) -> None:
    clock = VirtualClock(autojump=False)
    async with opened(tmp_path, clock=clock) as rt:
        ref, bad = await account(rt, "a"), await account(rt, "bad")
        await rt.tell(ref, Wake("nap", clock.now() + 10, volatile=True))
        await rt.wait_idle()
        calm = Play(lambda a: Decision(a, (), (CancelTimer("nap"),)))
        await rt.tell(
            bad, forging(Send(ref, calm), Send(ref, Wake("other", clock.now() + 5, True)))
        )
        await rt.wait_idle()
        clock.advance(20)
        await rt.wait_idle()
        assert await seen(rt, ref) == ["timer nap"]


async def test_a_watch_in_a_discarded_epoch_is_answered_after_all(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        a, b, bad = [await account(rt, name) for name in ("a", "b", "bad")]
        await rt.ask(a, Play(lambda one: Decision(*_closed(one), (Reply(None),))))
        await rt.wait_idle()
        await rt.tell(b, Look(a))
        await rt.tell(bad, Forge())
        await rt.wait_idle()
        assert await seen(rt, b) == ["account:a closed"]


def _closed(account: Account) -> tuple[Account, tuple[Taken, ...]]:
    return msgspec.structs.replace(account, state=State.CLOSED), (
        Taken("open", "closed", "closed"),
    )


# --- unknown, busy, lost --------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["in_commit", "after_commit_before_jsonl"])
async def test_a_commit_of_unknown_outcome_is_looked_up_and_happens_once(
    tmp_path: Path, boundary: Boundary, point: str
) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        boundary.fail = [point]
        assert await rt.ask(ref, AddAndSum(1)) == 1  # without an audit row
        assert '"sum":1' in rows(tmp_path, "SELECT value FROM actors")[0][0]
        boundary.fail = [point]
        await rt.tell(ref, Remark("said"))  # with one
        assert await rt.ask(ref, AddAndSum(1)) == 2
        assert boundary.fail == []
    assert '"sum":2' in rows(tmp_path, "SELECT value FROM actors")[0][0]
    assert len(rows(tmp_path, "SELECT 1 FROM state_transitions WHERE event_type='remark'")) == 1
    assert verify(tmp_path / ".state").whole


@pytest.mark.parametrize("point", ["in_commit", "after_commit_before_jsonl"])
async def test_so_is_one_that_held_nothing_but_a_message_or_an_effect(
    tmp_path: Path, boundary: Boundary, point: str
) -> None:
    performed: list[str] = []

    async def perform(key: str, _payload: Any, _perhaps_done: bool) -> None:
        performed.append(key)

    async with opened(tmp_path, performers={"mail": perform}) as rt:
        ref, bad = await account(rt, "a"), await account(rt, "bad")
        await rt.tell(bad, Forge())
        await rt.wait_idle()
        boundary.fail = [point]
        await rt.tell(ref, Play(lambda a: Decision(a, (), (Send(bad, Add(1)),))))
        await rt.wait_idle()
        boundary.fail = [point]
        await rt.tell(ref, Do("mail", "m"))
        await rt.wait_idle()
        while not await seen(rt, ref):
            await anyio.lowlevel.checkpoint()
        assert len(rows(tmp_path, "SELECT * FROM messages")) == 1
    assert performed == ["m"]


async def test_two_commits_in_a_row_of_unknown_outcome_end_the_runtime(
    tmp_path: Path, boundary: Boundary
) -> None:
    with pytest.raises(RuntimeStopped, match="two commits in a row failed"):  # noqa: PT012
        async with opened(tmp_path) as rt:
            ref = await account(rt, "a")
            boundary.fail = ["in_commit", "in_commit"]
            await rt.ask(ref, AddAndSum(1))
    async with opened(tmp_path) as rt:
        assert await total(rt, "account:a") == 0


async def test_who_reads_while_the_store_is_reopened_waits(
    tmp_path: Path, boundary: Boundary
) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        boundary.fail = ["in_commit"]
        await rt.tell(ref, Add(1))
        found = []
        while boundary.fail or rt._sup.in_flight:
            found.append(await rt.exists("account:nobody"))
        assert set(found) == {False}


async def test_a_database_locked_by_another_process_delays_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.kernel.DISK_RETRY_S", 0.01)
    monkeypatch.setitem(Store.open.__func__.__kwdefaults__, "busy_s", 0.05)
    script = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
        " db.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()"
    )
    database = str(tmp_path / ".state" / "banksman.db")
    answers: list[int] = []
    async with opened(tmp_path) as rt, anyio.create_task_group() as group:
        ref = await account(rt, "a")

        async def ask() -> None:
            answers.append(await rt.ask(ref, AddAndSum(1)))

        with subprocess.Popen(  # noqa: ASYNC220 (a locker, spoken with before the loop goes on)
            [sys.executable, "-c", script, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"locked\n"
            group.start_soon(ask)
            await until(lambda: rt.statistics()["trouble"])
            assert answers == []
            other.communicate()
        await until(lambda: answers)
        assert rt.statistics()["trouble"] is None
    assert answers == [1]


async def test_an_owner_that_lost_the_directory_stops_and_tells_everybody(tmp_path: Path) -> None:
    told: list[str] = []

    async def ask(rt: Any) -> None:
        try:
            await rt.ask("account:a", AddAndSum(1))
        except RuntimeStopped as error:
            told.append(error.why)

    async with anyio.create_task_group() as outside:
        with pytest.raises(RuntimeStopped, match="another process took this directory over"):  # noqa: PT012
            async with opened(tmp_path) as rt:
                await account(rt, "a")
                execute(tmp_path, "UPDATE meta SET value = '9' WHERE key = 'owner_epoch'")
                outside.start_soon(ask, rt)
                await anyio.sleep_forever()
    assert told == ["owner epoch 1 is over: another process took this directory over"]
    assert '"sum":0' in rows(tmp_path, "SELECT value FROM actors")[0][0]


async def test_a_log_that_cannot_be_written_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.kernel.DISK_RETRY_S", 0.01)
    monkeypatch.setitem(Store.open.__func__.__kwdefaults__, "busy_s", 0.05)
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        log = tmp_path / ".state" / "banksman.log"
        log.unlink(missing_ok=True)
        log.symlink_to("/dev/full")
        with locked(tmp_path):
            await rt.tell(ref, Add(1))
            await until(lambda: rt.statistics()["trouble"])
        assert await rt.ask(ref, AddAndSum(1)) == 2
