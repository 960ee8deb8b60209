"""The port that a circuit breaker is tested through, and the register of cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol


class Absent(Exception):
    """The implementation under test has no such thing."""


class Permit(NamedTuple):
    """The answer to a caller. `raw` is the implementation's own ticket."""

    admitted: bool
    retry_after_s: float | None = None
    reason: str | None = None
    probe: bool = False
    would_refuse: bool = False
    raw: Any = None


class Result(NamedTuple):
    """What a settled call was taken for."""

    outcome: str
    counted: bool
    burns_attempt: bool
    state: str


class Record(NamedTuple):
    """One transition as it goes on record."""

    source: str
    target: str
    trigger: str
    severity: str
    reason: str | None = None
    operator: str | None = None
    metadata: Any = None


class Subject(Protocol):
    """A breaker on a clock that the case moves. Timers that become due are delivered."""

    lazy: bool  # leaves OPEN only with the next caller, and perhaps a moment past the instant
    now: float
    records: list[Record]
    stale: list[int]  # the epoch of each result that came too late

    @property
    def state(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def due(self) -> float | None: ...
    @property
    def durable(self) -> Any: ...  # what it knows, as a value that later calls do not change
    @property
    def stored(self) -> bytes: ...  # the same, as it is written down
    def admit(self, owner: str = "task:a", lease_s: float = 30.0) -> Permit: ...
    def would_admit(self) -> Permit: ...
    def settle(
        self,
        permit: Permit,
        outcome: str = "ok",
        *,
        by: str | None = None,
        duration_s: float = 0.0,
        retry_after_s: float | None = None,
        error: str | None = None,
    ) -> Result: ...
    def advance(self, seconds: float, *, timers: bool = True) -> None: ...
    def owner_dies(self, owner: str) -> None: ...
    def operate(self, verb: str, *, passed: bool = True) -> bool: ...
    def restart(self, clock_step_s: float = 0.0) -> None: ...
    def illegal(self, source: str, target: str) -> None: ...


class Make(Protocol):
    """Makes a subject: `name` tells breakers apart, settings are those of a plan."""

    def __call__(self, name: str = "tool", **settings: Any) -> Subject: ...


Case = Callable[[Make], None]
CASES: dict[int, Case] = {}


def case(number: int) -> Callable[[Case], Case]:
    """Registers a case under its number; the function's name is the sentence that it proves."""

    def register(function: Case) -> Case:
        assert number not in CASES, f"case {number} is written twice"
        CASES[number] = function
        return function

    return register


# --- what many cases begin with ---------------------------------------------------------------


def fail(subject: Subject, times: int = 1, outcome: str = "tool_failure") -> None:
    """So many calls, one after another, each ending in `outcome`."""
    for _ in range(times):
        subject.settle(subject.admit(), outcome)


def opened(make: Make, **settings: Any) -> Subject:
    """A breaker that two failures in a row have just opened, for a minute."""
    subject = make(**{"failure_threshold": 2, "cooldown_s": 60.0} | settings)
    fail(subject, 2)
    assert subject.state == "open"
    return subject


def half_open(make: Make, **settings: Any) -> Subject:
    """A breaker whose cooldown has just ended, with no probe out."""
    subject = opened(make, **settings)
    assert subject.due is not None
    subject.advance(subject.due - subject.now)
    if subject.lazy:
        subject.advance(0.25)  # case 36 judges that; the others are about what comes after
    else:
        assert subject.state == "half_open"
    return subject


def each(make: Make, *settings: dict[str, Any]) -> Iterator[Subject]:
    """A breaker of each of these settings that the implementation has; Absent if it has none."""
    missing: Absent | None = None
    made = 0
    for one in settings:
        try:
            subject = make(**one)
        except Absent as absent:
            missing = absent
            continue
        made += 1
        yield subject
    if missing is not None and not made:
        raise missing
