"""What the adapters of all peers have in common: settings, permits, results, and the clock."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Any, NoReturn

from tests.actors.breaker_kit.port import Absent, Record

Call = Callable[[BaseException | None], None]
"""Ends a call that was admitted: with what it raised, or with None."""

_FIRST = 1_000.0


class CallerFault(Exception):
    """What a peer is told to leave out of its counts, by the means that it has for that."""


class ToolFailure(Exception):
    """What a peer is to count."""


class Cancelled(BaseException):
    """Stands for `asyncio.CancelledError`, which is no `Exception` either."""


class Clock:
    """The wall clock that a peer reads."""

    def __init__(self) -> None:
        self.now = _FIRST

    def datetime_type(self) -> type[datetime]:
        """A `datetime` whose present is this clock's, in a place where local time is UTC."""
        clock = self

        class Moved(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                aware = datetime.fromtimestamp(clock.now, UTC)
                return aware.astimezone(tz) if tz else aware.replace(tzinfo=None)

            @classmethod
            def utcnow(cls) -> datetime:  # type: ignore[override]
                return cls.now()

        return Moved


class Snapshot(tuple[Any, ...]):
    """What a peer shows of itself at one moment. It is the adapter's, not the peer's own value."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise Absent("a value of its own that holds all its state")


class PeerTicket:
    """A call under way. Of a lease's fields a peer has none."""

    def __init__(self, call: Call, deadline: float) -> None:
        self.call: Call | None = call
        self.ends = deadline

    def __getattr__(self, name: str) -> NoReturn:
        raise Absent("a lease for a probe")


class PeerPermit:
    """The answer to a caller, without what a peer does not tell."""

    def __init__(
        self, admitted: bool, *, probe: bool = False, raw: PeerTicket | None = None
    ) -> None:
        self.admitted = admitted
        self.probe = probe
        self.raw = raw

    @property
    def retry_after_s(self) -> float | None:
        raise Absent("a retry-after in its refusal")

    @property
    def reason(self) -> str | None:
        raise Absent("the cause in its refusal")

    @property
    def would_refuse(self) -> bool:
        raise Absent("a shadow mode")


class TimedRefusal(PeerPermit):
    """A refusal that says when to come back."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(admitted=False)
        self._retry_after_s = retry_after_s

    @property
    def retry_after_s(self) -> float | None:
        return self._retry_after_s


class PeerResult:
    """What a settled call was taken for, as far as it can be seen from outside."""

    def __init__(self, *, counted: bool, state: str) -> None:
        self.counted = counted
        self.state = state

    @property
    def outcome(self) -> str:
        raise Absent("an answer to a result")

    @property
    def burns_attempt(self) -> bool:
        raise Absent("an answer to a result")


class PeerRecord:
    """A change of state as a listener hears of it."""

    def __init__(self, source: str, target: str) -> None:
        self.source = source
        self.target = target

    def __getattr__(self, name: str) -> NoReturn:
        raise Absent(f"a {name} in its record of a transition")


class Peer(ABC):
    """Implements `Subject` but for what differs: a call's begin, the state, and the verbs."""

    lazy = True
    settings: frozenset[str] = frozenset({"failure_threshold", "cooldown_s"})

    def __init__(self, name: str = "tool", **settings: Any) -> None:
        neutral = {"growth": 1.0, "jitter": 0.0, "success_threshold": 1}
        for key, value in settings.items():
            if key not in self.settings and neutral.get(key) != value:
                raise Absent(_MISSING.get(key, key))
        self.name = name
        self.failure_threshold: int = settings.get("failure_threshold", 5)
        self.cooldown_s: float = settings.get("cooldown_s", 60.0)
        self.success_threshold: int = settings.get("success_threshold", 1)
        self.clock = Clock()
        self.records: list[Record] = []
        self._probes: list[PeerTicket] = []
        self._shown = Snapshot()

    @abstractmethod
    def begin(self) -> Call | PeerPermit:
        """Asks for admission: how to end the call, or the refusal."""

    @abstractmethod
    def show(self) -> tuple[Any, ...]:
        """All that can be read of its state."""

    @property
    @abstractmethod
    def state(self) -> str: ...

    @abstractmethod
    def operate(self, verb: str, *, passed: bool = True) -> bool: ...

    @abstractmethod
    def renew(self) -> None:
        """A new breaker on the store of the old one, as after a restart with a durable store."""

    @property
    def now(self) -> float:
        return self.clock.now

    @property
    def durable(self) -> Snapshot:
        shown = Snapshot(self.show())
        if shown != self._shown:
            self._shown = shown
        return self._shown

    @property
    def stored(self) -> bytes:
        raise Absent("a value of its own that holds all its state")

    @property
    def mode(self) -> str:
        raise Absent("a mode")

    @property
    def epoch(self) -> int:
        raise Absent("an epoch")

    @property
    def stale(self) -> list[int]:
        raise Absent("a record of late results")

    def admit(self, owner: str = "task:a", lease_s: float = 30.0) -> PeerPermit:
        begun = self.begin()
        if isinstance(begun, PeerPermit):
            return begun
        ticket = PeerTicket(begun, self.now + lease_s)
        probe = self.state == "half_open"
        if probe:
            self._probes.append(ticket)
        return PeerPermit(admitted=True, probe=probe, raw=ticket)

    def would_admit(self) -> PeerPermit:
        raise Absent("a question that takes no admission")

    def settle(
        self,
        permit: PeerPermit,
        outcome: str = "ok",
        *,
        by: str | None = None,
        duration_s: float = 0.0,
        retry_after_s: float | None = None,
        error: str | None = None,
    ) -> PeerResult:
        if by is not None:
            raise Absent("an owner of a call")
        if retry_after_s is not None:
            raise Absent("a pause told by the tool")
        ticket = permit.raw
        assert ticket is not None, "a call that was refused has no result"
        if ticket.call is None:
            raise Absent("a call that could end twice")
        call, ticket.call = ticket.call, None
        if ticket in self._probes:
            self._probes.remove(ticket)
        before = self.durable
        call(_raised(outcome, error))
        healthy = outcome == "ok" and self.state == "closed"
        return PeerResult(counted=healthy or self.durable != before, state=self.state)

    def advance(self, seconds: float, *, timers: bool = True) -> None:
        until = round(self.clock.now + seconds, 6)
        if any(ticket.ends <= until for ticket in self._probes):
            raise Absent("a bound on the time of a probe")
        self.clock.now = until

    def owner_dies(self, owner: str) -> None:
        raise Absent("an owner of a call")

    def restart(self, clock_step_s: float = 0.0) -> None:
        self.clock.now += clock_step_s
        self.renew()

    def illegal(self, source: str, target: str) -> None:
        raise Absent("a chart that a transition could break")


_MISSING = {
    "window": "a sliding window",
    "growth": "a growing cooldown",
    "jitter": "jitter",
    "success_threshold": "a success threshold",
}


def _raised(outcome: str, error: str | None) -> BaseException | None:
    match outcome:
        case "ok" | "slow":
            return None  # none of them times a call: a slow success is a success
        case "tool_failure":
            return ToolFailure(error or "")
        case "caller_fault" | "unreachable":
            return CallerFault()
        case "cancelled":
            return Cancelled()
        case "lapsed":
            raise Absent("a call whose end nobody knows")
        case _:
            raise AssertionError(f"not an outcome: {outcome}")
