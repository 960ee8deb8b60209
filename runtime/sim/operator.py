"""An operator who does all sorts of things at any moment, as a fault of its own kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from runtime.sim.engine import Engine

COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "pause": ("run", "workstream", "task", "worker"),
    "resume": ("run", "workstream", "task", "worker"),
    "cancel": ("run", "workstream", "task", "test_gate"),
    "skip": ("workstream",),
    "unblock": ("workstream", "task"),
    "retry": ("task",),
    "drain": ("worker",),
    "replace": ("worker",),
}
"""What an operator can do, and to which kinds of entities."""

_GENTLE: Final = ("pause", "resume", "unblock", "retry", "replace")


class Operator:
    """Draws a command and an entity, again and again."""

    def __init__(self, engine: Engine, commands: tuple[str, ...] = ()) -> None:
        self._engine = engine
        self._commands = commands or _GENTLE
        self._n = 0

    def begin(self, every_s: float, until_s: float) -> None:
        """From then on, until faults stop or the time is over; what it paused, it resumes."""
        for n in range(1, int(until_s / every_s) + 1):
            self._engine.later(every_s * n, self._act, None)
        self._engine.later(until_s + every_s, self.resume_all, None)

    def _act(self, _: None) -> None:
        engine = self._engine
        self._n += 1
        if engine.kernel is None or (engine.healing and engine.luck.rates):
            return
        choices = engine.choices
        which = choices.among(f"operator.does/{self._n}", len(self._commands) + 1, 0.3)
        if not which:
            return
        name = self._commands[which - 1]
        kinds = COMMANDS[name]
        rows = [row for row in engine.store.rows.values() if row.kind.name in kinds]
        if rows:
            row = rows[choices.below(f"operator.whom/{self._n}", len(rows))]
            engine.outside("operator", f"{row.kind.name}:{row.value.id}", name)
            engine.sim.clients.command(name, row.value.id)

    def resume_all(self, _: None) -> None:
        """Goes home: what was paused goes on."""
        engine = self._engine
        if engine.kernel is None:
            engine.later(5.0, self.resume_all, None)
            return
        for row in list(engine.store.rows.values()):
            if getattr(row.value, "paused", False) and not row.kind.is_ended(row.value):
                engine.sim.clients.command("resume", row.value.id)
