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
   key is taken, its tool is shut or busy) is set aside when it is met, and comes back once.
5. An execution counts against its tool from the grant of its slot until its task says `ToolFree`,
   or queues again. A tool without a word from its breaker is open: one that is shut says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from actors.dispatch_places import Places
from actors.dispatch_queue import Heap, Limit, Slots, Waiting
from actors.effects import Address, Effect, Send
from actors.messages import (
    Assign,
    Dequeue,
    Enqueue,
    GateDone,
    GateQueue,
    HoldRun,
    KeyFree,
    KeyTaken,
    SlotFree,
    SlotGone,
    ToolAllowance,
    ToolFree,
    ToolTaken,
)

Share: TypeAlias = KeyTaken | KeyFree | ToolTaken | ToolFree | ToolAllowance
Gates: TypeAlias = GateQueue | GateDone
Inbox: TypeAlias = Enqueue | Dequeue | SlotFree | SlotGone | Share | HoldRun | Gates
Scope: TypeAlias = tuple[str, str | None]  # a run, or a workstream of it
Name: TypeAlias = tuple[str, str]  # of a limit: a run and its key, or no run and a tool


class Dispatch:
    """Made anew by every owner; `decide` changes it in place."""

    def __init__(self, epoch: int, gate_places: int, counter: int = 0) -> None:
        """`epoch` is the owner's: leases of different owners never meet. One that is made anew
        within an owner's life goes on with the `counter` of the last."""
        self.epoch = epoch
        self.gate_places = gate_places
        self.counter = counter
        self._arrivals = 0
        self._requests: dict[Address, Waiting] = {}
        self._classes: list[Slots] = []
        self._class_of: dict[Address, Slots] = {}
        self._held: set[Scope] = set()
        self._aside_held: dict[Scope, list[tuple[Waiting, Slots]]] = {}
        self._limits: dict[Name, Limit] = {}
        self._holding: dict[Address, tuple[Limit, ...]] = {}
        self._gates = Places(gate_places, self._held, self._limits)

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
            case KeyTaken() | KeyFree() | ToolTaken() | ToolFree() | ToolAllowance():
                return tuple(self._share(message))
            case HoldRun():
                return tuple(self._hold(message))
            case GateQueue():
                return tuple(self._gates.queue(message))
            case GateDone():
                return tuple(self._gates.done(message.gate))

    def queued(self) -> Iterator[Enqueue]:
        """What waits for a slot, also behind a breaker or a held run."""
        return (waiting.request for waiting in self._requests.values())

    def explain(self, task: Address) -> str:
        """Why the queued `task` (an address) has no slot yet, in one line."""
        waiting = self._requests.get(task)
        if waiting is None:
            return "it is not queued"
        request = waiting.request
        if self._scope_held(request) is not None:
            return "its run or workstream is paused"
        full = waiting.full()
        if full is not None:
            return _why_full(full)
        fitting = sum(len(slots.known) for slots in self._classes if slots.fits(request))
        if fitting:
            return f"all {fitting} slots that it may take are busy"
        needs = ", ".join(request.requires) or "its kind and workstream"
        return f"no slot in existence offers {needs}"

    # --- tasks ---------------------------------------------------------------------------------

    def _enqueue(self, request: Enqueue) -> list[Effect]:
        effects = self._dequeue(request.task)
        self._arrivals += 1
        waiting = Waiting(request, self._arrivals, self._needs(request))
        self._requests[request.task] = waiting
        fitting = [slots for slots in self._classes if slots.fits(request)]
        for slots in fitting:
            slots.waiting.push(waiting)
        for slots in fitting:
            if slots.idle:
                self._match(slots, effects)
        return effects

    def _needs(self, request: Enqueue) -> tuple[Limit, ...]:
        if request.concurrency_key is None and request.tool is None:
            return ()
        needs = []
        if request.concurrency_key is not None:
            needs.append(self._limit((request.run_id, request.concurrency_key), 1))
        if request.tool is not None:
            tool = self._limit(("", request.tool), request.tool_limit)
            tool.most = request.tool_limit  # of the newest plan that has a say
            needs.append(tool)
        for limit in needs:
            limit.users += 1
        return tuple(needs)

    def _dequeue(self, task: Address) -> list[Effect]:
        effects: list[Effect] = []
        waiting = self._requests.pop(task, None)
        if waiting is not None:
            waiting.gone = True
            for limit in waiting.needs:
                limit.users -= 1
                # It may be one that came forward for the limit: the next one takes its turn.
                self._come_forward(limit, effects)
            return effects
        # It was granted a slot that it does not take after all: what it held is free again.
        for limit in self._holding.pop(task, ()):
            limit.free(task)
            self._come_forward(limit, effects)
        return effects

    def _match(self, slots: Slots, effects: list[Effect]) -> None:
        """Grants idle slots of one class to the best that wait for it."""
        while slots.idle:
            waiting = self._next(slots)
            if waiting is None:
                return
            worker = next(iter(slots.idle))
            del slots.idle[worker]
            task = waiting.request.task
            waiting.gone = True
            del self._requests[task]
            for limit in waiting.needs:
                limit.users -= 1
                self._take(task, limit)
            self.counter += 1
            effects.append(Send(worker, Assign(task, f"{self.epoch}.{self.counter}")))

    def _next(self, slots: Slots) -> Waiting | None:
        heap = slots.waiting
        while (waiting := heap.first()) is not None:
            scope = self._scope_held(waiting.request)
            full = waiting.full() if scope is None and waiting.needs else None
            if scope is None and full is None:
                return waiting
            heap.pop()
            if scope is not None:
                self._aside_held.setdefault(scope, []).append((waiting, slots))
            elif full is not None:
                full.aside.setdefault(slots, Heap()).push(waiting)
            for limit in waiting.needs:
                if limit is not full and limit.room > 0:
                    self._step_up(limit, slots, 1)
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

    def _class_like(self, message: SlotFree) -> Slots:
        new = Slots(message)
        for slots in self._classes:
            if slots.is_like(new):
                return slots
        # The first of its class: the only time that all who wait are looked at.
        new.waiting = Heap([w for w in self._requests.values() if new.fits(w.request)])
        self._classes.append(new)
        self._classes.sort(key=lambda slots: slots.pickiness)
        return new

    def _slot_gone(self, worker: Address) -> None:
        slots = self._class_of.pop(worker, None)
        if slots is None:
            return
        slots.known.discard(worker)
        slots.idle.pop(worker, None)
        if not slots.known and slots.waiting.first() is None:
            self._classes.remove(slots)

    # --- keys, tools and holds -------------------------------------------------------------------

    def _share(self, message: Share) -> list[Effect]:
        effects: list[Effect] = []
        match message:
            case KeyTaken(task, run_id, key):
                self._take(task, self._limit((run_id, key), 1))
            case ToolTaken(task, tool):
                self._take(task, self._limit(("", tool), None))
            case KeyFree(run_id, key):
                limit = self._limits.get((run_id, key))
                for task in tuple(limit.holders) if limit is not None else ():
                    self._free(task, (run_id, key), effects)
            case ToolFree(task, tool):
                self._free(task, ("", tool), effects)
            case ToolAllowance(tool, allowed, epoch):
                limit = self._limit(("", tool), None)
                limit.allow(allowed, epoch)
                self._come_forward(limit, effects)
                effects += self._gates.come_forward(tool)
        return effects

    def _limit(self, name: Name, most: int | None) -> Limit:
        limit = self._limits.get(name)
        if limit is None:
            limit = self._limits[name] = Limit(name, most)
        return limit

    def _take(self, task: Address, limit: Limit) -> None:
        limit.take(task)
        held = self._holding.get(task, ())
        if limit not in held:
            self._holding[task] = (*held, limit)

    def _free(self, task: Address, name: Name, effects: list[Effect]) -> None:
        limit = self._limits.get(name)
        if limit is None or task not in limit.holders:
            return
        limit.free(task)
        left = tuple(held for held in self._holding.pop(task) if held is not limit)
        if left:
            self._holding[task] = left
        self._come_forward(limit, effects)

    def _come_forward(self, limit: Limit, effects: list[Effect]) -> None:
        """As many as there is room for come forward, in each class of slots, the best first."""
        if limit.unused:
            self._limits.pop(limit.name, None)
            return
        for slots in list(limit.aside):
            room = limit.room
            if room <= 0:
                return
            self._step_up(limit, slots, room)
            self._match(slots, effects)

    def _step_up(self, limit: Limit, slots: Slots, count: float) -> None:
        heap = limit.aside.get(slots)
        if heap is None:
            return
        while count > 0 and (waiting := heap.pop()) is not None:
            slots.waiting.push(waiting)
            count -= 1
        if not heap:
            del limit.aside[slots]

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
        touched: dict[Slots, None] = {}
        for waiting, slots in self._aside_held.pop(scope, ()):
            if not waiting.gone:
                slots.waiting.push(waiting)
                touched[slots] = None
        for slots in touched:
            self._match(slots, effects)
        effects += self._gates.released()
        return effects


def _why_full(limit: Limit) -> str:
    owner, name = limit.name
    if owner:
        holder = next(iter(limit.holders)).partition(":")[2]
        return f"the concurrency key {name!r} is held by {holder}"
    if limit.allowed == 0:
        return f"the breaker {name} lets nothing through"
    if limit.most is not None and len(limit.holders) >= limit.most:
        return f"the tool of {name} runs {limit.most} times already"
    return f"the breaker {name} lets {limit.allowed} through at a time"
