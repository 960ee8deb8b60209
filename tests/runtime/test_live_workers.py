"""Real worker processes that hang, die, stop and come back, and what becomes of their work."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import anyio
import pytest

from actors import messages as m
from actors import spec
from actors.worker import BEATS_MISSED_MAX
from tests.runtime.live_kit import PATIENCE_S, Story, living, plan, pool, shell
from tests.runtime.work_kit import Bell, alive, bell, gone, kill

# The first attempt says its pid and stays. A later one fails if the first is still there.
STAYS = """
if [ -e pid ]; then grep -q '^State:.[^ZX]' /proc/$(cat pid)/status && exit 9; {then}; fi
echo $$ >pid; echo up >bell; exec sleep 60
"""
WAITS = "echo $$ >pid; echo up >bell; head -n 1 go"

SLEEPS = "echo $$ >pid; echo up >bell; exec sleep 60"


async def begun(story: Story, rung: Bell) -> tuple[int, int]:
    """The pids of the only worker and of the command that it runs."""
    await rung.wait()
    (worker,) = await story.workers()
    return worker, int((story.folder / "pid").read_text())


# --- a worker that is silent ----------------------------------------------------------------------


async def test_a_worker_stopped_past_its_window_is_dead_before_its_task_is_leased_again(
    tmp_path: Path,
) -> None:
    async with living(tmp_path) as story, bell(tmp_path) as rung:
        run = await story.rt.submit(plan(tmp_path, t=shell(STAYS.format(then="exit 0"))))
        worker, command = await begun(story, rung)
        kill(worker, signal.SIGSTOP)
        doubted = await story.until("worker", "heartbeat_missed")
        given_up = await story.until("worker", "recovery_window_exceeded", after=doubted)
        died = await story.until("uet_worker", "drained", after=given_up)
        assert not alive(worker)
        assert not alive(command)
        await story.until("task", "retry_scheduled", after=died)
        assert await run.wait() == "completed"
        assert story.column("SELECT retry_count FROM tasks") == [0]
        assert doubted["metadata"]["heartbeat_status"] == "missed"
        assert given_up["metadata"]["last_heartbeat_age_seconds"] >= 0.5


async def test_the_result_of_a_worker_that_was_given_up_is_refused_and_on_record(
    tmp_path: Path,
) -> None:
    async with living(tmp_path) as story, bell(tmp_path) as rung, bell(tmp_path, "go") as go:
        task = shell(STAYS.format(then="head -n 1 go; exit 0"))
        run = await story.rt.submit(plan(tmp_path, t=task))
        worker, _ = await begun(story, rung)
        (lease,) = story.column("SELECT lease FROM tasks")
        kill(worker, signal.SIGSTOP)
        crashed = await story.until("uet_worker", "drained")
        await story.until("task", "worker_assigned", after=crashed)
        replayed = m.Outcome(exit_code=9)
        await story.rt.tell(f"uet_worker:{crashed['entity_id']}", m.WorkEnded(lease, replayed))
        await story.rt.tell(f"task:{run.id}/w/t", m.WorkFinished(lease, replayed))
        refused = await story.until("task", "result_refused")
        assert refused["from_state"] == refused["to_state"] == "running"
        assert refused["metadata"]["exit_code"] == 9
        go.say("on")
        assert await run.wait() == "completed"


async def test_a_worker_that_comes_back_within_its_window_goes_on(tmp_path: Path) -> None:
    slots = pool(recovery_window_s=60.0)
    async with living(tmp_path, slots) as story, bell(tmp_path) as rung, bell(tmp_path, "go") as go:
        run = await story.rt.submit(plan(tmp_path, t=shell(WAITS)))
        worker, _ = await begun(story, rung)
        kill(worker, signal.SIGSTOP)
        doubted = await story.until("worker", "heartbeat_missed")
        kill(worker, signal.SIGCONT)
        await story.until("worker", "heartbeat_resumed", after=doubted)
        go.say("on")
        assert await run.wait() == "completed"
        assert story.triggers("uet_worker").count("spawned") == 1
        assert "retry_scheduled" not in story.triggers("task")


async def test_an_idle_worker_that_falls_silent_is_killed_and_replaced(tmp_path: Path) -> None:
    async with living(tmp_path) as story:
        assert await (await story.rt.submit(plan(tmp_path, t=shell("true")))).wait() == "completed"
        (worker,) = await story.workers()
        kill(worker, signal.SIGSTOP)
        failed = await story.until("worker", "worker_failed")
        assert failed["reason"] == "silent while idle"
        await story.until("worker", "recovered", after=failed)
        assert not alive(worker)
        assert await (await story.rt.submit(plan(tmp_path, t=shell("true")))).wait() == "completed"


async def test_a_stalled_event_loop_is_not_taken_for_a_dead_worker(tmp_path: Path) -> None:
    slots = pool()
    async with living(tmp_path, slots) as story, bell(tmp_path) as rung, bell(tmp_path, "go") as go:
        run = await story.rt.submit(plan(tmp_path, t=shell(WAITS)))
        worker, _ = await begun(story, rung)
        stall(BEATS_MISSED_MAX * slots.heartbeat_s + slots.recovery_window_s + 0.5)
        await turns(story, 10)
        go.say("on")
        assert await run.wait() == "completed"
        assert await story.workers() == [worker]
        assert not {"heartbeat_missed", "worker_failed"} & set(story.triggers("worker"))


def stall(seconds: float) -> None:
    """Holds the event loop up, as a callable does that never awaits."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def turns(story: Story, number: int) -> None:
    """Lets so many further turns be taken: of heartbeats, where nothing else happens."""
    until = story.rt.statistics()["turns"] + number
    with anyio.fail_after(PATIENCE_S):
        while story.rt.statistics()["turns"] < until:
            await anyio.lowlevel.checkpoint()


