"""Two promises that no run may break: edges are legal, and one process does the work of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.messages import WorkFinished
from runtime.sim.monitors import Monitor

if TYPE_CHECKING:
    from actors.machine import Decision
    from runtime.cell import Cell
    from runtime.epoch import Epoch
    from runtime.sim.monitors import World


class LegalEdges(Monitor):
    """Every edge is in its chart, and none leaves an end."""

    name = "edges are legal"

    def on_commit(self, world: World, epoch: Epoch) -> None:
        for cell, taken, _at in epoch.entries:
            chart = cell.kind.chart
            if chart is None or taken.source is None or taken.event_type is not None:
                continue
            key = (taken.source, taken.target, taken.trigger)
            if key not in chart._legal:
                text = f"{chart.name} took {' -> '.join(key[:2])} by {taken.trigger}"
                world.fail(self.name, text, cell.address)


class OneExecution(Monitor):
    """A task is executed under one lease at a time, each newer than the last; what an old lease
    says changes nothing."""

    name = "one execution at a time"
    kinds: frozenset[str] | None = frozenset({"task"})
    words: frozenset[type] | None = frozenset({WorkFinished})

    def __init__(self) -> None:
        self._running: dict[str, str] = {}  # task id -> lease
        self._last: dict[str, tuple[int, int]] = {}

    def on_outside(self, world: World, what: str, actor: str, detail: Any) -> None:
        if what == "exec":
            other = self._running.get(actor)
            if other is not None:
                text = f"{actor} runs under the leases {other} and {detail}"
                world.fail(self.name, text)
            self._running[actor] = detail
            epoch, _, counter = detail.partition(".")
            number = (int(epoch), int(counter))
            if number <= self._last.get(actor, (0, 0)):
                world.fail(self.name, f"{actor} runs again under the lease {detail}")
            self._last[actor] = number
        elif what == "dead" and self._running.get(actor) == detail:
            del self._running[actor]

    def on_turn(
        self, world: World, cell: Cell, before: Any, message: Any, decision: Decision[Any]
    ) -> None:
        if type(message) is not WorkFinished:
            return
        if message.lease != before.lease and decision.edges:
            text = f"{cell.address} took the result of lease {message.lease}, its own is"
            world.fail(self.name, f"{text} {before.lease}")


def core_monitors() -> list[Monitor]:
    """Fresh ones, for one run."""
    return [LegalEdges(), OneExecution()]
