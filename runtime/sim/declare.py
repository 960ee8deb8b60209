"""`simulate`: the one name that a scenario needs, in a test, in a program, on the command line.

    from runtime.sim import simulate

    @simulate(seeds=500)
    def test_nothing_is_lost(sim):
        run = sim.submit(plan)
        sim.eventually("finished", lambda v: v.run(run).terminal, within="2h")

Decorated, the function takes no argument: called, it explores the scenario and raises
`SimulationFailed` with the whole story where something is broken. pytest needs no more than that.
"""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Callable, Iterable
from functools import update_wrapper
from pathlib import Path
from typing import Any, Final, overload

import msgspec

from runtime.sim import faults as fault_kinds
from runtime.sim import search, settings
from runtime.sim.case import Case, Config, Result
from runtime.sim.explore import Standing, explore
from runtime.sim.pool import Load, ScenarioRaised
from runtime.sim.proof import Proof
from runtime.sim.report import Report
from runtime.sim.scenario import Scenario, Sim, seconds
from runtime.sim.seeds import BadSeeds, Seeds, parse
from runtime.sim.settings import Settings
from runtime.sim.small import SmallWorld

MARK: Final = "__banksman_simulation__"
"""The attribute of a decorated function that holds its `Simulation` or `Proof`."""

Function = Callable[[Sim], Any]


class SimulationFailed(AssertionError):
    """Something is broken; the text is the whole story. `report` is the same as values."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


def where(error: BaseException, file: str | None) -> str:
    """Line, type and text of what was raised: the last line of `file` that it went through, else
    the line that raised."""
    said = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    real = os.path.realpath(file) if file is not None else ""
    own = [f for f in frames if os.path.realpath(f.filename) == real]
    at = (own or frames)[-1]
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return f"{os.path.relpath(at.filename)}:{at.lineno}: {text}"


class Simulation:
    """A scenario, with how it is explored unless somebody says otherwise."""

    def __init__(
        self,
        function: Function,
        name: str,
        locator: str,
        base: Config,
        asked: Settings,
        world: Function | None = None,
    ) -> None:
        self.name = name
        self.locator = locator
        self.base = base
        self.settings = asked
        self._scenario = Scenario(locator, _both(world, function) if world else function)
        self._file = function.__code__.co_filename
        self._elsewhere = "<locals>" not in locator and "<lambda>" not in locator

    def run(self, case: Case, *, record: bool = False) -> Result:
        """Runs one case. Raises ScenarioRaised where somebody's own code raises."""
        try:
            return self._scenario.run(case, record=record)
        except Exception as error:
            raise ScenarioRaised(self.locator, where(error, self._file)) from error

    def explore(
        self, asked: Settings | None = None, say: Callable[[Standing], None] | None = None
    ) -> Report:
        """Explores it. Raises BadCase for a case that cannot be read."""
        load: Load | None = None
        if self._elsewhere:
            from runtime.sim.script import load  # noqa: PLC0415 - it imports this module
        return explore(self, self.name, self.base, asked or self.settings, load=load, say=say)


def _both(world: Function, function: Function) -> Function:
    def whole(sim: Sim) -> None:
        world(sim)
        function(sim)

    return whole


def of(value: Any) -> Simulation | Proof | None:
    """What a decorated function declares; None for anything else."""
    found = getattr(value, MARK, None) if inspect.isfunction(value) else None
    return found if isinstance(found, Simulation | Proof) else None


class Simulate:
    """Decorator and library in one: `simulate(...)`, `simulate.explore(...)`, and the rest."""

    @overload
    def __call__(self, function: Function, /) -> Callable[[], None]: ...

    @overload
    def __call__(self, /, **asked: Any) -> Callable[[Function], Callable[[], None]]: ...

    def __call__(self, function: Function | None = None, /, **asked: Any) -> Any:
        """Declares a scenario. `asked`: `seeds` (a number, a range, or text as for `--seeds`),
        `faults` (a dictionary of kinds and rates; default: a swarm of all kinds), `world` (called
        with the `Sim` before the function), `sizes`, `horizon` (of the phase with faults),
        `events_max`, and the fields of `Settings`."""
        if function is not None:
            return _declared(function, asked)
        return lambda decorated: _declared(decorated, dict(asked))

    def explore(
        self,
        scenario: Function | Callable[[], None] | Simulation | str,
        *,
        say: Callable[[Standing], None] | None = None,
        **asked: Any,
    ) -> Report:
        """Explores a scenario: a function of a `Sim`, a decorated one, or a locator as the command
        takes it. `asked`: as for the decorator, and instead of what that was given."""
        found = _found(scenario)
        base, changed = _read(asked, found.base, found.settings)
        if found.base != base:
            found.base = base
        return found.explore(changed, say)

    def model(
        self, reference: Any, /, refs: str = "", **asked: Any
    ) -> Callable[[Function], Callable[[], None]]:
        """As the decorator, and every answer of the actors whose address begins with `refs` is held
        against the reference model; see `Sim.model`."""
        world = asked.pop("world", None)

        def compared(sim: Sim) -> None:
            if world is not None:
                world(sim)
            sim.model(reference, refs)

        return lambda function: _declared(function, {**asked, "world": compared})

    def exhaustive(self, world: SmallWorld | None = None, /, *promises: Any, **bounds: Any) -> Any:
        """Visits every state of a small world within the bounds (`crashes`, `drops`, `depth_max`,
        `states_max`, `seconds_max`), and returns what the search came to.

        Without a world: a decorator of a function that makes it, and returns it alone or together
        with its promises.
        """
        if world is not None:
            return search.explore(world, promises, **bounds)

        def declare(function: Callable[[], Any]) -> Callable[[], None]:
            proof = Proof(function, function.__name__, _locator(function), bounds)

            def proven() -> None:
                proof.check()

            return _marked(proven, function, proof)

        return declare


