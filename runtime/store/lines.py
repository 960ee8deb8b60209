"""transitions.jsonl held against the rows, line by line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from runtime.store.findings import Finding

# A live owner appends a line right after the commit of its row: waited for at most so long.
_PATIENCE_S = 5.0
_LINE_MAX = 1 << 26


class Lines:
    """The file from its first line on. After the first line that is wrong, the rest is not read:
    every later one would be."""

    def __init__(self, path: Path, *, owned: Callable[[], bool], clean: bool) -> None:
        """`owned`: whether an owner lives; `clean`: whether the last one closed the store."""
        self.read = 0
        self.notes: tuple[str, ...] = ()
        self._name = path.name
        self._owned = owned
        self._clean = clean
        self._file = path.open("rb") if path.exists() else None
        self._wrong = False

    def expect(self, seq: int, line: bytes) -> Iterator[Finding]:
        """The next line must be `line`, that of row `seq`."""
        if self._wrong:
            return
        found = self._next()
        if found == line + b"\n":
            self.read += 1
            return
        self._wrong = True
        if found.endswith(b"\n"):
            yield self._finding(seq, f"it is not the event of row {seq}")
        elif not self._clean and not self._owned():
            text = f"it ends before row {seq}, as a crash left it; the next owner completes it"
            self.notes = (f"{self._name}: {text}",)
        else:
            yield self._finding(seq, f"it ends before the event of row {seq}")

    def end(self) -> Iterator[Finding]:
        """There is no further row."""
        if self._wrong or self._file is None or self._owned():
            return
        if self._file.readline(_LINE_MAX):
            yield Finding("jsonl", f"{self._name}:{self.read + 1}", "it is ahead of the database")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _next(self) -> bytes:
        if self._file is None:
            return b""
        until = time.monotonic() + _PATIENCE_S
        found = self._file.readline(_LINE_MAX)
        while not found.endswith(b"\n") and self._owned() and time.monotonic() < until:
            time.sleep(0.01)
            found += self._file.readline(_LINE_MAX)
        return found

    def _finding(self, seq: int, text: str) -> Finding:
        return Finding("jsonl", f"{self._name}:{self.read + 1} (row {seq})", text)
