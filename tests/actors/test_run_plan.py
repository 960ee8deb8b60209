"""What a plan makes: the seeds of its parts."""

from __future__ import annotations

from actors import run_plan, spec


def task(**more: object) -> spec.Task:
    return spec.Task(command=("make",), **more)  # type: ignore[arg-type] # whatever the test says


def plan(
    workstreams: dict[str, spec.Workstream],
    gates: dict[str, spec.Gate] | None = None,
    workers: dict[str, spec.Pool] | None = None,
) -> spec.Plan:
    return spec.Plan(
        run=spec.Run(name="n", env_pass=("TOKEN",), base_dir="/plan", priority=3),
        workers=workers or {},
        gates=gates or {},
        workstreams=workstreams,
    )


def gate(*depends_on: str) -> spec.Gate:
    return spec.Gate(command=("check",), depends_on=depends_on)


TWO = plan(
    {
        "a": spec.Workstream(tasks={"x": task(), "y": task(depends_on=("x", "x"))}),
        "b": spec.Workstream(
            depends_on=("a",), tasks={"z": task(depends_on=("a/x",), total_timeout_s=5.0)}
        ),
    },
    workers={"own": spec.Pool(count=2)},
)


def test_tasks_come_in_the_order_of_the_plan_a_slice_at_a_time() -> None:
    slices = [[s.id for s in run_plan.task_seeds(TWO, "r", first, 2)] for first in (0, 2, 4)]
    assert slices == [["r/a/x", "r/a/y"], ["r/b/z"], []]


def test_a_task_knows_what_it_waits_for_and_who_waits_for_it_each_once() -> None:
    x, y, z = run_plan.task_seeds(TWO, "r", 0, 3)
    assert x.dependents == ("task:r/a/y", "task:r/b/z")
    assert y.sources == ("task:r/a/x",)
    assert z.sources == ("task:r/a/x",)


def test_a_task_carries_what_its_run_says_for_all() -> None:
    x = run_plan.task_seeds(TWO, "r", 0, 1)[0]
    assert (x.env_pass, x.base_dir, x.run_priority, x.own_slots) == (("TOKEN",), "/plan", 3, True)


def test_a_workstream_knows_its_neighbours_and_its_tasks_by_name() -> None:
    a, b = run_plan.workstream_seeds(TWO, "r")
    assert a.dependents == ("workstream:r/b",)
    assert b.sources == ("workstream:r/a",)
    assert a.tasks == ("x", "y")
    assert a.bridges == ("x",)
    assert b.timed == ("z",)


def test_the_slots_of_the_plans_pools_are_numbered_from_one() -> None:
    assert [s.id for s in run_plan.worker_seeds(TWO, "r")] == ["r/worker:own.1", "r/worker:own.2"]


GATED = plan(
    {
        "a": spec.Workstream(
            gates=("final",),
            tasks={
                "x": task(gates=("lint",)),
                "y": task(gates=("lint", "unit"), validate=("proof",)),
            },
        )
    },
    gates={
        "lint": gate(),
        "unit": gate("lint"),
        "proof": gate("lint"),
        "final": gate(),
        "spare": gate("lint"),
    },
)


def test_gates_before_tasks_and_what_they_need_are_made_with_the_run() -> None:
    made, unneeded = run_plan.first_gates(GATED, "r")
    assert {seed.name for seed in made} == {"lint", "unit", "spare"}
    assert unneeded == ["test_gate:r/gate:spare~1"]


def test_a_gate_knows_its_tasks_and_the_gates_that_depend_on_it() -> None:
    made = {seed.name: seed for seed in run_plan.first_gates(GATED, "r")[0]}
    assert set(made["lint"].askers) == {
        "task:r/a/x",
        "task:r/a/y",
        "test_gate:r/gate:unit~1",
    }
    assert made["unit"].sources == ("test_gate:r/gate:lint~1",)


def test_a_plan_without_gates_makes_none() -> None:
    assert run_plan.first_gates(TWO, "r") == ([], [])


def test_gates_that_judge_are_made_anew_with_what_they_depend_on() -> None:
    counts = {"lint": 1, "unit": 1, "proof": 0, "final": 0, "spare": 1}
    made = run_plan.judging_gates(GATED, "r", ("proof",), "task:r/a/y", "1.7", counts)
    seeds = {seed.name: seed for seed in made}
    assert set(seeds) == {"proof", "lint"}
    assert seeds["proof"].id == "r/gate:proof~1"
    assert seeds["proof"].askers == ("task:r/a/y",)
    assert seeds["lint"].id == "r/gate:lint~2"
    assert seeds["lint"].askers == ("test_gate:r/gate:proof~1",)
    assert {seed.ticket for seed in made} == {"1.7"}
    assert counts["lint"] == 2


def test_an_outline_is_made_once_for_a_plan_and_given_up_after() -> None:
    first = run_plan.outline(TWO)
    assert run_plan.outline(TWO) is first
    run_plan.forget(TWO)
    assert run_plan.outline(TWO) is not first


def test_only_so_many_outlines_are_kept() -> None:
    first = run_plan.outline(TWO)
    plans = [plan({"a": spec.Workstream(tasks={"x": task()})}) for _ in range(8)]
    for other in plans:
        run_plan.outline(other)
    assert run_plan.outline(TWO) is not first
