"""The last words of a run: what became of it, where its record lies, what to type next."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from runtime.cli.calling import Call
from runtime.cli.exits import ENDS, Exit
from runtime.cli.explaining import why_lines
from runtime.cli.foreground import Outcome
from runtime.cli.place import at, connected
from runtime.cli.reporting import report_lines
from runtime.cli.text import clean, one_line, paint
from runtime.store.layout import Layout
from runtime.view import why_task
from runtime.view.printed import output_path, tail
from runtime.view.report import Report, report, root_failure, root_gate
from runtime.view.rows import GateRow, TaskRow
from runtime.view.standing import standing, trouble
from runtime.view.why import why

_TAIL_LINES = 20
# Of several runs the worst is told, the one that wants a person before one that was given up.
_WORST = (Exit.FAILED, Exit.WAITS, Exit.CANCELLED, Exit.OK)


def exit_of(outcome: Outcome) -> Exit:
    """The exit code of a command that carried these runs."""
    if outcome.interrupted:
        return Exit.INTERRUPTED
    found = {ENDS[state] for state in outcome.states.values() if state}
    if outcome.waiting:
        found.add(Exit.WAITS)
    return next((code for code in _WORST if code in found), Exit.OK)


def conclude(call: Call, state_dir: Path, outcome: Outcome) -> Exit:
    """Shows the end of every run that was carried. Returns the exit code."""
    code = exit_of(outcome)
    with closing(connected(state_dir)) as db:
        if call.as_json:
            call.emit(_as_json(db, state_dir, outcome, code))
            return code
        for run_id in outcome.states:
            for line in _run_lines(db, state_dir, run_id, outcome):
                print(line)
        if not outcome.states:
            print("nothing is unfinished here")
        for line in _ending(db, state_dir, outcome):
            print(line)
    return code


def _run_lines(
    db: sqlite3.Connection, state_dir: Path, run_id: str, outcome: Outcome
) -> Iterator[str]:
    now = time.time()
    found = report(db, run_id, now)
    yield ""
    yield from report_lines(found, short=not outcome.states[run_id])
    if run_id in outcome.waiting:
        yield ""
        yield from why_lines(why(db, "run", run_id, now), now, at(state_dir))
    elif found.run.state == "failed":
        yield from _failure(db, state_dir, found)


def _failure(db: sqlite3.Connection, state_dir: Path, found: Report) -> Iterator[str]:
    root = root_gate(db, found.run) or root_failure(db, found.run.id)
    if root is None:
        return
    text = _last_output(db, state_dir, root)
    yield ""
    yield f"{paint('failed', 'red')}  {root.id}" + (f"  ({root.reason})" if root.reason else "")
    if root.reason in why_task.IN_WORDS:
        entered = standing(db, "task", root.id)
        met = entered and trouble(db, entered)
        yield f"  {why_task.IN_WORDS[root.reason]}" + (f": {one_line(met)}" if met else "")
    if text:
        yield paint(f"its last {_TAIL_LINES} lines of output", "dim")
        yield from (f"  {line}" for line in clean(text).splitlines())
    else:
        yield paint("it printed nothing", "dim")
    yield ""
    here = at(state_dir)
    yield f"next: banksman logs {root.id}{here}"
    yield f"      banksman retry {found.run.id}{here} makes a new run of what is not completed"


def _last_output(db: sqlite3.Connection, state_dir: Path, root: TaskRow | GateRow) -> str:
    entered = standing(db, "task" if isinstance(root, TaskRow) else "test_gate", root.id)
    value = entered.value if entered is not None else {}
    attempt = value.get("tries") or value.get("attempt", 1)  # of a gate, of a task
    try:
        data = tail(output_path(state_dir, root.id, attempt), _TAIL_LINES)
    except OSError:
        return ""
    return data.decode(errors="replace").rstrip()


def _ending(db: sqlite3.Connection, state_dir: Path, outcome: Outcome) -> Iterator[str]:
    here = at(state_dir)
    yield ""
    for name, says in _files(state_dir).items():
        yield f"{paint(name.ljust(8), 'dim')} {says}"
    for run in list(outcome.states)[:1]:
        yield f"{paint('look'.ljust(8), 'dim')} banksman report {run}{here}"
        yield f"{' ' * 8} banksman verify{here}"
    others = db.execute("SELECT count(*) FROM runs WHERE completed_at IS NULL").fetchone()[0]
    if outcome.interrupted:
        yield f"interrupted; `banksman resume{here}` goes on where it stopped"
    elif others > len(outcome.waiting):
        yield f"{others} unfinished here; `banksman resume{here}` goes on"


def _files(state_dir: Path) -> dict[str, str]:
    layout = Layout(state_dir)
    return {
        "database": str(layout.db),
        "events": str(layout.jsonl),
        "output": str(layout.output),
    }


def _as_json(
    db: sqlite3.Connection, state_dir: Path, outcome: Outcome, code: Exit
) -> dict[str, Any]:
    now = time.time()
    runs = []
    for run_id, state in outcome.states.items():
        found = report(db, run_id, now)
        failed = state == "failed"
        task = root_failure(db, run_id) if failed else None
        gate = root_gate(db, found.run) if failed else None
        root = gate or task
        runs.append(
            {
                "run_id": run_id,
                "state": found.run.state,
                "report": msgspec.to_builtins(found),
                "failed_task": task,
                "failed_gate": gate,
                "output_tail": _last_output(db, state_dir, root) if root is not None else None,
                "why": why(db, "run", run_id, now) if run_id in outcome.waiting else None,
            }
        )
    return {
        "exit": int(code),
        "interrupted": outcome.interrupted,
        "state_dir": str(state_dir),
        "files": _files(state_dir),
        "runs": runs,
    }
