"""A digest: collects lines, and sends them on as one message a while after the first of them.

    IDLE ──Line──> COLLECTING ──timer──> SENDING ──Performed──> IDLE
                     ^  Line │             │  Line: kept for the next
                     └───────┘             └─ it failed: COLLECTING again, after a while

An actor of your own is a frozen value and one pure function. It gets a durable inbox, timers that
survive a crash, effects that are carried out only after the decision is on disk, and an audit.

Invariants:
1. No line is lost and none is in two digests, whatever crashes in between.
2. At most one digest is under way; its key says to the receiver which one it is.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from actors.effects import Perform, Reply, SetTimer
from actors.machine import Chart, Decision, Edge
from actors.messages import Message, Performed, TimerFired


class State(StrEnum):
    IDLE = "idle"
    COLLECTING = "collecting"
    SENDING = "sending"


EDGES = (
    Edge("idle", "collecting", "first_line"),
    Edge("collecting", "sending", "due"),
    Edge("sending", "idle", "sent"),
    Edge("sending", "collecting", "sent_more_waits"),
    Edge("sending", "collecting", "failed", "warning"),
)
CHART = Chart("digest", State, State.IDLE, (), EDGES)


class Line(Message, frozen=True):
    text: str


class HowMany(Message, frozen=True):
    """Ask it: replies with the number of digests sent."""


class Digest(msgspec.Struct, frozen=True):
    id: str
    wait_s: float
    state: State = State.IDLE
    lines: tuple[str, ...] = ()
    sending: int = 0  # how many of `lines` are in the digest under way
    sent: int = 0


Inbox = Line | HowMany | TimerFired | Performed


def decide(digest: Digest, message: Inbox, now: float) -> Decision[Digest]:
    match message:
        case HowMany():
            return Decision(digest, (), (Reply(digest.sent),))
        case Line(text):
            return _take(digest, text, now)
        case TimerFired():
            return _send(digest)
        case Performed(error=None):
            return _sent(digest, now)
        case Performed(error=why):
            taken = CHART.take(digest.state, State.COLLECTING, "failed", reason=why)
            again = msgspec.structs.replace(digest, state=State.COLLECTING, sending=0)
            return Decision(again, (taken,), (SetTimer("due", now + digest.wait_s),))


def _take(digest: Digest, text: str, now: float) -> Decision[Digest]:
    more = msgspec.structs.replace(digest, lines=(*digest.lines, text))
    if digest.state is not State.IDLE:
        return Decision(more)
    taken = CHART.take(State.IDLE, State.COLLECTING, "first_line")
    more = msgspec.structs.replace(more, state=State.COLLECTING)
    return Decision(more, (taken,), (SetTimer("due", now + digest.wait_s),))


def _send(digest: Digest) -> Decision[Digest]:
    taken = CHART.take(digest.state, State.SENDING, "due")
    sending = msgspec.structs.replace(digest, state=State.SENDING, sending=len(digest.lines))
    # The key is the same if a crash makes the runtime offer it again: the receiver can tell.
    effect = Perform("deliver", f"{digest.id}#{digest.sent + 1}", list(digest.lines))
    return Decision(sending, (taken,), (effect,))


def _sent(digest: Digest, now: float) -> Decision[Digest]:
    rest = digest.lines[digest.sending :]
    state = State.COLLECTING if rest else State.IDLE
    taken = CHART.take(digest.state, state, "sent_more_waits" if rest else "sent")
    done = msgspec.structs.replace(digest, state=state, lines=rest, sending=0, sent=digest.sent + 1)
    return Decision(done, (taken,), (SetTimer("due", now + digest.wait_s),) if rest else ())
