"""Who orders the queue of a ledger, as an actor of a simulated world: first in, first out.

So many patches at a time are applied to the target as it is; the first to be verified lands, and
the others hear that their base moved. It knows no git: where the target is, an effect tells.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from actors import effects as fx
from actors import messages as m
from actors import patch_messages as pm
from actors.machine import Decision

QUEUE = "landing:main"
TIP = "landing_tip"
"""The effect that tells where the target is."""

_AGAIN_S = 20.0
_APPLIED = frozenset({"applied", "verified"})


class Landing(msgspec.Struct, frozen=True):
    """The line, and who is on the way. `asked` counts the questions for the target's tip."""

    id: str
    window: int = 1
    line: tuple[str, ...] = ()
    flying: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    asked: int = 0
    asking: bool = False


Inbox: TypeAlias = pm.PatchMoved | pm.ApplyRefused | m.Performed | m.TimerFired


def decide(queue: Landing, message: Inbox, now: float) -> Decision[Landing]:
    """One turn."""
    effects: list[Any] = []
    match message:
        case pm.PatchMoved():
            queue = _moved(queue, message, effects)
        case pm.ApplyRefused(patch):
            queue = replace(_without(queue, patch), refused=(*queue.refused, patch))
            effects.append(fx.SetTimer("again", now + _AGAIN_S))
        case m.TimerFired():
            queue = replace(queue, line=(*queue.line, *queue.refused), refused=())
        case m.Performed(key, tip, error):
            if not queue.asking or key != _key(queue):
                return Decision(queue)
            queue = replace(queue, asking=False)
            if error is None:
                queue = _send(queue, tip, effects)
    if queue.line and len(queue.flying) < queue.window and not queue.asking:
        queue = replace(queue, asking=True, asked=queue.asked + 1)
        effects.append(fx.Perform(TIP, _key(queue)))
    return Decision(queue, (), tuple(effects))


def _key(queue: Landing) -> str:
    return f"{queue.id}:{queue.asked}"


def _moved(queue: Landing, message: pm.PatchMoved, effects: list[Any]) -> Landing:
    patch = message.patch
    if message.target in _APPLIED:
        return queue
    queue = _without(queue, patch)
    if message.target == "staged":
        return replace(queue, line=(*queue.line, patch))
    if message.target == "committed" and message.commit_sha is not None:
        effects += [fx.Send(other, pm.BaseMoved(message.commit_sha)) for other in queue.flying]
    return queue


def _send(queue: Landing, tip: str, effects: list[Any]) -> Landing:
    """As many as may be on the way are told that it is their turn."""
    free = queue.window - len(queue.flying)
    chosen = queue.line[: max(0, free)]
    effects += [fx.Send(patch, pm.Apply(tip, f"landing:{queue.id}")) for patch in chosen]
    return replace(queue, line=queue.line[len(chosen) :], flying=(*queue.flying, *chosen))


def _without(queue: Landing, patch: str) -> Landing:
    return replace(
        queue,
        line=tuple(each for each in queue.line if each != patch),
        flying=tuple(each for each in queue.flying if each != patch),
        refused=tuple(each for each in queue.refused if each != patch),
    )
