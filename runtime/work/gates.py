"""Gate commands: run for the supervisor itself, never by a worker, each in a child of its own.

The child gives a gate what it gives a task: a session of its own, capped output, the death of all
it started, also when the supervisor dies. What differs: there is no lease to commit, for a RUNNING
gate is tried again after a crash, so its launcher is released at once; and a command that could not
be started is the machine's fault, never a verdict.

Before the command the tree is looked at: where a gate passed with the very same key, nothing is
run. After it, that is done again, for a verdict on a tree that moved meanwhile holds for none.
"""

from __future__ import annotations

import asyncio

import anyio
import anyio.abc
from msgspec.structs import replace

from actors.effects import Address, KillGate, RunGate
from actors.messages import GateEnded, Outcome
from runtime.work.host import Host
from runtime.work.outcome import one_line, outcome_of
from runtime.work.port import Report
from runtime.work.site import Site
from runtime.work.wire import (
    Beat,
    EndedReply,
    Hello,
    LaunchedReply,
    ReleaseOrder,
    Reply,
    StopOrder,
    WithdrawOrder,
)
from runtime.work.witness import Bench

_HEARTBEAT_S = 3600.0  # nobody listens: a gate has its timeout


class _Gate:
    """One attempt. `ending` is the reason why it must end, `outcome` how it did. `looking` is open
    until its command is run."""

    __slots__ = ("ending", "host", "lease", "looking", "outcome", "timeout")

    def __init__(self, lease: str) -> None:
        self.lease = lease
        self.host: Host | None = None
        self.looking = anyio.CancelScope()
        self.ending: str | None = None
        self.outcome: Outcome | None = None
        self.timeout: asyncio.TimerHandle | None = None


class Gates:
    """Runs gate commands and ends them."""

    def __init__(self, report: Report, site: Site) -> None:
        self._report = report
        self._site = site
        self._limits = site.limits
        self._gates: dict[Address, _Gate] = {}
        self._group: anyio.abc.TaskGroup | None = None
        self.bench = Bench(site)

    @property
    def busy(self) -> bool:
        """Whether a command runs."""
        return bool(self._gates)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Lives until it is cancelled; all that it started is dead then."""
        async with anyio.create_task_group() as self._group:
            task_status.started()
            await anyio.sleep_forever()

    def start(self, effect: RunGate) -> None:
        """Runs a gate's command, or finds its verdict."""
        assert self._group is not None
        assert effect.gate not in self._gates, effect.gate
        gate_id = effect.gate.partition(":")[2]
        gate = self._gates[effect.gate] = _Gate(f"{gate_id}.{effect.attempt}")
        self._group.start_soon(self._live, effect, gate)

    def kill(self, effect: KillGate) -> None:
        """Ends a gate's command. Of one that has ended meanwhile, the end was told."""
        gate = self._gates.get(effect.gate)
        if gate is not None:
            self._withdraw(gate, effect.reason, effect.kill_timeout_s)

    async def _live(self, effect: RunGate, gate: _Gate) -> None:
        witness = self.bench.witness(effect)
        try:
            outcome = None
            with gate.looking:
                outcome = await witness.before()
            if outcome is None:
                outcome = await self._execute(effect, gate)
                outcome = await witness.after(outcome)
        finally:
            del self._gates[effect.gate]
        self._report(effect.gate, GateEnded(effect.attempt, outcome))

    async def _execute(self, effect: RunGate, gate: _Gate) -> Outcome:
        if gate.ending is not None:
            return Outcome(reason=gate.ending)  # killed before anything ran
        gate_id = effect.gate.partition(":")[2]
        marks = self._site.marks(BANKSMAN_GATE=gate_id)
        host = Host(self._site, _HEARTBEAT_S, marks)
        marks["BANKSMAN_ATTEMPT"] = str(effect.attempt)
        try:
            order = self._site.order(effect, gate.lease, gate_id, list(effect.command), marks)
        except ValueError as error:  # text that no system call takes, from a plan built in Python
            said = one_line(str(error), self._limits)
            return Outcome(reason="not_started", error=said, infrastructure=True)
        host.send(order)
        gate.host = host
        try:
            survivors = await host.live(lambda reply: self._take(effect, gate, host, reply))
        finally:
            if gate.timeout is not None:
                gate.timeout.cancel()
        outcome = gate.outcome or Outcome(
            reason=gate.ending or "lost",
            error=f"its process {host.complaint}",
            infrastructure=gate.ending is None,
            alive=bool(survivors),
        )
        if outcome.reason == "not_started":
            outcome = replace(outcome, infrastructure=True)
        return outcome

    def _take(self, effect: RunGate, gate: _Gate, host: Host, reply: Reply) -> None:
        match reply:
            case Hello():
                if gate.ending is None:
                    host.expect(None)
            case Beat():
                pass  # A gate is bounded by its timeout.
            case LaunchedReply():
                host.send(ReleaseOrder(gate.lease))
                gate.timeout = asyncio.get_running_loop().call_later(
                    effect.timeout_s, self._withdraw, gate, "timeout", self._limits.kill_timeout_s
                )
            case EndedReply():
                gate.outcome = outcome_of(reply, self._limits)
                host.send(StopOrder())
                host.expect(self._limits.answer_timeout_s, "did not stop when told to")

    def _withdraw(self, gate: _Gate, reason: str, kill_timeout_s: float) -> None:
        if gate.outcome is not None:
            return
        gate.ending = gate.ending or reason
        if gate.host is None:
            gate.looking.cancel()
            return
        grace_s = self._limits.grace_s(kill_timeout_s)
        gate.host.send(WithdrawOrder(gate.lease, reason, grace_s, kill_timeout_s))
        within_s = kill_timeout_s + self._limits.answer_timeout_s
        gate.host.expect(within_s, "did not end its work when told to")
