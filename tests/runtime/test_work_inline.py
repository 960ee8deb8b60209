"""Inline workers: Python callables of this process, their ends, and what cannot be ended."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from actors.effects import StartProcess, StopProcess
from actors.messages import Launched, Outcome, ProcessExited, ProcessStarted, WorkEnded
from runtime.clock import VirtualClock
from runtime.work import Work, withdrawn
from tests.runtime.work_kit import PATIENCE_S, UET, Desk, working


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with working(tmp_path, result_max=100) as desk:
        desk.work.perform(StartProcess(UET, "local", "inline", 60.0))
        await desk.next(ProcessStarted)
        yield desk


async def call(desk: Desk, function: Any, *, inline: bool = False, **kwargs: Any) -> Outcome:
    name = desk.work.register_call(function, inline=inline)
    return await desk.ended(desk.offer(call=name, kwargs=kwargs))


# --- what comes back --------------------------------------------------------------------------


async def double(n: int) -> int:
    return 2 * n


def sync_double(n: int) -> int:
    return 2 * n


class Doubler:
    async def __call__(self, n: int) -> int:
        await anyio.lowlevel.checkpoint()
        return 2 * n


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("function", [double, sync_double], ids=["async", "sync"])
async def test_a_callable_gets_its_kwargs_and_its_result_comes_back(
    desk: Desk, function: Any, inline: bool
) -> None:
    outcome = await call(desk, function, inline=inline, n=21)
    assert (outcome.result, outcome.reason, outcome.exit_code) == (42, None, None)


async def test_an_object_with_an_async_call_is_awaited(desk: Desk) -> None:
    desk.work.register_call(Doubler(), "doubler")
    assert (await desk.ended(desk.offer(call="doubler", kwargs={"n": 4}))).result == 8


async def test_nothing_is_launched_for_a_callable(desk: Desk) -> None:
    await call(desk, double, n=1)
    assert not any(isinstance(message, Launched) for _, message in desk.reports)


async def test_a_sync_callable_does_not_hold_the_event_loop_up(desk: Desk) -> None:
    here = threading.current_thread()

    def where() -> bool:
        return threading.current_thread() is here

    assert (await call(desk, where)).result is False
    assert (await call(desk, where, inline=True)).result is True


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"a": (1, 2.5, None)}, {"a": [1, 2.5, None]}),
        (object(), None),
        (2**70, 2**70),
        ("x" * 98, "x" * 98),
        ("x" * 99, None),
    ],
    ids=["plain", "no JSON", "large number", "just fits", "too long"],
)
async def test_a_result_is_kept_as_plain_json_or_not_at_all(
    desk: Desk, value: Any, kept: Any
) -> None:
    outcome = await call(desk, lambda: value, inline=True)
    assert (outcome.result, outcome.reason) == (kept, None)


async def test_a_result_is_cut_loose_from_the_programs_objects(desk: Desk) -> None:
    mine = {"n": [1]}
    outcome = await call(desk, lambda: mine, inline=True)
    mine["n"].append(2)
    assert outcome.result == {"n": [1]}


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no word")


@pytest.mark.parametrize("manner", ["async", "thread", "here"])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError("\udcff"), "FileNotFoundError: \\udcff"),
        (Mute(), "Mute: and its text raises RuntimeError"),
    ],
    ids=["half a character", "no text"],
)
async def test_whatever_a_callable_raises_it_has_failed(
    desk: Desk, manner: str, error: Exception, told: str
) -> None:
    async def later() -> None:
        raise error

    def now() -> None:
        raise error

    outcome = await call(desk, later if manner == "async" else now, inline=manner == "here")
    assert (outcome.reason, outcome.error) == ("error", told)


@pytest.mark.parametrize("manner", ["async", "thread", "here"])
async def test_a_callable_that_raises_has_failed_and_its_traceback_is_its_output(
    desk: Desk, manner: str
) -> None:
    def fail() -> None:
        raise ValueError("no\nway")

    async def fail_later() -> None:
        fail()

    outcome = await call(desk, fail_later if manner == "async" else fail, inline=manner == "here")
    assert (outcome.reason, outcome.error) == ("error", "ValueError: no way")
    printed = desk.output().read_bytes()
    assert b'raise ValueError("no\\nway")' in printed
    assert outcome.output_bytes == len(printed)


async def test_a_callable_that_exits_does_not_end_this_program(desk: Desk) -> None:
    outcome = await call(desk, sys.exit)
    assert (outcome.reason, outcome.error) == ("error", "SystemExit")


async def test_a_callable_that_cancels_itself_is_told_as_such(desk: Desk) -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    outcome = await call(desk, give_up)
    assert (outcome.reason, outcome.error) == ("cancelled", "it was cancelled from elsewhere")


async def test_contexts_of_two_calls_are_apart(desk: Desk) -> None:
    mark: ContextVar[str] = ContextVar("mark", default="clean")

    async def leave() -> str:
        seen = mark.get()
        mark.set("dirty")
        return seen

    assert (await call(desk, leave)).result == "clean"
    assert (await call(desk, leave)).result == "clean"


# --- its end ----------------------------------------------------------------------------------


async def test_an_async_callable_is_cancelled_and_may_clean_up(desk: Desk) -> None:
    began, cleaned = anyio.Event(), anyio.Event()

    async def wait() -> None:
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            cleaned.set()

    lease = desk.offer(call=desk.work.register_call(wait))
    await began.wait()
    desk.withdraw(lease, "timeout")
    outcome = await desk.ended(lease)
    assert (outcome.reason, outcome.alive, outcome.result) == ("timeout", False, None)
    assert cleaned.is_set()


async def test_a_callable_that_is_withdrawn_at_once_never_begins(desk: Desk) -> None:
    begun = []

    async def begin() -> None:
        begun.append(1)

    lease = desk.offer(call=desk.work.register_call(begin))
    desk.withdraw(lease, "cancelled")
    assert (await desk.ended(lease)).reason == "cancelled"
    assert begun == []


async def test_a_sync_callable_can_see_that_it_should_end(desk: Desk) -> None:
    began = threading.Event()
    paused = threading.Event()

    def work() -> str:
        began.set()
        while not withdrawn():
            paused.wait(0.001)
        return "half done"

    lease = desk.offer(call=desk.work.register_call(work))
    await anyio.to_thread.run_sync(began.wait, PATIENCE_S)
    desk.withdraw(lease, "timeout")
    outcome = await desk.ended(lease)
    assert (outcome.reason, outcome.alive, outcome.result) == ("timeout", False, None)


def test_outside_a_worker_nothing_is_withdrawn() -> None:
    assert not withdrawn()


@contextmanager
def held() -> Iterator[threading.Event]:
    """An event that is set in the end, so that no thread outlives its test."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


