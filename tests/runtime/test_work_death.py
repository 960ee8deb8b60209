"""Death before the next lease: whoever dies, hangs or is killed, nothing that ran outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from actors.effects import StopProcess
from actors.messages import Launched, ProcessExited, WorkEnded
from runtime.work import Work
from runtime.work.child.proc import descendants, look
from tests.runtime.work_kit import (
    PATIENCE_S,
    UET,
    Bell,
    Desk,
    alive,
    bell,
    gone,
    kill,
    working,
)

# Says the pids of itself, of a child, and of a daemon that left its session.
FAMILY = """
sleep 60 & child=$!
setsid sh -c 'echo $$ >"$0"; exec sleep 60' "$1" >/dev/null 2>&1 & read daemon <"$1"
echo "$$ $child $daemon" >"$0"; wait
"""


async def family(desk: Desk, rung: Bell, folder: Path) -> tuple[str, list[int]]:
    """Begins a command with descendants; its lease and all their pids."""
    inner = folder / "inner"
    os.mkfifo(inner)
    begun = await desk.begin("sh", "-c", FAMILY, rung.path, str(inner))
    pids = [int(pid) for pid in (await rung.wait()).split()]
    assert all(alive(pid) for pid in pids)
    return begun.lease, pids


async def test_a_worker_that_is_killed_is_reported_once_all_it_ran_is_dead(tmp_path: Path) -> None:
    async with working(tmp_path) as desk, bell(tmp_path) as rung:
        child = await desk.start()
        _, pids = await family(desk, rung, tmp_path)
        kill(child.pid)
        exited = await desk.next(ProcessExited)
        assert not any(alive(pid) for pid in pids)
    assert exited == ProcessExited(crashed=True, reason="was killed by SIGKILL")
    assert not any(isinstance(message, WorkEnded) for _, message in desk.reports)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
@pytest.mark.parametrize("victim", ["worker", "keeper"])
async def test_a_daemon_without_marks_dies_with_a_worker_whoever_kills_it(
    tmp_path: Path, victim: str, number: int
) -> None:
    async with working(tmp_path) as desk, bell(tmp_path) as rung:
        child = await desk.start()
        found = look(child.pid)
        assert found is not None
        script = f"env -i setsid sh -c 'echo $$ >{rung.path}; exec sleep 60' & wait"
        begun = await desk.begin("sh", "-c", script)
        daemon = int(await rung.wait())
        kill(found.parent if victim == "keeper" else child.pid, number)
        if (victim, number) == ("keeper", signal.SIGTERM):  # it leaves that to the worker
            desk.withdraw(begun.lease)
            await desk.ended(begun.lease)
        else:
            assert (await desk.next(ProcessExited)).crashed
        assert not any(alive(pid) for pid in (begun.pid, daemon))


async def test_a_worker_that_is_stopped_by_a_signal_can_still_be_killed(tmp_path: Path) -> None:
    async with working(tmp_path) as desk, bell(tmp_path) as rung:
        child = await desk.start()
        _, pids = await family(desk, rung, tmp_path)
        kill(child.pid, signal.SIGSTOP)
        assert not (await desk.stop(kill=True)).crashed
        assert not any(alive(pid) for pid in (child.pid, *pids))


async def test_killing_a_hung_worker_ends_daemons_that_carry_no_mark(tmp_path: Path) -> None:
    async with working(tmp_path) as desk, bell(tmp_path) as rung:
        child = await desk.start()
        script = f"env -i setsid sh -c 'echo $$ >{rung.path}; exec sleep 60' & wait"
        await desk.begin("sh", "-c", script)
        pid = int(await rung.wait())
        kill(child.pid, signal.SIGSTOP)
        await desk.stop(kill=True)
        assert not alive(pid)


async def test_a_worker_that_does_not_answer_a_withdrawal_is_killed_and_the_work_told(
    tmp_path: Path,
) -> None:
    async with working(tmp_path, answer_timeout_s=0.2) as desk, bell(tmp_path) as rung:
        child = await desk.start()
        lease, pids = await family(desk, rung, tmp_path)
        kill(child.pid, signal.SIGSTOP)
        desk.withdraw(lease, "timeout", kill_timeout_s=0.3)
        outcome = await desk.ended(lease)
        assert (outcome.reason, outcome.alive) == ("timeout", False)
        exited = await desk.next(ProcessExited)
        assert exited.crashed
        assert exited.reason is not None
        assert exited.reason.startswith("did not end its work when told to")
        assert not any(alive(pid) for pid in (child.pid, *pids))


async def test_an_idle_worker_that_does_not_stop_when_asked_is_killed(tmp_path: Path) -> None:
    async with working(tmp_path, answer_timeout_s=0.2) as desk:
        child = await desk.start()
        kill(child.pid, signal.SIGSTOP)
        assert not (await desk.stop()).crashed
        assert not alive(child.pid)


async def test_killing_a_busy_worker_ends_all_it_runs_at_once(tmp_path: Path) -> None:
    async with working(tmp_path) as desk, bell(tmp_path) as rung:
        await desk.start()
        begun = await desk.begin("sh", "-c", f"trap '' TERM; echo $$ >{rung.path}; sleep 60")
        await rung.wait()
        assert await desk.stop(kill=True) == ProcessExited(crashed=False)
        assert not alive(begun.pid)


async def test_a_worker_that_crashes_while_it_drains_has_crashed(tmp_path: Path) -> None:
    async with working(tmp_path) as desk, bell(tmp_path) as rung:
        child = await desk.start()
        await desk.begin("head", "-n", "1", rung.path)
        desk.work.perform(StopProcess(UET))
        kill(child.pid)
        assert (await desk.next(ProcessExited)).crashed


async def test_a_waiting_launcher_dies_with_its_worker_and_never_runs(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        child = await desk.start()
        desk.offer("touch", str(tmp_path / "ran"))
        launched = await desk.next(Launched)
        kill(child.pid)
        await desk.next(ProcessExited)
        assert not alive(launched.pid)
    assert not (tmp_path / "ran").exists()


async def test_a_worker_that_is_told_to_terminate_kills_what_it_runs_first(tmp_path: Path) -> None:
    async with working(tmp_path) as desk, bell(tmp_path) as rung:
        child = await desk.start()
        _, pids = await family(desk, rung, tmp_path)
        kill(child.pid, signal.SIGTERM)
        assert (await desk.next(ProcessExited)).crashed
        assert not any(alive(pid) for pid in pids)


async def test_a_command_that_kills_its_worker_does_not_outlive_it(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        await desk.start()
        begun = await desk.begin("sh", "-c", "kill -KILL $PPID; sleep 60")
        assert (await desk.next(ProcessExited)).crashed
        assert not alive(begun.pid)


async def test_an_interpreter_that_does_not_start_is_reported_with_its_last_line(
    tmp_path: Path,
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho first >&2\necho no libpython >&2\nexit 5\n")
    broken.chmod(0o755)
    async with working(tmp_path, python=str(broken)) as desk:
        desk.launch(UET)
        exited = await desk.next(ProcessExited)
    assert exited == ProcessExited(crashed=True, reason="exited with 5: no libpython")
    log = tmp_path / "state" / "output" / "worker:local.1@1.log"
    assert log.read_text() == "first\nno libpython\n"


async def test_an_interpreter_that_is_not_there_is_reported(tmp_path: Path) -> None:
    async with working(tmp_path, python="/no/python") as desk:
        desk.launch(UET)
        exited = await desk.next(ProcessExited)
    assert exited.crashed
    assert "/no/python" in (exited.reason or "")


async def test_a_child_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\nexec sleep 60\n")
    silent.chmod(0o755)
    async with working(tmp_path, python=str(silent), start_timeout_s=0.2) as desk:
        desk.launch(UET)
        exited = await desk.next(ProcessExited)
    assert exited.reason is not None
    assert exited.reason.startswith("did not start in time")


async def _run(work: Work, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    await work.run(task_status=task_status)


HOST = """
import signal, sys, anyio
from pathlib import Path
from tests.runtime.work_kit import working

