"""Scenarios of runs, workstreams, tasks and gates: between them every edge of the four."""

from __future__ import annotations

import time
from typing import Any

from actors import messages as m
from actors.run import create
from tests.e2e.edges_stage import BAD, OK, Stage

MINOR = {"critical": False}


async def a_run_that_goes_well(s: Stage) -> None:
    run = await s.submit(
        "well",
        {
            "first": {"x": OK},
            "judged": {"tasks": {"x": OK}, "depends_on": ["first"], "gates": ["good"]},
            "skipped": {"tasks": {"x": BAD}, "skip": True},
        },
        gates={"good": OK, "idle": OK},
    )
    await s.ended(run, "completed")
    await s.stands(f"{run}/gate:idle~1", "cancelled")


async def a_run_that_fails(s: Stage) -> None:
    run = await s.submit(
        "fails",
        {
            "broken": {"x": BAD, "y": OK | {"depends_on": ["x"]}},
            "after": {"tasks": {"x": OK}, "depends_on": ["broken"]},
        },
    )
    await s.ended(run, "failed")
    await s.reached(f"{run}/after", "blocked", "skipped")


async def retries(s: Stage) -> None:
    again = {"max_retries": 3, "backoff_s": 0.05, "backoff_s_max": 0.05}
    later = {"max_retries": 3, "backoff_s": 60.0} | MINOR
    run = await s.submit(
        "retries",
        {
            "w": {
                "once": s.fails_once("once") | again,
                "late": BAD | later | {"total_timeout_s": 4.0},
                "dropped": BAD | later,
                "kept": s.waits_for("retries-end"),
            }
        },
        pool={"count": 2},
    )
    await s.reached(f"{run}/w/dropped", "retrying")
    await s.do("cancel", f"{run}/w/dropped")
    await s.reached(f"{run}/w/late", "retrying", "failed")
    s.raise_flag("retries-end")
    await s.ended(run, "completed")


async def waiting_for_a_slot(s: Stage) -> None:
    run = await s.submit(
        "queue",
        {
            "w": {
                "hog": s.waits_for("queue-end") | {"priority": 9},
                "late": OK | MINOR | {"queue_timeout_s": 0.3},
                "dropped": OK | MINOR,
            }
        },
    )
    await s.reached(f"{run}/w/hog", "running")
    await s.do("cancel", f"{run}/w/dropped")
    await s.reached(f"{run}/w/late", "failed")
    s.raise_flag("queue-end")
    await s.ended(run, "completed")


async def a_task_that_is_cancelled_while_it_runs(s: Stage) -> None:
    run = await s.submit("stopped", {"w": {"x": s.waits_for("never") | MINOR}})
    await s.reached(f"{run}/w/x", "running")
    await s.do("cancel", f"{run}/w/x")
    await s.ended(run, "completed")


async def a_gate_that_fails_and_then_passes(s: Stage) -> None:
    run = await s.submit(
        "gated",
        {"w": {"x": OK | {"gates": ["second"]}}},
        gates={"first": s.needs("gated"), "second": OK | {"depends_on": ["first"]}},
        on_blocked="wait",
    )
    await s.stands(f"{run}/w/x", "blocked")
    await s.reached(f"{run}/gate:first~1", "failed")
    await s.reached(f"{run}/gate:second~1", "blocked")
    s.raise_flag("gated")
    await s.do("rerun", f"{run}/gate:first~1")
    await s.ended(run, "completed")


async def a_gate_that_fails_under_a_task_in_the_queue(s: Stage) -> None:
    s.raise_flag("fickle")
    run = await s.submit(
        "fickle",
        {"w": {"hog": s.waits_for("fickle-end") | {"priority": 9}, "x": OK | {"gates": ["g"]}}},
        gates={"g": s.needs("fickle")},
        on_blocked="wait",
    )
    await s.reached(f"{run}/w/hog", "running")
    await s.stands(f"{run}/w/x", "queued")
    s.flag("fickle").unlink()
    await s.do("rerun", f"{run}/gate:g~1")
    await s.stands(f"{run}/w/x", "blocked")
    s.raise_flag("fickle")
    await s.do("rerun", f"{run}/gate:g~2")
    s.raise_flag("fickle-end")
    await s.ended(run, "completed")


async def a_run_that_is_cancelled_while_a_gate_runs(s: Stage) -> None:
    run = await s.submit(
        "called-off",
        {
            "w": {"x": OK | {"gates": ["slow"]}, "y": OK | {"gates": ["after"]}},
            "v": {"tasks": {"x": OK}, "depends_on": ["w"]},
        },
        gates={"slow": s.waits_for("never"), "bad": BAD, "after": OK | {"depends_on": ["bad"]}},
        on_blocked="wait",
    )
    await s.reached(f"{run}/gate:slow~1", "running")
    await s.reached(f"{run}/gate:after~1", "blocked")
    await s.do("cancel", run)
    await s.ended(run, "cancelled")
    await s.stands(f"{run}/w", "cancelled")


