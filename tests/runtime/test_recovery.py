"""What the next owner finds: every actor accounted for, messages before timers, damage named."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from actors import spec
from actors.effects import Send
from actors.machine import Decision
from actors.messages import Message, Recovered
from runtime import VirtualClock, open_runtime, user_kind
from runtime.crash import POINTS
from runtime.store import ConstraintFailed, Damaged, Store
from runtime.store.verify import verify
from tests.runtime.kernel_kit import account, execute, opened, rows, seen, total, until
from tests.runtime.ledger_actor import Add, AddAndSum, Begin, Close, Do, Forge, Look, Play, Wake

REPOSITORY = Path(__file__).parents[2]


async def test_every_unfinished_actor_is_in_the_report(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        for name in ("a", "b", "c", "d"):
            await account(rt, name)
        await rt.tell("account:b", Begin())
        await rt.tell("account:c", Close())
        await rt.tell("account:d", Forge())
        await rt.wait_idle()
        await rt.tell("account:a", Play(lambda a: Decision(a, (), (Send("account:d", Add(1)),))))
        await rt.wait_idle()
    async with opened(tmp_path) as rt:
        report = rt.recovery
    assert [(line.entity, line.state) for line in report.lines] == [
        ("account:a", "open"),
        ("account:b", "busy"),
        ("account:d", "open"),
    ]
    assert report.totals == {"account open": 2, "account busy": 1}
    assert (report.messages, report.effects) == (1, 0)


async def test_actors_of_a_kind_that_is_not_registered_wait_and_are_accounted_for(
    tmp_path: Path,
) -> None:
    performed: list[str] = []

    async def perform(key: str, _payload: Any, _perhaps_done: bool) -> None:
        performed.append(key)

    async with opened(tmp_path, execute=False) as rt:
        ref = await account(rt, "a")
        await rt.tell(ref, Do("mail", "m"))
        await rt.ask(ref, AddAndSum(1))
    async with opened(tmp_path, kinds=[], performers={"mail": perform}) as rt:
        [line] = rt.recovery.lines
        assert (line.entity, line.action) == (ref, "waits: its kind is not registered")
        assert rt.recovery.notes == (
            "1 actor of the kind 'account' wait: pass it to open_runtime(kinds=...)",
        )
        assert performed == []
    async with opened(tmp_path, performers={"mail": perform}) as rt:
        await until(lambda: performed)
        assert await total(rt, ref) == 1


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("UPDATE actors SET value = '{}'", "the account a cannot be read back"),
        ("UPDATE actors SET timers = '[]'", "the account a cannot be read back"),
        (
            "INSERT INTO messages VALUES (7, 'account:a', '{\"type\":\"Lost\"}', 0)",
            "the message 7 to account:a cannot be read back",
        ),
        (
            "INSERT INTO outbox VALUES (7, 'account:a', 'mail', 'k', '{')",
            "the effect 7 of account:a cannot be read back",
        ),
    ],
)
async def test_a_row_that_cannot_be_read_back_is_named(
    tmp_path: Path, damage: str, named: str
) -> None:
    async with opened(tmp_path) as rt:
        await account(rt, "a")
    execute(tmp_path, damage)
    with pytest.raises(Damaged, match=named):
        async with opened(tmp_path):
            pass


async def test_undelivered_messages_come_before_overdue_timers(tmp_path: Path) -> None:
    clock = VirtualClock(autojump=False)
    async with opened(tmp_path, clock=clock) as rt:
        ref = await account(rt, "a")
        await rt.tell(ref, Wake("nap", clock.now() + 10))
        await rt.wait_idle()
    body = msgspec.json.encode(Wake("nap", clock.now() + 500)).decode()
    execute(tmp_path, "INSERT INTO messages VALUES (1, 'account:a', ?, 0)", body)
    async with opened(tmp_path, clock=VirtualClock(clock.now() + 100, autojump=False)) as rt:
        await rt.wait_idle()
        assert await seen(rt, ref) == []  # the message replaced the timer that was overdue


async def test_a_clock_that_was_set_back_goes_on_from_the_last_instant_on_record(
    tmp_path: Path,
) -> None:
    clock = VirtualClock(2_000_000.0, autojump=False)
    async with opened(tmp_path, clock=clock) as rt:
        ref = await account(rt, "a")
        await rt.tell(ref, Wake("nap", clock.now() + 10))
        await rt.wait_idle()
    back = VirtualClock(1_000_000.0, autojump=False)
    async with opened(tmp_path, clock=back) as rt:
        assert back.now() == 2_000_000.0
        await rt.tell(ref, Begin())
        await rt.wait_idle()
        back.advance(10)
        await rt.wait_idle()
        assert await seen(rt, ref) == ["timer nap"]
    assert verify(tmp_path / ".state").whole


async def test_who_watches_what_has_ended_unseen_is_told_by_the_next_owner(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        a, b = await account(rt, "a"), await account(rt, "b")
        await rt.tell(a, Close())
        await rt.wait_idle()
    # As a crash leaves it between the commit of the watch and the look at what it watches.
    execute(tmp_path, "INSERT INTO watches VALUES (?, ?)", a, b)
    async with opened(tmp_path) as rt:
        await rt.wait_idle()
        assert await seen(rt, b) == ["account:a closed"]
        await rt.tell(b, Look("account:nobody"))
    async with opened(tmp_path) as rt:
        await rt.wait_idle()
        assert await seen(rt, b) == ["account:a closed"]


class Clock(msgspec.Struct, frozen=True):
    id: str
    owners: int = 0


class Wind(Message, frozen=True):
    """A message of its own, so that the inbox is a union."""


def decide_clock(clock: Clock, message: Wind | Recovered, _now: float) -> Decision[Clock]:
    match message:
        case Recovered():
            return Decision(msgspec.structs.replace(clock, owners=clock.owners + 1))
        case Wind():
            return Decision(clock)


async def test_an_actor_of_a_user_that_asks_for_it_is_told_of_a_new_owner(tmp_path: Path) -> None:
    kind = user_kind("clock", Clock, decide_clock, Wind | Recovered)
    async with opened(tmp_path, kinds=[kind]) as rt:
        await rt.spawn("clock", Clock("c"))
    for _ in range(2):
        async with opened(tmp_path, kinds=[kind]) as rt:
            await rt.wait_idle()
    assert rows(tmp_path, "SELECT value FROM actors") == [('{"id":"c","owners":2}',)]


# --- killed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [2, 5, 9])
async def test_what_a_users_actor_answered_before_a_crash_is_there_after_it(
    tmp_path: Path, point: str, nth: int
) -> None:
    done = subprocess.run(  # noqa: ASYNC221 (nothing else is to go on meanwhile)
        [sys.executable, "-m", "tests.runtime.kernel_child", str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "BANKSMAN_CRASH_AT": f"{point}:{nth}"},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    answered = [int(line) for line in done.stdout.split()]
    performed = tmp_path / "performed"
    before = performed.read_text().split() if performed.exists() else []
    unfinished = {key for (key,) in rows(tmp_path, "SELECT key FROM outbox")}
    again: list[str] = []

    async def perform(key: str, _payload: Any, perhaps_done: bool) -> None:
        assert perhaps_done
        again.append(key)

    async with opened(tmp_path, performers={"mail": perform}) as rt:
        if not await rt.exists("account:a"):
            assert answered == []
            return
        await rt.wait_idle()
        with anyio.fail_after(20):
            while rows(tmp_path, "SELECT * FROM outbox"):
                await anyio.lowlevel.checkpoint()
        durable = await total(rt, "account:a")
        told = await seen(rt, "account:a")
    assert durable in (len(answered), len(answered) + 1)
    assert answered == list(range(1, len(answered) + 1))
    # Each was performed, its outcome taken once; what was offered again is what had no outcome yet.
    assert told == [f"performed m{n} None None" for n in range(1, durable + 1)]
    assert set(again) == unfinished
    assert {*before, *again} == {f"m{n}" for n in range(1, durable + 1)}
    assert verify(tmp_path / ".state").whole


def refuse_first_commit(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The store refuses the first batch from here on; the answer holds it then."""
    commit = Store.commit
    refused: list[Any] = []

    async def refuse_once(store: Store, batch: Any) -> list[bytes]:
        if not refused:
            refused.append(batch)
            store.discard()
            raise ConstraintFailed("as if", table="tasks")
        return await commit(store, batch)

    monkeypatch.setattr(Store, "commit", refuse_once)
    return refused


