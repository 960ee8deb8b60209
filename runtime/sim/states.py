"""A state of a small world, and everything that may happen in it.

Messages wait in lanes, one from each sender to each receiver, first come, first served; of those
that wait for a receiver, control messages are taken before work, as in the kernel. With a budget
for crashes a state has two halves: what was committed, and what is so; an effect leaves the kernel
only by a commit, and a crash falls back to what was committed, from where a new owner recovers.

What two turns of different actors do commutes: each changes its own actor, and appends to lanes
of its own. So whose turn comes first makes no difference but to those who look in between; unless
one sends the other something that goes before its work.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from actors import messages as m
from runtime.sim.queue_value import queue
from runtime.sim.small import DISPATCH, KERNEL, OUTSIDE, SmallWorld
from runtime.sim.space import After, Lane, Local, Msg, Space

CRASHES = "crashes"
DROPS = "drops"

Happens: TypeAlias = tuple[Any, ...]
"""("deliver" | "drop", lane, budget), ("timer" | "move", address, what, budget),
("commit",), ("crash",) to the last commit, ("crash", True) of an owner that has just committed."""
Lanes: TypeAlias = dict[Lane, tuple[Msg, ...]]
Actors: TypeAlias = tuple[Local | None, ...]


class Durable:
    """What a commit has kept."""

    __slots__ = ("actors", "lanes", "sum")

    def __init__(self, actors: Actors, lanes: Lanes, total: int) -> None:
        self.actors = actors
        self.lanes = lanes
        self.sum = total


class Node:
    """One state, and how it was first reached."""

    __slots__ = (
        "actors",
        "depth",
        "durable",
        "event",
        "inner",
        "lanes",
        "left",
        "outer",
        "parent",
        "pending",
        "sleep",
        "todo",
    )

    def __init__(self, actors: Actors, lanes: Lanes, left: tuple[int, ...]) -> None:
        self.actors = actors
        self.lanes = lanes
        self.left = left  # of each budget
        self.pending: tuple[tuple[Lane, Msg], ...] = ()  # effects that wait for a commit
        self.inner = 0  # the sum of the hashes of what a commit would keep
        self.outer = 0  # and of the rest
        self.durable: Durable | None = None
        self.parent: Node | None = None
        self.event: Happens | None = None
        self.depth = 0
        self.sleep: frozenset[Happens] = frozenset()  # what is left out here, for a twin does it
        self.todo: frozenset[Happens] | None = None  # what is to be followed; None: all but that


class States:
    """What may happen in a world, and what it leads to."""

    def __init__(
        self, world: SmallWorld, space: Space, budgets: dict[str, int], *, patient: bool
    ) -> None:
        """`patient`: a timer fires only while nothing is under way between the kernel's actors."""
        self.space = space
        self._patient = patient
        self.budgets = tuple(budgets)
        self._of = {name: n for n, name in enumerate(budgets)}
        self._limit = tuple(budgets.values())
        self._world = world
        self._at: dict[str, int] = {}
        self._internal: dict[Lane, bool] = {}
        self._machines = world.machines
        self._drops = budgets.get(DROPS, 0) > 0
        self._crashes = self._of.get(CRASHES)

    # --- looking -------------------------------------------------------------------------------

    def index(self, address: str) -> int:
        """Where the actor of this address stands in a state."""
        found = self._at.get(address)
        if found is None:
            found = self._at[address] = len(self._at)
        return found

    def actor(self, node: Node, address: str) -> Local | None:
        """The actor, where there is one."""
        at = self._at.get(address)
        return node.actors[at] if at is not None and at < len(node.actors) else None

    def key(self, node: Node) -> Any:
        """The same for states that differ in nothing that matters."""
        durable = node.durable.sum if node.durable is not None else 0
        return self.space.least((node.inner, node.outer, durable))

    def may_crash(self, node: Node) -> bool:
        """Whether there is a crash left to come."""
        return self._crashes is not None and node.left[self._crashes] > 0

    def enabled(self, node: Node) -> list[Happens]:
        """Everything that may happen next."""
        told = {lane[1] for lane in node.lanes if lane[0] == KERNEL}
        found = self._deliveries(node, told)
        waiting = self._patient and any(map(self._is_internal, node.lanes))
        for actor in node.actors:
            if actor is not None and actor.options and actor.address not in told:
                for option in actor.options:
                    if waiting and option[0] == "timer":
                        continue
                    if option[3] is None or self._has(node, option[3]):
                        found.append(option)
        if self.may_crash(node):
            found += [("crash",), ("crash", True)]
            if node.pending:
                found.append(("commit",))
        return found

    def _deliveries(self, node: Node, told: set[str]) -> list[Happens]:
        found: list[Happens] = []
        needs, drops = self._world.needs, self._drops and self._has(node, DROPS)
        urged = self._urged(node)
        for lane, messages in node.lanes.items():
            sender, receiver = lane
            if told and receiver in told and sender != KERNEL:
                continue  # what a new owner says comes before all else
            if lane in needs and self.actor(node, needs[lane]) is None:
                continue
            outside = sender.startswith(OUTSIDE)
            if receiver not in urged or outside or any(each.control for each in messages):
                found.append(("deliver", lane, None))
            if drops and self._world.lossy(sender, receiver, messages[0].item):
                found.append(("drop", lane, DROPS))
        return found

    def _urged(self, node: Node) -> set[str]:
        """For whom a control message waits. What comes from outside waits for nobody: it arrives
        when it is taken."""
        return {
            lane[1]
            for lane, messages in node.lanes.items()
            if not lane[0].startswith(OUTSIDE) and any(each.control for each in messages)
        }

    def _has(self, node: Node, budget: str) -> bool:
        return node.left[self._of[budget]] > 0

    def is_quiescent(self, enabled: list[Happens]) -> bool:
        """Whether nothing more happens by itself: only the outside, a fault or a crash goes on."""
        return not any(_by_itself(event) for event in enabled)

    def urges(self, node: Node, event: Happens) -> tuple[str, ...]:
        """Who would be sent something by the event that goes before their work."""
        if whose(event) is None:
            return ()
        after, _ = self._turn(node, event)
        return after.urges if after is not None else ()

    def commute(
        self, one: Happens, urged: tuple[str, ...], other: Happens, also: tuple[str, ...]
    ) -> bool:
        """Whether the order of two events that may both happen now makes no difference; each with
        whom it urges."""
        first, second = whose(one), whose(other)
        if first is None or second is None or first == second:
            return False
        if second in urged or first in also:
            return False
        if self._patient and (one[0] == "timer" or other[0] == "timer"):
            return False  # what a turn sends keeps every timer waiting
        return one[-1] is None or one[-1] != other[-1]  # one budget, and perhaps the last of it

    # --- doing ---------------------------------------------------------------------------------

    def first(self) -> Node:
        """The beginning, committed."""
        actors, lanes = self._world.first(self.space)
        for actor in actors:
            self.index(actor.address)
        node = Node(tuple(actors), lanes, self._limit)
        self._sum(node)
        if self.may_crash(node):
            node.durable = self._kept(node)
        return node

    def _sum(self, node: Node) -> None:
        node.inner = node.outer = 0
        for actor in node.actors:
            if actor is not None:
                self._add(node, actor, 1)
        for lane, messages in node.lanes.items():
            self._count(node, lane, self.space.lane(lane, messages))
        node.outer += self.space.other(repr(node.left)) + self._pending_hash(node)

    def _add(self, node: Node, actor: Local, sign: int) -> None:
        if actor.machine.outside or actor.address == DISPATCH:
            node.outer += sign * actor.hash
        else:
            node.inner += sign * actor.hash

    def _count(self, node: Node, lane: Lane, change: int) -> None:
        if self._is_stored(lane):
            node.inner += change
        else:
            node.outer += change

    def _is_stored(self, lane: Lane) -> bool:
        """Whether what is under way on the lane becomes a row."""
        return lane[0] != KERNEL and lane[1] != DISPATCH and self._is_internal(lane)

    def _is_internal(self, lane: Lane) -> bool:
        """Whether the lane is one between actors of the kernel."""
        found = self._internal.get(lane)
        if found is None:
            sender, receiver = lane
            found = not (
                sender.startswith(OUTSIDE) or self._is_outside(sender) or self._is_outside(receiver)
            )
            self._internal[lane] = found
        return found

    def _is_outside(self, address: str) -> bool:
        machine = self._machines.get(address.partition(":")[0])
        return machine is not None and machine.outside

    def _pending_hash(self, node: Node) -> int:
        total = 0
        waiting: Lanes = {}
        for lane, message in node.pending:
            waiting[lane] = (*waiting.get(lane, ()), message)
        for lane, messages in waiting.items():
            total += self.space.lane((f"pending {lane[0]}", lane[1]), messages)
        return total

    def do(self, node: Node, event: Happens) -> tuple[Node, After | None]:
        """The state after the event, and the turn that was taken, if it was one."""
        if event[0] == "commit":
            return self._commit(node), None
        if event[0] == "crash":
            return self._crash(self._commit(node) if len(event) > 1 else node), None
        after, lane = self._turn(node, event)
        new = Node(node.actors, node.lanes.copy(), node.left)
        new.inner, new.outer, new.pending, new.durable = (
            node.inner,
            node.outer,
            node.pending,
            node.durable,
        )
        if event[-1] is not None:
            self._spend(new, event[-1])
        if lane is not None:
            self._take_from(new, lane, first=event[0] == "drop")
        if after is not None:
            self._apply(new, after)
        new.parent, new.event, new.depth = node, event, node.depth + 1
        return new, after

    def _turn(self, node: Node, event: Happens) -> tuple[After | None, Lane | None]:
        """What the event's turn leads to, and the lane that it empties by one message."""
        what, where = event[0], event[1]
        if what == "timer":
            return self.space.fire(self._there(node, where), event[2]), None
        if what == "move":
            return self.space.take(self._there(node, where), event[2]), None
        if what == "drop":
            return None, where
        messages, actor = node.lanes[where], self.actor(node, where[1])
        if actor is None:
            actor = self._unborn(where[1])
        if actor is None:
            return None, where  # a dead letter
        return self.space.take(actor, messages[taken_next(messages)]), where

    def _there(self, node: Node, address: str) -> Local:
        actor = self.actor(node, address)
        assert actor is not None
        return actor

    def _unborn(self, address: str) -> Local | None:
        """What stands outside is there as soon as something reaches it."""
        kind, _, what = address.partition(":")
        machine = self._machines.get(kind)
        if machine is None or not machine.outside:
            return None
        return self.space.local(address, machine.born(what))

    def _spend(self, node: Node, budget: str) -> None:
        at = self._of[budget]
        before = node.left
        node.left = (*before[:at], before[at] - 1, *before[at + 1 :])
        node.outer += self.space.other(repr(node.left)) - self.space.other(repr(before))

    def _take_from(self, node: Node, lane: Lane, *, first: bool) -> None:
        messages = node.lanes[lane]
        at = 0 if first else taken_next(messages)
        self._set_lane(node, lane, (*messages[:at], *messages[at + 1 :]))

    def _set_lane(self, node: Node, lane: Lane, messages: tuple[Msg, ...]) -> None:
        before = node.lanes.get(lane)
        change = -self.space.lane(lane, before) if before else 0
        if messages:
            node.lanes[lane] = messages
            change += self.space.lane(lane, messages)
        else:
            node.lanes.pop(lane, None)
        self._count(node, lane, change)

    def _apply(self, node: Node, after: After) -> None:
        actors = list(node.actors)
        for actor in (after.local, *after.spawned):
            at = self.index(actor.address)
            if at >= len(actors):
                actors += [None] * (at + 1 - len(actors))
            before = actors[at]
            if before is actor:
                continue
            if before is not None:
                self._add(node, before, -1)
            self._add(node, actor, 1)
            actors[at] = actor
        node.actors = tuple(actors)
        for lane, message in after.sends:
            self._set_lane(node, lane, (*node.lanes.get(lane, ()), message))
        if not after.leaves:
            return
        if self.may_crash(node):
            node.outer -= self._pending_hash(node)
            node.pending = (*node.pending, *after.leaves)
            node.outer += self._pending_hash(node)
        else:
            self._leave(node, after.leaves)

    def _leave(self, node: Node, leaving: Any) -> None:
        for lane, message in leaving:
            self._set_lane(node, lane, (*node.lanes.get(lane, ()), message))

    # --- owners --------------------------------------------------------------------------------

    def _commit(self, node: Node) -> Node:
        new = Node(node.actors, node.lanes.copy(), node.left)
        self._leave(new, node.pending)
        self._sum(new)
        new.durable = self._kept(new)
        new.parent, new.event, new.depth = node, ("commit",), node.depth + 1
        return new

    def _kept(self, node: Node) -> Durable:
        """What the store holds: no volatile timer, no dispatcher, nothing from outside."""
        kept = Node(
            tuple(self._as_stored(actor) for actor in node.actors),
            {lane: found for lane, found in node.lanes.items() if self._is_stored(lane)},
            node.left,
        )
        self._sum(kept)
        return Durable(kept.actors, kept.lanes, kept.inner)

    def _as_stored(self, actor: Local | None) -> Local | None:
        if actor is None or actor.machine.outside or actor.address == DISPATCH:
            return None
        timers = tuple(t for t in actor.timers if not t[2])
        if len(timers) == len(actor.timers):
            return actor
        return self.space.local(actor.address, actor.value, timers, actor.outbox, actor.watchers)

    def _crash(self, node: Node) -> Node:
        durable = node.durable
        assert durable is not None
        at = self._of[CRASHES]
        left = (*node.left[:at], node.left[at] - 1, *node.left[at + 1 :])
        epoch = 1 + self._limit[at] - left[at]
        actors = list(durable.actors)
        actors[self.index(DISPATCH)] = self.space.local(
            DISPATCH, queue(epoch, self._world.gate_places)
        )
        lanes = dict(durable.lanes)
        lanes |= {lane: v for lane, v in node.lanes.items() if lane[0].startswith(OUTSIDE)}
        for actor in durable.actors:
            if actor is not None and not actor.ended:
                self._recover(lanes, actor, epoch)
        new = Node(tuple(actors), lanes, left)
        self._sum(new)
        new.durable = durable if left[at] else None
        new.parent, new.event, new.depth = node, ("crash",), node.depth + 1
        return new

    def _recover(self, lanes: Lanes, actor: Local, epoch: int) -> None:
        """What a new owner says to an actor, and what it offers again of it."""
        said: list[Msg] = []
        if actor.machine.recovers:
            said.append(self.space.message(m.Recovered(epoch), control=True))
        if actor.kind == "uet_worker":
            gone = m.ProcessExited(crashed=True, reason=m.OWNER_RESTARTED)
            said.append(self.space.message(gone, control=True))
        if said:
            lanes[KERNEL, actor.address] = tuple(said)
        if actor.outbox:
            performer = f"performer:{actor.address}"
            again = tuple(self.space.message(effect) for effect in actor.outbox)
            lanes[actor.address, performer] = again


def taken_next(messages: tuple[Msg, ...]) -> int:
    """Which is taken next: the first control message, or else the first."""
    return next((n for n, message in enumerate(messages) if message.control), 0)


def _by_itself(event: Happens) -> bool:
    if event[0] == "deliver":
        return not event[1][0].startswith(OUTSIDE)
    return event[0] == "commit" or (event[0] in {"timer", "move"} and event[-1] is None)


def whose(event: Happens) -> str | None:
    """The actor that the event is a turn of; None where it concerns all of them."""
    what = event[0]
    if what == "commit" or what == "crash":  # noqa: PLR1714 (asked for each pair of events)
        return None
    where: str | Lane = event[1]
    return where if isinstance(where, str) else where[1]
