"""A failing run in words: what it takes to make it fail, and how one thing led to the other."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.sim.case import Happening, Result
from runtime.sim.compare import Parting, in_words, told_chain
from runtime.sim.faults import KINDS
from runtime.sim.luck import WAITS
from runtime.sim.sites import Sort, sort_of, what_of, whose
from runtime.sim.trace import clock, length, plain

_STEPS_MAX = 8


def steps(result: Result, most: int = _STEPS_MAX) -> tuple[str, ...]:
    """Every choice of a recorded run that is not the calm one, in the order in which it happened;
    those past `most` are counted."""
    by_key: dict[str, Happening] = {}
    for happening in result.happenings:
        if happening.key:
            by_key.setdefault(happening.key, happening)
    keys = sorted(result.choices, key=lambda key: (by_key[key].n if key in by_key else 0, key))
    told = [_step(key, result.choices[key], by_key.get(key)) for key in keys[:most]]
    if len(keys) > most:
        told.append(f"and {len(keys) - most} smaller ones, which the case names")
    return tuple(told)


def _step(key: str, value: int, happening: Happening | None) -> str:
    when = f" (#{happening.n}, {clock(happening.at)})" if happening is not None else ""
    actor = plain(whose(key))
    match sort_of(key):
        case Sort.FAULT:
            kind = what_of(key)
            detail = f": {plain(happening.detail)}" if happening and happening.detail else ""
            return f"{KINDS.get(kind, plain(kind))}{detail}{when}, {actor}"
        case Sort.LATENCY:
            wait = length(WAITS[min(value, 63)])
            return f"{plain(what_of(key))} of {actor} takes {wait} longer than it must{when}"
        case Sort.ORDER:
            with_ = f" with {plain(happening.what)}" if happening is not None else ""
            return f"{actor} is held back{with_}{when}"
        case Sort.VALUE:
            return f"{plain(key)} = {value}{when}"


def how_it_came(happenings: Sequence[Happening], n: int) -> str:
    """The chain of causes that ends in event `n`, on one line."""
    return " -> ".join(
        f"#{h.n} {plain(h.what)}{' (fault)' if h.fault else ''}" for h in told_chain(happenings, n)
    )


def parted(parting: Parting | None) -> str:
    """Where a failing run leaves one that passes."""
    if parting is None:
        return ""
    return f"event {parting.n}, {in_words(parting.one)}; there: {in_words(parting.other)}"
