"""override: an entity goes to a state whatever its guards say, and the record says whose word."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import click

from runtime.cli.calling import Call, shared
from runtime.cli.exits import Exit, Stop
from runtime.cli.operating import bending_options, carry_out


@click.command("override")
@click.argument("target", metavar="ENTITY")
@click.argument("state", metavar="STATE")
@click.option(
    "--verify-output",
    "shown",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="A file that shows why it is right; it is kept as evidence.",
)
@bending_options
@shared
def override_command(call: Call, target: str, state: str, shown: Path | None, **said: Any) -> None:
    """Take ENTITY to STATE by the shortest way of its chart, whatever guards say.

    What runs is killed first. Refused where ENTITY has ended, and where the way leads through a
    state that only the work itself can give (a task or gate that runs, a gate that passed).
    """
    if shown is not None:
        said["shown"] = _evidence(shown)
    carry_out(call, "override", target, (), {"target": state.lower(), **said})


def _evidence(path: Path) -> dict[str, Any]:
    from runtime.evidence import read  # noqa: PLC0415 - without a file nothing is read

    try:
        found = read(path)
    except OSError as error:
        cure = "name a file that you may read, or leave --verify-output out"
        raise Stop(Exit.USAGE, f"{path}: {error.strerror or error}", cure) from None
    kept = base64.b64encode(found.kept).decode()
    return {"path": found.path, "size": found.size, "sha256": found.sha256, "kept": kept}
