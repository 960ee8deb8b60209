"""Reaping: what a former owner left dies, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from runtime.work import Limits, Work
from runtime.work.child.proc import boot_id, look
from runtime.work.reap import Record
from tests.runtime.work_kit import PATIENCE_S, alive, gone

BOOT = boot_id()
SLEEP = ("sleep", "60")
# A child that carries no mark and left the session; its pid is the output.
FAMILY = ("sh", "-c", "env -i setsid sh -c 'echo $$; exec sleep 60' & wait")


class Strangers:
    """Starts processes that no executor of this test knows of; they end with the test."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.stack = ExitStack()

    def start(self, *command: str, mine: bool = False, **marks: str) -> int:
        """The pid; `mine` sets the mark of this state directory."""
        return self._start(command, {"BANKSMAN_STATE": str(self.state)} if mine else {}, marks).pid

    def family(self) -> tuple[int, int]:
        """The pids of a parent and of its daemon, which are both up."""
        process = self._start(FAMILY, {}, {})
        assert process.stdout is not None
        return process.pid, int(process.stdout.readline())

    def _start(
        self, command: tuple[str, ...], state: dict[str, str], marks: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], **state, **marks},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.stack.enter_context(process)
        self.stack.callback(process.kill)
        return process


@pytest.fixture
def strangers(tmp_path: Path) -> Iterator[Strangers]:
    found = Strangers(tmp_path / "state")
    with found.stack:
        yield found


def ticks(pid: int) -> int:
    found = look(pid)
    assert found is not None
    return found.ticks


def worker(pid: int, **more: object) -> Record:
    return Record(**{"boot_id": BOOT, "pid": pid, "start_ticks": ticks(pid), **more})  # type: ignore[arg-type]  # fields by name


def command(pid: int, lease: str = "1.1", **more: object) -> Record:
    fields = {"boot_id": BOOT, "child_pid": pid, "child_pgid": pid, "child_ticks": ticks(pid)}
    return Record(lease=lease, **{**fields, **more})  # type: ignore[arg-type]  # fields by name


async def reap(tmp_path: Path, *records: Record, kill_timeout_s: float = 10.0) -> list[str]:
    state = tmp_path / "state"
    work = Work(state, state / "output", limits=Limits(kill_timeout_s=kill_timeout_s))
    return await work.reap(records)


async def test_where_nothing_was_left_there_is_nothing_to_note(tmp_path: Path) -> None:
    assert await reap(tmp_path) == []


async def test_a_recorded_command_is_killed_and_noted(tmp_path: Path, strangers: Strangers) -> None:
    pid = strangers.start(*SLEEP)
    notes = await reap(tmp_path, command(pid))
    assert not alive(pid)
    assert notes == [f"killed what lease 1.1 had left: process {pid}"]


async def test_a_recorded_worker_is_killed_with_a_daemon_that_carries_no_mark(
    tmp_path: Path, strangers: Strangers
) -> None:
    parent, daemon = strangers.family()
    notes = await reap(tmp_path, worker(parent, lease="1.1"))
    assert not alive(parent)
    assert not alive(daemon)
    assert notes[0].startswith("killed what lease 1.1 had left: processes ")


async def test_a_stopped_worker_is_killed_with_what_it_ran(
    tmp_path: Path, strangers: Strangers
) -> None:
    parent, daemon = strangers.family()
    os.kill(parent, signal.SIGSTOP)
    await reap(tmp_path, worker(parent))
    assert not alive(parent)
    assert not alive(daemon)


async def test_a_recorded_command_is_killed_with_a_daemon_that_carries_no_mark(
    tmp_path: Path, strangers: Strangers
) -> None:
    parent, daemon = strangers.family()
    await reap(tmp_path, command(parent))
    assert not alive(parent)
    assert not alive(daemon)


async def test_the_rest_of_a_recorded_commands_session_is_killed(
    tmp_path: Path, strangers: Strangers
) -> None:
    script = "sh -c 'sleep 60 & echo $!'; kill -STOP $$"  # sleep has lost its parent
    process = strangers._start(("sh", "-c", script), {}, {})
    assert process.stdout is not None
    orphan = int(process.stdout.readline())
    await reap(tmp_path, command(process.pid))
    assert not alive(process.pid)
    assert not alive(orphan)


async def test_whatever_carries_the_mark_of_this_state_directory_is_killed(
    tmp_path: Path, strangers: Strangers
) -> None:
    pid = strangers.start(*SLEEP, mine=True, BANKSMAN_GATE="night-1/gate:unit~1")
    assert await reap(tmp_path) == [f"killed what a former owner had left: process {pid}"]
    assert not alive(pid)


async def test_what_carries_the_mark_of_a_recorded_lease_is_noted_with_it(
    tmp_path: Path, strangers: Strangers
) -> None:
    pid = strangers.start(*SLEEP, mine=True, BANKSMAN_LEASE="7.3")
    notes = await reap(tmp_path, Record(boot_id=BOOT, lease="7.3"))
    assert notes == [f"killed what lease 7.3 had left: process {pid}"]


async def test_a_process_that_only_has_the_pid_is_left_alone(
    tmp_path: Path, strangers: Strangers
) -> None:
    pid = strangers.start(*SLEEP)
    assert await reap(tmp_path, command(pid, child_ticks=ticks(pid) - 1)) == []
    assert await reap(tmp_path, worker(pid, start_ticks=ticks(pid) - 1)) == []
    assert alive(pid)


async def test_a_process_of_another_boot_is_left_alone(
    tmp_path: Path, strangers: Strangers
) -> None:
    pid = strangers.start(*SLEEP)
    assert await reap(tmp_path, worker(pid, boot_id="another"), command(pid, boot_id="old")) == []
    assert alive(pid)


async def test_work_of_another_state_directory_is_left_alone(
    tmp_path: Path, strangers: Strangers
) -> None:
    pid = strangers.start(*SLEEP, BANKSMAN_STATE=f"{tmp_path}/state2", BANKSMAN_LEASE="1.1")
    assert await reap(tmp_path, Record(boot_id=BOOT, lease="1.1")) == []
    assert alive(pid)


async def test_a_lease_of_the_same_name_without_the_directorys_mark_is_left_alone(
    tmp_path: Path, strangers: Strangers
) -> None:
    pid = strangers.start(*SLEEP, BANKSMAN_LEASE="1.1")
    assert await reap(tmp_path, Record(boot_id=BOOT, lease="1.1")) == []
    assert alive(pid)


async def test_what_does_not_die_in_time_is_noted_and_its_lease_is_undead(
    tmp_path: Path, strangers: Strangers
) -> None:
    pid = strangers.start(*SLEEP)
    state = tmp_path / "state"
    work = Work(state, state / "output", limits=Limits(kill_timeout_s=0.0))  # no time at all
    notes = await work.reap([command(pid)])
    assert notes == [f"survived KILL, of lease 1.1: process {pid}"]
    assert work.undead == {"1.1"}
    assert gone(pid)


OWNER = """
import os, sys, anyio
from pathlib import Path
from runtime.work import Work

state = Path(sys.argv[1])
print(anyio.run(Work(state, state / "output").reap, []))
"""


def test_an_owner_that_was_started_from_within_a_task_does_not_kill_itself(
    tmp_path: Path,
) -> None:
    marked = {**os.environ, "BANKSMAN_STATE": str(tmp_path / "state")}
    script = ["sh", "-c", '"$@"; :', "sh", sys.executable, "-c", OWNER, str(tmp_path / "state")]
    done = subprocess.run(
        script, env=marked, timeout=PATIENCE_S, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
