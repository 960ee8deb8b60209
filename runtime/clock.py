"""The kernel's clock: seconds since the Unix epoch that never go back, and a way to be woken.

Invariants:
1. `now()` never decreases within one owner, whatever is done to the wall clock: it is the wall
   clock read once, plus what the boot-time clock has counted since (suspended time included).
2. A new owner starts no earlier than the last instant on record.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Protocol

# Suspended time counts: a laptop that slept through a deadline has missed it.
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """What the kernel needs of time."""

    def now(self) -> float:
        """Seconds since the Unix epoch, rounded to microseconds; never goes back."""

    def start(self, not_before: float) -> None:
        """Called once by the owner: `now()` is at least `not_before` from here on."""

    def wake_at(self, due: float, wake: Callable[[], None]) -> Callable[[], None]:
        """Calls `wake` on the event loop once `now() >= due`. Returns the way to call it off."""

    def idle(self) -> bool:
        """The kernel has nothing to do before the next due time. True if time was moved on."""


class SystemClock:
    """Real time."""

    def __init__(self) -> None:
        self._offset = time.time() - time.clock_gettime(_BOOT)

    def now(self) -> float:
        return round(self._offset + time.clock_gettime(_BOOT), 6)

    def start(self, not_before: float) -> None:
        self._offset += max(0.0, not_before - self.now())

    def wake_at(self, due: float, wake: Callable[[], None]) -> Callable[[], None]:
        loop = asyncio.get_running_loop()
        # A loop timer counts CLOCK_MONOTONIC, which stands still in suspend: waking at least once a
        # minute bounds by how much a deadline that passed in suspend is late.
        return loop.call_later(min(max(due - self.now(), 0.0), 60.0), wake).cancel

    def idle(self) -> bool:
        return False


class VirtualClock:
    """Time for tests and simulations: it stands still until the kernel is idle, then jumps to the
    next due time (`autojump`), or until `advance` is called."""

    def __init__(self, start: float = 1_000_000.0, *, autojump: bool = True) -> None:
        self._now = start
        self._autojump = autojump
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._off: set[int] = set()

    def now(self) -> float:
        return self._now

    def start(self, not_before: float) -> None:
        self._now = max(self._now, not_before)

    def wake_at(self, due: float, wake: Callable[[], None]) -> Callable[[], None]:
        number = next(self._order)
        heapq.heappush(self._due, (due, number, wake))
        return lambda: self._off.add(number)

    def idle(self) -> bool:
        if not self._autojump:
            return False
        while self._due:
            due, number, wake = heapq.heappop(self._due)
            if number in self._off:
                self._off.discard(number)
                continue
            self._now = max(self._now, due)
            wake()
            return True
        return False

    def advance(self, seconds: float) -> None:
        """Moves time on by `seconds` and wakes whatever came due on the way, in order."""
        target = self._now + seconds
        while self._due and self._due[0][0] <= target:
            due, number, wake = heapq.heappop(self._due)
            if number in self._off:
                self._off.discard(number)
                continue
            self._now = max(self._now, due)
            wake()
        self._now = target
