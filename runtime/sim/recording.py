"""The trace of a recorded run: every happening with what led to it."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Any

from actors.effects import Perform, Spawn
from runtime.inbox import Envelope
from runtime.sim.case import Happening

if TYPE_CHECKING:
    from runtime.cell import Cell
    from runtime.sim.engine import Engine
    from runtime.timers import Timer

_SAID_MAX = 160
_MEMBER = re.compile(r"<\w+\.\w+: ('[^']*')>")  # of an enumeration: its value says enough
_CAUSES_MAX = 16  # of a commit: the turns in it
_OF_FAULTS = frozenset({"crash", "boot"})  # each comes of the one before it, not of a commit


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
        self._fallen = 0  # the last fault or crash
        self._since: list[int] = []  # turns since the last commit
        self._commit = 0  # the last commit, of which comes what leaves
        self._asked: dict[str, int] = {}  # the turn that asked for it, by lease or by name and key
        self._under_way: tuple[int, Cell, Any] | None = None  # the turn, and what it takes

    def before(self, cell: Cell) -> None:
        """The cell is about to take a turn."""
        self.flush()
        lane: deque[Any] = cell.control or cell.inbox or deque()
        item = lane[0] if lane else None
        self._taken = item if isinstance(item, Envelope) else None
        kernel = self._engine.kernel
        assert kernel is not None
        self._sent = len(kernel.turns.open.sent)
        self._turns[cell.address] = self._turns.get(cell.address, 0) + 1
        message = item.item if isinstance(item, Envelope) else item
        self._under_way = (self._engine.n, cell, message)

    def flush(self) -> None:
        """A turn of which nobody tells more, or that broke a promise, is on record all the same."""
        if self._under_way is None:
            return
        n, cell, message = self._under_way
        self._under_way = None
        if message is None:
            return  # what it was woken for has been withdrawn
        kernel = self._engine.kernel
        if kernel is not None:
            for envelope in kernel.turns.open.sent[self._sent :]:
                self._causes.setdefault(envelope, n)
        self._write(
            n,
            cell.address,
            type(message).__name__,
            f"order/{cell.address}/{self._turns[cell.address]}",
            _said(message),
            (),
            (),
            self._cause(),
        )

    def after(self, cell: Cell, before: Any, message: Any, decision: Any, _after: Any) -> None:
        """It has taken it."""
        self._under_way = None
        n = self._engine.n
        self._since.append(n)
        kernel = self._engine.kernel
        assert kernel is not None
        for envelope in kernel.turns.open.sent[self._sent :]:
            self._causes[envelope] = n
        for timer in (cell.timers or {}).values():
            self._armed.setdefault(timer, n)
        for effect in decision.effects:
            self._asked[_identity(effect)] = n
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
        """An input from outside: it comes of what happened there just now, if anything did."""
        if self._last == self._engine.n:
            self._causes[envelope] = self._last

    def reported(self, envelope: Envelope) -> None:
        """The outcome of an effect, which left after a commit."""
        if self._commit:
            self._causes.setdefault(envelope, self._commit)

    def commit(self) -> None:
        """An epoch is about to be durable."""
        self.flush()
        kernel = self._engine.kernel
        epoch = kernel.in_flight if kernel is not None else None
        rows = len(epoch.entries) if epoch is not None else 0
        causes = tuple(self._since[-_CAUSES_MAX:])
        self._since.clear()
        self._commit = self._last = self._engine.n
        self._write(self._last, "store", "commit", "", f"{rows} rows", (), (), causes)

    def outside(
        self, what: str, actor: str, key: str, detail: str = "", *, fault: bool = False
    ) -> None:
        """Something that is no turn."""
        self.flush()
        cause = 0 if fault else self._asked.get(detail, self._commit)
        if what in _OF_FAULTS:
            cause = self._fallen
        self._last = self._engine.n
        if fault or what in _OF_FAULTS:
            self._fallen = self._last
        causes = (cause,) if cause else ()
        self._write(self._last, actor, what, key, detail, (), (), causes, fault=fault)

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
    text = _MEMBER.sub(r"\1", repr(message))
    _, _, fields = text.partition("(")
    return fields.removesuffix(")")[:_SAID_MAX]


def _identity(effect: Any) -> str:
    """What tells the effect from others, as the world outside says it."""
    if isinstance(effect, Perform):
        return str((effect.name, effect.key))
    return str(getattr(effect, "lease", ""))


def _effect(effect: Any) -> str:
    name = type(effect).__name__
    if name == "Send":
        return f"Send {type(effect.message).__name__} to {effect.to}"
    if isinstance(effect, Spawn):
        return f"Spawn {effect.kind}:{effect.value.id}"
    target = getattr(effect, "key", None) or getattr(effect, "uet", None)
    return f"{name} {target}" if target else name
