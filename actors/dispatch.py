"""The dispatcher: matches queued tasks with idle slots, and gates with places to run.

It is an index in memory over what its clients announce, and is never stored: a task knows that it
is QUEUED, a slot that it is IDLE. So nothing is lost with it, and nothing is assigned twice:
a slot that can no longer take a task tells the task, which queues again; a task that no longer
wants a slot gives it back.

Invariants:
1. A task is offered to one slot at a time, a slot one task at a time, and each offer has a lease
   that was never used before.
2. Among the tasks that a slot could take, the run's priority goes first, then the task's, then
   who has waited longest.
3. While a slot is idle, no task that it could take is waiting.
4. A message costs O(log n) for each class of slots. What may not start now (its run is held, its
   key is taken) is set aside when it is met, and comes back once.
"""

from __future__ import annotations

import heapq
from typing import TypeAlias

from actors.effects import Address, Effect, Send
from actors.messages import (
    Assign,
    Dequeue,
    Enqueue,
    GateAdmitted,
    GateDone,
    GateQueue,
    HoldRun,
    KeyFree,
    KeyTaken,
    SlotFree,
    SlotGone,
)

Inbox: TypeAlias = (
    Enqueue | Dequeue | SlotFree | SlotGone | KeyTaken | KeyFree | HoldRun | GateQueue | GateDone
)
Order: TypeAlias = tuple[int, int, float, int]
Scope: TypeAlias = tuple[str, str | None]  # a run, or a workstream of it
Key: TypeAlias = tuple[str, str]  # of one run


class _Waiting:
    """One request. `gone` once it was granted or withdrawn: heaps drop it when they meet it."""

    __slots__ = ("gone", "order", "request")

    def __init__(self, request: Enqueue, arrival: int) -> None:
        self.request = request
        self.order: Order = (-request.run_priority, -request.priority, request.since, arrival)
        self.gone = False

    def __lt__(self, other: _Waiting) -> bool:
        return self.order < other.order

    @property
    def key(self) -> Key | None:
        key = self.request.concurrency_key
        return None if key is None else (self.request.run_id, key)


class _Slots:
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
        self.waiting: list[_Waiting] = []

    @property
    def pickiness(self) -> tuple[bool, int, str]:
        """Slots that can do least, or only for some, go first: the others stay free for more."""
        return (not self.affinity, len(self.capabilities), self.pool)

    def fits(self, request: Enqueue) -> bool:
        return (
            self.run_id == (request.run_id if request.own_slots else None)
            and not (request.inline_only and self.kind != "inline")
            and not (request.process_only and self.kind != "process")
            and self.capabilities.issuperset(request.requires)
            and (not self.affinity or request.workstream in self.affinity)
        )


