"""The executor port: what the kernel knows of whoever does the work.

offer, cancel and release go in as effects through `perform`; a lease's launch, heartbeats, result
and loss come out as messages through `report`. Another engine stands here by implementing this,
and shows that it does with `tests/runtime/port_kit`, where the sequence of each promise is spelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

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
from actors.messages import Message
from runtime.work.reap import Record

Report = Callable[[Address, Message], None]
WorkEffect = StartProcess | StopProcess | Offer | Release | Withdraw | RunGate | KillGate


class Executor(Protocol):
    """Does the work that committed decisions ask for, and reports what became of it."""

    # Set before anything is performed. Called in the thread of the event loop, also from within
    # `perform`; it must not raise, and is not called again once `close` or a cancel has begun.
    report: Report

    @property
    def busy(self) -> bool:
        """Whether the outcome of something performed is still to come."""

    @property
    def progress(self) -> Mapping[str, str]:
        """How far running work has come, a bounded line each, by lease, as its last heartbeat had
        it. Kept here and in no row: a heartbeat that changes nothing writes nothing."""

    async def reap(self, records: Iterable[Record]) -> list[str]:
        """Kills what a former owner left, before anything is performed. Answers, with a note of
        each finding, when it is proven dead or the bound is over."""

    @property
    def undead(self) -> frozenset[str]:
        """The leases of which something lives that `reap` could not kill."""

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Lives until `close`, or until it is cancelled; all that it started is dead then."""

    def perform(self, effect: WorkEffect) -> None:
        """Begins an effect; does not wait. What goes wrong is reported, not raised."""

    async def close(self) -> None:
        """Ends `run`: kills what still runs, within bounds."""
