"""Finds the line of every key and item of a TOML text, which tomllib does not tell.

One pass over the text, without recursion, in time linear to it. It does not judge: what is TOML is
tomllib's to say. On text that tomllib accepts, every path that tomllib gives is found; on other
text it finds what it can, up to the end.

    text ──▶ header  [a.b] [[a]]       sets the table that keys below belong to
         └─▶ key = value ──▶ scalar    skipped, whatever it holds
                         ├─▶ [ ... ]   a frame that counts its items
                         └─▶ { ... }   a frame that prefixes its keys

Invariants:
1. The position only grows, and grows with every statement, so that any text ends.
2. A table that is only implied by a longer key has that key's line, until it is written itself.
3. What stands on the line of the array or inline table around it is not recorded: `line_of` falls
   back to what is around.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from runtime.limits import KEY_PARTS_MAX
from runtime.plan.fault import Path

_BLANK = re.compile(r"[ \t\r]*")
_BLANKS = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_REST_OF_LINE = re.compile(r"[^\n]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_CLOSING = re.compile(r"[ \t]*\]{1,2}")
_WORD = re.compile(r"[^,\]}#\n]+")  # a number, a date, true, or what is no TOML

# How a string goes on after its opening: escapes are passed, the first other match ends it. Up to
# two quotes of the text may precede the three that close.
_STRINGS = {
    '"""': re.compile(r'\\[\s\S]|"{3,5}'),
    "'''": re.compile(r"'{3,5}"),
    '"': re.compile(r'\\.|"|(?=\n)'),
    "'": re.compile(r"'|(?=\n)"),
}
_OPENING = re.compile("|".join(_STRINGS))

_ESCAPED = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_SHORT_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


class TooDeep(Exception):
    """A key, or values within values, of more than KEY_PARTS_MAX parts; `line` is where."""

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line}: more than {KEY_PARTS_MAX} parts in one key")
        self.line = line


class Lines(NamedTuple):
    """Where the keys of a text are: `written` as such, `implied` by a longer key, and those written
    `again` (path, first line, this line), which TOML forbids."""

    written: dict[Path, int]
    implied: dict[Path, int]
    again: list[tuple[Path, int, int]]


def line_of(lines: Lines, path: Path) -> int | None:
    """The line of `path`, or of the nearest table around it; None where nothing of it is there."""
    for end in range(len(path), 0, -1):
        line = lines.written.get(path[:end]) or lines.implied.get(path[:end])
        if line is not None:
            return line
    return None


def find_lines(text: str) -> Lines:
    """The lines of all keys. Raises TooDeep."""
    scan = _Scan(text)
    while (char := scan.next_char()) is not None:
        if char == "[":
            scan.header()
        else:
            scan.statement()
        scan.take(_REST_OF_LINE)
    return scan.lines


class _Frame:
    """An array (`index` counts its items) or an inline table (`index` None) that is still open."""

    __slots__ = ("index", "line", "path")

    def __init__(self, path: Path, line: int, index: int | None) -> None:
        self.path = path
        self.line = line
        self.index = index


