"""Circuit breaker: keeps work away from a tool that fails, and finds out when it is well again.

    CLOSED ──threshold exceeded──> OPEN ──cooldown over──> HALF_OPEN
       ^                            ^                        │    │
       │                            └──probe failed or lost──┘    │
       └─────────────────probes succeeded─────────────────────────┘
    An operator may take each of these edges; from OPEN to CLOSED by both, in one decision.

Invariants:
1. A probe is a lease. There is one at most, only in HALF_OPEN; its owner's death frees it, its
   deadline reopens, so no state waits for an answer that may never come.
2. An epoch ends with every transition and every override. The result of a call that was admitted
   in an older epoch, or by a lease that is no longer held, changes nothing.
3. The cooldown runs from the transition. OPEN has a `due`, unless it is held.
4. HELD is OPEN and has no `due`; DISABLED is CLOSED. The state says whether calls pass, but for
   SHADOW, where they always do.
5. A success while nothing is counted against the tool leaves the very same value.

Deliberately absent: metrics, and a queue of those who were refused. The first are counted by
whoever sees tickets and refusals pass, the second is the dispatcher's.
"""

from __future__ import annotations

import math
from typing import Any

from msgspec.structs import replace

from actors import breaker_hand as hand
from actors import breaker_moves as moves
from actors import breaker_rules as rules
from actors import guard_messages as guard
from actors.breaker_state import CHART, EDGES, Breaker, Mode, State, create
from actors.effects import Note, Reply, Send, SetTimer, Watch
from actors.guard_messages import BEARINGS, Admit, CallOutcome, Refusal, Settle, Ticket, Weight
from actors.machine import Decision
from actors.messages import (
    Announce,
    Cancel,
    Ended,
    Override,
    Pause,
    Recovered,
    Refused,
    Resume,
    TimerFired,
    ToolAllowance,
)

__all__ = [
    "CHART",
    "EDGES",
    "Breaker",
    "Inbox",
    "Mode",
    "State",
    "Verb",
    "allowance",
    "create",
    "decide",
    "would_admit",
]

DISPATCH = "dispatch:main"

Verb = hand.Verb
Event = Admit | Settle | guard.Blame | TimerFired | Recovered | Announce | Ended
Inbox = Event | Verb | guard.WouldAdmit | guard.Revise | Pause | Resume | Cancel | Override


def decide(breaker: Breaker, message: Inbox, now: float) -> Decision[Breaker]:
    """One turn. The dispatcher hears of every change in how many calls it may let through."""
    decision = _decided(breaker, message, now)
    after = decision.state
    if isinstance(message, Recovered | Announce):
        told = allowance(after) is not None
    else:
        told = after is not breaker and _era(after) != _era(breaker)
    if not told:
        return decision
    # It overtakes what waits there, so that as little as can be is granted in vain.
    effects = (Send(DISPATCH, _allowed(after), control=True), *decision.effects)
    return Decision(after, decision.edges, effects)


def _allowed(breaker: Breaker) -> ToolAllowance:
    return ToolAllowance(breaker.id, allowance(breaker), breaker.epoch)


def allowance(breaker: Breaker) -> int | None:
    """How many calls, begun from now on, may be under way at a time; None: any number.

    `Admit` is refused only where this is 0, so that waiting for its rise is enough.
    """
    if breaker.mode is Mode.SHADOW:
        return None
    match breaker.state:
        case State.CLOSED:
            return breaker.ramp
        case State.OPEN:
            return 0
        case State.HALF_OPEN:
            return 1 if breaker.probe is None else 0


def _era(breaker: Breaker) -> tuple[int | None, int | None]:
    """What the dispatcher counts by: the bound, and since when; no bound needs no beginning."""
    allowed = allowance(breaker)
    return allowed, None if allowed is None else breaker.epoch


