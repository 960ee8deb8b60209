"""The trace of a recorded run: every happening with what led to it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from runtime.inbox import Envelope
from runtime.sim.case import Happening

if TYPE_CHECKING:
    from runtime.cell import Cell
    from runtime.sim.engine import Engine
    from runtime.timers import Timer

_SAID_MAX = 160


class Recorder:
    """Writes happenings down. Only where somebody reads them: it costs several times a run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.happenings: list[Happening] = []
        self._causes: dict[Envelope, int] = {}  # the happening that sent it
        self._armed: dict[Timer, int] = {}
        self._taken: Envelope | None = None
        self._sent = 0
        self._turns: dict[str, int] = {}
        self._last = 0  # the happening outside that reports come from
        self._within = False

    def before(self, cell: Cell) -> None:
        """The cell is about to take a turn."""
        lane: deque[Any] = cell.control or cell.inbox or deque()
        item = lane[0] if lane else None
        self._taken = item if isinstance(item, Envelope) else None
        kernel = self._engine.kernel
        assert kernel is not None
        self._sent = len(kernel.turns.open.sent)
        self._turns[cell.address] = self._turns.get(cell.address, 0) + 1
        self._within = True

    def after(self, cell: Cell, before: Any, message: Any, decision: Any, _after: Any) -> None:
        """It has taken it."""
        self._within = False
        n = self._engine.n
        kernel = self._engine.kernel
        assert kernel is not None
        for envelope in kernel.turns.open.sent[self._sent :]:
            self._causes[envelope] = n
        for timer in (cell.timers or {}).values():
            self._armed.setdefault(timer, n)
        self._write(
            n,
            cell.address,
            type(message).__name__,
            f"order/{cell.address}/{self._turns[cell.address]}",
            _said(message),
            tuple((str(t.source or ""), str(t.target), t.trigger) for t in decision.edges),
            tuple(_effect(effect) for effect in decision.effects),
            self._cause(),
        )

    def _cause(self) -> tuple[int, ...]:
        taken = self._taken
        if taken is None:
            return ()
        timer = taken.timer
        cause = self._armed.get(timer) if timer is not None else self._causes.get(taken)
        return () if cause is None else (cause,)

    def told(self, envelope: Envelope) -> None:
        """An input from outside: it comes of what happened outside last."""
        self._causes[envelope] = self._last or self._engine.n

    def commit(self) -> None:
        """An epoch is about to be durable."""
        kernel = self._engine.kernel
        epoch = kernel.in_flight if kernel is not None else None
        rows = len(epoch.entries) if epoch is not None else 0
        self.outside("commit", "store", "", f"{rows} rows")

    def outside(
        self, what: str, actor: str, key: str, detail: str = "", *, fault: bool = False
    ) -> None:
        """Something that is no turn."""
        self._last = self._engine.n
        self._write(self._last, actor, what, key, detail, (), (), (), fault=fault)

    def _write(
        self,
        n: int,
        actor: str,
        what: str,
        key: str,
        detail: str,
        edges: tuple[tuple[str, str, str], ...],
        effects: tuple[str, ...],
        causes: tuple[int, ...],
        *,
        fault: bool = False,
    ) -> None:
        at = round(self._engine.us / 1e6, 6)
        self.happenings.append(
            Happening(n, at, actor, what, key, detail, edges, effects, causes, fault)
        )


def _said(message: Any) -> str:
    text = repr(message)
    _, _, fields = text.partition("(")
    return fields.removesuffix(")")[:_SAID_MAX]


def _effect(effect: Any) -> str:
    name = type(effect).__name__
    if name == "Send":
        return f"Send {type(effect.message).__name__} to {effect.to}"
    target = getattr(effect, "key", None) or getattr(effect, "uet", None)
    return f"{name} {target}" if target else name
