"""What stands around the kernel in a search: processes, gate commands, and users' performers.

Each is an actor too, so that what is known of actors (isolation, order) holds for it. It takes the
effects that leave the kernel, and moves by itself: work ends in one of the ways that the world
names, a process dies where there is a budget for it. All of it dies with the owner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from actors import effects as fx
from actors import messages as m
from actors.machine import Chart, Decision
from runtime.sim.space import Move, Renaming, encode

Outcomes: TypeAlias = Callable[[str, int], tuple[m.Outcome, ...]]  # of an id, and its attempt

DEATHS = "deaths"
"""The budget of processes that die by themselves."""


class Held(msgspec.Struct, frozen=True):
    """One lease at a process: launched, and running once it was released."""

    lease: str
    task_id: str
    attempt: int
    running: bool


class Process(msgspec.Struct, frozen=True):
    """The process of a UET worker, and what it runs."""

    id: str  # the UET worker's address
    up: bool = False
    held: tuple[Held, ...] = ()


class Finish(msgspec.Struct, frozen=True, tag=True):
    """The work of a lease ends by itself."""

    lease: str
    outcome: m.Outcome


class Die(msgspec.Struct, frozen=True, tag=True):
    """The process dies, and all it runs."""


class _Outside:
    """What all of them have in common: no chart, no memory beyond the owner."""

    chart: Chart | None = None
    recovers = False
    outside = True

    def encode(self, value: Any, rename: Renaming) -> bytes:
        """Its canonical bytes."""
        return rename(encode(value))

    def is_ended(self, _value: Any) -> bool:
        return False


class Processes(_Outside):
    """The machine of `process:<UET worker>`."""

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes

    def born(self, id: Any) -> Any:
        """As it is before anything reaches it."""
        return Process(id)

    def decide(self, value: Process, message: Any, _now: float) -> Decision[Process]:
        """What the shell does with an effect, or how its work goes on."""
        match message:
            case fx.StartProcess():
                started = m.ProcessStarted(7, 7, "boot")
                return Decision(replace(value, up=True), (), (fx.Send(value.id, started),))
            case fx.StopProcess() if value.up:
                return _gone(value, m.ProcessExited(crashed=False))
            case fx.Offer() if value.up:
                return _offered(value, message)
            case fx.Release(_, lease):
                held = tuple(
                    replace(h, running=True) if h.lease == lease else h for h in value.held
                )
                return Decision(replace(value, held=held))
            case fx.Withdraw(_, lease, reason):
                return _ended(value, lease, m.Outcome(signal=15, reason=reason))
            case Finish(lease, outcome):
                return _ended(value, lease, outcome)
            case Die():
                return _gone(value, m.ProcessExited(crashed=True, reason="signal 9"))
            case _:
                return Decision(value)  # for a process that is gone

    def moves(self, value: Process) -> tuple[Move, ...]:
        """Each way in which what runs may end; and the death of the process."""
        moves = [
            Move(Finish(held.lease, outcome))
            for held in value.held
            if held.running
            for outcome in self._outcomes(held.task_id, held.attempt)
        ]
        return (*moves, Move(Die(), DEATHS)) if value.up else ()


def _offered(value: Process, offer: fx.Offer) -> Decision[Process]:
    inline = offer.call is not None and ":" not in offer.call
    held = Held(offer.lease, offer.task_id, offer.attempt, inline)
    launched = () if inline else (fx.Send(value.id, m.Launched(offer.lease, 8, 8, 8)),)
    return Decision(replace(value, held=(*value.held, held)), (), launched)


def _ended(value: Process, lease: str, outcome: m.Outcome) -> Decision[Process]:
    left = tuple(held for held in value.held if held.lease != lease)
    if len(left) == len(value.held):
        return Decision(value)  # over already
    ended = fx.Send(value.id, m.WorkEnded(lease, outcome))
    return Decision(replace(value, held=left), (), (ended,))


def _gone(value: Process, how: m.ProcessExited) -> Decision[Process]:
    return Decision(replace(value, up=False, held=()), (), (fx.Send(value.id, how),))


class Command(msgspec.Struct, frozen=True):
    """The command of a gate. `attempt` 0: none runs."""

    id: str  # the gate's address
    attempt: int = 0


class Commands(_Outside):
    """The machine of `command:<gate>`."""

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes

    def born(self, id: Any) -> Any:
        """As it is before anything reaches it."""
        return Command(id)

    def decide(self, value: Command, message: Any, _now: float) -> Decision[Command]:
        """Runs it, ends it, or lets it end."""
        match message:
            case fx.RunGate(_, attempt):
                return Decision(replace(value, attempt=attempt))
            case fx.KillGate(_, reason) if value.attempt:
                return self._over(value, m.Outcome(signal=15, reason=reason))
            case Finish(_, outcome) if value.attempt:
                return self._over(value, outcome)
            case _:
                return Decision(value)  # it was over already

    def _over(self, value: Command, outcome: m.Outcome) -> Decision[Command]:
        ended = fx.Send(value.id, m.GateEnded(value.attempt, outcome))
        return Decision(replace(value, attempt=0), (), (ended,))

    def moves(self, value: Command) -> tuple[Move, ...]:
        """Each way in which it may end."""
        if not value.attempt:
            return ()
        gate_id = value.id.partition(":")[2]
        return tuple(Move(Finish("", o)) for o in self._outcomes(gate_id, value.attempt))


class Performer(msgspec.Struct, frozen=True):
    """What carries out the `Perform` effects of one actor; those it has been given."""

    id: str  # the actor's address
    given: tuple[fx.Perform, ...] = ()


class PerformDone(msgspec.Struct, frozen=True, tag=True):
    """An effect was carried out, with this outcome."""

    key: str
    result: Any = None
    error: str | None = None


Results: TypeAlias = Callable[[fx.Perform], tuple[Any, ...]]


class Performers(_Outside):
    """The machine of `performer:<actor>`. An exception among the results is an error."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def born(self, id: Any) -> Any:
        """As it is before anything reaches it."""
        return Performer(id)

    def decide(self, value: Performer, message: Any, _now: float) -> Decision[Performer]:
        """Takes an effect, or tells its actor what came of it."""
        match message:
            case fx.Perform():
                return Decision(replace(value, given=(*value.given, message)))
            case PerformDone(key, result, error):
                given = tuple(p for p in value.given if p.key != key)
                done = fx.Send(value.id, m.Performed(key, result, error))
                return Decision(replace(value, given=given), (), (done,))
            case _:
                return Decision(value)

    def moves(self, value: Performer) -> tuple[Move, ...]:
        """Each outcome of each effect."""
        return tuple(
            Move(
                PerformDone(p.key, error=str(r))
                if isinstance(r, Exception)
                else PerformDone(p.key, r)
            )
            for p in value.given
            for r in self._results(p)
        )
