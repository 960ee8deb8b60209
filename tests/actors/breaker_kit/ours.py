"""Our own breaker behind the port: one pure `decide`, its timers and watches kept here."""

from __future__ import annotations

from typing import Any

import msgspec

from actors import breaker as module
from actors import guard_messages as guard
from actors.breaker import CHART, DISPATCH, Breaker, create, decide
from actors.effects import CancelTimer, Note, Reply, Send, SetTimer, Watch
from actors.messages import Accepted, Ended, Recovered, TimerFired
from actors.spec import Breaker as BreakerSpec
from tests.actors.breaker_kit.port import Permit, Record, Result

VERBS: dict[str, type[guard.ForceOpen | guard.ForceClose | guard.Hold]] = {
    "open": guard.ForceOpen,
    "close": guard.ForceClose,
    "hold": guard.Hold,
    "disable": guard.Disable,
    "shadow": guard.Shadow,
}


class Ours:
    """Implements `Subject`; `effects` holds all that was ever asked for, in order."""

    lazy = False

    def __init__(self, name: str = "tool", **settings: Any) -> None:
        self.now = 1_000.0
        self.records: list[Record] = []
        self.stale: list[int] = []
        self.effects: list[Any] = []
        self.allowances: list[int | None] = []  # as they were told to the dispatcher
        self.timers: dict[str, SetTimer] = {}
        self.watched: set[str] = set()
        spec = BreakerSpec(**{"jitter": 0.0} | settings)
        self.value: Breaker = create(name, (name,), spec, self.now)

    @property
    def state(self) -> str:
        return self.value.state

    @property
    def mode(self) -> str:
        return self.value.mode

    @property
    def epoch(self) -> int:
        return self.value.epoch

    @property
    def due(self) -> float | None:
        return self.value.due

    @property
    def stored(self) -> bytes:
        return msgspec.json.encode(self.value)

    @property
    def durable(self) -> Breaker:
        return self.value

    def tell(self, message: module.Inbox) -> list[Any]:
        """One turn; returns its effects."""
        decision = decide(self.value, message, self.now)
        self.value = decision.state
        for e in decision.edges:
            assert e.source is not None
            self.records.append(
                Record(e.source, e.target, e.trigger, e.severity, e.reason, e.operator, e.metadata)
            )
        said = [e for e in decision.effects if not _to_dispatcher(e)]
        for effect in said:
            self._carry_out(effect)
        self.effects += said
        self.allowances += [e.message.allowed for e in decision.effects if _to_dispatcher(e)]
        return said

    def _carry_out(self, effect: Any) -> None:
        match effect:
            case SetTimer():
                self.timers[effect.key] = effect
            case CancelTimer():
                self.timers.pop(effect.key, None)
            case Watch():
                self.watched.add(effect.target)
            case Note(event_type="breaker_result_stale"):
                self.stale.append(effect.metadata["epoch"])
            case _:
                pass

    def admit(self, owner: str = "task:a", lease_s: float = 30.0) -> Permit:
        said = [e for e in self.tell(guard.Admit(owner, lease_s)) if isinstance(e, Send)]
        assert [e.to for e in said] == [owner], "each Admit is answered once, to its owner"
        return _permit(said[0].message)

    def would_admit(self) -> Permit:
        (reply,) = self.tell(guard.WouldAdmit())
        return _permit(reply.value)

    def settle(
        self,
        permit: Permit,
        outcome: str = "ok",
        *,
        by: str | None = None,
        duration_s: float = 0.0,
        retry_after_s: float | None = None,
        error: str | None = None,
    ) -> Result:
        ticket: guard.Ticket = permit.raw
        kind = guard.CallOutcome(outcome)
        message = guard.Settle(ticket, kind, by or ticket.owner, duration_s, retry_after_s, error)
        (reply,) = (e for e in self.tell(message) if isinstance(e, Reply))
        said: guard.Settled = reply.value
        return Result(said.outcome, said.counted, said.burns_attempt, said.state)

    def advance(self, seconds: float, *, timers: bool = True) -> None:
        until = self.now + seconds
        while timers and self.timers:
            first = min(self.timers.values(), key=lambda t: t.due)
            if first.due > until:
                break
            self.now = max(self.now, first.due)
            del self.timers[first.key]
            self.tell(TimerFired(first.key))
        self.now = until

    def owner_dies(self, owner: str) -> None:
        assert owner in self.watched, "nobody would tell the breaker of this end"
        self.tell(Ended(owner, "failed"))

    def operate(self, verb: str, *, passed: bool = True) -> bool:
        message: module.Verb
        if verb == "reset":
            message = guard.Reset("ann", "drill", passed, "ruff 0.15")
        else:
            message = VERBS[verb]("ann", "drill")
        *_, reply = self.tell(message)
        return isinstance(reply.value, Accepted)

    def restart(self, clock_step_s: float = 0.0) -> None:
        stored = msgspec.json.encode(self.value)
        self.value = msgspec.json.decode(stored, type=Breaker)
        self.timers = {k: t for k, t in self.timers.items() if not t.volatile}
        self.now += clock_step_s
        self.tell(Recovered(2))
        self.advance(0.0)

    def illegal(self, source: str, target: str) -> None:
        CHART.take(source, target, "manual_override")


def _to_dispatcher(effect: Any) -> bool:
    return isinstance(effect, Send) and effect.to == DISPATCH


def _permit(said: Any) -> Permit:
    match said:
        case guard.Ticket():
            return Permit(True, probe=said.serial > 0, would_refuse=said.would_refuse, raw=said)
        case guard.Clear():
            return Permit(True)
        case guard.Refusal():
            return Permit(False, said.retry_after_s, said.reason, raw=said)
        case _:
            raise AssertionError(f"not an answer to Admit: {said}")
