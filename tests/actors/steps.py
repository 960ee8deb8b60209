"""A machine step by step: what the last of some messages led to, and how to look at that."""

from __future__ import annotations

from typing import Any, TypeVar

from actors.effects import Effect, Reply, Send
from actors.machine import Decision

E = TypeVar("E", bound=Effect)


def step(module: Any, value: Any, *messages: Any, now: float = 10.0) -> Decision[Any]:
    """The decision on the last message, after all those before it."""
    decision: Decision[Any] = Decision(value)
    for message in messages:
        decision = module.decide(decision.state, message, now)
    return decision


def after(module: Any, value: Any, *messages: Any, now: float = 10.0) -> Any:
    """The value after these messages."""
    return step(module, value, *messages, now=now).state


def triggers(decision: Decision[Any]) -> list[str]:
    """The triggers of the edges taken, in order."""
    return [taken.trigger for taken in decision.edges]


def sent(decision: Decision[Any], to: str) -> list[Any]:
    """The messages to one address, in order."""
    return [e.message for e in decision.effects if isinstance(e, Send) and e.to == to]


def effects(decision: Decision[Any], kind: type[E]) -> list[E]:
    """The effects of one kind, in order."""
    return [effect for effect in decision.effects if isinstance(effect, kind)]


def answer(decision: Decision[Any]) -> Any:
    """What the operator is told."""
    (reply,) = effects(decision, Reply)
    return reply.value