def _decided(breaker: Breaker, message: Inbox, now: float) -> Decision[Breaker]:
    if isinstance(message, guard.BreakerVerb):
        return hand.operated(breaker, message, now)
    if isinstance(message, guard.WouldAdmit):
        return hand.replied(breaker, would_admit(breaker, now))
    if isinstance(message, guard.Revise):
        return _revised(breaker, message)
    if isinstance(message, Override):
        return hand.overridden(breaker, message, now)
    if isinstance(message, Pause | Resume | Cancel):
        verbs = "open, close, reset, hold, shadow or disable"
        return hand.replied(breaker, Refused(f"a breaker is not moved by this: {verbs} it"))
    match breaker.state:
        case State.CLOSED:
            return _closed(breaker, message, now)
        case State.OPEN:
            return _open(breaker, message, now)
        case State.HALF_OPEN:
            return _half_open(breaker, message, now)


def would_admit(breaker: Breaker, now: float) -> guard.Clear | Refusal:
    """What `Admit` would be told at `now`. A look changes nothing."""
    probe, due = breaker.probe, breaker.due
    clear = guard.Clear(breaker.id, breaker.state, breaker.mode)
    if breaker.mode is Mode.SHADOW:
        return clear
    match breaker.state:
        case State.CLOSED:
            return clear
        case State.OPEN:
            return clear if due is not None and due <= now else _refusal(breaker, due, now)
        case State.HALF_OPEN if probe is None:
            return clear
        case State.HALF_OPEN if probe.deadline <= now:
            return would_admit(moves.lapsed(breaker, now).state, now)
        case State.HALF_OPEN:
            return _refusal(breaker, probe.deadline, now)


# --- a state, a function -------------------------------------------------------------------------


def _closed(breaker: Breaker, message: Event, now: float) -> Decision[Breaker]:
    match message:
        case Admit():
            return _answered(breaker, message, _ticket(breaker, message, now))
        case Settle():
            return _settled_closed(breaker, message, now)
        case guard.Blame():
            return _blamed(breaker, message, now)
        case TimerFired() | Recovered() | Announce() | Ended():
            # CLOSED holds no timer and no lease. The end of a former probe's owner is no news.
            return Decision(breaker)


def _open(breaker: Breaker, message: Event, now: float) -> Decision[Breaker]:
    match message:
        case Admit() if breaker.due is not None and breaker.due <= now:
            # The caller came before the timer's own message did: it is the same instant.
            return _then(moves.cooled(breaker, now), message, now)
        case Admit():
            return _not_admitted(breaker, message, now)
        case Settle():
            return _uncounted(breaker, message)
        case TimerFired(key="cooldown") if breaker.due is not None:
            return moves.cooled(breaker, now)
        case Recovered() if breaker.due is not None and now < breaker.since:
            # The clock was set back between two owners: that must not lengthen the cooldown.
            due = now + (breaker.due - breaker.since)
            again = replace(breaker, since=now, due=due)
            return Decision(again, (), (SetTimer("cooldown", due),))
        case guard.Blame():
            return Decision(breaker)  # it is out of use already
        case TimerFired() | Ended() | Recovered() | Announce():
            # Of a probe that is over; and the cooldown's timer is kept by the store.
            return Decision(breaker)


def _half_open(breaker: Breaker, message: Event, now: float) -> Decision[Breaker]:
    probe = breaker.probe
    match message:
        case Admit() | Settle() if probe is not None and probe.deadline <= now:
            # Whoever comes at or after the deadline finds the lease lapsed, before the timer's
            # own message too.
            return _then(moves.lapsed(breaker, now), message, now)
        case Admit() if probe is None:
            return _probing(breaker, message, now)
        case Admit():
            return _not_admitted(breaker, message, now)
        case Settle() if probe is not None and message.ticket.serial == probe.serial:
            return _settled_probe(breaker, message, now)
        case Settle():
            return _uncounted(breaker, message)
        case TimerFired(key="probe") if probe is not None:
            return moves.lapsed(breaker, now)
        case Ended() if probe is not None and message.target == probe.owner:
            return moves.released(breaker, probe, "its owner ended", now)
        case Recovered() if probe is not None:
            # Its process was reaped with the former owner: nobody's fault, so it does not count.
            note = moves.note_freed(probe, "the owner restarted")
            return Decision(replace(breaker, probe=None), (), (note,))
        case guard.Blame():
            return Decision(breaker)  # the probe is to say how it stands, not what was before
        case TimerFired() | Ended() | Recovered() | Announce():
            # Of a lease that is over.
            return Decision(breaker)


