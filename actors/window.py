"""Sliding windows over the results of calls, as small values that encode to JSON.

Invariants:
1. A window of calls is a string of at most `size` letters, one of time at most WINDOW_SLICES + 1
   slices: neither grows with the traffic.
2. Booking what changes nothing (a good call into a full window of good calls) gives the same value.
3. A call is booked where it began. One that began before the window does not count at all.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from actors.spec import Breaker as BreakerSpec

# The stored window stays a short string: a share of a thousand calls is exact enough.
WINDOW_CALLS_MAX = 1_000

# A time window moves by a tenth of itself: few numbers to store, whatever the traffic.
WINDOW_SLICES = 10

# (number of the slice, calls, failures, slow calls)
Slice = tuple[int, int, int, int]


class Window(msgspec.Struct, frozen=True):
    """`ring` is a letter a call, oldest first: "." good, "s" slow, "f" failed, "b" both."""

    ring: str = ""
    slices: tuple[Slice, ...] = ()


EMPTY = Window()


class Tally(NamedTuple):
    """What a window holds now."""

    calls: int
    failures: int
    slow: int


def booked(
    window: Window, spec: BreakerSpec, began: float, now: float, *, failed: bool, slow: bool
) -> Window:
    """The window with one more result in it."""
    if spec.window == "count":
        letter = ("b" if slow else "f") if failed else ("s" if slow else ".")
        ring = (window.ring + letter)[-spec.size :]
        return window if ring == window.ring else Window(ring)
    first, last = _span(spec, now)
    number = math.floor(began / _slice_s(spec))
    if not first <= number <= last:
        return window
    kept = {s[0]: s for s in window.slices if s[0] >= first}
    _, calls, failures, slows = kept.get(number, (number, 0, 0, 0))
    kept[number] = (number, calls + 1, failures + failed, slows + slow)
    return Window("", tuple(kept[n] for n in sorted(kept)))


def tally(window: Window, spec: BreakerSpec, now: float) -> Tally:
    """The results that stand in the window at `now`."""
    if spec.window == "count":
        ring = window.ring
        both = ring.count("b")
        return Tally(len(ring), ring.count("f") + both, ring.count("s") + both)
    first, _ = _span(spec, now)
    live = [s for s in window.slices if s[0] >= first]
    return Tally(sum(s[1] for s in live), sum(s[2] for s in live), sum(s[3] for s in live))


def _slice_s(spec: BreakerSpec) -> float:
    return spec.size / WINDOW_SLICES


def _span(spec: BreakerSpec, now: float) -> tuple[int, int]:
    last = math.floor(now / _slice_s(spec))
    return last - WINDOW_SLICES, last
