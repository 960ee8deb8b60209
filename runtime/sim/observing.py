"""What is seen of every turn: the hash of the trace, coverage, purity, and what monitors are told.

This is the hot path beside the kernel's own: a turn passes here once, and pays for monitors only
where some override the method.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from runtime.sim.case import Coverage, Failure
from runtime.sim.monitors import Monitor

if TYPE_CHECKING:
    from runtime.cell import Cell
    from runtime.kinds import Kind
    from runtime.sim.engine import Engine

_MASK: Final = (1 << 64) - 1
PURITY_TURNS: Final = 67
"""One turn in so many is decided twice. A prime, so that no rhythm of a world hides an actor."""


class Broken(Exception):
    """A promise is broken: the run ends here."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class Observer:
    """Sees every turn of one run."""

    def __init__(self, engine: Engine, monitors: list[Monitor]) -> None:
        self._engine = engine
        self.monitors = monitors
        self.seen: tuple[Any, Any, Any] | None = None  # value, message, decision of this turn
        self.error: Exception | None = None
        self.watching = True
        self.forgiving = False  # actors may raise: it is a part of the scenario
        self._crcs: dict[Any, int] = {}
        self._pairs: set[tuple[str, str, type]] = set()
        self._edges: set[tuple[str, str | None, str, str]] = set()
        self.on_turn = self._all("on_turn")
        self.on_commit = self._all("on_commit")
        self.on_effect = self._all("on_effect")
        self.on_report = self._all("on_report")
        self.on_outside = self._all("on_outside")
        self.on_quiescent = self._all("on_quiescent")
        self.on_crash = self._all("on_crash")
        self.on_recovered = self._all("on_recovered")
        self.on_end = self._all("on_end")

    def add(self, monitor: Monitor) -> None:
        """One more, from a scenario."""
        self.monitors.append(monitor)
        for name in [name for name in vars(Monitor) if name.startswith("on_")]:
            setattr(self, name, self._all(name))

    def _all(self, name: str) -> list[Any]:
        plain = getattr(Monitor, name)
        return [getattr(m, name) for m in self.monitors if getattr(type(m), name) is not plain]

    def watched(self, kind: Kind) -> Kind:
        """The kind, with every decision seen."""
        decide = kind.decide

        def watched(value: Any, message: Any, now: float) -> Any:
            try:
                decision = decide(value, message, now)
            except Exception as error:
                self.error = error
                raise
            self.seen = (value, message, decision)
            return decision

        found = copy.copy(kind)
        found.decide = watched
        return found

    def took(self, cell: Cell) -> None:
        """The cell took a turn, or found its message void."""
        engine, seen, crcs = self._engine, self.seen, self._crcs
        actor = crcs.get(cell.address)
        if actor is None:
            actor = crcs[cell.address] = crc32(cell.address.encode())
        if seen is None:
            engine.hash = ((engine.hash ^ actor ^ engine.us) * 0x100000001B3 + 1) & _MASK
            if self.error is not None:
                self._raised(cell)
            return
        value, message, decision = seen
        kind = type(message)
        word = crcs.get(kind)
        if word is None:
            word = crcs[kind] = crc32(kind.__name__.encode())
        after = decision.state
        if cell.kind.chart is not None:
            state = value.state._value_
            self._pairs.add((cell.kind.name, state, kind))
            for taken in decision.edges:
                self._edges.add((cell.kind.name, taken.source, taken.target, taken.trigger))
            actor ^= crcs.get(state) or self._crc(state)
        engine.hash = (
            (engine.hash ^ actor ^ (word << 32) ^ engine.us) * 0x100000001B3
            + len(decision.effects) * 8
            + len(decision.edges)
        ) & _MASK
        if cell.failures:
            self._raised(cell)
        if not engine.n % PURITY_TURNS and cell.kind.table:
            self._decide_twice(cell, value, message, decision)
        for watch in self.on_turn:
            watch(engine, cell, value, message, decision)
        if engine.recorder is not None:
            engine.recorder.after(cell, value, message, decision, after)

    def _crc(self, text: str) -> int:
        found = self._crcs[text] = crc32(text.encode())
        return found

    def _raised(self, cell: Cell) -> None:
        error, self.error = self.error, None
        if self.forgiving or not cell.failures:
            return
        letters = self._engine.kernel.router.dead_letters if self._engine.kernel else ()
        said = letters[-1].reason if letters else repr(error)
        what = type(letters[-1].message).__name__ if letters else "?"
        text = f"{cell.kind.name} in {cell.state} raised on {what}: {said}"
        self._engine.fail("an actor never fails", text, cell.address)

    def _decide_twice(self, cell: Cell, value: Any, message: Any, decision: Any) -> None:
        before = repr((value, message))
        second = cell.decide(value, message, self._engine.now)
        if repr(second) != repr(decision) or repr((value, message)) != before:
            text = f"{cell.kind.name} decides {type(message).__name__} in two ways"
            self._engine.fail("deciding is pure", text, cell.address, repr(decision), repr(second))

    # --- what the engine tells -------------------------------------------------------------------

    def committed(self) -> None:
        engine = self._engine
        if self.on_commit and engine.kernel is not None:
            for watch in self.on_commit:
                watch(engine, engine.kernel.in_flight)

    def quiescent(self) -> None:
        for watch in self.on_quiescent:
            watch(self._engine)

    def crashed(self) -> None:
        for watch in self.on_crash:
            watch(self._engine)

    def recovered(self) -> None:
        for watch in self.on_recovered:
            watch(self._engine)

    def end(self) -> None:
        """The run is over: the last word of each monitor. Raises Broken."""
        for watch in self.on_end:
            watch(self._engine)

    def covered(self) -> Coverage:
        """The coverage of the run, in names."""
        coverage = self._engine.coverage
        coverage.pairs.update((kind, state, of.__name__) for kind, state, of in self._pairs)
        coverage.edges.update((k, str(s or ""), str(t), by) for k, s, t, by in self._edges)
        return coverage
