"""Running cases, here or in several processes, with the same sum either way.

Invariants:
1. Blocks are summed in the order of their seeds, whoever ran them.
2. A process of the pool loads the scenario by its name, so it may be started afresh (spawn): no
   memory of this one reaches a run.
3. A run that a budget cut off is not counted, so that what is counted is whole.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import count
from typing import Any, Final, Protocol

import msgspec

from runtime.sim.case import Case, Config, Failure, Result
from runtime.sim.compare import first_difference, in_words
from runtime.sim.seeds import Seeds, config_of
from runtime.sim.tally import Tally, distinct

BLOCK_SEEDS: Final = 16
"""Runs between two words to the parent: enough that talking costs little, few enough to stop."""

DETERMINISM: Final = "determinism"
"""The promise that two runs of a case are one."""

_AHEAD: Final = 2  # blocks handed out ahead for each process, so that none waits for the parent
_COLLECT_BLOCKS: Final = 8  # a user's code may leave cycles behind; the kernel leaves none

Load = Callable[[str], "Runnable"]


class Runnable(Protocol):
    """What can run cases of one scenario."""

    locator: str
    """How another process finds it: "path.py::name" or "module:name"."""

    def run(self, case: Case, *, record: bool = False) -> Result:
        """Runs one case. Raises ScenarioRaised where somebody's own code raises."""


class ScenarioRaised(Exception):
    """A scenario's own code raised, so that there is no run; the text says where and what."""

    def __init__(self, locator: str, text: str) -> None:
        super().__init__(locator, text)  # both, or it would not come back from another process
        self.text = text

    def __str__(self) -> str:
        return self.text


class Plan(msgspec.Struct, frozen=True):
    """What every run of a campaign has in common."""

    locator: str
    base: Config
    failures_max: int = 1
    twice: bool = False
    """Whether each seed runs twice, and a difference is a failure."""

    def case(self, seed: int) -> Case:
        return Case(self.locator, seed, config_of(seed, self.base))


class PoolBroke(RuntimeError):
    """A process of the pool died."""

    def __init__(self) -> None:
        super().__init__(
            "a process that ran seeds died: run with --jobs 1 to see why; in a script of your own,"
            ' call explore under `if __name__ == "__main__":`, for each process imports the script'
        )


def run_block(
    runnable: Runnable, plan: Plan, seeds: list[int], until: float | None, enough: int
) -> Tally:
    """Runs these seeds, up to `enough` different bugs or to the instant `until` (of
    `time.monotonic`, the same in all processes)."""
    tally = Tally()
    for seed in seeds:
        if until is not None and time.monotonic() >= until:
            break
        case = plan.case(seed)
        tally.add(run_twice(runnable, case) if plan.twice else runnable.run(case))
        if tally.failures and len(distinct(tally.failures)[0]) >= enough:
            break
    return tally


def run_twice(runnable: Runnable, case: Case) -> Result:
    """The run of a case; where a second one differs, that is its failure."""
    one, other = runnable.run(case), runnable.run(case)
    if one.trace_hash == other.trace_hash:
        return one
    first = runnable.run(case, record=True)
    parting = first_difference(first.happenings, runnable.run(case, record=True).happenings)
    said: tuple[str, ...] = ("the two recorded runs agree: look for state that outlives a run",)
    at, n = 0.0, 0
    if parting is not None:
        event = parting.one or parting.other
        assert event is not None
        at, n = event.at, event.n
        said = (f"once:  {in_words(parting.one)}", f"again: {in_words(parting.other)}")
    text = f"two runs of seed {case.seed} differ, first in event {n}"
    cure = "a scenario may not look at the clock, at random, at a set's order or at its own past"
    one.failure = Failure(DETERMINISM, text, "two runs differ", at, n, (*said, cure))
    one.happenings = first.happenings
    return one


def sums(
    runnable: Runnable,
    plan: Plan,
    seeds: Seeds,
    *,
    jobs: int = 1,
    until: float | None = None,
    load: Load | None = None,
) -> Generator[Tally]:
    """The sums of the blocks, in order, as they come."""
    blocks = seeds.blocks(BLOCK_SEEDS)
    if jobs > 1 and load is not None:
        yield from _spread(plan, blocks, jobs, until, load)
        return
    with _collected_rarely() as collect:
        for block in blocks:
            for seed in block:
                yield run_block(runnable, plan, [seed], until, plan.failures_max)
            collect()


@contextmanager
def _collected_rarely() -> Iterator[Callable[[], None]]:
    """Without the collector of cycles, which would look again and again at what never makes one;
    what is yielded is called between blocks, and lets it work for now and then."""
    was = gc.isenabled()
    blocks = count(1)

    def collect() -> None:
        if next(blocks) % _COLLECT_BLOCKS == 0:
            gc.collect()

    gc.disable()
    try:
        yield collect
    finally:
        if was:
            gc.enable()


def _spread(
    plan: Plan, blocks: Iterator[list[int]], jobs: int, until: float | None, load: Load
) -> Generator[Tally]:
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_prepare,
        initargs=(load, plan),
    )
    waiting: deque[Future[Tally]] = deque()
    try:
        for block in blocks:
            waiting.append(pool.submit(_block_here, block, until, plan.failures_max))
            if len(waiting) >= jobs * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise PoolBroke from None
    finally:
        _end(pool)


def _end(pool: ProcessPoolExecutor) -> None:
    """Ends its processes now: what they still run, nobody will count."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()


_here: dict[str, Any] = {}  # what a process of the pool has loaded


def _prepare(load: Load, plan: Plan) -> None:
    # Ctrl-C goes to the whole group; the parent decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["BANKSMAN_SIM_POOLED"] = "1"
    _here["runnable"] = load(plan.locator)
    _here["plan"] = plan
    _here["blocks"] = 0
    gc.collect()
    gc.freeze()
    gc.disable()


def _block_here(seeds: list[int], until: float | None, enough: int) -> Tally:
    _here["blocks"] += 1
    if _here["blocks"] % _COLLECT_BLOCKS == 0:
        gc.collect()
    return run_block(_here["runnable"], _here["plan"], seeds, until, enough)