async def what_becomes_of_work_in_its_validation(s: Stage) -> None:
    retried = {"max_retries": 1, "backoff_s": 0.05, "validate": ["once"]}
    run = await s.submit(
        "judged",
        {
            "w": {
                "again": OK | retried,
                "rejected": OK | MINOR | {"validate": ["bad"]},
                "dropped": OK | MINOR | {"validate": ["slow"]},
            },
            "bad": {"tasks": {"x": OK}, "gates": ["bad"]} | MINOR,
            "slow": {"tasks": {"x": OK}, "gates": ["slow"]} | MINOR,
        },
        gates={"once": s.fails_once("judged-once"), "bad": BAD, "slow": s.waits_for("never")},
    )
    await s.stands(f"{run}/w/dropped", "validating")
    await s.do("cancel", f"{run}/w/dropped")
    await s.stands(f"{run}/slow", "validating")
    await s.do("cancel", f"{run}/slow")
    await s.ended(run, "completed")


async def a_run_that_is_paused(s: Stage) -> None:
    task = s.fails_after("paused-end")
    failing, cancelled, resumed = [
        await s.submit(f"paused{n}", {"w": {"x": task | more}})
        for n, more in enumerate(({}, {}, MINOR))
    ]
    for run in (failing, cancelled, resumed):
        await s.reached(f"{run}/w/x", "running")
        await s.do("pause", run)
    await s.do("cancel", cancelled)
    await s.do("resume", resumed)
    s.raise_flag("paused-end")
    await s.ended(failing, "failed")
    await s.ended(cancelled, "cancelled")
    await s.ended(resumed, "completed")


async def a_workstream_that_is_paused(s: Stage) -> None:
    task: dict[str, Any] = s.fails_after("rested-end")
    run = await s.submit(
        "rested",
        {
            "failing": {"tasks": {"x": task}} | MINOR,
            "cancelled": {"tasks": {"x": task}} | MINOR,
            "resumed": {"tasks": {"x": task | MINOR}},
            "dropped": {"tasks": {"x": task}} | MINOR,
        },
        pool={"count": 4},
    )
    for name in ("failing", "cancelled", "resumed", "dropped"):
        await s.reached(f"{run}/{name}/x", "running")
        if name != "dropped":
            await s.do("pause", f"{run}/{name}")
    await s.do("cancel", f"{run}/cancelled")
    await s.do("cancel", f"{run}/dropped")
    await s.do("resume", f"{run}/resumed")
    s.raise_flag("rested-end")
    await s.ended(run, "completed")


async def a_workstream_that_was_ready(s: Stage) -> None:
    run = await s.submit(
        "ready",
        {
            "skipped": {"x": OK | {"gates": ["slow"]}},
            "doomed": {"tasks": {"x": OK | {"gates": ["bad"]}}} | MINOR,
        },
        gates={"slow": s.waits_for("never"), "bad": s.needs("never")},
    )
    await s.reached(f"{run}/gate:slow~1", "running")
    await s.reached(f"{run}/skipped", "ready")
    await s.do("skip", f"{run}/skipped")
    await s.ended(run, "completed")


async def a_workstream_whose_rest_is_blocked(s: Stage) -> None:
    rest = {"a": BAD | MINOR, "b": OK | {"depends_on": ["a"]}}
    ended = await s.submit("blocked", {"w": rest})
    await s.ended(ended, "failed")
    await s.reached(f"{ended}/w", "blocked", "failed")
    run = await s.submit(
        "kept",
        {
            "cancelled": {"tasks": rest} | MINOR,
            "freed": rest,
            "broken": {"tasks": {"x": BAD}} | MINOR,
            "after": {"tasks": {"x": OK}, "depends_on": ["broken"]},
        },
        on_blocked="wait",
    )
    for name in ("cancelled", "freed", "after"):
        await s.stands(f"{run}/{name}", "blocked")
    await s.do("cancel", f"{run}/cancelled")
    await s.do("unblock", f"{run}/freed/b", names=["a"])
    await s.do("unblock", f"{run}/after", names=["broken"])
    await s.ended(run, "completed")


async def a_run_that_ends_before_it_has_begun(s: Stage) -> None:
    many = {"w": {f"t{n}": OK for n in range(600)}}  # more than one turn makes
    cancel, override = m.Cancel("drill", "ann"), m.Override("failed", "ann", "drill")
    for name, word, state in (("no", cancel, "cancelled"), ("never", override, "failed")):
        value = create(s.plan(name, many), f"early-{name}", time.time())
        await s.rt.spawn("run", value, m.Begin(), word)
        await s.ended(value.id, state)


SCENARIOS = (
    a_run_that_goes_well,
    a_run_that_fails,
    retries,
    waiting_for_a_slot,
    a_task_that_is_cancelled_while_it_runs,
    a_gate_that_fails_and_then_passes,
    a_gate_that_fails_under_a_task_in_the_queue,
    a_run_that_is_cancelled_while_a_gate_runs,
    what_becomes_of_work_in_its_validation,
    a_run_that_is_paused,
    a_workstream_that_is_paused,
    a_workstream_that_was_ready,
    a_workstream_whose_rest_is_blocked,
    a_run_that_ends_before_it_has_begun,
)
