"""Workers and commands that try to get away: whatever they close, fork or clear, they end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actors.messages import ProcessExited, ProcessStarted
from runtime.work import Work, cgroup
from runtime.work.child.proc import descendants, look
from tests.runtime.work_kit import PYTHON, UET, Desk, alive, bell, gone, kill, working

# Twice forked, a session of its own, no descriptor, no mark of ours, another name.
DAEMON = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 256)
        bell = os.open(sys.argv[1], os.O_WRONLY)
        os.write(bell, str(os.getpid()).encode())
        os.close(bell)
        os.execve("/bin/sleep", ["kworker/0:1", "60"], {})
    os._exit(0)
if sys.argv[2] == "stay":
    os.read(os.open(sys.argv[3], os.O_RDONLY), 1)
"""


async def daemon(desk: Desk, folder: Path, how: str = "stay") -> tuple[str, int]:
    """Begins a command that leaves a daemon behind; its lease, and the daemon's pid."""
    async with bell(folder) as rung, bell(folder, "never") as never:
        words = (PYTHON, "-I", "-S", "-c", DAEMON, rung.path, how, never.path)
        begun = await desk.begin(*words)
        return begun.lease, int(await rung.wait())


async def test_a_daemon_ends_with_the_command_that_left_it(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        await desk.start()
        lease, pid = await daemon(desk, tmp_path, "leave")
        assert (await desk.ended(lease)).exit_code == 0
        assert not alive(pid)


async def test_a_daemon_ends_with_a_command_that_is_withdrawn(tmp_path: Path) -> None:
    async with working(tmp_path) as desk, bell(tmp_path, "other") as rung:
        await desk.start()
        words = f'"$0" -I -S -c "$1" {rung.path} leave & wait; sleep 60'
        begun = await desk.begin("sh", "-c", words, PYTHON, DAEMON)
        pid = int(await rung.wait())
        desk.withdraw(begun.lease, "timeout")
        assert (await desk.ended(begun.lease)).reason == "timeout"
        assert not alive(pid)


@pytest.mark.parametrize("victim", ["worker", "keeper"])
async def test_a_daemon_ends_with_its_worker_or_its_workers_keeper(
    tmp_path: Path, victim: str
) -> None:
    async with working(tmp_path) as desk, bell(tmp_path, "other") as rung:
        child = await desk.start()
        found = look(child.pid)
        assert found is not None
        words = f'"$0" -I -S -c "$1" {rung.path} leave & wait; sleep 60'
        await desk.begin("sh", "-c", words, PYTHON, DAEMON)
        pid = int(await rung.wait())
        kill(found.parent if victim == "keeper" else child.pid)
        assert (await desk.next(ProcessExited)).crashed
        assert not alive(pid)


@pytest.mark.skipif(cgroup.home() is None, reason="no control group can be made here")
async def test_a_daemon_in_a_group_ends_also_when_worker_and_keeper_are_killed_at_once(
    tmp_path: Path,
) -> None:
    async with working(tmp_path) as desk, bell(tmp_path, "other") as rung:
        child = await desk.start()
        found = look(child.pid)
        assert found is not None
        words = f'"$0" -I -S -c "$1" {rung.path} leave & wait; sleep 60'
        await desk.begin("sh", "-c", words, PYTHON, DAEMON)
        pid = int(await rung.wait())
        kill(found.parent, signal.SIGSTOP)  # so that it is as if both died in one instant
        kill(child.pid)
        kill(found.parent)
        assert (await desk.next(ProcessExited)).crashed
        assert not alive(pid)


OWNER = """
import os, sys, anyio
from pathlib import Path
from tests.runtime.work_kit import working, bell, look
from tests.runtime.test_work_escapes import DAEMON, PYTHON

async def main():
    folder = Path(sys.argv[1])
    async with working(folder) as desk, bell(folder, "other") as rung:
        child = await desk.start()
        words = f'"$0" -I -S -c "$1" {rung.path} leave & wait; sleep 60'
        await desk.begin("sh", "-c", words, PYTHON, DAEMON)
        pid = int(await rung.wait())
        keeper = look(child.pid).parent
        os.kill(keeper, 19)
        os.kill(child.pid, 19)
        print(pid, keeper, child.pid, flush=True)
        os.kill(os.getpid(), 19)

anyio.run(main)
"""


def killed_at_once(folder: Path) -> int:
    """Kills an owner, its worker and the keeper of that; the pid of the daemon that they left."""
    command = [sys.executable, "-c", OWNER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        daemon, keeper, worker = (int(pid) for pid in owner.stdout.readline().split())
        for pid in (owner.pid, keeper, worker):
            kill(pid)
    return daemon


@pytest.mark.skipif(cgroup.home() is None, reason="no control group can be made here")
async def test_a_new_owner_ends_what_is_left_in_a_former_owners_groups(tmp_path: Path) -> None:
    daemon = killed_at_once(tmp_path)
    assert alive(daemon)
    state = tmp_path / "state"
    await Work(state, state / "output").reap([])
    assert not alive(daemon)


# What stands in for the interpreter of a worker: it says hello, closes its pipe, and lives.
MUTE = """#!{python} -IS
import json, os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
ticks = int(open("/proc/self/stat").read().rpartition(")")[2].split()[19])
os.write(1, json.dumps({{"t": "hello", "pid": os.getpid(), "ticks": ticks}}).encode() + b"\\n")
os.close(1)
os.open("/dev/null", os.O_WRONLY)
while True:
    signal.pause()
"""


async def test_a_worker_that_closes_its_pipe_and_lives_is_killed(tmp_path: Path) -> None:
    mute = tmp_path / "python"
    mute.write_text(MUTE.format(python=sys.executable))
    mute.chmod(0o755)
    async with working(tmp_path, python=str(mute)) as desk:
        desk.launch(UET)
        started = await desk.next(ProcessStarted)
        exited = await desk.next(ProcessExited)
        assert exited.crashed
        assert gone(started.pid)


async def test_a_worker_that_answers_nonsense_is_killed(tmp_path: Path) -> None:
    babbler = tmp_path / "python"
    babbler.write_text("#!/bin/sh\necho 'no json'; exec sleep 60\n")
    babbler.chmod(0o755)
    async with working(tmp_path, python=str(babbler)) as desk:
        desk.launch(UET)
        exited = await desk.next(ProcessExited)
    assert exited.crashed
    assert exited.reason is not None
    assert exited.reason.startswith("cannot be talked to")


async def test_a_command_that_forks_without_end_is_ended_in_time(tmp_path: Path) -> None:
    async with working(tmp_path) as desk, bell(tmp_path) as rung:
        child = await desk.start()
        # At most some forty at a time, each with its own session, always new ones.
        hydra = "while :; do setsid sleep 0.2 & sleep 0.005; done"
        begun = await desk.begin("sh", "-c", f"trap '' TERM; echo up >{rung.path}; {hydra}")
        await rung.wait()
        desk.withdraw(begun.lease, "cancelled", kill_timeout_s=9.0)
        outcome = await desk.ended(begun.lease)
        assert (outcome.reason, outcome.alive) == ("cancelled", False)
        assert descendants(child.pid) == []
