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
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

import anyio

from actors.messages import TimerFired
from runtime.cell import Cell, suspension
from runtime.epoch import Epoch
from runtime.errors import RuntimeStopped, UnknownActor
from runtime.inbox import Envelope
from runtime.limits import (
    CELLS_MAX,
    DEAD_LETTERS_KEPT_MAX,
    DISK_RETRY_S,
    EPOCH_INPUTS_MAX,
    EPOCH_ROWS_MAX,
    READ_BACK_MAX,
)
from runtime.rollback import Rollback
from runtime.seal import is_json, seal
from runtime.seed import DISPATCH, dispatch_kind
from runtime.store import Batch, CommitUnknown, ConstraintFailed, StoreError, TryAgain
from runtime.turns import Turns

if TYPE_CHECKING:
    from runtime.clock import Clock
    from runtime.kinds import Kind
    from runtime.log import Log
    from runtime.store import Store, Stored


_STEPS_TO_THREAD = 3
_TABLES_OF_MANY = frozenset({"tasks", "actors"})
_GIVE_WAY_S = 0.00005


class Supervisor:
    """Owns every cell of one state directory."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        kinds: dict[str, Kind],
        crash_point: Callable[[str], None],
        log: Log,
    ) -> None:
        self.store = store
        self.clock = clock
        self.log = log
        self.turns = Turns(kinds, clock.now, self.wake)
        self.router = self.turns.router
        self.stopped: RuntimeStopped | None = None
        self.holding = False  # nothing new is started any more
        self.trouble: str | None = None  # what keeps the store from committing, while it does
        self.waiting: set[Callable[[BaseException], None]] = set()  # to fail if the runtime stops
        # Whoever assembles the kernel sets these.
        self.busy: Callable[[], bool] = lambda: False  # work outside whose outcome is to come
        self.committed: Callable[[Epoch, Batch], None] = lambda _epoch, _batch: None
        self.on_stop: Callable[[], None] = lambda: None
        self.rebuild_index: Callable[[], None] = lambda: None
        self._crash_point = crash_point
        self._wake = asyncio.Event()
        self._commit = asyncio.Event()
        self._in_flight: Epoch | None = None
        self._halted = False
        self._closing = False
        self._asleep = False  # some that have not ended are in the store only
        self._revived: set[str] = set()  # read back from the store for a late message
        self.rollback = Rollback(self)
        self._calm = asyncio.Event()
        self._disarm: tuple[float, Callable[[], None]] | None = None

    # --- from outside --------------------------------------------------------------------------

    def hold_starts(self) -> None:
        """Takes the dispatcher away: no task or gate is started any more by this owner."""
        self.holding = True
        self.router.cells[DISPATCH].decide = dispatch_kind(None).decide

    def wake(self) -> None:
        """There is something to do for the driver."""
        self._wake.set()

    def report(self, address: str, message: Any) -> None:
        """An outcome from the shell. Kept until durable; only on the event loop's thread."""
        self.router.offer(Envelope(address, message, kept=True))

    def bury(self, to: str, message: Any, reason: str) -> None:
        """Records a dead letter; the first of them are told to operators too."""
        self.router.bury(to, message, reason)
        if self.router.dead_letters_total <= DEAD_LETTERS_KEPT_MAX:
            self.log.warning("dead_letter", to=to, message=type(message).__name__, why=reason)

    async def flush(self) -> None:
        """Takes no more turns, and returns once everything decided so far is durable, and what was
        told and not taken yet is a row for the next owner."""
        self._closing = True
        self._store_told()
        self.wake()
        while (self.turns.open.dirty or self._in_flight is not None) and self.stopped is None:
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

    def raise_if_stopped(self) -> None:
        if self.stopped is not None:
            raise self.stopped

    def is_calm(self) -> bool:
        """Nothing is ready, uncommitted or to be read: only the outside or a clock can go on."""
        due = self.turns.timers.next_due()
        if due is not None and due <= self.clock.now():
            return False
        return self._is_settled() and not self.rollback.pending

    def _is_settled(self) -> bool:
        return not (
            self.router.has_ready or self.router.absent or self._in_flight or self.turns.open.dirty
        )

    # --- the driver ----------------------------------------------------------------------------

    async def drive(self) -> None:
        """Takes turns until cancelled."""
        while not self._closing:
            self._fire_due()
            if self._is_due():
                self._commit.set()
                # The writer takes so many steps of the loop to reach its thread, and that thread
                # has to get at the interpreter: turns taken in between would keep the disk waiting,
                # those taken after cost nothing.
                for _ in range(_STEPS_TO_THREAD):
                    await asyncio.sleep(0)
                time.sleep(_GIVE_WAY_S)  # noqa: ASYNC251 (the loop gives way on purpose)
            if self._may_take():
                self.turns.take()
                if self._is_due():
                    continue
            if self.router.absent and not self._halted:
                await self._read_absent()
            elif self._may_take():
                await asyncio.sleep(0)
            elif self.rollback.pending and self._is_settled():
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
            if self.turns.open.dirty and self._in_flight is None:
                self._commit.set()
            elif self._in_flight is None:
                self._calm.set()
            self._wake.clear()
            await self._wake.wait()

    def _is_due(self) -> bool:
        """Whether the open epoch is to be committed: its chain is at the end, or it is large."""
        epoch = self.turns.open
        if self._in_flight is not None or self._halted:
            return False
        if self.router.ready and len(epoch.entries) < EPOCH_ROWS_MAX // 4 and not self._full():
            return False
        if not epoch.dirty:
            epoch.forget()
            return False
        return True

    def _may_take(self) -> bool:
        return self.router.has_ready and not self._halted and not self._full()

    def _rest(self) -> bool:
        """Nothing to do for now. True if the clock was moved on, so that there is."""
        if not self.is_calm():
            return False
        if self._revived:
            found = [self.router.cells.get(address) for address in self._revived]
            self._revived.clear()
            self._forget(cell for cell in found if cell is not None)
        self._calm.set()
        self._arm()  # before the clock is asked: it can only move on to what it knows of
        return not self.busy() and self.clock.idle()

    def _full(self) -> bool:
        epoch = self.turns.open
        return len(epoch.entries) >= EPOCH_ROWS_MAX or epoch.inputs >= EPOCH_INPUTS_MAX

    def _fire_due(self) -> None:
        now = self.clock.now()
        for timer in self.turns.timers.pop_due(now):
            message = TimerFired(timer.key, late_s=max(0.0, round(now - timer.due, 3)))
            self.router.offer(Envelope(timer.cell.address, message, kept=True, timer=timer))

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

    async def _read_absent(self) -> None:
        wanted = list(islice(self.router.absent, READ_BACK_MAX))
        found = await self.store.load_many(wanted)
        for address in wanted:
            envelopes = self.router.absent.pop(address, None)
            if envelopes is None:
                continue  # a rollback has taken back what waited here
            stored = found.get(address)
            if stored is not None and address not in self.router.cells:
                self.adopt(stored)
            if address in self.router.cells:
                self._revived.add(address)
                for envelope in envelopes:
                    self.router.post(envelope)
                continue
            for envelope in envelopes:
                self._undeliverable(envelope)

    def _forget(self, cells: Iterable[Cell]) -> None:
        """An actor leaves memory once it has nothing to do and all of it is durable: when it has
        ended, or, of the kinds that come in millions, when there are too many. A message brings it
        back."""
        crowded = len(self.router.cells) > CELLS_MAX
        for cell in cells:
            if cell.dirty or cell.scheduled or cell.suspended:
                continue
            if cell.ended:
                self.router.cells.pop(cell.address, None)
            elif crowded and not cell.timers and cell.kind.table in _TABLES_OF_MANY:
                self.router.cells.pop(cell.address, None)
                self._asleep = True

    async def wake_all(self) -> None:
        """Every unfinished actor is in memory again: for whoever has to speak to each of them."""
        if self._asleep:
            async for page in self.store.unfinished():
                for stored in page:
                    if stored.address not in self.router.cells:
                        self.adopt(stored)
            self._asleep = False

    def _undeliverable(self, envelope: Envelope) -> None:
        if envelope.taken:
            return
        envelope.taken = True
        if envelope.row:
            self.turns.open.rows_gone.append(envelope.row)
        if envelope.outbox:
            self.turns.open.outbox_gone.append(envelope.outbox)
        self.bury(envelope.to, envelope.item, "no such actor")
        if envelope.reply is not None:
            envelope.reply.fail(UnknownActor(envelope.to))

    def adopt(self, stored: Stored) -> Cell:
        """Makes a cell of what the store holds. Its durable timers are armed as they stand."""
        cell = Cell(
            f"{stored.kind}:{stored.id}", self.turns.kinds[stored.kind], stored.value, stored.n
        )
        cell.version = stored.version
        cell.audit_seq = stored.audit_seq
        cell.metadata = stored.metadata
        cell.suspended = suspension(stored.metadata)
        self.router.cells[cell.address] = cell
        for key, due in (stored.timers or {}).items():
            self.turns.timers.arm(cell, key, due, volatile=False)
        if cell.ended:
            self.turns.tell_watchers(cell)
        return cell

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
            if self._halted or not self.turns.open.dirty:
                continue
            epoch = self.turns.open
            self.turns.open = Epoch(epoch.number + 1)
            self._in_flight = epoch
            await self._commit_one(epoch)
            self._in_flight = None
            self.wake()

    async def _commit_one(self, epoch: Epoch) -> None:
        try:
            batch = seal(epoch, self.store, self._phase_of)
        except ConstraintFailed as error:
            self.store.discard()
            await self._undo(epoch, str(error))
            return
        self._crash_point("before_commit")
        try:
            await self._write(epoch, batch)
        except ConstraintFailed as error:
            await self._undo(epoch, str(error))
            return
        if self.trouble is not None:
            self.trouble = None
            self.log.info("committed_again")
        self._crash_point("after_commit")
        self._settle(epoch, batch)

    async def _write(self, epoch: Epoch, batch: Batch) -> None:
        """Returns once the batch is durable. Raises ConstraintFailed, and what ends the runtime."""
        unknown: CommitUnknown | None = None
        while True:
            try:
                if unknown is not None and await self._was_written(epoch, batch):
                    return
                await self.store.commit(batch)
            except TryAgain as error:
                # Nothing is acknowledged and nothing is lost: the same again, until there is room.
                if self.trouble is None:
                    self.log.warning("not_committed", why=str(error))
                self.trouble = str(error)
                await anyio.sleep(DISK_RETRY_S)
            except CommitUnknown as error:
                if unknown is not None:
                    raise self.stop(f"two commits in a row failed: {error}") from error
                unknown = error
                self.log.warning("commit_unknown", why=str(error))
            else:
                return

    async def _undo(self, epoch: Epoch, why: str) -> None:
        self._halted = True
        await self.rollback.undo(epoch, why)
        self._halted = False

    async def _was_written(self, epoch: Epoch, batch: Batch) -> bool:
        self._halted = True
        head = await self.store.reopen()
        written = await self._is_there(epoch, batch, head)
        self._halted = False
        return written

    async def _is_there(self, epoch: Epoch, batch: Batch, head: int) -> bool:
        """Whether the last batch is in the store whose last audit row is `head`. One that left no
        audit row is known by its other rows; one that only took rows away may be written twice."""
        if epoch.entries:
            return head >= epoch.head
        if batch.changes:
            change = batch.changes[0]
            stored = await self.store.load(change.kind, change.value.id)
            return stored is not None and stored.version >= change.version
        if batch.messages_new:
            number = batch.messages_new[0][0]
            return any(row[0] == number for row in await self.store.messages())
        if batch.outbox_new:
            number = batch.outbox_new[0][0]
            return any(effect[0] == number for effect in await self.store.outbox())
        return False

    def _phase_of(self, run_id: str) -> str | None:
        run = self.router.cells.get(f"run:{run_id}")
        return run.value.spec.run.phase if run is not None else None

    def stop(self, why: str, *, orderly: bool = False) -> RuntimeStopped:
        """Ends the runtime: no turn is taken and nothing is acknowledged from here on."""
        self._halted = True
        self.stopped = RuntimeStopped(why)
        self.router.refuse(self.stopped)
        self._calm.set()
        if not orderly:
            self.log.error("stopped", why=why)
        for fail in list(self.waiting):
            fail(self.stopped)
        self.on_stop()
        return self.stopped

    def _settle(self, epoch: Epoch, batch: Batch) -> None:
        self.turns.durable = epoch.number
        for leave in epoch.after:
            leave()
        self.committed(epoch, batch)
        self._crash_point("after_effects")
        self._forget(epoch.cells)
