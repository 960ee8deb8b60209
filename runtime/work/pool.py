"""Workers as child processes: each uet worker is one child that runs one lease at a time.

Invariants:
1. A lease that was offered ends in exactly one `WorkEnded`, or in the `ProcessExited` of its uet.
2. `ProcessExited` is the last word of a uet, and by then all that it ran is dead. Where something
   survived KILL until the bound, `WorkEnded(alive)` for the lease goes before it.
3. Whatever a child fails to answer has a bound, after which it is killed from outside.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.abc
import msgspec

from actors.effects import Address, Offer, Release, StartProcess, StopProcess, Withdraw
from actors.messages import Heartbeat, Launched, Outcome, ProcessExited, ProcessStarted, WorkEnded
from runtime.work.child.proc import boot_id
from runtime.work.fence import WRITE_FENCE, fence_refusal, tmp_dir
from runtime.work.host import Host
from runtime.work.outcome import one_line, outcome_of
from runtime.work.port import Report
from runtime.work.site import Site
from runtime.work.wire import (
    Beat,
    EndedReply,
    Hello,
    LaunchedReply,
    OfferOrder,
    ReleaseOrder,
    Reply,
    StopOrder,
    WithdrawOrder,
)

_CALLEE = str(Path(__file__).with_name("callee.py"))


class _Child:
    """One uet worker. `lease` is what it runs, `withdrawn` the reason why that must end; `asked`:
    it may exit after that, `killed`: it is to be gone now, `up`: it has spoken. `details`: how far
    its work has come."""

    __slots__ = ("asked", "details", "host", "killed", "lease", "sandbox", "up", "withdrawn")

    def __init__(self, host: Host, sandbox: str) -> None:
        self.host = host
        self.sandbox = sandbox
        self.asked = self.killed = self.up = False
        self.lease: str | None = None
        self.withdrawn: str | None = None
        self.details: str | None = None


class Pool:
    """Starts, feeds and ends worker children."""

    def __init__(self, report: Report, site: Site) -> None:
        self._report = report
        self._site = site
        self._limits = site.limits
        self._boot_id = boot_id()
        self._children: dict[Address, _Child] = {}
        self._group: anyio.abc.TaskGroup | None = None

    def __contains__(self, uet: Address) -> bool:
        return uet in self._children

    @property
    def busy(self) -> bool:
        """Whether a child is about to start or to end, or runs a lease."""
        return any(
            child.lease is not None or child.asked or not child.up
            for child in self._children.values()
        )

    @property
    def progress(self) -> dict[str, str]:
        """The last line of the output of what runs, by lease, as of its last heartbeat."""
        children = self._children.values()
        return {c.lease: c.details for c in children if c.lease is not None and c.details}

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Lives until it is cancelled; all that it started is dead then."""
        async with anyio.create_task_group() as self._group:
            task_status.started()
            await anyio.sleep_forever()

    def start(self, effect: StartProcess) -> None:
        """A new child for a new uet worker."""
        assert self._group is not None
        assert effect.uet not in self._children, effect.uet
        refusal = self._unconfined(effect.sandbox)
        if refusal is not None:  # never done with less than was asked for
            self._report(effect.uet, ProcessExited(crashed=True, reason=refusal))
            return
        marks = self._site.marks(BANKSMAN_UET=_id(effect.uet))
        child = _Child(Host(self._site, effect.heartbeat_s, marks), effect.sandbox)
        self._children[effect.uet] = child
        self._group.start_soon(self._live, effect.uet, child)

    def stop(self, effect: StopProcess) -> None:
        """Ends a child: now, or after what it runs."""
        child = self._children.get(effect.uet)
        if child is None:
            self._report(effect.uet, ProcessExited(crashed=False, reason="was not running"))
            return
        child.asked = True
        if effect.kill:
            child.killed = True
            child.host.kill(effect.kill_timeout_s)
        else:
            child.host.send(StopOrder())
            if child.lease is None and child.up:
                self._expect_exit(child)

    def offer(self, effect: Offer) -> None:
        """One lease of work."""
        child = self._children[effect.uet]
        assert child.lease is None, (child.lease, effect)
        try:
            order = self._order(effect, child.sandbox)
        except ValueError as error:  # text that no system call takes, from a plan built in Python
            refused = Outcome(reason="not_started", error=one_line(str(error), self._limits))
            self._report(effect.uet, WorkEnded(effect.lease, refused))
            return
        child.lease, child.withdrawn, child.details = effect.lease, None, None
        child.host.send(order)

    def release(self, effect: Release) -> None:
        """Its launcher is on record: let it exec."""
        child = self._children.get(effect.uet)
        if child is not None and child.lease == effect.lease:
            child.host.send(ReleaseOrder(effect.lease))

    def withdraw(self, effect: Withdraw) -> None:
        """Ends one lease. Of one that has ended meanwhile, the end is on its way or was told."""
        child = self._children.get(effect.uet)
        if child is None or child.lease != effect.lease:
            return
        child.withdrawn = child.withdrawn or effect.reason
        grace_s = self._limits.grace_s(effect.kill_timeout_s)
        child.host.send(WithdrawOrder(effect.lease, effect.reason, grace_s, effect.kill_timeout_s))
        within_s = effect.kill_timeout_s + self._limits.answer_timeout_s
        child.host.expect(within_s, "did not end its work when told to")

    async def _live(self, uet: Address, child: _Child) -> None:
        try:
            survivors = await child.host.live(lambda reply: self._take(uet, child, reply))
        finally:
            del self._children[uet]
        if child.lease is not None and (survivors or child.withdrawn):
            outcome = Outcome(
                confinement=child.sandbox,
                reason=child.withdrawn or "lost",
                error=f"survived KILL: {survivors}" if survivors else None,
                infrastructure=child.withdrawn is None,
                alive=bool(survivors),
            )
            self._report(uet, WorkEnded(child.lease, outcome))
        crashed = not (child.killed or (child.asked and child.lease is None))
        reason = child.host.complaint if crashed else None
        self._report(uet, ProcessExited(crashed, reason))
        self._keep_log(uet, child.host.log)

    def _take(self, uet: Address, child: _Child, reply: Reply) -> None:
        match reply:
            case Hello():
                child.up = True
                child.host.expect(None)
                if child.asked:
                    self._expect_exit(child)
                self._report(uet, ProcessStarted(reply.pid, reply.ticks, self._boot_id))
            case Beat():
                child.details = reply.details if reply.lease == child.lease else None
                self._report(uet, Heartbeat(reply.lease))
            case LaunchedReply():
                self._report(uet, Launched(reply.lease, reply.pid, reply.pid, reply.ticks))
            case EndedReply():
                child.lease = child.withdrawn = None
                child.host.expect(None)
                if child.asked:
                    self._expect_exit(child)
                self._report(uet, WorkEnded(reply.lease, outcome_of(reply, self._limits)))

    def _expect_exit(self, child: _Child) -> None:
        child.host.expect(self._limits.answer_timeout_s, "did not stop when told to")

    def _unconfined(self, sandbox: str) -> str | None:
        if sandbox != WRITE_FENCE:
            return None
        refusal = fence_refusal()
        if refusal is None:
            tmp_dir(self._site.state_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
            return None
        return f"no write fence: {refusal[0]}; {refusal[1]}"

    def _order(self, effect: Offer, sandbox: str) -> OfferOrder:
        marks = self._site.marks(
            BANKSMAN_UET=_id(effect.uet),
            BANKSMAN_LEASE=effect.lease,
            BANKSMAN_TASK_ID=effect.task_id,
            BANKSMAN_ATTEMPT=str(effect.attempt),
        )
        argv, payload = list(effect.command), None
        if effect.call is not None:
            argv = [self._site.python, "-P", "-u", _CALLEE]
            payload = msgspec.json.encode(
                {
                    "call": effect.call,
                    "kwargs": effect.kwargs,
                    "base_dir": os.path.abspath(effect.base_dir),
                    "result_max": self._limits.result_max,
                }
            ).decode()
        return self._site.order(effect, effect.lease, effect.task_id, argv, marks, payload, sandbox)

    def _keep_log(self, uet: Address, log: str) -> None:
        if log:
            path = self._site.output_dir / f"{_id(uet).replace('/', '__')}.log"
            with suppress(OSError):  # its last line is in `ProcessExited`; this is for the curious
                path.write_text(f"{log}\n", encoding="utf-8")


def _id(address: Address) -> str:
    return address.partition(":")[2]