def _then(first: Decision[Breaker], message: Event, now: float) -> Decision[Breaker]:
    """Both turns as one decision: nobody comes between."""
    second = decide(first.state, message, now)
    return Decision(second.state, first.edges + second.edges, first.effects + second.effects)


# --- admission -----------------------------------------------------------------------------------


def _probing(breaker: Breaker, admit: Admit, now: float) -> Decision[Breaker]:
    ticket = _ticket(breaker, admit, now, serial=breaker.serial + 1)
    lent = {"owner": ticket.owner, "serial": ticket.serial, "deadline": ticket.deadline}
    effects = (
        # Volatile: a restart frees the lease itself.
        SetTimer("probe", ticket.deadline, volatile=True),
        Note("breaker_probe_lent", metadata=lent),
        *((Watch(admit.owner),) if admit.owner is not None else ()),
    )
    probing = replace(breaker, serial=ticket.serial, probe=ticket)
    return _answered(probing, admit, ticket, effects)


def _not_admitted(breaker: Breaker, admit: Admit, now: float) -> Decision[Breaker]:
    if breaker.mode is Mode.SHADOW:
        return _answered(breaker, admit, _ticket(breaker, admit, now, would_refuse=True))
    until = breaker.due if breaker.probe is None else breaker.probe.deadline
    refusal = replace(_refusal(breaker, until, now), call=admit.call)
    if admit.owner is None:
        return _answered(breaker, admit, refusal)
    # The dispatcher let it come, so it does not know: unless it is told, it lets it come for ever.
    told = Send(DISPATCH, _allowed(breaker), control=True)
    return _answered(breaker, admit, refusal, (told,))


def _answered(
    breaker: Breaker, admit: Admit, answer: Ticket | Refusal, effects: tuple[Any, ...] = ()
) -> Decision[Breaker]:
    said = Reply(answer) if admit.owner is None else Send(admit.owner, answer)
    return Decision(breaker, (), (*effects, said))


def _ticket(
    breaker: Breaker, admit: Admit, now: float, *, serial: int = 0, would_refuse: bool = False
) -> Ticket:
    deadline = now + admit.lease_s
    return Ticket(
        breaker.id, breaker.epoch, admit.owner, now, deadline, serial, would_refuse, admit.call
    )


def _refusal(breaker: Breaker, until: float | None, now: float) -> Refusal:
    # Rounded up: a caller who comes back on the second is never early, and 0 would be a hot loop.
    wait = None if until is None else max(1, math.ceil(until - now))
    return Refusal(breaker.id, breaker.state, breaker.mode, wait, breaker.reason)


# --- results -------------------------------------------------------------------------------------


def _settled_closed(breaker: Breaker, settle: Settle, now: float) -> Decision[Breaker]:
    outcome = rules.classified(breaker.rules, settle)
    weight = BEARINGS[outcome].closed
    if not _is_current(breaker, settle) or breaker.mode is Mode.DISABLED:
        return _uncounted(breaker, settle)
    if settle.retry_after_s is not None:
        opened = moves.told_to_wait(breaker, settle.retry_after_s, settle, now)
        return _settled(opened, settle, outcome, counted=True)
    if breaker.ramp is not None and outcome in rules.ANSWERS:
        breaker = moves.ramped(breaker)
    if weight is Weight.NOTHING:
        return _settled(Decision(breaker), settle, outcome, counted=False)
    counted = _counted(breaker, settle, weight, now)
    return _settled(counted, settle, outcome, counted=True)


def _counted(breaker: Breaker, settle: Settle, weight: Weight, now: float) -> Decision[Breaker]:
    counts, too_much = rules.counted(breaker.counts, breaker.rules, settle, weight, now)
    if too_much is not None:
        streak = 1 + rules.remembered(breaker.rules, breaker.streak, now - breaker.since)
        return moves.opened(breaker, rules.because(too_much, settle), now, streak=streak)
    return Decision(breaker if counts is breaker.counts else replace(breaker, counts=counts))


