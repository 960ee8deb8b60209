"""Each safeguard switched off in turn: a simulation that does not notice proves nothing.

An ablation replaces one function, in this process and for its runs only; production code knows
nothing of it and pays nothing. Every one names the sentence that it breaks, and must be noticed
within so many seeds. One that survives is an error: the promise it breaks is watched by nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from actors import breaker, task, task_moves, task_work, uet_worker, worker, workstream
from actors import messages as m
from actors.dispatch import Dispatch
from actors.guard_messages import Admit
from actors.machine import Decision
from actors.waits import Waits
from runtime.kernel import Kernel
from runtime.rollback import Rollback
from runtime.router import Router
from runtime.sim import grounds, worlds
from runtime.sim.case import Case, Config, Failure
from runtime.sim.engine import run_case
from runtime.sim.processes import Processes
from runtime.sim.scenario import Scenario, Sim
from runtime.sim.store import ModelStore
from runtime.store.errors import TryAgain
from runtime.turns import Turns

SEEDS_MAX: Final = 60
"""Within so many seeds every ablation must be noticed."""

Off = Callable[[], AbstractContextManager[None]]


class Ablation(msgspec.Struct, frozen=True):
    """One safeguard: `law` is the sentence that does not hold without it. `known`: a seed that has
    noticed, tried first."""

    name: str
    law: str
    off: Off
    world: Callable[[Sim], None]
    faults: dict[str, float] = {}
    strategy: str = "timed"
    known: int = 0

    def scenario(self) -> Scenario:
        """Where it is tried."""
        return Scenario(f"runtime.sim.ablate:{self.name}", self.world)

    def case(self, seed: int) -> Case:
        """What is tried."""
        config = Config(strategy=self.strategy, faults=self.faults, horizon_s=600.0)
        return Case(f"runtime.sim.ablate:{self.name}", seed, config)


class Verdict(msgspec.Struct, frozen=True):
    """What became of an ablation. `seed` None: it survived `runs` seeds."""

    name: str
    law: str
    seed: int | None
    runs: int
    failure: Failure | None = None

    @property
    def survived(self) -> bool:
        return self.seed is None

    def __str__(self) -> str:
        if self.failure is None:
            return f"SURVIVED {self.name}: {self.runs} seeds noticed nothing; {self.law}"
        return f"noticed  {self.name}: seed {self.seed}, {self.failure.invariant}"


def ablations() -> list[Ablation]:
    """All of them, in the order in which they are tried."""
    from runtime.sim.ablate_ledger import LEDGER  # noqa: PLC0415 (it is made of what is here)

    return [*_ABLATIONS, *LEDGER]


def run(ablation: Ablation, seeds: Sequence[int] | None = None) -> Verdict:
    """Tries the seeds until one notices; the known one first."""
    tried = list(range(SEEDS_MAX)) if seeds is None else list(seeds)
    if seeds is None:
        tried.remove(ablation.known)
        tried.insert(0, ablation.known)
    scenario, runs = ablation.scenario(), 0
    with ablation.off():
        for seed in tried:
            runs += 1
            failure = run_case(scenario, ablation.case(seed), record=True).failure
            if failure is not None:
                return Verdict(ablation.name, ablation.law, seed, runs, failure)
    return Verdict(ablation.name, ablation.law, None, runs)


@contextmanager
def swapped(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """`owner.name` is `make(what it was)`, and itself again afterwards."""
    before = vars(owner)[name]
    setattr(owner, name, make(before))
    try:
        yield
    finally:
        setattr(owner, name, before)


def off(*swaps: tuple[Any, str, Callable[[Any], Any]]) -> Off:
    """Several of them at a time."""

    @contextmanager
    def all_of_them() -> Iterator[None]:
        with ExitStack() as stack:
            for owner, name, make in swaps:
                stack.enter_context(swapped(owner, name, make))
            yield

    return all_of_them


# --- how each is switched off ---------------------------------------------------------------------


def _any_lease_of_a_process(busy: Any) -> Any:
    def believing(uet: Any, message: Any, now: float) -> Any:
        if isinstance(message, m.WorkEnded):
            message = replace(message, lease=uet.lease)
        return busy(uet, message, now)

    return believing


def _any_lease_of_a_task(work: Any) -> Any:
    def believing(turn: Any, message: Any) -> Any:
        if isinstance(message, m.WorkFinished) and turn.value.lease is not None:
            message = replace(message, lease=turn.value.lease)
        return work(turn, message)

    return believing


def _other_keys(outbox: Any) -> Any:
    async def renamed(store: Any) -> Any:
        found = await outbox(store)
        return [
            (row, actor, name, f"{key}-again", payload) for row, actor, name, key, payload in found
        ]

    return renamed


def _at_once(_leave: Any) -> Any:
    def leave(turns: Any, _cell: Any, effect: Any, _now: float, _reply: Any) -> None:
        turns.perform(effect)

    return leave


def _answered_at_once(_reply: Any) -> Any:
    def answer(_turns: Any, _cell: Any, effect: Any, _now: float, reply: Any) -> None:
        if reply is not None:
            reply.answer(effect.value)

    return answer


def _inputs_forgotten(to_repeat: Any) -> Any:
    def forgetful(rollback: Any, epochs: Any) -> Any:
        return [i for i in to_repeat(rollback, epochs) if isinstance(i, tuple) or not i.kept]

    return forgetful


def _nothing_read_again(_read_again: Any) -> Any:
    async def careless(_rollback: Any, _epochs: Any) -> None:
        pass

    return careless


def _second_probe(half_open: Any) -> Any:
    def generous(value: Any, message: Any, now: float) -> Any:
        if isinstance(message, Admit) and value.probe is not None:
            return breaker._probing(value, message, now)
        return half_open(value, message, now)

    return generous


def _open_to_all(open_: Any) -> Any:
    def generous(value: Any, message: Any, now: float) -> Any:
        if isinstance(message, Admit):
            return breaker._answered(value, message, breaker._ticket(value, message, now))
        return open_(value, message, now)

    return generous


def _no_bound(_allowance: Any) -> Any:
    return lambda _breaker: None


def _always_current(_is_current: Any) -> Any:
    return lambda _breaker, _settle: True


def _before_its_tasks(step: Any) -> Any:
    def hasty(turn: Any) -> Any:
        if turn.value.ending is not None:
            workstream._finish(turn, turn.value.ending)
            return True
        return step(turn)

    return hasty


def _dead_or_not(_end_work: Any) -> Any:
    def hasty(turn: Any, reason: str) -> None:
        task_work._finished(turn, m.Outcome(signal=15, reason=reason))

    return hasty


def _no_messages(_messages: Any) -> Any:
    async def none(_store: Any) -> list[Any]:
        return []

    return none


def _no_timers(adopt: Any) -> Any:
    return lambda kernel, stored: adopt(kernel, replace(stored, timers=None))


def _nothing_reaped(_reap: Any) -> Any:
    return lambda _processes, _on_record: frozenset()


def _its_own_fault(_lost: Any) -> Any:
    def blaming(turn: Any, outcome: Any) -> None:
        task_work._failed(turn, outcome, outcome.why(), retry=True)

    return blaming


def _for_ever(_timer: Any) -> Any:
    return lambda _turn: None


def _without_gates(start: Any) -> Any:
    def hasty(turn: Any) -> Any:
        turn.change(gates=Waits())
        return start(turn)

    return hasty


def _spawned_again(spawning: Any) -> Any:
    def suspicious(uet: Any, message: Any, now: float) -> Any:
        if isinstance(message, m.Recovered):
            return Decision(uet, (), (uet_worker._start(uet),))
        return spawning(uet, message, now)

    return suspicious


def _never_there(_is_there: Any) -> Any:
    async def never(_kernel: Any, _epoch: Any, _batch: Any, _head: int) -> bool:
        return False

    return never


def _good_enough(_write: Any) -> Any:
    async def careless(kernel: Any, _epoch: Any, batch: Any) -> None:
        with suppress(TryAgain):
            await kernel.store.commit(batch)

    return careless


def _last_come_first_served(post: Any) -> Any:
    def unfair(router: Any, envelope: Any) -> None:
        post(router, envelope)
        cell = router.cells.get(envelope.to)
        if cell is not None and cell.inbox and cell.inbox[-1] is envelope:
            cell.inbox.rotate(1)

    return unfair


def _one_epoch(init: Any) -> Any:
    def begin(dispatch: Any, _epoch: int, gate_places: int, counter: int = 0) -> None:
        init(dispatch, 1, gate_places, counter)

    return begin


CRASHES: Final = {
    "crash": 0.02,
    "crash_before_commit": 0.05,
    "crash_after_commit": 0.05,
    "crash_after_effects": 0.05,
    "orphan": 0.5,
}

_ABLATIONS: Final = (
    Ablation(
        "lease check of results",
        "a result with an old lease is refused",
        off(
            (uet_worker, "_busy", _any_lease_of_a_process),
            (task_work, "work", _any_lease_of_a_task),
        ),
        worlds.pipeline(),
        {"result_twice": 0.5, "tool_failed": 0.3},
        known=9,
    ),
    Ablation(
        "leases are never given twice",
        "the leases of different owners never meet",
        off((Dispatch, "__init__", _one_epoch)),
        worlds.pipeline(),
        CRASHES,
    ),
    Ablation(
        "effect keys",
        "an effect is offered again under the key that it had",
        off((ModelStore, "outbox", _other_keys)),
        grounds.paid_once,
        {**CRASHES, "effect_lost": 0.3},
    ),
    Ablation(
        "commit before effects",
        "nothing leaves the kernel before its epoch is durable",
        off((Turns, "_leave", _at_once)),
        worlds.pipeline(),
    ),
    Ablation(
        "commit before answers",
        "nothing is acknowledged before it is durable",
        off((Turns, "_reply", _answered_at_once)),
        worlds.pipeline(),
    ),
    Ablation(
        "inputs kept",
        "every input is kept until the epoch that consumed it is durable",
        off((Rollback, "_to_repeat", _inputs_forgotten)),
        worlds.inline(),
        {"constraint": 0.3},
        "random",
    ),
    Ablation(
        "rollback reads again",
        "of a discarded epoch nothing is left in memory",
        off((Rollback, "_read_again", _nothing_read_again)),
        worlds.inline(),
        {"constraint": 0.3},
        "random",
    ),
    Ablation(
        "unknown commits are looked up",
        "a COMMIT of unknown outcome is read back before it is written again",
        off((Kernel, "_is_there", _never_there)),
        worlds.pipeline(),
        {"commit_unknown": 0.2},
    ),
    Ablation(
        "failed commits are tried again",
        "what could not be written is written before anything goes on",
        off((Kernel, "_write", _good_enough)),
        worlds.pipeline(),
        {"disk_full": 0.1},
        known=1,
    ),
    Ablation(
        "messages survive",
        "a message that was under way is delivered by the next owner",
        off((ModelStore, "messages", _no_messages)),
        worlds.pipeline(),
        CRASHES,
        "random",
    ),
    Ablation(
        "timers survive",
        "durable timers are armed again by the next owner",
        off((Kernel, "adopt", _no_timers)),
        worlds.failing(),
        {**CRASHES, "tool_failed": 0.4},
    ),
    Ablation(
        "reap before recovery",
        "what a former owner left running is dead before its task goes on",
        off((Processes, "reap", _nothing_reaped)),
        worlds.pipeline(),
        CRASHES,
        known=28,
    ),
    Ablation(
        "spawning once",
        "after a restart nothing is spawned again on suspicion",
        off((uet_worker, "_spawning", _spawned_again)),
        worlds.pipeline(),
        CRASHES,
    ),
    Ablation(
        "death before the next lease",
        "a timeout takes a task out of RUNNING only when its processes are proven dead",
        off((task, "_end_work", _dead_or_not)),
        grounds.short_of_time,
    ),
    Ablation(
        "silence is noticed",
        "a busy slot's beats are waited for, two of them at most",
        off((worker, "_expect_beat", _for_ever)),
        worlds.pipeline(),
        {"worker_silent": 0.3},
        known=1,
    ),
    Ablation(
        "a doubted slot has a window",
        "an unresponsive slot is failed when its recovery window is over",
        off((worker, "_give_window", _for_ever)),
        worlds.pipeline(),
        {"worker_pause": 0.5},
    ),
    Ablation(
        "infrastructure burns no attempt",
        "the death of infrastructure burns no attempt",
        off((task_work, "_lost", _its_own_fault)),
        worlds.pipeline(),
        {"worker_crash": 0.3},
    ),
    Ablation(
        "gates before starts",
        "a task starts only when its gates have passed",
        off((task_moves, "start", _without_gates)),
        worlds.gated(),
    ),
    Ablation(
        "bottom-up ends",
        "a parent ends only when every child is terminal",
        off((workstream, "_step", _before_its_tasks)),
        worlds.failing(),
        {"tool_failed": 0.4},
    ),
    Ablation(
        "an open breaker refuses",
        "while a breaker is open no call is let through",
        off((breaker, "_open", _open_to_all), (breaker, "allowance", _no_bound)),
        grounds.tooled,
        {"tool_failed": 0.6},
    ),
    Ablation(
        "one probe at a time",
        "a half open breaker lends one probe at a time",
        off((breaker, "_half_open", _second_probe), (breaker, "allowance", _no_bound)),
        grounds.tooled,
        {"tool_failed": 0.6},
        known=25,
    ),
    Ablation(
        "stale results of a breaker",
        "a result from before the trip changes nothing",
        off((breaker, "_is_current", _always_current)),
        grounds.tooled,
        {"tool_failed": 0.6},
    ),
    Ablation(
        "first come, first served",
        "messages between the same two actors are taken in the order sent",
        off((Router, "post", _last_come_first_served)),
        grounds.in_order,
    ),
)
