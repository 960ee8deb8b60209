"""The supervisor's end of one worker child: its process, the two pipes, and its certain death."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import msgspec

from runtime.work import cgroup
from runtime.work.child.proc import look
from runtime.work.environment import loader_environment
from runtime.work.reap import Named, Reaped, Trace, kill_all
from runtime.work.site import Site
from runtime.work.wire import LaunchedReply, Order, Reply, StopOrder, decode, encode

# Only this folder, and only for the import: a user's module may have any of our names.
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[2]); "
    "from child.serve import main; del sys.path[0]; main()"
)
_LOG_MAX = 64 << 10
# Between the end of file and the zombie lies the interpreter's exit: not worth a KILL.
_LEAVING_S = 1.0


class Host:
    """One worker child, for as long as `live` lasts.

    After it `complaint` says in one line how the child died, and `log` is the tail of what it
    wrote where nothing should be written. `command` is what it launched last.
    """

    def __init__(self, site: Site, heartbeat_s: float, marks: Mapping[str, str]) -> None:
        folder = str(Path(__file__).parent)
        self._argv = [site.python, "-I", "-S", "-c", _BOOT, str(heartbeat_s), folder]
        self._state_dir = site.state_dir
        self._group: Path | None = None
        self._limits = limits = site.limits
        self._marks = dict(marks)
        self._kill_timeout_s = limits.kill_timeout_s
        self._scope = anyio.CancelScope()
        self._patience: asyncio.TimerHandle | None = None
        self._unsent = bytearray()
        self._blocked = self._stopping = False
        self._orders = self._replies = self._log = self._pidfd = -1
        self._process: subprocess.Popen[bytes] | None = None
        self._leaving_s = 0.0
        self._keeper: Named = (0, 0)
        self._command: Named | None = None
        self.complaint = ""
        self.log = ""

    async def live(self, take: Callable[[Reply], None]) -> tuple[int, ...]:
        """Starts the child and hands every reply to `take`, until the child is gone, killed, or
        has not done what was expected. Then it, and whatever it ran, is killed: the pids are those
        that survived KILL. A cancelled `live` kills too."""
        self.expect(self._limits.start_timeout_s, "did not start in time")
        try:
            with self._scope:
                self._start()
                await self._listen(take)
        except (OSError, msgspec.DecodeError) as error:
            self.complaint = f"cannot be talked to: {error}"
        finally:
            self.expect(None)
            with anyio.CancelScope(shield=True):  # bounded by `end` itself
                survivors = await self._end()
        return survivors

    def send(self, order: Order) -> None:
        """Puts an order on its way, also before the child is up. Never blocks: a child that hangs
        does not hang us."""
        self._stopping = self._stopping or type(order) is StopOrder
        self._unsent += encode(order) + b"\n"
        if self._pidfd >= 0:
            self._flush()

    def expect(self, within_s: float | None, complaint: str = "") -> None:
        """Kills the child unless this is called again in time; None: nothing is awaited."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if within_s is not None:
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(within_s, self._lose_patience, complaint)

    def kill(self, kill_timeout_s: float) -> None:
        """Ends `live` now."""
        self._kill_timeout_s = kill_timeout_s
        self._scope.cancel()

    def _lose_patience(self, complaint: str) -> None:
        self.complaint = complaint
        self._scope.cancel()

    def _start(self) -> None:
        self._log = os.memfd_create("log")
        self._group = cgroup.make(self._state_dir)
        joins = () if self._group is None else (str(self._group),)
        orders, self._orders = os.pipe()
        self._replies, replies = os.pipe()
        try:
            self._process = subprocess.Popen(
                (*self._argv, *joins),
                stdin=orders,
                stdout=replies,
                stderr=self._log,
                env={**loader_environment(os.environ), **self._marks},
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(orders)
            os.close(replies)
        found = look(self._process.pid)
        assert found is not None  # ours to reap, so it is there
        self._keeper = (found.pid, found.ticks)
        try:
            self._pidfd = os.pidfd_open(found.pid)
        except OSError:
            self._process.kill()
            self._process.wait()
            raise
        os.set_blocking(self._orders, False)
        os.set_blocking(self._replies, False)
        self._flush()

    async def _listen(self, take: Callable[[Reply], None]) -> None:
        pending = b""
        while True:
            await anyio.wait_readable(self._replies)
            content = os.read(self._replies, 65536)
            if not content:
                self._leaving_s = _LEAVING_S
                return
            *lines, pending = (pending + content).split(b"\n")
            for line in lines:
                reply = decode(line)
                if type(reply) is LaunchedReply:
                    self._command = (reply.pid, reply.ticks)
                take(reply)
            if len(pending) > self._limits.reply_max:
                raise msgspec.DecodeError("a reply without end")

    async def _end(self) -> tuple[int, ...]:
        process = self._process
        found: list[Reaped] = []
        if process is not None:
            code = await self._exited(self._leaving_s)
            # 0 says that it has itself seen that nothing is left. An embedding program that reaps
            # our children makes any end look like that, so it must have been told to stop as well.
            if code != 0 or not self._stopping:
                found = await kill_all([self._trace()], self._kill_timeout_s)
                await self._exited(self._limits.answer_timeout_s)
            said = self._last_words(process.returncode)
            self.complaint = f"{self.complaint}, {said}" if self.complaint else said
        self._close()
        alive = {pid for reaped in found for pid in reaped.alive}
        if self._group is not None:
            alive.update(await cgroup.end(self._group, self._kill_timeout_s))
        return tuple(sorted(alive))

    def _trace(self) -> Trace:
        marks = frozenset(os.fsencode(f"{name}={value}") for name, value in self._marks.items())
        return Trace(
            owner=None, marks=marks, worker=self._keeper, command=self._command, fresh=True
        )

    async def _exited(self, bound_s: float) -> int | None:
        assert self._process is not None
        if self._process.poll() is None:
            with anyio.move_on_after(bound_s):
                await anyio.wait_readable(self._pidfd)
        return self._process.poll()

    def _last_words(self, code: int | None) -> str:
        if code is None:
            how = "survived KILL"
        elif code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        else:
            how = f"exited with {code}"
        size = os.fstat(self._log).st_size
        said = os.pread(self._log, _LOG_MAX, max(0, size - _LOG_MAX)).decode(errors="replace")
        self.log = said.strip()
        return f"{how}: {self.log.splitlines()[-1]}" if self.log else how

    def _flush(self) -> None:
        try:
            sent = os.write(self._orders, self._unsent) if self._unsent else 0
            del self._unsent[:sent]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._unsent.clear()  # its end of file on `replies` says the rest
        self._watch_orders(bool(self._unsent))

    def _watch_orders(self, blocked: bool) -> None:
        loop = asyncio.get_running_loop()
        if blocked and not self._blocked:
            loop.add_writer(self._orders, self._flush)
        elif self._blocked and not blocked:
            loop.remove_writer(self._orders)
        self._blocked = blocked

    def _close(self) -> None:
        if self._blocked:
            self._watch_orders(blocked=False)
        descriptors = (self._orders, self._replies, self._log, self._pidfd)
        self._orders = self._replies = self._log = self._pidfd = -1
        for descriptor in descriptors:
            if descriptor >= 0:
                os.close(descriptor)
