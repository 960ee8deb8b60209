"""why: one screen about one entity, from the database alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from runtime.cli.calling import Call, entity, shared
from runtime.cli.looking import owner_of
from runtime.cli.place import at
from runtime.cli.text import instant, length, one_line, paint, state
from runtime.view.because import Cause, Move
from runtime.view.why import Why, why

_ENDED = {"completed", "failed", "cancelled", "skipped", "passed", "shutdown", "terminated"}


@click.command("why")
@click.argument("target", metavar="ENTITY")
@shared
def why_command(call: Call, target: str) -> None:
    """Explain why ENTITY is not moving: what it waits for, and what would move it."""
    now = time.time()
    with call.reading() as db:
        found = entity(db, target)
        said = owned(why(db, found.kind, found.id, now), owner_of(call.state_dir))
    call.show(said, lambda: why_lines(said, now, at(call.state_dir)))


def owned(said: Why, owner: dict[str, Any] | None) -> Why:
    """The same, and where nobody owns the directory, that first: nothing moves then."""
    if owner is not None or said.state in _ENDED:
        return said
    return msgspec.structs.replace(
        said,
        causes=[Cause("nobody owns the state directory: nothing moves there"), *said.causes],
        moves=[Move("banksman resume", "goes on with every unfinished run"), *said.moves],
    )


def why_lines(said: Why, now: float, here: str = "") -> Iterator[str]:
    """The explanation for a person; `here` is what each command needs to find the directory."""
    yield (
        f"{said.kind.replace('_', ' ')} {paint(said.id, 'bold')}  {state(said.state)}"
        f" for {length(now - said.since)} (since {instant(said.since)}, version {said.version})"
    )
    yield f"  {said.summary}"
    if said.causes:
        yield ""
        yield from (f"  - {_cause(cause)}" for cause in said.causes)
    if said.moves:
        yield ""
        yield paint("what would move it", "dim")
        width = max(len(move.command) for move in said.moves)
        yield from (f"  {move.command.ljust(width)}{here}  {move.effect}" for move in said.moves)


def _cause(cause: Cause) -> str:
    reason = f" ({one_line(cause.reason)})" if cause.reason else ""
    return one_line(cause.text) + reason
