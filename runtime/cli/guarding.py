"""breakers: every tool's circuit breaker, and what it keeps back."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import click

from runtime.cli.calling import Call, shared
from runtime.cli.text import columns, instant, length, one_line
from runtime.view.guards import Approval, BreakerRow, breakers


@click.command("breakers")
@shared
def breakers_command(call: Call) -> None:
    """List the circuit breakers: those that keep work back first."""
    with call.reading() as db:
        found = breakers(db)
    now = time.time()
    head = ("breaker", "state", "mode", "for", "next", "parked", "reason")
    call.show(found, lambda: columns(head, (_cells(b, now) for b in found)))


def guard_lines(
    shut: Iterable[BreakerRow], wanted: Iterable[Approval], now: float
) -> Iterator[str]:
    """What keeps work back just now, a line each, for a screen that shows other things too."""
    for breaker in shut:
        parked = f", {breaker.parked} tasks parked" if breaker.parked else ""
        mode = "" if breaker.mode == "auto" else f" ({breaker.mode})"
        reason = f": {one_line(breaker.reason)}" if breaker.reason else ""
        stands = f"{breaker.state}{mode}, {_next(breaker, now)}"
        yield f"breaker {breaker.id} is {stands}{parked}{reason}"
    for gate in wanted:
        waits = length(now - gate.since)
        yield f"gate {gate.gate} waits for a person since {waits}: `banksman approve {gate.gate}`"


def _cells(breaker: BreakerRow, now: float) -> tuple[str, ...]:
    return (
        breaker.id,
        breaker.state,
        breaker.mode,
        length(now - breaker.since),
        _next(breaker, now),
        str(breaker.parked or "-"),
        breaker.reason or "",
    )


def _next(breaker: BreakerRow, now: float) -> str:
    """What happens next by itself."""
    if breaker.state == "half_open":
        return f"probe by {breaker.probe}" if breaker.probe else "a probe"
    if breaker.state == "closed":
        return "-" if breaker.ramp is None else f"{breaker.ramp} at a time"
    if breaker.mode == "held":
        return "nothing by itself"
    if breaker.due is None or breaker.due <= now:
        return "a probe"
    return f"a probe at {instant(breaker.due)} (in {length(breaker.due - now)})"
