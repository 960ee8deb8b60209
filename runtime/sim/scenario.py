"""What a scenario is written with: a plain function of a `Sim`, called once before a run begins.

    def survives(sim):
        run = sim.submit(plan, key="r1")
        sim.tool("compile", duration_s=30, fails=1)
        sim.at("5m").crash("supervisor")
        sim.eventually("finished", lambda v: v.run(run).terminal, within="2h")

It only says what there is, and what happens when; nothing has happened when it returns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from actors import spec
from runtime.kinds import Kind
from runtime.sim.behaviour import Behave, Behaviour, Matcher, Tools
from runtime.sim.clients import Clients, Operation, Submission, checked
from runtime.sim.expectations import Always, Eventually, Expectations, Sometimes
from runtime.sim.histories import Model, Reference
from runtime.sim.invariants import default_monitors
from runtime.sim.moments import Moment
from runtime.sim.operator import Operator
from runtime.sim.world_view import WorldView

if TYPE_CHECKING:
    from runtime.sim.case import Case, Config, Result
    from runtime.sim.effects import Performer
    from runtime.sim.engine import Engine
    from runtime.sim.monitors import Monitor

T = TypeVar("T")

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds(length: str | float) -> float:
    """ "1h30m", "250ms" or a number of seconds, in seconds. Raises ValueError."""
    if not isinstance(length, str):
        return float(length)
    parts = _LENGTH.findall(length)
    if not parts or "".join(n + unit for n, unit in parts) != length.replace(" ", ""):
        raise ValueError(f"{length!r} is no length of time: want 250ms, 30s, 5m, 1h30m or 2d")
    return sum(float(n) * _UNITS[unit] for n, unit in parts)


class Sim:
    """One run, while it is being set up; and, within the functions it was given, while it runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.clients = Clients(engine)
        self.view = WorldView(engine)
        self._expectations = Expectations(engine, self.view)
        self._drawn: dict[str, int] = {}
        self.had_runs = False
        self._operators = 0

    # --- what there is ---------------------------------------------------------------------------

    def size(self, name: str, usual: int) -> int:
        """How large something is: what the case says, else `usual`. Shrinking makes it smaller."""
        size = self._engine.sizes[name] = self._engine.config.sizes.get(name, usual)
        return size

    def submit(self, plan: spec.Plan, key: str | None = None, at: str | float = 0) -> Submission:
        """Submits the plan, until it is acknowledged; its run is called `key`, or after the plan.
        Raises PlanError with every fault of the plan."""
        number = len(self.clients.submissions) + 1
        name = key or f"{plan.run.name}-{number}"
        submission = Submission(checked(plan, self.clients.pools), name, name)
        self.clients.submissions.append(submission)
        self.had_runs = True
        self._engine.later(seconds(at), self.clients.submit, submission)
        return submission

    def pool(self, name: str = "local", **fields: Any) -> None:
        """One of the owner's pools of workers, for plans that have none: fields of `spec.Pool`."""
        self.clients.pools[name] = spec.Pool(**{"count": 2, **fields})

    def register(self, kind: Kind) -> None:
        """A kind of your own actors, as `user_kind` makes it."""
        engine = self._engine
        engine.kinds[kind.name] = engine.observer.watched(kind)

    def spawn(self, kind: str, value: Any, *first: Any, at: str | float = 0) -> str:
        """Makes an actor of a registered kind, with its first messages. Returns its address."""
        ref = f"{kind}:{value.id}"
        self._engine.later(seconds(at), self.clients.spawn, (kind, value, first))
        return ref

    def tell(self, ref: str, message: Any, at: str | float = 0) -> None:
        """Tells an actor something. In a crash it may be lost, as a tell may."""
        self._engine.later(seconds(at), lambda _: self.clients.tell(ref, message), None)

    def ask(self, ref: str, message: Any, at: str | float = 0, client: str = "client") -> Operation:
        """Asks an actor; the answer is in what is returned, once it is there. An entry of the
        history."""
        operation = Operation(client, ref, message, 0)
        self._engine.later(seconds(at), self.clients.ask, operation)
        return operation

    def on_effect(
        self,
        name: str,
        performer: Performer,
        usual_s: str | float = 0.01,
        report_s: str | float | None = None,
    ) -> None:
        """What carries out the `Perform` effects of this name: `performer(key, payload,
        perhaps_done)`. It may be called again with the same key, as in production. `report_s`: its
        outcome comes about so long after the deed, instead of with it, and is lost in a crash
        between the two."""
        self._engine.effects.performers[name] = performer
        self._engine.effects.usual_s[name] = seconds(usual_s)
        if report_s is not None:
            self._engine.effects.report_s[name] = seconds(report_s)

    def tool(
        self,
        matcher: Matcher,
        behave: Behave | None = None,
        *,
        fails: int = 0,
        duration_s: str | float = 1.0,
        **fields: Any,
    ) -> None:
        """How the work of some tasks behaves: those of this name, of this command, or for which
        `matcher` is true; "*" for all. `fails`: the first attempts that end with exit code 1.
        `fields` are those of `Behaviour`; `behave(execution)` decides each time instead."""
        rule = behave or Behaviour(duration_s=seconds(duration_s), **fields)
        self._engine.tools.add(matcher, rule, fails)

    def gate(
        self,
        matcher: Matcher,
        behave: Behave | None = None,
        *,
        fails: int = 0,
        duration_s: str | float = 1.0,
        **fields: Any,
    ) -> None:
        """As `tool`, for a gate's command."""
        rule = behave or Behaviour(duration_s=seconds(duration_s), **fields)
        self._engine.gates.add(matcher, rule, fails)

    # --- what happens when -----------------------------------------------------------------------

    def at(self, when: str | float) -> Moment:
        """Something that happens then: `sim.at("5m").crash("supervisor")`."""
        return Moment(self._engine, [seconds(when)])

    def every(self, period: str | float, until: str | float = "1h") -> Moment:
        """Something that happens again and again."""
        step, end = seconds(period), seconds(until)
        return Moment(self._engine, [step * n for n in range(1, int(end / step) + 1)])

    def operator(
        self, *commands: str, every: str | float = "1m", until: str | float = "1h"
    ) -> None:
        """An operator who does one of these, or nothing, to any entity, again and again, while
        faults last."""
        self._operators += 1
        name = f"operator{self._operators}"
        Operator(self._engine, commands, name).begin(seconds(every), seconds(until))

    # --- what must hold --------------------------------------------------------------------------

    def always(self, label: str, holds: Callable[[WorldView], Any]) -> None:
        """It holds after every commit."""
        self._expectations.add(Always(label, holds))

    def eventually(
        self, label: str, holds: Callable[[WorldView], Any], within: str | float = "1h"
    ) -> None:
        """It holds at some moment, at the latest so long after faults have stopped (or after the
        beginning, where there are none)."""
        self._expectations.add(Eventually(label, holds, seconds(within)))

    def sometimes(self, label: str, holds: Callable[[WorldView], Any]) -> None:
        """It holds at some moment of some run: a campaign warns where it never does."""
        self._expectations.add(Sometimes(label, holds))

    def watch(self, monitor: Monitor) -> None:
        """A monitor of your own."""
        self._engine.observer.add(monitor)

    def check(self, condition: object, text: str) -> None:
        """Ends the run as failed unless the condition holds; for performers and behaviours."""
        if not condition:
            self._engine.fail("check", text)

    def allow_failures(self) -> None:
        """Actors may raise: what led to it is a dead letter, and no failure of the run."""
        self._engine.observer.forgiving = True

    # --- chance ----------------------------------------------------------------------------------

    def choose(self, label: str, options: Sequence[T]) -> T:
        """One of the options; the first is the calm one."""
        n = self._drawn[label] = self._drawn.get(label, 0) + 1
        return options[self._engine.choices.below(f"choose/{label}/{n}", len(options))]

    def maybe(self, label: str, probability: float = 0.25) -> bool:
        """True at this rate."""
        n = self._drawn[label] = self._drawn.get(label, 0) + 1
        return self._engine.choices.chance(f"maybe/{label}/{n}", probability)

    @property
    def clock(self) -> float:
        """What the runtime's clock says."""
        return self._engine.now

    def fault(self, kind: str, who: str) -> bool:
        """Whether this kind of fault happens to `who` now; for performers and behaviours."""
        return self._engine.fault(kind, who)

    def outside(self, what: str, who: str, detail: str) -> None:
        """Something happened outside: it is in the trace, and monitors hear of it."""
        self._engine.outside(what, who, detail)

    def model(self, reference: Model[Any], refs: str = "") -> None:
        """Holds every answer of the actors whose address begins with `refs` against a reference
        model: `initial(ref)` and `step(state, message) -> (state, answer)`, both pure."""
        self.watch(Reference(reference, self.history, refs))

    def history(self) -> list[Operation]:
        """Every question asked so far, with its answer: for a check of linearizability."""
        return self.clients.operations

    # --- for the engine --------------------------------------------------------------------------

    def unsettled(self) -> bool:
        """Whether a client still waits for what will come."""
        return self.clients.unsettled()

    def expects(self) -> bool:
        """Whether something that must hold eventually does not yet, and there is time left."""
        return self._expectations.open()


