"""The loop of a worker child: orders in, replies out, one lease at a time, a heartbeat throughout.

Orders come on descriptor 0, replies leave on what was descriptor 1: one JSON value a line. The
loop never blocks: a supervisor that does not read loses heartbeats, not the end of its work.
End of file on the orders is the death of the supervisor: everything below is killed at once.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from contextlib import suppress
from time import monotonic

from .keep import LAST_S, end_all, keep
from .lease import Lease
from .order import Order
from .proc import look

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` alone would cost the child a third of its start
    from collections.abc import Callable
    from typing import Any

_PAUSE_MAX_S = 0.1


def main() -> None:
    """Serves until told to stop, or until the supervisor is gone."""
    keep(*sys.argv[3:])
    child = Child(float(sys.argv[1]))
    try:
        child.serve()
    finally:
        none_left = end_all()
        child.drain()
    sys.exit(0 if none_left and not child.orphaned else 1)


class Child:
    """One worker child. `orphaned`: its supervisor is gone, or the machine asks it to end."""

    def __init__(self, heartbeat_s: float) -> None:
        self._replies = os.dup(1)
        os.dup2(2, 1)  # a stray print belongs into the log
        os.set_blocking(self._replies, False)
        self._unsent = b""
        self._orders = b""
        self._poll = select.poll()
        self._ready: dict[int, Callable[[], None]] = {}
        self._heartbeat_s = heartbeat_s
        self._lease: Lease | None = None
        self.orphaned = self._stopping = self._undead = False
        self._wakeup, wakeup = os.pipe()
        for descriptor in (self._wakeup, wakeup):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._terminate)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._watch(0, self._take_orders)
        self._watch(self._wakeup, self._take_wakeup)

    def serve(self) -> None:
        myself = look(os.getpid())
        assert myself is not None
        self._tell({"t": "hello", "pid": myself.pid, "ticks": myself.ticks})
        beat_at = monotonic() + self._heartbeat_s
        while not self.orphaned and not (self._stopping and self._lease is None):
            due = beat_at if self._lease is None else min(beat_at, self._lease.due)
            for descriptor, _ in self._poll.poll(max(0.0, due - monotonic()) * 1000):
                if descriptor in self._ready:
                    self._ready[descriptor]()
            if monotonic() >= beat_at:
                beat_at = monotonic() + self._heartbeat_s
                self._beat()
            childless = self._reap()
            self._undead = self._undead and not childless
            if self._lease is not None:
                self._lease.tick(childless)
                if self._lease.ended:
                    self._undead, self._lease = not childless, None
        self._flush_last()

    def drain(self) -> None:
        """Keeps the last words of what was killed with us."""
        if self._lease is not None:
            self._lease.drain()

    def _watch(self, descriptor: int, ready: Callable[[], None]) -> None:
        self._ready[descriptor] = ready
        self._poll.register(descriptor, select.POLLIN)

    def _unwatch(self, descriptor: int) -> None:
        if self._ready.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def _terminate(self, *_: object) -> None:
        # The machine shuts down, or somebody means this child: nothing may outlive it.
        self.orphaned = True

    def _take_wakeup(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wakeup, 4096)

    def _take_orders(self) -> None:
        content = os.read(0, 65536)
        if not content:
            self.orphaned = True
            return
        *lines, self._orders = (self._orders + content).split(b"\n")
        for line in lines:
            self._take_order(json.loads(line))

    def _take_order(self, order: dict[str, Any]) -> None:
        what = order.pop("t")
        if what == "offer":
            self._offer(Order(**order))
        elif what == "stop":
            self._stopping = True
        elif self._lease is None or self._lease.order.lease != order.pop("lease"):
            pass  # That work has ended, and the word of it crossed this order on its way.
        elif what == "release":
            self._lease.release()
        elif what == "withdraw":
            self._lease.withdraw(**order)

    def _offer(self, order: Order) -> None:
        assert self._lease is None
        error = "what ran here before is still alive"
        if not self._undead:
            try:
                self._lease = Lease(order, self._watch, self._unwatch, self._tell)
            except OSError as trouble:
                error = f"{os.fsdecode(trouble.filename or 'launcher')}: {trouble.strerror}"
        if self._lease is None:
            told = {"t": "ended", "lease": order.lease, "reason": "not_started", "error": error}
            self._tell({**told, "infrastructure": True})

    def _reap(self) -> bool:
        """Buries every dead child; true when none, living or dead, is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if self._lease is not None:
                self._lease.exited(pid, status)

    def _beat(self) -> None:
        if self._unsent:
            return
        told: dict[str, object] = {"t": "beat", "lease": None}
        if self._lease is not None:
            told = {**told, "lease": self._lease.order.lease, "details": self._lease.progress()}
        self._tell(told)

    def _tell(self, told: dict[str, object]) -> None:
        self._unsent += json.dumps(told).encode() + b"\n"
        self._flush()

    def _flush(self) -> None:
        try:
            self._unsent = self._unsent[os.write(self._replies, self._unsent) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self.orphaned, self._unsent = True, b""
        if self._unsent and self._replies not in self._ready:
            self._ready[self._replies] = self._flush
            self._poll.register(self._replies, select.POLLOUT)
        elif not self._unsent:
            self._unwatch(self._replies)

    def _flush_last(self) -> None:
        until = monotonic() + LAST_S
        while self._unsent and not self.orphaned and monotonic() < until:
            select.select([0], [self._replies], [], _PAUSE_MAX_S)
            self._flush()
