"""A desk that performs effects on real work and waits for its reports."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from actors.effects import (
    Address,
    KillGate,
    Offer,
    Release,
    RunGate,
    StartProcess,
    StopProcess,
    Withdraw,
)
from actors.messages import (
    GateEnded,
    Launched,
    Message,
    Outcome,
    ProcessExited,
    ProcessStarted,
    WorkEnded,
)
from runtime.work import Limits, Work, output_path
from runtime.work.child.proc import descendants, look

M = TypeVar("M", bound=Message)
UET = "uet_worker:worker:local.1@1"
GATE = "test_gate:night-1/gate:unit~1"
PATIENCE_S = 20.0
PYTHON = sys.executable


class Desk:
    """Performs effects and keeps what is reported, in order."""

    def __init__(self, work: Work, folder: Path) -> None:
        self.work = work
        self.folder = folder
        self.reports: list[tuple[Address, Message]] = []
        self._news = anyio.Event()
        self._leases = 0
        self.uet: ProcessStarted | None = None
        work.report = self._take

    def _take(self, address: Address, message: Message) -> None:
        self.reports.append((address, message))
        self._news.set()

    async def next(self, kind: type[M], address: Address = UET) -> M:
        """Waits for a report of this kind and takes it off the desk."""
        with anyio.move_on_after(PATIENCE_S):
            while True:
                for index, (to, message) in enumerate(self.reports):
                    if to == address and isinstance(message, kind):
                        del self.reports[index]
                        return message
                self._news = anyio.Event()
                await self._news.wait()
        raise AssertionError(f"no {kind.__name__} for {address}, but {self.reports}")

    def launch(self, uet: Address = UET, heartbeat_s: float = 60.0) -> None:
        self.work.perform(StartProcess(uet, "local", "process", heartbeat_s))

    async def start(self, uet: Address = UET, *, heartbeat_s: float = 60.0) -> ProcessStarted:
        self.launch(uet, heartbeat_s)
        self.uet = await self.next(ProcessStarted, uet)
        return self.uet

    def offer(self, *command: str, uet: Address = UET, **more: Any) -> str:
        """Offers a command (or `call=`); answers its lease."""
        self._leases += 1
        lease = f"1.{self._leases}"
        fields: dict[str, Any] = {
            "call": None,
            "kwargs": {},
            "cwd": ".",
            "env": {},
            "env_pass": (),
            "base_dir": str(self.folder),
            "task_id": f"night-1/build/t{self._leases}",
            "attempt": 1,
        }
        self.work.perform(Offer(uet=uet, lease=lease, command=command, **{**fields, **more}))
        return lease

    async def begin(self, *command: str, uet: Address = UET, **more: Any) -> Launched:
        """Offers a command and releases it."""
        lease = self.offer(*command, uet=uet, **more)
        launched = await self.next(Launched, uet)
        assert launched.lease == lease
        self.work.perform(Release(uet, lease))
        return launched

    async def ended(self, lease: str, uet: Address = UET) -> Outcome:
        ended = await self.next(WorkEnded, uet)
        assert ended.lease == lease
        return ended.outcome

    async def do(self, *command: str, uet: Address = UET, **more: Any) -> Outcome:
        """Runs a command from its offer to its end."""
        launched = await self.begin(*command, uet=uet, **more)
        return await self.ended(launched.lease, uet)

    def withdraw(
        self, lease: str, reason: str = "cancelled", *, kill_timeout_s: float = 30.0
    ) -> None:
        self.work.perform(Withdraw(UET, lease, reason, kill_timeout_s))

    async def stop(
        self, *, kill: bool = False, uet: Address = UET, kill_timeout_s: float = 30.0
    ) -> ProcessExited:
        self.work.perform(StopProcess(uet, kill, kill_timeout_s))
        return await self.next(ProcessExited, uet)

    def run_gate(
        self, *command: str, timeout_s: float = 60.0, attempt: int = 1, fresh: bool = False
    ) -> None:
        folder = str(self.folder)
        self.work.perform(RunGate(GATE, attempt, command, timeout_s, ".", {}, (), folder, fresh))

    def kill_gate(self, reason: str = "cancelled") -> None:
        self.work.perform(KillGate(GATE, reason))

    async def gate(
        self, *command: str, timeout_s: float = 60.0, attempt: int = 1, fresh: bool = False
    ) -> Outcome:
        self.run_gate(*command, timeout_s=timeout_s, attempt=attempt, fresh=fresh)
        ended = await self.next(GateEnded, GATE)
        assert ended.attempt == attempt
        return ended.outcome

    def output(self, task: str = "t1", attempt: int = 1) -> Path:
        return output_path(self.folder / "state" / "output", f"night-1/build/{task}", attempt)


@asynccontextmanager
async def working(
    folder: Path,
    calls: dict[str, Callable[..., Any]] | None = None,
    *,
    python: str = sys.executable,
    **limits: Any,
) -> AsyncIterator[Desk]:
    """Runs the executor of a state directory in `folder`. In the end nothing below us is left."""
    state = folder / "state"
    work = Work(state, state / "output", calls, limits=Limits(**limits), python=python)
    desk = Desk(work, folder)
    async with anyio.create_task_group() as group:
        await group.start(_run, work)
        try:
            yield desk
        finally:
            with anyio.CancelScope(shield=True):
                await work.close()
    assert descendants(os.getpid()) == []


async def _run(work: Work, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    await work.run(task_status=task_status)


class Bell:
    """A named pipe that a command rings by writing a line to it."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        self._end = os.open(path, os.O_RDWR)  # both ends: opening one does not wait for the other

    async def wait(self) -> str:
        """The line that was written."""
        with anyio.fail_after(PATIENCE_S):
            await anyio.wait_readable(self._end)
        return os.read(self._end, 4096).decode().strip()

    def say(self, line: str) -> None:
        """For a command that reads a line of it."""
        os.write(self._end, f"{line}\n".encode())

    def close(self) -> None:
        os.close(self._end)


@asynccontextmanager
async def bell(folder: Path, name: str = "bell") -> AsyncIterator[Bell]:
    rung = Bell(folder / name)
    try:
        yield rung
    finally:
        rung.close()


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    found = look(pid)
    return found is not None and found.alive


def gone(pid: int) -> bool:
    """Waits for the end of a process that is not our child."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ready, _, _ = select.select([handle], [], [], PATIENCE_S)
        return bool(ready)
    finally:
        os.close(handle)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    os.kill(pid, number)
