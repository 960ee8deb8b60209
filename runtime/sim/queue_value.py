"""The dispatcher as a value: it changes in place, so a search keeps it as bytes between two turns.

Two of them are equal where they behave alike: the numbers by which they tell arrivals and leases
apart are left out. A lease is named after its task and how many that task was offered before, which
renames leases and nothing else.
"""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
from msgspec.structs import replace

from actors.dispatch import Dispatch
from actors.effects import Send
from actors.machine import Chart, Decision
from actors.messages import Assign
from runtime.sim.space import Move, Renaming, encode

# Looked up by key only: their order means nothing.
_UNORDERED = frozenset({"_class_of", "_holding", "_taken", "_requests", "_aside_held"})
# What only numbers.
_NUMBERS = frozenset({"_arrivals", "counter"})


class Queue(msgspec.Struct, frozen=True):
    """A dispatcher as it stands."""

    kept: bytes
    epoch: int
    offers: dict[str, int]  # leases given, by task


def queue(epoch: int, gate_places: int) -> Queue:
    """A new one, that knows nothing."""
    return _kept(Dispatch(epoch, gate_places), {})


def _kept(dispatch: Dispatch, offers: dict[str, int]) -> Queue:
    return Queue(pickle.dumps(dispatch), dispatch.epoch, offers)


class Queues:
    """The machine of `dispatch:main`."""

    chart: Chart | None = None
    recovers = False
    outside = False

    def born(self, value: Any) -> Any:
        return value

    def decide(self, value: Queue, message: Any, now: float) -> Decision[Queue]:
        """One turn of a copy."""
        dispatch = pickle.loads(value.kept)
        offers = dict(value.offers)
        effects = tuple(_named(dispatch.epoch, e, offers) for e in dispatch.decide(message, now))
        return Decision(_kept(dispatch, offers), (), effects)

    def encode(self, value: Queue, rename: Renaming) -> bytes:
        canonical = repr(_Walk(rename).of(pickle.loads(value.kept))).encode()
        offers = {rename(task.encode()).decode(): n for task, n in value.offers.items()}
        return b"\0".join((canonical, encode(offers)))

    def is_ended(self, _value: Queue) -> bool:
        return False

    def moves(self, _value: Queue) -> tuple[Move, ...]:
        return ()


def _named(epoch: int, effect: Any, offers: dict[str, int]) -> Any:
    """The effect, with the lease of an assignment named after its task."""
    if not (isinstance(effect, Send) and isinstance(effect.message, Assign)):
        return effect
    task = effect.message.task
    n = offers[task] = offers.get(task, 0) + 1
    return replace(effect, message=replace(effect.message, lease=f"{epoch}.{n}/{task}"))


class _Walk:
    """Everything that can be reached from a dispatcher, as nested tuples."""

    def __init__(self, rename: Renaming) -> None:
        self._rename = rename
        self._seen: dict[int, int] = {}
        self._rank: dict[int, int] = {}

    def of(self, thing: Any) -> Any:
        """The thing, without what it merely numbers and what it has already let go of."""
        match thing:
            case None | bool() | int() | float():
                return thing
            case str():
                return self._rename(thing.encode()).decode()
            case msgspec.Struct():
                return self._rename(type(thing).__name__.encode() + encode(thing))
            case tuple():
                return tuple(self.of(each) for each in thing)
            case set() | frozenset():
                return tuple(sorted((self.of(each) for each in thing), key=repr))
            case dict():
                return tuple((self.of(k), self.of(v)) for k, v in thing.items())
            case list():
                kept = [each for each in thing if not _is_gone(each)]
                if kept and all(hasattr(each, "order") for each in kept):
                    kept.sort(key=lambda each: each.order)  # of a heap, whatever its layout
                return tuple(self.of(each) for each in kept)
            case _:
                return self._object(thing)

    def _object(self, thing: Any) -> Any:
        if id(thing) in self._seen:
            return ("again", self._seen[id(thing)])
        self._seen[id(thing)] = len(self._seen)
        named = thing.__dict__ if hasattr(thing, "__dict__") else dict.fromkeys(thing.__slots__)
        found: list[Any] = [type(thing).__name__]
        for name in sorted(named.keys() - _NUMBERS, key=lambda name: (name != "_requests", name)):
            held = getattr(thing, name)
            if name == "_requests":
                waiting = sorted(held.values(), key=lambda each: each.order)
                self._rank = {id(each): n for n, each in enumerate(waiting)}
            if name == "order":
                held = (*held[:-1], self._rank.get(id(thing)))  # for the number of its arrival
            if name in _UNORDERED and isinstance(held, dict):
                pairs = sorted(held.items(), key=lambda pair: repr(_Walk(self._rename).of(pair[0])))
                held = dict(pairs)
            found.append((name, self.of(held)))
        return tuple(found)


def _is_gone(thing: Any) -> bool:
    """A request that was granted or withdrawn; also as a part of a pair that waits aside."""
    if isinstance(thing, tuple):
        return any(_is_gone(each) for each in thing)
    return getattr(thing, "gone", False) is True