class _Scan:
    """A position in the text, and what was found up to there."""

    def __init__(self, text: str) -> None:
        self.lines = Lines({}, {}, [])
        self._text = text
        self._at = 0
        self._line = 1
        self._line_counted_to = 0
        self._table: Path = ()
        self._begun: dict[Path, int] = {}  # how many tables of an array of tables there are

    def next_char(self) -> str | None:
        """Goes to the next character that is no blank, newline or comment; None at the end."""
        self.take(_BLANKS)
        return self._text[self._at] if self._at < len(self._text) else None

    def take(self, pattern: re.Pattern[str]) -> bool:
        """Goes past `pattern`, if it stands here."""
        found = pattern.match(self._text, self._at)
        if found is None:
            return False
        self._at = found.end()
        return True

    def header(self) -> None:
        """Takes `[a.b]` or `[[a.b]]`: the keys below belong there."""
        line = self._line_here()
        many = self._text.startswith("[[", self._at)
        self._at += 2 if many else 1
        self.take(_BLANK)
        parts = self._key()
        self.take(_CLOSING)
        path: Path = ()
        for part in parts[:-1]:
            path = self._latest((*path, part))
            self.lines.implied.setdefault(path, line)
        path = (*path, *parts[-1:])
        if many:
            self.lines.implied.setdefault(path, line)
            self._begun[path] = self._begun.get(path, 0) + 1
        self._table = self._latest(path)
        if parts:
            self._write(self._table, line)

    def statement(self) -> None:
        """Takes `key = value`, with all that is nested in the value."""
        frames: list[_Frame] = []
        path = self._key_of(self._table, None)
        while path is not None:
            opened = self._open_or_skip(path)
            if opened is not None:
                frames.append(opened)
                if len(frames) > KEY_PARTS_MAX:
                    raise TooDeep(self._line_here())
            path = self._next_in(frames)

    def _key_of(self, table: Path, around: _Frame | None) -> Path | None:
        """Takes `a.b =` of `table`; None where no key stands."""
        line = self._line_here()
        parts = self._key()
        if not parts:
            return None
        path = (*table, *parts)
        if around is None or around.line != line:
            for end in range(len(table) + 1, len(path)):
                self.lines.implied.setdefault(path[:end], line)
            self._write(path, line)
        return path if self.take(_EQUALS) else None

    def _open_or_skip(self, path: Path) -> _Frame | None:
        char = self._text[self._at : self._at + 1]
        if char in {"[", "{"}:
            self._at += 1
            return _Frame(path, self._line_here(), 0 if char == "[" else None)
        if not self._string():
            self.take(_WORD)
        return None

    def _next_in(self, frames: list[_Frame]) -> Path | None:
        """The path of the next value inside the open frames; None when all are closed."""
        while frames:
            frame = frames[-1]
            char = self.next_char()
            if char is None:
                return None
            if char in "]}":
                self._at += 1
                frames.pop()
            elif char == ",":
                self._at += 1
            elif frame.index is None:
                return self._key_of(frame.path, frame)
            else:
                path = (*frame.path, frame.index)
                frame.index += 1
                line = self._line_here()
                if line != frame.line:
                    self._write(path, line)
                return path
        return None

    def _write(self, path: Path, line: int) -> None:
        first = self.lines.written.setdefault(path, line)
        if first != line:
            self.lines.again.append((path, first, line))

    def _latest(self, path: Path) -> Path:
        """An array of tables stands for its last table."""
        begun = self._begun.get(path)
        return path if begun is None else (*path, begun - 1)

    def _key(self) -> list[str]:
        """Takes the parts of a dotted key; none where no key stands."""
        parts: list[str] = []
        while (part := self._key_part()) is not None:
            parts.append(part)
            if len(parts) > KEY_PARTS_MAX:
                raise TooDeep(self._line_here())
            if not self.take(_DOT):
                break
        return parts

    def _key_part(self) -> str | None:
        start = self._at
        if self.take(_BARE_KEY):
            return self._text[start : self._at]
        if not self._string():
            return None
        inside = self._text[start + 1 : self._at - 1]
        return inside if self._text[start] == "'" else _ESCAPED.sub(_unescaped, inside)

    def _string(self) -> bool:
        """Goes past a string, if one stands here; past the line if it is not closed."""
        opening = _OPENING.match(self._text, self._at)
        if opening is None:
            return False
        going_on = _STRINGS[opening.group()]
        found = going_on.search(self._text, opening.end())
        while found is not None and found.group().startswith("\\"):
            found = going_on.search(self._text, found.end())
        self._at = len(self._text) if found is None else found.end()
        return True

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._line_counted_to, self._at)
        self._line_counted_to = self._at
        return self._line


def _unescaped(found: re.Match[str]) -> str:
    code = found.group(1)
    if len(code) == 1:
        return _SHORT_ESCAPES.get(code, code)
    point = int(code[1:], 16)
    return chr(point) if point < 0x110000 else "\ufffd"
