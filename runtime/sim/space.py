"""The parts of a searched state, each made once: equal actors, messages and lanes are one object.

Invariants:
1. A part is immutable, and found again by its canonical bytes: equal parts are the same object.
2. A turn is worked out once for each actor value and message, and looked up ever after: `decide` is
   pure, which the first time is put to the test by deciding twice.
3. A part's hash holds a field for each permutation of the symmetric names, so that the hash of a
   state is a sum, and the states that differ only by a permutation have the same least field.

Time stands still here: every turn is taken at `NOW`. So no value holds an absolute time by which
two states would differ, and a timer is what is left of it: its key and its length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from itertools import permutations, product
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import msgspec

from actors import effects as fx
from actors.machine import Chart, Decision, InvalidTransition
from actors.messages import Ended, Performed, TimerFired
from runtime.sim.case import Coverage

if TYPE_CHECKING:
    from runtime.kinds import Kind

NOW: Final = 1_000_000.0
_HASH_BYTES: Final = 16
_FIELD_BYTES: Final = 20  # the sum of a state's parts needs a few bits more than one of them

_encode = msgspec.msgpack.Encoder(order="deterministic").encode

Renaming: TypeAlias = Callable[[bytes], bytes]
Lane: TypeAlias = tuple[str, str]  # sender, receiver
Timer: TypeAlias = tuple[str, float, bool]  # key, length, volatile; in the order of being armed


class Machine(Protocol):
    """How the actors of one kind decide. `moves` is what they may do by themselves."""

    chart: Chart | None
    recovers: bool
    outside: bool  # no part of the kernel: dies with the owner, and takes what leaves

    def decide(self, value: Any, message: Any, now: float) -> Decision[Any]: ...

    def born(self, value: Any) -> Any: ...

    def encode(self, value: Any, rename: Renaming) -> bytes: ...

    def is_ended(self, value: Any) -> bool: ...

    def moves(self, value: Any) -> tuple[Move, ...]: ...


class Move(msgspec.Struct, frozen=True):
    """What an actor may do by itself, as the message that it then takes. `spends`: a budget."""

    message: Any
    spends: str | None = None


class Msg:
    """A message, made once."""

    __slots__ = ("control", "item", "name", "text")

    def __init__(self, item: Any, control: bool, text: bytes) -> None:
        self.item = item
        self.control = control
        self.text = text
        self.name = type(item).__name__


class Local:
    """One actor as it stands: its value, and what the kernel keeps beside it."""

    __slots__ = (
        "address",
        "after",
        "ended",
        "hash",
        "machine",
        "options",
        "outbox",
        "timers",
        "value",
        "watchers",
    )

    def __init__(
        self,
        address: str,
        machine: Machine,
        value: Any,
        timers: tuple[Timer, ...],
        outbox: tuple[fx.Perform, ...],
        watchers: tuple[str, ...],
    ) -> None:
        self.address = address
        self.machine = machine
        self.value = value
        self.timers = timers
        self.outbox = outbox
        self.watchers = watchers
        self.ended = machine.is_ended(value)
        self.hash = 0
        self.after: dict[Any, After] = {}
        self.options: tuple[Option, ...] = ()

    @property
    def kind(self) -> str:
        return self.address.partition(":")[0]

    @property
    def state(self) -> str:
        return str(getattr(self.value, "state", "active"))


Option: TypeAlias = tuple[str, str, Any, str | None]
"""What ("timer", "move"), whose, the timer's key or the message, the budget that it spends."""


class After:
    """What one turn leads to."""

    __slots__ = ("edges", "effects", "error", "leaves", "local", "sends", "spawned", "urges")

    def __init__(self, local: Local) -> None:
        self.local = local
        self.sends: list[tuple[Lane, Msg]] = []
        self.spawned: list[Local] = []
        self.leaves: list[tuple[Lane, Msg]] = []  # only after a commit
        self.urges: tuple[str, ...] = ()  # who is sent something that goes before their work
        self.edges: tuple[tuple[str, str, str], ...] = ()
        self.effects: tuple[str, ...] = ()
        self.error: tuple[str, str] | None = None  # invariant, text


