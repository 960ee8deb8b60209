"""The live view on a terminal: a few frames a second, drawn in place, never waiting for it.

The cursor is never hidden and no mode is set: whoever is killed with this on screen leaves a
terminal that needs no repair.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from runtime.cli.frame import Heights, Style, frame
from runtime.cli.scene import Scene, Writer
from runtime.view.board import Underway
from runtime.view.printed import last_line, output_path

_FRAME_S = 0.2  # smooth enough for a table of numbers, and a hundredth of a core
_LOOK_S = 1.0  # how often a task's last line is read
_LINE_MAX = 200


class LiveScreen:
    """Draws the scene in place. Frames are dropped while the terminal does not take them."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._writer = Writer(sys.stdout)
        self._buffer = io.StringIO()
        self._console = Console(
            file=self._buffer, force_terminal=True, highlight=False, emoji=False, markup=False
        )
        self._unicode = (sys.stdout.encoding or "").lower().startswith("utf")
        self._heights = Heights()
        self._scene: Scene | None = None
        self._size = os.terminal_size((0, 0))
        self._rows = 0  # of the frame on the screen
        self._drawn = (-1, -1)
        self._drawn_at = 0.0
        self._printed: dict[str, tuple[float, int, str]] = {}

    def open(self, scene: Scene) -> None:
        self._scene = scene

    def event(self, event: dict[str, Any]) -> None:
        """The next frame shows it."""

    def say(self, *lines: str) -> None:
        """Above the frame, which is drawn again below."""
        self._writer.put(
            self._erase() + "\x1b[J" * bool(self._scene) + "".join(f"{line}\n" for line in lines)
        )
        self._drawn = (-1, -1)

    def draw(self, now: float) -> None:
        """A frame, if there is something new to see: a change, or another second gone."""
        scene = self._scene
        if scene is None or not self._writer.idle or now - self._drawn_at < _FRAME_S:
            return
        seen = (sum(b.changes for b in scene.boards.values()), int(now))
        if seen == self._drawn:
            return
        self._drawn, self._drawn_at = seen, now
        self._put(scene, now)

    def close(self) -> None:
        self._writer.put(self._erase() + "\x1b[J")
        self._writer.close()

    def _put(self, scene: Scene, now: float) -> None:
        size = shutil.get_terminal_size()
        begin = self._erase() if size == self._size else self._start_over()
        self._size = size
        # The last column stays empty: some terminals wrap as soon as it is filled.
        style = Style(max(20, size.columns - 1), max(5, size.lines - 1), self._unicode)
        rows = frame(scene, style, self._heights, now, lambda each: self._last_line(each, now))
        self._rows = len(rows)
        self._writer.put(begin + "".join(self._ansi(row) + "\x1b[K\n" for row in rows) + "\x1b[J")

    def _erase(self) -> str:
        """Goes back to the frame's first row. What stands there is overwritten row by row, which
        does not flicker as clearing it would."""
        begin = f"\x1b[{self._rows}A\r" if self._rows else ""
        self._rows = 0
        return begin

    def _start_over(self) -> str:
        # Rows of the former width may have wrapped: how many there are now is unknown.
        first = self._rows == 0
        self._rows = 0
        return "" if first else "\x1b[H\x1b[2J"

    def _ansi(self, row: Text) -> str:
        self._buffer.seek(0)
        self._buffer.truncate()
        self._console.print(row, end="", no_wrap=True, overflow="ignore", crop=False)
        return self._buffer.getvalue()

    def _last_line(self, each: Underway, now: float) -> str:
        known = self._printed.get(each.id)
        if known is not None and now - known[0] < _LOOK_S:
            return known[2]
        attempt = max(each.attempt, known[1] if known is not None else 1)
        # Attempts that the machine ended are not counted as retries, but have files of their own.
        while output_path(self._state_dir, each.id, attempt + 1).exists():
            attempt += 1
        line = last_line(output_path(self._state_dir, each.id, attempt), _LINE_MAX)
        self._printed[each.id] = (now, attempt, line)
        if len(self._printed) > 1_000:
            self._printed.clear()
        return line
