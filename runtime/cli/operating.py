"""The operator's hand: a command through the owner, or in its place where there is none."""

from __future__ import annotations

import functools
import getpass
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from runtime.cli.calling import Call, entity, shared
from runtime.cli.exits import Exit, Stop
from runtime.control.client import Client, NoOwner
from runtime.store.errors import OwnerBusy
from runtime.view.find import TABLES

_PATIENCE_S = 5.0
_AGAIN_S = 0.1


# Kinds whose ids do not show what they are.
NAMED_BY_KIND = ("circuit_breaker", "patch_ledger")


def bending_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """As `operator_options`, for a command that bends a rule: its reason is no choice."""
    return _options(command, wanted=True)


def operator_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--reason, --operator, --if-version, for a command that goes on record."""
    return _options(command, wanted=False)


def _options(command: Callable[..., Any], *, wanted: bool) -> Callable[..., Any]:
    @click.option("--reason", metavar="TEXT", required=wanted, help="Goes on record.")
    @click.option("--operator", metavar="NAME", help="Who orders it; default: your login name.")
    @click.option(
        "--if-version", type=int, metavar="N", help="Refuse unless the entity is at this version."
    )
    @functools.wraps(command)
    def called(*args: Any, operator: str | None, **options: Any) -> Any:
        return command(*args, operator=operator or login(), **options)

    return called


@click.command("pause")
@click.argument("target", metavar="ENTITY")
@operator_options
@shared
def pause_command(call: Call, target: str, **said: Any) -> None:
    """Start nothing more of a run, workstream, task or worker; what runs, finishes."""
    carry_out(call, "pause", target, ("run", "workstream", "task", "worker"), said)


@click.command("cancel")
@click.argument("target", metavar="ENTITY")
@operator_options
@shared
def cancel_command(call: Call, target: str, **said: Any) -> None:
    """End a run, workstream, task or gate now, and everything below it."""
    carry_out(call, "cancel", target, ("run", "workstream", "task", "test_gate"), said)


@click.command("skip")
@click.argument("target", metavar="WORKSTREAM")
@operator_options
@shared
def skip_command(call: Call, target: str, **said: Any) -> None:
    """Count a workstream, and its tasks, as done without doing it."""
    carry_out(call, "skip", target, ("workstream",), said)


@click.command("retry")
@click.argument("target", metavar="TASK-or-RUN")
@click.option("--clear-retry-count", is_flag=True, help="Grant all its retries anew.")
@operator_options
@shared
def retry_command(call: Call, target: str, **said: Any) -> None:
    """Do what has ended once more.

    A TASK as TASK~2, while its workstream goes on; what depends on it then means the newest.
    A RUN as a new run that leaves out what is completed.
    """
    carry_out(call, "retry", target, ("task", "run"), said)


@click.command("unblock")
@click.argument("target", metavar="ENTITY")
@click.option(
    "--cause", "names", multiple=True, metavar="NAME", help="Waive only this one; may be repeated."
)
@operator_options
@shared
def unblock_command(call: Call, target: str, **said: Any) -> None:
    """Waive what blocks a task or workstream: a failed dependency, a failed gate."""
    carry_out(call, "unblock", target, ("task", "workstream"), said)


def login() -> str:
    """Who types this, as the system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        cure = "say --operator NAME"
        raise Stop(Exit.USAGE, "the system does not know your login name", cure) from None


def carry_out(
    call: Call, name: str, target: str, kinds: tuple[str, ...], said: dict[str, Any]
) -> None:
    """Finds the entity that is meant, has the command carried out, and shows the answer."""
    with call.reading() as db:
        found = entity(db, target, *kinds, to_change=True)
    if found.kind in NAMED_BY_KIND or found.kind not in TABLES:
        said = {**said, "kind": found.kind}
    answer = order(call.state_dir, name, found.id, said)
    call.show(answer, lambda: [accepted(name, answer)])


def accepted(name: str, answer: dict[str, Any]) -> str:
    """An owner's yes, for a person."""
    entity_id, text = answer["entity_id"], answer["text"] or f"{name} is on record"
    return text if text.startswith(entity_id) else f"{entity_id}: {text}"


def order(state_dir: Path, name: str, entity_id: str, said: dict[str, Any]) -> dict[str, Any]:
    """Has the owner carry out a command; where there is none, takes its place for so long.

    Raises what `failures.as_stop` knows: refused, stale, or a directory that cannot be taken.
    """
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with Client(state_dir) as client:
                answer: dict[str, Any] = client.ask(name, entity=entity_id, **said)
                return answer
        except NoOwner:
            pass
        try:
            return _alone(state_dir, name, entity_id, said)
        except OwnerBusy:
            # Somebody came first: an owner that begins, or another command like this one.
            if time.monotonic() > until:
                raise
            time.sleep(_AGAIN_S)


def _alone(state_dir: Path, name: str, entity_id: str, said: dict[str, Any]) -> dict[str, Any]:
    import anyio  # noqa: PLC0415 - beside a live owner this costs nothing

    from runtime.cli.takeover import order_alone  # noqa: PLC0415 - likewise

    alone = functools.partial(order_alone, state_dir, name, entity_id, said)
    return anyio.run(alone, backend="asyncio")
