"""Tools on the real kernel: commands in real processes, their breakers in virtual time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio

from actors import guard_messages as guard
from actors import spec
from runtime import Runtime, VirtualClock, open_runtime

HOUR = 3600.0
# It counts its calls in the folder that it works in, and fails the first so many of them.
MOODY = """
printf . >> calls
[ "$(wc -c < calls)" -gt "$0" ] || { echo "try again: retry after 7200 s"; exit 70; }
"""
FAST = spec.Breaker(failure_threshold=2, cooldown_s=HOUR, cooldown_s_max=9 * HOUR, jitter=0.0)


def tool(failures: int, **more: Any) -> spec.Tool:
    """One that fails so many times, counted in the folder that it works in."""
    command = ("sh", "-c", MOODY, str(failures))
    return spec.Tool(command=command, **({"breaker": FAST} | more))


def plan(folder: Path, tool: spec.Tool, tasks: int = 6, slots: int = 1, **task: Any) -> spec.Plan:
    task.setdefault("critical", False)
    named = {f"t{n}": spec.Task(tool="moody", **task) for n in range(tasks)}
    return spec.Plan(
        run=spec.Run(name="r", base_dir=str(folder)),
        # Processes do not beat in virtual time: no silence may count as one.
        workers={"p": spec.Pool(count=slots, heartbeat_s=1e6)},
        tools={"moody": tool},
        workstreams={"w": spec.Workstream(tasks=named)},
    )


def rows(folder: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{folder / '.state/banksman.db'}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()


def moves(folder: Path) -> list[str]:
    """The states that the breaker went through."""
    query = (
        "SELECT to_state FROM state_transitions WHERE entity_type = 'circuit_breaker'"
        " AND from_state IS NOT to_state ORDER BY seq"
    )
    return [row[0] for row in rows(folder, query)]


def tasks(folder: Path) -> dict[str, int]:
    return dict(rows(folder, "SELECT state, count(*) FROM tasks GROUP BY state"))


async def until(folder: Path, rt: Runtime, last: str) -> None:
    """Returns once the breaker's last move led there, and nothing is under way."""
    with anyio.fail_after(30):
        async for event in rt.events(since=0):
            if event["entity_type"] == "circuit_breaker" and event["to_state"] == last:
                break
    await rt.wait_idle()
    assert moves(folder)[-1] == last


async def test_a_tool_that_fails_is_left_alone_for_hours_probed_and_all_is_done(
    tmp_path: Path,
) -> None:
    clock = VirtualClock()
    began = clock.now()
    async with open_runtime(tmp_path / ".state", clock=clock) as rt:
        run = await rt.submit(plan(tmp_path, tool(3)))
        assert await run.wait() == "completed"
    assert moves(tmp_path) == ["closed", "open", "half_open", "open", "half_open", "closed"]
    assert tasks(tmp_path) == {"completed": 3, "failed": 3}
    assert clock.now() - began >= 3 * HOUR, "one cooldown, and one twice as long"


async def test_a_rate_limit_told_by_the_tool_is_kept_and_burns_no_retry(tmp_path: Path) -> None:
    limit = spec.RateLimit(pattern=r"retry after (?P<seconds>\d+)")
    clock = VirtualClock()
    began = clock.now()
    async with open_runtime(tmp_path / ".state", clock=clock) as rt:
        run = await rt.submit(plan(tmp_path, tool(1, rate_limit=limit)))
        assert await run.wait() == "completed"
    assert tasks(tmp_path) == {"completed": 6}
    assert rows(tmp_path, "SELECT sum(retry_count) FROM tasks") == [(0,)]
    assert clock.now() - began >= 7_200
    assert moves(tmp_path) == ["closed", "open", "half_open", "closed"]


async def test_the_same_error_twice_ends_a_task_as_a_loop(tmp_path: Path) -> None:
    looping = tool(99, loop=spec.Loop(max_error_repeats=2), breaker=spec.Breaker())
    async with open_runtime(tmp_path / ".state", clock=VirtualClock()) as rt:
        run = await rt.submit(plan(tmp_path, looping, tasks=1, max_retries=9))
        assert await run.wait() == "completed"
    found = rows(tmp_path, "SELECT state, reason, retry_count FROM tasks")
    assert found == [("failed", "loop", 1)]


async def test_a_prompt_comes_in_through_stdin_as_it_is(tmp_path: Path) -> None:
    prompt = 'say "hi";\n$HOME {args} \u00e9\n'
    told = spec.Tool(command=("cat",), prompt="stdin")
    async with open_runtime(tmp_path / ".state", clock=VirtualClock()) as rt:
        run = await rt.submit(plan(tmp_path, told, tasks=1, prompt=prompt))
        assert await run.wait() == "completed"
    (log,) = (tmp_path / ".state" / "output").glob("*t0*.log")
    assert log.read_text() == prompt


async def test_two_runs_share_a_tools_breaker_and_the_newest_plan_has_its_say(
    tmp_path: Path,
) -> None:
    async with open_runtime(tmp_path / ".state", clock=VirtualClock(autojump=False)) as rt:
        await (await rt.submit(plan(tmp_path, tool(0), tasks=1))).wait()
        strict = tool(0, breaker=spec.Breaker(failure_threshold=1), health=("true",))
        await (await rt.submit(plan(tmp_path, strict, tasks=1))).wait()
        await (await rt.submit(plan(tmp_path, strict, tasks=1))).wait()
    assert rows(tmp_path, "SELECT count(*) FROM circuit_breakers") == [(1,)]
    told = "SELECT reason FROM state_transitions WHERE event_type = 'breaker_revised'"
    ((reason,),) = rows(tmp_path, told)
    assert reason.startswith("the plan of r-")


