"""Two runs side by side, and one run backwards: where they part, and how an event came about."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import msgspec

from runtime.sim.case import Happening
from runtime.sim.trace import clock, moved, plain

_MORE_MAX = 60
_CHAIN_MAX = 7  # events of a chain that a report shows


class Parting(msgspec.Struct, frozen=True):
    """The first event that differs between two runs; None on the side that has already ended."""

    n: int
    one: Happening | None
    other: Happening | None
    differs: tuple[str, ...]
    """Fields that differ, where both have an event."""


def first_difference(one: Sequence[Happening], other: Sequence[Happening]) -> Parting | None:
    """Where two runs part; None if they never do."""
    for a, b in zip_longest(one, other):
        if a == b:
            continue
        at = a or b
        assert at is not None
        return Parting(at.n, a, b, _differing(a, b))
    return None


def _differing(a: Happening | None, b: Happening | None) -> tuple[str, ...]:
    if a is None or b is None:
        return ()
    return tuple(
        name for name in Happening.__struct_fields__ if getattr(a, name) != getattr(b, name)
    )


def in_words(happening: Happening | None) -> str:
    """One event as a phrase."""
    if happening is None:
        return "nothing, it has ended"
    more = plain(moved(happening) or happening.detail)
    tail = f" ({more if len(more) <= _MORE_MAX else more[:_MORE_MAX] + '...'})" if more else ""
    return f"{plain(happening.actor)} {plain(happening.what)}{tail} at {clock(happening.at)}"


def ancestry(happenings: Sequence[Happening], n: int) -> dict[int, Happening]:
    """The event `n` and everything that led to it, by number, in order."""
    by_n = {happening.n: happening for happening in happenings}
    found: dict[int, Happening] = {}
    ahead = [n]
    while ahead:
        happening = by_n.get(ahead.pop())
        if happening is not None and happening.n not in found:
            found[happening.n] = happening
            ahead.extend(happening.causes)
    return dict(sorted(found.items()))


def chain(happenings: Sequence[Happening], n: int) -> list[Happening]:
    """One way from the beginning to event `n`: at each step back to the latest of its causes. Where
    that would pass a fault by, the fault is taken."""
    by_n = {happening.n: happening for happening in happenings}
    found: list[Happening] = []
    at = by_n.get(n)
    while at is not None:
        found.append(at)
        causes = [by_n[c] for c in at.causes if c in by_n and c < at.n]
        at = max(causes, key=lambda c: (c.fault, c.n)) if causes else None
    return found[::-1]


def told_chain(happenings: Sequence[Happening], n: int, most: int = _CHAIN_MAX) -> list[Happening]:
    """The chain with what says least left out: first, last, faults and changes of state stay."""
    whole = chain(happenings, n)
    if len(whole) <= most:
        return whole
    telling = [h for h in whole[1:-1] if h.fault or h.edges]
    rest = telling[-(most - 2) :]
    return [whole[0], *rest, whole[-1]]