async def test_heartbeats_and_progress_write_nothing_while_nothing_changes(tmp_path: Path) -> None:
    async with living(tmp_path, pool(heartbeat_s=0.02)) as story, bell(tmp_path) as rung:
        async with bell(tmp_path, "go") as go:
            task = shell("echo 'half way'; echo up >bell; head -n 1 go; echo 'nearly there'")
            run = await story.rt.submit(plan(tmp_path, t=task))
            await rung.wait()
            await story.rt.wait_idle()
            before = written(story)
            await turns(story, 40)
            (lease,) = story.column("SELECT lease FROM tasks")
            assert story.rt.progress() == {lease: "half way"}
            assert written(story) == before
            go.say("on")
            assert await run.wait() == "completed"
        assert story.rt.progress() == {}


def written(story: Story) -> tuple[int, int, int]:
    """What changes with every write: the head, the epochs, the size of the log."""
    facts = story.rt.statistics()
    wal = story.rt.db_path.with_name(f"{story.rt.db_path.name}-wal")
    return facts["seq"], facts["epochs_durable"], wal.stat().st_mtime_ns


# --- a worker that dies ---------------------------------------------------------------------------


async def test_a_task_that_kills_its_workers_is_set_aside_and_others_go_on(tmp_path: Path) -> None:
    async with living(tmp_path) as story:
        bad = shell("kill -KILL $PPID", critical=False, max_retries=1000)
        run = await story.rt.submit(plan(tmp_path, bad=bad, good=shell("true", priority=-1)))
        assert await run.wait() == "completed"
        failed = await story.until("task", "task_failed")
        assert failed["entity_id"].endswith("/bad")
        assert failed["reason"].startswith("poison")
        assert story.column("SELECT retry_count FROM tasks WHERE id LIKE '%/bad'") == [0]


async def test_a_pool_never_shrinks_by_its_failures(tmp_path: Path) -> None:
    slots = pool(count=3)
    async with living(tmp_path, slots) as story, bell(tmp_path) as rung, bell(tmp_path, "go") as go:
        assert await (await story.rt.submit(plan(tmp_path, t=shell("true")))).wait() == "completed"
        workers = await story.workers(3)
        for _ in range(3):
            for worker in workers:
                kill(worker)
            workers = await story.workers(3, without=workers)
        together = {name: shell("echo up >bell; read word <go") for name in "abc"}
        run = await story.rt.submit(plan(tmp_path, **together))
        ups = ""
        while ups.count("up") < 3:  # all three run at once
            ups += await rung.wait()
        for _ in together:
            go.say("on")
        assert await run.wait() == "completed"
        assert story.column("SELECT count(*) FROM workers") == [3]


