"""The dispatcher and tools: what a breaker lets through, concurrency over runs, and many parked."""

from __future__ import annotations

import random

from actors import messages as m
from actors.dispatch import Dispatch
from tests.actors.test_dispatch import after, enqueue, slot


def allow(allowed: int | None, epoch: int = 1, tool: str = "ruff") -> m.ToolAllowance:
    return m.ToolAllowance(tool, allowed, epoch)


def use(name: str, **more: object) -> m.Enqueue:
    return enqueue(name, tool="ruff", **more)


def free(name: str) -> m.ToolFree:
    return m.ToolFree(f"task:{name}", "ruff")


def slots(count: int) -> list[m.SlotFree]:
    return [slot(f"s{n}") for n in range(count)]


def test_a_tool_of_which_nothing_was_said_is_open() -> None:
    assert len(after(Dispatch(1, 1), *slots(3), *(use(f"t{n}") for n in range(3)))) == 3


def test_what_waits_for_a_shut_tool_takes_no_slot_from_others() -> None:
    dispatch = Dispatch(1, 1)
    assert after(dispatch, allow(0), slot("s"), use("t"), enqueue("other")) == [("s", "other")]
    assert dispatch.explain("task:t") == "the breaker ruff lets nothing through"


def test_a_probe_goes_alone_and_the_one_who_waited_longest_is_it() -> None:
    dispatch = Dispatch(1, 1)
    waiting = [use(f"t{n}", since=float(9 - n)) for n in range(4)]
    assert after(dispatch, allow(0), *slots(3), *waiting) == []
    assert [task for _, task in after(dispatch, allow(1, 2))] == ["t3"]
    assert after(dispatch, allow(0, 2), slot("s")) == []


def test_the_ramp_lets_as_many_go_as_are_allowed_at_a_time() -> None:
    dispatch = Dispatch(1, 1)
    after(dispatch, allow(0), *slots(50), *(use(f"t{n}") for n in range(20)))
    assert len(after(dispatch, allow(1, 3))) == 1
    assert len(after(dispatch, allow(2, 3), free("t0"))) == 2
    assert len(after(dispatch, allow(4, 3))) == 2
    assert len(after(dispatch, allow(None, 3))) == 15


def test_what_began_before_the_tool_was_shut_does_not_keep_the_probe_waiting() -> None:
    dispatch = Dispatch(1, 1)
    after(dispatch, *slots(9), *(use(f"old{n}") for n in range(5)))
    after(dispatch, allow(0, 1), use("t"))
    assert [task for _, task in after(dispatch, allow(1, 2))] == ["t"]


def test_a_probe_that_was_refused_after_all_waits_again_where_it_stood() -> None:
    dispatch = Dispatch(1, 1)
    after(dispatch, allow(0), *slots(2), use("a", since=1.0), use("b", since=2.0))
    assert after(dispatch, allow(1, 2)) == [("s0", "a")]
    assert after(dispatch, allow(0, 3), use("a", since=1.0), slot("s0")) == []
    assert [task for _, task in after(dispatch, allow(1, 4))] == ["a"]


def test_a_tool_runs_so_many_times_at_once_over_all_runs() -> None:
    dispatch = Dispatch(1, 1)
    started = after(
        dispatch,
        *slots(9),
        *(use(f"t{n}", tool_limit=2, run_id=f"r{n % 2}") for n in range(5)),
    )
    assert len(started) == 2
    assert dispatch.explain("task:t4") == "the tool of ruff runs 2 times already"
    assert len(after(dispatch, free("t0"))) == 1
    assert after(dispatch, free("t0")) == [], "told twice, it is free once"


def test_concurrency_follows_the_newest_plan() -> None:
    dispatch = Dispatch(1, 1)
    after(dispatch, *slots(9), use("a", tool_limit=1), use("b", tool_limit=1))
    assert len(after(dispatch, use("c", tool_limit=3))) == 1
    assert len(after(dispatch, free("a"))) == 1


def test_a_new_dispatcher_learns_who_holds_the_tool() -> None:
    dispatch = Dispatch(1, 1)
    after(dispatch, m.ToolTaken("task:old", "ruff"), use("t", tool_limit=1))
    assert after(dispatch, slot("s")) == []
    assert after(dispatch, free("old")) == [("s", "t")]


def test_a_slot_that_is_not_taken_after_all_frees_the_tool() -> None:
    dispatch = Dispatch(1, 1)
    after(dispatch, *slots(2), use("a", tool_limit=1), use("b", tool_limit=1))
    assert after(dispatch, m.Dequeue("task:a")) == [("s1", "b")]


