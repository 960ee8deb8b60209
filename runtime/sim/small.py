"""A small world to be searched: what there is in the beginning, and what may happen in it.

    world = SmallWorld(outcomes=lambda task, attempt: (OK, FAILED))
    world.slots(2)
    world.submit(plan)
    world.tell("run:r", Cancel("enough", "ann"))     # from outside, at any moment

What is no part of it never happens: a process dies only where there are `deaths`, and a heartbeat
is missed only where there are `silences`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from actors import breaker, run, spec
from actors import messages as m
from actors.run_plan import guarded
from runtime.kinds import KINDS, Kind
from runtime.seed import CREATE
from runtime.sim.outside import DEATHS, Commands, Outcomes, Performers, Processes, Results
from runtime.sim.queue_value import Queues, queue
from runtime.sim.space import NOW, KindMachine, Lane, Local, Machine, Msg, Space

DISPATCH: Final = "dispatch:main"
OUTSIDE: Final = "outside"
"""The sender of what comes from outside: `outside#<n>`."""
KERNEL: Final = "kernel"
"""The sender of what a new owner says: before all else."""
SILENCES: Final = "silences"
SPENDS: Final = {("worker", "heartbeat"): SILENCES}
OK: Final = m.Outcome(exit_code=0)

Lossy = Callable[[str, str, Any], bool]  # sender, receiver, message


def succeed(_id: str, _attempt: int) -> tuple[m.Outcome, ...]:
    """Whatever runs, passes."""
    return (OK,)


def from_outside(sender: str, _receiver: str, _message: Any) -> bool:
    """What may be lost, unless a world says otherwise: nothing that our own actors say."""
    return sender.startswith(OUTSIDE)


def nothing(_effect: Any) -> tuple[Any, ...]:
    """What a user's effect comes to, unless a world says otherwise."""
    return (None,)


class SmallWorld:
    """What a search starts from. Nothing of it changes once the search has begun."""

    def __init__(
        self,
        *,
        kinds: Iterable[Kind] = (),
        outcomes: Outcomes = succeed,
        gate_outcomes: Outcomes = succeed,
        results: Results = nothing,
        lossy: Lossy = from_outside,
        deaths: int = 0,
        silences: int = 0,
        gate_places: int = 1,
    ) -> None:
        """`outcomes(task id, attempt)` and `gate_outcomes(gate id, attempt)`: every way in which
        an execution may end; `results(effect)`: likewise for a `Perform`, an exception for an
        error. `lossy(sender, receiver, message)`: what a drop may hit. `kinds`: your own actors."""
        own = {kind.name: KindMachine(kind) for kind in kinds}
        ours = {name: KindMachine(kind, CREATE.get(name)) for name, kind in KINDS.items()}
        self.machines: dict[str, Machine] = {
            **ours,
            **own,
            "dispatch": Queues(),
            "process": Processes(outcomes),
            "command": Commands(gate_outcomes),
            "performer": Performers(results),
        }
        self.lossy = lossy
        self.budgets = {DEATHS: deaths, SILENCES: silences}
        self.gate_places = gate_places
        self.symmetric: list[tuple[str, ...]] = []
        self.actors: list[tuple[str, Any]] = []
        self.told: list[tuple[Lane, Any, bool]] = []
        self.needs: dict[Lane, str] = {}

    def slots(self, count: int, kind: str = "inline", pool: spec.Pool | None = None) -> None:
        """Slots of the owner's own pool. They are alike: which of them does what makes no state."""
        slot = pool or spec.Pool(kind=kind)
        names = [f"worker:local.{n}" for n in range(1, count + 1)]
        for name in names:
            seed = spec.WorkerSeed(id=name, run_id=None, pool="local", slot=slot)
            self.spawn("worker", seed)
            self.told.append((("start", f"worker:{name}"), m.Begin(), False))
        self.symmetric.append(tuple(names))

    def submit(self, plan: spec.Plan, run_id: str = "r") -> str:
        """A run of the plan, acknowledged; its address. Slots of its own pools are alike, too."""
        for guard, tool in guarded(plan).items():
            name = guard.rpartition("-")[0]
            self.spawn("circuit_breaker", breaker.create(name, tool.command, tool.breaker, NOW))
        self.actors.append((f"run:{run_id}", run.create(plan, run_id, NOW)))
        self.told.append((("start", f"run:{run_id}"), m.Begin(), False))
        for name, pool in plan.workers.items():
            numbers = range(1, max(1, pool.count) + 1)
            self.symmetric.append(tuple(f"{run_id}/worker:{name}.{n}" for n in numbers))
        return f"run:{run_id}"

    def spawn(self, kind: str, value: Any) -> str:
        """An actor that is there from the beginning, durable; its address."""
        born = self.machines[kind].born(value)
        self.actors.append((f"{kind}:{born.id}", born))
        return f"{kind}:{born.id}"

    def tell(
        self, address: str, message: Any, *, control: bool = False, once: str | None = None
    ) -> None:
        """A message from outside that may arrive at any moment, or never; not before the actor
        `once` (an address; by default the receiver) is there, for whoever speaks has looked."""
        lane = (f"{OUTSIDE}#{len(self.told)}", address)
        self.told.append((lane, message, control))
        self.needs[lane] = once or address

    def space(self, *, symmetry: bool) -> Space:
        """Where the parts of its states are kept."""
        groups: Sequence[Sequence[str]] = self.symmetric if symmetry else ()
        return Space(self.machines, [g for g in groups if len(g) > 1], SPENDS)

    def first(self, space: Space) -> tuple[list[Local], dict[Lane, tuple[Msg, ...]]]:
        """The actors and the messages of the beginning."""
        actors = [space.local(DISPATCH, queue(1, self.gate_places))]
        actors += [space.local(address, value) for address, value in self.actors]
        lanes: dict[Lane, tuple[Msg, ...]] = {}
        for lane, message, control in self.told:
            lanes[lane] = (*lanes.get(lane, ()), space.message(message, control))
        return actors, lanes
