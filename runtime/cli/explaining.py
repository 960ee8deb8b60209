"""why: one screen about one entity, from the database alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from runtime.cli.calling import Call, entity, shared
from runtime.cli.looking import owner_of
from runtime.cli.place import at
from runtime.cli.progress import in_words, told
from runtime.cli.text import instant, length, one_line, paint, state
from runtime.control.client import Client, NoOwner, OwnerLost
from runtime.view.because import Cause, Move
from runtime.view.said import Said, last_word
from runtime.view.standing import standing
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
        owner = owner_of(call.state_dir)
        said = owned(why(db, found.kind, found.id, now), owner, trouble_of(call.state_dir, owner))
        at_it = standing(db, "task", found.id) if found.kind == "task" else None
    if at_it is not None and at_it.state == "running":
        attempt, lease = at_it.value.get("attempt", 0), at_it.row["lease"]
        heard = told(call.state_dir, owner)
        word = last_word(call.state_dir, found.id, attempt, lease, heard)
        said = with_last_word(said, word, now)
    call.show(said, lambda: why_lines(said, now, at(call.state_dir)))


def with_last_word(said: Why, word: Said | None, now: float) -> Why:
    """The same, and how far a running task says it has come."""
    if word is None:
        return said
    cause = Cause(f"last said: {in_words(word, now, whole=True)}")
    return msgspec.structs.replace(said, causes=[*said.causes, cause])


def owned(said: Why, owner: dict[str, Any] | None, trouble: str | None = None) -> Why:
    """The same, and where nobody owns the directory, or its owner cannot write, that first: nothing
    moves then."""
    if said.state in _ENDED:
        return said
    if trouble is not None:
        cause = Cause(f"the record cannot be written, so nothing moves: {trouble}")
        move = Move("banksman status", "the work goes on by itself once it can be written")
        return msgspec.structs.replace(said, causes=[cause, *said.causes], moves=[move])
    if owner is not None:
        return said
    return msgspec.structs.replace(
        said,
        causes=[Cause("nobody owns the state directory: nothing moves there"), *said.causes],
        moves=[Move("banksman resume", "goes on with every unfinished run"), *said.moves],
    )


def trouble_of(state_dir: Path, owner: dict[str, Any] | None) -> str | None:
    """What keeps a live owner from writing the record, as it says itself."""
    if owner is None or owner["role"] == "silent":
        return None
    try:
        with Client(state_dir, timeout_s=2.0) as client:
            trouble: str | None = client.ask("statistics")["trouble"]
            return trouble
    except (NoOwner, OwnerLost):
        return None


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
