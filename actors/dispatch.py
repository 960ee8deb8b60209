"""The dispatcher: which queued task gets which idle slot, and which gate may run.

A guard before the worker slots and before the bounded places for gate commands. It holds an index
in memory and nothing else: what is parked here stands in the store as QUEUED tasks and PENDING
gates, and a new dispatcher learns it from what they, the slots and held runs announce.

Invariants:
1. A task is assigned at most once for each time that it queues, under a lease never given before.
2. An idle slot and a task that may take it never both wait: each message ends with none left.
3. Among the tasks that a slot may take, the highest run priority goes first, then the highest
   priority, then who has queued longest.
4. A key of a run has one holder, and a slot is free only while its worker says so: no count leaks.
5. A message costs O(log n) in what is queued: what is held or lacks its key stands aside.

Deliberately absent: time. What waits too long is the task's own timer.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from actors import messages as m
from actors.effects import Address, Effect, Send

# Tasks alike share a queue: (run whose own slots alone they may take, or None; what they require;
# the kind of slot that they insist on, or None; the workstream that an affinity names, or None).
_Want = tuple[str | None, tuple[str, ...], str | None, str | None]
# Slots alike share a line: (run, kind, capabilities, affinity).
_Sort = tuple[str | None, str, tuple[str, ...], tuple[str, ...]]
_Rank = tuple[int, int, float, int]


class Dispatch:
    """An index in memory over what its clients announce; built anew by every owner."""

    def __init__(self, epoch: int, gate_places: int, counter: int = 0) -> None:
        self.epoch = epoch
        self.gate_places = gate_places
        self.counter = counter  # of leases; a dispatcher that replaces another goes on from its
        self._order = 0
        self._queued: dict[Address, tuple[_Rank, m.Enqueue]] = {}
        self._lines: dict[_Want, list[tuple[_Rank, Address]]] = {}
        self._affine: set[str] = set()  # workstreams that some slot's affinity names
        self._aside: dict[tuple[str, str], list[tuple[_Rank, Address]]] = {}  # by held run, or key
        self._held: set[tuple[str, str | None]] = set()
        self._keys: dict[tuple[str, str], Address] = {}
        self._holding: dict[Address, tuple[str, str]] = {}  # the same the other way round
        self._idle: dict[_Sort, deque[Address]] = {}
        self._slots: dict[Address, _Sort] = {}  # every slot ever announced and not gone
        self._free: set[Address] = set()
        self._gates_running: set[Address] = set()
        self._gates_waiting: dict[Address, str] = {}

    def decide(self, message: m.Message, now: float) -> tuple[Effect, ...]:
        """One turn; the index changes in place."""
        match message:
            case m.Enqueue():
                return self._enqueue(message)
            case m.SlotFree():
                return self._slot_free(message)
            case m.Dequeue(task):
                return self._dequeue(task)
            case m.SlotGone(worker):
                self._free.discard(worker)
                self._slots.pop(worker, None)
                return ()
            case m.KeyTaken(task, run_id, key):
                self._take_key(task, run_id, key)
                return ()
            case m.KeyFree(run_id, key):
                return self._key_free(run_id, key)
            case m.HoldRun():
                return self._hold(message)
            case m.GateQueue(gate, run_id, running):
                if running:
                    self._gates_running.add(gate)
                else:
                    self._gates_waiting[gate] = run_id
                return self._admit_gates()
            case m.GateDone(gate):
                self._gates_running.discard(gate)
                self._gates_waiting.pop(gate, None)
                return self._admit_gates()
            case _:  # its vocabulary is closed, but the union of all messages is not its inbox
                raise TypeError(f"{type(message).__name__} is no message to the dispatcher")

    def explain(self, task: Address) -> str:
        """Why the queued `task` (an address) has no slot yet, in one line."""
        if task not in self._queued:
            return "it is not queued"
        wanted = self._queued[task][1]
        if self._is_held(wanted):
            return "its run or workstream is paused"
        holder = self._holder(wanted)
        if holder is not None:
            key = wanted.concurrency_key
            return f"the concurrency key {key!r} is held by {holder.partition(':')[2]}"
        fitting = [worker for worker, sort in self._slots.items() if _fits(sort, wanted)]
        if fitting:
            return f"all {len(fitting)} slots that it may take are busy"
        needs = ", ".join(wanted.requires) or "its kind and workstream"
        return f"no slot in existence offers {needs}"

    # --- tasks ------------------------------------------------------------------------------------

    def _enqueue(self, wanted: m.Enqueue) -> tuple[Effect, ...]:
        task = wanted.task
        freed = self._release_of(task)
        self._order += 1
        rank = (-wanted.run_priority, -wanted.priority, wanted.since, self._order)
        self._queued[task] = (rank, wanted)
        aside = self._reason_to_stand_aside(wanted)
        if aside is not None:
            heappush(self._aside.setdefault(aside, []), (rank, task))
            return freed
        # Whoever could take an idle slot before has taken it: this task comes first for one.
        for sort, line in self._idle.items():
            if line and _fits(sort, wanted) and (worker := self._next_idle(line)) is not None:
                return (*freed, self._assign(worker, task))
        self._stand_in_line(rank, wanted)
        return freed

    def _stand_in_line(self, rank: _Rank, wanted: m.Enqueue) -> None:
        for want in self._wants(wanted):
            heappush(self._lines.setdefault(want, []), (rank, wanted.task))

    def _wants(self, wanted: m.Enqueue) -> tuple[_Want, ...]:
        scope = wanted.run_id if wanted.own_slots else None
        kind = "process" if wanted.process_only else "inline" if wanted.inline_only else None
        general: _Want = (scope, wanted.requires, kind, None)
        if wanted.workstream in self._affine:
            return (general, (scope, wanted.requires, kind, wanted.workstream))
        return (general,)

    def _dequeue(self, task: Address) -> tuple[Effect, ...]:
        queued = self._queued.pop(task, None)  # its entries in lines are skipped when they surface
        if queued is not None and queued[1].concurrency_key and self._holder(queued[1]) is None:
            # It may have been the one that a freed key let go first: the next one takes its turn.
            return self._key_free(queued[1].run_id, queued[1].concurrency_key)
        return self._release_of(task)

    def _assign(self, worker: Address, task: Address) -> Effect:
        wanted = self._queued.pop(task)[1]
        if wanted.concurrency_key is not None:
            self._take_key(task, wanted.run_id, wanted.concurrency_key)
        self._free.discard(worker)
        self.counter += 1
        return Send(worker, m.Assign(task, f"{self.epoch}.{self.counter}"))

    # --- slots ------------------------------------------------------------------------------------

    def _slot_free(self, slot: m.SlotFree) -> tuple[Effect, ...]:
        sort: _Sort = (slot.run_id, slot.kind, slot.capabilities, slot.affinity)
        for workstream in slot.affinity:
            self._learn_affinity(workstream)
        self._slots[slot.worker] = sort
        self._free.add(slot.worker)
        task = self._best_for(sort)
        if task is not None:
            return (self._assign(slot.worker, task),)
        line = self._idle.setdefault(sort, deque())
        if slot.worker not in line:
            line.append(slot.worker)
        return ()

    def _learn_affinity(self, workstream: str) -> None:
        if workstream in self._affine:
            return
        self._affine.add(workstream)
        for rank, wanted in list(self._queued.values()):
            if wanted.workstream == workstream and self._reason_to_stand_aside(wanted) is None:
                heappush(self._lines.setdefault(self._wants(wanted)[1], []), (rank, wanted.task))

    def _next_idle(self, line: deque[Address]) -> Address | None:
        while line:
            worker = line.popleft()
            if worker in self._free:
                return worker
        return None

    def _best_for(self, sort: _Sort) -> Address | None:
        best: tuple[_Rank, Address] | None = None
        for want, line in self._lines.items():
            if line and _offers(sort, want):
                head = self._head(line)
                if head is not None and (best is None or head < best):
                    best = head
        return best[1] if best is not None else None

    def _head(self, line: list[tuple[_Rank, Address]]) -> tuple[_Rank, Address] | None:
        """The first of the line that may go now; whoever may not is taken out of it."""
        while line:
            rank, task = line[0]
            queued = self._queued.get(task)
            if queued is not None and queued[0] == rank:
                aside = self._reason_to_stand_aside(queued[1])
                if aside is None:
                    return line[0]
                heappush(self._aside.setdefault(aside, []), (rank, task))
            heappop(line)
        return None

    # --- holds and keys ---------------------------------------------------------------------------

    def _is_held(self, wanted: m.Enqueue) -> bool:
        held = self._held
        return bool(held) and (
            (wanted.run_id, None) in held or (wanted.run_id, wanted.workstream) in held
        )

    def _holder(self, wanted: m.Enqueue) -> Address | None:
        if wanted.concurrency_key is None:
            return None
        return self._keys.get((wanted.run_id, wanted.concurrency_key))

    def _reason_to_stand_aside(self, wanted: m.Enqueue) -> tuple[str, str] | None:
        if self._is_held(wanted):
            return ("held", wanted.run_id)
        if self._holder(wanted) is not None:
            return (wanted.run_id, f"key {wanted.concurrency_key}")
        return None

    def _hold(self, hold: m.HoldRun) -> tuple[Effect, ...]:
        name = (hold.run_id, hold.workstream)
        if hold.held:
            self._held.add(name)
            return ()
        self._held.discard(name)
        effects: list[Effect] = []
        waiting = self._aside.pop(("held", hold.run_id), [])
        for _, task in sorted(set(waiting)):
            effects += self._step_back(task)
        return (*effects, *self._admit_gates())

    def _take_key(self, task: Address, run_id: str, key: str) -> None:
        self._keys[run_id, key] = task
        self._holding[task] = (run_id, key)

    def _key_free(self, run_id: str, key: str) -> tuple[Effect, ...]:
        holder = self._keys.pop((run_id, key), None)
        if holder is not None:
            self._holding.pop(holder, None)
        waiting = self._aside.get((run_id, f"key {key}"), [])
        while waiting:
            _, task = heappop(waiting)
            if task in self._queued:
                return self._step_back(task)
        return ()

    def _release_of(self, task: Address) -> tuple[Effect, ...]:
        """A task that queues or leaves holds no key any more, if an assignment had given it one."""
        held = self._holding.get(task)
        return self._key_free(*held) if held is not None else ()

    def _step_back(self, task: Address) -> tuple[Effect, ...]:
        """A task that stood aside takes its place again."""
        queued = self._queued.pop(task, None)
        return self._enqueue(queued[1]) if queued is not None else ()

    # --- gates ------------------------------------------------------------------------------------

    def _admit_gates(self) -> tuple[Effect, ...]:
        effects: list[Effect] = []
        for gate, run_id in list(self._gates_waiting.items()):
            if len(self._gates_running) >= self.gate_places:
                break
            if (run_id, None) not in self._held:
                del self._gates_waiting[gate]
                self._gates_running.add(gate)
                effects.append(Send(gate, m.GateAdmitted()))
        return tuple(effects)


def _fits(sort: _Sort, wanted: m.Enqueue) -> bool:
    """Whether a slot of this sort may take the task."""
    run_id, kind, capabilities, affinity = sort
    return (
        (run_id == wanted.run_id or (run_id is None and not wanted.own_slots))
        and not (wanted.process_only and kind != "process")
        and not (wanted.inline_only and kind != "inline")
        and all(need in capabilities for need in wanted.requires)
        and (not affinity or wanted.workstream in affinity)
    )


def _offers(sort: _Sort, want: _Want) -> bool:
    """Whether a slot of this sort may take whoever stands in this line."""
    run_id, kind, capabilities, affinity = sort
    scope, requires, insists, workstream = want
    return (
        scope == run_id
        and (insists is None or insists == kind)
        and all(need in capabilities for need in requires)
        and (workstream in affinity if affinity else workstream is None)
    )