async def test_restarts_are_counted_over_the_owners_life_and_slow_down_past_the_intensity(
    tmp_path: Path,
) -> None:
    restart = spec.Restart(intensity=2, window_s=3600.0, backoff_s=0.01, backoff_s_max=600.0)
    slots = pool(restart=restart)
    async with living(tmp_path, slots) as story:
        assert await (await story.rt.submit(plan(tmp_path, t=shell("true")))).wait() == "completed"
        (worker,) = await story.workers()
        kill(worker)
        await story.until("worker", "recovered")
    async with living(tmp_path, slots) as story:
        # Its former owner's end is no restart; the one before that still counts.
        (first,) = await story.workers()
        kill(first)
        (second,) = await story.workers(without=[first])
        recovered = await story.until("worker", "recovered")
        kill(second)
        await story.until("worker", "worker_failed", after=recovered)
        await story.rt.wait_idle()
        (due,) = story.column("SELECT timers ->> 'restart' FROM workers")
        assert 500.0 < float(due) - time.time() < 700.0
    async with living(tmp_path, slots) as story:
        assert story.column("SELECT timers ->> 'restart' FROM workers") == [due]


# --- work that does not end -----------------------------------------------------------------------


async def test_work_that_ignores_term_is_killed_after_its_timeout(tmp_path: Path) -> None:
    async with living(tmp_path, pool(kill_timeout_s=0.6)) as story, bell(tmp_path) as rung:
        script = "trap '' TERM INT HUP; echo $$ >pid; echo up >bell; while :; do sleep 60; done"
        run = await story.rt.submit(plan(tmp_path, t=shell(script, timeout_s=0.3)))
        _, command = await begun(story, rung)
        assert await run.wait() == "failed"
        failed = await story.until("task", "task_failed")
        assert failed["metadata"]["timeout_occurred"]
        assert not alive(command)


FREEZER = Path("/sys/fs/cgroup/freezer")


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    """A cgroup whose processes KILL does not reach until they are let go."""
    group = FREEZER / f"banksman-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "freezer.state").read_text()
    except OSError as error:
        pytest.skip(f"needs a cgroup (version 1) freezer that may be written: {error}")
    return group


async def test_work_that_kill_does_not_reach_is_undead_and_its_slot_is_replaced(
    tmp_path: Path, frozen: Path
) -> None:
    try:
        async with living(tmp_path, pool(kill_timeout_s=0.5)) as story, bell(tmp_path) as rung:
            run = await story.rt.submit(plan(tmp_path, t=shell(SLEEPS, timeout_s=0.5)))
            _, command = await begun(story, rung)
            freeze(frozen, command)
            failed = await story.until("task", "task_failed")
            assert failed["reason"].startswith("undead")
            assert await run.wait() == "failed"
            retired = await story.until("worker", "worker_retired")
            assert (retired["severity"], retired["reason"].split()[-2:]) == (
                "critical",
                ["survived", "KILL"],
            )
            assert alive(command)
            again = await story.rt.submit(plan(tmp_path, t=shell("true")))
            assert await again.wait() == "completed"
            assert story.column("SELECT id FROM workers WHERE state <> 'shutdown'") == [
                "worker:local.1~2"
            ]
            (frozen / "freezer.state").write_text("THAWED")  # else the end waits for it
    finally:
        thaw(frozen)


def freeze(group: Path, pid: int) -> None:
    (group / "cgroup.procs").write_text(str(pid))
    (group / "freezer.state").write_text("FROZEN")


def thaw(group: Path) -> None:
    (group / "freezer.state").write_text("THAWED")
    for pid in (group / "cgroup.procs").read_text().split():
        assert gone(int(pid))
    group.rmdir()


# --- the end of the owner -------------------------------------------------------------------------


async def test_closing_is_bounded_whatever_hangs(tmp_path: Path) -> None:
    began = 0.0
    slots = pool(count=2, kill_timeout_s=1.0)
    async with living(tmp_path, slots) as story, bell(tmp_path) as rung:
        deaf = shell("trap '' TERM; echo up >bell; while :; do sleep 60; done")
        await story.rt.submit(plan(tmp_path, a=deaf, b=deaf))
        ups = ""
        while ups.count("up") < 2:
            ups += await rung.wait()
        kill((await story.workers(2))[0], signal.SIGSTOP)
        began = time.monotonic()
    assert time.monotonic() - began < 15.0


async def test_draining_lets_what_runs_finish_starts_nothing_and_ends_in_time(
    tmp_path: Path,
) -> None:
    async with living(tmp_path) as story, bell(tmp_path) as rung, bell(tmp_path, "go") as go:
        run = await story.rt.submit(plan(tmp_path, a=shell(WAITS), b=shell("true", priority=-1)))
        await begun(story, rung)
        await story.rt.drain(0.1)
        assert story.column("SELECT state FROM tasks ORDER BY id") == ["running", "queued"]
        go.say("on")
        await story.rt.drain(PATIENCE_S)
        assert story.column("SELECT state FROM tasks ORDER BY id") == ["completed", "queued"]
        assert run.id in story.rt.unfinished_runs()
