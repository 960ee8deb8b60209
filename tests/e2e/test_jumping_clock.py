"""A machine whose wall clock is set back an hour, then forward a day, while a run is under way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.commands import banksman

# The command in a process whose wall clock is off by what the file `shift` says, from one look to
# the next. (libfaketime would do for every library, but breaks `clock_nanosleep`.)
_OFF = """
import sys, time
real = time.time
def shifted():
    with open("shift") as file:
        return real() + float(file.read())
time.time = shifted
time.time_ns = lambda: int(shifted() * 1e9)
from runtime.cli.app import main
main()
"""

_PLAN = """
[run]
name = "jumps"
[workers.local]
count = 2
heartbeat_s = 0.2
recovery_window_s = 0.4
[workstreams.w.tasks.works]
command = ["sh", "-c", "for n in 1 2; do echo up >bell; read word <go; sleep 1.5; done"]
timeout_s = 60
[workstreams.w.tasks.tries]
command = ["sh", "-c", "test -e once || { touch once; exit 1; }"]
max_retries = 1
backoff_s = 1.0
"""


def test_neither_heartbeats_nor_leases_nor_waits_go_wrong(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(_PLAN)
    (tmp_path / "shift").write_text("0")
    for name in ("bell", "go"):
        os.mkfifo(tmp_path / name)
    command = [sys.executable, "-c", _OFF, "run", "p.toml"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as run:
        for shift in ("-3600", "86400"):
            (tmp_path / "bell").read_text()  # returns once the task has rung
            (tmp_path / "next").write_text(shift)
            (tmp_path / "next").rename(tmp_path / "shift")  # never half a number
            (tmp_path / "go").write_text("on\n")  # it works on for some heartbeats
        said, _ = run.communicate(timeout=60)
    assert run.returncode == 0, said
    events = banksman("events", "--json", cwd=tmp_path).out.splitlines()
    assert not any("heartbeat_missed" in line or "worker_failed" in line for line in events)
    tasks = banksman("tasks", "--json", cwd=tmp_path).json
    assert {task["id"].rpartition("/")[2]: task["retry_count"] for task in tasks} == {
        "works": 0,
        "tries": 1,
    }
    assert banksman("verify", cwd=tmp_path).code == 0
