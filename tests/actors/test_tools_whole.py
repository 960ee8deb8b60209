"""Whole runs with tools, in memory: who is parked, who probes, and that nothing is left over."""

from __future__ import annotations

import random
from typing import Any

import pytest

from actors import guard_messages as guard
from actors import messages as m
from actors import spec
from tests.actors.world import World

FAST = spec.Breaker(failure_threshold=2, cooldown_s=60.0, jitter=0.0)
BAD, GOOD = m.Outcome(exit_code=70), m.Outcome(exit_code=0)
ID = spec.breaker_id("t", ("t",))
BREAKER = f"circuit_breaker:{ID}"


def plan(
    tasks: int = 10, *, slots: int = 3, tool: dict[str, Any] | None = None, **task: Any
) -> spec.Plan:
    """So many tasks of one tool, in a pool of so many slots."""
    task.setdefault("critical", False)
    named = {f"t{n}": spec.Task(tool="t", **task) for n in range(tasks)}
    return spec.Plan(
        run=spec.Run(name="n"),
        workers={"p": spec.Pool(count=slots)},
        tools={"t": spec.Tool(command=("t",), **({"breaker": FAST} | (tool or {})))},
        workstreams={"w": spec.Workstream(tasks=named)},
    )


class Sick:
    """A tool that fails its first calls."""

    def __init__(self, failures: int) -> None:
        self.left = failures

    def __call__(self, _id: str, _attempt: int) -> m.Outcome:
        self.left -= 1
        return BAD if self.left >= 0 else GOOD


def states(world: World) -> dict[str, int]:
    counts: dict[str, int] = {}
    for task in world.of("task"):
        counts[task.state] = counts.get(task.state, 0) + 1
    return counts


def test_a_tool_that_fails_opens_its_breaker_and_its_tasks_are_parked() -> None:
    world = World(Sick(99))
    world.submit(plan(slots=1))
    world.drive(until=lambda: world.state(BREAKER) == "open")
    world.deliver()
    assert states(world) == {"failed": 2, "queued": 8}
    assert [w.state for w in world.of("worker")] == ["idle"], "no slot is taken by those who wait"


def test_the_probe_closes_it_and_all_who_were_parked_are_done() -> None:
    world = World(Sick(2))
    world.submit(plan())
    world.drive()
    assert world.moves(BREAKER) == ["closed", "open", "half_open", "closed"]
    assert states(world) == {"failed": 2, "completed": 8}
    world.check_counts()


def test_while_half_open_one_runs_and_after_closing_a_ramp_of_one_two_four() -> None:
    world = World(Sick(2))
    world.submit(plan(60, slots=8, max_retries=3))
    world.drive(until=lambda: world.state(BREAKER) == "open")
    while world.running:
        world.finish(next(iter(world.running)))  # what began before it was shut
    widest: list[int] = []
    for _ in range(10_000):
        world.deliver()
        if world.reports:
            world.report()
            continue
        if len(world.running) > max(widest, default=0):
            widest.append(len(world.running))
        if world.running:
            world.finish(next(iter(world.running)))
        elif not world.advance():
            break
    assert states(world) == {"completed": 60}
    assert widest == [1, 2, 4, 8]


def test_a_probe_that_fails_opens_it_for_longer_and_the_next_one_is_another_task() -> None:
    world = World(Sick(3))
    world.submit(plan(slots=1))
    world.drive()
    assert world.moves(BREAKER) == [
        *("closed", "open", "half_open", "open", "half_open", "closed"),
    ]
    assert states(world) == {"failed": 3, "completed": 7}


def test_concurrency_holds_over_all_runs() -> None:
    world = World()
    for run in ("one", "two"):
        world.submit(plan(5, slots=5, tool={"concurrency": 2}), run)
    most = 0
    for _ in range(10_000):
        world.deliver()
        most = max(most, len(world.running))
        if world.reports:
            world.report()
        elif world.running:
            world.finish(next(iter(world.running)))
        else:
            break
    assert most == 2
    assert states(world) == {"completed": 10}


def test_a_parked_task_that_waits_too_long_fails_by_its_queue_timeout() -> None:
    world = World(Sick(99))
    world.submit(plan(slots=1, queue_timeout_s=30.0))
    world.drive()
    reasons = {t.reason for t in world.of("task")}
    assert reasons == {"exit code 70", "queue timeout after 30 s"}


