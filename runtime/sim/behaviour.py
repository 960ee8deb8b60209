"""How what runs outside behaves: tools, gates and users' effects, as a scenario says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from actors.messages import Outcome


class Behaviour(msgspec.Struct, frozen=True, omit_defaults=True):
    """One execution of a command, a callable or a gate. `duration_s` is the least it takes."""

    duration_s: float = 1.0
    exit_code: int = 0
    ignores_term: bool = False
    hangs: bool = False  # it goes on until something ends it
    infrastructure: bool = False  # it could not be run: no verdict on the work
    error: str | None = None
    signature: str | None = None
    retry_after_s: float | None = None
    result: Any = None  # of a callable
    extra: dict[str, Any] = {}  # further fields of its `Outcome`

    def outcome(self, duration_s: float) -> Outcome:
        """How it ended, by itself, after so long."""
        reason = "not_started" if self.infrastructure else None
        return Outcome(
            exit_code=None if self.infrastructure else self.exit_code,
            reason=reason,
            error=self.error,
            infrastructure=self.infrastructure,
            duration_s=round(duration_s, 6),
            signature=self.signature,
            retry_after_s=self.retry_after_s,
            result=self.result,
            **self.extra,
        )


class Execution(msgspec.Struct, frozen=True):
    """What is asked to be run, for a rule that decides how it behaves."""

    id: str  # of the task or gate
    attempt: int
    command: tuple[str, ...] = ()
    call: str | None = None

    @property
    def name(self) -> str:
        """The last part of its id: the task's name, or "gate:unit~1"."""
        return self.id.rpartition("/")[2]


Behave = Callable[[Execution], Behaviour]
Matcher = str | Callable[[Execution], bool]


class Tools:
    """The rules of a scenario, in order: the last that fits decides."""

    def __init__(self, fallback: Behaviour) -> None:
        self._fallback = fallback
        self._rules: list[tuple[Callable[[Execution], bool], Behave]] = []

    def add(self, matcher: Matcher, behave: Behave | Behaviour, fails: int = 0) -> None:
        """`matcher`: a task's or gate's name, the first word of a command, the end of an id, or a
        function. Its first `fails` attempts end with exit code 1."""
        fits = matcher if callable(matcher) else _named(matcher)
        rule = behave if callable(behave) else _always(behave)
        self._rules.append((fits, _failing(rule, fails) if fails else rule))

    def behaviour(self, execution: Execution) -> Behaviour:
        """How this execution behaves."""
        for fits, behave in reversed(self._rules):
            if fits(execution):
                return behave(execution)
        return self._fallback


def _named(name: str) -> Callable[[Execution], bool]:
    def fits(execution: Execution) -> bool:
        last = execution.name.partition("~")[0].removeprefix("gate:")
        first = execution.command[:1] or (execution.call,)
        return name in (last, *first) or execution.id.endswith(f"/{name}") or name == "*"

    return fits


def _always(behaviour: Behaviour) -> Behave:
    return lambda _execution: behaviour


def _failing(behave: Behave, fails: int) -> Behave:
    def rule(execution: Execution) -> Behaviour:
        found = behave(execution)
        if execution.attempt <= fails:
            return msgspec.structs.replace(found, exit_code=found.exit_code or 1)
        return found

    return rule
