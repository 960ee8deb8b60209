"""The supervisor: one driver takes turns, one writer commits epochs, and nothing leaves before.

         tell, ask, reports, timers                    (inputs, kept until durable)
                    v
    driver: take turns ──> open epoch ──seal──> writer: one transaction ──> settle: effects leave
                    ^                                     │
                    └──────── offered again ──── rolled back, bisected

Invariants:
1. One epoch is in flight at most; while it syncs, the next one fills. No timer delays a commit.
2. `settle` runs only for an epoch known to be committed: replies, processes, events leave there.
3. After a rollback every cell that the discarded epochs touched is read again from the store, and
   what they consumed is offered again in the old order, in halves until the culprit stands alone.
4. A COMMIT of unknown outcome stops the turns until the store was read back; a second one in a row
   ends the runtime.

Deliberately absent: any wait for a write by anyone but the writer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio

from runtime.errors import RuntimeStopped
from runtime.inbox import Envelope
from runtime.kernel import Kernel
from runtime.seal import is_json
from runtime.store import StoreError

if TYPE_CHECKING:
    from runtime.clock import Clock
    from runtime.kinds import Kind
    from runtime.log import Log
    from runtime.store import Store


_STEPS_TO_THREAD = 3
_GIVE_WAY_S = 0.00005


class Supervisor(Kernel):
    """Owns every cell of one state directory, and drives them with an event loop."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        kinds: dict[str, Kind],
        crash_point: Callable[[str], None],
        log: Log,
    ) -> None:
        # Whoever assembles the kernel sets this: work outside whose outcome is to come.
        self.busy: Callable[[], bool] = lambda: False
        self._wake = asyncio.Event()
        self._commit = asyncio.Event()
        self._calm = asyncio.Event()
        self._disarm: tuple[float, Callable[[], None]] | None = None
        super().__init__(store, clock, kinds, crash_point, log)

    # --- from outside --------------------------------------------------------------------------

    def wake(self) -> None:
        """There is something to do for the driver."""
        self._wake.set()

    async def pause(self, seconds: float) -> None:
        """Returns after so many seconds of real time."""
        await anyio.sleep(seconds)

    async def flush(self) -> None:
        """Takes no more turns, and returns once everything decided so far is durable, and what was
        told and not taken yet is a row for the next owner."""
        self.closing = True
        self._store_told()
        self.wake()
        while (self.turns.open.dirty or self.in_flight is not None) and self.stopped is None:
            self._calm.clear()
            await self._calm.wait()
            self._store_told()  # an epoch that was refused meanwhile has given some back

    def _store_told(self) -> None:
        """Plain messages from outside become messages under way. Outcomes of work, timers and
        questions do not: the next owner finds the work unfinished, and the asker gone."""
        for item in (*self.router.take_back(), *self.rollback.take_back()):
            if isinstance(item, tuple):
                envelope = Envelope(*item, kept=True)
            elif item.kept and not (item.row or item.reply or item.timer or item.outbox):
                envelope = item
            else:
                continue
            kind = self.turns.kinds.get(envelope.to.partition(":")[0])
            if kind is None or not kind.table or (item is envelope and kind.table != "actors"):
                continue
            if is_json(envelope.item):
                self.turns.open.sent.append(envelope)
            else:
                self.bury(envelope.to, envelope.item, "the runtime closed, and it is no JSON")

    async def wait_idle(self) -> None:
        """Returns once nothing is ready, nothing is uncommitted, and nothing waits to be read."""
        while not self.is_calm():
            self.raise_if_stopped()
            self._calm.clear()
            await self._calm.wait()
        self.raise_if_stopped()

    # --- the driver ----------------------------------------------------------------------------

    async def drive(self) -> None:
        """Takes turns until cancelled."""
        while not self.closing:
            self.fire_due()
            if self.is_due():
                self._commit.set()
                # The writer takes so many steps of the loop to reach its thread, and that thread
                # has to get at the interpreter: turns taken in between would keep the disk waiting,
                # those taken after cost nothing.
                for _ in range(_STEPS_TO_THREAD):
                    await asyncio.sleep(0)
                time.sleep(_GIVE_WAY_S)  # noqa: ASYNC251 (the loop gives way on purpose)
            if self.may_take():
                self.turns.take()
                self.book_ahead()
                if self.is_due():
                    continue
            if self.router.absent and not self.halted:
                await self.read_absent()
            elif self.may_take():
                await asyncio.sleep(0)
            elif self.rollback.pending and self.is_settled():
                self.rollback.offer_again()
            elif self._rest():
                await asyncio.sleep(0)  # time may move on for ever; others must come to their turn
            else:
                self._wake.clear()
                self._arm()
                await self._wake.wait()
        await self._commit_the_rest()

    async def _commit_the_rest(self) -> None:
        while True:
            if self.turns.open.dirty and self.in_flight is None:
                self._commit.set()
            elif self.in_flight is None:
                self._calm.set()
            self._wake.clear()
            await self._wake.wait()

    def _rest(self) -> bool:
        """Nothing to do for now. True if the clock was moved on, so that there is."""
        if not self.is_calm():
            return False
        self.rest()
        self._calm.set()
        self._arm()  # before the clock is asked: it can only move on to what it knows of
        return not self.busy() and self.clock.idle()

    def _arm(self) -> None:
        due = self.turns.timers.next_due()
        if self._disarm is not None:
            if due is not None and self._disarm[0] == due:
                return
            self._disarm[1]()
            self._disarm = None
        if due is not None:
            self._disarm = (due, self.clock.wake_at(due, self._alarm))

    def _alarm(self) -> None:
        self._disarm = None
        self._wake.set()

    # --- the writer ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Drives and writes until cancelled. Raises what ended the runtime; then everybody who
        waits for it has been told."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self.drive)
                group.start_soon(self.write)
        except Exception as error:
            if self.stopped is None:
                only = error
                while isinstance(only, ExceptionGroup) and len(only.exceptions) == 1:
                    only = only.exceptions[0]
                why = (
                    str(only) if isinstance(only, StoreError) else f"{type(only).__name__}: {only}"
                )
                raise self.stop(why) from only
            raise

    async def write(self) -> None:
        """Commits epochs until cancelled: it takes whatever is there."""
        while True:
            await self._commit.wait()
            self._commit.clear()
            if self.halted or not self.turns.open.dirty:
                continue
            await self.commit_open()
            self.wake()

    def stop(self, why: str, *, orderly: bool = False) -> RuntimeStopped:
        """As the kernel's, and whoever waits for calm is woken."""
        stopped = super().stop(why, orderly=orderly)
        self._calm.set()
        return stopped
