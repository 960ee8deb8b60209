"""What a foreground run shows: the boards of its runs, and the two ways of showing them."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterable
from typing import Any, Protocol

from actors.messages import OWNER_RESTARTED
from runtime.cli.recounting import event_line, seconds
from runtime.view.board import Board
from runtime.view.filters import SEVERITIES
from runtime.view.guards import Guards

_LINES_WAITING_MAX = 10_000
_NOTABLE = SEVERITIES.index("warning")
_SHOWN_KINDS = {"run", "workstream", "task", "test_gate", "circuit_breaker"}
_SHOWN_EVENTS = {"approval_wanted", "gate_approved", "gate_rejected"}


class Scene:
    """The boards of the runs that are watched, and what a person is told besides."""

    def __init__(self) -> None:
        self.boards: dict[str, Board] = {}
        self.guards = Guards()  # as they were a moment ago
        self.said: dict[str, str] = {}  # what running tasks have told of themselves, likewise
        self.notice: str | None = None  # stands until it is replaced
        self.hint = "Ctrl-C drains, twice kills"
        self.seq = 0

    def watch(self, board: Board) -> None:
        self.boards[board.run_id] = board

    def apply(self, event: dict[str, Any]) -> None:
        """Takes one committed event."""
        self.seq = event["seq"]
        board = self.boards.get(event["context"]["run_id"] or "")
        if board is not None:
            board.apply(event, seconds(event["timestamp"]))

    def at_work(self) -> list[str]:
        """The tasks and gates that run now, the longest first."""
        found = [
            each
            for board in self.boards.values()
            for each in (*board.tasks.values(), *board.gates.values())
            if each.state == "running"
        ]
        return [each.id for each in sorted(found, key=lambda each: each.since)]


class Screen(Protocol):
    """Where a run is shown. Nothing here may wait for the reader of stdout: the kernel's loop
    calls it."""

    def open(self, scene: Scene) -> None:
        """From now on the scene is shown."""

    def event(self, event: dict[str, Any]) -> None:
        """An event was applied to the scene."""

    def say(self, *lines: str) -> None:
        """Lines for a person, in order with everything else."""

    def draw(self, now: float) -> None:
        """Called several times a second."""

    def close(self) -> None:
        """Shows the last of it, and returns once it is written. The kernel is gone by then."""


class Writer:
    """Writes text from a thread of its own, so that a reader that stalls stalls nobody else.

    Bounded: what does not fit is dropped, and `refused` says so. A stream that fails is given up.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._waiting: queue.Queue[str | None] = queue.Queue(_LINES_WAITING_MAX)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="banksman-writer", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        return self._waiting.empty()

    def put(self, text: str) -> None:
        """Never waits."""
        if self._dropped:
            text = f"... {self._dropped} lines were not shown: stdout is not read ...\n{text}"
        try:
            self._waiting.put_nowait(text)
        except queue.Full:
            self._dropped += 1
        else:
            self._dropped = 0

    def close(self) -> None:
        """Returns once everything is written, however slow the reader is."""
        self._waiting.put(None)
        self._thread.join()

    def _write(self) -> None:
        broken = False
        while (text := self._waiting.get()) is not None:
            if broken:
                continue
            try:
                self._stream.write(text)
                if self._waiting.empty():
                    self._stream.flush()
            except (OSError, ValueError):
                broken = True  # nobody reads any more; the run goes on all the same


class LineScreen:
    """Without a terminal: one line for each transition of a run, a workstream, a task, a gate or a
    breaker, for what a person is asked, and for whatever else is a warning or worse."""

    def __init__(self, stream: Any = None) -> None:
        self._writer = Writer(sys.stdout if stream is None else stream)
        self._cut = ""

    def open(self, scene: Scene) -> None:
        if len(scene.boards) == 1:
            self._cut = next(iter(scene.boards)) + "/"

    def event(self, event: dict[str, Any]) -> None:
        moved = event["from_state"] not in (None, event["to_state"])
        if event["reason"] == OWNER_RESTARTED:
            return  # the recovery report has said so already
        shown = event["event_type"] in _SHOWN_EVENTS
        if (
            shown
            or (moved and event["entity_type"] in _SHOWN_KINDS)
            or (SEVERITIES.index(event["severity"]) >= _NOTABLE)
        ):
            self._writer.put(event_line(event, cut=self._cut) + "\n")

    def say(self, *lines: str) -> None:
        for line in lines:
            self._writer.put(line + "\n")

    def draw(self, now: float) -> None:
        """Nothing changes here but by events."""

    def close(self) -> None:
        self._writer.close()


def some(ids: Iterable[str], shown: int = 3) -> str:
    """A few ids of many: a, b, c and 4 more."""
    found = list(ids)
    text = ", ".join(found[:shown])
    return text if len(found) <= shown else f"{text} and {len(found) - shown} more"
