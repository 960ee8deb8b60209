"""All work on this machine behind the one port: inline workers, worker processes, gate commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.abc

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
from actors.messages import GateEnded, Message, Outcome, ProcessExited, WorkEnded
from runtime.clock import Clock, SystemClock
from runtime.work import cgroup
from runtime.work.calls import Call, call_of
from runtime.work.gates import Gates
from runtime.work.inline import Inline
from runtime.work.limits import Limits
from runtime.work.pool import Pool
from runtime.work.port import Executor, Report, WorkEffect
from runtime.work.reap import Record, reap
from runtime.work.site import Site
from runtime.work.witness import Lookup


def refusal() -> str | None:
    """Why this machine can run no worker processes and no gates; None where it can."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return "worker processes and gates need Linux; inline workers run anywhere"
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return "worker processes and gates need Linux 5.4 or newer; inline workers run anywhere"
    return None


class Work(Executor):
    """The executor of one state directory. `report` is to be set before anything is performed."""

    def __init__(
        self,
        state_dir: Path,
        output_dir: Path,
        calls: Mapping[str, Callable[..., Any]] | None = None,
        *,
        clock: Clock | None = None,
        limits: Limits | None = None,
        python: str = sys.executable,
    ) -> None:
        """`calls`: callables by name, for `Offer.call`. `python` runs the children."""
        self.report: Report = _nobody
        self._undead: frozenset[str] = frozenset()
        self._site = Site(
            state_dir=Path(os.path.realpath(state_dir)),
            output_dir=Path(os.path.realpath(output_dir)),
            limits=limits or Limits(),
            python=python,
        )
        self._calls: dict[str, Call] = {name: call_of(call) for name, call in (calls or {}).items()}
        self._refusal = refusal()
        self._inline = Inline(self._tell, self._site, clock or SystemClock(), self._calls)
        self._pool = Pool(self._tell, self._site)
        self._gates = Gates(self._tell, self._site)
        self._closing = False
        self._running: anyio.CancelScope | None = None
        self._ended: anyio.Event | None = None

    # --- callables of this program --------------------------------------------------------------

    @property
    def calls(self) -> frozenset[str]:
        """The names that inline workers can call."""
        return frozenset(self._calls)

    def register_call(
        self, call: Callable[..., Any], name: str | None = None, *, inline: bool = False
    ) -> str:
        """Makes a callable known; answers its name (by default "module:qualified name").

        `inline`: a sync one is called right on the event loop, not in a thread.
        """
        name = name or f"{call.__module__}:{call.__qualname__}"
        self._calls[name] = call_of(call, inline=inline)
        return name

    def look_up(self, lookup: Lookup) -> None:
        """How a gate's verdict is found by its key; without it every gate's command is run."""
        self._gates.bench.lookup = lookup

    @property
    def abandoned(self) -> int:
        """Inline calls that did not end when told to: their threads may still run."""
        return self._inline.abandoned

    # --- the port -------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether the outcome of something performed is still to come."""
        return self._inline.busy or self._pool.busy or self._gates.busy

    @property
    def undead(self) -> frozenset[str]:
        """The leases of which something lives that `reap` could not kill."""
        return self._undead

    @property
    def progress(self) -> Mapping[str, str]:
        """What running work last said of itself, a line each, by lease: in memory only."""
        return {**self._inline.progress, **self._pool.progress}

    async def reap(self, records: Iterable[Record]) -> list[str]:
        """Kills what a former owner left, before anything is performed. Answers, with a note of
        each finding, when it is proven dead or the bound is over."""
        if self._refusal is not None:
            return []
        limits = self._site.limits
        found = await reap(str(self._site.state_dir), records, limits.kill_timeout_s)
        self._undead = frozenset(each.lease for each in found if each.lease and each.alive)
        notes = []
        left = await cgroup.end_former(self._site.state_dir, limits.kill_timeout_s)
        if left:
            notes.append(f"survived KILL, of a former owner's group: {_listed(left)}")
        for each in found:
            of = f"lease {each.lease}" if each.lease else "a former owner"
            if each.killed:
                notes.append(f"killed what {of} had left: {_listed(each.killed)}")
            if each.alive:
                notes.append(f"survived KILL, of {of}: {_listed(each.alive)}")
        return notes

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Lives until `close`, or until it is cancelled; all that it started is dead then."""
        self._site.output_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ended = anyio.Event()
        try:
            async with anyio.create_task_group() as group:
                self._running = group.cancel_scope
                for part in (self._inline, self._pool, self._gates):
                    await group.start(_run_part, part)
                task_status.started()
        finally:
            self._closing = True
            self._ended.set()

    def perform(self, effect: WorkEffect) -> None:
        """Begins an effect; does not wait. What goes wrong is reported, not raised."""
        if self._closing:
            return
        match effect:
            case Offer():
                self._offer(effect)
            case Release():
                if effect.uet not in self._inline:
                    self._pool.release(effect)
            case Withdraw():
                part = self._inline if effect.uet in self._inline else self._pool
                part.withdraw(effect)
            case StartProcess():
                self._start(effect)
            case StopProcess():
                part = self._inline if effect.uet in self._inline else self._pool
                part.stop(effect)
            case RunGate():
                self._run_gate(effect)
            case KillGate():
                self._gates.kill(effect)

    async def close(self) -> None:
        """Ends `run`: kills what still runs, within bounds. Nothing is reported any more."""
        self._closing = True
        if self._running is not None and self._ended is not None:
            self._running.cancel()
            await self._ended.wait()

    def _offer(self, effect: Offer) -> None:
        if effect.uet in self._inline:
            self._inline.offer(effect)
        elif effect.uet in self._pool:
            self._pool.offer(effect)
        else:
            lost = Outcome(reason="lost", error="its worker is gone", infrastructure=True)
            self._tell(effect.uet, WorkEnded(effect.lease, lost))

    def _start(self, effect: StartProcess) -> None:
        if effect.kind == "inline":
            self._inline.start(effect)
        elif self._refusal is None:
            self._pool.start(effect)
        else:
            self._tell(effect.uet, ProcessExited(crashed=True, reason=self._refusal))

    def _run_gate(self, effect: RunGate) -> None:
        if self._refusal is None:
            self._gates.start(effect)
        else:
            refused = Outcome(reason="not_started", error=self._refusal, infrastructure=True)
            self._tell(effect.gate, GateEnded(effect.attempt, refused))

    def _tell(self, address: Address, message: Message) -> None:
        if not self._closing:
            self.report(address, message)


async def _run_part(
    part: Inline | Pool | Gates, *, task_status: anyio.abc.TaskStatus[None]
) -> None:
    await part.run(task_status=task_status)


def _nobody(address: Address, message: Message) -> None:
    raise AssertionError(f"nobody takes reports yet: {message} to {address}")


def _listed(pids: tuple[int, ...]) -> str:
    return f"process{'es' if len(pids) > 1 else ''} {', '.join(map(str, pids))}"
