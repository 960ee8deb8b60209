"""An actor for the kernel's own tests: it keeps a sum, and does on demand what users' actors do."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from actors.effects import CancelTimer, Note, Perform, Reply, Send, SetTimer, Spawn, Watch
from actors.machine import Chart, Decision, Edge, Taken
from actors.messages import Ended, Message, Performed, TimerFired


class State(StrEnum):
    OPEN = "open"
    BUSY = "busy"
    CLOSED = "closed"


CHART = Chart(
    "account",
    State,
    State.OPEN,
    (State.CLOSED,),
    (
        Edge("open", "busy", "began"),
        Edge("busy", "open", "finished"),
        Edge("open", "closed", "closed"),
    ),
)


class Add(Message, frozen=True):
    amount: int


class Begin(Message, frozen=True):
    pass


class Finish(Message, frozen=True):
    pass


class Close(Message, frozen=True):
    pass


class Sum(Message, frozen=True):
    """Replies with the sum."""


class AddAndSum(Message, frozen=True):
    """Changes the sum and replies with it: the answer must wait for the commit."""

    amount: int


class Raise(Message, frozen=True):
    """The turn raises, after it would have done much."""


class Forge(Message, frozen=True):
    """Takes an edge that no chart has: the store must refuse it."""


class Pay(Message, frozen=True):
    """Moves an amount to another account, by message."""

    to: str
    amount: int


class Wake(Message, frozen=True):
    """Sets a timer."""

    key: str
    due: float
    volatile: bool = False


class Calm(Message, frozen=True):
    """Cancels a timer."""

    key: str


class Look(Message, frozen=True):
    """Watches another actor."""

    target: str


class Do(Message, frozen=True):
    """A users' effect."""

    name: str
    key: str
    payload: Any = None


class Bear(Message, frozen=True):
    """Spawns another account."""

    id: str


class Remark(Message, frozen=True):
    text: str


class Play(Message, frozen=True):
    """Decides what the test says: a function of the account. It is no JSON."""

    decide: Any


Inbox = (
    Add
    | Play
    | Begin
    | Finish
    | Close
    | Sum
    | AddAndSum
    | Raise
    | Forge
    | Pay
    | Wake
    | Calm
    | Look
    | Do
    | Bear
    | Remark
    | TimerFired
    | Ended
    | Performed
)


class Account(msgspec.Struct, frozen=True):
    id: str
    state: State = State.OPEN
    sum: int = 0
    seen: tuple[str, ...] = ()


_MOVES: dict[type, tuple[State, str]] = {
    Begin: (State.BUSY, "began"),
    Finish: (State.OPEN, "finished"),
    Close: (State.CLOSED, "closed"),
}


def decide(account: Account, message: Inbox, now: float) -> Decision[Account]:
    replace = msgspec.structs.replace
    match message:
        case Add(amount):
            return Decision(replace(account, sum=account.sum + amount))
        case AddAndSum(amount):
            more = replace(account, sum=account.sum + amount)
            return Decision(more, (), (Reply(more.sum),))
        case Sum():
            return Decision(account, (), (Reply((account.sum, account.seen)),))
        case Begin() | Finish() | Close():
            return _move(account, *_MOVES[type(message)])
        case Play(play):
            played: Decision[Account] = play(account)
            return played
        case Raise():
            raise RuntimeError("on purpose")
        case Forge():
            forged = Taken(str(account.state), "closed", "forged")
            return Decision(replace(account, state=State.CLOSED), (forged,))
        case Pay(to, amount):
            less = replace(account, sum=account.sum - amount)
            return Decision(less, (), (Send(to, Add(amount)),))
        case Remark(text):
            return Decision(account, (), (Note("remark", "info", text),))
        case TimerFired() | Ended() | Performed():
            return see(account, _told(message))
        case Wake() | Calm() | Look() | Do() | Bear():
            return Decision(account, (), (_effect(message),))


def _effect(message: Wake | Calm | Look | Do | Bear) -> Any:
    match message:
        case Wake(key, due, volatile):
            return SetTimer(key, due, volatile)
        case Calm(key):
            return CancelTimer(key)
        case Look(target):
            return Watch(target)
        case Do(name, key, payload):
            return Perform(name, key, payload)
        case Bear(id):
            return Spawn("account", Account(id))


def _told(message: TimerFired | Ended | Performed) -> str:
    match message:
        case TimerFired(key):
            return f"timer {key}"
        case Ended(target, state):
            return f"{target} {state}"
        case Performed(key, result, error):
            return f"performed {key} {result} {error}"


def see(account: Account, what: str) -> Decision[Account]:
    return Decision(msgspec.structs.replace(account, seen=(*account.seen, what)))


def _move(account: Account, state: State, trigger: str) -> Decision[Account]:
    taken = CHART.take(account.state, state, trigger)
    return Decision(msgspec.structs.replace(account, state=state), (taken,))
