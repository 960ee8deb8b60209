"""pybreaker, by its `calling()`: of its ways to guard a call the one that holds no lock meanwhile.

By its `call()` a second caller waits for the first, which would be no answer to a case.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from unittest import mock

import pybreaker

from tests.actors.breaker_kit.peers.common import (
    Call,
    CallerFault,
    Cancelled,
    Peer,
    PeerPermit,
    PeerRecord,
    ToolFailure,
)
from tests.actors.breaker_kit.port import Absent

_HEARD = (pybreaker.CircuitBreakerError, ToolFailure, CallerFault, Cancelled)
_STATES = {"closed": "closed", "open": "open", "half-open": "half_open"}


class Pybreaker(Peer):
    settings = Peer.settings | {"success_threshold"}

    def __init__(self, name: str = "tool", **settings: Any) -> None:
        self._under_way: set[Any] = set()
        super().__init__(name, **settings)
        self._storage = pybreaker.CircuitMemoryStorage(pybreaker.STATE_CLOSED)
        self._datetime = self.clock.datetime_type()
        self.renew()

    def __del__(self) -> None:
        # A context that is merely dropped ends with GeneratorExit, loudly: pybreaker counts it.
        for context in self._under_way:
            with suppress(BaseException):
                context.__exit__(None, None, None)

    def renew(self) -> None:
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=self.failure_threshold,
            reset_timeout=self.cooldown_s,
            success_threshold=self.success_threshold,
            exclude=[CallerFault],
            listeners=[_Listener(self.records)],
            state_storage=self._storage,
            name=self.name,
        )

    @property
    def state(self) -> str:
        return _STATES[self._breaker.current_state]

    @property
    def due(self) -> float | None:
        opened_at = self._storage.opened_at
        if self.state != "open" or opened_at is None:
            return None
        return float(opened_at.timestamp() + self.cooldown_s)

    def show(self) -> tuple[Any, ...]:
        breaker = self._breaker
        return (self.state, breaker.fail_counter, breaker.success_counter, self.due)

    def begin(self) -> Call | PeerPermit:
        context = self._breaker.calling()
        with mock.patch.object(pybreaker, "datetime", self._datetime):
            try:
                context.__enter__()
            except pybreaker.CircuitBreakerError:
                return PeerPermit(admitted=False)
        self._under_way.add(context)

        def end(raised: BaseException | None) -> None:
            self._under_way.discard(context)
            with mock.patch.object(pybreaker, "datetime", self._datetime), suppress(*_HEARD):
                context.__exit__(type(raised) if raised else None, raised, None)

        return end

    def operate(self, verb: str, *, passed: bool = True) -> bool:
        with mock.patch.object(pybreaker, "datetime", self._datetime):
            match verb:
                case "open":
                    self._breaker.open()
                case "close":
                    self._breaker.close()
                case _:
                    raise Absent(f"the verb {verb}")
        return True


class _Listener(pybreaker.CircuitBreakerListener):
    def __init__(self, records: list[Any]) -> None:
        self._records = records

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        self._records.append(PeerRecord(_STATES[old_state.name], _STATES[new_state.name]))
