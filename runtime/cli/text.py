"""Text for a person: colours, times, columns, and foreign text that cannot touch the terminal."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from runtime.view.told import instant, length

__all__ = [
    "brief",
    "clean",
    "colours",
    "columns",
    "counted",
    "instant",
    "length",
    "one_line",
    "paint",
    "size",
    "state",
    "tame",
]

_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}

STATE_STYLES = {
    "completed": "green",
    "passed": "green",
    "running": "cyan",
    "busy": "cyan",
    "validating": "cyan",
    "draining": "cyan",
    "retrying": "yellow",
    "blocked": "yellow",
    "paused": "yellow",
    "open": "red",
    "half_open": "yellow",
    "closed": "green",
    "unresponsive": "yellow",
    "failed": "red",
    "cancelled": "dim",
    "skipped": "dim",
    "shutdown": "dim",
    "terminated": "dim",
}

SEVERITY_STYLES = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "red"}


_MEASURED = 1_000


def colours() -> bool:
    """Whether stdout takes colours: a terminal that is not told otherwise."""
    return (
        sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "") not in ("", "dumb")
    )


def paint(text: str, style: str | None) -> str:
    if style is None or not colours():
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def state(name: str, width: int = 0) -> str:
    """A state's name in its colour, padded to `width`."""
    return paint(name.ljust(width), STATE_STYLES.get(name))


# C0 but tab and newline, DEL, C1, the marks that reorder what stands beside them, and halves of
# characters, which no terminal can be sent.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
# Colours of a tool's own; what else it may send is made visible.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def clean(text: str) -> str:
    """Foreign text with its control characters made visible: it cannot move the cursor, hide what
    stands beside it or set a title."""
    return _CONTROL.sub(_visible, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """Foreign text as a single line."""
    return " ".join(clean(text).split())


def tame(text: str) -> str:
    """What a tool printed as a single line, without its colours and harmless."""
    return one_line(_ESCAPES.sub("", text))


def brief(reason: str | None, cut: str) -> str:
    """A reason as a single line, without the prefix `cut` of the ids in it."""
    if not reason:
        return ""
    return one_line(reason.replace(cut, "") if cut else reason)


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20 or code == 0x7F:
        return "^" + chr(code ^ 0x40)
    return f"<U+{code:04X}>"


def size(count: int) -> str:
    """Bytes for a person."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def counted(count: int, noun: str, nouns: str = "") -> str:
    """1 task, 3 tasks, no tasks."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {nouns or noun + 's'}" if count else f"no {nouns or noun + 's'}"


def columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of aligned columns; the last column is as long as it is. A cell is plain text; one
    that is a state's name gets its colour. Without a row: nothing."""
    rest = iter(rows)
    # Widths come from the first rows alone, so that a million of them need no memory.
    first = [[one_line(cell) for cell in row] for row in islice(rest, _MEASURED)]
    if not first:
        return
    widths = [max(len(row[i]) for row in [list(head), *first]) for i in range(len(head))]
    title = "  ".join(h.upper().ljust(w) for h, w in zip(head, widths, strict=True))
    yield paint(title.rstrip(), "dim")
    for row in chain(first, ([one_line(cell) for cell in row] for row in rest)):
        padded = [_cell(cell, width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(padded).rstrip()


def _cell(cell: str, width: int) -> str:
    return state(cell, width) if cell in STATE_STYLES else cell.ljust(width)
