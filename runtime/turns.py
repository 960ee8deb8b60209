"""Taking turns: one `decide` after another, applied to the open epoch, until nothing is ready.

Invariants:
1. A turn is applied whole or not at all: `decide` has returned, and each of its effects is known,
   before anything of it is applied.
2. Nothing here leaves the kernel. What leaves is put behind the epoch (`Epoch.after`).
3. An input from outside is kept by the epoch that consumed it, unless its turn changed nothing
   and stood on durable ground, so that nothing depends on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from actors import effects as fx
from actors.machine import Decision, Taken
from actors.messages import Ended, Refused
from runtime.cell import SUSPENDED, Cell, as_due
from runtime.epoch import Epoch
from runtime.errors import AlreadyExists, TurnFailed, UnknownKind, cause_of
from runtime.inbox import Envelope, Reply
from runtime.limits import (
    ABSENT_MAX,
    ACTOR_FAILURES_MAX,
    ACTOR_QUANTUM_TURNS,
    CHAIN_ACTORS,
    CHAIN_TURNS_MAX,
    EPOCH_ROWS_MAX,
    EPOCH_ROWS_READY,
    LOOK_TURNS,
    SLICE_S,
    SLICE_TURNS,
)
from runtime.router import Router
from runtime.seed import Lift
from runtime.timers import Timer, Timers
from runtime.watches import Watches

if TYPE_CHECKING:
    from runtime.kinds import Kind


class Turns:
    """The kernel's memory between two commits: cells, inboxes, timers and the open epoch."""

    def __init__(
        self,
        kinds: dict[str, Kind],
        now: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self.kinds = kinds
        self.now = now
        self.router = Router(wake)
        self.timers = Timers()
        self.open = Epoch(1)
        self.durable = 0  # number of the last epoch known to be committed
        self.turns_total = 0
        self._chain = 0  # turns that the present chain has taken
        self.next_n: dict[str, int] = {}  # by table: the integer key of its next row
        self.next_effect = 1
        self.create: dict[str, Callable[[Any, float], Any]] = {}  # values from seeds, by kind
        self.watches = Watches()
        # What carries out the effects that leave; whoever assembles the kernel sets them.
        self.perform: Callable[[Any], None] = lambda _effect: None
        self.perform_user: Callable[[int, str, str, str, Any], None] = lambda *_effect: None
        self._apply: dict[type, Callable[[Cell, Any, float, Reply | None], None]] = {
            fx.Send: self._send,
            fx.Spawn: self._spawn_effect,
            fx.SetTimer: self._set_timer,
            fx.CancelTimer: self._cancel_timer,
            fx.Note: self._note,
            fx.Watch: self._watch,
            fx.Reply: self._reply,
            fx.Perform: self._perform_later,
            Lift: self._lift,
        }
        self._checks: dict[type, Callable[[Any], None]] = {
            fx.Send: _check_send,
            fx.Spawn: self._check_spawn,
            fx.SetTimer: _check_timer,
            fx.CancelTimer: _check_key,
            fx.Watch: _check_watch,
            Lift: self._check_lift,
        }
        for kind in (
            fx.StartProcess,
            fx.StopProcess,
            fx.Offer,
            fx.Release,
            fx.Withdraw,
            fx.RunGate,
            fx.KillGate,
        ):
            self._apply[kind] = self._leave

    # --- taking turns ---------------------------------------------------------------------------

    def take(self) -> None:
        """Takes turns until nothing is ready, or the slice of turns or of time is used up.

        A chain is followed to its end before more is begun: what an actor passes through on the
        way is then written once. It also ends the slice, once its epoch is worth a commit.
        """
        router = self.router
        ready, backlog, absent = router.ready, router.backlog, router.absent
        entries = self.open.entries
        clock = time.perf_counter
        until = clock() + SLICE_S
        # Few turns until the first looks: they may be slow ones.
        turns, looked, step = 0, 0, 1
        now = self.now()
        router.taking = True
        try:
            while (ready or backlog) and len(absent) < ABSENT_MAX and len(entries) < EPOCH_ROWS_MAX:
                if not ready:
                    if len(entries) >= EPOCH_ROWS_READY and turns:
                        break
                    self._chain = 0
                    for _ in range(min(CHAIN_ACTORS, len(backlog))):
                        ready.append(backlog.popleft())
                cell = ready.popleft()
                if cell.suspended is None:
                    turns += self.activate(cell, now, until=until)
                more = cell.inbox or cell.control
                cell.scheduled = bool(more) and cell.suspended is None
                if cell.scheduled:
                    # More than its quantum, or it told itself to go on: first the others, or a
                    # fan-out to a million would stand in inboxes before any of it was taken. Not so
                    # the dispatcher: it is part of every chain, and nobody else can flood it.
                    (backlog if cell.kind.table else ready).append(cell)
                elif not more:
                    cell.inbox = cell.control = None
                if turns - looked >= step:
                    self._chain += turns - looked
                    looked = turns
                    step = min(2 * step, LOOK_TURNS)
                    if self._chain >= CHAIN_TURNS_MAX:
                        router.postpone_ready()
                    if turns >= SLICE_TURNS or clock() > until:
                        break
                    now = self.now()
        finally:
            router.taking = False
        self.turns_total += turns

    def activate(
        self, cell: Cell, now: float, quantum: int = ACTOR_QUANTUM_TURNS, until: float = inf
    ) -> int:
        """Takes what waits for one actor as it begins, control before work: up to `quantum` turns
        of it, and no longer than about `until` by the performance counter. Returns how many."""
        quantum = min(quantum, len(cell.control or ()) + len(cell.inbox or ()))
        turns, limit = 0, min(8, quantum)
        while turns < limit or (limit := _longer(turns, quantum, until)):
            lane = cell.control or cell.inbox
            if not lane:
                break
            item = lane.popleft()
            turns += 1
            if type(item) is Envelope:
                self.take_envelope(cell, item, now)
                # One turn may make hundreds of rows, and an actor may tell itself to go on.
                if cell.suspended is not None or len(self.open.entries) >= EPOCH_ROWS_MAX:
                    break
                continue
            value = cell.value
            try:
                decision = cell.decide(value, item, now)
                if decision.state is value and not decision.effects and not decision.edges:
                    if cell.epoch > self.durable:
                        self.open.consumed.append((cell.address, item))
                    continue
                self._check(cell, decision)
            except Exception as error:  # noqa: BLE001 (a bug in one actor must not end the others)
                self.open.consumed.append((cell.address, item))
                self._fail(cell, item, error, now, None)
                if cell.suspended is not None:
                    break
                continue
            self.open.consumed.append((cell.address, item))
            self._take_decision(cell, decision, now, None)
        return turns

    def take_envelope(self, cell: Cell, envelope: Envelope, now: float) -> None:
        """One turn, whole or not at all; none where the message is void."""
        if envelope.taken:
            return  # void: the epoch that sent it was discarded
        envelope.taken = True
        epoch = self.open
        if envelope.row:
            epoch.rows_gone.append(envelope.row)
        if envelope.outbox:
            epoch.outbox_gone.append(envelope.outbox)
        if envelope.row or envelope.kept:
            epoch.consumed.append(envelope)
        item = as_due(cell, envelope)
        if item is not envelope.item and isinstance(item, Refused):
            self._reply(cell, fx.Reply(item), now, envelope.reply)
            return
        timer = envelope.timer
        if timer is not None:
            if not timer.armed:
                return
            assert cell.timers is not None
            del cell.timers[timer.key]
            if timer.volatile:
                epoch.volatile_gone.append(timer)
            else:
                self.touch(cell)
        try:
            decision = cell.decide(cell.value, item, now)
            self._check(cell, decision)
        except Exception as error:  # noqa: BLE001 (a bug in one actor must not end the others)
            self._fail(cell, envelope.item, error, now, envelope.reply)
            return
        self._take_decision(cell, decision, now, envelope.reply)

    def _check(self, cell: Cell, decision: Decision[Any]) -> None:
        """Raises where applying the decision would break off half done. A type checker has seen
        none of this: users' actors need not be checked by one."""
        state = decision.state
        if state is not cell.value and not (
            isinstance(state, cell.kind.value_type) and state.id == cell.value.id
        ):
            raise TypeError(f"the next state is {_short(state)}, no value of {cell.address}")
        for taken in decision.edges:
            if type(taken) is not Taken:
                raise TypeError(f"{_short(taken)} among the edges: want what Chart.take gives")
        for effect in decision.effects:
            if type(effect) is fx.Send and type(effect.to) is str:
                continue  # most are
            check = self._checks.get(type(effect))
            if check is not None:
                check(effect)
            elif type(effect) not in self._apply:
                raise TypeError(f"{type(effect).__name__} is not an effect; see actors/effects.py")

    def _check_spawn(self, effect: fx.Spawn) -> None:
        kind = self.kinds.get(effect.kind)
        if kind is None:
            raise UnknownKind(effect.kind)
        if not isinstance(effect.value, kind.value_type) and effect.kind not in self.create:
            raise TypeError(f"{_short(effect.value)} is no value of the kind {effect.kind!r}")
        if (address := f"{effect.kind}:{effect.value.id}") in self.router.cells:
            raise AlreadyExists(address)

    def _check_lift(self, effect: Lift) -> None:
        cell = self.router.cells.get(effect.ref)
        if cell is None or cell.suspended is None:
            raise ValueError(f"{effect.ref} is not suspended")

    def _take_decision(
        self, cell: Cell, decision: Decision[Any], now: float, reply: Reply | None
    ) -> None:
        cell.failures = 0
        edges = decision.edges
        if edges or decision.state is not cell.value:
            cell.value = decision.state
            self.touch(cell)
            if edges:
                entries = self.open.entries
                for taken in edges:
                    entries.append((cell, taken, now))
        apply = self._apply
        effects = decision.effects
        if reply is not None and (len(effects) > 1 or cell.epoch > self.durable):
            reply.promises = True
        for effect in effects:
            apply[type(effect)](cell, effect, now, reply)
        if edges and edges[-1].target in cell.kind.terminal:
            self._end(cell)

    def _fail(
        self, cell: Cell, message: Any, error: Exception, now: float, reply: Reply | None
    ) -> None:
        cause = cause_of(error)
        self.router.bury(cell.address, message, cause)
        cell.failures += 1
        if type(cell.decide) is not partial:
            cell.decide = partial(self._decide_watched, cell, cell.decide)
        why = f"{type(message).__name__}: {cause}"
        self.note(cell, fx.Note("dead_letter", "error", why), now)
        if reply is not None:
            self.open.after.append(partial(reply.fail, TurnFailed(cell.address, cause)))
        if cell.failures >= ACTOR_FAILURES_MAX and cell.kind.table:
            self.suspend(cell, f"{cell.failures} messages in a row failed: {cause}", now)

    def _decide_watched(
        self,
        cell: Cell,
        decide: Callable[[Any, Any, float], Any],
        value: Any,
        item: Any,
        now: float,
    ) -> Any:
        """Of an actor that has failed before: a turn that changes nothing ends the row of failures
        too, which the quick way past `_take_decision` would not see."""
        decision = decide(value, item, now)
        if decision.state is value and not decision.effects and not decision.edges:
            cell.failures = 0
        return decision

    # --- what turns do to the open epoch ---------------------------------------------------------

    def touch(self, cell: Cell) -> None:
        """Marks the cell as changed in the open epoch."""
        if not cell.dirty:
            cell.dirty = True
            cell.epoch = self.open.number
            self.open.cells.append(cell)

    def note(self, cell: Cell, effect: fx.Note, now: float) -> None:
        """An audit row that is no transition, on behalf of the kernel."""
        if cell.kind.table:
            self._note(cell, effect, now, None)

    def suspend(self, cell: Cell, reason: str, now: float) -> None:
        """The actor takes no more turns; what waits for it goes on waiting, visibly."""
        cell.suspended = reason
        self.note(cell, fx.Note(SUSPENDED, "critical", reason, {SUSPENDED: reason}), now)

    def _lift(self, _cell: Cell, effect: Lift, now: float, _reply: Reply | None) -> None:
        cell = self.router.cells[effect.ref]
        cell.suspended = None
        cell.failures = 0
        self.note(
            cell, fx.Note("actor_released", "warning", effect.reason, None, effect.operator), now
        )
        if cell.inbox or cell.control:
            self.router.schedule(cell)

    def spawn(self, kind_name: str, value: Any, now: float, reason: str | None = None) -> Cell:
        """Creates an actor whose address is free in memory; one that is only in the store makes the
        epoch roll back, and the message that led here its culprit."""
        kind = self.kinds[kind_name]
        if not isinstance(value, kind.value_type):
            value = self.create[kind_name](value, now)
        address = f"{kind_name}:{value.id}"
        cell = Cell(address, kind, value, self._next_row(kind))
        self.router.cells[address] = cell
        for envelope in self.router.absent.pop(address, ()):
            self.router.post(envelope)
        if kind.table:
            cell.is_new = True
            self.touch(cell)
            self.open.entries.append(
                (cell, Taken(None, cell.state, "created", "info", reason), now)
            )
        return cell

    def _next_row(self, kind: Kind) -> int:
        if not kind.table:
            return 0
        n = self.next_n.get(kind.table, 1)
        self.next_n[kind.table] = n + 1
        return n

    def _spawn_effect(self, _cell: Cell, effect: fx.Spawn, now: float, _r: Reply | None) -> None:
        self.spawn(effect.kind, effect.value, now)

    def _send(self, _cell: Cell, effect: fx.Send, _now: float, reply: Reply | None) -> None:
        envelope = Envelope(effect.to, effect.message, effect.control)
        if effect.hand_on:
            envelope.reply = reply
        self.open.sent.append(envelope)
        self.router.post(envelope)

    def _set_timer(self, cell: Cell, effect: fx.SetTimer, _now: float, _r: Reply | None) -> None:
        before = cell.timers.get(effect.key) if cell.timers else None
        timer = self.timers.arm(cell, effect.key, effect.due, volatile=effect.volatile)
        if before is not None:
            self._removed(cell, before)
        if effect.volatile:
            self.open.volatile_new.append(timer)
        else:
            self.touch(cell)

    def _removed(self, cell: Cell, timer: Timer) -> None:
        if timer.volatile:
            self.open.volatile_gone.append(timer)
        else:
            self.touch(cell)

    def _cancel_timer(
        self, cell: Cell, effect: fx.CancelTimer, _n: float, _r: Reply | None
    ) -> None:
        timer = cell.timers.pop(effect.key, None) if cell.timers else None
        if timer is not None:
            self._removed(cell, timer)

    def _note(self, cell: Cell, effect: fx.Note, now: float, _reply: Reply | None) -> None:
        state = cell.state
        self.touch(cell)
        taken = Taken(
            state,
            state,
            effect.event_type,
            effect.severity,
            effect.reason,
            effect.metadata,
            effect.operator,
            effect.event_type,
        )
        self.open.entries.append((cell, taken, now))

    def _watch(self, cell: Cell, effect: fx.Watch, now: float, _reply: Reply | None) -> None:
        target = self.router.cells.get(effect.target)
        if target is not None and target.ended:
            self._send(cell, fx.Send(cell.address, self._ended(target)), now, None)
            return
        if self.watches.add(effect.target, cell.address):
            self.open.watches_new.append((effect.target, cell.address))
        if target is None:
            self.router.absent.setdefault(effect.target, [])  # perhaps it has ended: look

    def _ended(self, cell: Cell) -> Ended:
        return Ended(cell.address, cell.state)

    def _end(self, cell: Cell) -> None:
        if cell.timers:
            for timer in cell.timers.values():
                self._removed(cell, timer)
            cell.timers.clear()
        if self.watches:
            self.tell_watchers(cell)
            for target in self.watches.left(cell.address):
                self.open.watches_left.append((target, cell.address))

    def tell_watchers(self, cell: Cell) -> None:
        """The actor has ended: whoever watches it is told, once."""
        watching = self.watches.told(cell.address)
        if watching:
            self.open.watches_gone.append(cell.address)
            for watcher in watching:
                self._send(cell, fx.Send(watcher, self._ended(cell)), 0.0, None)

    def _reply(self, cell: Cell, effect: fx.Reply, _now: float, reply: Reply | None) -> None:
        if reply is None:
            return
        if cell.epoch <= self.durable and not reply.promises:
            reply.answer(effect.value)  # it stands on durable ground and promises nothing new
        else:
            self.open.after.append(partial(reply.answer, effect.value))

    def _leave(self, _cell: Cell, effect: fx.Effect, _now: float, _reply: Reply | None) -> None:
        self.open.after.append(partial(self.perform, effect))

    def _perform_later(self, cell: Cell, effect: fx.Perform, _n: float, _r: Reply | None) -> None:
        row = self.next_effect
        self.next_effect += 1
        self.open.outbox_new.append((row, cell.address, effect.name, effect.key, effect.payload))
        self.open.after.append(
            partial(self.perform_user, row, cell.address, effect.name, effect.key, effect.payload)
        )


def _longer(turns: int, quantum: int, until: float) -> int:
    """Up to how many turns an activation may go on that has taken `turns`; 0: it has to end. Asked
    ever more rarely: slow turns are noticed soon, and quick ones do not pay for it."""
    return min(4 * turns, quantum) if turns < quantum and time.perf_counter() <= until else 0


def _check_send(effect: fx.Send) -> None:
    if not isinstance(effect.to, str):
        raise TypeError(f"Send to {_short(effect.to)}: want an address, 'kind:id'")


def _check_timer(effect: fx.SetTimer) -> None:
    if not isinstance(effect.key, str) or not isfinite(effect.due):
        raise TypeError(f"a timer {_short(effect.key)} due at {effect.due!r}: want an instant")


def _check_key(effect: fx.CancelTimer) -> None:
    if not isinstance(effect.key, str):
        raise TypeError(f"a timer {_short(effect.key)}: want its key, a str")


def _check_watch(effect: fx.Watch) -> None:
    if not isinstance(effect.target, str):
        raise TypeError(f"Watch {_short(effect.target)}: want an address, 'kind:id'")


def _short(value: Any) -> str:
    return f"{value!r:.80}"
