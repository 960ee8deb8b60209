"""Which of the actors with messages takes the next turn: one pool, and a rule for each strategy.

Every entry gets a small number when it becomes ready; 0 keeps first come, first served. A strategy
is the way in which that number is drawn, and what it means:

clock  the entry waits for so many ticks of the pool: fifo, timed, random, urw, delay. For random
       the ticks are exponential: as that has no memory, the next one is any of those that are
       ready, all alike likely, and still each draw belongs to one actor's one turn.
rank   the lowest number goes first, whoever came when: pos, pct.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from math import log
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from runtime.sim.choices import Choices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.cell import Cell

STRATEGIES: Final = ("fifo", "timed", "random", "pct", "pos", "urw", "delay")
# Ticks of an exponential wait, by eight bits of chance: 32 on the average, 200 at the most.
_WAITS: Final = tuple(round(-32.0 * log((n + 0.5) / 256.0)) for n in range(256))


class Line(deque["Cell"]):
    """What is ready, first come, first served: the pool where nothing is drawn."""

    __slots__ = ()

    pop = deque.popleft  # as the pool's: whose turn it is


class Pool:
    """What is ready. It stands in the router's place of its run queue, and has as much of a deque
    as the kernel uses."""

    __slots__ = ("_choices", "_order", "_rule", "_sites", "clock", "heap")

    def __init__(self, choices: Choices, rule: Rule) -> None:
        self.heap: list[tuple[int, int, Cell]] = []
        self.clock = 0
        self._choices = choices
        self._order = 0
        self._rule = rule
        self._sites: dict[str, list[Any]] = {}

    def append(self, cell: Cell) -> None:
        """The cell has something to take."""
        self._order = order = self._order + 1
        rule = self._rule
        address = cell.address
        site = self._sites.get(address)
        if site is None:
            text = f"order/{address}"
            site = self._sites[address] = [crc32(f"{text}/".encode()), text, 0]
        site[2] = n = site[2] + 1
        choices = self._choices
        value = rule.value(choices.draw(site[0], site[1], n), address, n)
        if value or choices.overrides:
            value = choices.settle(site[0], site[1], n, value)
        heappush(self.heap, (value if rule.rank else self.clock + value, order, cell))

    def pop(self) -> Cell:
        """Whose turn it is."""
        key, _, cell = heappop(self.heap)
        rule = self._rule
        if rule.rank:
            rule.taken(self)
        else:
            self.clock = key
        return cell

    def clear(self) -> None:
        self.heap.clear()

    def __len__(self) -> int:
        return len(self.heap)


class Rule:
    """First come, first served; the others extend it."""

    rank = False

    def value(self, drawn: int, address: str, n: int) -> int:
        """The number of an entry, from 64 bits of chance."""
        return 0

    def taken(self, pool: Pool) -> None:
        """An entry was taken out."""


class _Random(Rule):
    def value(self, drawn: int, address: str, n: int) -> int:
        return _WAITS[drawn & 255]


class _Weighted(Rule):
    """Uniform over whole interleavings: whoever has most left to do goes more often. How much that
    is, a calm run has counted."""

    def __init__(self, turns: Mapping[str, int]) -> None:
        self._turns = turns

    def value(self, drawn: int, address: str, n: int) -> int:
        left = max(1, self._turns.get(address, 1) - n)
        return _WAITS[drawn & 255] * 8 // left


class _Delay(Rule):
    """First come, first served, but for at most `depth` entries that are held back."""

    def __init__(self, depth: int, horizon: int) -> None:
        self._left = depth
        self._every = max(1, horizon // max(1, depth))

    def value(self, drawn: int, address: str, n: int) -> int:
        if self._left and drawn % self._every == 0:
            self._left -= 1
            return 1 + (drawn >> 40) % 31
        return 0


class _Pos(Rule):
    """A random priority for each entry; drawn anew for each turn of an actor."""

    rank = True

    def value(self, drawn: int, address: str, n: int) -> int:
        return drawn & 1023


class _Pct(Rule):
    """A fixed priority for each actor, and `depth - 1` instants at which the first one falls behind
    all others; once the horizon is past, fair."""

    rank = True

    def __init__(self, choices: Choices, depth: int, horizon: int) -> None:
        self._seed = choices
        self._depth = depth
        self._fair = 2 * horizon
        self._ranks: dict[str, int] = {}
        self._steps = 0
        falls = (choices.below(f"order.fall/{n}", horizon + 1) for n in range(1, depth))
        self._falls = {step: n for n, step in enumerate(falls) if step}

    def value(self, drawn: int, address: str, n: int) -> int:
        if self._steps > self._fair:
            return drawn & 1023
        rank = self._ranks.get(address)
        if rank is None:
            rank = self._ranks[address] = drawn & 1023
        return rank

    def taken(self, pool: Pool) -> None:
        self._steps += 1
        fall = self._falls.pop(self._steps, None)
        if fall is not None and pool.heap:
            _, order, cell = heappop(pool.heap)
            self._ranks[cell.address] = 1024 + fall
            heappush(pool.heap, (1024 + fall, order, cell))


def rule_of(
    strategy: str, depth: int, choices: Choices, horizon: int, turns: Mapping[str, int]
) -> Rule:
    """The rule of a strategy. `horizon` and `turns` are what a calm run took, in all and by actor:
    pct, urw and delay ask for them."""
    match strategy:
        case "fifo" | "timed":
            return Rule()
        case "random":
            return _Random()
        case "urw":
            return _Weighted(turns)
        case "delay":
            return _Delay(depth, horizon)
        case "pos":
            return _Pos()
        case "pct":
            return _Pct(choices, depth, horizon)
        case _:
            raise ValueError(f"strategy {strategy!r}: want one of {', '.join(STRATEGIES)}")


def pool_of(
    strategy: str, depth: int, choices: Choices, horizon: int, turns: Mapping[str, int]
) -> Pool | Line:
    """The pool of a strategy, as `rule_of` has it."""
    if strategy in {"fifo", "timed"} and not choices.overrides:
        return Line()
    return Pool(choices, rule_of(strategy, depth, choices, horizon, turns))


def needs_calibration(strategy: str) -> bool:
    """Whether a calm run must come first, to be measured."""
    return strategy in {"pct", "urw", "delay"}
