"""Scenarios of slots, their processes and breakers: between them every edge of the three."""

from __future__ import annotations

import signal

import anyio

from actors.spec import breaker_id
from tests.e2e.edges_stage import OK, Stage

MINOR = {"critical": False}
NEVER = {"backoff_s": 600.0, "backoff_s_max": 600.0}  # a restart that no test waits for


async def a_slot_that_is_drained_before_its_process_is_up(s: Stage) -> None:
    run = await s.submit("unborn", {"w": {"x": OK}})
    await s.do("drain", f"{run}/worker:p.1")
    await s.reached(f"{run}/worker:p.1@1", "terminated")
    await s.do("cancel", run)
    await s.ended(run, "cancelled")


async def a_process_that_dies_before_it_is_up(s: Stage) -> None:
    # On a busy machine it may be up before the signal finds it: then once more with another.
    for n in range(30):
        run = await s.submit(f"stillborn{n}", {"w": {"x": OK}})
        await s.kill(f"{run}/worker:p.1@1")
        await s.reached(f"{run}/worker:p.1", "failed", "idle")
        await s.ended(run, "completed")
        if s.taken["uet_worker", "spawning", "terminated", "spawn_failed"]:
            return


async def a_process_that_dies_at_its_work(s: Stage) -> None:
    run = await s.submit("crashed", {"w": {"x": s.waits_for("crashed-end") | {"backoff_s": 0.05}}})
    await s.reached(f"{run}/w/x", "running")
    await s.kill(f"{run}/worker:p.1@1")
    await s.reached(f"{run}/worker:p.1", "failed")
    s.raise_flag("crashed-end")
    await s.ended(run, "completed")


async def processes_that_stand_still(s: Stage) -> None:
    quick = {"heartbeat_s": 0.3, "recovery_window_s": 600.0}
    woken, slow, dead = [
        await s.submit(
            f"still{n}",
            {"w": {"x": s.waits_for("still-end") | {"backoff_s": 0.05}}},
            pool=quick | more,
        )
        for n, more in enumerate(({}, {"recovery_window_s": 0.3}, {}))
    ]
    for run in (woken, slow, dead):
        await s.reached(f"{run}/w/x", "running")
        await s.kill(f"{run}/worker:p.1@1", signal.SIGSTOP)
    for run in (woken, slow, dead):
        await s.reached(f"{run}/worker:p.1", "unresponsive")
    await s.kill(f"{woken}/worker:p.1@1", signal.SIGCONT)
    await s.kill(f"{dead}/worker:p.1@1")
    await s.stands(f"{woken}/worker:p.1", "busy")
    for run in (slow, dead):
        await s.reached(f"{run}/worker:p.1", "failed")
    s.raise_flag("still-end")
    for run in (woken, slow, dead):
        await s.ended(run, "completed")


async def slots_that_an_operator_takes_somewhere(s: Stage) -> None:
    late, busy, doubted = [
        await s.submit(f"hand{n}", {"w": {"x": s.waits_for("hand-end")}}, pool={"heartbeat_s": 60})
        for n in range(3)
    ]
    for run in (late, busy, doubted):
        await s.reached(f"{run}/w/x", "running")
    for run in (late, doubted):
        await s.do("override", f"{run}/worker:p.1", target="unresponsive")
    for run in (busy, doubted):
        await s.do("override", f"{run}/worker:p.1", target="shutdown")
        await s.reached(f"{run}/worker:p.1", "shutdown")
        await s.do("cancel", run)
        await s.ended(run, "cancelled")
    s.raise_flag("hand-end")
    await s.ended(late, "completed")


