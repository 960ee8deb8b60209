"""Whether what does not move waits for a person: then it is no deadlock.

A pause, a person's verdict, a verdict that machine trouble withheld, what an operator cancelled,
and what the plan leaves to a person (`on_blocked = "wait"`) are for somebody to decide about.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from actors.messages import Standing
from actors.override import BY_HAND

_ENDED = frozenset({"completed", "failed", "cancelled", "skipped", "passed", "shutdown"})


def waits_for_a_person(run: Any, below: Iterable[tuple[str, Any]]) -> str | None:
    """What of the unfinished run, or of the actors `below` (kind, value), only a person can move;
    None where there is nothing of the kind."""
    if run.paused:
        return f"{run.id} is paused"
    below = list(below)
    gates = {value.id for kind, value in below if kind == "test_gate"}
    for kind, value in below:
        if value.state not in _ENDED and getattr(value, "paused", False):
            return f"{value.id} is paused"
        if kind == "test_gate" and (why := _gate_waits(value)) is not None:
            return why
        if kind == "circuit_breaker" and value.mode == "held":
            return f"the breaker {value.id} is held open"
        if kind == "task" and value.stalled:
            return f"{value.id} has no verdict until a gate is run again: {value.reason}"
        if kind == "workstream" and value.state == "validating" and value.reason is not None:
            return f"{value.id} has no verdict until a gate is run again: {value.reason}"
        if value.state == "blocked" and (gate := _without_verdict(value, gates)) is not None:
            return f"{value.id} is blocked by {gate}, which has ended without a verdict"
        if value.state == "blocked" and _by_hand(value):
            return f"{value.id} was blocked by an operator"
        if value.state == "blocked" and run.spec.run.on_blocked == "wait":
            return f"{value.id} is blocked, and its plan lets it wait"
    return None


def _by_hand(value: Any) -> bool:
    return any(cause.source.startswith(BY_HAND) for cause in _causes(value))


def _without_verdict(value: Any, gates: set[str]) -> str | None:
    """A gate that stalls it and is in memory no more: it has ended, and not for what it judges."""
    stalls = (c.source for c in _causes(value) if c.standing is Standing.STALLED)
    ended = (s for s in stalls if s.startswith("test_gate:") and s.partition(":")[2] not in gates)
    return next(ended, None)


def _causes(value: Any) -> list[Any]:
    waits = [getattr(value, name, None) for name in ("after", "gates")]
    return [cause for each in waits for cause in getattr(each, "causes", ())]


def _gate_waits(gate: Any) -> str | None:
    if gate.replaced_by is not None:
        return None
    if gate.spec.gate.approval and gate.state not in _ENDED:
        return f"{gate.id} waits for approval"
    if gate.verdict == "infrastructure":
        return f"{gate.id} has no verdict: machine trouble"
    if gate.state == "cancelled" and gate.operator is not None:
        return f"{gate.id} was cancelled by {gate.operator}"
    return None