class Dispatch:
    """Made anew by every owner; `decide` changes it in place."""

    def __init__(self, epoch: int, gate_places: int, counter: int = 0) -> None:
        """`epoch` is the owner's: leases of different owners never meet. One that is made anew
        within an owner's life goes on with the `counter` of the last."""
        self.epoch = epoch
        self.gate_places = gate_places
        self.counter = counter
        self._arrivals = 0
        self._requests: dict[Address, _Waiting] = {}
        self._classes: list[_Slots] = []
        self._class_of: dict[Address, _Slots] = {}
        self._held: set[Scope] = set()
        self._aside_held: dict[Scope, list[tuple[_Waiting, _Slots]]] = {}
        self._taken: dict[Key, Address] = {}
        self._holding: dict[Address, Key] = {}
        self._aside_key: dict[Key, dict[_Slots, list[_Waiting]]] = {}
        self._gates = _Places(gate_places, self._held)

    def decide(self, message: Inbox, _now: float) -> tuple[Effect, ...]:
        """One turn."""
        match message:
            case Enqueue():
                return tuple(self._enqueue(message))
            case SlotFree():
                return tuple(self._slot_free(message))
            case Dequeue():
                return tuple(self._dequeue(message.task))
            case SlotGone():
                self._slot_gone(message.worker)
                return ()
            case KeyTaken():
                self._take_key(message.task, (message.run_id, message.key))
                return ()
            case KeyFree():
                return tuple(self._free_key((message.run_id, message.key)))
            case HoldRun():
                return tuple(self._hold(message))
            case GateQueue():
                return tuple(self._gates.queue(message))
            case GateDone():
                return tuple(self._gates.done(message.gate))

    def explain(self, task: Address) -> str:
        """Why the queued `task` (an address) has no slot yet, in one line."""
        waiting = self._requests.get(task)
        if waiting is None:
            return "it is not queued"
        request = waiting.request
        if self._scope_held(request) is not None:
            return "its run or workstream is paused"
        if waiting.key in self._taken:
            holder = self._taken[waiting.key].partition(":")[2]
            return f"the concurrency key {request.concurrency_key!r} is held by {holder}"
        fitting = sum(len(slots.known) for slots in self._classes if slots.fits(request))
        if fitting:
            return f"all {fitting} slots that it may take are busy"
        needs = ", ".join(request.requires) or "its kind and workstream"
        return f"no slot in existence offers {needs}"

    # --- tasks ---------------------------------------------------------------------------------

    def _enqueue(self, request: Enqueue) -> list[Effect]:
        effects = self._dequeue(request.task)
        self._arrivals += 1
        waiting = _Waiting(request, self._arrivals)
        self._requests[request.task] = waiting
        fitting = [slots for slots in self._classes if slots.fits(request)]
        for slots in fitting:
            heapq.heappush(slots.waiting, waiting)
        for slots in fitting:
            if slots.idle:
                self._match(slots, effects)
        return effects

    def _dequeue(self, task: Address) -> list[Effect]:
        waiting = self._requests.pop(task, None)
        if waiting is not None:
            waiting.gone = True
            effects: list[Effect] = []
            if waiting.key is not None and waiting.key not in self._taken:
                # It may be the one that came forward for the key: the next one takes its turn.
                self._come_forward(waiting.key, effects)
            return effects
        # It was granted a slot that it does not take after all: its key is free again.
        key = self._holding.get(task)
        return self._free_key(key) if key is not None else []

    def _match(self, slots: _Slots, effects: list[Effect]) -> None:
        """Grants idle slots of one class to the best that wait for it."""
        while slots.idle:
            waiting = self._next(slots)
            if waiting is None:
                return
            worker = next(iter(slots.idle))
            del slots.idle[worker]
            request = waiting.request
            waiting.gone = True
            del self._requests[request.task]
            if waiting.key is not None:
                self._take_key(request.task, waiting.key)
            self.counter += 1
            effects.append(Send(worker, Assign(request.task, f"{self.epoch}.{self.counter}")))

    def _next(self, slots: _Slots) -> _Waiting | None:
        heap = slots.waiting
        while heap:
            waiting, key = heap[0], heap[0].key
            scope = None if waiting.gone else self._scope_held(waiting.request)
            taken = key is not None and key in self._taken
            if not (waiting.gone or scope or taken):
                return waiting
            heapq.heappop(heap)
            if scope is not None:
                self._aside_held.setdefault(scope, []).append((waiting, slots))
            elif not waiting.gone and key is not None:
                aside = self._aside_key.setdefault(key, {})
                heapq.heappush(aside.setdefault(slots, []), waiting)
            if key is not None and not taken:
                self._step_up(key, slots)
        return None

    # --- slots ---------------------------------------------------------------------------------

    def _slot_free(self, message: SlotFree) -> list[Effect]:
        slots = self._class_of.get(message.worker) or self._class_like(message)
        self._class_of[message.worker] = slots
        slots.known.add(message.worker)
        slots.idle[message.worker] = None
        effects: list[Effect] = []
        self._match(slots, effects)
        return effects

    def _class_like(self, message: SlotFree) -> _Slots:
        new = _Slots(message)
        for slots in self._classes:
            if (
                slots.run_id == new.run_id
                and slots.pool == new.pool
                and slots.kind == new.kind
                and slots.capabilities == new.capabilities
                and slots.affinity == new.affinity
            ):
                return slots
        # The first of its class: the only time that all who wait are looked at.
        new.waiting = [w for w in self._requests.values() if new.fits(w.request)]
        heapq.heapify(new.waiting)
        self._classes.append(new)
        self._classes.sort(key=lambda slots: slots.pickiness)
        return new

    def _slot_gone(self, worker: Address) -> None:
        slots = self._class_of.pop(worker, None)
        if slots is None:
            return
        slots.known.discard(worker)
        slots.idle.pop(worker, None)
        while slots.waiting and slots.waiting[0].gone:
            heapq.heappop(slots.waiting)
        if not slots.known and not slots.waiting:
            self._classes.remove(slots)

    # --- keys and holds ------------------------------------------------------------------------

    def _take_key(self, task: Address, key: Key) -> None:
        if key not in self._taken:
            self._taken[key] = task
            self._holding[task] = key

    def _free_key(self, key: Key) -> list[Effect]:
        effects: list[Effect] = []
        holder = self._taken.pop(key, None)
        if holder is not None:
            self._holding.pop(holder, None)
        self._come_forward(key, effects)
        return effects

    def _come_forward(self, key: Key, effects: list[Effect]) -> None:
        """The key is free: the best that waits for it comes forward, in each class of slots."""
        for slots in list(self._aside_key.get(key, ())):
            self._step_up(key, slots)
            self._match(slots, effects)

    def _step_up(self, key: Key, slots: _Slots) -> None:
        aside = self._aside_key.get(key)
        heap = aside.get(slots) if aside else None
        while heap:
            waiting = heapq.heappop(heap)
            if not waiting.gone:
                heapq.heappush(slots.waiting, waiting)
                break
        if aside is not None and not heap:
            aside.pop(slots, None)
            if not aside:
                del self._aside_key[key]

    def _scope_held(self, request: Enqueue) -> Scope | None:
        if not self._held:
            return None
        run, workstream = (request.run_id, None), (request.run_id, request.workstream)
        return run if run in self._held else workstream if workstream in self._held else None

    def _hold(self, message: HoldRun) -> list[Effect]:
        scope = (message.run_id, message.workstream)
        effects: list[Effect] = []
        if message.held:
            self._held.add(scope)
            return effects
        self._held.discard(scope)
        touched: dict[_Slots, None] = {}
        for waiting, slots in self._aside_held.pop(scope, ()):
            if not waiting.gone:
                heapq.heappush(slots.waiting, waiting)
                touched[slots] = None
        for slots in touched:
            self._match(slots, effects)
        effects += self._gates.released()
        return effects


