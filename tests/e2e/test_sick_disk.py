"""The installed command on a disk that is full, fails, lies or cannot be written to.

Nothing acknowledged is lost, the word about it is clear and names the cure, and the work goes on
when it can.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import BANKSMAN, Going, banksman
from tests.e2e.crashing import start
from tests.runtime.disk_kit import SmallDisk, small_disk

__all__ = ["small_disk"]

# `a` ends when what has opened the pipe for writing closes it.
HELD = """
[run]
name = "sick"
[workstreams.w.tasks.a]
command = ["cat", "pipe"]
[workstreams.w.tasks.b]
command = ["true"]
depends_on = ["a"]
"""

CHAIN = """
[run]
name = "sick"
[workers.one]
count = 1
heartbeat_s = 0.2
[workstreams.w.tasks.a]
command = ["true"]
[workstreams.w.tasks.b]
command = ["true"]
depends_on = ["a"]
[workstreams.w.tasks.c]
command = ["true"]
depends_on = ["b"]
"""


def held(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "plan.toml").write_text(HELD)


def chain(folder: Path) -> None:
    (folder / "plan.toml").write_text(CHAIN)


def rows(state: Path, query: str) -> list[Any]:
    db = sqlite3.connect(f"file:{state / 'banksman.db'}?mode=ro", uri=True)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


@contextmanager
def pipe_open(folder: Path) -> Iterator[None]:
    """The command of `a` goes on meanwhile; returns once it has begun."""
    with (folder / "pipe").open("w"):
        yield


def end_whole(folder: Path) -> None:
    """What is unfinished ends well, and the record is whole."""
    assert banksman("resume", "--state-dir", "state", cwd=folder).code == 0
    assert set(rows(folder / "state", "SELECT state FROM tasks")) == {("completed",)}
    proof = banksman("verify", "--state-dir", "state", cwd=folder)
    assert proof.code == 0, proof.err


# --- full ---------------------------------------------------------------------------------------


def test_a_full_disk_is_named_and_the_work_goes_on_when_there_is_room(
    small_disk: SmallDisk,
) -> None:
    held(small_disk.root)
    with Going("run", "plan.toml", "--state-dir", "state", cwd=small_disk.root) as run:
        with pipe_open(small_disk.root):
            small_disk.fill()
        said = run.until("nothing moves:")
        assert "no space left; nothing is lost, free some space to go on" in said
        small_disk.free()
        assert run.end() == 0
    end_whole(small_disk.root)


def test_on_a_full_disk_a_second_ctrl_c_ends_it_within_seconds_and_the_work_is_resumed(
    small_disk: SmallDisk,
) -> None:
    held(small_disk.root)
    with Going("run", "plan.toml", "--state-dir", "state", cwd=small_disk.root) as run:
        with pipe_open(small_disk.root):
            small_disk.fill()
        run.until("nothing moves:")
        run.signal(signal.SIGINT)
        run.until("draining: it ends once the record can be written")
        run.signal(signal.SIGINT)
        run.until("killing what runs ... the record gets a few more tries")
        assert run.process.wait(40) == 4  # and not after the minute that a close may take
        assert run.end() == 4
    assert "it closed before its last epoch could be committed" in run.said
    assert "no space left" in run.lines[-1]
    small_disk.free()
    with Going("resume", "--state-dir", "state", cwd=small_disk.root) as resumed:
        with pipe_open(small_disk.root):
            pass
        assert resumed.end() == 0
    end_whole(small_disk.root)


def test_a_disk_that_cannot_be_written_to_is_refused_and_can_be_read(small_disk: SmallDisk) -> None:
    chain(small_disk.root)
    state = ("--state-dir", "state")
    assert banksman("run", "plan.toml", *state, cwd=small_disk.root).code == 0
    small_disk.remount("ro")
    for command in (("run", "plan.toml"), ("resume",)):
        refused = banksman(*command, *state, cwd=small_disk.root)
        assert (refused.code, "make it writable" in refused.err) == (4, True)
    for command in (("status",), ("verify",), ("events",)):
        assert banksman(*command, *state, cwd=small_disk.root).code == 0


# --- failing, slow --------------------------------------------------------------------------------


def run_under_injection(folder: Path, injection: str) -> subprocess.CompletedProcess[str]:
    """`banksman run` with strace between it and the kernel. Skips where that cannot be."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed: no error can be put between SQLite and the disk")
    trial = [strace, "-qq", "-e", "trace=none", "true"]
    if subprocess.run(trial, capture_output=True, check=False).returncode:
        pytest.skip("strace may trace nothing here")
    call = injection.partition(":")[0]
    inject = ("-e", f"trace={call}", "-e", f"inject={injection}")
    command = (BANKSMAN, "run", "plan.toml", "--state-dir", "state")
    return subprocess.run(
        [strace, "-f", "-qq", "-o", os.devnull, *inject, *command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("injection", "logged"),
    [
        ("pwrite64:error=EIO:when=110", "commit_unknown"),
        ("pwrite64:error=EIO:when=131", "commit_unknown"),
        ("pwrite64:error=ENOSPC:when=110", "not_committed"),
        ("fdatasync:error=EIO:when=14", "commit_unknown"),
    ],
)
def test_one_write_that_fails_is_looked_up_and_the_run_ends_well(
    tmp_path: Path, injection: str, logged: str
) -> None:
    chain(tmp_path)
    done = run_under_injection(tmp_path, injection)
    assert done.returncode == 0, done.stdout + done.stderr
    assert logged in (tmp_path / "state" / "banksman.log").read_text()
    end_whole(tmp_path)


def test_a_disk_on_which_every_write_fails_ends_the_owner_with_its_name_and_loses_nothing(
    tmp_path: Path,
) -> None:
    held(tmp_path)
    with Going("run", "plan.toml", "--state-dir", "state", cwd=tmp_path) as run:
        with pipe_open(tmp_path):
            resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (4_096, 4_096))
        assert run.end() == 4
    assert "banksman.db: " in run.lines[-1]
    assert "disk I/O error" in run.lines[-1]
    with Going("resume", "--state-dir", "state", cwd=tmp_path) as resumed:
        with pipe_open(tmp_path):
            pass
        assert resumed.end() == 0
    end_whole(tmp_path)


