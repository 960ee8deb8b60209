"""The line that moves while a simulation runs; on anything but a terminal there is none."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from runtime.sim.explore import Standing

_EVERY_S = 0.1
_WIDTH = 80  # of a terminal that does not say
_CLEAR = "\r\x1b[K"


class Live:
    """Shows where a campaign stands, on one line that is taken away in the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shows = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
        self._next = 0.0

    def __enter__(self) -> Live:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shows:
            self._stream.write(_CLEAR)
            self._stream.flush()

    def say(self, standing: Standing) -> None:
        """Takes note of where it stands; shows it now and then."""
        now = time.monotonic()
        if not self._shows or now < self._next:
            return
        self._next = now + _EVERY_S
        try:
            width = os.get_terminal_size(self._stream.fileno()).columns or _WIDTH
        except OSError:
            width = _WIDTH
        self._stream.write(_CLEAR + line(standing)[: max(20, width - 1)])
        self._stream.flush()


def line(standing: Standing) -> str:
    """Seeds done, speed, simulated time, states, and the chance of a new one."""
    from runtime.sim.report import share  # noqa: PLC0415 - the caller has it loaded
    from runtime.sim.trace import length  # noqa: PLC0415 - likewise

    shrinking, e = standing.shrinking, standing.explored
    if shrinking is not None:
        extent = shrinking.extent
        return (
            f"{standing.name}  making it smaller: {shrinking.stage}  {shrinking.runs} runs  "
            f"{extent.faults} faults, {extent.choices} choices, {extent.events:,} events left"
        )
    seeds = f"{e.runs:,} of {standing.seeds:,}" if standing.seeds is not None else f"{e.runs:,}"
    speed = e.events / e.seconds if e.seconds else 0.0
    return (
        f"{standing.name}  {seeds} seeds  {speed:,.0f} events/s  {length(e.simulated_s)} simulated"
        f"  {e.states:,} states  new in the next: {share(e.unseen)}  bugs: {standing.bugs}"
    )