async def test_a_thread_that_does_not_end_is_reported_alive_and_counted(desk: Desk) -> None:
    began = threading.Event()
    with held() as release:

        def hang() -> None:
            began.set()
            release.wait(PATIENCE_S)

        lease = desk.offer(call=desk.work.register_call(hang))
        await anyio.to_thread.run_sync(began.wait, PATIENCE_S)
        desk.withdraw(lease, "timeout", kill_timeout_s=0.05)
        outcome = await desk.ended(lease)
        assert (outcome.reason, outcome.alive) == ("timeout", True)
        assert desk.work.abandoned == 1
        assert await desk.stop() == ProcessExited(crashed=False)
    assert desk.reports == []


async def test_an_async_callable_that_heeds_no_cancel_is_reported_alive(desk: Desk) -> None:
    began, release = anyio.Event(), anyio.Event()

    async def stubborn() -> None:
        with anyio.CancelScope(shield=True):
            began.set()
            await release.wait()

    lease = desk.offer(call=desk.work.register_call(stubborn))
    await began.wait()
    desk.withdraw(lease, "cancelled", kill_timeout_s=0.05)
    assert (await desk.ended(lease)).alive
    release.set()
    await desk.stop()
    assert not any(isinstance(message, WorkEnded) for _, message in desk.reports)


async def test_a_result_after_the_withdrawal_does_not_count(desk: Desk) -> None:
    began, release = anyio.Event(), anyio.Event()

    async def finish() -> str:
        with anyio.CancelScope(shield=True):
            began.set()
            await release.wait()
        return "done"

    lease = desk.offer(call=desk.work.register_call(finish))
    await began.wait()
    desk.withdraw(lease, "timeout")
    release.set()
    outcome = await desk.ended(lease)
    assert (outcome.reason, outcome.result) == ("timeout", None)


async def test_a_late_withdrawal_does_not_touch_the_next_lease(desk: Desk) -> None:
    first = desk.offer(call=desk.work.register_call(double), kwargs={"n": 1})
    await desk.ended(first)
    second = desk.offer(call=desk.work.register_call(double), kwargs={"n": 2})
    desk.withdraw(first, "timeout")
    assert (await desk.ended(second)).result == 4


