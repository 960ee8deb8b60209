"""stuck: what takes longer than it should, with what was expected and what to type next."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from runtime.cli.calling import Call, shared
from runtime.cli.looking import owner_of
from runtime.cli.place import at
from runtime.cli.text import instant, length, one_line, paint, state
from runtime.view.stuck import Findings, stuck


@click.command("stuck")
@shared
def stuck_command(call: Call) -> None:
    """Find what is past its expected time: tasks, gates, workers, workstreams, parked work.

    Expected is what the plan allows; else three times what the same name took before in this state
    directory (95th percentile); else a default.
    """
    now = time.time()
    owner = owner_of(call.state_dir)
    with call.reading() as db:
        unfinished = db.execute("SELECT count(*) FROM runs WHERE completed_at IS NULL").fetchone()[
            0
        ]
        found = stuck(db, now) if unfinished else Findings([], [])
    value: dict[str, Any] = {
        "owned": owner is not None,
        "unfinished": unfinished,
        "stuck": found.stuck,
        "more": found.more,
    }
    here = at(call.state_dir)
    call.show(value, lambda: _lines(found, unfinished, owner is not None, here))


def _lines(found: Findings, unfinished: int, owned: bool, here: str) -> Iterator[str]:
    if not unfinished:
        yield "nothing is unfinished, so nothing is stuck"
        return
    if not owned:
        yield f"nobody owns the state directory: nothing moves; `banksman resume{here}` goes on"
    if not found.stuck and owned:
        yield "nothing is past its expected time"
    for one in found.stuck:
        yield (
            f"{one.kind.replace('_', ' ')} {paint(one.id, 'bold')}  {state(one.state)}"
            f" for {length(one.seconds)} (since {instant(one.since)}): {one_line(one.what)}"
        )
        yield paint(f"  expected within {length(one.expected_s)}: {one.ground}", "dim")
        yield from (f"  {move.command}{here}  {paint(move.effect, 'dim')}" for move in one.moves)
    for more in found.more:
        kinds = f"{more.kind.replace('_', ' ')}s"
        yield paint(
            f"{more.count:,} more {kinds} are {more.state}; the oldest were looked at", "dim"
        )
