"""One lease of work: its launcher, its output, and its end, which is the death of all it started.

    launching --R--> waiting --g--> running --exit--> (what it left behind) --> ended
                        withdrawn: TERM to all, grace, KILL to all until none is left --> ended

Invariants:
1. `ended` is told once, when this process has no child left (it is the subreaper of all below it,
   so "no child" is "no descendant", also of one that called setsid), or when KILL did not help in
   time; then `alive` says so.
2. Nothing of the command runs before `release`.
"""

from __future__ import annotations

import errno
import os
import signal
from contextlib import suppress
from fcntl import fcntl
from time import monotonic

from .facts import TAIL_MAX, last_line, retry_after, signature
from .keep import kill_all
from .launch import READY, RELEASE, Launch
from .proc import descendants, look, send
from .sink import Sink

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` alone would cost the child a third of its start
    from collections.abc import Callable

    from .order import Order

PIECE = 1 << 20
NEVER = float("inf")
_F_SETPIPE_SZ = 1031
_DRAIN_MAX = 64  # pieces: what a full pipe can hold, many times over
_KILL_AGAIN_S = 0.02
_KILL_AGAIN_MAX_S = 1.0
_PROGRESS_MAX = 200  # characters: one line of a list
_LOOK_MAX = 2048
_TAKEN_MAX = 128 << 10  # twice the longest result: what else is left there is none


class Lease:
    """Runs one order. The loop calls `tick` when `due` has come, and `exited` for each child."""

    def __init__(
        self,
        order: Order,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
        tell: Callable[[dict[str, object]], None],
    ) -> None:
        """Forks the launcher. Raises OSError: then nothing was started and nothing is left open."""
        self.order = order
        self.ended = False
        self.due = NEVER
        self._unwatch, self._tell = unwatch, tell
        self._reason: str | None = None
        self._trouble = b""
        self._status: int | None = None
        self._began: float | None = None
        self._lasted = 0.0
        self._kill_at = self._give_up_at = NEVER
        self._kill_pause = _KILL_AGAIN_S
        self._terminated: set[tuple[int, int]] = set()
        self._sink = Sink(order.output, order.head, order.tail)
        opened: list[int] = []
        try:
            self._open(order, opened)
        except OSError:
            self._sink.close()
            for descriptor in opened:
                os.close(descriptor)
            raise
        watch(self._output, self._take_output)
        watch(self._launch.status, self._take_status)

    def _open(self, order: Order, opened: list[int]) -> None:
        self._output, output = os.pipe()
        opened += self._output, output
        with suppress(OSError):  # the user's share of pipe memory may be used up: only slower
            fcntl(self._output, _F_SETPIPE_SZ, PIECE)
        given = [_readable(order.stdin, opened), output]
        self._result: int | None = None
        if order.payload is not None:
            self._result = os.memfd_create("result")
            opened.append(self._result)
            given += _readable(order.payload, opened), self._result
        self._fence: int | None = None
        if order.fence:
            self._fence = os.memfd_create("fence")
            opened.append(self._fence)
            given.append(self._fence)
        self._launch = Launch(order, given)
        for descriptor in given:
            if descriptor not in (self._result, self._fence):
                os.close(descriptor)

    def release(self) -> None:
        """Lets the launcher exec."""
        if self._began is None:
            self._began = monotonic()
            with suppress(BrokenPipeError):  # it is dead already, and its exit says so
                os.write(self._launch.go, RELEASE)

    def withdraw(self, reason: str, grace_s: float, kill_timeout_s: float) -> None:
        """Ends it: at once if it was never released, else by TERM, grace and KILL."""
        self._reason = self._reason or reason
        self._end_all(0.0 if self._began is None else grace_s, kill_timeout_s)

    def exited(self, pid: int, status: int) -> None:
        """A child of this process was reaped; it may be the command."""
        if pid != self._launch.pid or self._status is not None:
            return
        self._status = status
        self._lasted = 0.0 if self._began is None else monotonic() - self._began
        # What it left behind may be about to end by itself: `a > >(tee log)` is common.
        if self._give_up_at == NEVER:
            self.due = monotonic() + self.order.settle_s
        elif self._began is not None:
            self._terminate()  # also what was forked just when the others were told

    def tick(self, childless: bool) -> None:
        """Goes on with the end, if it is time or nothing is left."""
        now = monotonic()
        if childless:
            self._finish([])
        elif now >= self._give_up_at:
            self._finish([process.pid for process in descendants(os.getpid())])
        elif now >= self._kill_at:
            kill_all()
            self._kill_at = now + self._kill_pause
            self._kill_pause = min(2 * self._kill_pause, _KILL_AGAIN_MAX_S)
            self.due = min(self._kill_at, self._give_up_at)
        elif now >= self.due and self._give_up_at == NEVER:
            self._end_all(self.order.grace_s, self.order.kill_timeout_s)

    def _end_all(self, grace_s: float, kill_timeout_s: float) -> None:
        now = monotonic()
        if grace_s > 0:
            self._terminate()
        self._kill_at = min(self._kill_at, now + grace_s)
        self._give_up_at = min(self._give_up_at, now + kill_timeout_s)
        self.due = min(self._kill_at, self._give_up_at)

    def _terminate(self) -> None:
        """TERM, once to each, parents first: a shell must not go on to its next line."""
        for process in descendants(os.getpid()):
            if self._fence is not None and self._launch.pid in (process.pid, process.parent):
                continue  # the fence itself, which would take all behind it along at once
            if (process.pid, process.ticks) not in self._terminated:
                self._terminated.add((process.pid, process.ticks))
                send(process, signal.SIGTERM)
                send(process, signal.SIGCONT)  # one that is stopped would not hear it

    def _take_status(self) -> None:
        content = os.read(self._launch.status, 4096)
        if not content:
            self._unwatch(self._launch.status)
            return
        if content.startswith(READY):
            content = content[len(READY) :]
            launcher = look(self._launch.pid)
            assert launcher is not None  # a zombie at the least, until it is reaped here
            told = {"t": "launched", "lease": self.order.lease}
            self._tell({**told, "pid": launcher.pid, "ticks": launcher.ticks})
        self._trouble += content

    def _take_output(self) -> None:
        content = os.read(self._output, PIECE)
        if content:
            self._sink.write(content)
        else:
            self._unwatch(self._output)

    def _finish(self, alive: list[int]) -> None:
        self.ended = True
        # The death of a launcher may be seen before the reason that it wrote.
        os.set_blocking(self._launch.status, False)
        with suppress(BlockingIOError):
            self._take_status()
        self.drain()
        tail = self._sink.last(TAIL_MAX)
        digest = self._sink.close()
        told: dict[str, object] = {
            "t": "ended",
            "lease": self.order.lease,
            "reason": self._reason,
            "error": self._sink.error,
            "duration_s": self._lasted,
            "output_bytes": self._sink.total,
            "output_digest": digest,
            "truncated": self._sink.truncated,
            "confinement": "write-fence" if self.order.fence else "none",
        }
        told.update(self._how(tail))
        told.update(_facts(told, tail, self.order.rate_limit))
        if alive:
            told.update(alive=True, error=f"survived KILL: {', '.join(map(str, alive))}")
        for descriptor in (self._output, self._launch.status):
            self._unwatch(descriptor)
            os.close(descriptor)
        os.close(self._launch.go)
        self._tell(told)

    def _how(self, tail: bytes) -> dict[str, object]:
        """How the command itself ended: by exit, by signal, or never begun."""
        result, fenced = self._taken(self._result), self._taken(self._fence)
        self._result = self._fence = None
        if self._trouble:
            return {**_not_started(self._trouble, self.order), "result": result}
        told: dict[str, object] = {"result": result}
        if self._began is not None and self._status is not None:
            code = os.waitstatus_to_exitcode(self._status)
            if code > 0 and self.order.fence and '"exit-code"' not in (fenced or ""):
                return {**told, **_unfenced(tail, self._reason)}
            told["exit_code" if code >= 0 else "signal"] = abs(code)
        elif self._reason is None:
            told.update(reason="not_started", error="its launcher was killed", infrastructure=True)
        return told

    def progress(self) -> str | None:
        """The last line of its output so far."""
        return last_line(self._sink.last(_LOOK_MAX), _PROGRESS_MAX)

    def drain(self) -> None:
        """Takes what the output pipe still holds."""
        os.set_blocking(self._output, False)
        for _ in range(_DRAIN_MAX):
            try:
                content = os.read(self._output, PIECE)
            except BlockingIOError:
                return
            if not content:
                return
            self._sink.write(content)

    def _taken(self, descriptor: int | None) -> str | None:
        if descriptor is None:
            return None
        size = os.fstat(descriptor).st_size
        content = os.pread(descriptor, size, 0) if size <= _TAKEN_MAX else b""
        os.close(descriptor)
        return content.decode(errors="replace") or None


def _readable(text: str | None, opened: list[int]) -> int:
    """A descriptor to read `text` from, read-only. A file in memory: who never reads it holds
    nobody up, and who has gone away breaks nobody's pipe."""
    if text is None:
        opened.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        return opened[-1]
    written = os.memfd_create("text")
    try:
        view = memoryview(text.encode(errors="surrogatepass"))
        while view:
            view = view[os.write(written, view) :]
        opened.append(os.open(f"/proc/self/fd/{written}", os.O_RDONLY | os.O_CLOEXEC))
    finally:
        os.close(written)
    return opened[-1]


def _facts(told: dict[str, object], tail: bytes, rate_limit: str | None) -> dict[str, object]:
    """What the output says beside: nothing of a success, or of what was not the work's doing."""
    if (told.get("exit_code") == 0 and told["reason"] is None) or told.get("infrastructure"):
        return {}
    reason = told["reason"]
    if reason is not None:
        # Where it stood when it was told to end, or why it could not begin, is not in its output.
        said = str(told["error"] or "") if reason == "not_started" else ""
        return {"signature": signature(str(reason), said.encode(errors="replace"))}
    how = f"exit {told['exit_code']}" if "exit_code" in told else f"signal {told.get('signal')}"
    found: dict[str, object] = {"signature": signature(how, tail)}
    if rate_limit is not None:
        found["retry_after_s"] = retry_after(rate_limit, tail)
    return found


def _unfenced(tail: bytes, reason: str | None) -> dict[str, object]:
    """The fence gave up before it came to the command."""
    said = last_line(tail, _PROGRESS_MAX) or "it said nothing"
    # What has its interpreter missing is found missing only by its exec.
    own = said.startswith("bwrap: execvp ")
    return {
        "reason": reason or "not_started",
        "error": said if own else f"the write fence could not be set up: {said}",
        "infrastructure": not own and reason is None,
    }


def _not_started(trouble: bytes, order: Order) -> dict[str, object]:
    step, _, rest = trouble.decode(errors="replace").partition(":")
    number, _, text = rest.partition(":")
    program = order.argv[0].decode(errors="replace")
    match step, int(number):
        case "cwd", _:
            folder = order.cwd.decode(errors="replace")
            error = f"cwd {folder}: {os.strerror(int(number))}; make it or fix the plan"
        case "exec", errno.ENOENT | errno.ENOTDIR:
            error = f"{program}: not found; install it or fix the plan"
        case "exec", errno.EACCES if not _is_there(order):
            error = f"{program}: not found; install it or fix the plan"
        case "exec", errno.EACCES:
            error = f"{program}: not executable; allow it (chmod +x) or fix the plan"
        case "exec", errno.ENOEXEC:
            error = f"{program}: not a program; give it a #! line or name its interpreter"
        case _:
            error = f"{program}: {text}"
    return {"reason": "not_started", "error": error, "infrastructure": step in {"launch", "fence"}}


def _is_there(order: Order) -> bool:
    """Whether a file of the command's name can be seen: a folder of the search path that may not be
    entered makes any missing command look forbidden."""
    program = order.argv[0]
    if b"/" in program:
        return True
    folders = order.env.get(b"PATH", os.fsencode(os.defpath)).split(b":")
    return any(os.path.lexists(os.path.join(folder, program)) for folder in folders)
