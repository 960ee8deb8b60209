"""The supervisor dies, in the middle of anything, and what was promised holds."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from runtime.crash import POINTS
from tests.e2e.crashing import alive, check, kill, run_ids, start, write_plan

SEED = 20261122


def wait_for(folder: Path, process: subprocess.Popen[bytes], *, starts: int) -> None:
    """Until so many commands have begun; the supervisor must live that long."""
    evidence = folder / "evidence"
    while not evidence.exists() or evidence.read_text().count("start") < starts:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.02)


def end(folder: Path) -> None:
    """Resumes until it ends by itself."""
    process = start(folder, "resume")
    assert process.wait(timeout=90) == 0, (folder / "said").read_text()[-3000:]


@pytest.mark.timeout(240)
def test_a_run_of_200_commands_survives_20_kills_at_random_moments(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    plan = write_plan(tmp_path, 200, 0.15, 4)
    known: set[str] = set()
    for number in range(20):
        first = not known
        process = start(tmp_path, *(("run", str(plan)) if first else ("resume",)))
        try:
            process.wait(timeout=0.3 + chance.random() * 1.2)
        except subprocess.TimeoutExpired:
            kill(process, group=number % 2 == 1)
        assert known <= set(run_ids(tmp_path)), "an acknowledged submission is gone"
        known = set(run_ids(tmp_path))
    end(tmp_path)
    assert len(known) == 1
    check(tmp_path, 200)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [1, 2, 3, 5, 9, 17])
def test_a_crash_at_any_boundary_of_an_epoch_loses_and_repeats_nothing(
    tmp_path: Path, point: str, nth: int
) -> None:
    plan = write_plan(tmp_path, 10, 0.01, 2)
    process = start(tmp_path, "run", str(plan), crash_at=f"{point}:{nth}")
    assert process.wait(timeout=60) == -signal.SIGKILL, (tmp_path / "said").read_text()
    if run_ids(tmp_path):
        end(tmp_path)
    else:
        again = start(tmp_path, "run", str(plan))
        assert again.wait(timeout=60) == 0, (tmp_path / "said").read_text()
    check(tmp_path, 10)


def test_a_crash_during_the_recovery_from_a_crash_is_recovered_from(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, 20, 0.05, 2)
    process = start(tmp_path, "run", str(plan), crash_at="after_commit:12")
    assert process.wait(timeout=60) == -signal.SIGKILL
    for nth in (1, 2, 3, 4):
        again = start(tmp_path, "resume", crash_at=f"before_commit:{nth}")
        assert again.wait(timeout=60) == -signal.SIGKILL
    end(tmp_path)
    check(tmp_path, 20)


def test_a_command_without_an_owner_ends_what_the_last_one_left(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, 10, 30.0, 2)
    process = start(tmp_path, "run", str(plan))
    wait_for(tmp_path, process, starts=2)
    frozen = alive(tmp_path)
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)  # so that nothing of it can see the supervisor's end
    kill(process, group=True)
    assert alive(tmp_path)
    paused = start(tmp_path, "pause", run_ids(tmp_path)[0])
    assert paused.wait(timeout=60) == 0, (tmp_path / "said").read_text()
    assert alive(tmp_path) == []


def test_nothing_lives_on_when_the_supervisor_is_killed_alone(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, 10, 30.0, 2)
    process = start(tmp_path, "run", str(plan))
    wait_for(tmp_path, process, starts=2)
    kill(process, group=False)
    for _ in range(2000):
        if not alive(tmp_path):
            return
        subprocess.run(["true"], check=True)
    pytest.fail(f"still alive: {alive(tmp_path)}")
