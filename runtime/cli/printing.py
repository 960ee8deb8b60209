"""logs: what a task or a gate printed, as it is, or safely shown on a terminal."""

from __future__ import annotations

import codecs
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from runtime.cli.calling import Call, entity, shared
from runtime.cli.exits import Exit, Stop
from runtime.cli.text import clean
from runtime.store.layout import Layout
from runtime.store.lock import is_owned
from runtime.view.find import Entity
from runtime.view.printed import Printed, attempts, tail, why_silent
from runtime.view.standing import standing

_LOOK_S = 0.1  # between two looks at a file that is followed
_ASK_S = 0.5  # between two looks at the state of its task
_CHUNK = 64 * 1024


@click.command("logs")
@click.argument("entity_id", metavar="TASK-or-GATE")
@click.option("--follow", "-f", is_flag=True, help="Go on until the task or gate ends.")
@click.option("--tail", "lines", type=click.IntRange(min=0), metavar="N", help="The last N lines.")
@click.option("--attempt", type=click.IntRange(min=0), metavar="K", help="Default: the newest.")
@shared
def logs_command(
    call: Call, entity_id: str, follow: bool, lines: int | None, attempt: int | None
) -> None:
    """Print the output of a task or a gate: both its streams, as they came."""
    with call.reading() as db:
        found = entity(db, entity_id, "task", "test_gate")
        silent = why_silent(db, found.kind, found.id)
    files = _files(call, found)
    if attempt is not None:
        known = ", ".join(str(f.attempt) for f in files) or "none"
        files = [f for f in files if f.attempt == attempt]
        if not files:
            text = f"{found.id} has no output of attempt {attempt}"
            raise Stop(Exit.USAGE, text, f"there is: {known}", "unknown_attempt")
    if call.as_json and not follow:
        _as_json(call, found, files, lines)
    elif follow:
        _write(call, _following(call, found, lines, attempt))
    elif not files:
        print(f"banksman: {found.id} {silent}", file=sys.stderr)
    else:
        _write(call, _whole(Path(files[-1].path), lines))


def _as_json(call: Call, found: Entity, files: list[Printed], lines: int | None) -> None:
    text = ""
    if files:
        path = Path(files[-1].path)
        text = (path.read_bytes() if lines is None else tail(path, lines)).decode(errors="replace")
    newest = files[-1].attempt if files else None
    call.emit({"id": found.id, "attempt": newest, "attempts": files, "text": text})


def _whole(path: Path, lines: int | None) -> Iterator[bytes]:
    if lines is not None:
        yield tail(path, lines)
        return
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _following(call: Call, found: Entity, lines: int | None, only: int | None) -> Iterator[bytes]:
    """Chunks as they come, attempt after attempt from the newest on, until the entity has ended."""
    shown: int | None = None
    while True:
        # Asked before looking: where it has ended, what is there then is all there will be.
        ended = _ended(call, found)
        printed = _attempt_after(call, found, shown, only)
        if printed is not None:
            if shown is not None:
                _say(f"attempt {printed.attempt} of {found.id}")
            yield from _grown(call, found, printed, lines)
            shown, lines = printed.attempt, None
        elif ended or (only is not None and shown is not None):
            return
        else:
            time.sleep(_ASK_S)


def _attempt_after(
    call: Call, found: Entity, shown: int | None, only: int | None
) -> Printed | None:
    files = _files(call, found)
    if only is not None:
        files = [f for f in files if f.attempt == only]
    if shown is None:
        return files[-1] if files else None
    return next((f for f in files if f.attempt > shown), None)


def _grown(call: Call, found: Entity, printed: Printed, lines: int | None) -> Iterator[bytes]:
    """One attempt's output as it grows, until a newer attempt begins or the entity has ended."""
    asked = 0.0
    with Path(printed.path).open("rb") as file:
        if lines is not None:
            yield tail(Path(printed.path), lines)
            file.seek(printed.size)
        while True:
            over = False
            if time.monotonic() - asked >= _ASK_S:
                asked = time.monotonic()
                over = _ended(call, found) or bool(
                    _attempt_after(call, found, printed.attempt, None)
                )
            if os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0, os.SEEK_END)  # its middle was cut out: go on from its end
            while chunk := file.read(_CHUNK):
                yield chunk
            if over:
                return
            time.sleep(_LOOK_S)


def _files(call: Call, found: Entity) -> list[Printed]:
    with call.reading() as db:
        entered = standing(db, found.kind, found.id)
    assert entered is not None, f"{found.id} was found a moment ago"
    value = entered.value
    return attempts(call.state_dir, found.id, max(value.get("attempt", 0), value.get("tries", 0)))


def _ended(call: Call, found: Entity) -> bool:
    """Whether it will print no more: it is over, or nobody carries it on."""
    # Asked first: an owner that ends meanwhile has written what became of it.
    owned = is_owned(Layout(call.state_dir))
    with call.reading() as db:
        entered = standing(db, found.kind, found.id)
    return not owned or entered is None or entered.completed_at is not None


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"-- {text} --", file=sys.stderr)


def _write(call: Call, chunks: Iterable[bytes]) -> None:
    # A character may be cut in two by the end of a chunk.
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    for chunk in chunks:
        if call.as_json:
            call.emit({"text": decode(chunk)})
        elif sys.stdout.isatty():
            sys.stdout.write(clean(decode(chunk)))
        else:
            sys.stdout.buffer.write(chunk)  # as it is: whoever pipes it wants the bytes
        sys.stdout.flush()
