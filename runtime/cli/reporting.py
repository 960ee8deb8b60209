"""report and stats: what became of a run, and what the whole record counts up to."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import click

from runtime.cli.calling import Call, entity, shared
from runtime.cli.exits import Exit, Stop
from runtime.cli.looking import progress
from runtime.cli.moments import moment
from runtime.cli.text import brief, columns, counted, instant, length, paint, state
from runtime.view import rows, stats
from runtime.view.report import Report, report
from runtime.view.rows import TaskRow

_SHOWN = 10
_WORKSTREAMS_SHOWN = 24


@click.command("report")
@click.argument("run", required=False)
@shared
def report_command(call: Call, run: str | None) -> None:
    """Show what landed, failed and waits in RUN; without it, in the newest run."""
    with call.reading() as db:
        if run is not None:
            run_id = entity(db, run, "run").id
        else:
            newest = rows.runs(db, limit=1)
            if not newest:
                raise Stop(Exit.USAGE, f"{call.state_dir} holds no run", "`banksman run PLAN`")
            run_id = newest[0].id
        found = report(db, run_id, time.time())
    call.show(found, lambda: report_lines(found))


@click.command("stats")
@click.argument("what", type=click.Choice(["failures", "overrides"]))
@click.option("--since", metavar="WHEN", help="10m, 2h, 1d, or 2026-11-22T17:00.")
@click.option("--limit", type=click.IntRange(min=1), default=50, help="So many lines; default 50.")
@shared
def stats_command(call: Call, what: str, since: str | None, limit: int) -> None:
    """Count failures by their cause, or every operator's commands."""
    start = moment(since, time.time()) if since else 0.0
    with call.reading() as db:
        if what == "failures":
            failures = stats.failures(db, start, limit)
            call.show(failures, lambda: _failures(failures))
        else:
            overrides = stats.overrides(db, start, limit)
            call.show(overrides, lambda: _overrides(overrides))


def report_lines(found: Report, *, short: bool = False) -> Iterator[str]:
    """The report for a person; `short`: without lists of tasks and gates."""
    run = found.run
    yield f"{paint(run.id, 'bold')}  {state(run.state)}  {progress(run.tasks)}"
    cut = run.id + "/"
    if run.reason:
        yield f"  {brief(run.reason, cut)}"
    saved = f", {length(found.work_seconds)} of work" if found.work_seconds else ""
    retries = counted(found.retries, "retry", "retries")
    yield f"  took {length(found.seconds)}{saved}, {retries}"
    if found.noncritical_failures:
        yield f"  {counted(found.noncritical_failures, 'failure')} in tasks that are not critical"
    yield ""
    shown = found.workstreams[:_WORKSTREAMS_SHOWN]
    yield from columns(
        ("workstream", "state", "tasks", "reason"),
        ((w.name, w.state, progress(w.tasks), brief(w.reason, cut)) for w in shown),
    )
    if more := len(found.workstreams) - len(shown):
        yield f"and {counted(more, 'workstream')} more: `banksman status {run.id}`"
    if short:
        return
    yield from _some("failed", found.failed, cut)
    yield from _some("not ended", found.waiting, cut)
    again = {g.retry_of for g in found.gates}  # one that was run again stands in its rerun
    newest = [g for g in found.gates if g.id not in again]
    gates = [g for g in newest if g.state != "passed"]
    if newest:
        yield ""
        yield f"{paint('gates', 'bold')}  {len(newest) - len(gates)}/{len(newest)} passed"
        for gate in gates:
            yield f"  {gate.id.removeprefix(cut)}  {state(gate.state)}{_why(gate.reason, cut)}"
    if found.slowest:
        yield ""
        yield paint("slowest", "bold")
        yield from (f"  {length(t.seconds):>7}  {t.id.removeprefix(cut)}" for t in found.slowest)


def _some(title: str, tasks: list[TaskRow], cut: str) -> Iterator[str]:
    if not tasks:
        return
    yield ""
    yield paint(title, "bold")
    for task in tasks[:_SHOWN]:
        code = "" if task.exit_code is None else f" exit {task.exit_code}"
        name = task.id.removeprefix(cut)
        yield f"  {name}  {state(task.state)}{code}{_why(task.reason, cut)}"
    if len(tasks) > _SHOWN:
        yield f"  and more: `banksman tasks {cut[:-1]} --state {tasks[0].state}`"


def _why(reason: str | None, cut: str) -> str:
    return f"  ({brief(reason, cut)})" if reason else ""


def _failures(found: list[stats.Failure]) -> Iterable[str]:
    if not found:
        return ["nothing has failed"]
    return columns(
        ("count", "what", "trigger", "last", "reason"),
        (
            (str(f.count), f"{f.kind} {f.name}", f.trigger, instant(f.last_at), f.reason or "")
            for f in found
        ),
    )


def _overrides(found: list[stats.Override]) -> Iterable[str]:
    if not found:
        return ["no operator has stepped in"]
    return columns(
        ("count", "operator", "what", "last", "entity", "reason"),
        (
            (
                str(o.count),
                o.operator,
                o.trigger if o.event_type.endswith("_state_transition") else o.event_type,
                instant(o.last_at),
                o.last_id,
                o.last_reason or "",
            )
            for o in found
        ),
    )
