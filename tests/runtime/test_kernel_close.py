"""Closing: what was decided is durable, what was told is kept, and nobody is left waiting."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import spec
from actors.machine import Decision
from runtime.errors import BanksmanError, RuntimeStopped
from runtime.store import Store
from tests.runtime.kernel_kit import account, execute, locked, opened, rows, seen, total, until
from tests.runtime.ledger_actor import Add, AddAndSum, Close, Do, Forge, Play, Sum


async def test_what_was_told_last_is_there_for_the_next_owner(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        for _ in range(10):
            await rt.tell(ref, Add(1))
    async with opened(tmp_path) as rt:
        assert await total(rt, "account:a") == 10


async def test_what_was_told_last_and_is_no_json_is_a_dead_letter(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        await rt.tell(ref, Forge())
        await until(rt.suspended)
        await rt.tell(ref, Play(Decision))
    assert rt.dead_letters()[-1].reason == "the runtime closed, and it is no JSON"


async def test_a_cancelled_block_closes_at_once_and_keeps_what_was_decided(tmp_path: Path) -> None:
    with anyio.fail_after(20), anyio.CancelScope() as scope:
        async with opened(tmp_path) as rt:
            ref = await account(rt, "a")
            await rt.tell(ref, Add(1))
            await until(lambda: rt._sup.router.cells[ref].value.sum == 1)
            scope.cancel()
            await anyio.sleep_forever()
    assert '"sum":1' in rows(tmp_path, "SELECT value FROM actors")[0][0]


async def test_what_the_block_raises_arrives_as_it_was_raised(tmp_path: Path) -> None:
    cause = KeyError("cause")
    with pytest.raises(ValueError, match="mine") as caught:
        async with opened(tmp_path):
            raise ValueError("mine") from cause
    assert caught.value.__cause__ is cause


async def test_a_closed_runtime_says_so_to_everybody(tmp_path: Path) -> None:
    told: list[BaseException] = []

    async def wait(asking: Any) -> None:
        try:
            await asking
        except BanksmanError as error:
            told.append(error)

    async with anyio.create_task_group() as outside, opened(tmp_path) as rt:
        ref = await account(rt, "a")
        outside.start_soon(wait, rt.ask(ref, Play(Decision)))
        outside.start_soon(wait, rt.wait_ended(ref))
        await rt.wait_idle()
    assert [type(error) for error in told] == [RuntimeStopped] * 2
    for late in (rt.tell(ref, Add(1)), rt.ask(ref, Sum()), rt.wait_ended(ref), rt.wait_idle()):
        with pytest.raises(RuntimeStopped, match="it was closed"):
            await late
    assert [event async for event in rt.events()] == []


async def test_closing_while_nothing_can_be_committed_is_bounded_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.kernel.DISK_RETRY_S", 0.01)
    monkeypatch.setitem(Store.open.__func__.__kwdefaults__, "busy_s", 0.05)
    async with opened(tmp_path) as rt:
        await account(rt, "a")
    with (
        anyio.fail_after(20),
        locked_later(tmp_path) as lock,
        pytest.raises(RuntimeStopped, match="before its last"),
    ):
        await told_while_locked(tmp_path, lock)
    async with opened(tmp_path) as rt:
        assert await total(rt, "account:a") == 0


async def told_while_locked(folder: Path, lock: locked_later) -> None:
    async with opened(folder) as rt:
        lock.enter()
        await rt.tell("account:a", Add(1))
        await until(lambda: rt.statistics()["trouble"])


class locked_later:
    """`locked`, from `enter` on."""

    def __init__(self, folder: Path) -> None:
        self._lock = locked(folder)
        self._held = False

    def enter(self) -> None:
        self._lock.__enter__()
        self._held = True

    def __enter__(self) -> locked_later:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._held:
            self._lock.__exit__(None, None, None)


async def test_a_kernel_that_meets_a_damaged_row_stops_at_once_with_its_name(
    tmp_path: Path,
) -> None:
    with anyio.fail_after(20), pytest.raises(RuntimeStopped, match="account a cannot be read back"):
        await asked_of_damage(tmp_path)


async def asked_of_damage(folder: Path) -> None:
    async with opened(folder) as rt:
        ref = await account(rt, "a")
        await rt.tell(ref, Close())
        await rt.wait_idle()
        execute(folder, "UPDATE actors SET value = '{}' WHERE id = 'a'")
        await rt.ask(ref, Sum())


async def test_an_effect_in_flight_at_the_close_is_offered_again_and_no_other_is_begun(
    tmp_path: Path,
) -> None:
    begun: list[tuple[str, bool]] = []

    async def hang(key: str, _payload: Any, perhaps_done: bool) -> None:
        begun.append((key, perhaps_done))
        if not perhaps_done:
            await anyio.sleep_forever()

    async with opened(tmp_path, performers={"mail": hang, "fax": hang}) as rt:
        ref = await account(rt, "a")
        await rt.tell(ref, Do("mail", "m1"))
        await rt.tell(ref, Do("mail", "m2"))
        await until(lambda: begun)
        await rt.tell(ref, Do("fax", "f1"))
    assert begun == [("m1", False)]
    async with opened(tmp_path, performers={"mail": hang, "fax": hang}) as rt:
        while len(await seen(rt, ref)) < 2:
            await anyio.lowlevel.checkpoint()
        assert begun[1:3] == [("m1", True), ("m2", True)]


async def test_an_owner_that_executes_nothing_leaves_effects_to_the_next(tmp_path: Path) -> None:
    performed: list[str] = []

    async def perform(key: str, _payload: Any, _perhaps_done: bool) -> None:
        performed.append(key)

    async with opened(tmp_path, execute=False) as rt:
        ref = await account(rt, "a")
        await rt.tell(ref, Do("mail", "m1"))
        assert await rt.ask(ref, AddAndSum(1)) == 1
    async with opened(tmp_path, performers={"mail": perform}) as rt:
        await until(lambda: performed)


# --- fail-stop ------------------------------------------------------------------------------------


async def test_a_drain_ends_with_the_owner_that_cannot_go_on(tmp_path: Path) -> None:
    began = anyio.Event()

    async def work() -> None:
        began.set()
        await anyio.sleep_forever()

    with anyio.fail_after(20), pytest.raises(RuntimeStopped, match="took this directory over"):  # noqa: PT012
        async with opened(tmp_path) as rt:
            ref = await account(rt, "a")
            stream = spec.Workstream(tasks={"t": spec.Task(call=rt.register_call(work, "work"))})
            await rt.submit(spec.Plan(run=spec.Run(name="r"), workstreams={"w": stream}))
            await began.wait()
            execute(tmp_path, "UPDATE meta SET value = '9' WHERE key = 'owner_epoch'")
            async with anyio.create_task_group() as group:
                group.start_soon(rt.drain, 3_600.0)
                await rt.tell(ref, Add(1))


async def test_a_commit_that_meets_a_damaged_page_stops_the_owner_and_names_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_arguments: Any) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT  # as SQLite's own says
        raise error

    told: list[str] = []

    async def ask(rt: Any) -> None:
        try:
            await rt.ask("account:a", AddAndSum(1))
        except RuntimeStopped as error:
            told.append(error.why)

    cure = "is damaged: database disk image is malformed; there is no backup in archive/"
    async with anyio.create_task_group() as outside:
        with anyio.fail_after(20), pytest.raises(RuntimeStopped, match=cure):  # noqa: PT012
            async with opened(tmp_path) as rt:
                await account(rt, "a")
                monkeypatch.setattr("runtime.store.commit.write", damaged)
                outside.start_soon(ask, rt)
                await anyio.sleep_forever()
    assert cure in told[0]
    monkeypatch.undo()
    async with opened(tmp_path) as rt:
        assert await total(rt, "account:a") == 0
