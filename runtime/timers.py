"""All timers of all actors in one heap, with one wake-up of the loop.

Invariants:
1. A timer is due for delivery only while its cell still holds that very object under its key, so
   one that was replaced or cancelled is never delivered, even if its message is already queued.
2. A durable timer is a part of its actor's row; a volatile one is not stored.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from runtime.cell import Cell

_SWEEP_MIN = 1024


class Timer(msgspec.Struct, eq=False):
    """One armed timer of one cell."""

    cell: Cell
    key: str
    due: float
    volatile: bool

    @property
    def armed(self) -> bool:
        """False once it was replaced, cancelled or delivered."""
        timers = self.cell.timers
        return timers is not None and timers.get(self.key) is self


class Timers:
    """The heap. Dead entries are skipped when they surface, and swept when they outnumber."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._sweep_at = _SWEEP_MIN

    def arm(self, cell: Cell, key: str, due: float, *, volatile: bool) -> Timer:
        """Replaces the one of the same key, if there is one."""
        timer = Timer(cell, key, due, volatile)
        if cell.timers is None:
            cell.timers = {}
        cell.timers[key] = timer
        heapq.heappush(self._heap, (due, next(self._order), timer))
        if len(self._heap) > self._sweep_at:
            self._sweep()
        return timer

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].armed]
        heapq.heapify(self._heap)
        # Twice what is live: each sweep is paid for by as many arms.
        self._sweep_at = max(_SWEEP_MIN, 2 * len(self._heap))

    def next_due(self) -> float | None:
        """The earliest instant at which an armed timer is due."""
        heap = self._heap
        while heap and not heap[0][2].armed:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop_due(self, now: float) -> list[Timer]:
        """The armed timers due at `now`, in order of due time, then of arming."""
        due = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            timer = heapq.heappop(heap)[2]
            if timer.armed:
                due.append(timer)
        return due

    def __len__(self) -> int:
        """How many are in the heap, dead ones that have not surfaced included."""
        return len(self._heap)