# --- starting and stopping --------------------------------------------------------------------


async def test_a_busy_worker_stops_after_what_it_runs(desk: Desk) -> None:
    release = anyio.Event()

    async def wait() -> str:
        await release.wait()
        return "done"

    lease = desk.offer(call=desk.work.register_call(wait))
    desk.work.perform(StopProcess(UET))
    release.set()
    assert (await desk.ended(lease)).result == "done"
    assert await desk.next(ProcessExited) == ProcessExited(crashed=False)


async def test_killing_a_busy_worker_cancels_what_it_runs(desk: Desk) -> None:
    lease = desk.offer(call=desk.work.register_call(anyio.sleep_forever))
    exited = await desk.stop(kill=True)
    outcome = await desk.ended(lease)
    assert (outcome.reason, outcome.infrastructure) == ("lost", True)
    assert exited == ProcessExited(crashed=False)


async def test_a_worker_is_busy_only_while_it_runs_something(desk: Desk) -> None:
    lease = desk.offer(call=desk.work.register_call(double), kwargs={"n": 1})
    assert desk.work.busy
    await desk.ended(lease)
    assert not desk.work.busy


async def test_closing_cancels_what_runs_and_reports_nothing_more(tmp_path: Path) -> None:
    cleaned = anyio.Event()

    async def wait() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cleaned.set()

    async with working(tmp_path) as desk:
        desk.work.perform(StartProcess(UET, "local", "inline", 60.0))
        desk.offer(call=desk.work.register_call(wait))
        await anyio.lowlevel.checkpoint()
        desk.reports.clear()
    assert cleaned.is_set()
    assert desk.reports == []


async def test_an_idle_slot_needs_no_time(tmp_path: Path) -> None:
    clock = VirtualClock(1000.0)
    work = Work(tmp_path, tmp_path / "output", clock=clock)
    async with anyio.create_task_group() as group:
        Desk(work, tmp_path)
        await group.start(_run, work)
        work.perform(StartProcess(UET, "local", "inline", 60.0))
        assert not clock.idle()
        await work.close()


async def _run(work: Work, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    await work.run(task_status=task_status)


# --- callables that are named -----------------------------------------------------------------


async def test_a_callable_is_imported_from_the_plans_folder(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "night_jobs.py").write_text("def add(a, b):\n    return a + b\n")
    path = list(sys.path)
    lease = desk.offer(call="night_jobs:add", kwargs={"a": 1, "b": 2})
    assert (await desk.ended(lease)).result == 3
    assert sys.path == path
    del sys.modules["night_jobs"]


async def test_a_module_of_another_folder_is_not_taken_for_one_of_the_same_name(
    desk: Desk, tmp_path: Path
) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "twin_jobs.py").write_text(f"def name():\n    return {folder!r}\n")
    first = desk.offer(call="twin_jobs:name", base_dir=str(tmp_path / "one"))
    assert (await desk.ended(first)).result == "one"
    second = desk.offer(call="twin_jobs:name", base_dir=str(tmp_path / "two"))
    outcome = await desk.ended(second)
    assert outcome.reason == "not_started"
    assert (outcome.error or "").startswith("twin_jobs: this program has already loaded")
    del sys.modules["twin_jobs"]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("no_such_jobs:run", "No module named 'no_such_jobs'"),
        ("json:no_such_thing", "no attribute 'no_such_thing'"),
        ("json:__name__", "is no function"),
    ],
)
async def test_a_callable_that_cannot_be_found_was_not_started(
    desk: Desk, name: str, error: str
) -> None:
    outcome = await desk.ended(desk.offer(call=name))
    assert (outcome.reason, outcome.infrastructure) == ("not_started", False)
    assert error in (outcome.error or "")


async def test_a_command_does_not_run_on_an_inline_worker(desk: Desk) -> None:
    outcome = await desk.ended(desk.offer("true"))
    assert outcome.reason == "not_started"
    assert "use a pool of kind process" in (outcome.error or "")


def test_a_registered_callable_is_known_by_its_name(tmp_path: Path) -> None:
    work = Work(tmp_path, tmp_path / "output", {"named": double})
    assert work.register_call(sync_double) == f"{__name__}:sync_double"
    assert work.calls == {"named", f"{__name__}:sync_double"}
