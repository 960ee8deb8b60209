"""A user's actor for the bench: two states and a counter, as small as one can be."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from actors.machine import Chart, Decision, Edge
from actors.messages import Message


class State(StrEnum):
    OFF = "off"
    ON = "on"


CHART = Chart(
    "bench_switch",
    State,
    State.OFF,
    (),
    (Edge("off", "on", "flipped"), Edge("on", "off", "flipped")),
)


class Flip(Message, frozen=True):
    """Changes its state: one durable transition."""


class Look(Message, frozen=True):
    """Changes nothing: a turn that needs no commit."""


class Switch(msgspec.Struct, frozen=True):
    id: str
    state: State = State.OFF


_TO_ON = CHART.take(State.OFF, State.ON, "flipped")
_TO_OFF = CHART.take(State.ON, State.OFF, "flipped")


def decide(switch: Switch, message: Flip | Look, _now: float) -> Decision[Switch]:
    match message:
        case Look():
            return Decision(switch)
        case Flip():
            if switch.state is State.OFF:
                return Decision(Switch(switch.id, State.ON), (_TO_ON,))
            return Decision(Switch(switch.id, State.OFF), (_TO_OFF,))