async def main():
    async with working(Path(sys.argv[1])) as desk:
        await desk.start()
        outcome = await desk.do("sh", "-c", "kill -0 $$; exit 3")
        exited = await desk.stop()
        print(outcome.exit_code, exited.crashed)

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
anyio.run(main)
"""


def test_a_program_that_ignores_its_children_and_blocks_signals_can_embed_workers(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOST, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("3 False\n", "")


# --- the end of the supervisor ----------------------------------------------------------------


@pytest.mark.parametrize("way", ["close", "cancel"])
async def test_when_the_executor_ends_everything_it_started_is_dead(
    tmp_path: Path, way: str
) -> None:
    work = Work(tmp_path / "state", tmp_path / "state" / "output")
    desk = Desk(work, tmp_path)
    async with anyio.create_task_group() as group, bell(tmp_path) as rung:
        await group.start(_run, work)
        child = await desk.start()
        _, pids = await family(desk, rung, tmp_path)
        desk.run_gate("sleep", "60")
        desk.reports.clear()
        if way == "close":
            await work.close()
        else:
            group.cancel_scope.cancel()
    assert not any(alive(pid) for pid in (child.pid, *pids))
    assert descendants(os.getpid()) == []
    assert desk.reports == []


async def test_after_the_end_nothing_is_performed_any_more(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        await desk.work.close()
        desk.launch(UET)
        assert desk.reports == []


SUPERVISOR = """
import sys, anyio
from pathlib import Path
from tests.runtime.work_kit import bell, working
from tests.runtime.test_work_death import family

async def main():
    folder = Path(sys.argv[1])
    async with working(folder) as desk, bell(folder) as rung:
        child = await desk.start()
        desk.run_gate("sleep", "60")
        _, pids = await family(desk, rung, folder)
        print(child.pid, *pids, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_supervisor_is_killed_nothing_of_its_work_is_left(
    tmp_path: Path, number: int
) -> None:
    command = [sys.executable, "-c", SUPERVISOR, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pids = [int(pid) for pid in supervisor.stdout.readline().split()]
        below = [process.pid for process in descendants(supervisor.pid)]
        supervisor.send_signal(number)
        supervisor.wait(PATIENCE_S)
        assert set(pids) < set(below)
        assert all(gone(pid) for pid in below)