async def idle_slots(s: Stage) -> None:
    run = await s.submit(
        "idle",
        {"w": {"x": s.waits_for("idle-end")}},
        pool={"count": 4, "restart": NEVER},
    )
    slots = [f"{run}/worker:p.{n}" for n in (1, 2, 3, 4)]
    await s.reached(f"{run}/w/x", "running")
    for slot in slots:
        await s.reached(slot, "idle")
    free = [slot for slot in slots if not await busy(s, slot)]
    resumed, killed, paused = free
    for slot in (resumed, paused):
        await s.do("pause", slot)
    await s.do("resume", resumed)
    await s.do("drain", paused)
    await s.kill(f"{killed}@1")
    await s.reached(killed, "failed")
    await s.do("drain", killed)
    await s.do("pause", resumed)
    await s.kill(f"{resumed}@1")
    await s.reached(resumed, "failed")
    s.raise_flag("idle-end")
    await s.ended(run, "completed")


async def busy(s: Stage, slot: str) -> bool:
    cell = s.rt._sup.router.cells[f"worker:{slot}"]
    return cell.state == "busy"


async def processes_that_drain(s: Stage) -> None:
    kind, killed = [
        await s.submit(
            f"drained{n}", {"w": {"x": s.waits_for("drained-end") | {"backoff_s": 0.05}}}
        )
        for n in range(2)
    ]
    for run in (kind, killed):
        await s.reached(f"{run}/w/x", "running")
        await s.do("override", f"{run}/worker:p.1@1", target="draining")
    await s.kill(f"{killed}/worker:p.1@1")
    await s.reached(f"{killed}/worker:p.1@1", "terminated")
    s.raise_flag("drained-end")
    for run in (kind, killed):
        await s.ended(run, "completed")


async def a_slot_that_is_given_back(s: Stage) -> None:
    """Two calls end at the same instant: one frees a slot for what is still queued, the other fails
    and so cancels that. The slot and the cancel get there together, and the cancel goes first. Once
    more where the owner had something to do between the two ends."""
    calls: dict[str, anyio.Event] = {}

    async def ends(run: str) -> None:
        await calls[run].wait()

    async def fails(run: str) -> None:
        await calls[run].wait()
        raise RuntimeError("drill")

    good, bad = ({"call": s.rt.register_call(call, call.__name__)} for call in (ends, fails))
    for name in (f"returned{n}" for n in range(20)):
        now = calls[name] = anyio.Event()
        first = {"priority": 9, "kwargs": {"run": name}}
        run = await s.submit(
            name,
            {"broken": {"x": bad | first}, "w": {"x": good | first, "y": good}},
            pool={"kind": "inline", "count": 2},
            on_failure="stop",
        )
        for task in ("broken/x", "w/x"):
            await s.reached(f"{run}/{task}", "running")
        now.set()
        await s.stands(run, "failed")
        if s.taken["worker", "busy", "idle", "assignment_returned"]:
            return


async def a_breaker_in_use(s: Stage) -> None:
    tool = s.needs("tool-mended") | {
        "breaker": {"failure_threshold": 1, "cooldown_s": 1.0, "growth": 1.0, "jitter": 0.0}
    }
    task = {"tool": "tool", "max_retries": 9, "backoff_s": 0.05, "backoff_s_max": 0.05}
    run = await s.submit("tooled", {"w": {"x": task}}, tools={"tool": tool})
    breaker = breaker_id("tool", tuple(tool["command"]))
    edges = s.taken
    await s.reached(breaker, "open", "half_open")
    while not edges["circuit_breaker", "half_open", "open", "test_failed"]:
        await s.stands(breaker, "open")
        await s.stands(breaker, "half_open")
    s.raise_flag("tool-mended")
    await s.ended(run, "completed")
    await s.stands(breaker, "closed")
    await s.do("breaker", breaker, verb="open")
    await s.stands(breaker, "half_open")
    await s.do("breaker", breaker, verb="open")
    await s.do("breaker", breaker, verb="close")


SCENARIOS = (
    a_slot_that_is_drained_before_its_process_is_up,
    a_process_that_dies_before_it_is_up,
    a_process_that_dies_at_its_work,
    processes_that_stand_still,
    slots_that_an_operator_takes_somewhere,
    idle_slots,
    processes_that_drain,
    a_slot_that_is_given_back,
    a_breaker_in_use,
)
