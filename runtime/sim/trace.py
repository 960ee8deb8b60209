"""A recorded run as text: columns for reading, JSON lines for programs, Mermaid for a picture.

Text from the run may be anybody's: it is shown with its control characters made visible, and cannot
break out of a line or of a diagram's syntax.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from runtime.sim.case import Failure, Happening, Result

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_MERMAID_EVENTS_MAX: Final = 400  # a renderer gives up on more, and so does a reader
_ACTOR_CHARS_MAX: Final = 28

_encoder = msgspec.json.Encoder(order="deterministic")


def plain(text: str) -> str:
    """Anybody's text on one line, with nothing in it that moves a cursor or turns the writing."""
    return _CONTROL.sub(lambda found: f"<{ord(found[0]):02X}>", text)


def clock(at: float) -> str:
    """Seconds since the beginning as 00:14:02.250, with days in front where there are some."""
    millis = round(at * 1000)
    seconds, millis = divmod(millis, 1000)
    days, seconds = divmod(seconds, 86_400)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{millis:03d}"
    return f"{days}d {text}" if days else text


def length(seconds: float) -> str:
    """A time in the largest unit that fits: 3.2 ms, 17.0 s, 5.1 hours, 2.4 years."""
    for unit, one in (("years", 31_557_600), ("days", 86_400), ("hours", 3_600), ("min", 60)):
        if seconds >= 2 * one:
            return f"{seconds / one:,.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def moved(happening: Happening) -> str:
    """The edges that were taken: queued > running (worker_assigned)."""
    return ", ".join(f"{a} > {b} ({by})" if a else f"{b} ({by})" for a, b, by in happening.edges)


def columns(result: Result) -> Iterator[str]:
    """A line for each event: number, time, a mark, actor, what, and what came of it."""
    happenings = result.happenings
    width = min(_ACTOR_CHARS_MAX, max((len(plain(h.actor)) for h in happenings), default=5))
    what = min(24, max((len(plain(h.what)) for h in happenings), default=4))
    yield f"{'event':>7}  {'time':<13}    {'actor':<{width}}  {'what':<{what}}  and then"
    for happening in happenings:
        mark = _mark(happening, result.failure)
        yield (
            f"#{happening.n:>6}  {clock(happening.at):<13}  {mark} "
            f"{_short(happening.actor, width):<{width}}  {plain(happening.what):<{what}}"
            f"  {_came(happening)}"
        ).rstrip()
    if result.failure is not None:
        yield ""
        yield f"{plain(result.failure.invariant)}: {plain(result.failure.text)}"


def _mark(happening: Happening, failure: Failure | None) -> str:
    if failure is not None and happening.n == failure.n:
        return "X"
    return "!" if happening.fault else " "


def _short(actor: str, width: int) -> str:
    """The end of a name says more than its beginning."""
    text = plain(actor)
    return text if len(text) <= width else "~" + text[len(text) - width + 1 :]


def _came(happening: Happening) -> str:
    parts = [plain(part) for part in (happening.detail, moved(happening)) if part]
    if happening.effects:
        parts.append("-> " + ", ".join(plain(effect) for effect in happening.effects))
    if happening.causes:
        parts.append("<- " + " ".join(f"#{n}" for n in happening.causes))
    return "  ".join(parts)


def json_lines(result: Result) -> Iterator[str]:
    """A JSON object for each event, and a last one with the case and what it came to."""
    for happening in result.happenings:
        yield _encoder.encode(happening).decode()
    yield _encoder.encode(
        {
            "case": result.case,
            "failure": result.failure,
            "trace_hash": result.trace_hash,
            "events": result.events,
            "simulated_s": result.simulated_s,
        }
    ).decode()


# --- Mermaid ----------------------------------------------------------------------------------


def mermaid(result: Result, events_max: int = _MERMAID_EVENTS_MAX) -> Iterator[str]:
    """A sequence diagram of the last `events_max` events: a lane for each actor, an arrow for each
    cause that lies in another lane, faults and the violation as notes."""
    shown = result.happenings[-events_max:]
    names = {actor: f"a{k}" for k, actor in enumerate(dict.fromkeys(h.actor for h in shown))}
    by_n = {happening.n: happening for happening in shown}
    yield "sequenceDiagram"
    for actor, name in names.items():
        yield f"    participant {name} as {_label(actor)}"
    left = len(result.happenings) - len(shown)
    if left and names:
        yield f"    Note over a0: {left} earlier events are left out"
    for happening in shown:
        yield from _step(happening, names, by_n, result.failure)


def _step(
    happening: Happening,
    names: dict[str, str],
    by_n: dict[int, Happening],
    failure: Failure | None,
) -> Iterator[str]:
    here = names[happening.actor]
    if happening.fault:
        said = f"FAULT {happening.what} {happening.detail}"
        yield f"    Note over {here}: #{happening.n} {_label(said)}"
    else:
        causes = [by_n[n] for n in happening.causes if n in by_n]
        sender = names[causes[-1].actor] if causes else here
        yield f"    {sender}->>{here}: #{happening.n} {_label(happening.what)}"
        if happening.edges:
            yield f"    Note right of {here}: {_label(moved(happening))}"
    if failure is not None and failure.n == happening.n:
        yield f"    Note over {here}: BROKEN {_label(failure.invariant + ' ' + failure.text)}"


def _label(text: str) -> str:
    """Text that Mermaid takes as text: its own syntax is written as entities."""
    safe = plain(text)[:120].replace("#", "#35;").replace(";", "#59;").replace("#35#59;", "#35;")
    for mark, entity in (("<", "#lt;"), (">", "#gt;"), (":", "#58;"), ('"', "#quot;")):
        safe = safe.replace(mark, entity)
    return safe or "-"


# --- reading a trace back ---------------------------------------------------------------------


def read_lines(lines: Iterable[str]) -> Sequence[Happening]:
    """The events of a trace that `json_lines` wrote. Raises msgspec.MsgspecError where a line is
    none of it."""
    return [
        msgspec.json.decode(line, type=Happening)
        for line in lines
        if line.strip() and not line.startswith('{"case"')
    ]