async def test_another_command_under_the_same_name_has_a_breaker_of_its_own(
    tmp_path: Path,
) -> None:
    async with open_runtime(tmp_path / ".state", clock=VirtualClock(autojump=False)) as rt:
        for failures in (0, -1):
            await (await rt.submit(plan(tmp_path, tool(failures), tasks=1))).wait()
    assert rows(tmp_path, "SELECT count(*), count(DISTINCT tool) FROM circuit_breakers") == [(2, 1)]


async def test_a_run_whose_tool_is_held_waits_for_a_person_and_goes_on_when_it_is_closed(
    tmp_path: Path,
) -> None:
    async with open_runtime(tmp_path / ".state", clock=VirtualClock(autojump=False)) as rt:
        await (await rt.submit(plan(tmp_path, tool(0), tasks=1))).wait()
        ((breaker_id,),) = rows(tmp_path, "SELECT id FROM circuit_breakers")
        await rt.ask(f"circuit_breaker:{breaker_id}", guard.Hold("ann", "out of order"))
        run = await rt.submit(plan(tmp_path, tool(0), tasks=3))
        await _at_rest(rt, run.id)
        await rt.ask(f"circuit_breaker:{breaker_id}", guard.ForceClose("ann", "mended"))
        assert await run.wait() == "completed"


async def _at_rest(rt: Runtime, run_id: str) -> None:
    with anyio.fail_after(30):
        while rt.waits_for_person() != [run_id]:
            await anyio.lowlevel.checkpoint()


# --- owners that die ------------------------------------------------------------------------------


async def test_parked_tasks_are_still_parked_for_the_next_owner_and_then_released(
    tmp_path: Path,
) -> None:
    clock = VirtualClock(autojump=False)
    async with open_runtime(tmp_path / ".state", clock=clock) as rt:
        await rt.submit(plan(tmp_path, tool(2)))
        await until(tmp_path, rt, "open")
        before = rows(tmp_path, "SELECT timers FROM circuit_breakers")
        clock.advance(600.0)
    later = VirtualClock(clock.now(), autojump=False)
    async with open_runtime(tmp_path / ".state", clock=later) as rt:
        await rt.wait_idle()
        assert rows(tmp_path, "SELECT timers FROM circuit_breakers") == before
        assert tasks(tmp_path) == {"failed": 2, "queued": 4}
        later.advance(HOUR - 601.0)
        await rt.wait_idle()
        assert moves(tmp_path)[-1] == "open", "the cooldown has not begun anew, nor ended early"
        later.advance(1.0)
        (run_id,) = rt.unfinished_runs()
        assert await rt.wait_ended(f"run:{run_id}") == "completed"
    assert tasks(tmp_path) == {"failed": 2, "completed": 4}


# --- many -----------------------------------------------------------------------------------------


async def test_ten_thousand_refused_calls_leave_nothing_behind(tmp_path: Path) -> None:
    async with open_runtime(tmp_path / ".state", clock=VirtualClock(autojump=False)) as rt:
        await (await rt.submit(plan(tmp_path, tool(0), tasks=1))).wait()
        ((breaker_id,),) = rows(tmp_path, "SELECT id FROM circuit_breakers")
        ref = f"circuit_breaker:{breaker_id}"
        await rt.ask(ref, guard.Hold("ann", "out of order"))
        breakers = "SELECT version, audit_seq FROM circuit_breakers"
        before, known = rt.statistics(), rows(tmp_path, breakers)
        for n in range(10_000):
            await rt.tell(ref, guard.Admit(f"task:nobody/{n}/x"))
            if n % 1_000 == 0:
                await rt.wait_idle()
        await rt.wait_idle()
        after = rt.statistics()
    assert after["actors_in_memory"] <= before["actors_in_memory"]
    assert rows(tmp_path, breakers) == known


# --- an index that is built anew ------------------------------------------------------------------


async def test_a_dispatcher_that_is_built_anew_grants_nothing_beyond_the_concurrency(
    tmp_path: Path,
) -> None:
    wait = spec.Tool(command=("sh", "-c", "until [ -e go ]; do sleep 0.01; done"), concurrency=1)
    async with open_runtime(tmp_path / ".state", clock=VirtualClock(autojump=False)) as rt:
        made = plan(tmp_path, wait, tasks=3, slots=3)
        # The one that runs speaks last, if nobody sees to it.
        made.workstreams["w"].tasks["t2"] = spec.Task(tool="moody", priority=1)
        run = await rt.submit(made)
        with anyio.fail_after(30):
            while tasks(tmp_path).get("running") != 1:
                await anyio.lowlevel.checkpoint()
        rt._sup.rebuild_index(frozenset())  # as after a rollback
        await rt.wait_idle()
        assert tasks(tmp_path) == {"running": 1, "queued": 2}
        (tmp_path / "go").touch()
        assert await run.wait() == "completed"
