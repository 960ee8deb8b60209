"""A race in an actor of one's own, found and made small:

    banksman simulate examples/simulate_race.py::no_seat_is_sold_twice

A box office charges first and counts afterwards. Whoever buys while a charge is under way is
charged too, and the last seat is sold twice. No test with one buyer at a time will ever see it. The
simulation does within some ten seeds, and says what it takes: one charge that takes long.

`no_seat_is_held_twice` is the same scenario with the office that is right: with crashes, lost
effects and all other faults it finds nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec

from actors.effects import Perform
from actors.machine import Chart, Decision, Edge
from actors.messages import Message, Performed
from runtime import user_kind
from runtime.sim import Sim, simulate


class State(StrEnum):
    OPEN = "open"
    SOLD_OUT = "sold_out"


CHART = Chart("office", State, State.OPEN, (), (Edge("open", "sold_out", "last_seat_sold"),))
BUYERS = ("ann", "bob", "cid", "dan")


class Buy(Message, frozen=True):
    who: str


class Office(msgspec.Struct, frozen=True):
    id: str
    seats: int
    state: State = State.OPEN
    held: tuple[str, ...] = ()  # charged, and not yet known to be paid
    sold: tuple[str, ...] = ()


def hasty(office: Office, message: Buy | Performed, _now: float) -> Decision[Office]:
    """Looks only at what is sold."""
    match message:
        case Buy(who):
            if len(office.sold) >= office.seats:
                return Decision(office)
            return Decision(office, (), (Perform("charge", who),))
        case Performed(who):
            return _paid(office, who)


def careful(office: Office, message: Buy | Performed, _now: float) -> Decision[Office]:
    """Holds the seat before it charges."""
    match message:
        case Buy(who):
            if len(office.sold) + len(office.held) >= office.seats:
                return Decision(office)
            held = msgspec.structs.replace(office, held=(*office.held, who))
            return Decision(held, (), (Perform("charge", who),))
        case Performed(who):
            return _paid(office, who)


def _paid(office: Office, who: str) -> Decision[Office]:
    held = tuple(each for each in office.held if each != who)
    paid = msgspec.structs.replace(office, held=held, sold=(*office.sold, who))
    if office.state is State.SOLD_OUT or len(paid.sold) < office.seats:
        return Decision(paid)
    taken = CHART.take(State.OPEN, State.SOLD_OUT, "last_seat_sold")
    return Decision(msgspec.structs.replace(paid, state=State.SOLD_OUT), (taken,))


def box_office(sim: Sim, decide: Callable[..., Any]) -> None:
    sim.register(user_kind("office", Office, decide, Buy | Performed, CHART))
    sim.on_effect("charge", lambda _key, _payload, _perhaps_done: "paid", usual_s="200ms")
    office = sim.spawn("office", Office("main", seats=2))
    for n, who in enumerate(BUYERS[: sim.size("buyers", 4)]):
        sim.tell(office, Buy(who), at=10 + 5 * n)
    sim.always(
        "no more seats are sold than there are",
        lambda v: (o := v.actor(office)) is None or len(o.sold) <= o.seats,
    )
    sim.sometimes("it is sold out", lambda v: (o := v.actor(office)) and o.state == "sold_out")


@simulate(seeds=500, faults={})  # it takes no crash and no full disk, only time
def no_seat_is_sold_twice(sim: Sim) -> None:
    box_office(sim, hasty)


@simulate(seeds=500)
def no_seat_is_held_twice(sim: Sim) -> None:
    box_office(sim, careful)
