"""The two pools of this machine, behind the adapter: child processes, and this very process."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc

from actors.messages import ProcessStarted
from runtime.work import Executor, Work, progress, withdrawn
from runtime.work.child.proc import descendants
from tests.runtime.port_kit.port import PATIENCE_S, Engine, Facts, Job
from tests.runtime.work_kit import Bell, alive, kill


@asynccontextmanager
async def _running(work: Work) -> AsyncIterator[Executor]:
    async with anyio.create_task_group() as group:
        await group.start(_run, work)
        try:
            yield work
        finally:
            with anyio.CancelScope(shield=True):
                await work.close()
    assert descendants(os.getpid()) == []


async def _run(work: Work, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    await work.run(task_status=task_status)


class ChildProcesses(Engine):
    """Commands in worker processes; two named pipes tell when one runs, and when it may end."""

    facts = Facts("process", launches=True, beats=True, can_kill=True, can_lose=True)

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Executor]:
        self._folder = folder
        self._bells: dict[str, Bell] = {}
        self._pids: dict[str, int] = {}
        state = folder / "state"
        try:
            async with _running(Work(state, state / "output")) as work:
                yield work
        finally:
            for rung in self._bells.values():
                rung.close()

    def succeeds(self) -> Job:
        return Job(("true",))

    def fails(self) -> Job:
        return Job(("sh", "-c", "echo wrong; exit 3"))

    def absent(self) -> Job:
        return Job(("no-such-tool",))

    def waits(self, name: str) -> Job:
        return self._job(name, "")

    def deaf(self, name: str) -> Job:
        return self._job(name, "trap '' TERM;")

    def _job(self, name: str, first: str) -> Job:
        for purpose in ("up", "go"):
            path = self._folder / f"{purpose}{len(self._bells)}"
            self._bells[f"{purpose} {name}"] = Bell(path)
        up, go = (self._bells[f"{purpose} {name}"].path for purpose in ("up", "go"))
        return Job(("sh", "-c", f'{first} echo "$0"; echo $$ >{up}; read word <{go}', name))

    async def begun(self, name: str) -> None:
        self._pids[name] = int(await self._bells[f"up {name}"].wait())

    def let_go(self, name: str) -> None:
        self._bells[f"go {name}"].say("on")

    def lose(self, started: ProcessStarted) -> None:
        kill(started.pid)

    def runs(self, name: str) -> bool:
        return name in self._pids and alive(self._pids[name])


class InProcess(Engine):
    """Callables of this process, sync ones in threads of their own."""

    facts = Facts("inline", launches=False, beats=False, can_kill=False, can_lose=False)

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Executor]:
        self._up: dict[str, threading.Event] = {}
        self._go: dict[str, threading.Event] = {}
        self._running: set[str] = set()
        calls = {"succeed": _succeed, "fail": _fail, "wait": self._wait, "stay": self._stay}
        async with _running(Work(folder / "state", folder / "state" / "output", calls)) as work:
            try:
                yield work
            finally:
                for go in self._go.values():
                    go.set()

    def succeeds(self) -> Job:
        return Job(call="succeed")

    def fails(self) -> Job:
        return Job(call="fail")

    def absent(self) -> Job:
        return Job(call="no_such_module:function")

    def waits(self, name: str) -> Job:
        self._up[name], self._go[name] = threading.Event(), threading.Event()
        return Job(call="wait", kwargs={"name": name})

    def deaf(self, name: str) -> Job:
        return Job(call="stay", kwargs=self.waits(name).kwargs)

    async def begun(self, name: str) -> None:
        assert await anyio.to_thread.run_sync(self._up[name].wait, PATIENCE_S)

    def let_go(self, name: str) -> None:
        self._go[name].set()

    def lose(self, started: ProcessStarted) -> None:
        raise AssertionError("it would take this process along")

    def runs(self, name: str) -> bool:
        return name in self._running

    async def _wait(self, name: str) -> None:
        self._begin(name)
        try:
            while not self._go[name].is_set():
                await anyio.lowlevel.checkpoint()
        finally:
            self._running.discard(name)

    def _stay(self, name: str) -> None:
        self._begin(name)
        self._go[name].wait(PATIENCE_S)
        assert withdrawn()
        self._running.discard(name)

    def _begin(self, name: str) -> None:
        self._running.add(name)
        progress(name)
        self._up[name].set()


def _succeed() -> str:
    return "done"


def _fail() -> None:
    raise ValueError("wrong")