class _Places:
    """The bounded places for gate commands, first come, first served."""

    def __init__(self, places: int, held: set[Scope]) -> None:
        self._free = places
        self._held = held
        self._running: set[Address] = set()
        self._waiting: dict[Address, str] = {}  # the run of each, in order of arrival
        self._aside: dict[Address, str] = {}  # of runs that are held

    def queue(self, message: GateQueue) -> list[Effect]:
        gate = message.gate
        if message.running:
            self._waiting.pop(gate, None)
            self._aside.pop(gate, None)
            if gate not in self._running:
                self._running.add(gate)
                self._free -= 1
            return []
        if gate not in self._running and gate not in self._aside:
            self._waiting.setdefault(gate, message.run_id)
        return self._admit()

    def done(self, gate: Address) -> list[Effect]:
        self._waiting.pop(gate, None)
        self._aside.pop(gate, None)
        if gate in self._running:
            self._running.discard(gate)
            self._free += 1
        return self._admit()

    def released(self) -> list[Effect]:
        """A hold is over: what was set aside is looked at again, before what came later."""
        if self._aside:
            self._waiting = self._aside | self._waiting
            self._aside = {}
        return self._admit()

    def _admit(self) -> list[Effect]:
        effects: list[Effect] = []
        while self._free > 0 and self._waiting:
            gate = next(iter(self._waiting))
            run_id = self._waiting.pop(gate)
            if (run_id, None) in self._held:
                self._aside[gate] = run_id
                continue
            self._running.add(gate)
            self._free -= 1
            effects.append(Send(gate, GateAdmitted()))
        return effects
