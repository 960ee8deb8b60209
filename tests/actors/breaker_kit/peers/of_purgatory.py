"""purgatory, by the context manager that its factory gives, with its store in memory."""

from __future__ import annotations

from typing import Any
from unittest import mock

import purgatory.domain.model
from purgatory import ContextChanged, SyncCircuitBreakerFactory, SyncInMemoryUnitOfWork
from purgatory.domain.model import OpenedState

from tests.actors.breaker_kit.peers.common import (
    Call,
    CallerFault,
    Peer,
    PeerPermit,
    PeerRecord,
)
from tests.actors.breaker_kit.port import Absent

_STATES = {"closed": "closed", "opened": "open", "half-opened": "half_open"}


class Purgatory(Peer):
    def __init__(self, name: str = "tool", **settings: Any) -> None:
        super().__init__(name, **settings)
        self._store = SyncInMemoryUnitOfWork()
        self._last = "closed"
        self.renew()

    def renew(self) -> None:
        self._factory = SyncCircuitBreakerFactory(
            default_threshold=self.failure_threshold,
            default_ttl=self.cooldown_s,
            exclude=[CallerFault],
            uow=self._store,
        )
        self._factory.add_listener(self._hear)

    def _hear(self, _name: str, _what: str, event: Any) -> None:
        if isinstance(event, ContextChanged):
            state = _STATES[event.state]
            self.records.append(PeerRecord(self._last, state))  # type: ignore[arg-type]
            self._last = state

    @property
    def _context(self) -> Any:
        return self._factory.get_breaker(self.name).context

    @property
    def state(self) -> str:
        return _STATES[self._context.state]

    @property
    def due(self) -> float | None:
        if self.state != "open":
            return None
        return float(self._context.opened_at + self.cooldown_s)

    def show(self) -> tuple[Any, ...]:
        return (self.state, self._context.failure_count, self.due)

    def begin(self) -> Call | PeerPermit:
        breaker = self._factory.get_breaker(self.name)
        with mock.patch.object(purgatory.domain.model, "time", self):
            try:
                breaker.__enter__()
            except OpenedState:
                return PeerPermit(admitted=False)

        def end(raised: BaseException | None) -> None:
            with mock.patch.object(purgatory.domain.model, "time", self):
                breaker.__exit__(type(raised) if raised else None, raised, None)

        return end

    def time(self) -> float:
        """Stands where the model looks for the module `time`."""
        return self.clock.now

    def operate(self, verb: str, *, passed: bool = True) -> bool:
        raise Absent(f"the verb {verb}")
