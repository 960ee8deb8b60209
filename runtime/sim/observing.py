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
    from actors.machine import Taken
    from runtime.cell import Cell
    from runtime.kinds import Kind
    from runtime.sim.engine import Engine

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
        self.forgiving = False  # actors may raise: it is a part of the scenario
        self.crcs: dict[Any, int] = {}
        self._edges: set[tuple[str, str, str, str]] = set()
        # By kind, state and message: the part of the trace, who watches, and who of them does so
        # though no edge was taken.
        self._known: dict[tuple[str, str | None, type], tuple[int, list[Any], list[Any]]] = {}
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
        self._known.clear()

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
        engine, seen = self._engine, self.seen
        mark = self.crcs.get(cell.address) or self.crc(cell.address)
        if seen is None:
            engine.trace.append(mark << 31 ^ engine.us)
            if self.error is not None:
                self._raised(cell)
            return
        value, message, decision = seen
        kind, edges = cell.kind, decision.edges
        state = None
        if kind.chart is not None:
            state = value.state
            if type(state) is not str:
                state = state._value_
            if edges:
                self._took_edges(kind.name, state, edges)
        word = type(message)
        known = self._known.get((kind.name, state, word)) or self._know(kind.name, state, word)
        engine.trace.append((mark ^ known[0]) << 31 ^ engine.us ^ len(decision.effects) << 44)
        if cell.failures:
            self._raised(cell)
        if not engine.n % PURITY_TURNS and kind.table:
            self._decide_twice(cell, value, message, decision)
        for watch in known[1] if edges else known[2]:
            watch(engine, cell, value, message, decision)
        if engine.turns_of is not None:
            engine.turns_of[cell.address] = engine.turns_of.get(cell.address, 0) + 1
        if engine.recorder is not None:
            engine.recorder.after(cell, value, message, decision, decision.state)

    def _took_edges(self, kind: str, state: str, edges: tuple[Taken, ...]) -> None:
        """Coverage of edges; `state` is where the first one began."""
        source = state
        for taken in edges:
            target: Any = taken.target
            if type(target) is not str:
                target = target._value_
            self._edges.add((kind, source, target, taken.trigger))
            source = target

    def _know(self, kind: str, state: str | None, word: type) -> tuple[int, list[Any], list[Any]]:
        """What is the same for each turn with this message in this state."""
        watching = [
            monitor
            for monitor in self.monitors
            if type(monitor).on_turn is not Monitor.on_turn
            and (monitor.kinds is None or kind in monitor.kinds)
            and (monitor.words is None or word in monitor.words)
        ]
        found = self._known[kind, state, word] = (
            self.crc(state or "") ^ self.crc(word),
            [monitor.on_turn for monitor in watching],
            [monitor.on_turn for monitor in watching if not monitor.moves],
        )
        return found

    def crc(self, name: str | type) -> int:
        """31 bits for an address, a state or a type of message; the same in every process."""
        found = self.crcs.get(name)
        if found is None:
            text = name if isinstance(name, str) else name.__name__
            found = self.crcs[name] = crc32(text.encode()) & 0x7FFFFFFF | 1
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
        same = second == decision or repr(second) == repr(decision)
        if not same or repr((value, message)) != before:
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
        coverage.pairs.update((kind, at, of.__name__) for kind, at, of in self._known if at)
        coverage.edges.update(self._edges)
        return coverage
