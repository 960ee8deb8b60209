"""What is left of a plan once a part of it is done."""

from __future__ import annotations

from actors import spec
from runtime.rerun import rest_of


def plan() -> spec.Plan:
    task = spec.Task(command=("true",))
    return spec.Plan(
        run=spec.Run(name="r"),
        workstreams={
            "a": spec.Workstream(tasks={"one": task, "two": task}),
            "b": spec.Workstream(
                depends_on=("a",),
                tasks={
                    "three": spec.Task(command=("true",), depends_on=("a/one",)),
                    "four": spec.Task(command=("true",), depends_on=("three",)),
                },
            ),
        },
    )


def test_a_completed_workstream_is_skipped_and_nobody_waits_for_its_tasks() -> None:
    rest = rest_of(plan(), frozenset({("a", "one"), ("a", "two")}), frozenset({"a"}))
    assert rest.workstreams["a"].skip
    assert list(rest.workstreams["b"].tasks) == ["three", "four"]


def test_a_completed_task_is_left_out_and_nobody_waits_for_it() -> None:
    rest = rest_of(plan(), frozenset({("a", "one"), ("b", "three")}), frozenset())
    assert list(rest.workstreams["a"].tasks) == ["two"]
    assert rest.workstreams["b"].tasks["four"].depends_on == ()
    assert "three" not in rest.workstreams["b"].tasks


def test_a_workstream_that_failed_with_all_its_tasks_done_is_done_anew() -> None:
    rest = rest_of(plan(), frozenset({("a", "one"), ("a", "two")}), frozenset())
    assert list(rest.workstreams["a"].tasks) == ["one", "two"]
    assert rest.workstreams["b"].tasks["three"].depends_on == ("a/one",)