class Scenario:
    """A function of a `Sim`, and how another process finds it."""

    def __init__(
        self,
        locator: str,
        function: Callable[[Sim], Any],
        monitors: Callable[[], list[Monitor]] | None = None,
    ) -> None:
        self.locator = locator
        self.function = function
        self._monitors = monitors

    def monitors(self) -> list[Monitor]:
        """What watches each run: every built-in promise, unless it was made with others."""
        if self._monitors is not None:
            return self._monitors()
        return default_monitors()

    def begin(self, engine: Engine) -> None:
        """Sets a run up."""
        engine.tools, engine.gates = Tools(Behaviour()), Tools(Behaviour())
        engine.sim = Sim(engine)
        self.function(engine.sim)

    def run(self, case: Case, *, record: bool = False) -> Result:
        """Runs one case of it."""
        from runtime.sim.engine import run_case  # noqa: PLC0415 (the engine imports this)

        return run_case(self, case, record=record)

    def case(self, seed: int, config: Config | None = None) -> Case:
        """The case of a seed."""
        from runtime.sim.case import Case, Config  # noqa: PLC0415 (beside its use)

        return Case(self.locator, seed, config or Config())


def replaced(config: Config, **changes: Any) -> Config:
    """The configuration with some fields changed."""
    return msgspec.structs.replace(config, **changes)
