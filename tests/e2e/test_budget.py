"""A run that uses up its budget, at the installed command and over kills of its owner."""

from __future__ import annotations

import json
import signal
import sqlite3
from pathlib import Path
from typing import Any

from runtime.crash import POINTS
from tests.e2e.commands import banksman
from tests.e2e.crashing import start


def write_chain(folder: Path, length: int, budget: str) -> Path:
    """A chain of commands that succeed, in a run with this budget."""
    lines = ["[run]", 'name = "chain"', f"budget = {budget}", "[workers.pool]", "count = 1"]
    for n in range(length):
        lines += [f"[workstreams.w.tasks.t{n}]", 'command = ["true"]']
        lines += [f'depends_on = ["t{n - 1}"]'] if n else []
    plan = folder / "plan.toml"
    plan.write_text("\n".join(lines))
    return plan


def rows(folder: Path, query: str) -> list[Any]:
    db = sqlite3.connect(f"file:{folder / 'state' / 'banksman.db'}?mode=ro", uri=True)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def test_a_run_over_its_budget_waits_for_a_person_who_grants_it_again(tmp_path: Path) -> None:
    write_chain(tmp_path, 3, "{ attempts = 2 }")
    run = banksman("run", "plan.toml", "--state-dir", "state", cwd=tmp_path)
    assert run.code == 7, run.out + run.err
    assert rows(tmp_path, "SELECT state FROM tasks ORDER BY n") == [
        ("completed",),
        ("completed",),
        ("queued",),
    ]
    why = banksman("why", "chain", "--state-dir", "state", cwd=tmp_path)
    assert "its budget of 2 attempts is used up" in why.out
    ((run_id,),) = rows(tmp_path, "SELECT id FROM runs")
    resumed = banksman(
        "resume", run_id, "--reason", "worth it", "--state-dir", "state", cwd=tmp_path
    )
    assert resumed.code == 0, resumed.out + resumed.err
    said = rows(
        tmp_path,
        "SELECT trigger, operator IS NOT NULL FROM state_transitions"
        " WHERE entity_type = 'run' ORDER BY seq",
    )
    assert said == [
        ("created", 0),
        ("run_started", 0),
        ("run_paused", 0),
        ("run_budget_exhausted", 0),
        ("run_resumed", 1),
        ("run_budget_granted", 1),
        ("run_completed", 0),
    ]


def test_what_a_run_has_spent_is_exact_over_a_kill_at_every_boundary(tmp_path: Path) -> None:
    plan = write_chain(tmp_path, 8, "{ attempts = 1000 }")
    first = start(tmp_path, "run", str(plan), crash_at="after_effects:7")
    assert first.wait(60) == -signal.SIGKILL
    for nth, point in enumerate(POINTS, 3):
        assert start(tmp_path, "resume", crash_at=f"{point}:{nth}").wait(60) == -signal.SIGKILL
    assert start(tmp_path, "resume").wait(60) == 0, (tmp_path / "said").read_text()
    ends = rows(
        tmp_path,
        "SELECT trigger, metadata FROM state_transitions"
        " WHERE entity_type = 'task' AND from_state = 'running' AND to_state <> 'running'",
    )
    done = [json.loads(metadata) for trigger, metadata in ends if trigger == "execution_complete"]
    assert len(done) == 8
    ((value,),) = rows(tmp_path, "SELECT value FROM runs")
    spent = json.loads(value)
    assert spent["attempts_spent"] == 8
    seconds = sum(round(one["duration_seconds"], 6) for one in done)
    assert round(spent["seconds_spent"], 5) == round(seconds, 5)
