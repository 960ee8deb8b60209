"""The kernel's own two actors, which live in memory only: the creator and the dispatcher.

Neither is stored. What the creator makes is durable with the turn that makes it; the dispatcher is
an index over tasks, workers and gates, and is built anew from what they announce.
"""

from __future__ import annotations

from typing import Any

import msgspec

from actors import dispatch
from actors.effects import Effect, Reply, Send, Spawn
from actors.machine import Decision
from actors.messages import Accepted
from runtime.kinds import Kind, memory_kind

CREATOR = "creator:main"
DISPATCH = "dispatch:main"


class Lift(Effect, frozen=True):
    """Lets a suspended actor take turns again. Only the kernel's own actors ask for it."""

    ref: str
    operator: str | None = None
    reason: str | None = None


class Release(msgspec.Struct, frozen=True):
    """Asks for `Lift`; the answer comes when it is durable."""

    lift: Lift


class Create(msgspec.Struct, frozen=True):
    """Creates actors and sends first messages, in one turn."""

    spawns: tuple[Spawn, ...]
    sends: tuple[Send, ...] = ()
    entity_id: str | None = None


def _create(value: None, message: Create | Release, _now: float) -> Decision[None]:
    effects: tuple[Effect, ...]
    match message:
        case Create(spawns, sends, entity_id):
            effects = (*spawns, *sends, Reply(Accepted("created", entity_id)))
        case Release(lift):
            effects = (lift, Reply(Accepted("takes turns again", lift.ref)))
    return Decision(value, (), effects)


def creator_kind() -> Kind:
    return memory_kind("creator", _create)


def dispatch_kind(dispatcher: dispatch.Dispatch | None) -> Kind:
    """`None`: an owner that only takes a command and starts nothing, so it need not match."""

    def decide(value: Any, message: Any, now: float) -> Decision[Any]:
        if dispatcher is None:
            return Decision(value)
        return Decision(value, (), dispatcher.decide(message, now))

    return memory_kind("dispatch", decide)
