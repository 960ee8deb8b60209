"""The lines of a patch, handed out once each, and the one exception of whoever reads them."""

from __future__ import annotations

from runtime.ledger.reasons import RULES


class Malformed(Exception):
    """The patch breaks the rule `code`, first in line `line`."""

    def __init__(self, code: str, line: int) -> None:
        super().__init__(f"line {line}: {RULES[code].text}")
        self.code = code
        self.line = line


class Lines:
    """Lines end with a line feed alone, the last too: one without it is cut off."""

    def __init__(self, text: bytes) -> None:
        self._lines = text.split(b"\n")
        self._rest = self._lines.pop()
        self._at = 0
        self.unpacked = 0  # bytes, of all binary files so far

    @property
    def done(self) -> bool:
        """Whether all were taken. Raises Malformed where the last has no end."""
        if self._at < len(self._lines):
            return False
        if self._rest:
            raise Malformed("truncated" if self._at else "no_diff", self.number)
        return True

    @property
    def line(self) -> bytes:
        return self._lines[self._at]

    @property
    def number(self) -> int:
        """Of the next line, from 1."""
        return self._at + 1

    def take(self) -> bytes:
        self._at += 1
        return self._lines[self._at - 1]

    def any_begins(self, words: tuple[bytes, ...]) -> bool:
        """Whether any line begins so."""
        return any(line.startswith(words) for line in self._lines)

    def only_blank_follows(self) -> bool:
        """Whether nothing but empty lines is left; they are behind us then. Asked once."""
        while not self.done and not self.line:
            self.take()
        return self.done
