"""aiobreaker, by its `call_async()`, whose coroutine the adapter drives itself: no loop needed."""

from __future__ import annotations

import math
from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, timedelta
from typing import Any
from unittest import mock

import aiobreaker
import aiobreaker.circuitbreaker
import aiobreaker.state
from aiobreaker.storage.memory import CircuitMemoryStorage

from tests.actors.breaker_kit.peers.common import (
    Call,
    CallerFault,
    Cancelled,
    Peer,
    PeerPermit,
    PeerRecord,
    TimedRefusal,
    ToolFailure,
)
from tests.actors.breaker_kit.port import Absent

_HEARD = (aiobreaker.CircuitBreakerError, ToolFailure, CallerFault, Cancelled, StopIteration)


class _UnderWay:
    """The guarded call: it stands still until its result is sent or thrown in."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Aiobreaker(Peer):
    def __init__(self, name: str = "tool", **settings: Any) -> None:
        super().__init__(name, **settings)
        self._storage = CircuitMemoryStorage(aiobreaker.CircuitBreakerState.CLOSED)
        self._datetime = self.clock.datetime_type()
        self.renew()

    def renew(self) -> None:
        self._breaker = aiobreaker.CircuitBreaker(
            fail_max=self.failure_threshold,
            timeout_duration=timedelta(seconds=self.cooldown_s),
            exclude=[CallerFault],
            listeners=[_Listener(self.records)],
            state_storage=self._storage,
            name=self.name,
        )

    @property
    def state(self) -> str:
        return self._breaker.current_state.name.lower()

    @property
    def due(self) -> float | None:
        opened_at = self._storage.opened_at
        if self.state != "open" or opened_at is None:
            return None
        return float(opened_at.replace(tzinfo=UTC).timestamp() + self.cooldown_s)

    def show(self) -> tuple[Any, ...]:
        return (self.state, self._breaker.fail_counter, self.due)

    def begin(self) -> Call | PeerPermit:
        async def guarded() -> None:
            await _UnderWay()

        call = self._breaker.call_async(guarded)
        with self._clock_in_place():
            try:
                call.send(None)
            except aiobreaker.CircuitBreakerError as refusal:
                return TimedRefusal(math.ceil(refusal.time_remaining.total_seconds()))
        return lambda raised: self._end(call, raised)

    def _end(self, call: Coroutine[Any, Any, Any], raised: BaseException | None) -> None:
        with self._clock_in_place(), suppress(*_HEARD):
            if raised is None:
                call.send(None)
            else:
                call.throw(raised)

    @contextmanager
    def _clock_in_place(self) -> Iterator[None]:
        with (
            mock.patch.object(aiobreaker.circuitbreaker, "datetime", self._datetime),
            mock.patch.object(aiobreaker.state, "datetime", self._datetime),
        ):
            yield

    def operate(self, verb: str, *, passed: bool = True) -> bool:
        with self._clock_in_place():
            match verb:
                case "open":
                    self._breaker.open()
                case "close":
                    self._breaker.close()
                case _:
                    raise Absent(f"the verb {verb}")
        return True


class _Listener(aiobreaker.CircuitBreakerListener):
    def __init__(self, records: list[Any]) -> None:
        self._records = records

    def state_change(self, breaker: Any, old: Any, new: Any) -> None:
        self._records.append(PeerRecord(old.state.name.lower(), new.state.name.lower()))