class WatchMe(msgspec.Struct, frozen=True, tag=True):
    """To an actor: tell `watcher` when you have ended. What the kernel keeps in a table."""

    watcher: str


class Space:
    """All parts that a search has met."""

    def __init__(
        self,
        machines: Mapping[str, Machine],
        symmetric: Sequence[Sequence[str]] = (),
        spends: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        """`symmetric`: groups of names that may be exchanged for one another. `spends`: the budget
        that a timer (kind, key) takes from when it fires."""
        self.machines = machines
        self._spends = spends or {}
        self.renamings = _renamings(symmetric)
        self.turns = 0
        self.coverage = Coverage()
        self._locals: dict[bytes, Local] = {}
        self._messages: dict[tuple[bytes, bool], Msg] = {}
        self._lanes: dict[tuple[Lane, tuple[Msg, ...]], int] = {}

    # --- parts ---------------------------------------------------------------------------------

    def message(self, item: Any, control: bool = False) -> Msg:
        """The one object for this message."""
        text = type(item).__name__.encode() + b"\0" + _encode(item)
        found = self._messages.get((text, control))
        if found is None:
            found = self._messages[text, control] = Msg(item, control, text)
        return found

    def local(
        self,
        address: str,
        value: Any,
        timers: tuple[Timer, ...] = (),
        outbox: tuple[fx.Perform, ...] = (),
        watchers: tuple[str, ...] = (),
    ) -> Local:
        """The one object for this actor, so."""
        machine = self.machines[address.partition(":")[0]]
        beside = b"\0".join((address.encode(), _encode((timers, outbox, watchers))))
        text = b"\0".join((beside, machine.encode(value, _as_it_is)))
        found = self._locals.get(text)
        if found is None:
            found = Local(address, machine, value, timers, outbox, watchers)
            found.hash = self._hash(
                lambda rename: b"\0".join((rename(beside), machine.encode(value, rename)))
            )
            found.options = self._options(found)
            self._locals[text] = found
        return found

    def lane(self, lane: Lane, messages: tuple[Msg, ...]) -> int:
        """The hash of what is under way on a lane."""
        key = (lane, messages)
        found = self._lanes.get(key)
        if found is None:
            parts = (m.text + (b"!" if m.control else b".") for m in messages)
            text = b"\1".join((f"{lane[0]}>{lane[1]}".encode(), *parts))
            found = self._lanes[key] = self._hash(lambda rename: rename(text))
        return found

    def other(self, text: str) -> int:
        """The hash of anything else that is a part of a state."""
        return self._hash(lambda _rename: text.encode())

    def _hash(self, text_of: Callable[[Renaming], bytes]) -> int:
        total = 0
        for n, rename in enumerate(self.renamings):
            digest = blake2b(text_of(rename), digest_size=_HASH_BYTES).digest()
            total += int.from_bytes(digest, "little") << (8 * _FIELD_BYTES * n)
        return total

    def least(self, sums: tuple[int, ...]) -> Any:
        """What is the same for states that differ only by a permutation of symmetric names."""
        if len(self.renamings) == 1:
            return sums
        size = _FIELD_BYTES * len(self.renamings)
        texts = [s.to_bytes(size, "little") for s in sums]
        cuts = range(0, size, _FIELD_BYTES)
        return min(b"".join(t[at : at + _FIELD_BYTES] for t in texts) for at in cuts)

    def _options(self, local: Local) -> tuple[Option, ...]:
        """What the actor may do by itself: its moves, and the timers that may be the next to fire.

        A timer that was armed after another, and is no shorter, is due no earlier. One that costs
        is one that something else keeps from firing: it holds no other up.
        """
        options: list[Option] = []
        shortest = float("inf")
        for key, length, _volatile in local.timers:
            spends = self._spends.get((local.kind, key))
            if spends is not None:
                options.append(("timer", local.address, key, spends))
            elif length < shortest:
                shortest = length
                options.append(("timer", local.address, key, None))
        for move in local.machine.moves(local.value):
            message = self.message(move.message)
            options.append(("move", local.address, message, move.spends))
        return tuple(options)

    # --- turns ---------------------------------------------------------------------------------

    def take(self, local: Local, message: Msg) -> After:
        """The turn in which the actor takes the message."""
        found = local.after.get(message)
        if found is None:
            found = local.after[message] = self._take(local, message.item, local.timers)
        return found

    def fire(self, local: Local, key: str) -> After:
        """The turn in which a timer of the actor fires."""
        found = local.after.get(key)
        if found is None:
            left = tuple(t for t in local.timers if t[0] != key)
            found = local.after[key] = self._take(local, TimerFired(key), left)
        return found

    def _take(self, local: Local, item: Any, timers: tuple[Timer, ...]) -> After:
        self.turns += 1
        if type(item) is WatchMe:
            return self._watched(local, item.watcher)
        decide, value = local.machine.decide, local.value
        if not local.machine.outside:
            self.coverage.pairs.add((local.kind, local.state, type(item).__name__))
        try:
            decision = decide(value, item, NOW)
            again = decide(value, item, NOW)
        except Exception as error:  # noqa: BLE001 (whatever an actor raises is what was searched for)
            after = After(local)
            name = type(item).__name__
            after.error = ("no turn raises", f"{local.address} at {name}: {error!r}")
            return after
        after = self._applied(local, item, decision, timers)
        if again != decision:
            text = f"{local.address} decides {type(item).__name__} twice, and not alike"
            after.error = ("decide is pure", text)
        return after

    def _watched(self, local: Local, watcher: str) -> After:
        if local.ended:
            after = After(local)
            after.sends.append(self._ended(local, watcher))
            return after
        watchers = tuple(sorted({*local.watchers, watcher}))
        return After(self.local(local.address, local.value, local.timers, local.outbox, watchers))

    def _ended(self, local: Local, watcher: str) -> tuple[Lane, Msg]:
        return (local.address, watcher), self.message(Ended(local.address, local.state))

    def _applied(
        self, local: Local, item: Any, decision: Decision[Any], timers: tuple[Timer, ...]
    ) -> After:
        address, machine = local.address, local.machine
        after = After(local)
        outbox = local.outbox
        if type(item) is Performed:
            outbox = tuple(p for p in outbox if p.key != item.key)
        for effect in decision.effects:
            match effect:
                case fx.SetTimer(key, due, volatile):
                    left = tuple(t for t in timers if t[0] != key)
                    timers = (*left, (key, max(0.0, due - NOW), volatile))
                case fx.CancelTimer(key):
                    timers = tuple(t for t in timers if t[0] != key)
                case fx.Perform():
                    outbox = (*outbox, effect)
                    lane = (address, f"performer:{address}")
                    after.leaves.append((lane, self.message(effect)))
                case _:
                    self._leave_or_stay(after, effect)
        ended = machine.is_ended(decision.state)
        watchers = local.watchers
        if ended:
            timers = ()
        after.local = self.local(address, decision.state, timers, outbox, watchers)
        if ended and not local.ended:
            after.sends += [self._ended(after.local, w) for w in watchers]
        after.edges = tuple((str(e.source), str(e.target), e.trigger) for e in decision.edges)
        self.coverage.edges.update((local.kind, *edge) for edge in after.edges)
        after.urges = tuple(lane[1] for lane, message in after.sends if message.control)
        after.effects = tuple(_shown(effect) for effect in decision.effects)
        after.error = _illegal(local, after)
        return after

    def _leave_or_stay(self, after: After, effect: Any) -> None:
        address = after.local.address
        match effect:
            case fx.Send(to, message, control):
                after.sends.append(((address, to), self.message(message, control)))
            case fx.Watch(target):
                after.sends.append(((address, target), self.message(WatchMe(address))))
            case fx.Spawn(kind, value):
                made = self.machines[kind].born(value)
                after.spawned.append(self.local(f"{kind}:{made.id}", made))
            case fx.RunGate(gate) | fx.KillGate(gate):
                lane = (address, f"command:{gate}")
                after.leaves.append((lane, self.message(effect)))
            case fx.StartProcess() | fx.StopProcess() | fx.Offer() | fx.Release() | fx.Withdraw():
                lane = (address, f"process:{effect.uet}")
                after.leaves.append((lane, self.message(effect)))
            case fx.Note() | fx.Reply():
                pass  # on record, or for a caller who is no part of this world
            case _:
                after.error = ("effects are known", f"{address} asks for {effect!r:.80}")


class KindMachine:
    """A kind of the kernel, as a search takes turns of it."""

    outside = False

    def __init__(self, kind: Kind, create: Callable[[Any, float], Any] | None = None) -> None:
        self._kind = kind
        self._create = create
        self.chart = kind.chart
        self.recovers = kind.recovers
        self.decide = kind.decide
        self.is_ended = kind.is_ended

    def born(self, value: Any) -> Any:
        """The value of a new actor, made of its seed where it is one."""
        if self._create is None or isinstance(value, self._kind.value_type):
            return value
        return self._create(value, NOW)

    def encode(self, value: Any, rename: Renaming) -> bytes:
        return rename(_encode(value))

    def moves(self, _value: Any) -> tuple[Move, ...]:
        return ()


def encode(value: Any) -> bytes:
    """The canonical bytes of a value: equal values have equal ones."""
    return _encode(value)


def _as_it_is(text: bytes) -> bytes:
    return text


def _renamings(groups: Sequence[Sequence[str]]) -> tuple[Renaming, ...]:
    """What exchanges the names of each group for one another, in every way; the first does not."""
    ways = []
    for group in groups:
        if len({len(name) for name in group}) > 1:
            raise ValueError(f"symmetric names must be alike in length: {', '.join(group)}")
        ways.append([dict(zip(group, order, strict=True)) for order in permutations(group)])
    renamings: list[Renaming] = [_as_it_is]
    for way in list(product(*ways))[1:]:
        names = {a.encode(): b.encode() for part in way for a, b in part.items()}
        # No digit may follow: `local.1` is no part of `local.10`.
        pattern = re.compile(b"(?:%s)(?![0-9])" % b"|".join(map(re.escape, names)))

        def rename(text: bytes, pattern: Any = pattern, names: Any = names) -> bytes:
            found: bytes = pattern.sub(lambda match: names[match.group()], text)
            return found

        renamings.append(rename)
    return tuple(renamings)


def _illegal(before: Local, after: After) -> tuple[str, str] | None:
    """What is wrong with the edges that a turn took."""
    chart, state = before.machine.chart, before.state
    if after.error is not None or chart is None:
        return after.error
    for source, target, trigger in after.edges:
        if source != state:
            text = f"{before.address} is {state}, and takes an edge from {source}"
            return "edges are legal", text
        try:
            chart.edge(source, target, trigger)
        except InvalidTransition as error:
            return "edges are legal", f"{before.address}: {error}"
        state = target
    if after.local.state != state:
        text = f"{before.address} goes from {state} to {after.local.state} without an edge"
        return "edges are legal", text
    return None


def _shown(effect: Any) -> str:
    name = type(effect).__name__
    match effect:
        case fx.Send(to, message):
            return f"{name} {type(message).__name__} to {to}"
        case fx.Spawn(kind, value):
            return f"{name} {kind}:{value.id}"
        case fx.SetTimer(key) | fx.CancelTimer(key):
            return f"{name} {key}"
        case fx.Note(event_type):
            return f"{name} {event_type}"
        case _:
            return name
