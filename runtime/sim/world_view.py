"""`v`, what a scenario's own promises look at: the states of entities, by any end of their id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.sim.engine import Engine


class Entity:
    """One actor as it is durable. Its value's fields are its attributes. One that does not exist
    (yet) is false, is in the state "" and has None for every field."""

    __slots__ = ("kind", "terminal", "value")

    def __init__(self, kind: str, value: Any, *, terminal: bool) -> None:
        self.kind = kind
        self.value = value
        self.terminal = terminal

    def __bool__(self) -> bool:
        return self.value is not None

    @property
    def state(self) -> str:
        if self.value is None:
            return ""
        return str(getattr(self.value, "state", "active"))

    @property
    def opened(self) -> bool:
        """Of a breaker: whether it refuses."""
        return self.state == "open"

    def __getattr__(self, name: str) -> Any:
        return None if self.value is None else getattr(self.value, name)

    def __repr__(self) -> str:
        return f"{self.kind}:{self.id} {self.state}" if self else f"no such {self.kind}"


class WorldView:
    """What is durable, now."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def now_s(self) -> float:
        """Seconds since the beginning of the run."""
        return self._engine.us / 1e6

    @property
    def healing(self) -> bool:
        """Whether faults have stopped."""
        return self._engine.healing

    @property
    def up(self) -> bool:
        """Whether an owner lives."""
        return self._engine.up

    def all(self, kind: str) -> Iterator[Entity]:
        """Every entity of a kind, oldest first."""
        for change in self._engine.store.rows.values():
            if change.kind.name == kind:
                yield Entity(kind, change.value, terminal=change.kind.is_ended(change.value))

    def find(self, kind: str, name: Any) -> Entity:
        """The newest entity of this kind whose id is `name` or ends with it after a slash. `name`
        may be what `submit` or `spawn` returned."""
        wanted = str(name)
        change = self._engine.store.rows.get(f"{kind}:{wanted}")
        if change is not None:
            return Entity(kind, change.value, terminal=change.kind.is_ended(change.value))
        found = _absent(kind)
        for entity in self.all(kind):
            if entity.value.id.endswith(f"/{wanted}"):
                found = entity
        return found

    def run(self, name: Any) -> Entity:
        return self.find("run", name)

    def workstream(self, name: str) -> Entity:
        return self.find("workstream", name)

    def task(self, name: str) -> Entity:
        """By any end of its path: "build/compile"."""
        return self.find("task", name)

    def worker(self, name: str) -> Entity:
        return self.find("worker", name)

    def gate(self, name: str) -> Entity:
        """The newest entity of the gate of this name."""
        found = _absent("test_gate")
        for entity in self.all("test_gate"):
            if entity.value.name == name:
                found = entity
        return found

    def breaker(self, tool: str) -> Entity:
        """The breaker of a tool."""
        for entity in self.all("circuit_breaker"):
            if entity.value.tool == tool or entity.value.id.startswith(f"{tool}-"):
                return entity
        return _absent("circuit_breaker")

    def actor(self, ref: str) -> Entity:
        """A user's own actor, by its address "kind:id"."""
        kind, _, name = ref.partition(":")
        return self.find(kind, name)

    def states(self, kind: str) -> dict[str, str]:
        """The state of every entity of a kind, by id."""
        return {entity.value.id: entity.state for entity in self.all(kind)}

    def executing(self) -> dict[str, str]:
        """What really runs outside: task id by lease."""
        return dict(self._engine.processes.executing)


def _absent(kind: str) -> Entity:
    return Entity(kind, None, terminal=False)
