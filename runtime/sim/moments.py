"""What a scenario makes happen at an instant: `sim.at("5m").crash("supervisor")`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runtime.sim.owner import Crashed

if TYPE_CHECKING:
    from runtime.sim.engine import Engine


class Moment:
    """One instant, or several. Each method says what happens then, and returns the moment."""

    def __init__(self, engine: Engine, instants: list[float]) -> None:
        self._engine = engine
        self._instants = instants

    def do(self, what: Callable[[], Any]) -> Moment:
        """Calls it."""
        for instant in self._instants:
            self._engine.later(instant, lambda _: what(), None)
        return self

    def crash(self, who: str = "supervisor") -> Moment:
        """The owner dies, as by `kill -9`; another one comes a second later."""
        if who not in {"supervisor", "owner"}:
            raise ValueError(f"crash({who!r}): want 'supervisor'; for a worker, kill_worker")
        return self.do(self._crash)

    def _crash(self) -> None:
        if self._engine.kernel is not None:
            raise Crashed("scripted")

    def kill_worker(self, number: int = 1) -> Moment:
        """The process of the `number`th worker that is up dies, and all that it runs."""
        return self.do(lambda: self._engine.processes.kill(number))

    def command(self, name: str, entity: Any, **args: Any) -> Moment:
        """An operator's command, as `banksman NAME ENTITY` gives it. `entity`: what `submit`
        returned, an id, or any end of one."""
        return self.do(lambda: self._command(name, entity, args))

    def _command(self, name: str, entity: Any, args: dict[str, Any]) -> None:
        engine = self._engine
        engine.sim.clients.command(name, full_id(engine, str(entity)), **args)

    def pause(self, entity: Any) -> Moment:
        return self.command("pause", entity)

    def resume(self, entity: Any) -> Moment:
        return self.command("resume", entity)

    def cancel(self, entity: Any) -> Moment:
        return self.command("cancel", entity)

    def tell(self, ref: str, message: Any) -> Moment:
        """Tells an actor something."""
        return self.do(lambda: self._engine.sim.clients.tell(ref, message))

    def heal(self) -> Moment:
        """Faults stop."""
        return self.do(lambda: self._engine.heal(None))


def full_id(engine: Engine, name: str) -> str:
    """The id of the newest entity whose id is `name` or ends with it; `name` where none does."""
    found = name
    for address in engine.store.rows:
        entity_id = address.partition(":")[2]
        if entity_id == name:
            return name
        if entity_id.endswith(f"/{name}"):
            found = entity_id
    return found
