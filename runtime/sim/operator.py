"""An operator who does all sorts of things at any moment, as a fault of its own kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from runtime.commands import BREAKER_VERBS
from runtime.kinds import KINDS

if TYPE_CHECKING:
    from runtime.sim.engine import Engine
    from runtime.store.rows import Change

COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "pause": ("run", "workstream", "task", "worker"),
    "resume": ("run", "workstream", "task", "worker"),
    "cancel": ("run", "workstream", "task", "test_gate"),
    "skip": ("workstream",),
    "unblock": ("workstream", "task"),
    "retry": ("task",),
    "drain": ("worker",),
    "replace": ("worker",),
    "approve": ("test_gate",),
    "reject": ("test_gate",),
    "rerun": ("test_gate",),
    "override": ("run", "workstream", "task", "worker", "test_gate"),
    "breaker": ("circuit_breaker",),
}
"""What an operator can do, and to which kinds of entities."""

GENTLE: Final = ("pause", "resume", "unblock", "retry", "replace", "approve", "rerun", "breaker")
"""What leaves a run able to end as it would."""

_BACK_S: Final = 300.0


class Operator:
    """Draws a command and an entity, again and again."""

    def __init__(
        self, engine: Engine, commands: tuple[str, ...] = (), name: str = "operator"
    ) -> None:
        """`name`: of its choices, which are not another operator's."""
        self._engine = engine
        self._name = name
        self._commands = commands or GENTLE
        self._n = 0
        self._coming_back = False

    def begin(self, every_s: float, until_s: float) -> None:
        """From now on, until faults stop or the time is over; what it paused then goes on."""
        for n in range(1, int(until_s / every_s) + 1):
            self._engine.later(every_s * n, self._perhaps, None)
        self._engine.later(until_s + every_s, self.resume_all, None)

    def _perhaps(self, _: None) -> None:
        engine = self._engine
        if engine.healing and engine.luck.rates:
            return
        if not engine.choices.among(f"{self._name}.idle/{self._n + 1}", 4, 0.25):
            self._n += 1
            return
        self.act()

    def act(self) -> None:
        """Does one thing to one entity."""
        engine, choices = self._engine, self._engine.choices
        self._n += 1
        if engine.kernel is None:
            return
        name = self._commands[choices.below(f"{self._name}.does/{self._n}", len(self._commands))]
        kinds = COMMANDS[name]
        rows = [row for row in engine.store.rows.values() if row.kind.name in kinds]
        if not rows:
            return
        row = rows[choices.below(f"{self._name}.whom/{self._n}", len(rows))]
        args = self._args(name, row)
        said = " ".join((name, *args.values()))
        engine.outside("operator", f"{row.kind.name}:{row.value.id}", said)
        engine.sim.clients.command(name, row.value.id, **args)
        if not self._coming_back:
            self._coming_back = True
            engine.later(_BACK_S, self.resume_all, None)

    def _args(self, name: str, row: Change) -> dict[str, Any]:
        choices = self._engine.choices
        if name == "breaker":
            verbs = tuple(BREAKER_VERBS)
            return {"verb": verbs[choices.below(f"{self._name}.verb/{self._n}", len(verbs))]}
        if name == "override":
            chart = KINDS[row.kind.name].chart
            assert chart is not None
            to = choices.below(f"{self._name}.target/{self._n}", len(chart.states))
            return {"target": chart.states[to]}
        return {}

    def resume_all(self, _: None) -> None:
        """Comes back: what was paused or held goes on."""
        engine = self._engine
        self._coming_back = False
        if engine.kernel is None:
            engine.later(5.0, self.resume_all, None)
            return
        for row in list(engine.store.rows.values()):
            if row.kind.is_ended(row.value):
                continue
            if getattr(row.value, "paused", False):
                engine.sim.clients.command("resume", row.value.id)
            if row.kind.name == "circuit_breaker" and row.value.mode != "auto":
                engine.sim.clients.command("breaker", row.value.id, verb="close")
