"""The kernel without an event loop: what one owner has in memory, and how its epochs are committed.

The supervisor drives it with an event loop and real time, the simulation by hand and virtual time:
what is a coroutine here awaits the store and `pause`, and nothing else.

Invariants:
1. One epoch is in flight at most; while it syncs, the next one fills.
2. `settle` runs only for an epoch known to be committed: replies, processes, events leave there.
3. A COMMIT of unknown outcome stops the turns until the store was read back; a second one in a row
   ends the owner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from actors.messages import TimerFired
from runtime.cell import Cell, suspension
from runtime.epoch import Epoch
from runtime.errors import RuntimeStopped, UnknownActor
from runtime.inbox import Envelope
from runtime.limits import (
    CELLS_MAX,
    CLOSING_TRIES_MAX,
    DEAD_LETTERS_KEPT_MAX,
    DISK_RETRY_S,
    EPOCH_INPUTS_MAX,
    EPOCH_ROWS_MAX,
    READ_BACK_MAX,
)
from runtime.rollback import Rollback
from runtime.seal import book, seal
from runtime.seed import DISPATCH, dispatch_kind
from runtime.store import Batch, CommitUnknown, ConstraintFailed, TryAgain
from runtime.turns import Turns

if TYPE_CHECKING:
    from actors.messages import Enqueue
    from runtime.clock import Clock
    from runtime.kinds import Kind
    from runtime.log import Log
    from runtime.store import Store, Stored

_TABLES_OF_MANY = frozenset({"tasks", "actors"})


class Kernel:
    """Every cell of one state directory, and the way of their epochs into the store."""

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
        self.crash_point = crash_point
        self.stopped: RuntimeStopped | None = None
        self.holding = False  # nothing new is started any more
        self.trouble: str | None = None  # what keeps the store from committing, while it does
        self.waiting: set[Callable[[BaseException], None]] = set()  # to fail if the runtime stops
        self.in_flight: Epoch | None = None
        self.halted = False
        self.closing = False  # no turn is taken any more
        # Whoever assembles the kernel sets these.
        self.committed: Callable[[Epoch, Batch], None] = lambda _epoch, _batch: None
        self.on_stop: Callable[[], None] = lambda: None
        self.rebuild_index: Callable[[frozenset[str]], None] = lambda _unspoken: None
        self.queued: Callable[[], Iterable[Enqueue]] = tuple  # tasks that wait for a slot
        self.rollback = Rollback(self)
        self.asleep = False  # some that have not ended are in the store only
        self._revived: set[str] = set()  # read back from the store for a late message

    def wake(self) -> None:
        """There is something to do."""

    async def pause(self, seconds: float) -> None:
        """Returns after so many seconds."""
        raise NotImplementedError

    # --- from outside --------------------------------------------------------------------------

    def hold_starts(self) -> None:
        """Takes the dispatcher away: no task or gate is started any more by this owner."""
        self.holding = True
        self.router.cells[DISPATCH].decide = dispatch_kind(None).decide

    def report(self, address: str, message: Any) -> None:
        """An outcome from the shell. Kept until durable; only on the event loop's thread."""
        self.router.offer(Envelope(address, message, kept=True))

    def bury(self, to: str, message: Any, reason: str) -> None:
        """Records a dead letter; the first of them are told to operators too."""
        self.router.bury(to, message, reason)
        if self.router.dead_letters_total <= DEAD_LETTERS_KEPT_MAX:
            self.log.warning("dead_letter", to=to, message=type(message).__name__, why=reason)

    def raise_if_stopped(self) -> None:
        """Raises RuntimeStopped once the owner's life is over."""
        if self.stopped is not None:
            raise self.stopped

    def is_calm(self) -> bool:
        """Nothing is ready, uncommitted or to be read: only the outside or a clock can go on."""
        due = self.turns.timers.next_due()
        if due is not None and due <= self.clock.now():
            return False
        return self.is_settled() and not self.rollback.pending

    def is_settled(self) -> bool:
        """Nothing is ready, uncommitted or to be read, whatever the clock says."""
        return not (
            self.router.has_ready or self.router.absent or self.in_flight or self.turns.open.dirty
        )

    # --- the next step --------------------------------------------------------------------------

    def is_due(self) -> bool:
        """Whether the open epoch is to be committed: its chain is at the end, or it is large."""
        epoch = self.turns.open
        if self.in_flight is not None or self.halted:
            return False
        if self.router.ready and len(epoch.entries) < EPOCH_ROWS_MAX // 4 and not self._full():
            return False
        if not epoch.dirty:
            epoch.forget()
            return False
        return True

    def may_take(self) -> bool:
        """Whether a turn may be taken now."""
        return self.router.has_ready and not self.halted and not self._full()

    def _full(self) -> bool:
        epoch = self.turns.open
        return len(epoch.entries) >= EPOCH_ROWS_MAX or epoch.inputs >= EPOCH_INPUTS_MAX

    def book_ahead(self) -> None:
        """While an epoch is written, chains what the next one has decided so far: done now, it need
        not be waited for at its seal."""
        if self.in_flight is not None and not self.halted:
            with suppress(ConstraintFailed):  # its seal finds the same, and knows what to do
                book(self.turns.open, self.store, self._phase_of)

    def fire_due(self) -> None:
        """Offers what the clock has made due, the earliest first."""
        now = self.clock.now()
        for timer in self.turns.timers.pop_due(now):
            message = TimerFired(timer.key, late_s=max(0.0, round(now - timer.due, 3)))
            self.router.offer(Envelope(timer.cell.address, message, kept=True, timer=timer))

    def rest(self) -> None:
        """Nothing is to be done for now: who was read back for a late message may leave again."""
        if self._revived:
            found = [self.router.cells.get(address) for address in self._revived]
            self._revived.clear()
            self.forget(cell for cell in found if cell is not None)

    async def read_absent(self) -> None:
        """Looks in the store for those to whom something was sent and who are not in memory."""
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

    def forget(self, cells: Iterable[Cell]) -> None:
        """An actor leaves memory once it has nothing to do and all of it is durable: when it has
        ended, or, of the kinds that come in millions, when there are too many. A message brings it
        back."""
        crowded = len(self.router.cells) > CELLS_MAX
        for cell in cells:
            # One that fails is counted here: asleep, it would never be found to be broken.
            if cell.dirty or cell.scheduled or cell.suspended or cell.failures:
                continue
            if cell.ended:
                self.router.cells.pop(cell.address, None)
            elif crowded and not cell.timers and cell.kind.table in _TABLES_OF_MANY:
                self.router.cells.pop(cell.address, None)
                self.asleep = True

    async def wake_all(self) -> None:
        """Every unfinished actor is in memory again: for whoever has to speak to each of them."""
        if self.asleep:
            async for page in self.store.unfinished():
                for stored in page:
                    known = stored.kind in self.turns.kinds  # else it waits for its program
                    if known and stored.address not in self.router.cells:
                        self.adopt(stored)
            self.asleep = False

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

    # --- committing ----------------------------------------------------------------------------

    async def commit_open(self) -> None:
        """Commits what was decided so far; turns go on in a new epoch meanwhile."""
        epoch = self.turns.open
        self.turns.open = Epoch(epoch.number + 1)
        self.in_flight = epoch
        await self._commit_one(epoch)
        self.in_flight = None

    async def _commit_one(self, epoch: Epoch) -> None:
        try:
            batch = seal(epoch, self.store, self._phase_of)
        except ConstraintFailed as error:
            self.store.discard()
            await self._undo(epoch, str(error))
            return
        self.crash_point("before_commit")
        try:
            await self._write(epoch, batch)
        except ConstraintFailed as error:
            await self._undo(epoch, str(error))
            return
        if self.trouble is not None:
            self.trouble = None
            self.log.info("committed_again")
        self.crash_point("after_commit")
        self.settle(epoch, batch)

    async def _write(self, epoch: Epoch, batch: Batch) -> None:
        """Returns once the batch is durable. Raises ConstraintFailed, and what ends the runtime."""
        unknown: CommitUnknown | None = None
        tries_closing = 0
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
                tries_closing += self.closing
                if tries_closing >= CLOSING_TRIES_MAX:
                    why = f"it closed before its last epoch could be committed: {error}"
                    raise self.stop(why) from error
                await self.pause(DISK_RETRY_S)
            except CommitUnknown as error:
                if unknown is not None:
                    raise self.stop(f"two commits in a row failed: {error}") from error
                unknown = error
                self.log.warning("commit_unknown", why=str(error))
            else:
                return

    async def _undo(self, epoch: Epoch, why: str) -> None:
        self.halted = True
        await self.rollback.undo(epoch, why)
        self.halted = False

    async def _was_written(self, epoch: Epoch, batch: Batch) -> bool:
        self.halted = True
        head = await self.store.reopen()
        written = await self._is_there(epoch, batch, head)
        self.halted = False
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
        self.halted = True
        self.stopped = RuntimeStopped(why)
        self.router.refuse(self.stopped)
        if not orderly:
            self.log.error("stopped", why=why)
        for fail in list(self.waiting):
            fail(self.stopped)
        self.on_stop()
        return self.stopped

    def settle(self, epoch: Epoch, batch: Batch) -> None:
        """The epoch is durable: what waited behind it leaves, in order."""
        self.turns.durable = epoch.number
        for leave in epoch.after:
            leave()
        self.committed(epoch, batch)
        self.crash_point("after_effects")
        self.forget(epoch.cells)