def test_a_disk_that_cannot_be_written_from_the_first_byte_is_named(tmp_path: Path) -> None:
    chain(tmp_path)
    done = run_under_injection(tmp_path, "pwrite64:error=EIO:when=3+")
    assert done.returncode == 4
    assert "disk I/O error; look at the disk" in done.stderr
    assert banksman("run", "plan.toml", "--state-dir", "state", cwd=tmp_path).code == 0
    end_whole(tmp_path)


@pytest.mark.slow
def test_a_slow_disk_makes_no_worker_unresponsive(tmp_path: Path) -> None:
    chain(tmp_path)
    done = run_under_injection(tmp_path, "fdatasync:delay_enter=300000")  # microseconds
    assert done.returncode == 0, done.stdout + done.stderr
    unresponsive = "SELECT 1 FROM state_transitions WHERE to_state = 'unresponsive'"
    assert rows(tmp_path / "state", unresponsive) == []
    end_whole(tmp_path)


# --- lying ----------------------------------------------------------------------------------------


def killed_in_the_middle(folder: Path) -> Path:
    """A run whose owner was killed; returns its state directory."""
    chain(folder)
    run = start(folder, "run", str(folder / "plan.toml"), crash_at="after_commit:5")
    assert run.wait(60) == -signal.SIGKILL
    return folder / "state"


@pytest.mark.parametrize("left", [0.0, 0.3, 0.6])
def test_a_write_ahead_log_cut_short_loses_what_it_held_loudly_and_the_work_is_done_again(
    tmp_path: Path, left: float
) -> None:
    state = killed_in_the_middle(tmp_path)
    wal = state / "banksman.db-wal"
    os.truncate(wal, int(wal.stat().st_size * left))
    events = (state / "transitions.jsonl").read_text().splitlines()
    resumed = banksman("resume", "--state-dir", "state", cwd=tmp_path)
    assert resumed.code == 0, resumed.err
    assert "what the database does not know of was moved to archive/" in resumed.out
    (kept,) = (state / "archive").glob("transitions-*.jsonl")
    lines = kept.read_text().splitlines()
    assert lines, "what was on record is still there to be read"
    assert lines == events[-len(lines) :]
    if not rows(state, "SELECT 1 FROM runs"):
        assert banksman("run", "plan.toml", "--state-dir", "state", cwd=tmp_path).code == 0
    end_whole(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-40],  # torn
        lambda text: text + b'{"seq": 1, "torn',
        lambda text: text[:-200] + b"\0" * 200,
        lambda _text: b"",
    ],
    ids=["cut short", "a torn line after", "zeros at the end", "emptied"],
)
def test_a_damaged_end_of_the_jsonl_is_made_whole_by_the_next_owner(
    tmp_path: Path, damage: Any
) -> None:
    state = killed_in_the_middle(tmp_path)
    jsonl = state / "transitions.jsonl"
    jsonl.write_bytes(damage(jsonl.read_bytes()))
    end_whole(tmp_path)


def test_a_database_of_a_newer_version_is_refused_by_everything_and_left_alone(
    tmp_path: Path,
) -> None:
    state = killed_in_the_middle(tmp_path)
    db = sqlite3.connect(state / "banksman.db")
    db.execute("INSERT INTO migrations VALUES (99, 'future', 'x', 0)")
    db.commit()
    db.close()
    before = (state / "banksman.db").read_bytes()
    for command in (("run", "plan.toml"), ("resume",), ("status",)):
        refused = banksman(*command, "--state-dir", "state", cwd=tmp_path)
        assert refused.code == 4
        assert "has schema 99" in refused.err
        assert "install the newer banksman" in refused.err
    assert (state / "banksman.db").read_bytes() == before


def test_a_page_that_was_overwritten_ends_the_owner_that_meets_it_and_names_the_cure(
    tmp_path: Path,
) -> None:
    chain(tmp_path)
    assert banksman("run", "plan.toml", "--state-dir", "state", cwd=tmp_path).code == 0
    with (tmp_path / "state" / "banksman.db").open("r+b") as file:
        file.seek(40_000)
        file.write(b"?" * 8_000)
    met = banksman("resume", "--state-dir", "state", cwd=tmp_path)
    assert (met.code, "is damaged" in met.err, "backup" in met.err) == (4, True, True), met.err
    assert banksman("verify", "--state-dir", "state", cwd=tmp_path).code == 6
