"""A failing run in words: what it takes to make it fail, and how one thing led to the other."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.sim.case import Happening, Result
from runtime.sim.compare import Parting, in_words, told_chain
from runtime.sim.faults import KINDS
from runtime.sim.luck import WAITS
from runtime.sim.sites import Sort, sort_of, what_of, whose
from runtime.sim.trace import clock, length, plain


def order(result: Result) -> list[str]:
    """Every choice of a recorded run that is not the calm one: faults first, then the others, each
    in the order in which they happened."""
    places = places_of(result.happenings)
    return sorted(
        result.choices, key=lambda key: (sort_of(key) is not Sort.FAULT, places.get(key, 0), key)
    )


def places_of(happenings: Sequence[Happening]) -> dict[str, int]:
    """The first happening of each choice."""
    return {h.key: h.n for h in reversed(happenings) if h.key}


def steps(result: Result) -> tuple[str, ...]:
    """The same in words."""
    first = {h.key: h for h in reversed(result.happenings) if h.key}
    return tuple(_step(key, result.choices[key], first.get(key)) for key in order(result))


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
        case Sort.VALUE if key.startswith("maybe/"):
            return f"{actor}{when}"
        case Sort.VALUE if key.startswith("choose/"):
            return f"{actor}: option {value}{when}"
        case Sort.VALUE:
            return f"{plain(key)} = {value}{when}"


def how_it_came(happenings: Sequence[Happening], n: int) -> str:
    """The chain of causes that ends in event `n`, on one line; empty where there is none."""
    told = told_chain(happenings, n)
    if len(told) < 2:
        return ""
    return " -> ".join(f"#{h.n} {plain(h.what)}{' (fault)' if h.fault else ''}" for h in told)


def parted(parting: Parting | None) -> str:
    """Where a failing run leaves one that passes."""
    if parting is None:
        return ""
    return f"event {parting.n}, {in_words(parting.one)}; there: {in_words(parting.other)}"
