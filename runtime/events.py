"""Committed events on their way to subscribers inside this process.

Invariants:
1. A subscriber sees every event from where it began, once, in order of `seq`, and none before its
   commit.
2. It never makes the kernel wait or grow: one that lags by too much is ended with `Lagged`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import msgspec

from runtime.errors import BanksmanError
from runtime.limits import EVENTS_QUEUE_MAX
from runtime.store.read import events_since

_decode = msgspec.json.Decoder().decode


class Lagged(BanksmanError):
    """The subscriber was too slow; it may subscribe again from `seq`."""

    def __init__(self, seq: int) -> None:
        super().__init__(f"the subscriber lags too far behind; subscribe again from seq {seq}")
        self.seq = seq


class _Subscriber:
    __slots__ = ("lagged", "lines", "more")

    def __init__(self) -> None:
        self.lines: deque[bytes] = deque()
        self.more = asyncio.Event()
        self.lagged = False


class Events:
    """The subscribers of one runtime."""

    def __init__(self, db_path: Path) -> None:
        self._db_path = db_path
        self._subscribers: set[_Subscriber] = set()
        self._closed = False

    def publish(self, lines: list[bytes]) -> None:
        """Called for each committed epoch, in order, with its canonical events."""
        for subscriber in self._subscribers:
            # What it has not taken yet counts, not how large the epoch is.
            if subscriber.lagged or len(subscriber.lines) > EVENTS_QUEUE_MAX:
                subscriber.lagged = True
            else:
                subscriber.lines.extend(lines)
            subscriber.more.set()

    def close(self) -> None:
        """Ends every subscription once it has delivered what is there."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.more.set()

    def subscribe(self, since: int | None, head: int) -> AsyncGenerator[dict[str, Any], None]:
        """Events after `since`; None: after `head`, the last that is durable now."""
        subscriber = _Subscriber()
        self._subscribers.add(subscriber)
        return self._follow(subscriber, head if since is None else since, past=since is not None)

    async def _follow(
        self, subscriber: _Subscriber, last: int, *, past: bool
    ) -> AsyncGenerator[dict[str, Any], None]:
        try:
            while past:
                if subscriber.lagged:
                    # What did not fit is in the database: it is read there.
                    subscriber.lines.clear()
                    subscriber.lagged = False
                page = await anyio.to_thread.run_sync(events_since, self._db_path, last)
                for event in page:
                    last = event["seq"]
                    yield event
                if not page and not subscriber.lagged:
                    break
            while True:
                while subscriber.lines:
                    event = _decode(subscriber.lines.popleft())
                    if event["seq"] > last:
                        last = event["seq"]
                        yield event
                if subscriber.lagged:
                    raise Lagged(last)
                if self._closed:
                    return
                subscriber.more.clear()
                await subscriber.more.wait()
        finally:
            self._subscribers.discard(subscriber)
