"""Users' own effects in a simulated world: performed after the commit, at least once.

As `runtime.perform` does: effects of one name run in commit order, one at a time, and are offered
again by a new owner, marked as perhaps done. Whether one that was under way in a crash was done is
a choice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from actors.effects import Perform
from actors.messages import Performed
from runtime.errors import cause_of
from runtime.inbox import Envelope
from runtime.sim.observing import Broken
from runtime.sim.owner import Crashed

if TYPE_CHECKING:
    from runtime.sim.engine import Engine

Performer = Callable[[str, Any, bool], Any]
"""`performer(key, payload, perhaps_done)`: what it returns becomes `Performed.result`; what it
raises, its error."""


class _Effect(msgspec.Struct, frozen=True, gc=False):
    row: int
    actor: str
    key: str
    payload: Any
    perhaps_done: bool


class Effects:
    """The performers by name, each with its line of effects."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.performers: dict[str, Performer] = {}
        self.usual_s: dict[str, float] = {}
        self.report_s: dict[str, float] = {}  # from the deed to the report, where not at once
        self._lines: dict[str, deque[_Effect]] = {}
        self._unreported: set[str] = set()  # names whose first effect is done
        self._life = 0

    def perform(
        self,
        row: int,
        actor: str,
        name: str,
        key: str,
        payload: Any,
        *,
        perhaps_done: bool = False,
    ) -> None:
        """Puts the effect at the end of its name's line."""
        engine = self._engine
        if not perhaps_done and engine.fault("crash_between_effects", "owner"):
            raise Crashed("crash_between_effects")
        for watch in engine.observer.on_effect:
            watch(engine, Perform(name, key, payload))
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = deque()
        line.append(_Effect(row, actor, key, payload, perhaps_done))
        if len(line) == 1:
            self._begin(name)

    def _begin(self, name: str) -> None:
        usual_s = self.usual_s.get(name, 0.01)
        wait = usual_s + self._engine.latency("effect", name, usual_s)
        self._engine.later(wait, self._ends, (name, self._life))

    def _ends(self, what: tuple[str, int]) -> None:
        name, life = what
        if life != self._life:
            return
        engine, line = self._engine, self._lines[name]
        effect = line[0]
        if engine.fault("effect_failed", name):
            outcome = Performed(effect.key, error="a simulated fault")
        else:
            outcome = self._once(name, effect)
            if engine.fault("effect_lost", name):
                self._unreported.add(name)  # done already: its owner's end does it no second time
                raise Crashed("effect_lost")
        report_s = self.report_s.get(name)
        if report_s is None:
            self._report((name, life, outcome))
            return
        self._unreported.add(name)
        wait = engine.latency("report", name, report_s)
        engine.later(wait, self._report, (name, life, outcome))

    def _report(self, what: tuple[str, int, Performed]) -> None:
        name, life, outcome = what
        if life != self._life:
            return
        self._unreported.discard(name)
        line = self._lines[name]
        effect = line.popleft()
        self._engine.tell(Envelope(effect.actor, outcome, kept=True, outbox=effect.row))
        if line:
            self._begin(name)

    def _once(self, name: str, effect: _Effect) -> Performed:
        performer = self.performers.get(name)
        if performer is None:
            return Performed(effect.key, error=f"no performer is registered under {name!r}")
        self._engine.outside("done", effect.actor, (name, effect.key))
        try:
            result = performer(effect.key, effect.payload, effect.perhaps_done)
        except Broken:
            raise  # what it checks, or a monitor has seen: no failure of the performer
        except Exception as error:  # noqa: BLE001 (a user's code: its failure is the actor's to judge)
            return Performed(effect.key, error=cause_of(error))
        return Performed(effect.key, result=result)

    def lose_owner(self) -> None:
        """What was under way ends with the owner: done, or not."""
        self._life += 1
        lines, self._lines = self._lines, {}
        done, self._unreported = self._unreported, set()
        for name, line in lines.items():
            if not line or name in done:
                continue
            if self._engine.choices.below(f"effect_done/{name}/{self._life}", 2):
                self._once(name, line[0])
