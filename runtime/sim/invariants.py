"""The promises that every simulated run is held to, without being asked.

| promise                      | looked at                                                     |
|------------------------------|---------------------------------------------------------------|
| edges are legal              | each commit (`legality`)                                      |
| the log is whole             | the end: numbered without gaps, chained, never back in time   |
| one execution at a time      | each start and end outside (`legality`)                       |
| a slot runs one task         | each start of a task                                          |
| dead before its lease ends   | each end of an execution                                      |
| nothing acknowledged is lost | each acknowledgement, each recovery, the end                  |
| committed before it leaves   | each effect; each lease, launch and try at most once          |
| every run ends, no deadlock  | whenever nothing moves (`ends`)                               |
| gates before starts          | each start of a task                                          |
| breakers keep shut           | each answer and each settled call of a breaker                |
| ends are bottom-up           | each end of a run or workstream                               |
| messages are conserved       | at rest: what is stored as under way is under way             |
| memory is what is stored     | at rest, now and then: every value, and the log's last word   |
| infrastructure burns nothing | each result that is no fault of the work                      |
| silence is noticed           | at rest, now and then: a slot's clock for its process         |
| growth is bounded            | at rest: timers, lost waiters; the end: rows of each task     |
| deciding is pure             | one turn in so many (`observing`)                             |

How often each was looked at goes into the coverage: one that never was has promised nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from actors import effects as fx
from actors.guard_messages import Admit, Settle, Ticket
from actors.messages import WorkFinished
from runtime.sim.coverage import AbstractStates
from runtime.sim.legality import core_monitors
from runtime.sim.monitors import Monitor

if TYPE_CHECKING:
    from actors.machine import Decision
    from runtime.cell import Cell
    from runtime.sim.monitors import World

_TIMERS_MAX: Final = 8  # of one actor of ours: each has a handful of keys
_LOOK_EVERY: Final = 50  # a look at every value costs as much as there are actors
_ROWS_FIXED: Final = 64  # of a task, whatever happens: pauses, blocks, what its operator did
_ROWS_A_TRY: Final = 8


class _Counted(Monitor):
    """Says how often it looked."""

    def __init__(self) -> None:
        self.looked = 0

    def on_end(self, world: World) -> None:
        counted = world.coverage.always
        counted[self.name] = counted.get(self.name, 0) + self.looked


class Starts(_Counted):
    """Before a task starts its gates have passed and its breaker gave a ticket; alone in a slot."""

    name = "gates before starts"
    kinds: frozenset[str] | None = frozenset({"task"})
    moves = True

    def __init__(self) -> None:
        super().__init__()
        self._on: dict[str, str] = {}  # by slot: the task that runs there

    def on_turn(
        self, world: World, cell: Cell, before: Any, message: Any, decision: Decision[Any]
    ) -> None:
        if not decision.edges or cell.kind.name != "task":
            return
        task = cell.value
        if before.worker_id is not None and self._on.get(before.worker_id) == task.id:
            del self._on[before.worker_id]
        if task.state != "running":
            return
        self.looked += 1
        other = self._on.get(task.worker_id)
        if other not in {None, task.id} and self._runs(world, other, task.worker_id):
            text = f"{task.worker_id} runs {other} and {task.id}"
            world.fail("a slot runs one task", text)
        self._on[task.worker_id] = task.id
        for gate in task.spec.gates:
            if gate not in task.gates.waived and not _has_passed(world, gate):
                world.fail(self.name, f"{task.id} runs, and {gate} has not passed")
        if task.spec.breaker is not None and task.admitted is None:
            world.fail(self.name, f"{task.id} runs without a ticket of {task.spec.breaker}")

    @staticmethod
    def _runs(world: World, other: str | None, slot: str) -> bool:
        """Whether it still does: what it did may have been rolled back."""
        cell = world.cells.get(f"task:{other}")
        return cell is not None and cell.state == "running" and cell.value.worker_id == slot

    def on_recovered(self, world: World) -> None:
        running = (c.value for c in world.cells.values() if c.kind.name == "task")
        self._on = {task.worker_id: task.id for task in running if task.state == "running"}


def _value(world: World, address: str) -> Any:
    """What an actor is: in memory, or, where it has ended, as it is stored."""
    cell = world.cells.get(address)
    if cell is not None:
        return cell.value
    stored = world.store.rows.get(address)
    return None if stored is None else stored.value


def _has_passed(world: World, gate: str) -> bool:
    value = _value(world, gate)
    while value is not None and value.state != "passed" and value.replaced_by is not None:
        value = _value(world, f"test_gate:{value.replaced_by}")
    return value is not None and value.state == "passed"


class Breakers(_Counted):
    """None is let through while it is open, one probe at most while it is half open; and what was
    admitted before its last move changes nothing."""

    name = "breakers keep shut"
    kinds: frozenset[str] | None = frozenset({"circuit_breaker"})
    words: frozenset[type] | None = frozenset({Admit, Settle})

    def on_turn(
        self, world: World, cell: Cell, before: Any, message: Any, decision: Decision[Any]
    ) -> None:
        if cell.kind.name != "circuit_breaker":
            return
        if type(message) is Admit:
            self.looked += 1
            self._admitted(world, cell.address, before, decision)
        elif type(message) is Settle and message.ticket.epoch != before.epoch:
            self.looked += 1
            after = decision.state
            if decision.edges or (after.counts, after.successes) != (
                before.counts,
                before.successes,
            ):
                known = f"epoch {message.ticket.epoch}, it is in {before.epoch}"
                world.fail(self.name, f"{cell.address} counts a result of {known}")

    def _admitted(self, world: World, address: str, before: Any, decision: Decision[Any]) -> None:
        after = decision.state
        for ticket in map(_ticket_of, decision.effects):
            if ticket is None or after.mode in {"shadow", "disabled"}:
                continue
            if after.state == "open":
                world.fail(self.name, f"{address} is open, and lets {ticket.owner} through")
            if after.state == "half_open" and before.probe is not None and not decision.edges:
                world.fail(self.name, f"{address} is half open, and lends a second probe")


def _ticket_of(effect: Any) -> Ticket | None:
    said = effect.message if type(effect) is fx.Send else getattr(effect, "value", None)
    return said if isinstance(said, Ticket) else None


class Accounting(_Counted):
    """What machines do to work burns none of its attempts."""

    name = "infrastructure burns nothing"
    kinds: frozenset[str] | None = frozenset({"task"})
    words: frozenset[type] | None = frozenset({WorkFinished})

    def on_turn(
        self, world: World, cell: Cell, before: Any, message: Any, decision: Decision[Any]
    ) -> None:
        if type(message) is not WorkFinished or not message.outcome.infrastructure:
            return
        if message.outcome.alive or before.lease != message.lease or before.ending is not None:
            return
        self.looked += 1
        if decision.state.retry_count != before.retry_count:
            text = f"{cell.address} was {message.outcome.reason}, and an attempt is burned"
            world.fail(self.name, text)


class Deaths(_Counted):
    """A task leaves RUNNING only when what its lease ran is dead, or known to survive KILL."""

    name = "dead before its lease ends"
    kinds: frozenset[str] | None = frozenset({"task"})
    moves = True

    def __init__(self) -> None:
        super().__init__()
        self._alive: set[tuple[str, str]] = set()  # task id, lease

    def on_outside(self, world: World, what: str, actor: str, detail: Any) -> None:
        if what == "exec":
            self._alive.add((actor, detail))
        elif what == "dead":
            self._alive.discard((actor, detail))

    def on_turn(
        self, world: World, cell: Cell, before: Any, message: Any, decision: Decision[Any]
    ) -> None:
        if not decision.edges or cell.kind.name != "task" or before.lease is None:
            return
        self.looked += 1
        undead = type(message) is WorkFinished and message.outcome.alive
        if not undead and (before.id, before.lease) in self._alive:
            world.fail(self.name, f"{before.id} is {cell.state}, and lease {before.lease} runs")


class BottomUp(_Counted):
    """A run or a workstream ends only when everything of it has."""

    name = "ends are bottom-up"
    kinds: frozenset[str] | None = frozenset({"run", "workstream"})
    moves = True

    def on_turn(
        self, world: World, cell: Cell, before: Any, message: Any, decision: Decision[Any]
    ) -> None:
        if not decision.edges or cell.kind.name not in {"run", "workstream"} or not cell.ended:
            return
        self.looked += 1
        ended, run = cell.value.id, cell.kind.name == "run"
        for other in world.cells.values():
            kind, value = other.kind.name, other.value
            if kind not in {"workstream", "task", "test_gate"} or value.completed_at is not None:
                continue
            below = value.run_id == ended if run else getattr(value, "workstream_id", "") == ended
            if below:
                world.fail(self.name, f"{ended} has ended, and its {other.address} has not")


class WriteAhead(_Counted):
    """What leaves is durable by then; and no lease, launch or try leaves twice."""

    name = "committed before it leaves"

    def __init__(self) -> None:
        super().__init__()
        self._left: set[tuple[str, ...]] = set()
        self._performing: set[int] = set()  # rows of the outbox

    def on_effect(self, world: World, effect: Any) -> None:
        self.looked += 1
        rows = world.store.rows
        match effect:
            case fx.StartProcess(uet):
                self._once(world, "start", uet)
                self._durable(world, uet in rows, f"the process of {uet}")
            case fx.Offer(uet, lease):
                self._once(world, "offer", lease)
                uet_row = rows.get(uet)
                known = uet_row is not None and uet_row.value.lease in {lease, None}
                self._durable(world, known, f"the lease {lease}")
            case fx.Release(uet, lease):
                self._once(world, "release", lease)
                row = rows.get(uet)
                held = row is not None and row.value.lease == lease
                pid = row is None or not held or row.value.child_pid is not None
                self._durable(world, row is not None and pid, f"the launcher of {lease}")
            case fx.RunGate(gate, attempt):
                self._once(world, "try", gate, str(attempt))
                row = rows.get(gate)
                tried = row is not None and row.value.tries >= attempt
                self._durable(world, tried, f"the try {attempt} of {gate}")
            case fx.Perform(name, key):
                # One that failed may be asked for again, under its key: then it is another row.
                found = [n for n, e in world.store.effects.items() if e[2:4] == (name, key)]
                self._durable(world, bool(found), f"the effect {name} {key}")
                if self._performing.issuperset(found):
                    world.fail(self.name, f"{name} {key} is handed out twice by one owner")
                self._performing.update(found)
            case _:
                pass  # a request to end something: it may be repeated

    def _once(self, world: World, *what: str) -> None:
        if what in self._left:
            world.fail(self.name, f"{' '.join(what)} leaves twice")
        self._left.add(what)

    def _durable(self, world: World, known: bool, what: str) -> None:
        if not known:
            world.fail(self.name, f"{what} leaves, and is not on record")

    def on_crash(self, world: World) -> None:
        self._performing.clear()  # the next owner offers them again, marked as perhaps done


class Acknowledged(_Counted):
    """A run that somebody was told of is there, and stays there."""

    name = "nothing acknowledged is lost"

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, str] = {}

    def on_outside(self, world: World, what: str, actor: str, detail: Any) -> None:
        if what == "acknowledged":
            self._known[actor] = detail
            self._look(world)

    def on_recovered(self, world: World) -> None:
        self._look(world)

    def on_end(self, world: World) -> None:
        self._look(world)
        super().on_end(world)

    def _look(self, world: World) -> None:
        for run, key in self._known.items():
            self.looked += 1
            row = world.store.rows.get(run)
            if row is None or row.value.idempotency_key != key:
                world.fail(self.name, f"{run} was acknowledged, and is not on record")


class AtRest(_Counted):
    """Whenever nothing moves: memory is what is stored, no message is lost, nothing piles up."""

    name = "memory is what is stored"

    def __init__(self) -> None:
        super().__init__()
        self._rests = 0

    def on_quiescent(self, world: World) -> None:
        if world.store.undelivered:
            self._conserved(world)
        self._rests += 1
        if self._rests % _LOOK_EVERY == 0:
            self._look(world)

    def on_recovered(self, world: World) -> None:
        self._rests = -1  # the next rest is looked at

    def on_end(self, world: World) -> None:
        if world.up:
            self._look(world)
        super().on_end(world)

    def _conserved(self, world: World) -> None:
        for row, target, body, _control in world.store.undelivered.values():
            cell = world.cells.get(target)
            if cell is not None and cell.suspended is None and not (cell.inbox or cell.control):
                text = f"the message {row} to {target} is stored as under way, and is nowhere"
                world.fail("messages are conserved", text, body)

    def _look(self, world: World) -> None:
        self.looked += 1
        rows = world.store.rows
        for address, cell in world.cells.items():
            if not cell.kind.table:
                continue
            if cell.timers and cell.kind.chart is not None and len(cell.timers) > _TIMERS_MAX:
                text = f"{address} has {len(cell.timers)} timers: {sorted(cell.timers)}"
                world.fail("growth is bounded", text)
            if cell.kind.name == "worker":
                self._clocked(world, cell)
            if cell.dirty:
                continue
            row = rows.get(address)
            if row is None:
                world.fail(self.name, f"{address} is in memory, and not on record")
            elif row.value is not cell.value and row.value != cell.value:
                world.fail(self.name, f"{address} is not what is stored of it")
            elif row.version != cell.version:
                text = f"{address} is at version {cell.version}, stored is {row.version}"
                world.fail(self.name, text)

    def _clocked(self, world: World, cell: Cell) -> None:
        """Whoever waits for a process has a clock that ends the wait."""
        slot = cell.value
        if slot.kind != "process" or not slot.ready:
            return
        clock = {"busy": "heartbeat", "unresponsive": "recovery"}.get(slot.state)
        if clock is not None and clock not in (cell.timers or {}):
            world.fail("silence is noticed", f"{slot.id} is {slot.state}, and has no {clock} clock")


class WholeLog(_Counted):
    """The log is numbered without gaps, chained from row to row of an entity, never back in time.
    Its last word of each entity is that entity's state, and it grows with what is tried."""

    name = "the log is whole"

    def on_end(self, world: World) -> None:
        last: dict[tuple[str, str], Any] = {}
        counts: Counter[tuple[str, str]] = Counter()
        at = 0.0
        for number, row in enumerate(world.store.audit, 1):
            entity = (row.kind, row.id)
            before = last.get(entity)
            if row.seq != number:
                world.fail(self.name, f"row {number} is numbered {row.seq}")
            if row.at < at:
                world.fail(self.name, f"row {number} is earlier than the one before it")
            follows = (None, 0) if before is None else (before.target, before.seq)
            if (row.source, row.prev) != follows:
                text = f"row {number} of {row.id} leaves {row.source}: it stood in {follows[0]}"
                world.fail(self.name, text)
            last[entity] = row
            counts[entity] += 1
            at = row.at
            self.looked += 1
        self._agrees(world, last, counts)
        super().on_end(world)

    def _agrees(
        self, world: World, last: dict[tuple[str, str], Any], counts: Counter[tuple[str, str]]
    ) -> None:
        for change in world.store.rows.values():
            kind, value = change.kind, change.value
            entity = (kind.name, value.id)
            row = last.get(entity)
            state = kind.state_of(value)
            if row is None or row.target != state:
                said = "nothing" if row is None else row.target
                world.fail(self.name, f"{value.id} is {state}, and its last row says {said}")
            if kind.name == "task":
                most = _ROWS_FIXED + _ROWS_A_TRY * value.attempt
                if counts[entity] > most:
                    text = f"{value.id} has {counts[entity]} rows after {value.attempt} tries"
                    world.fail("growth is bounded", text)


def default_monitors() -> list[Monitor]:
    """Fresh ones of every built-in promise, for one run; and what counts its abstract states."""
    return [
        *core_monitors(),
        Starts(),
        Breakers(),
        Accounting(),
        Deaths(),
        BottomUp(),
        WriteAhead(),
        Acknowledged(),
        AtRest(),
        WholeLog(),
        AbstractStates(),
    ]