async def test_a_new_owner_whose_first_epoch_is_refused_runs_a_gate_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = spec.Plan(
        run=spec.Run(name="x", base_dir=str(tmp_path)),
        gates={"lint": spec.Gate(command=("sh", "-c", "echo ran >> ran; sleep 1"))},
        workstreams={
            "w": spec.Workstream(tasks={"t": spec.Task(call="os:getpid", gates=("lint",))})
        },
    )
    pools = {"inline": spec.Pool(kind="inline", count=1)}
    async with open_runtime(tmp_path / ".state", execute=False, pools=pools) as rt:
        run = await rt.submit(plan)
        await rt.wait_idle()
    refused = refuse_first_commit(monkeypatch)
    async with open_runtime(tmp_path / ".state", pools=pools) as rt:
        with anyio.fail_after(30):
            assert await rt.wait_ended(f"run:{run.id}") == "completed"
    assert refused
    assert (tmp_path / "ran").read_text() == "ran\n"


class Diary(msgspec.Struct, frozen=True):
    id: str
    heard: tuple[str, ...] = ()


class Pass(Message, frozen=True):
    """Tell another."""

    to: str


class Hear(Message, frozen=True):
    """A word from another."""


def decide_diary(diary: Diary, message: Pass | Hear | Recovered, _now: float) -> Decision[Diary]:
    heard = (*diary.heard, type(message).__name__)
    sent = (Send(message.to, Hear()),) if isinstance(message, Pass) else ()
    return Decision(msgspec.structs.replace(diary, heard=heard), (), sent)


async def test_in_what_is_offered_again_recovered_comes_first_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = user_kind("diary", Diary, decide_diary, Pass | Hear | Recovered)
    async with opened(tmp_path, kinds=[kind]) as rt:
        for name in "ayz":
            await rt.spawn("diary", Diary(name))
    with closing(sqlite3.connect(tmp_path / ".state" / "banksman.db")) as db:
        body = '{"type":"Pass","to":"diary:z"}'
        db.execute("INSERT INTO messages VALUES (1, 'diary:a', ?, 0)", (body,))
        db.commit()
    refuse_first_commit(monkeypatch)
    async with opened(tmp_path, kinds=[kind]) as rt:
        await rt.wait_idle()
    values = dict(rows(tmp_path, "SELECT id, value FROM actors"))
    assert msgspec.json.decode(values["z"])["heard"] == ["Recovered", "Hear"]
    assert msgspec.json.decode(values["a"])["heard"] == ["Recovered", "Pass"]
