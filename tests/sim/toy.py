"""A world so small that one can see what a test of the toolbox should come to.

Tasks t0, t1, ... take one turn each. The bug: a task other than the first crashes, and t0 is held
back by 3 or more. With `size` "tasks" at 2 it takes one fault and one order, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from zlib import crc32

from runtime.sim.case import Case, Config, Coverage, Failure, Happening, Result
from runtime.sim.choices import Choices, mix
from runtime.sim.faults import rates_of

BASE = Config(faults={"crash": 0.2, "worker_hang": 0.3, "disk_slow": 0.3}, sizes={"tasks": 8})


@dataclass
class Toy:
    """Runs cases. `mended`: the bug is gone. `gone`: and so are the tasks but the first.
    `forgetful`: every run is another."""

    locator: str = "tests/sim/toy.py::toy"
    mended: bool = False
    gone: bool = False
    forgetful: bool = False
    runs: list[Case] = field(default_factory=list)

    def run(self, case: Case, *, record: bool = False) -> Result:
        self.runs.append(case)
        world = _World(case, len(self.runs) if self.forgetful else 0)
        tasks = 1 if self.gone else case.config.sizes.get("tasks", 8)
        for number in range(tasks):
            world.turn(number)
        failure = None if self.mended else world.failure
        happenings = tuple(world.happenings)
        digest = 0
        for happening in happenings:
            digest = mix(digest, crc32(repr(happening).encode()))
        return Result(
            case=case,
            failure=failure,
            trace_hash=f"{digest:016x}",
            events=len(happenings),
            simulated_s=float(tasks),
            choices=dict(world.choices.log or {}),
            coverage=world.coverage,
            happenings=happenings if record else (),
        )


class _World:
    def __init__(self, case: Case, salt: int) -> None:
        self.choices = Choices(case.seed + salt, case.overrides, record=True)
        self.rates = rates_of(case.config, case.seed)
        self.happenings: list[Happening] = []
        self.coverage = Coverage(sometimes={"held": 0, "never": 0}, always={"sound": 0})
        self.failure: Failure | None = None
        self.held = 0

    def turn(self, number: int) -> None:
        task = f"t{number}"
        wait = self.choices.among(f"latency.start/{task}/1", 64, 0.2)
        order = self.choices.among(f"order/{task}/1", 16, 0.3)
        if number == 0:
            self.held = order
            self.coverage.sometimes["held"] += order > 0
        self.coverage.always["sound"] += 1
        self.coverage.states.add(mix(number, order))
        crashed = False
        for kind, rate in sorted(self.rates.items()):
            key = f"fault.{kind}/{task}/1"
            if self.choices.chance(key, rate):
                crashed |= kind == "crash"
                self.coverage.faults[kind] += 1
                self._happens(task, kind, key, fault=True)
        n = self._happens(task, "Begin", f"order/{task}/1", detail=f"after {wait}")
        if crashed and number and self.held >= 3 and self.failure is None:
            text = f"{task} began twice"
            self.failure = Failure("once", text, "once: # began twice", float(number), n, (task,))

    def _happens(
        self, actor: str, what: str, key: str, *, detail: str = "", fault: bool = False
    ) -> int:
        n = len(self.happenings) + 1
        edges = () if fault else (("ready", "done", "began"),)
        causes = (n - 1,) if n > 1 else ()
        at = float(actor[1:])
        self.happenings.append(Happening(n, at, actor, what, key, detail, edges, (), causes, fault))
        return n


def toy(locator: str) -> Toy:
    """For another process, which knows the locator only."""
    return Toy(locator)