def test_a_task_with_a_key_and_a_tool_waits_for_both() -> None:
    dispatch = Dispatch(1, 1)
    first = use("a", concurrency_key="db", tool_limit=5)
    second = use("b", concurrency_key="db", tool_limit=5)
    assert after(dispatch, *slots(3), first, second) == [("s0", "a")]
    assert after(dispatch, allow(0), m.KeyFree("r", "db"), free("a")) == []
    assert after(dispatch, allow(1, 2)) == [("s1", "b")]


def test_one_that_is_withdrawn_lets_the_next_come_forward() -> None:
    dispatch = Dispatch(1, 1)
    after(dispatch, allow(0), *(use(f"t{n}", since=float(n)) for n in range(3)), slot("s"))
    after(dispatch, m.SlotGone("worker:s"))
    after(dispatch, allow(1, 2), m.Dequeue("task:t0"))
    assert after(dispatch, slot("s")) == [("s", "t1")]


def test_no_order_of_events_leaves_an_idle_slot_and_a_startable_task_apart() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        dispatch = Dispatch(1, 1)
        idle: set[str] = set()
        waiting: set[str] = set()
        running: dict[str, str] = {}
        for n in range(60):
            roll = chance.random()
            if roll < 0.4:
                waiting.add(f"t{n}")
                _note(dispatch, use(f"t{n}", tool_limit=4), idle, waiting, running)
            elif roll < 0.55 and running:
                name = chance.choice(sorted(running))
                worker = running.pop(name)
                _note(dispatch, free(name), idle, waiting, running)
                idle.add(worker)
                _note(dispatch, slot(worker), idle, waiting, running)
            elif roll < 0.65 and waiting:
                name = chance.choice(sorted(waiting))
                waiting.discard(name)
                _note(dispatch, m.Dequeue(f"task:{name}"), idle, waiting, running)
            elif roll < 0.8:
                idle.add(f"s{n}")
                _note(dispatch, slot(f"s{n}"), idle, waiting, running)
            else:
                told = allow(chance.choice([0, 1, 2, None]), epoch=n)
                _note(dispatch, told, idle, waiting, running)
            limit = dispatch._limits.get(("", "ruff"))
            assert not (limit and limit.room > 0 and idle and waiting), (seed, n)


def _note(
    dispatch: Dispatch,
    message: m.Message,
    idle: set[str],
    waiting: set[str],
    running: dict[str, str],
) -> None:
    for worker, task in after(dispatch, message):
        assert worker in idle, "a slot is granted once"
        idle.discard(worker)
        waiting.discard(task)
        running[task] = worker


# --- many ---------------------------------------------------------------------------------------

MANY = 10_000


def entries(dispatch: Dispatch) -> int:
    """Everything that its heaps hold."""
    heaps = [slots.waiting for slots in dispatch._classes]
    heaps += [heap for limit in dispatch._limits.values() for heap in limit.aside.values()]
    return sum(map(len, heaps))


def test_ten_thousand_refusals_of_a_hundred_tasks_leave_the_dispatcher_as_small_as_before() -> None:
    dispatch = Dispatch(1, 1)
    after(dispatch, slot("s"), allow(0), *(use(f"t{n}") for n in range(100)))
    for n in range(MANY):
        after(dispatch, use(f"t{n % 100}"))
    assert entries(dispatch) <= 512
    assert len(dispatch._requests) == 100


def test_ten_thousand_parked_tasks_all_go_once_through_probe_and_ramp() -> None:
    dispatch = Dispatch(1, 1)
    after(dispatch, allow(0), *(use(f"t{n}") for n in range(MANY)))
    gone = after(dispatch, slot("s"), allow(1, 2))
    allowed = 1
    while gone and len(gone) < MANY:
        allowed = min(2 * allowed, 64)
        worker, task = gone[-1]
        gone += after(dispatch, free(task), allow(allowed, 2), slot(worker))
    assert sorted(task for _, task in gone) == sorted(f"t{n}" for n in range(MANY))
    assert entries(dispatch) <= 1


def test_parking_and_releasing_costs_the_same_for_each_however_many_there_are() -> None:
    """Counts the heap's comparisons: n log n, not n squared."""
    few, many = _comparisons(500), _comparisons(5_000)
    assert many / few < 10 * 2.5


def _comparisons(count: int) -> int:
    from actors.dispatch_queue import Waiting  # noqa: PLC0415 (counted on while this runs)

    made, compare = 0, Waiting.__lt__

    def counting(one: Waiting, other: Waiting) -> bool:
        nonlocal made
        made += 1
        return compare(one, other)

    Waiting.__lt__ = counting  # type: ignore[method-assign]
    try:
        dispatch = Dispatch(1, 1)
        after(dispatch, *slots(2), allow(0), *(use(f"t{n}") for n in range(count)))
        left = after(dispatch, allow(1, 2))
        while left:
            worker, task = left.pop()
            left += after(dispatch, free(task), slot(worker))
    finally:
        Waiting.__lt__ = compare  # type: ignore[method-assign]
    return made
