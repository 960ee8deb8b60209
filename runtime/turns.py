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
from typing import TYPE_CHECKING, Any

from actors import effects as fx
from actors.machine import Decision, Taken
from actors.messages import Ended, Refused
from runtime.cell import Cell
from runtime.epoch import Epoch
from runtime.errors import AlreadyExists, TurnFailed, UnknownKind
from runtime.inbox import Envelope, Reply
from runtime.limits import (
    ACTOR_FAILURES_MAX,
    ACTOR_QUANTUM_TURNS,
    CHAIN_ACTORS,
    CHAIN_TURNS_MAX,
    EPOCH_ROWS_READY,
    LOOK_TURNS,
    SLICE_S,
    SLICE_TURNS,
)
from runtime.router import Router
from runtime.timers import Timers

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
        self.watchers: dict[str, list[str]] = {}  # by target
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
        ready, backlog = router.ready, router.backlog
        clock = time.perf_counter
        until = clock() + SLICE_S
        turns = looked = 0
        now = self.now()
        router.taking = True
        try:
            while ready or backlog:
                if not ready:
                    if len(self.open.entries) >= EPOCH_ROWS_READY and turns:
                        break
                    self._chain = 0
                    for _ in range(min(CHAIN_ACTORS, len(backlog))):
                        ready.append(backlog.popleft())
                cell = ready.popleft()
                cell.scheduled = False
                if cell.suspended is not None:
                    continue
                turns += self._activate(cell, now)
                if cell.inbox or cell.control:
                    cell.scheduled = True
                    backlog.append(cell)
                else:
                    cell.inbox = cell.control = None
                if turns - looked >= LOOK_TURNS:
                    self._chain += turns - looked
                    looked = turns
                    if self._chain >= CHAIN_TURNS_MAX:
                        backlog.extend(ready)
                        ready.clear()
                    if turns >= SLICE_TURNS or clock() > until:
                        break
                    now = self.now()
        finally:
            router.taking = False
        self.turns_total += turns

    def _activate(self, cell: Cell, now: float) -> int:
        turns = 0
        while turns < ACTOR_QUANTUM_TURNS:
            lane = cell.control or cell.inbox
            if not lane:
                break
            item = lane.popleft()
            turns += 1
            if type(item) is Envelope:
                self._take_envelope(cell, item, now)
                if cell.suspended is not None:
                    break
                continue
            value = cell.value
            try:
                decision = cell.decide(value, item, now)
                if decision.state is value and not decision.effects and not decision.edges:
                    if cell.epoch > self.durable:
                        self.open.consumed.append((cell.address, item))
                    continue
                self._check(decision)
            except Exception as error:  # noqa: BLE001 (a bug in one actor must not end the others)
                self._fail(cell, item, error, now, None)
                continue
            self.open.consumed.append((cell.address, item))
            self._take_decision(cell, decision, now, None)
        return turns

    def _take_envelope(self, cell: Cell, envelope: Envelope, now: float) -> None:
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
        if envelope.if_version is not None and (cell.dirty or cell.version != envelope.if_version):
            stale = Refused(
                f"{cell.id} is at version {cell.version + cell.dirty}, not {envelope.if_version}: "
                "look again and decide anew"
            )
            self._reply(cell, fx.Reply(stale), now, envelope.reply)
            return
        timer = envelope.timer
        if timer is not None:
            if not timer.armed:
                return
            assert cell.timers is not None
            del cell.timers[timer.key]
            if not timer.volatile:
                self.touch(cell)
        try:
            decision = cell.decide(cell.value, envelope.item, now)
            self._check(decision)
        except Exception as error:  # noqa: BLE001 (a bug in one actor must not end the others)
            self._fail(cell, envelope.item, error, now, envelope.reply)
            return
        self._take_decision(cell, decision, now, envelope.reply)

    def _check(self, decision: Decision[Any]) -> None:
        for effect in decision.effects:
            if type(effect) not in self._apply:
                raise TypeError(f"{type(effect).__name__} is not an effect; see actors/effects.py")
            if type(effect) is fx.Spawn:
                if effect.kind not in self.kinds:
                    raise UnknownKind(effect.kind)
                if (address := f"{effect.kind}:{effect.value.id}") in self.router.cells:
                    raise AlreadyExists(address)

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
        if reply is not None and (len(effects) > 1 or cell.dirty):
            reply.promises = True
        for effect in effects:
            apply[type(effect)](cell, effect, now, reply)
        if edges and edges[-1].target in cell.kind.terminal:
            self._end(cell)

    def _fail(
        self, cell: Cell, message: Any, error: Exception, now: float, reply: Reply | None
    ) -> None:
        cause = f"{type(error).__name__}: {error}"
        self.router.bury(cell.address, message, cause)
        cell.failures += 1
        self.note(cell, "dead_letter", "error", f"{type(message).__name__}: {cause}", now)
        if reply is not None:
            self.open.after.append(partial(reply.fail, TurnFailed(cell.address, cause)))
        if cell.failures >= ACTOR_FAILURES_MAX:
            self.suspend(cell, f"{cell.failures} messages in a row failed: {cause}", now)

    # --- what turns do to the open epoch ---------------------------------------------------------

    def touch(self, cell: Cell) -> None:
        """Marks the cell as changed in the open epoch."""
        if not cell.dirty:
            cell.dirty = True
            cell.epoch = self.open.number
            self.open.cells.append(cell)

    def note(self, cell: Cell, event: str, severity: str, reason: str | None, now: float) -> None:
        """An audit row that is no transition, on behalf of the kernel."""
        if not cell.kind.table:
            return
        state = cell.state
        taken = Taken(state, state, event, severity, reason, None, None, event)
        self.touch(cell)
        self.open.entries.append((cell, taken, now))

    def suspend(self, cell: Cell, reason: str, now: float) -> None:
        """The actor takes no more turns; what waits for it goes on waiting, visibly."""
        cell.suspended = reason
        self.note(cell, "actor_suspended", "critical", reason, now)

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
        envelope = Envelope(effect.to, effect.message, control=effect.control)
        if effect.hand_on:
            envelope.reply = reply
        self.open.sent.append(envelope)
        self.router.post(envelope)

    def _set_timer(self, cell: Cell, effect: fx.SetTimer, _now: float, _r: Reply | None) -> None:
        self.timers.arm(cell, effect.key, effect.due, volatile=effect.volatile)
        if not effect.volatile:
            self.touch(cell)

    def _cancel_timer(
        self, cell: Cell, effect: fx.CancelTimer, _n: float, _r: Reply | None
    ) -> None:
        timer = cell.timers.pop(effect.key, None) if cell.timers else None
        if timer is not None and not timer.volatile:
            self.touch(cell)

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
        watching = self.watchers.setdefault(effect.target, [])
        if cell.address not in watching:
            watching.append(cell.address)
            self.open.watches_new.append((effect.target, cell.address))
        if target is None:
            self.router.absent.setdefault(effect.target, [])  # perhaps it has ended: look

    def _ended(self, cell: Cell) -> Ended:
        return Ended(cell.address, cell.state)

    def _end(self, cell: Cell) -> None:
        if cell.timers:
            cell.timers.clear()
        self.tell_watchers(cell)

    def tell_watchers(self, cell: Cell) -> None:
        """The actor has ended: whoever watches it is told, once."""
        watching = self.watchers.pop(cell.address, None)
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
