"""history and events: what was, as it stands in the audit."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import click

from runtime.cli.calling import Call, entity, shared
from runtime.cli.exits import Exit, Stop
from runtime.cli.moments import moment
from runtime.cli.text import SEVERITY_STYLES, brief, clean, instant, length, one_line, paint, state
from runtime.control.client import Client, NoOwner, OwnerLost
from runtime.view import audit
from runtime.view.filters import SEVERITIES, EventFilter


@click.command("history")
@click.argument("entity_id", metavar="ENTITY")
@shared
def history_command(call: Call, entity_id: str) -> None:
    """Show every transition of ENTITY, and what else is on record about it."""
    with call.reading() as db:
        found = entity(db, entity_id)
        events = audit.history(db, found.kind, found.id)
    call.show(events, lambda: _history_lines(found.kind, found.id, events))


@click.command("events")
@click.option("--run", "run", metavar="RUN", help="Of this run.")
@click.option("--entity", "of", metavar="ENTITY", help="Of this entity and what lies below it.")
@click.option(
    "--type", "type_", metavar="TYPE", help="An event's type, or an entity's (task, ...)."
)
@click.option("--severity", type=click.Choice(SEVERITIES), help="This severe, or worse.")
@click.option("--operator", metavar="NAME", help="By this operator.")
@click.option("--since", metavar="WHEN", help="10m, 2h, 1d, or 2026-11-22T17:00.")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="The last N of them.")
@click.option("--follow", "-f", is_flag=True, help="Go on with new ones until Ctrl-C.")
@shared
def events_command(
    call: Call,
    run: str | None,
    of: str | None,
    type_: str | None,
    severity: str | None,
    operator: str | None,
    since: str | None,
    last: int | None,
    follow: bool,
) -> None:
    """Show the record of all events, oldest first; --json gives one canonical event a line."""
    with call.reading() as db:
        where = EventFilter(
            run=entity(db, run, "run").id if run else None,
            entity=entity(db, of).id if of else None,
            type=type_,
            severity=severity,
            operator=operator,
            since=moment(since, time.time()) if since else None,
        )
        if follow and last is None and since is None:
            last = 10
        # Taken before the list: no event falls between the list and the stream.
        seen = audit.head_seq(db)
        for event in audit.events(db, where, newest=last):
            _tell(call, event)
            seen = max(seen, event["seq"])
    if follow:
        _follow(call, where, seen)


def _follow(call: Call, where: EventFilter, seen: int) -> None:
    import msgspec  # noqa: PLC0415 - only here

    try:
        with Client(call.state_dir) as client:
            for event in client.stream("events", since=seen, where=msgspec.to_builtins(where)):
                _tell(call, event)
                sys.stdout.flush()
    except OwnerLost as lost:
        if not lost.ended:
            raise
        print("banksman: the owner has ended, so nothing more will happen", file=sys.stderr)
    except NoOwner:
        text = f"nobody owns {call.state_dir}, so nothing will happen there"
        raise Stop(
            Exit.UNUSABLE, text, "`banksman resume` goes on with what is unfinished"
        ) from None


def _tell(call: Call, event: dict[str, Any]) -> None:
    if call.as_json:
        call.emit(event)
    else:
        print(event_line(event))


def event_line(event: dict[str, Any], *, cut: str = "") -> str:
    """One event on one line: time, entity, from -> to, trigger and reason."""
    source, target = event["from_state"], event["to_state"]
    if source is None:
        move = f"created {state(target)}"
    elif source == target:
        move = paint(one_line(event["event_type"]), "bold")
    else:
        move = f"{state(source)} -> {state(target)}"
    parts = [
        paint(instant(seconds(event["timestamp"])), "dim"),
        f"{event['entity_type']} {event['entity_id'].removeprefix(cut)}",
        move,
    ]
    if source is not None and source != target:
        parts.append(paint(one_line(event["trigger"]), SEVERITY_STYLES.get(event["severity"])))
    if event["operator"]:
        parts.append(f"by {one_line(event['operator'])}")
    if event["reason"]:
        parts.append(f"({brief(event['reason'], cut)})")
    if reused := event["metadata"].get("reused_from"):
        parts.append(f"(nothing changed since {brief(reused, cut)})")
    return "  ".join(parts)


def seconds(timestamp: str) -> float:
    """A canonical timestamp as seconds since the Unix epoch."""
    return datetime.fromisoformat(timestamp).timestamp()


def _history_lines(kind: str, entity_id: str, events: list[dict[str, Any]]) -> Iterable[str]:
    yield f"{kind} {paint(entity_id, 'bold')}  {state(events[-1]['to_state']) if events else ''}"
    before: float | None = None
    for event in events:
        at = seconds(event["timestamp"])
        pause = "" if before is None else f"+{length(at - before)}"
        before = at
        rest = event_line(event).split("  ", 2)[2]
        yield f"{paint(instant(at), 'dim')}  {pause:>8}  {rest}"
        yield from (f"{'':20}{line}" for line in _metadata_lines(event["metadata"]))


_INSTANTS = ("due", "deadline")


def _metadata_lines(metadata: dict[str, Any]) -> Iterator[str]:
    shown = {k: v for k, v in metadata.items() if v not in (None, "", False, [], {})}
    if shown:
        text = ", ".join(f"{k} {_short(v, when=k in _INSTANTS)}" for k, v in shown.items())
        yield paint(text, "dim")


def _short(value: Any, *, when: bool) -> str:
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, float):
        return instant(value) if when else f"{value:g}"
    return clean(json.dumps(value))
