"""check and init: a plan before it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from runtime.cli.calling import Call, shared
from runtime.cli.exits import Exit, Stop
from runtime.cli.text import counted, one_line, paint
from runtime.plan import Checked, Severity, check, told_once, write_first_plan
from runtime.plan.init import PlanExists


@click.command("check")
@click.argument("plans", nargs=-1, required=True, type=click.Path(path_type=Path))
@shared
def check_command(call: Call, plans: tuple[Path, ...]) -> int:
    """Find every fault of PLANS, files or folders of them; exits 2 where there is one.

    What this machine lacks (a tool) is a warning here, and refused when the plan is run.
    """
    found = check(plans)
    call.show(found.as_json(), lambda: _check_lines(found))
    return Exit.OK if found.ok else Exit.USAGE


@click.command("init")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Write over what is there.")
@shared
def init_command(call: Call, file: Path | None, force: bool) -> None:
    """Write a first plan (FILE, default plan.toml) from what is in this folder."""
    try:
        path = write_first_plan(Path.cwd(), file, force=force)
    except PlanExists as there:
        raise Stop(Exit.USAGE, str(there), code="exists") from None
    except OSError as error:
        text = f"cannot write {file or 'a plan'}: {error.strerror}"
        raise Stop(Exit.USAGE, text, "check the folder and its permissions") from None
    found = check([path])
    value = {"plan": str(path), **found.as_json()}
    call.show(value, lambda: _init_lines(path, found))


def _check_lines(found: Checked) -> Iterator[str]:
    for fault, told in told_once(found.faults):
        style = "red" if fault.severity is Severity.ERROR else "yellow"
        yield f"{paint(str(fault.severity), style)}  {one_line(told)}"
    for plan in found.plans:
        tasks = sum(len(w.tasks) for w in plan.plan.workstreams.values())
        yield (
            f"{paint('ok', 'green')}  {plan.file}: run {plan.plan.run.name},"
            f" {counted(len(plan.plan.workstreams), 'workstream')}, {counted(tasks, 'task')},"
            f" {counted(len(plan.plan.gates), 'gate')}"
        )


def _init_lines(path: Path, found: Checked) -> Iterator[str]:
    yield from _check_lines(found)
    yield f"wrote {path}; next: banksman run {path}"
