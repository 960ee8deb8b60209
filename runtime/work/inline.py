"""Inline workers: Python callables of this very process, one at a time for each uet worker.

An async callable runs as a task of its own, under a cancel scope; a sync one in a thread, or right
here where it was registered as `inline`. Nothing is launched, so no `Launched` is reported.

Invariants:
1. A lease that was offered ends in exactly one `WorkEnded`, or in the `ProcessExited` of its uet.
2. What does not end within the kill timeout is told `alive` and abandoned: it cannot be killed
   without this process. Its end, should it come, changes nothing any more.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import os
import traceback
from contextlib import suppress
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
import msgspec

from actors.effects import Address, Offer, StartProcess, StopProcess, Withdraw
from actors.messages import Outcome, ProcessExited, ProcessStarted, WorkEnded
from runtime.clock import Clock
from runtime.errors import cause_of
from runtime.work.calls import Call, CallNotFound, Manner, imported
from runtime.work.child.facts import signature
from runtime.work.child.proc import boot_id
from runtime.work.outcome import one_line
from runtime.work.port import Report
from runtime.work.site import Site, output_path

_current: contextvars.ContextVar[_Lease | None] = contextvars.ContextVar("lease", default=None)
_PLAIN = (bool, float, type(None))


def withdrawn() -> bool:
    """Whether the work that calls this should end: for loops of sync callables in a thread, which
    nobody can interrupt. False outside an inline worker."""
    lease = _current.get()
    return lease is not None and lease.ending is not None


def progress(text: str) -> None:
    """Says how far the work that calls this has come, in a line, for whoever looks; the last word
    counts. Cheap, kept in memory only, from any thread. Outside an inline worker: nothing."""
    lease = _current.get()
    if lease is not None:
        lease.details = text


class _Lease:
    """One offered call. `details`: how far it says it has come; `ending`: the reason why it must
    end; `over` once its end was told, `threaded` once a thread of its own has begun with it."""

    __slots__ = ("details", "effect", "ending", "over", "patience", "scope", "since", "threaded")

    def __init__(self, effect: Offer, since: float) -> None:
        self.effect = effect
        self.since = since
        self.details: str | None = None
        self.ending: str | None = None
        self.over = self.threaded = False
        self.scope = anyio.CancelScope()
        self.patience: asyncio.TimerHandle | None = None


class _Slot:
    """One uet worker: what it runs, and whether it is to end after that."""

    __slots__ = ("lease", "stopping")

    def __init__(self) -> None:
        self.lease: _Lease | None = None
        self.stopping = False


class Inline:
    """Starts, feeds and ends inline workers. `abandoned` counts calls that could not be ended."""

    def __init__(self, report: Report, site: Site, clock: Clock, calls: dict[str, Call]) -> None:
        self._report = report
        self._site = site
        self._limits = site.limits
        self._clock = clock
        self._calls = calls
        self._found: dict[tuple[str, str], Call] = {}
        self._boot_id = boot_id()
        self._slots: dict[Address, _Slot] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads: anyio.CapacityLimiter | None = None
        self.abandoned = 0

    def __contains__(self, uet: Address) -> bool:
        return uet in self._slots

    @property
    def busy(self) -> bool:
        """Whether a lease runs."""
        return any(slot.lease is not None for slot in self._slots.values())

    @property
    def progress(self) -> dict[str, str]:
        """What running calls last said of themselves, by lease."""
        limits = self._limits
        leases = [slot.lease for slot in self._slots.values() if slot.lease is not None]
        return {
            lease.effect.lease: said
            for lease in leases
            if lease.details and (said := " ".join(lease.details.split())[: limits.details_max])
        }

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Lives until it is cancelled. Async callables are over then; a sync one in a thread ends
        when it ends."""
        self._threads = anyio.CapacityLimiter(self._limits.threads_max)
        task_status.started()
        try:
            await anyio.sleep_forever()
        finally:
            for slot in self._slots.values():
                if slot.lease is not None:
                    slot.lease.ending = slot.lease.ending or "lost"
                    slot.lease.scope.cancel()
            if self._tasks:
                with anyio.CancelScope(shield=True):
                    await asyncio.wait(self._tasks, timeout=self._limits.answer_timeout_s)

    def start(self, effect: StartProcess) -> None:
        """A new uet worker: nothing but a place. It has no heartbeat: one that beats on the very
        loop that waits for it would prove nothing."""
        assert effect.uet not in self._slots, effect.uet
        self._slots[effect.uet] = _Slot()
        self._report(effect.uet, ProcessStarted(0, 0, self._boot_id))

    def stop(self, effect: StopProcess) -> None:
        """Ends a uet worker: now, or after what it runs."""
        slot = self._slots[effect.uet]
        slot.stopping = True
        if slot.lease is None:
            self._exit(effect.uet, slot)
        elif effect.kill:
            self._end(effect.uet, slot, slot.lease, "lost", effect.kill_timeout_s)

    def offer(self, effect: Offer) -> None:
        """Calls it, at once."""
        slot = self._slots[effect.uet]
        assert slot.lease is None, (slot.lease, effect)
        lease = slot.lease = _Lease(effect, self._clock.now())
        call = self._calls.get(effect.call or "")
        if call is not None and call.manner is Manner.HERE:
            self._call_here(slot, lease, call)
        else:
            task = asyncio.get_running_loop().create_task(self._call(slot, lease, call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def withdraw(self, effect: Withdraw) -> None:
        """Ends one lease. Of one that has ended meanwhile, the end was told."""
        slot = self._slots[effect.uet]
        lease = slot.lease
        if lease is not None and lease.effect.lease == effect.lease:
            self._end(effect.uet, slot, lease, effect.reason, effect.kill_timeout_s)

    def _end(
        self, uet: Address, slot: _Slot, lease: _Lease, reason: str, kill_timeout_s: float
    ) -> None:
        lease.ending = lease.ending or reason
        # Read after `ending` was written: a thread writes and reads the two the other way round,
        # so either we see that it runs, or it sees that it must not.
        if not lease.threaded:
            lease.scope.cancel()
        if lease.patience is not None:
            lease.patience.cancel()
        loop = asyncio.get_running_loop()
        lease.patience = loop.call_later(kill_timeout_s, self._abandon, slot, lease)

    def _abandon(self, slot: _Slot, lease: _Lease) -> None:
        self.abandoned += 1
        self._finish(slot, lease, Outcome(alive=True, error="it does not end when it is told to"))
        lease.scope.cancel()

    def _call_here(self, slot: _Slot, lease: _Lease, call: Call) -> None:
        try:
            value = call.function(**lease.effect.kwargs)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - what it raises is its outcome
            outcome = self._raised(lease, error)
        else:
            outcome = Outcome(result=self._kept(value))
        self._finish(slot, lease, outcome)

    async def _call(self, slot: _Slot, lease: _Lease, call: Call | None) -> None:
        _current.set(lease)
        outcome = Outcome(reason="cancelled", error="it was cancelled from elsewhere")
        try:
            with lease.scope:
                if lease.ending is None:
                    value = await self._value(lease, call or await self._find(lease.effect))
                    outcome = Outcome(result=self._kept(value))
        except CallNotFound as error:
            outcome = Outcome(reason="not_started", error=one_line(str(error), self._limits))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - what it raises is its outcome
            outcome = self._raised(lease, error)
        finally:
            self._finish(slot, lease, outcome)

    async def _find(self, effect: Offer) -> Call:
        if effect.call is None:
            raise CallNotFound("an inline worker runs no commands; use a pool of kind process")
        key = (effect.call, effect.base_dir)
        if key not in self._found:
            self._found[key] = await imported(*key)
        return self._found[key]

    async def _value(self, lease: _Lease, call: Call) -> Any:
        if call.manner is Manner.AWAITED:
            return await call.function(**lease.effect.kwargs)

        def threaded() -> Any:
            lease.threaded = True
            return None if lease.ending is not None else call.function(**lease.effect.kwargs)

        return await anyio.to_thread.run_sync(
            threaded, abandon_on_cancel=True, limiter=self._threads
        )

    def _finish(self, slot: _Slot, lease: _Lease, outcome: Outcome) -> None:
        if lease.over:
            return
        lease.over = True
        slot.lease = None
        if lease.patience is not None:
            lease.patience.cancel()
        duration_s = max(0.0, self._clock.now() - lease.since)
        if lease.ending is not None:
            outcome = Outcome(
                reason=lease.ending,
                error=outcome.error if outcome.alive else None,
                infrastructure=lease.ending == "lost",
                alive=outcome.alive,
            )
        outcome = msgspec.structs.replace(outcome, duration_s=duration_s, confinement="none")
        self._report(lease.effect.uet, WorkEnded(lease.effect.lease, outcome))
        if slot.stopping:
            self._exit(lease.effect.uet, slot)

    def _exit(self, uet: Address, slot: _Slot) -> None:
        del self._slots[uet]
        self._report(uet, ProcessExited(crashed=False))

    def _kept(self, value: Any) -> Any:
        """The value as plain JSON has it, cut loose from the program's objects; None where it does
        not encode or is too large to keep."""
        if isinstance(value, _PLAIN):
            return value
        try:
            encoded = msgspec.json.encode(value)
            return msgspec.json.decode(encoded) if len(encoded) <= self._limits.result_max else None
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
            return None

    def _raised(self, lease: _Lease, error: BaseException) -> Outcome:
        """The outcome of a callable that raised; its traceback is its output."""
        ours = error.__traceback__
        while ours is not None and ours.tb_frame.f_code.co_filename == __file__:
            ours = ours.tb_next
        lines = traceback.format_exception(error.with_traceback(ours))
        text = "".join(lines).encode(errors="backslashreplace")
        effect = lease.effect
        path = output_path(self._site.output_dir, effect.task_id, effect.attempt)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with suppress(OSError), os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(text)  # for the reader of its log; the outcome says what counts
        return Outcome(
            reason="error",
            error=one_line(cause_of(error).removesuffix(": "), self._limits),
            output_bytes=len(text),
            output_digest=f"sha256:{hashlib.sha256(text).hexdigest()}",
            signature=signature("error", text),
        )