def _blamed(breaker: Breaker, blame: guard.Blame, now: float) -> Decision[Breaker]:
    if breaker.mode is Mode.DISABLED:
        return Decision(breaker)
    ticket = Ticket(breaker.id, breaker.epoch, blame.by, now, now)
    settle = Settle(ticket, CallOutcome.TOOL_FAILURE, blame.by, error=blame.reason)
    return _counted(breaker, settle, Weight.FAILURE, now)


def _revised(breaker: Breaker, revise: guard.Revise) -> Decision[Breaker]:
    """Another plan says otherwise, and the newest counts. State, epoch and cooldown stay; what was
    counted stays too, where it is counted by the same window."""
    was = breaker.rules
    settings = None if revise.spec == breaker.spec else revise.spec
    told = {"health": revise.health, "base_dir": revise.base_dir}
    revised = replace(breaker, revised=settings, **told)
    if revised == breaker:
        return Decision(breaker)
    if (was.window, was.size) != (revise.spec.window, revise.spec.size):
        revised = replace(revised, counts=rules.NOTHING_COUNTED)
    if was == revise.spec and breaker.health == revise.health:
        return Decision(revised)  # the same plan, in another folder: nothing that a person asks for
    known = {"was": was, "now": revise.spec, "health": revise.health}
    return Decision(revised, (), (Note("breaker_revised", reason=revise.reason, metadata=known),))


def _settled_probe(breaker: Breaker, settle: Settle, now: float) -> Decision[Breaker]:
    if not _is_current(breaker, settle):
        return _uncounted(breaker, settle)
    outcome = rules.classified(breaker.rules, settle)
    return _settled(_probed(breaker, settle, outcome, now), settle, outcome, counted=True)


def _probed(
    breaker: Breaker, settle: Settle, outcome: CallOutcome, now: float
) -> Decision[Breaker]:
    if settle.retry_after_s is not None:
        return moves.told_to_wait(breaker, settle.retry_after_s, settle, now)
    weight = BEARINGS[outcome].probe
    if weight is Weight.SLOW:
        # Where nobody counts slow calls, a slow answer is an answer.
        slow_is_bad = breaker.rules.window != "consecutive"
        weight = Weight.FAILURE if slow_is_bad else Weight.SUCCESS
    if weight is Weight.SUCCESS:
        return moves.succeeded(breaker, now)
    if weight is Weight.FAILURE:
        reason = rules.because(f"the probe ended {outcome}", settle)
        return moves.opened(breaker, reason, now, streak=breaker.streak + 1)
    return moves.released(breaker, settle.ticket, f"it ended {outcome}", now)


def _is_current(breaker: Breaker, settle: Settle) -> bool:
    ticket = settle.ticket
    same_epoch = ticket.epoch == breaker.epoch and ticket.breaker == breaker.id
    return same_epoch and ticket.owner == settle.by


def _uncounted(breaker: Breaker, settle: Settle) -> Decision[Breaker]:
    """Of this epoch, but let pass without being judged; or else stale, which goes on record."""
    ticket = settle.ticket
    let_pass = ticket.would_refuse or breaker.mode is Mode.DISABLED
    if let_pass and _is_current(breaker, settle):
        outcome = rules.classified(breaker.rules, settle)
        return _settled(Decision(breaker), settle, outcome, counted=False)
    known = {"epoch": ticket.epoch, "serial": ticket.serial, "outcome": settle.outcome}
    reason = f"admitted in epoch {ticket.epoch} to {ticket.owner}, settled by {settle.by}"
    note = Note("breaker_result_stale", "debug", reason, known)
    return _settled(Decision(breaker, (), (note,)), settle, CallOutcome.STALE, counted=False)


def _settled(
    decision: Decision[Breaker], settle: Settle, outcome: CallOutcome, *, counted: bool
) -> Decision[Breaker]:
    breaker = decision.state
    # A pause that the tool asked for is no fault of the attempt.
    burns = BEARINGS[settle.outcome].burns_attempt and settle.retry_after_s is None
    reply = Reply(guard.Settled(breaker.id, outcome, counted, burns, breaker.state))
    return Decision(breaker, decision.edges, (*decision.effects, reply))
