"""A supervisor that is killed and resumed, and what the evidence then has to show."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

BANKSMAN = (sys.executable, "-m", "runtime")
EVIDENCE = Path(__file__).with_name("evidence.py")


def write_plan(folder: Path, tasks: int, hold_s: float, slots: int) -> Path:
    """Five workstreams, two in a chain; in each, tasks that wait for the one four before."""
    lines = ['[run]\nname = "crash"\n', f"[workers.pool]\ncount = {slots}\n"]
    for stream in range(5):
        lines.append(f"[workstreams.w{stream}]")
        if stream == 4:
            lines.append('depends_on = ["w0"]')
        for number in range(tasks // 5):
            name = f"w{stream}t{number}"
            command = [sys.executable, "-I", "-S", str(EVIDENCE), str(folder), name, str(hold_s)]
            lines.append(f"[workstreams.w{stream}.tasks.{name}]")
            lines.append(f"command = {json.dumps(command)}")
            if number >= 4:
                lines.append(f'depends_on = ["w{stream}t{number - 4}"]')
    plan = folder / "plan.toml"
    plan.write_text("\n".join(lines))
    return plan


def start(folder: Path, *args: str, crash_at: str | None = None) -> subprocess.Popen[bytes]:
    """A `banksman` in a process group of its own, its output in `<folder>/said`."""
    environ = {k: v for k, v in os.environ.items() if k != "BANKSMAN_CRASH_AT"}
    if crash_at is not None:
        environ["BANKSMAN_CRASH_AT"] = crash_at
    with (folder / "said").open("ab") as said:
        return subprocess.Popen(
            [*BANKSMAN, *args, "--state-dir", str(folder / "state")],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=environ,
            start_new_session=True,
        )


def kill(process: subprocess.Popen[bytes], *, group: bool) -> None:
    """SIGKILL to the supervisor alone, or to its whole process group."""
    if group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def alive(folder: Path) -> list[int]:
    """Every process that some owner of this state directory started."""
    mark = f"BANKSMAN_STATE={folder / 'state'}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environ = (entry / "environ").read_bytes()
            except OSError:
                continue
            if mark in environ.split(b"\0"):
                found.append(int(entry.name))
    return found


def run_ids(folder: Path) -> list[str]:
    """The runs that are durable."""
    if not (folder / "state" / "banksman.db").exists():
        return []
    db = sqlite3.connect(f"file:{folder / 'state' / 'banksman.db'}?mode=ro", uri=True)
    try:
        return [row[0] for row in db.execute("SELECT id FROM runs")]
    except sqlite3.OperationalError:
        return []  # killed before its first migration
    finally:
        db.close()


def check(folder: Path, tasks: int) -> None:
    """All that has to hold once everything has ended."""
    db = sqlite3.connect(f"file:{folder / 'state' / 'banksman.db'}?mode=ro", uri=True)
    ended = db.execute(
        "SELECT entity_id, to_state, count(*) FROM state_transitions WHERE entity_type = 'task'"
        " AND from_state IS NOT to_state AND to_state IN ('completed', 'failed', 'cancelled')"
        " GROUP BY entity_id, to_state"
    ).fetchall()
    assert len(ended) == tasks
    assert {(state, times) for _, state, times in ended} == {("completed", 1)}
    db.close()
    evidence = [line.split() for line in (folder / "evidence").read_text().splitlines()]
    assert not [line for line in evidence if line[0] == "overlap"]
    starts = Counter(lease for what, lease, _, _ in evidence if what == "start")
    assert max(starts.values()) == 1, "a lease was executed twice"
    stops = Counter(task for what, _, task, _ in evidence if what == "stop")
    assert len(stops) == tasks
    assert alive(folder) == []
    proved = subprocess.run(
        [*BANKSMAN, "verify", "--state-dir", str(folder / "state")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert proved.returncode == 0, proved.stdout + proved.stderr
