"""Tools under owners that are killed: real processes, real time, the installed command."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.crashing import kill, start

MOODY = 'printf . >> calls; [ "$(wc -c < calls)" -gt "$0" ] || exit 70'


def plan(folder: Path, failures: int, cooldown_s: float, *, tasks: int = 4) -> Path:
    command = json.dumps(["sh", "-c", MOODY, str(failures)])
    lines = [
        '[run]\nname = "moody"\n[workers.p]\ncount = 1',
        f"[tools.t]\ncommand = {command}\nconcurrency = 1",
        f"breaker = {{ failure_threshold = 2, cooldown_s = {cooldown_s}, jitter = 0 }}",
    ]
    task = 'tool = "t"\nmax_retries = 3\nbackoff_s = 0.05'
    lines += [f"[workstreams.w.tasks.t{n}]\n{task}" for n in range(tasks)]
    path = folder / "plan.toml"
    path.write_text("\n".join(lines))
    return path


def rows(folder: Path, query: str) -> list[Any]:
    uri = f"file:{folder / 'state/banksman.db'}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as db:
        return db.execute(query).fetchall()


def wait_for(folder: Path, process: subprocess.Popen[bytes], query: str, wanted: list[Any]) -> None:
    """Returns once the store answers so; the process that writes it must be alive until then."""
    found: list[Any] = []
    for _ in range(1_500):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.02)
        try:
            found = rows(folder, query)
        except sqlite3.Error:
            continue  # not there yet
        if found == wanted:
            return
    pytest.fail(f"{query}: {found}, wanted {wanted}")


def test_an_open_breaker_is_open_after_kill_9_with_what_was_left_of_its_cooldown(
    tmp_path: Path,
) -> None:
    path = plan(tmp_path, failures=9, cooldown_s=500.0)
    state = "SELECT state FROM circuit_breakers"
    first = start(tmp_path, "run", str(path))
    wait_for(tmp_path, first, state, [("open",)])
    wait_for(tmp_path, first, "SELECT count(*) FROM tasks WHERE state = 'queued'", [(4,)])
    kill(first, group=False)
    kept = "SELECT timers, json_extract(value, '$.due') FROM circuit_breakers"
    before = rows(tmp_path, kept)
    epoch = "SELECT value FROM meta WHERE key = 'owner_epoch'"
    (owner,) = rows(tmp_path, epoch)
    second = start(tmp_path, "resume")
    wait_for(tmp_path, second, epoch, [(str(int(owner[0]) + 1),)])
    wait_for(tmp_path, second, "SELECT count(*) FROM workers WHERE state = 'idle'", [(1,)])
    try:
        assert rows(tmp_path, state) == [("open",)]
        assert rows(tmp_path, kept) == before
        assert rows(tmp_path, "SELECT count(*) FROM tasks WHERE state = 'queued'") == [(4,)]
    finally:
        kill(second, group=True)


@pytest.mark.parametrize("point", ["before_commit", "in_commit", "after_commit", "after_effects"])
def test_wherever_its_owners_are_killed_no_probe_no_ticket_and_no_slot_is_lost(
    tmp_path: Path, point: str
) -> None:
    path = plan(tmp_path, failures=3, cooldown_s=0.2)
    ended = start(tmp_path, "run", str(path), crash_at=f"{point}:9").wait(60)
    for nth in (4, 9, 13, 18, 27):
        if ended != -signal.SIGKILL:
            break
        ended = start(tmp_path, "resume", crash_at=f"{point}:{nth}").wait(60)
    if ended == -signal.SIGKILL:
        ended = start(tmp_path, "resume").wait(60)
    assert ended == 0, (tmp_path / "said").read_text()
    assert rows(tmp_path, "SELECT DISTINCT state FROM tasks") == [("completed",)]
    left = "SELECT count(*) FROM tasks WHERE value LIKE '%offered%' OR value LIKE '%admitted%'"
    assert rows(tmp_path, left) == [(0,)]
    ((state, value),) = rows(tmp_path, "SELECT state, value FROM circuit_breakers")
    assert state == "closed"
    assert "probe" not in json.loads(value)
    assert start(tmp_path, "verify").wait(60) == 0
