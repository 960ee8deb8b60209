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

from runtime.errors import RuntimeStopped
from runtime.inbox import Envelope

if TYPE_CHECKING:
    from runtime.cell import Cell
    from runtime.epoch import Epoch
    from runtime.supervisor import Supervisor

Item = Envelope | tuple[str, Any]


class Rollback:
    """What is to be offered again, and how much of it at a time."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._sup = supervisor
        self._again: deque[Item] = deque()
        self._chunk = 1

    @property
    def pending(self) -> bool:
        """Whether items are still to be offered, and the outside is held back."""
        return self._sup.router.held is not None

    async def undo(self, failed: Epoch, why: str) -> None:
        """Discards the failed epoch and the open one. Turns stand still meanwhile."""
        turns, router = self._sup.turns, self._sup.router
        if router.held is None:
            router.held = []
        discarded = turns.open
        turns.open = type(discarded)(discarded.number + 1)
        for epoch in (failed, discarded):
            for envelope in epoch.sent:
                envelope.taken = True
        touched = {c.address: c for c in (*failed.cells, *discarded.cells)}
        waiting = router.take_back()
        items = [
            *self._to_repeat([*failed.consumed, *discarded.consumed], touched, retaken=True),
            *self._to_repeat(waiting, touched, retaken=False),
        ]
        for address in touched:
            router.cells.pop(address, None)
        found = await self._sup.store.load_many(list(touched))
        for address, before in touched.items():
            volatile = [t for t in (before.timers or {}).values() if t.volatile]
            before.timers = None  # what is still in the heap for it is dead
            if address in found:
                cell = self._sup.adopt(found[address])
                cell.suspended = before.suspended
                for timer in volatile:
                    turns.timers.arm(cell, timer.key, timer.due, volatile=True)
        turns.watchers = await self._sup.store.watches()
        self._sup.rebuild_index()
        self._again.extendleft(reversed(items))
        consumed = len(failed.consumed)
        if consumed == 0:
            raise self._sup.stop(f"the store refuses what nothing from outside caused: {why}")
        if consumed == 1:
            culprit = failed.consumed[0]
            if self._again and self._again[0] is culprit:
                self._again.popleft()
            self._bury(culprit, why)
        self._chunk = max(1, consumed // 2)

    def _to_repeat(
        self, items: list[Item], touched: dict[str, Cell], *, retaken: bool
    ) -> list[Item]:
        repeat: list[Item] = []
        for item in items:
            if isinstance(item, tuple):
                repeat.append(item)
                continue
            timer = item.timer
            if timer is not None and timer.cell.address in touched:
                # A durable one comes back with its row, and is overdue at once. A volatile one
                # that was consumed is put back beside the others of its cell.
                if retaken and timer.volatile:
                    timers = timer.cell.timers = timer.cell.timers or {}
                    timers.setdefault(timer.key, timer)
                continue
            if retaken:
                item.taken = False
            repeat.append(item)
        return repeat

    def _bury(self, item: Item, why: str) -> None:
        sup = self._sup
        to, message = item if isinstance(item, tuple) else (item.to, item.item)
        sup.router.bury(to, message, why)
        if isinstance(item, Envelope):
            item.taken = True
            if item.row:
                sup.turns.open.rows_gone.append(item.row)
            if item.reply is not None:
                item.reply.fail(RuntimeStopped(f"the store refused what this led to: {why}"))
        cell = sup.router.cells.get(to)
        if cell is not None and cell.kind.table:
            reason = f"{type(message).__name__} led to what the store refuses: {why}"
            sup.turns.suspend(cell, reason, sup.clock.now())

    def offer_again(self) -> None:
        """The next items, once everything before them is committed."""
        router = self._sup.router
        if not self._again:
            held, router.held = router.held or [], None
            self._again.extend(held)
            self._chunk = len(held)
        for _ in range(min(self._chunk, len(self._again))):
            item = self._again.popleft()
            router.post(item if isinstance(item, Envelope) else Envelope(*item, kept=True))
        self._chunk *= 2
