"""How far running tasks say they have come: the last line that each printed, or told its owner."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from runtime.view import rows
from runtime.view.printed import last_line, output_path

LINE_MAX = 200


class Said(msgspec.Struct, frozen=True):
    """The last word of a running task, as it came: whoever shows it makes it safe. `at`: when it
    was printed; None where it was told, which leaves no trace."""

    text: str
    at: float | None = None


class AtWork(msgspec.Struct, frozen=True):
    """A task that runs now."""

    id: str
    since: float | None
    worker_id: str | None
    said: Said | None


def last_word(
    state_dir: Path, task_id: str, attempt: int, lease: str | None, told: Mapping[str, str]
) -> Said | None:
    """What it printed is newer than what a heartbeat told of it, and is there without an owner;
    what a callable tells is in the owner's memory alone."""
    path = output_path(state_dir, task_id, attempt)
    if line := last_line(path, LINE_MAX):
        try:
            return Said(line, path.stat().st_mtime)
        except OSError:
            return Said(line)
    line = told.get(lease or "", "")
    return Said(line) if line else None


def at_work(
    db: sqlite3.Connection, state_dir: Path, run_ids: Sequence[str], told: Mapping[str, str]
) -> list[AtWork]:
    """The running tasks of these runs, those that began first first: as many as there are slots."""
    found = rows.tasks(db, run_ids, ["running"]) if run_ids else ()
    working = [
        AtWork(
            task.id,
            task.started_at,
            task.worker_id,
            last_word(state_dir, task.id, task.attempt, task.lease, told),
        )
        for task in found
    ]
    return sorted(working, key=lambda each: each.since or 0.0)


def told_by(
    db: sqlite3.Connection, run_ids: Sequence[str], told: Mapping[str, str]
) -> dict[str, str]:
    """What is told by lease, by the task that has the lease."""
    if not told or not run_ids:
        return {}
    working = rows.tasks(db, run_ids, ["running"])
    return {task.id: told[task.lease] for task in working if task.lease and task.lease in told}