def test_a_rate_limit_parks_all_of_the_tool_and_none_burns_an_attempt() -> None:
    told = iter([m.Outcome(exit_code=1, retry_after_s=300.0)])
    world = World(lambda _id, _attempt: next(told, GOOD))
    world.submit(plan(slots=1))
    world.drive()
    assert states(world) == {"completed": 10}
    assert all(t.retry_count == 0 for t in world.of("task"))
    assert world.moves(BREAKER) == ["closed", "open", "half_open", "closed"]
    opened = next(taken for who, taken in world.history if who == BREAKER and taken.source)
    assert opened.reason == "the tool asked for 300 s: exit code 1"


def test_a_probe_whose_task_is_cancelled_leaves_the_tool_free_for_the_next() -> None:
    world = World(Sick(2))
    world.submit(plan(slots=1))
    world.drive(until=lambda: world.state(BREAKER) == "half_open" and bool(world.running))
    (probe,) = world.running.values()
    world.ask(f"task:{probe.task_id}", m.Cancel("enough", "ann"))
    world.drive()
    assert world.state(probe.task_id) == "cancelled"
    assert world.state(BREAKER) == "closed"
    world.check_counts()


def test_a_worker_that_dies_under_the_probe_reopens_and_the_task_tries_again() -> None:
    world = World(Sick(2))
    world.submit(plan(slots=1))
    world.drive(until=lambda: world.state(BREAKER) == "half_open" and bool(world.running))
    (probe,) = world.running.values()
    world.crash(probe.uet)
    world.drive()
    assert world.state(probe.task_id) == "completed"
    assert world.moves(BREAKER)[-3:] == ["open", "half_open", "closed"]


def test_a_tool_held_by_a_person_starts_nothing_until_released() -> None:
    world = World()
    world.submit(plan(3))
    world.ask(BREAKER, guard.Hold("ann", "look at it first"))
    world.drive()
    assert states(world) == {"queued": 3}
    world.ask(BREAKER, guard.ForceClose("ann", "looked"))
    world.drive()
    assert states(world) == {"completed": 3}


def test_a_tool_that_is_called_by_somebody_else_is_no_busy_loop() -> None:
    world = World(Sick(2))
    world.submit(plan(slots=1))
    world.drive(until=lambda: world.state(BREAKER) == "half_open" or not world.timers)
    world.restart_owner()
    world.deliver()
    # Nobody's probe: an embedding program asked for it.
    world.tell(BREAKER, guard.Admit(None, 60.0), control=True)
    turns = world.turns
    world.deliver(turns=500)
    assert world.turns - turns < 500


@pytest.mark.parametrize("seed", range(60))
def test_in_whatever_order_and_wherever_the_owner_dies_every_ticket_is_settled(seed: int) -> None:
    chance = random.Random(seed)

    def work(_id: str, _attempt: int) -> m.Outcome:
        return chance.choice([GOOD, GOOD, BAD, m.Outcome(exit_code=1, retry_after_s=5.0)])

    world = World(work, pick=chance.randrange)
    tool = {"concurrency": 2, "caller_fault_exit_codes": (1,)}
    world.submit(plan(6, slots=2, tool=tool, max_retries=2, backoff_s=1.0))
    for _ in range(6):
        for _ in range(chance.randrange(120)):
            if not world.step():
                _let_in(world, chance)
        move = chance.randrange(3)
        if move == 0:
            world.restart_owner()
        elif move == 1 and world.running:
            world.crash(chance.choice(sorted(o.uet for o in world.running.values())))
        elif tasks := [t for t in world.of("task") if t.completed_at is None]:
            world.tell(chance.choice(tasks).address, m.Cancel("enough", "ann"), control=True)
    world.drive()
    assert world.state("run:r") == "completed", states(world)
    assert not world.dead
    world.check_counts()
    assert world[BREAKER].probe is None


def _let_in(world: World, chance: random.Random) -> None:
    if world.reports and chance.random() < 0.7:
        world.report()
    elif world.running:
        world.finish(chance.choice(sorted(world.running)))
    else:
        world.advance()
