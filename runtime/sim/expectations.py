"""What a scenario itself expects: always, eventually, sometimes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runtime.sim.monitors import Monitor

if TYPE_CHECKING:
    from runtime.sim.engine import Engine
    from runtime.sim.world_view import WorldView

Holds = Callable[["WorldView"], Any]


class Always:
    """It holds after every commit."""

    def __init__(self, label: str, holds: Holds) -> None:
        self.label = label
        self.holds = holds


class Sometimes(Always):
    """It holds once, in some run."""


class Eventually(Always):
    """It holds once in every run, in time."""

    def __init__(self, label: str, holds: Holds, within_s: float) -> None:
        super().__init__(label, holds)
        self.within_us = int(within_s * 1e6)
        self.met = False


class Expectations(Monitor):
    """Looks at all of them after every commit."""

    name = "expectations"

    def __init__(self, engine: Engine, view: WorldView) -> None:
        self._engine = engine
        self._view = view
        self._all: list[Always] = []
        self._open: list[Eventually] = []

    def add(self, expected: Always) -> None:
        """One more."""
        if not self._all:
            self._engine.observer.add(self)
        self._all.append(expected)
        coverage = self._engine.coverage
        if isinstance(expected, Eventually):
            self._open.append(expected)
        elif isinstance(expected, Sometimes):
            coverage.sometimes.setdefault(expected.label, 0)
        else:
            coverage.always.setdefault(expected.label, 0)

    def open(self) -> bool:
        """Whether one that must hold eventually does not yet, and has time left."""
        return any(not self._late(each) for each in self._open)

    def on_commit(self, _world: Any, _epoch: Any) -> None:
        self._look()

    def on_quiescent(self, _world: Any) -> None:
        if self._open:
            self._look()
            late = [each for each in self._open if self._late(each)]
            if late:
                self._engine.fail("eventually", f"{late[0].label}: not in time")

    def on_end(self, _world: Any) -> None:
        self._look()
        if self._open:
            self._engine.fail("eventually", f"{self._open[0].label}: not by the end of the run")

    def _late(self, expected: Eventually) -> bool:
        engine = self._engine
        return engine.healing and engine.us - engine.ends.healed_us > expected.within_us

    def _look(self) -> None:
        coverage = self._engine.coverage
        for each in self._all:
            if isinstance(each, Eventually):
                if not each.met and self._holds(each):
                    each.met = True
                    self._open.remove(each)
            elif isinstance(each, Sometimes):
                coverage.sometimes[each.label] += bool(self._holds(each))
            else:
                coverage.always[each.label] += 1
                if not self._holds(each):
                    self._engine.fail("always", each.label)

    def _holds(self, expected: Always) -> Any:
        try:
            return expected.holds(self._view)
        except Exception as error:  # noqa: BLE001 (a user's code: told as what it is)
            text = f"{expected.label!r} raised {type(error).__name__}: {error}"
            self._engine.fail("expectation", text)
