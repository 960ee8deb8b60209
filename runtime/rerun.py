"""`retry RUN`: a new run of the same plan that reuses what is COMPLETED already."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from actors import spec
from runtime.store.read import connect


def rest_of(plan: spec.Plan, done: frozenset[tuple[str, str]], over: frozenset[str]) -> spec.Plan:
    """The plan without the tasks in `done` (workstream, name) and with the workstreams in `over`
    skipped, which counts as done.

    A workstream whose tasks are all done, though it is not over itself (its own gates failed, say),
    is done anew as a whole: a validation needs something to validate.
    """
    streams = {}
    for name, stream in plan.workstreams.items():
        if name in over:
            streams[name] = msgspec.structs.replace(stream, skip=True)
            continue
        left = {t: task for t, task in stream.tasks.items() if (name, t) not in done}
        streams[name] = msgspec.structs.replace(stream, tasks=left or stream.tasks)
    kept = {(name, t) for name, stream in streams.items() for t in stream.tasks}
    return msgspec.structs.replace(
        plan, workstreams={name: _without(name, s, kept) for name, s in streams.items()}
    )


def _without(name: str, stream: spec.Workstream, kept: set[tuple[str, str]]) -> spec.Workstream:
    tasks = {}
    for task_name, task in stream.tasks.items():
        wanted = tuple(d for d in task.depends_on if _place(name, d) in kept)
        tasks[task_name] = msgspec.structs.replace(task, depends_on=wanted)
    return msgspec.structs.replace(stream, tasks=tasks)


def _place(stream: str, dependency: str) -> tuple[str, str]:
    head, slash, tail = dependency.rpartition("/")
    return (head, tail) if slash else (stream, dependency)


def completed_of(db_path: Path, run_id: str) -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    """The (workstream, task) that completed, at whichever try; the workstreams that are done.

    One that completed although a task of it was cancelled, or failed uncritically, is not done.
    """
    db: sqlite3.Connection = connect(db_path)
    try:
        found = db.execute("SELECT id, state = 'completed' FROM tasks WHERE run_id = ?", (run_id,))
        tasks = [(_names(task_id), completed) for task_id, completed in found]
        done = frozenset(names for names, completed in tasks if completed)
        left = {names[0] for names, _ in tasks if names not in done}
        streams = db.execute(
            "SELECT id FROM workstreams WHERE run_id = ? AND state = 'completed'", (run_id,)
        )
        return done, frozenset(row[0].rpartition("/")[2] for row in streams) - left
    finally:
        db.close()


def _names(task_id: str) -> tuple[str, str]:
    _, stream, name = task_id.split("/")
    return stream, name.partition("~")[0]
