"""What the dispatcher keeps in order: requests, classes of like slots, and limits to share.

Invariants:
1. A heap holds at most about as many withdrawn requests as live ones, however often a task comes
   and goes.
2. A limit counts who holds it, by name: it cannot drift from the truth, and is built anew from it.
"""

from __future__ import annotations

import heapq
from math import inf
from typing import TypeAlias

from actors.effects import Address
from actors.messages import Enqueue, SlotFree

Order: TypeAlias = tuple[int, int, float, int]

# Heaps shorter than this are not worth a look for what was withdrawn.
_SMALL = 64


class Waiting:
    """One request. `gone` once it was granted or withdrawn: heaps drop it when they meet it."""

    __slots__ = ("gone", "needs", "order", "request")

    def __init__(self, request: Enqueue, arrival: int, needs: tuple[Limit, ...]) -> None:
        self.request = request
        self.order: Order = (-request.run_priority, -request.priority, request.since, arrival)
        self.needs = needs
        self.gone = False

    def __lt__(self, other: Waiting) -> bool:
        return self.order < other.order

    def full(self) -> Limit | None:
        """The first limit that keeps it from starting now."""
        return next((limit for limit in self.needs if limit.room <= 0), None)


class Heap:
    """Requests, the best first."""

    __slots__ = ("_entries", "_tidy_at")

    def __init__(self, entries: list[Waiting] | None = None) -> None:
        self._entries = entries or []
        self._tidy_at = _SMALL
        heapq.heapify(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, waiting: Waiting) -> None:
        if len(self._entries) >= self._tidy_at:
            self._entries = [w for w in self._entries if not w.gone]
            heapq.heapify(self._entries)
            self._tidy_at = max(_SMALL, 2 * len(self._entries))
        heapq.heappush(self._entries, waiting)

    def first(self) -> Waiting | None:
        """The best that was not withdrawn; it stays."""
        entries = self._entries
        while entries and entries[0].gone:
            heapq.heappop(entries)
        return entries[0] if entries else None

    def pop(self) -> Waiting | None:
        """The best that was not withdrawn."""
        found = self.first()
        if found is not None:
            heapq.heappop(self._entries)
        return found


class Limit:
    """So many at a time: a concurrency key of a run, or a tool.

    `most` counts all who hold it. `allowed`, what a tool's breaker lets through, counts only those
    who came to hold it in the present epoch of that breaker: what began before says nothing about
    how the tool is now. None: no bound.
    """

    __slots__ = ("allowed", "aside", "epoch", "holders", "most", "name", "recent", "users")

    def __init__(self, name: tuple[str, str], most: int | None) -> None:
        self.name = name
        self.most = most
        self.allowed: int | None = None
        self.epoch = 0
        self.holders: dict[Address, None] = {}
        self.recent: set[Address] = set()
        self.aside: dict[Slots, Heap] = {}
        self.users = 0  # requests that need it

    @property
    def room(self) -> float:
        """How many more may hold it now."""
        room = inf if self.most is None else self.most - len(self.holders)
        return room if self.allowed is None else min(room, self.allowed - len(self.recent))

    @property
    def unused(self) -> bool:
        """Whether nothing would be lost with it."""
        return not (self.users or self.holders) and self.allowed is None

    def take(self, task: Address) -> None:
        self.holders[task] = None
        if self.allowed is not None:
            self.recent.add(task)

    def free(self, task: Address) -> None:
        self.holders.pop(task, None)
        self.recent.discard(task)

    def allow(self, allowed: int | None, epoch: int) -> None:
        if epoch != self.epoch or allowed is None:
            self.recent.clear()
        self.allowed, self.epoch = allowed, epoch


class Slots:
    """All slots that are alike, and the tasks that they could take."""

    __slots__ = ("affinity", "capabilities", "idle", "kind", "known", "pool", "run_id", "waiting")

    def __init__(self, like: SlotFree) -> None:
        self.run_id = like.run_id
        self.pool = like.pool
        self.kind = like.kind
        self.capabilities = frozenset(like.capabilities)
        self.affinity = frozenset(like.affinity)
        self.idle: dict[Address, None] = {}
        self.known: set[Address] = set()
        self.waiting = Heap()

    @property
    def pickiness(self) -> tuple[bool, int, str]:
        """Slots that can do least, or only for some, go first: the others stay free for more."""
        return (not self.affinity, len(self.capabilities), self.pool)

    def is_like(self, other: Slots) -> bool:
        """Whether a task that fits the one fits the other."""
        return (
            self.run_id == other.run_id
            and self.pool == other.pool
            and self.kind == other.kind
            and self.capabilities == other.capabilities
            and self.affinity == other.affinity
        )

    def fits(self, request: Enqueue) -> bool:
        """Whether these could take the task."""
        return (
            self.run_id == (request.run_id if request.own_slots else None)
            and not (request.inline_only and self.kind != "inline")
            and not (request.process_only and self.kind != "process")
            and self.capabilities.issuperset(request.requires)
            and (not self.affinity or request.workstream in self.affinity)
        )
