"""run and resume: carry runs to their end in the foreground, or have a live owner do it."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.calling import Call, entity, shared
from runtime.cli.exits import ENDS, Exit, Stop
from runtime.cli.looking import owner_of
from runtime.cli.operating import accepted, operator_options, order
from runtime.cli.place import existing, for_plan
from runtime.cli.streams import abandon_stdout
from runtime.cli.text import instant

if TYPE_CHECKING:
    from actors.spec import Plan
    from runtime.cli.scene import Screen


def foreground_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--durability and --plain."""

    @click.option(
        "--durability",
        type=click.Choice(["power", "process"]),
        default="power",
        help="What an acknowledged step survives: power loss (default), or the death of a process.",
    )
    @click.option("--plain", is_flag=True, help="A line for each transition, on a terminal too.")
    @functools.wraps(command)
    def called(*args: Any, **options: Any) -> Any:
        return command(*args, **options)

    return called


@click.command("run")
@click.argument("plan", type=click.Path(path_type=Path))
@foreground_options
@shared
def run_command(call: Call, plan: Path, durability: str, plain: bool) -> int:
    """Run PLAN to its end, in this terminal.

    Exits 0 completed, 1 failed, 2 bad plan, 3 cancelled, 4 state directory in use or unusable,
    7 waits for a person (without a terminal), 130 interrupted: `banksman resume` goes on.
    """
    from runtime.plan import load_to_run  # noqa: PLC0415 - `resume` needs no plan

    loaded = load_to_run(plan)
    for warning in loaded.warnings:
        print(f"banksman: warning: {warning}", file=sys.stderr)
    state_dir = for_plan(call.asked_dir, plan)
    owner = owner_of(state_dir)
    if owner is not None and owner["role"] == "daemon":
        from runtime.cli.joining import submit_and_follow  # noqa: PLC0415 - needs an owner

        screen = _screen(call, state_dir, live=_live(call, plain))
        waits = sys.stdout.isatty()
        return submit_and_follow(call, state_dir, loaded.plan, screen, waits=waits)
    if owner is not None:
        raise _held(state_dir, owner)
    return _carry(call, state_dir, f"run {plan}", durability, plain, plan=loaded.plan)


@click.command("resume")
@click.argument("run", required=False)
@operator_options
@foreground_options
@shared
def resume_command(
    call: Call, run: str | None, durability: str, plain: bool, **said: Any
) -> int | None:
    """Go on: with every unfinished run, where nobody owns the directory; else with a paused RUN.

    A paused run stays paused unless it is named. A workstream, task or worker that was paused by
    itself is resumed by its id. Exits as `run` does.
    """
    state_dir = existing(call.asked_dir)
    kinds = ("run", "workstream", "task", "worker")
    found, ended = None, None
    if run is not None:  # else nothing is read: it may be what makes an empty database whole
        with call.reading() as db:
            found = entity(db, run, *kinds)
            ended = _end_of(db, found.id) if found.kind == "run" else None
    owner = owner_of(state_dir)
    if owner is not None:
        if found is None:
            raise _held(state_dir, owner, "name what is paused: `banksman resume RUN`")
        answer = order(state_dir, "resume", found.id, said)
        call.show(answer, lambda: [accepted("resume", answer)])
        return None
    if found is not None and ended:
        value = {"run_id": found.id, "state": ended}
        call.show(value, lambda: [f"{found.id} is {ended} already: nothing to go on with"])
        return ENDS[ended]
    if found is not None:
        order(state_dir, "resume", found.id, said)  # with its reason, and refused where it is stale
    command = f"resume {run}" if run else "resume"
    return _carry(call, state_dir, command, durability, plain)


def _end_of(db: Any, run_id: str) -> str | None:
    """The state that the run has ended in, if it has."""
    row = db.execute("SELECT state, completed_at FROM runs WHERE id = ?", (run_id,)).fetchone()
    return row["state"] if row["completed_at"] is not None else None


def _carry(
    call: Call,
    state_dir: Path,
    command: str,
    durability: str,
    plain: bool,
    plan: Plan | None = None,
) -> int:
    import anyio  # noqa: PLC0415 - beside a live owner nothing is carried here

    from runtime.cli.foreground import Order, carry  # noqa: PLC0415 - likewise
    from runtime.cli.summing import conclude, exit_of  # noqa: PLC0415 - likewise

    waits = sys.stdout.isatty()
    wanted = Order(
        state_dir=state_dir,
        command=command,
        durability=durability,
        waits=waits,
        plan=plan,
    )
    screen = _screen(call, state_dir, live=_live(call, plain))
    try:
        outcome = anyio.run(carry, wanted, screen, backend="asyncio")
    finally:
        screen.close()
    try:
        conclude(call, state_dir, outcome)
        sys.stdout.flush()
    except OSError:
        abandon_stdout()  # its last words were lost, and yet the run ended as it did
    return exit_of(outcome)


def _live(call: Call, plain: bool) -> bool:
    cursor = os.environ.get("TERM", "") not in ("", "dumb")
    return not plain and not call.as_json and cursor and sys.stdout.isatty()


def _screen(call: Call, state_dir: Path, *, live: bool) -> Screen:
    if live:
        from runtime.cli.live import LiveScreen  # noqa: PLC0415 - rich, for a terminal alone

        return LiveScreen(state_dir)
    from runtime.cli.scene import LineScreen  # noqa: PLC0415 - its twin

    # Stdout is for the one JSON value at the end.
    return LineScreen(sys.stderr if call.as_json else sys.stdout)


def _held(state_dir: Path, owner: dict[str, Any], cure: str = "") -> Stop:
    since = owner.get("since")
    when = instant(since) if isinstance(since, float) else since
    text = f"{state_dir} is held by pid {owner.get('pid')} since {when} ({owner.get('command')})"
    if owner["role"] == "silent":
        text += f", which {owner['why']}"
    return Stop(Exit.UNUSABLE, text, cure or "let it end, or use another --state-dir", "held")
