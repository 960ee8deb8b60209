"""How a promise is watched: what a monitor is told by the engine, and what it may look at.

A monitor is told of every turn, commit and effect as it happens, so it must be quick; it reports a
broken promise with `world.fail`, which ends the run. Everything it sees is immutable or must not be
changed. One instance watches one run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

if TYPE_CHECKING:
    from actors.machine import Decision
    from runtime.cell import Cell
    from runtime.epoch import Epoch
    from runtime.sim.case import Case, Coverage
    from runtime.sim.store import ModelStore


class World(Protocol):
    """What a monitor may look at."""

    now: float  # the kernel's clock, seconds since the Unix epoch
    n: int  # happenings so far
    case: Case
    coverage: Coverage
    store: ModelStore  # what is durable
    healing: bool  # faults have stopped: what must happen some day must happen from here on
    up: bool  # an owner lives

    @property
    def cells(self) -> Mapping[str, Cell]:
        """The actors in memory, by address; none while no owner lives."""

    def fail(self, invariant: str, text: str, *detail: str) -> NoReturn:
        """Ends the run: a promise is broken."""


class Monitor:
    """Watches one promise in one run. Each method is a no-op here: override what is needed. The
    engine calls only those that are overridden, so that the others cost nothing."""

    name = "monitor"
    kinds: frozenset[str] | None = None
    """Of the actors whose turns it is told of; None: of all."""
    words: frozenset[type] | None = None
    """The messages whose turns it is told of; None: all."""
    moves = False
    """True: it is told only of turns that took an edge."""

    def on_turn(
        self, world: World, cell: Cell, before: Any, message: Any, decision: Decision[Any]
    ) -> None:
        """A turn was taken: `cell.value` is what `decision` says, `before` what it was."""

    def on_commit(self, world: World, epoch: Epoch) -> None:
        """The epoch is durable; nothing of it has left the kernel yet."""

    def on_effect(self, world: World, effect: Any) -> None:
        """An effect leaves the kernel: of actors/effects.py, `Perform` as it is handed out."""

    def on_report(self, world: World, to: str, message: Any) -> None:
        """An outcome comes in from outside, and is kept from here on."""

    def on_outside(self, world: World, what: str, actor: str, detail: Any) -> None:
        """Something happened outside: "exec" and "dead" of a lease's command, "began" and "ended"
        of a gate's, "done" of a user's effect, "acknowledged" of a caller's request."""

    def on_crash(self, world: World) -> None:
        """The owner is gone, and all that it had in memory."""

    def on_recovered(self, world: World) -> None:
        """A new owner has read the store back; it has taken no turn yet."""

    def on_quiescent(self, world: World) -> None:
        """Nothing is ready, uncommitted or under way; only time goes on."""

    def on_end(self, world: World) -> None:
        """The run is over, and nothing has failed."""
