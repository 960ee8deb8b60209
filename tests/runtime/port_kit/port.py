"""What the suite needs of an engine: the port itself, and five pieces of work that it can do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import anyio
import msgspec

from actors.effects import Address, Offer, Release, StartProcess, StopProcess, Withdraw
from actors.messages import Launched, Message, Outcome, ProcessExited, ProcessStarted, WorkEnded
from runtime.work import Executor

M = TypeVar("M", bound=Message)
PATIENCE_S = 30.0


class Job(msgspec.Struct, frozen=True):
    """What an `Offer` says of the work, its part `command` or its part `call` and `kwargs`."""

    command: tuple[str, ...] = ()
    call: str | None = None
    kwargs: dict[str, Any] = {}


class Facts(msgspec.Struct, frozen=True):
    """Where engines rightly differ. A case that does not apply to one is skipped by name."""

    kind: str  # of `StartProcess`: "process" or "inline"
    launches: bool  # `Launched` comes before anything runs, which then waits for `Release`
    beats: bool  # a worker says by itself that it lives
    can_kill: bool  # also work that does not heed its withdrawal ends within the kill timeout
    can_lose: bool  # `Engine.lose` can take a worker away


class Engine(Protocol):
    """The adapter of one engine."""

    facts: Facts

    def open(self, folder: Path) -> AbstractAsyncContextManager[Executor]:
        """Runs an executor that works in `folder`; its `report` is set within the block, before
        anything is performed. After the block nothing of it lives."""

    def succeeds(self) -> Job:
        """Ends well, at once."""

    def fails(self) -> Job:
        """Ends badly, at once."""

    def absent(self) -> Job:
        """Cannot be started, for it is not there."""

    def waits(self, name: str) -> Job:
        """Tells `name` as its progress, and then ends well once `let_go` was called for that name;
        it ends, too, when it is withdrawn."""

    def deaf(self, name: str) -> Job:
        """As `waits`, but does not heed a withdrawal."""

    async def begun(self, name: str) -> None:
        """Returns once the work of that name runs."""

    def let_go(self, name: str) -> None:
        """Lets the work of that name end."""

    def lose(self, started: ProcessStarted) -> None:
        """Takes away the worker that said so of itself, as a crash does."""

    def runs(self, name: str) -> bool:
        """Whether anything of the work of that name still runs."""


class Bench:
    """An executor under test: performs effects and keeps what is reported, in order."""

    def __init__(self, executor: Executor, engine: Engine, folder: Path) -> None:
        self.executor = executor
        self.engine = engine
        self.folder = folder
        self.reports: list[tuple[Address, Message]] = []
        self._news = anyio.Event()
        self._leases = 0
        executor.report = self._take

    def _take(self, address: Address, message: Message) -> None:
        self.reports.append((address, message))
        self._news.set()

    async def next(self, kind: type[M], uet: Address) -> M:
        """Waits for a report of this kind and takes it off the bench."""
        with anyio.move_on_after(PATIENCE_S):
            while True:
                for index, (to, message) in enumerate(self.reports):
                    if to == uet and isinstance(message, kind):
                        del self.reports[index]
                        return message
                self._news = anyio.Event()
                await self._news.wait()
        raise AssertionError(f"no {kind.__name__} for {uet}, but {self.reports}")

    async def until(self, holds: Callable[[], object]) -> None:
        """Looks after each report until it holds."""
        with anyio.move_on_after(PATIENCE_S):
            while not holds():
                self._news = anyio.Event()
                with anyio.move_on_after(0.05):  # what changes need not be reported
                    await self._news.wait()
            return
        raise AssertionError(f"it never held; reported were {self.reports}")

    async def start(self, uet: Address, heartbeat_s: float = 60.0) -> ProcessStarted:
        kind = self.engine.facts.kind
        self.executor.perform(StartProcess(uet, "local", kind, heartbeat_s))
        return await self.next(ProcessStarted, uet)

    def offer(self, uet: Address, job: Job) -> str:
        """Its lease. Nothing of it runs before its `release` where the engine launches."""
        self._leases += 1
        lease = f"1.{self._leases}"
        self.executor.perform(
            Offer(
                uet=uet,
                lease=lease,
                task_id=f"night-1/build/t{self._leases}",
                attempt=1,
                command=job.command,
                call=job.call,
                kwargs=job.kwargs,
                cwd=".",
                env={},
                env_pass=(),
                base_dir=str(self.folder),
            )
        )
        return lease

    async def begin(self, uet: Address, job: Job) -> str:
        """Offers, and releases where the engine launches."""
        lease = self.offer(uet, job)
        if self.engine.facts.launches:
            launched = await self.next(Launched, uet)
            assert launched.lease == lease
            self.executor.perform(Release(uet, lease))
        return lease

    async def ended(self, uet: Address, lease: str) -> Outcome:
        ended = await self.next(WorkEnded, uet)
        assert ended.lease == lease
        return ended.outcome

    async def do(self, uet: Address, job: Job) -> Outcome:
        return await self.ended(uet, await self.begin(uet, job))

    def withdraw(self, uet: Address, lease: str, reason: str, kill_timeout_s: float = 30.0) -> None:
        self.executor.perform(Withdraw(uet, lease, reason, kill_timeout_s))

    async def stop(self, uet: Address, *, kill: bool = False) -> ProcessExited:
        self.executor.perform(StopProcess(uet, kill))
        return await self.next(ProcessExited, uet)

    async def settled(self) -> None:
        """Returns once whatever was on its way was reported: other work came and went."""
        other = "uet_worker:worker:settled.1@1"
        await self.start(other)
        await self.do(other, self.engine.succeeds())
        await self.stop(other)

    def told(self, kind: type[Message], uet: Address) -> list[Message]:
        """What is on the bench of this kind."""
        return [message for to, message in self.reports if to == uet and isinstance(message, kind)]
