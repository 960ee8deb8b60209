"""The kernel's own two actors, which live in memory only: the creator and the dispatcher.

Neither is stored. What the creator makes is durable with the turn that makes it; the dispatcher is
an index over tasks, workers and gates, and is built anew from what they announce.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from actors import dispatch, gate, task, uet_worker, worker, workstream
from actors.effects import Effect, Reply, Send, Spawn
from actors.machine import Decision
from actors.messages import Accepted, Announce
from runtime.cell import Cell
from runtime.inbox import Envelope
from runtime.kinds import Kind, memory_kind

if TYPE_CHECKING:
    from runtime.kernel import Kernel

CREATOR = "creator:main"
DISPATCH = "dispatch:main"

CREATE: Mapping[str, Callable[[Any, float], Any]] = {
    "workstream": workstream.create,
    "task": task.create,
    "test_gate": gate.create,
    "uet_worker": uet_worker.create,
    "worker": worker.create,
}
_ANNOUNCED = ("run", "task", "worker", "test_gate", "circuit_breaker")


class Lift(Effect, frozen=True):
    """Lets a suspended actor take turns again. Only the kernel's own actors ask for it."""

    ref: str
    operator: str | None = None
    reason: str | None = None


class Release(msgspec.Struct, frozen=True):
    """Asks for `Lift`; the answer comes when it is durable."""

    lift: Lift


class Create(msgspec.Struct, frozen=True):
    """Creates actors and sends first messages, in one turn."""

    spawns: tuple[Spawn, ...]
    sends: tuple[Send, ...] = ()
    entity_id: str | None = None


def _create(value: None, message: Create | Release, _now: float) -> Decision[None]:
    effects: tuple[Effect, ...]
    match message:
        case Create(spawns, sends, entity_id):
            effects = (*spawns, *sends, Reply(Accepted("created", entity_id)))
        case Release(lift):
            effects = (lift, Reply(Accepted("takes turns again", lift.ref)))
    return Decision(value, (), effects)


def creator_kind() -> Kind:
    return memory_kind("creator", _create)


def dispatch_kind(dispatcher: dispatch.Dispatch | None) -> Kind:
    """`None`: an owner that only takes a command and starts nothing, so it need not match."""

    def decide(value: Any, message: Any, now: float) -> Decision[Any]:
        if dispatcher is None:
            return Decision(value)
        return Decision(value, (), dispatcher.decide(message, now))

    return memory_kind("dispatch", decide)


def furnish(kernel: Kernel, gate_places: int, *, execute: bool) -> None:
    """Puts the two into an empty kernel. `gate_places`: how many gate commands run at a time."""
    epoch = kernel.store.owner_epoch
    kernel.router.cells[CREATOR] = Cell(CREATOR, kernel.turns.kinds["creator"], None, 0)
    kernel.turns.create = dict(CREATE)
    dispatcher = dispatch.Dispatch(epoch, gate_places) if execute else None

    def rebuild_index(unspoken: frozenset[str]) -> None:
        nonlocal dispatcher
        if kernel.holding:
            dispatcher = None
        if dispatcher is not None:
            # Leases are never given twice, also those of discarded epochs.
            dispatcher = dispatch.Dispatch(epoch, gate_places, dispatcher.counter)
        kernel.router.cells[DISPATCH] = Cell(DISPATCH, dispatch_kind(dispatcher), None, 0)
        cells = kernel.router.cells.values()
        # To those `unspoken` to, `Recovered` is still to come, and says so too: who acted before it
        # as one of this owner would take what it began for the last owner's, and begin it again.
        known = [
            c
            for c in cells
            if c.kind.name in _ANNOUNCED and not c.ended and c.address not in unspoken
        ]
        for cell in sorted(known, key=_turn_to_speak):
            announce = Envelope(cell.address, Announce(), control=True, kept=True)
            kernel.router.post(announce)

    kernel.rebuild_index = rebuild_index
    kernel.queued = lambda: () if dispatcher is None else dispatcher.queued()
    rebuild_index(frozenset())


def _turn_to_speak(cell: Cell) -> int:
    """Who holds a key, a tool or a place before those who want one, and free slots last: before the
    index knows what is taken, nothing may be granted."""
    if cell.kind.name == "worker":
        return 2
    holds = cell.state == "running" or cell.kind.name == "circuit_breaker"
    return 0 if holds or getattr(cell.value, "offered", None) is not None else 1
