"""status, tasks, workers, gates: what is, from the database, beside whoever owns it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from msgspec import structs

from runtime.cli.calling import Call, entity, shared
from runtime.cli.exits import Exit, Stop
from runtime.cli.guarding import guard_lines
from runtime.cli.progress import at_work_lines, in_words, told
from runtime.cli.text import brief, columns, counted, instant, length, paint, state
from runtime.control.client import Client, NoOwner, OwnerLost
from runtime.store.layout import Layout
from runtime.store.lock import holder, is_owned
from runtime.view import rows
from runtime.view.guards import Guards, guards
from runtime.view.rows import Counts, GateRow, RunRow, TaskRow, WorkerRow, WorkstreamRow
from runtime.view.said import AtWork, Said, at_work, last_word

_DONE = {"completed", "skipped"}
_ORDER = ("running", "validating", "retrying", "queued", "blocked", "paused", "failed", "cancelled")


@click.command("status")
@click.argument("run", required=False)
@click.option("--limit", type=int, default=20, help="So many runs at most; default 20.")
@shared
def status_command(call: Call, run: str | None, limit: int) -> None:
    """Show the runs, newest first, and who owns the directory; or one RUN with its workstreams."""
    owner = owner_of(call.state_dir)
    with call.reading() as db:
        if run is None:
            found = rows.runs(db, limit=limit)
            unfinished = [r.id for r in found if r.completed_at is None]
            kept = guards(db, unfinished) if unfinished else Guards()
            working = at_work(db, call.state_dir, unfinished, told(call.state_dir, owner))
            value: dict[str, Any] = {
                "state_dir": str(call.state_dir),
                "owner": owner,
                "runs": found,
                "guards": kept,
                "at_work": working,
            }
            call.show(value, lambda: _all_runs(call.state_dir, owner, found, kept, working))
            return
        run_id = entity(db, run, "run").id
        one = rows.runs(db, [run_id])[0]
        streams = rows.workstreams(db, run_id)
        gates = rows.gates(db, [run_id])
        open_ids = [run_id] if one.completed_at is None else []
        kept = guards(db, open_ids) if open_ids else Guards()
        working = at_work(db, call.state_dir, open_ids, told(call.state_dir, owner))
    value = {
        "state_dir": str(call.state_dir),
        "owner": owner,
        "guards": kept,
        "run": one,
        "workstreams": streams,
        "gates": gates,
        "at_work": working,
    }
    call.show(value, lambda: _one_run(owner, one, streams, gates, kept, working))


@click.command("tasks")
@click.argument("run", required=False)
@click.option("--all", "every", is_flag=True, help="Of every run.")
@click.option("--state", "states", multiple=True, help="Only in this state; may be repeated.")
@shared
def tasks_command(call: Call, run: str | None, every: bool, states: tuple[str, ...]) -> None:
    """List the tasks of RUN; without it, of the unfinished runs, else of the newest."""
    wanted = _task_states(states)
    with call.reading() as db:
        run_ids = _run_ids(db, run, every)
        now, heard = time.time(), told(call.state_dir, owner_of(call.state_dir))

        def last_said(task: TaskRow) -> Said | None:
            where = (call.state_dir, task.id, task.attempt, task.lease)
            return last_word(*where, heard) if task.state == "running" else None

        found = rows.tasks(db, run_ids, wanted)
        if call.as_json:
            call.emit_list({**structs.asdict(t), "said": last_said(t)} for t in found)
            return
        for line in _heading(run_ids):
            print(line)
        cut = _prefix(run_ids)
        head = ("task", "state", "try", "exit", "took", "worker", "reason")
        for line in columns(head, (_task_cells(t, now, cut, last_said(t)) for t in found)):
            print(line)


@click.command("workers")
@click.option("--all", "every", is_flag=True, help="Those that were shut down too.")
@shared
def workers_command(call: Call, every: bool) -> None:
    """List the worker slots, their processes and what they execute."""
    with call.reading() as db:
        found = rows.workers(db, ended=every)
    now = time.time()
    head = ("worker", "state", "for", "kind", "pid", "task", "reason")
    call.show(found, lambda: columns(head, (_worker_cells(w, now) for w in found)))


@click.command("gates")
@click.argument("run", required=False)
@click.option("--all", "every", is_flag=True, help="Of every run.")
@shared
def gates_command(call: Call, run: str | None, every: bool) -> None:
    """List the test gates of RUN; without it, of the unfinished runs, else of the newest."""
    with call.reading() as db:
        run_ids = _run_ids(db, run, every)
        found = rows.gates(db, run_ids)

    def lines() -> Iterator[str]:
        yield from _heading(run_ids)
        yield from _gate_lines(found, _prefix(run_ids))

    call.show(found, lines)


def owner_of(state_dir: Path) -> dict[str, Any] | None:
    """Who owns the directory, as it says itself; None where nobody answers."""
    try:
        with Client(state_dir, timeout_s=2.0) as client:
            told: dict[str, Any] = client.ask("hello")
            return told
    except NoOwner:
        # One that has just begun, or ends just now, holds the lock without a socket.
        layout = Layout(state_dir)
        if not is_owned(layout):
            return None
        return {"role": "silent", "why": "has no control socket", **holder(layout.lock)}
    except OwnerLost as lost:
        return {"role": "silent", "why": lost.why, **holder(Layout(state_dir).lock)}


def progress(counts: Counts) -> str:
    """12/40 done, 2 running, 1 failed."""
    if not counts.total:
        return "-"
    done = sum(n for name, n in counts.by_state.items() if name in _DONE)
    parts = [f"{done}/{counts.total} done"]
    parts += [f"{counts.by_state[name]} {name}" for name in _ORDER if counts.by_state.get(name)]
    return ", ".join(parts)


def _all_runs(
    state_dir: Path,
    owner: dict[str, Any] | None,
    found: list[RunRow],
    kept: Guards,
    working: list[AtWork],
) -> Iterable[str]:
    yield f"{paint('state', 'dim')}  {state_dir}"
    unfinished = any(r.completed_at is None for r in found)
    yield f"{paint('owner', 'dim')}  {_owner_line(owner, unfinished)}"
    if not found:
        yield "no run yet; `banksman run PLAN` makes one"
        return
    now = time.time()
    yield from (paint(line, "yellow") for line in guard_lines(kept, now))
    yield ""
    yield from columns(
        ("run", "state", "began", "took", "tasks", "reason"),
        (
            (
                r.id,
                r.state,
                instant(r.created_at),
                _took(r, now),
                progress(r.tasks),
                brief(r.reason, r.id + "/"),
            )
            for r in found
        ),
    )
    if working:
        yield ""
        yield from at_work_lines(working, "", now)


def _owner_line(owner: dict[str, Any] | None, unfinished: bool) -> str:
    if owner is None:
        return "nobody" + (
            "; `banksman resume` goes on with what is unfinished" if unfinished else ""
        )
    if owner["role"] == "silent":
        return f"pid {owner.get('pid', '?')} ({owner.get('command', '?')}) {owner['why']}"
    return (
        f"pid {owner['pid']} ({owner['command']}), epoch {owner['epoch']},"
        f" durability {owner['durability']}, since {instant(owner['since'])}"
    )


def _one_run(
    owner: dict[str, Any] | None,
    run: RunRow,
    streams: list[WorkstreamRow],
    gates: list[GateRow],
    kept: Guards,
    working: list[AtWork],
) -> Iterable[str]:
    now = time.time()
    yield f"{paint(run.id, 'bold')}  {state(run.state)}  {progress(run.tasks)}  {_took(run, now)}"
    if run.reason:
        yield f"{paint('reason', 'dim')}  {brief(run.reason, run.id + '/')}"
    yield f"{paint('owner', 'dim')}  {_owner_line(owner, run.completed_at is None)}"
    yield from (paint(line, "yellow") for line in guard_lines(kept, now))
    yield ""
    yield from columns(
        ("workstream", "state", "took", "tasks", "after", "reason"),
        (
            (
                w.name + ("" if w.critical else " (not critical)"),
                w.state,
                _took(w, now),
                progress(w.tasks),
                ", ".join(w.depends_on) or "-",
                brief(w.reason, run.id + "/"),
            )
            for w in streams
        ),
    )
    if gates:
        yield ""
        yield from _gate_lines(gates, run.id + "/")
    if working:
        yield ""
        yield from at_work_lines(working, run.id + "/", now)


def _gate_lines(found: list[GateRow], cut: str) -> Iterable[str]:
    now = time.time()
    return columns(
        ("gate", "state", "type", "judged by", "took", "reason"),
        (
            (
                g.id.removeprefix(cut),
                g.state,
                g.type,
                _judge(g),
                _took(g, now),
                _gate_reason(g, cut),
            )
            for g in found
        ),
    )


def _judge(gate: GateRow) -> str:
    """Who or what gave the verdict, or is to give it."""
    if gate.approval:
        return gate.approver or "a person"
    if gate.tests is not None:
        return f"{gate.judged_by}: {counted(gate.tests, 'test')}"
    return "" if gate.exit_code is None else f"exit code {gate.exit_code}"


def _gate_reason(gate: GateRow, cut: str) -> str:
    if gate.asked_at is not None and gate.completed_at is None:
        return f"waits for a person: banksman approve {gate.id}"
    if gate.reused_from is not None:
        return f"nothing changed since {brief(gate.reused_from, cut)}"
    return brief(gate.reason, cut)


def _task_cells(task: TaskRow, now: float, cut: str, said: Said | None) -> tuple[str, ...]:
    attempts = f"{task.retry_count + 1}/{task.max_retries + 1}" if task.started_at else "-"
    return (
        task.id.removeprefix(cut),
        task.state,
        attempts,
        "" if task.exit_code is None else str(task.exit_code),
        _took(task, now),
        task.worker_id.removeprefix(cut) if task.worker_id else "",
        f"says: {in_words(said, now)}" if said is not None else brief(task.reason, cut),
    )


def _worker_cells(worker: WorkerRow, now: float) -> tuple[str, ...]:
    return (
        worker.id,
        worker.state,
        length(now - worker.since),
        worker.kind,
        str(worker.pid or "-"),
        worker.task_id or "-",
        worker.reason or "",
    )


def _took(row: rows.Row, now: float) -> str:
    if row.started_at is None:
        return ""
    return length((row.completed_at or now) - row.started_at)


def _task_states(named: tuple[str, ...]) -> list[str]:
    if not named:
        return []
    from actors.task import CHART  # noqa: PLC0415 - only to know their names

    for name in named:
        if name.lower() not in CHART.states:
            cure = f"there are: {', '.join(CHART.states)}"
            raise Stop(Exit.USAGE, f"no task is ever {name!r}", cure, "unknown_state")
    return [name.lower() for name in named]


def _run_ids(db: Any, run: str | None, every: bool) -> list[str]:
    if run is not None:
        return [entity(db, run, "run").id]
    return [] if every else rows.runs_in_view(db)


def _prefix(run_ids: list[str]) -> str:
    """What every id of a list begins with, and so need not repeat."""
    return run_ids[0] + "/" if len(run_ids) == 1 else ""


def _heading(run_ids: list[str]) -> Iterable[str]:
    if len(run_ids) == 1:
        yield f"{paint('run', 'dim')} {paint(run_ids[0], 'bold')}"
    elif run_ids:
        yield f"{paint('runs', 'dim')} {', '.join(run_ids)} ({counted(len(run_ids), 'run')})"
