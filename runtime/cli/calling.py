"""What every command shares: --json, --state-dir, --debug, and how its answer is shown."""

from __future__ import annotations

import functools
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click

from runtime.cli.exits import Exit, Stop


class Call:
    """One invocation of the command."""

    def __init__(self, *, as_json: bool, state_dir: Path | None) -> None:
        self.as_json = as_json
        self.asked_dir = state_dir

    @functools.cached_property
    def state_dir(self) -> Path:
        """The directory asked for, else the nearest one upward from here. It exists.

        Raises Stop where there is none.
        """
        from runtime.cli.place import existing  # noqa: PLC0415 - not every command has one

        return existing(self.asked_dir)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A read-only connection to the directory's database."""
        from runtime.cli.place import connected  # noqa: PLC0415 - not every command reads

        with closing(connected(self.state_dir)) as db:
            yield db

    def show(self, value: Any, lines: Callable[[], Iterable[str]]) -> None:
        """The answer: `value` as one JSON value, or `lines` for a person."""
        if self.as_json:
            self.emit(value)
            return
        for line in lines():
            print(line)

    def emit(self, value: Any) -> None:
        """One JSON value on one line; a stream calls it for each."""
        import msgspec  # noqa: PLC0415 - `--help` and the error path do without

        sys.stdout.write(msgspec.json.encode(value, enc_hook=str).decode() + "\n")

    def emit_list(self, values: Iterable[Any]) -> None:
        """One JSON array, written as its values come: there may be a million."""
        import msgspec  # noqa: PLC0415 - as in `emit`

        separator = "["
        for value in values:
            sys.stdout.write(separator + msgspec.json.encode(value, enc_hook=str).decode())
            separator = ","
        sys.stdout.write("[]\n" if separator == "[" else "]\n")


class _Directory(click.Path):
    """A path that was given: a variable that is not set is no wish for the working directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty", param, ctx)
        return super().convert(value, param, ctx)


def shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the shared options; the command's function gets a `Call` first."""

    @click.option(
        "--state-dir",
        metavar="DIR",
        type=_Directory(path_type=Path),
        help="The state directory; default: the nearest .state upward from here.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Answer with JSON.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error.")
    @functools.wraps(command)
    def called(
        *args: Any, state_dir: Path | None, as_json: bool, debug: bool, **options: Any
    ) -> Any:
        del debug  # the error boundary reads it from the arguments: they may not even parse
        try:
            return command(Call(as_json=as_json, state_dir=state_dir), *args, **options)
        except BrokenPipeError:
            # As itself it would meet click, which exits 1: that is a failed run's code.
            raise Stop(Exit.PIPE, "nobody reads stdout any more") from None

    return called


def entity(db: sqlite3.Connection, text: str, *kinds: str, to_change: bool = False) -> Any:
    """The entity that a person means, saying so where it is one of several; Stop(USAGE) with what
    they may have meant."""
    from runtime.view.find import Ambiguous, NotFound, find  # noqa: PLC0415 - lazy like its callers

    try:
        found = find(db, text, kinds, to_change=to_change)
    except NotFound as missing:
        near = ", ".join(missing.near)
        cure = (
            f"did you mean {near}?" if near else "`banksman status` and `tasks` list what is there"
        )
        raise Stop(Exit.USAGE, str(missing), cure, "unknown_id") from None
    except Ambiguous as several:
        shown = ", ".join(several.candidates)
        more = "" if several.count == len(several.candidates) else ", ..."
        raise Stop(
            Exit.USAGE, str(several), f"give more of it: {shown}{more}", "ambiguous_id"
        ) from None
    if found.others:
        others = "another is" if found.others == 1 else f"{found.others} others are"
        said = f"banksman: {text} is taken for {found.id}; {others} called so"
        print(said, file=sys.stderr)
    return found
