"""breakers: every tool's circuit breaker, and what it keeps back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

from runtime.cli.calling import Call, shared
from runtime.cli.text import columns, counted, instant, length, one_line
from runtime.view.guards import BreakerRow, Guards, Spent, breakers
from runtime.view.told import whole_length


@click.command("breakers")
@shared
def breakers_command(call: Call) -> None:
    """List the circuit breakers: those that keep work back first."""
    with call.reading() as db:
        found = breakers(db)
    now = time.time()
    head = ("breaker", "state", "mode", "for", "next", "parked", "reason")
    call.show(found, lambda: columns(head, (_cells(b, now) for b in found)))


def guard_lines(found: Guards, now: float, *, narrow: bool = False) -> Iterator[str]:
    """What keeps work back just now, a line each, for a screen that shows other things too.
    `narrow`: the short names, which mean the newest unfinished run."""
    for gate in found.wanted:
        name = gate.name if narrow else gate.gate
        yield f"gate {gate.name} waits for you, {length(now - gate.since)}: banksman approve {name}"
    for breaker in found.shut:
        mode = "" if breaker.mode == "auto" else f" ({breaker.mode})"
        parked = f", {counted(breaker.parked, 'task')} parked" if breaker.parked else ""
        reason = f": {one_line(breaker.reason)}" if breaker.reason else ""
        stands = breaker.state.replace("_", " ") + mode
        then = "" if breaker.state == "closed" else f", {following(breaker, now, narrow=narrow)}"
        yield f"breaker {breaker.tool} {stands}{then}{parked}{reason}"
    for spent in found.budgets:
        of = "" if narrow else f" of {spent.run_id}"
        yield f"budget{of}: {_spent(spent)}"


def _spent(spent: Spent) -> str:
    parts = []
    if spent.attempts_max is not None:
        parts.append(f"{spent.attempts} of {spent.attempts_max} attempts")
    if spent.seconds_max is not None:
        used, bound = whole_length(int(spent.seconds)), length(spent.seconds_max)
        parts.append(f"{used} of {bound} of executions")
    return ", ".join(parts) + " used"


def _cells(breaker: BreakerRow, now: float) -> tuple[str, ...]:
    return (
        breaker.id,
        breaker.state,
        breaker.mode,
        length(now - breaker.since),
        following(breaker, now),
        str(breaker.parked or "-"),
        breaker.reason or "",
    )


def following(breaker: BreakerRow, now: float, *, narrow: bool = False) -> str:
    """What happens next by itself."""
    if breaker.state == "half_open":
        return f"probe by {breaker.probe}" if breaker.probe else "a probe"
    if breaker.state == "closed":
        return "-" if breaker.ramp is None else f"{breaker.ramp} at a time"
    if breaker.mode == "held":
        return "nothing by itself"
    if breaker.due is None or breaker.due <= now:
        return "a probe"
    if narrow:
        return f"a probe in {length(breaker.due - now)}"
    return f"a probe at {instant(breaker.due)} (in {length(breaker.due - now)})"