def _declared(function: Function, asked: dict[str, Any]) -> Callable[[], None]:
    _refuse_other_arguments(function)
    world = asked.pop("world", None)
    base, wanted = _read(asked, Config(faults=fault_kinds.default), Settings())

    simulation = Simulation(function, function.__name__, _locator(function), base, wanted, world)

    def simulated() -> None:
        report = simulation.explore(settings.read(settings.from_environ(os.environ), wanted))
        if not report.ok:
            raise SimulationFailed(report)

    return _marked(simulated, function, simulation)


def _marked(
    made: Callable[[], None], function: Callable[..., Any], found: Simulation | Proof
) -> Callable[[], None]:
    update_wrapper(made, function)
    del made.__wrapped__  # type: ignore[attr-defined] # pytest would ask for its argument
    made.__annotations__ = {"return": None}
    setattr(made, MARK, found)
    return made


def _refuse_other_arguments(function: Function) -> None:
    if not inspect.isfunction(function):
        raise TypeError(f"@simulate is for a plain function, not for {function!r}")
    if inspect.iscoroutinefunction(function):
        raise TypeError(
            f"{function.__qualname__} is async: a scenario is a plain def, see the docs"
        )
    if len(inspect.signature(function).parameters) != 1:
        raise TypeError(f"{function.__qualname__} must take one argument, the simulation: (sim)")


def _locator(function: Callable[..., Any]) -> str:
    file = Path(function.__code__.co_filename)
    near = os.path.relpath(file)
    return f"{file if near.startswith('..') else near}::{function.__qualname__}"


def _found(scenario: Any) -> Simulation:
    if isinstance(scenario, str):
        from runtime.sim.script import load  # noqa: PLC0415 - it imports this module

        scenario = load(scenario)
    found = scenario if isinstance(scenario, Simulation | Proof) else of(scenario)
    found = found or plain(scenario)
    if isinstance(found, Proof):
        raise TypeError(f"{found.name} is exhaustive: call it, or use simulate.exhaustive")
    # A copy, for what is asked of it here is asked of it here only.
    copied = Simulation.__new__(Simulation)
    copied.__dict__.update(found.__dict__)
    return copied


def plain(function: Function) -> Simulation:
    """An undecorated function, as a simulation with nothing said about it. Raises TypeError."""
    _refuse_other_arguments(function)
    base = Config(faults=fault_kinds.default)
    return Simulation(function, function.__name__, _locator(function), base, Settings())


_OF_CONFIG: Final = {"faults", "sizes", "horizon", "events_max", "depth"}


def _read(asked: dict[str, Any], base: Config, wanted: Settings) -> tuple[Config, Settings]:
    """What was asked, on top of what there is. Raises TypeError for what nobody knows."""
    changes: dict[str, Any] = {}
    for name, value in asked.items():
        if name == "horizon":
            changes["horizon_s"] = seconds(value)
        elif name in _OF_CONFIG:
            changes[name] = value
    rest = {name: value for name, value in asked.items() if name not in _OF_CONFIG}
    unknown = set(rest) - set(Settings.__struct_fields__) - {"budget"}
    if unknown:
        known = sorted({*_OF_CONFIG, *Settings.__struct_fields__, "world"})
        raise TypeError(f"simulate knows no {min(unknown)!r}; it knows {', '.join(known)}")
    if "seeds" in rest:
        rest["seeds"] = _seeds(rest["seeds"])
        if not any(rest["seeds"].ranges):
            raise BadSeeds("seeds are none at all, which proves nothing: say 1 or more")
    if "budget" in rest:
        rest["budget_s"] = seconds(rest.pop("budget"))
        rest.setdefault("seeds", settings.ENDLESS)
    if "depth" in changes:
        rest["depth"] = changes["depth"]
    for name in ("case", "folder", "html", "coverage"):
        if rest.get(name) is not None:
            rest[name] = Path(rest[name])
    config = msgspec.structs.replace(base, **changes)
    return config, msgspec.structs.replace(wanted, **rest)


def _seeds(given: Seeds | int | str | range | Iterable[int]) -> Seeds:
    if isinstance(given, Seeds):
        return given
    if isinstance(given, int):
        return Seeds((range(given),))
    if isinstance(given, str):
        return parse(given)
    if isinstance(given, range):
        return Seeds((given,))
    return Seeds(tuple(range(seed, seed + 1) for seed in given))


simulate: Final = Simulate()
