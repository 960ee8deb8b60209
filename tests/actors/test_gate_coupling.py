"""Task, gate, workstream and run together: who waits for a verdict, and what each outcome does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors import messages as m
from actors import spec
from actors.guard_messages import ForceOpen
from actors.messages import Check, Outcome
from tests.actors.test_run_whole import FAIL, MISSING, driven, plan, script, states, stream, task
from tests.actors.world import OK, World

NO_TEST = Outcome(exit_code=0, check=Check("pytest", 0))
LINT = spec.Gate(command=("lint",))
UNIT = spec.Gate(command=("unit",))
SIGN = spec.Gate(approval=True)
WAIT = {"on_blocked": "wait"}


def once(ending: Outcome, *ids: str) -> Callable[[str, int], Outcome]:
    """These entities end so, all others well."""
    return lambda who, _attempt: ending if who.removeprefix("r/gate:") in ids else OK


def gates(world: World) -> dict[str, str]:
    return {g.id.removeprefix("r/gate:"): str(g.state) for g in world.of("test_gate")}


def rerun(world: World, gate: str) -> Any:
    answer = world.ask("run:r", m.RerunGate(f"r/gate:{gate}", "ann"))
    world.drive()
    world.check_counts()
    return answer


# --- the gate: when it starts, who asks for it ---------------------------------------------------


def test_a_gate_starts_once_its_own_gates_have_passed() -> None:
    lint = spec.Gate(command=("lint",))
    unit = spec.Gate(command=("unit",), depends_on=("lint",))
    a = stream(tasks={"x": task(gates=("unit",))})
    world = driven(plan(a=a, gates={"lint": lint, "unit": unit}))
    began = [who for who, t in world.history if t.trigger == "execution_started"]
    assert began == ["test_gate:r/gate:lint~1", "test_gate:r/gate:unit~1"]


def test_a_gate_waits_until_one_of_those_that_need_it_could_go_on_but_for_it() -> None:
    a = stream(tasks={"x": task(), "y": task(depends_on=("x",), gates=("lint",))})
    world = World()
    world.submit(plan(a=a, gates={"lint": LINT}))
    world.drive(until=lambda: bool(world.running))
    assert gates(world) == {"lint~1": "pending"}
    assert not world.gates_running


def test_a_validation_asks_for_a_new_entity_after_each_execution() -> None:
    a = stream(tasks={"x": task(validate=("lint",)), "y": task(validate=("lint",))})
    world = driven(plan(a=a, gates={"lint": LINT}))
    assert gates(world) == {"lint~1": "passed", "lint~2": "passed"}


def test_a_workstreams_gates_are_asked_for_after_its_tasks() -> None:
    world = driven(plan(a=stream("x", gates=("lint",)), gates={"lint": LINT}))
    order = [
        who
        for who, taken in world.history
        if taken.target in {"completed", "passed"} and who.startswith(("task", "test", "work"))
    ]
    assert order[:3] == ["task:r/a/x", "test_gate:r/gate:lint~1", "workstream:r/a"]


def test_a_gate_that_nothing_needs_is_cancelled_and_holds_nothing_up() -> None:
    world = driven(plan(a=stream("x"), gates={"lint": LINT}))
    assert gates(world) == {"lint~1": "cancelled"}
    assert world["test_gate:r/gate:lint~1"].reason == "nothing needs it"
    assert world.state("run:r") == "completed"


# --- passed and failed ---------------------------------------------------------------------------


def test_a_task_stays_validating_until_all_its_gates_have_passed() -> None:
    a = stream(tasks={"x": task(validate=("lint", "unit"))})
    world = World()
    world.submit(plan(a=a, gates={"lint": LINT, "unit": UNIT}))
    world.drive(until=lambda: len(world.gates_running) == 2)
    world.finish_gate("test_gate:r/gate:lint~1")
    world.report()
    world.deliver()
    assert states(world, "a/x") == ["validating"]
    world.drive()
    assert states(world, "a/x") == ["completed"]


def test_a_failed_validation_is_a_retry_with_the_reason_and_once_they_are_spent_a_failure() -> None:
    a = stream(tasks={"x": task(validate=("lint",), max_retries=1)})
    world = driven(plan(a=a, gates={"lint": LINT}), gates=script(lint=FAIL))
    reasons = [t.reason for who, t in world.history if t.trigger == "retry_scheduled"]
    assert reasons == ["validation failed: r/gate:lint~1 failed: exit code 1"]
    taken = [t.trigger for who, t in world.history if who == "task:r/a/x"]
    assert taken[-1] == "validation_failed"
    assert world["task:r/a/x"].reason == "validation failed: r/gate:lint~2 failed: exit code 1"
    assert world.state("run:r") == "failed"


def test_a_workstream_stays_validating_until_its_gates_have_passed_and_fails_with_them() -> None:
    a = stream("x", gates=("lint",))
    world = driven(plan(a=a, gates={"lint": LINT}), gates=script(lint=FAIL))
    assert world.state("workstream:r/a") == "failed"
    assert states(world, "a/x") == ["completed"]
    assert world["run:r"].cause == (
        "r/a failed: validation failed: r/gate:lint~1 failed: exit code 1"
    )


def test_the_failed_validation_of_an_uncritical_workstream_fails_no_run() -> None:
    a = stream("x", gates=("lint",), critical=False)
    world = driven(plan(a=a, b=stream("y"), gates={"lint": LINT}), gates=script(lint=FAIL))
    assert world.state("run:r") == "completed"
    assert world["run:r"].noncritical_failures == 1


def test_a_failed_gate_blocks_what_needs_it_and_a_newer_one_that_passes_releases_it() -> None:
    a = stream(tasks={"x": task(gates=("lint",)), "y": task(depends_on=("x",))})
    world = driven(plan(run=WAIT, a=a, gates={"lint": LINT}), gates=once(FAIL, "lint~1"))
    assert states(world, "a/x", "a/y") == ["blocked", "blocked"]
    assert rerun(world, "lint~1") == m.Accepted("runs again as r/gate:lint~2", "r/gate:lint~2")
    assert states(world, "a/x", "a/y") == ["completed", "completed"]
    assert world["test_gate:r/gate:lint~2"].retry_of == "r/gate:lint~1"
    assert world.state("test_gate:r/gate:lint~1") == "failed"
    assert world.state("run:r") == "completed"


def test_a_newer_entity_that_fails_releases_nothing() -> None:
    a = stream(tasks={"x": task(gates=("lint",))})
    world = driven(plan(run=WAIT, a=a, gates={"lint": LINT}), gates=script(lint=FAIL))
    rerun(world, "lint~1")
    assert states(world, "a/x") == ["blocked"]
    assert world["task:r/a/x"].reason == "r/gate:lint~2 failed: exit code 1"


def test_unblock_waives_a_failed_gate_by_its_name() -> None:
    a = stream(tasks={"x": task(gates=("lint",))})
    world = driven(plan(run=WAIT, a=a, gates={"lint": LINT}), gates=script(lint=FAIL))
    assert isinstance(world.ask("task:r/a/x", m.Unblock(("lint",), "ann")), m.Accepted)
    world.drive()
    assert world.state("run:r") == "completed"


def test_a_gate_between_two_gates_passes_a_failure_and_its_release_on() -> None:
    unit = spec.Gate(command=("unit",), depends_on=("lint",))
    a = stream(tasks={"x": task(gates=("unit",))})
    both = {"lint": LINT, "unit": unit}
    world = driven(plan(run=WAIT, a=a, gates=both), gates=once(FAIL, "lint~1"))
    assert gates(world) == {"unit~1": "blocked", "lint~1": "failed"}
    rerun(world, "lint~1")
    assert gates(world)["unit~1"] == "passed"
    assert world.state("run:r") == "completed"


def test_what_a_failed_gate_can_never_let_start_ends_naming_the_root_cause() -> None:
    a = stream(tasks={"x": task(gates=("lint",)), "y": task(depends_on=("x",))})
    world = driven(
        plan(a=a, b=stream("z", depends_on=("a",)), gates={"lint": LINT}), gates=script(lint=FAIL)
    )
    assert states(world, "a/x", "a/y", "b/z") == ["cancelled"] * 3
    assert world["task:r/a/x"].reason == "r/gate:lint~1 failed: exit code 1"
    for left in ("task:r/a/y", "workstream:r/b"):
        assert world[left].reason.endswith("r/gate:lint~1 failed: exit code 1")
    assert world.state("workstream:r/b") == "skipped"
    assert world.state("run:r") == "failed"


# --- infrastructure ------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [MISSING, NO_TEST], ids=["missing", "no test"])
@pytest.mark.parametrize("policy", ["end", "wait"])
def test_a_gate_that_finds_nothing_keeps_what_needs_it_blocked_until_a_rerun(
    trouble: Outcome, policy: str
) -> None:
    a = stream(tasks={"x": task(gates=("lint",)), "y": task(depends_on=("x",))})
    world = driven(
        plan(run={"on_blocked": policy}, a=a, gates={"lint": LINT}), gates=once(trouble, "lint~1")
    )
    assert states(world, "a/x", "a/y") == ["blocked", "blocked"]
    assert world.state("run:r") == "running"
    rerun(world, "lint~1")
    assert world.state("run:r") == "completed"


@pytest.mark.parametrize("policy", ["end", "wait"])
def test_a_gate_that_finds_nothing_keeps_the_task_it_judges_validating_until_a_rerun(
    policy: str,
) -> None:
    a = stream(tasks={"x": task(validate=("lint",)), "y": task(depends_on=("x",))})
    world = driven(
        plan(run={"on_blocked": policy}, a=a, gates={"lint": LINT}), gates=once(NO_TEST, "lint~1")
    )
    assert states(world, "a/x", "a/y") == ["validating", "blocked"]
    assert world["task:r/a/x"].retry_count == 0
    assert world["task:r/a/y"].reason == world["task:r/a/x"].reason
    rerun(world, "lint~1")
    assert states(world, "a/x", "a/y") == ["completed", "completed"]
    assert world.executions["r/a/x"] == 1


@pytest.mark.parametrize("policy", ["end", "wait"])
def test_a_gate_that_finds_nothing_keeps_its_workstream_validating_until_a_rerun(
    policy: str,
) -> None:
    a, b = stream("x", gates=("lint",)), stream("y", depends_on=("a",))
    world = driven(
        plan(run={"on_blocked": policy}, a=a, b=b, gates={"lint": LINT}),
        gates=once(NO_TEST, "lint~1"),
    )
    assert world.state("workstream:r/a") == "validating"
    assert world.state("workstream:r/b") == "pending"
    rerun(world, "lint~1")
    assert world.state("run:r") == "completed"


def test_a_rerun_after_infrastructure_that_fails_is_a_verdict_on_the_work() -> None:
    endings = {"r/gate:lint~1": NO_TEST, "r/gate:lint~2": FAIL}
    a = stream(tasks={"x": task(validate=("lint",), max_retries=1)})
    world = driven(plan(a=a, gates={"lint": LINT}), gates=lambda who, _n: endings.get(who, OK))
    rerun(world, "lint~1")
    assert world["task:r/a/x"].retry_count == 1
    assert world.state("run:r") == "completed"


STALLING = {
    "task": stream(tasks={"x": task(validate=("lint",))}),
    "workstream": stream("x", gates=("lint",)),
    "before": stream(tasks={"x": task(gates=("lint",))}),
    "behind": stream(tasks={"x": task(validate=("lint",)), "y": task(depends_on=("x",))}),
}


@pytest.mark.parametrize("stalled", STALLING)
def test_what_a_failure_blocks_ends_also_while_another_gate_waits_for_a_rerun(
    stalled: str,
) -> None:
    """The workstream beside it needs a person, and so does what the failure blocks: nothing else
    moves, so that ends and the other waits on."""
    light = {"critical": False}
    b = stream(tasks={"f": task(**light), "g": task(depends_on=("f",), **light)})
    c = stream("h", depends_on=("a",))
    what = plan(a=STALLING[stalled], b=b, c=c, gates={"lint": LINT})
    broken = once(NO_TEST, "lint~1")
    world = driven(what, work=script(f=FAIL), gates=broken)
    assert states(world, "b/f", "b/g") == ["failed", "cancelled"]
    assert world.state("workstream:r/b") == "completed"
    assert world.state("run:r") == "running"
    assert world.state("workstream:r/c") == "pending"
    rerun(world, "lint~1")
    assert world.state("run:r") == "completed"


def test_what_a_failure_blocks_waits_while_another_judge_may_still_speak() -> None:
    a = stream(tasks={"x": task(validate=("lint", "unit"))})
    b = stream(tasks={"f": task(critical=False), "g": task(depends_on=("f",), critical=False)})
    world = World(work=script(f=FAIL), gates=script(lint=NO_TEST))
    world.submit(plan(a=a, b=b, gates={"lint": LINT, "unit": UNIT}))

    world.drive(until=lambda: len(world.gates_running) == 2 and not world.running)
    lint = "test_gate:r/gate:lint~1"
    for _ in range(3):
        world.finish_gate(lint)
        while world.reports:
            world.report()
            world.deliver()
        if (lint, "retry") in world.timers:
            world.fire(lint, "retry")
            world.deliver()
    assert world.state(lint) == "failed"
    assert states(world, "a/x", "b/g") == ["validating", "blocked"]
    world.drive()
    assert states(world, "a/x", "b/g") == ["validating", "cancelled"]


def test_a_task_that_waits_for_a_rerun_can_be_cancelled_and_leaves_nothing_counted() -> None:
    a = stream(tasks={"x": task(validate=("lint",), critical=False), "y": task()})
    world = driven(plan(a=a, gates={"lint": LINT}), gates=once(NO_TEST, "lint~1"))
    world.ask("task:r/a/x", m.Cancel("enough", "ann"))
    world.drive()
    world.check_counts()
    assert world.state("run:r") == "completed"


# --- the hand on gates, pauses and policies ------------------------------------------------------


def test_a_gate_that_a_person_cancels_ends_what_needs_it_without_a_failure() -> None:
    a = stream(tasks={"x": task(gates=("lint",))})
    world = World()
    world.submit(plan(a=a, b=stream("y"), gates={"lint": LINT}))
    world.drive(until=lambda: bool(world.gates_running))
    world.ask("test_gate:r/gate:lint~1", m.Cancel("not today", "ann"))
    world.drive()
    world.check_counts()
    assert states(world, "a/x", "b/y") == ["cancelled", "completed"]
    assert world["task:r/a/x"].reason == "r/gate:lint~1 cancelled: not today"
    assert not world["task:r/a/x"].through_failure
    assert world.state("run:r") == "completed"


def test_a_judge_that_a_person_cancels_leaves_the_work_validating_until_a_rerun() -> None:
    world = World()
    a = stream(tasks={"x": task(validate=("lint",))})
    world.submit(plan(a=a, gates={"lint": LINT}))
    world.drive(until=lambda: bool(world.gates_running))
    world.ask("test_gate:r/gate:lint~1", m.Cancel("not today", "ann"))
    world.drive()
    assert states(world, "a/x") == ["validating"]
    rerun(world, "lint~1")
    assert world.state("run:r") == "completed"


def test_a_gate_that_times_out_is_a_failure_of_what_it_judges() -> None:
    late = Outcome(reason="timeout", signal=9)
    a = stream(tasks={"x": task(validate=("lint",))})
    world = driven(plan(a=a, gates={"lint": LINT}), gates=script(lint=late))
    assert world["task:r/a/x"].reason == (
        "validation failed: r/gate:lint~1 failed: timeout after 600 s"
    )
    assert world.state("run:r") == "failed"


def test_the_failed_validation_of_a_workstream_stops_the_others_if_the_plan_says_so() -> None:
    what = plan(
        run={"on_failure": "stop"},
        a=stream("x", gates=("lint",)),
        b=stream(tasks={"y": task(gates=("sign",))}),
        gates={"lint": LINT, "sign": SIGN},
    )
    world = driven(what, gates=script(lint=FAIL))
    assert world.state("workstream:r/b") == "cancelled"
    assert gates(world)["sign~1"] == "cancelled"
    assert world.state("run:r") == "failed"


def test_a_paused_run_starts_no_gate_and_takes_the_verdict_of_one_that_runs() -> None:
    world = World(gate_places=1)
    a = stream(tasks={"x": task(gates=("lint",)), "y": task(gates=("unit",))})
    world.submit(plan(a=a, gates={"lint": LINT, "unit": UNIT}))
    world.drive(until=lambda: bool(world.gates_running))
    (runs,) = world.gates_running
    world.ask("run:r", m.Pause("ann"))
    world.drive()
    other = ({"lint~1", "unit~1"} - {runs.removeprefix("test_gate:r/gate:")}).pop()
    assert sorted(gates(world).values()) == ["passed", "pending"]
    assert gates(world)[other] == "pending"
    assert sorted(states(world, "a/x", "a/y")) == ["pending", "queued"]
    world.ask("run:r", m.Resume("ann"))
    world.drive()
    assert world.state("run:r") == "completed"


# --- the gate's own breaker ----------------------------------------------------------------------


def test_a_gate_that_finds_nothing_again_and_again_is_kept_from_running_by_its_breaker() -> None:
    world = World(gates=script(lint=NO_TEST))
    a = stream(tasks={"x": task(gates=("lint",))})
    world.submit(plan(run=WAIT, a=a, gates={"lint": LINT}))
    (breaker,) = [f"circuit_breaker:{b.id}" for b in world.of("circuit_breaker")]
    world.drive()
    for n in range(1, 5):
        assert world.state(breaker) == "closed"
        rerun(world, f"lint~{n}")
    assert [t.trigger for who, t in world.history if who == breaker and t.source][:1] == [
        "failure_threshold_exceeded"
    ]
    world.gates = lambda _who, _n: OK
    rerun(world, "lint~5")
    assert world.state("test_gate:r/gate:lint~6") == "passed"
    assert world.state(breaker) == "closed"
    assert world.state("run:r") == "completed"


def test_two_runs_share_the_breaker_of_a_gate_and_a_parked_one_follows_the_probe() -> None:
    what = plan(run=WAIT, a=stream(tasks={"x": task(gates=("lint",))}), gates={"lint": LINT})
    world = World()
    world.submit(what, "r")
    (breaker,) = [f"circuit_breaker:{b.id}" for b in world.of("circuit_breaker")]
    world.ask(breaker, ForceOpen("ann", "let me see"))
    world.submit(what, "q")
    world.deliver()
    while world.reports:
        world.report()
        world.deliver()
    waiting = [world.state(f"test_gate:{run}/gate:lint~1") for run in ("r", "q")]
    assert waiting == ["pending", "pending"]
    assert not world.gates_running
    world.drive()
    assert [world.state(f"run:{run}") for run in ("r", "q")] == ["completed", "completed"]
    assert world.state(breaker) == "closed"


# --- approvals -----------------------------------------------------------------------------------


def test_an_approval_holds_what_needs_it_and_nothing_else_and_its_word_lets_it_go() -> None:
    a = stream(tasks={"x": task(gates=("sign",)), "y": task()})
    world = driven(plan(a=a, gates={"sign": SIGN}))
    assert states(world, "a/x", "a/y") == ["pending", "completed"]
    world.ask("test_gate:r/gate:sign~1", m.Approve("ann"))
    world.drive()
    assert world.state("run:r") == "completed"


def test_an_approval_that_validates_is_asked_for_after_the_work() -> None:
    a = stream(tasks={"x": task(validate=("sign",), max_retries=1)})
    world = driven(plan(a=a, gates={"sign": SIGN}))
    assert states(world, "a/x") == ["validating"]
    world.ask("test_gate:r/gate:sign~1", m.Reject("ann", "too slow"))
    world.drive()
    assert world["task:r/a/x"].retry_count == 1
    world.ask("test_gate:r/gate:sign~2", m.Approve("ann"))
    world.drive()
    assert world.state("run:r") == "completed"


def test_an_approval_is_no_ending_what_else_is_blocked_waits_with_it() -> None:
    a = stream(tasks={"x": task(gates=("sign",))})
    b = stream(tasks={"f": task(critical=False), "g": task(depends_on=("f",), critical=False)})
    world = driven(plan(a=a, b=b, gates={"sign": SIGN}), work=script(f=FAIL))
    assert world.state("run:r") == "running"
    world.ask("test_gate:r/gate:sign~1", m.Approve("ann"))
    world.drive()
    assert states(world, "b/g") == ["cancelled"]
    assert world.state("run:r") == "completed"


def test_an_approval_over_a_restart_asks_on_and_its_timeout_runs_on() -> None:
    sign = spec.Gate(approval=True, timeout_s=60.0)
    world = World()
    world.submit(plan(a=stream(tasks={"x": task(gates=("sign",))}), gates={"sign": sign}))
    world.drive(until=lambda: bool(world.timers.get(("test_gate:r/gate:sign~1", "approval"))))
    world.restart_owner()
    world.deliver()
    assert world["test_gate:r/gate:sign~1"].asked_at is not None
    world.drive()
    assert world["test_gate:r/gate:sign~1"].reason == "nobody approved it within 60 s"
    assert world.state("run:r") == "failed"


def test_a_run_that_is_cancelled_asks_nobody_any_more() -> None:
    world = driven(plan(a=stream(tasks={"x": task(gates=("sign",))}), gates={"sign": SIGN}))
    world.ask("run:r", m.Cancel("enough", "ann"))
    world.drive()
    assert gates(world) == {"sign~1": "cancelled"}
    assert world.state("run:r") == "cancelled"
    answer = world.ask("test_gate:r/gate:sign~1", m.Approve("ann"))
    assert answer == m.Refused("r/gate:sign~1 is cancelled already")


# --- reruns that cannot be -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "why"),
    [
        ("r/gate:lint~1", "is running: wait for its verdict"),
        ("r/gate:none~1", "is no gate of r"),
        ("q/gate:lint~1", "is no gate of r"),
    ],
)
def test_a_rerun_that_cannot_be_is_refused_with_the_reason(gate: str, why: str) -> None:
    world = World()
    world.submit(plan(a=stream(tasks={"x": task(gates=("lint",))}), gates={"lint": LINT}))
    world.drive(until=lambda: bool(world.gates_running))
    assert why in world.ask("run:r", m.RerunGate(gate, "ann")).reason
    world.drive()
    world.check_counts()
    over = world.ask("run:r", m.RerunGate("r/gate:lint~1", "ann"))
    assert over == m.Refused("r is completed already")
