"""An epoch that the store refused: undone in memory, and what it consumed offered again.

Invariants:
1. Nothing of the discarded epochs is left: their messages are void, every cell that they touched
   is read again from the store, none of their effects left.
2. What they consumed is offered again in the old order, before anything newer; what arrives
   meanwhile from outside waits.
3. It is offered in halves. An epoch that fails after consuming one item has found its culprit:
   that item becomes a dead letter, its actor is suspended with the reason, the rest goes on.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from actors.messages import Recovered
from runtime.epoch import Epoch
from runtime.errors import TurnFailed
from runtime.inbox import Envelope
from runtime.watches import Watches

if TYPE_CHECKING:
    from runtime.kernel import Kernel

Item = Envelope | tuple[str, Any]


class Rollback:
    """What is to be offered again, and how much of it at a time."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._again: deque[Item] = deque()
        self._chunk = 1

    @property
    def pending(self) -> bool:
        """Whether items are still to be offered, and the outside is held back."""
        return self._kernel.router.held is not None

    async def undo(self, failed: Epoch, why: str) -> None:
        """Discards the failed epoch and the open one. Turns stand still meanwhile."""
        turns, router = self._kernel.turns, self._kernel.router
        if router.held is None:
            router.held = []
        discarded = turns.open
        turns.open = Epoch(discarded.number + 1)
        items = self._to_repeat((failed, discarded))
        await self._read_again((failed, discarded))
        turns.watches = Watches(await self._kernel.store.watches())
        for target in list(turns.watches):
            cell = router.cells.get(target)
            if cell is not None and cell.ended:
                turns.tell_watchers(cell)  # what told them was discarded
        await self._kernel.wake_all()
        self._again.extendleft(reversed([item for item in items if self._is_valid(item)]))
        unspoken = self._recovered_first()
        self._kernel.rebuild_index(unspoken)
        consumed = len(failed.consumed)
        if consumed == 0:
            raise self._kernel.stop(f"the store refuses what nothing from outside caused: {why}")
        if consumed == 1:
            culprit = failed.consumed[0]
            self._again = deque(item for item in self._again if item is not culprit)
            self._bury(culprit, why)
        self._chunk = max(1, consumed // 2)

    def _recovered_first(self) -> frozenset[str]:
        """Of those to whom a new owner has not spoken yet, `Recovered` comes before all else, also
        before an answer to what another half of the items brings about. Returns who they are."""
        first: dict[str, Envelope] = {}
        rest: list[Item] = []
        for item in self._again:
            if isinstance(item, Envelope) and isinstance(item.item, Recovered):
                first[item.to] = item
            else:
                rest.append(item)
        self._again = deque((*first.values(), *rest))
        self._kernel.router.unspoken = first
        return frozenset(first)

    def _to_repeat(self, epochs: tuple[Epoch, ...]) -> list[Item]:
        """What the epochs consumed, then what waited in inboxes, without what the epochs sent."""
        sent = [envelope for epoch in epochs for envelope in epoch.sent]
        for envelope in sent:
            envelope.taken = True
        void = {id(envelope) for envelope in sent}
        retaken: list[Item] = []
        for item in (item for epoch in epochs for item in epoch.consumed):
            if isinstance(item, Envelope):
                if id(item) in void:
                    continue
                item.taken = False
            retaken.append(item)
        # A told message that was on its way into a row when its epoch failed waits as before.
        told = [envelope for envelope in sent if envelope.kept]
        for envelope in told:
            envelope.taken = False
        # What is neither kept nor stored is for the dispatcher, or from its announcement: the index
        # is built anew.
        waiting = [
            item
            for item in self._kernel.router.take_back()
            if isinstance(item, tuple) or item.kept or item.row
        ]
        return [*retaken, *told, *waiting]

    async def _read_again(self, epochs: tuple[Epoch, ...]) -> None:
        """Every cell that the epochs touched, as the store has it; volatile timers, which the store
        does not have, as they were before the epochs."""
        turns, router = self._kernel.turns, self._kernel.router
        made = [timer for epoch in epochs for timer in epoch.volatile_new]
        for timer in made:
            if timer.armed and timer.cell.timers:
                del timer.cell.timers[timer.key]
        of_now = {id(timer) for timer in made}
        back = [t for epoch in epochs for t in epoch.volatile_gone if id(t) not in of_now]
        touched = {cell.address: cell for epoch in epochs for cell in epoch.cells}
        for address, cell in touched.items():
            router.cells.pop(address, None)
            back += [timer for timer in (cell.timers or {}).values() if timer.volatile]
            cell.timers = None  # what is still in the heap for it is dead
        for stored in (await self._kernel.store.load_many(list(touched))).values():
            self._kernel.adopt(stored)
        for timer in back:
            holder = router.cells.get(timer.cell.address)
            if holder is not None:
                turns.timers.arm(holder, timer.key, timer.due, volatile=True)

    def _is_valid(self, item: Item) -> bool:
        """False for a timer that is not armed any more. One that is keeps its place in the order:
        its envelope is pointed at the timer that its actor holds now."""
        timer = item.timer if isinstance(item, Envelope) else None
        if timer is None:
            return True
        assert isinstance(item, Envelope)
        cell = self._kernel.router.cells.get(timer.cell.address)
        item.timer = (cell.timers or {}).get(timer.key) if cell is not None else None
        return item.timer is not None and item.timer.due == timer.due

    def _bury(self, item: Item, why: str) -> None:
        kernel = self._kernel
        to, message = item if isinstance(item, tuple) else (item.to, item.item)
        cause = f"the store refuses what it led to: {why}"
        kernel.bury(to, message, cause)
        if isinstance(item, Envelope):
            item.taken = True
            if item.row:
                kernel.turns.open.rows_gone.append(item.row)
            if item.outbox:
                kernel.turns.open.outbox_gone.append(item.outbox)
            if item.reply is not None:
                item.reply.fail(TurnFailed(to, cause))
        cell = kernel.router.cells.get(to)
        if cell is not None and cell.kind.table and cell.suspended is None:
            reason = f"{type(message).__name__} led to what the store refuses: {why}"
            kernel.turns.suspend(cell, reason, kernel.clock.now())

    def take_back(self) -> list[Item]:
        """What still waits to be offered again: this owner will not."""
        again, self._again = [*self._again, *(self._kernel.router.held or ())], deque()
        self._kernel.router.held = None
        return again

    def offer_again(self) -> None:
        """The next items, once everything before them is committed."""
        router = self._kernel.router
        if not self._again:
            held, router.held = router.held or [], None
            self._again.extend(held)
            self._chunk = len(held)
        for _ in range(min(self._chunk, len(self._again))):
            item = self._again.popleft()
            router.post(item if isinstance(item, Envelope) else Envelope(*item, kept=True))
        self._chunk *= 2
