"""Whole runs in memory: what the machines do together."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors import messages as m
from actors import spec
from tests.actors.world import OK, World

FAIL = m.Outcome(exit_code=1)
MISSING = m.Outcome(reason="not_started", error="no such file")
POOL = spec.Pool(count=2)


def task(**more: Any) -> spec.Task:
    return spec.Task(command=("work",), **more)


def stream(*tasks: str, **more: Any) -> spec.Workstream:
    """A workstream of plain tasks with these names; `tasks=` in full instead."""
    return spec.Workstream(**({"tasks": {name: task() for name in tasks}} | more))


def plan(
    workers: dict[str, spec.Pool] | None = None,
    gates: dict[str, spec.Gate] | None = None,
    run: dict[str, Any] | None = None,
    **workstreams: spec.Workstream,
) -> spec.Plan:
    return spec.Plan(
        run=spec.Run(name="n", **(run or {})),
        workers=workers or {"p": POOL},
        gates=gates or {},
        workstreams=workstreams,
    )


def script(**endings: m.Outcome) -> Any:
    """Tasks and gates with these names end so, all others well."""

    def judge(id: str, _attempt: int) -> m.Outcome:
        name = id.rpartition("/")[2].removeprefix("gate:").partition("~")[0]
        return endings.get(name, OK)

    return judge


def driven(what: spec.Plan, **world: Any) -> World:
    there = World(**world)
    there.submit(what)
    there.drive()
    there.check_counts()
    assert not there.dead
    return there


def states(world: World, *ids: str) -> list[str]:
    return [world.state(f"task:r/{name}") for name in ids]


# --- order and outcome ---------------------------------------------------------------------------


def test_tasks_run_in_the_order_of_their_dependencies_across_workstreams() -> None:
    a = stream("x", tasks={"x": task(), "y": task(depends_on=("x", "b/z"))})
    world = driven(plan(a=a, b=stream("z")))
    began = [who for who, taken in world.history if taken.trigger == "worker_assigned"]
    assert began.index("task:r/a/y") > began.index("task:r/a/x")
    assert began.index("task:r/a/y") > began.index("task:r/b/z")
    assert world.state("run:r") == "completed"


def test_a_chain_behind_a_failure_ends_naming_the_root_cause() -> None:
    light = {"critical": False}
    ws = stream(
        tasks={
            "x": task(**light),
            "y": task(depends_on=("x",), **light),
            "z": task(depends_on=("y",), **light),
        }
    )
    world = driven(plan(a=ws), work=script(x=FAIL))
    assert states(world, "a/x", "a/y", "a/z") == ["failed", "cancelled", "cancelled"]
    assert world["task:r/a/z"].reason == "r/a/x failed: exit code 1"
    assert world.state("run:r") == "completed"
    assert world["run:r"].noncritical_failures == 3


def test_a_failure_is_passed_down_a_chain_of_workstreams_and_independent_ones_finish() -> None:
    world = driven(
        plan(
            a=stream("x"),
            b=stream("y", depends_on=("a",)),
            c=stream("z", depends_on=("b",)),
            free=stream("u"),
        ),
        work=script(x=FAIL),
    )
    ended = [world.state(f"workstream:r/{name}") for name in ("a", "b", "c", "free")]
    assert ended == ["failed", "skipped", "skipped", "completed"]
    assert world.state("run:r") == "failed"
    assert world["run:r"].cause == "r/a failed: r/a/x failed: exit code 1"


def test_a_task_of_a_workstream_that_can_never_begin_ends_those_who_wait_for_it() -> None:
    """The waiting task is in a workstream that could go on but for it."""
    c = stream(tasks={"w": task(depends_on=("b/y",), critical=False)})
    world = driven(plan(a=stream("x"), b=stream("y", depends_on=("a",)), c=c), work=script(x=FAIL))
    assert states(world, "b/y", "c/w") == ["cancelled", "cancelled"]
    assert world.state("run:r") == "failed"


def test_stop_on_failure_ends_what_still_runs() -> None:
    world = driven(
        plan(
            run={"on_failure": "stop"},
            workers={"p": spec.Pool(count=1)},
            a=stream("x"),
            b=stream("y"),
        ),
        work=script(x=FAIL),
    )
    assert world.state("workstream:r/b") == "cancelled"
    assert world.state("run:r") == "failed"


def test_a_skipped_workstream_counts_as_done_to_those_behind_it() -> None:
    b = stream(tasks={"y": task(depends_on=("a/x",))}, depends_on=("a",))
    world = driven(plan(a=stream("x", skip=True), b=b))
    assert states(world, "a/x", "b/y") == ["cancelled", "completed"]
    assert world.state("run:r") == "completed"


def test_blocked_work_waits_for_a_person_if_the_plan_says_so_and_goes_on_when_freed() -> None:
    b = stream(tasks={"y": task(depends_on=("a/x",))})
    a = stream(tasks={"x": task(critical=False)})
    world = driven(plan(run={"on_blocked": "wait"}, a=a, b=b), work=script(x=FAIL))
    assert states(world, "b/y") == ["blocked"]
    assert isinstance(world.ask("task:r/b/y", m.Unblock((), "ann")), m.Accepted)
    world.drive()
    assert world.state("run:r") == "completed"


def test_a_failed_task_that_is_retried_frees_what_it_blocked() -> None:
    a = stream(tasks={"x": task(critical=False), "y": task(depends_on=("x",))})
    world = driven(
        plan(run={"on_blocked": "wait"}, a=a),
        work=lambda who, _attempt: FAIL if who == "r/a/x" else OK,
    )
    assert states(world, "a/x", "a/y") == ["failed", "blocked"]
    answered = world.ask("workstream:r/a", m.RetryTask("r/a/x", "ann"))
    assert answered == m.Accepted("retried as r/a/x~2", "r/a/x~2")
    world.drive()
    assert states(world, "a/x~2", "a/y") == ["completed", "completed"]
    assert world["workstream:r/a"].noncritical_failures == 0


# --- gates ---------------------------------------------------------------------------------------

GATES = {
    "lint": spec.Gate(command=("lint",)),
    "unit": spec.Gate(command=("unit",), depends_on=("lint",)),
}


def test_a_gate_runs_once_for_all_tasks_behind_it() -> None:
    a = stream(tasks={n: task(gates=("unit",)) for n in ("x", "y", "z")})
    world = driven(plan(a=a, gates=GATES))
    assert {g.id for g in world.of("test_gate")} == {"r/gate:unit~1", "r/gate:lint~1"}
    assert world.state("run:r") == "completed"


def test_a_failed_gate_ends_what_stands_behind_it() -> None:
    a = stream(tasks={"x": task(gates=("unit",))})
    world = driven(plan(a=a, gates=GATES), gates=script(lint=FAIL))
    assert states(world, "a/x") == ["cancelled"]
    assert world["task:r/a/x"].reason == "r/gate:lint~1 failed: exit code 1"
    assert world.state("test_gate:r/gate:unit~1") == "cancelled"
    assert world.state("run:r") == "failed"


def test_a_gate_that_cannot_run_blames_nobody_and_goes_on_after_a_rerun() -> None:
    a = stream(tasks={"x": task(gates=("lint",)), "y": task(depends_on=("x",))})
    endings = {"r/gate:lint~1": MISSING}
    world = driven(plan(a=a, gates=GATES), gates=lambda who, _n: endings.get(who, OK))
    assert states(world, "a/x", "a/y") == ["blocked", "blocked"]
    assert world.state("run:r") == "running"
    answered = world.ask("run:r", m.RerunGate("r/gate:lint~1", "ann"))
    assert answered == m.Accepted("runs again as r/gate:lint~2", "r/gate:lint~2")
    world.drive()
    assert world.state("run:r") == "completed"


def test_a_failed_validation_is_a_retry_judged_by_new_gates() -> None:
    verdicts = iter([FAIL, OK])
    a = stream(tasks={"x": task(validate=("lint",), max_retries=1)})
    world = driven(plan(a=a, gates=GATES), gates=lambda _i, _n: next(verdicts))
    assert world["task:r/a/x"].retry_count == 1
    assert [g.state for g in world.of("test_gate") if g.name == "lint"] == ["failed", "passed"]
    assert world.state("run:r") == "completed"


# --- slots, keys and owners ----------------------------------------------------------------------


def test_work_that_shares_a_key_never_overlaps() -> None:
    a = stream(tasks={n: task(concurrency_key="db") for n in ("x", "y", "z")})
    world = World()
    world.submit(plan(workers={"p": spec.Pool(count=3)}, a=a))
    most = 0

    def watch() -> bool:
        nonlocal most
        most = max(most, len(world.running))
        return False

    world.drive(until=watch)
    assert (most, world.state("run:r")) == (1, "completed")


def test_a_new_owner_runs_again_what_ran_and_burns_no_attempt() -> None:
    world = World()
    world.submit(plan(a=stream("x", "y", "z")))
    world.drive(until=lambda: len(world.running) == 2)
    world.restart_owner()
    world.drive()
    assert world.state("run:r") == "completed"
    assert world.executions["r/a/x"] == 2
    assert world["task:r/a/x"].retry_count == 0


def test_a_worker_that_dies_is_replaced_and_its_task_runs_again() -> None:
    world = World()
    world.submit(plan(workers={"p": spec.Pool(count=1)}, a=stream("x")))
    world.drive(until=lambda: bool(world.running))
    world.crash("uet_worker:r/worker:p.1@1")
    world.drive()
    assert world.state("run:r") == "completed"
    assert world["worker:r/worker:p.1"].incarnation == 2


def test_an_undead_task_leaves_a_pool_of_the_same_size() -> None:
    undead = m.Outcome(reason="timeout", signal=9, alive=True)
    a = stream(tasks={"x": task(critical=False), "y": task(), "z": task()})
    world = driven(plan(workers={"p": spec.Pool(count=1)}, a=a), work=script(x=undead))
    assert world["task:r/a/x"].reason == "undead"
    assert [w.id for w in world.of("worker")] == ["r/worker:p.1", "r/worker:p.1~2"]
    assert world.state("run:r") == "completed"


def test_a_paused_run_starts_nothing_and_a_resumed_one_goes_on() -> None:
    world = World()
    world.submit(plan(workers={"p": spec.Pool(count=1)}, a=stream("x", "y")))
    world.drive(until=lambda: bool(world.running))
    world.ask("run:r", m.Pause("ann"))
    world.drive()
    assert states(world, "a/x", "a/y") == ["completed", "queued"]
    world.ask("run:r", m.Resume("ann"))
    world.drive()
    assert world.state("run:r") == "completed"


@pytest.mark.parametrize("kind", ["process", "inline"])
def test_the_owners_pool_serves_runs_without_pools(kind: str) -> None:
    world = World()
    pool = spec.Pool(kind=kind)
    for n in (1, 2):
        seed = spec.WorkerSeed(id=f"worker:default.{n}", run_id=None, pool="default", slot=pool)
        world.tell(world.spawn("worker", seed), m.Begin())
    call = spec.Task(call="package.module:function")
    what = spec.Plan(run=spec.Run(name="n"), workstreams={"a": spec.Workstream(tasks={"x": call})})
    world.work = lambda _i, _n: m.Outcome(result=7) if kind == "inline" else OK
    for run_id in ("r", "q"):
        world.submit(what, run_id)
    world.drive()
    assert [world.state(f"run:{run_id}") for run_id in ("r", "q")] == ["completed"] * 2
    assert world.state("worker:worker:default.1") == "idle"


# --- size ----------------------------------------------------------------------------------------


def test_a_task_costs_as_many_turns_in_a_large_run_as_in_a_small_one() -> None:
    turns = {}
    for size in (50, 1000):
        world = World()
        call = spec.Task(call="package.module:function")
        tasks = {f"t{n}": call for n in range(size)}
        inline = {"p": spec.Pool(count=2, kind="inline")}
        world.submit(plan(workers=inline, a=spec.Workstream(tasks=tasks)))
        world.work = lambda _i, _n: m.Outcome()
        world.drive()
        assert world.state("run:r") == "completed"
        turns[size] = world.turns / size
    assert turns[1000] <= turns[50]
    assert turns[1000] < 13


def test_what_is_rewritten_at_each_event_does_not_grow_with_the_run() -> None:
    sizes = []
    for size in (10, 500):
        world = World()
        a = stream(*(f"t{n}" for n in range(size)))
        world.submit(plan(a=a))
        world.drive(until=lambda w=world: len(w.running) == 2)  # type: ignore[misc] # bound now
        sizes.append(
            [
                len(msgspec.json.encode(msgspec.structs.replace(world[who], spec=None)))
                for who in ("run:r", "workstream:r/a")
            ]
        )
    assert all(large - small < 10 for small, large in zip(*sizes, strict=True))
