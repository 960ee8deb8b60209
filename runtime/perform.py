"""Users' own effects: performed after the commit, at least once, with a key that stays the same.

Invariants:
1. A `Perform` is a row of the outbox from the commit of its decision to the commit of the turn
   that took its outcome.
2. Effects of one name run in commit order, one at a time.
3. After a restart it is offered again with the same key and `perhaps_done` true.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from actors.messages import Performed
from runtime.errors import cause_of
from runtime.inbox import Envelope

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

Performer = Callable[[str, Any, bool], Awaitable[Any]]
"""`await performer(key, payload, perhaps_done)`: what it returns becomes `Performed.result`."""


class Performers:
    """The performers registered by name, each with its line of effects."""

    def __init__(
        self, performers: Mapping[str, Performer], offer: Callable[[Envelope], None]
    ) -> None:
        self._performers = performers
        self._offer = offer
        self._lines: dict[str, deque[tuple[int, str, str, Any, bool]]] = {}
        self._group: TaskGroup | None = None
        self._closing = False

    @property
    def busy(self) -> bool:
        return bool(self._lines)

    def start(self, group: TaskGroup) -> None:
        self._group = group

    def close(self) -> None:
        """Begins no further effect: they are rows, and the next owner's."""
        self._closing = True

    def perform(
        self,
        row: int,
        actor: str,
        name: str,
        key: str,
        payload: Any,
        *,
        perhaps_done: bool = False,
    ) -> None:
        """Puts the effect at the end of its name's line. Never raises: outcomes are messages."""
        if self._closing:
            return
        line = self._lines.get(name)
        effect = (row, actor, key, payload, perhaps_done)
        if line is not None:
            line.append(effect)
            return
        self._lines[name] = deque([effect])
        assert self._group is not None
        self._group.start_soon(self._run, name)

    async def _run(self, name: str) -> None:
        line = self._lines[name]
        while line and not self._closing:
            row, actor, key, payload, perhaps_done = line.popleft()
            outcome = await self._once(name, key, payload, perhaps_done)
            self._offer(Envelope(actor, outcome, kept=True, outbox=row))
        del self._lines[name]

    async def _once(self, name: str, key: str, payload: Any, perhaps_done: bool) -> Performed:
        performer = self._performers.get(name)
        if performer is None:
            return Performed(key, error=f"no performer is registered under {name!r}")
        try:
            return Performed(key, result=await performer(key, payload, perhaps_done))
        except Exception as error:  # noqa: BLE001 (a user's code: its failure is the actor's to judge)
            return Performed(key, error=cause_of(error))
