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
from enum import StrEnum
from itertools import pairwise
from typing import Any

import msgspec
from msgspec.structs import replace

from actors import breaker_rules as rules
from actors import guard_messages as guard
from actors.effects import CancelTimer, Note, Reply, Send, SetTimer, Watch
from actors.guard_messages import BEARINGS, Admit, CallOutcome, Refusal, Settle, Ticket, Weight
from actors.machine import Chart, Decision, Edge, Taken
from actors.messages import Accepted, Cancel, Ended, Pause, Recovered, Refused, Resume, TimerFired
from actors.spec import Breaker as BreakerSpec


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


EDGES: tuple[Edge, ...] = (
    Edge(State.CLOSED, State.OPEN, "failure_threshold_exceeded", "error"),
    Edge(State.OPEN, State.HALF_OPEN, "cooldown_expired", "warning"),
    Edge(State.HALF_OPEN, State.CLOSED, "success_threshold_met", "info"),
    Edge(State.HALF_OPEN, State.OPEN, "test_failed", "error"),
    Edge(State.CLOSED, State.OPEN, "manual_override", "warning"),
    Edge(State.OPEN, State.HALF_OPEN, "manual_override", "warning"),
    Edge(State.HALF_OPEN, State.CLOSED, "manual_override", "warning"),
    Edge(State.HALF_OPEN, State.OPEN, "manual_override", "warning"),
)

CHART = Chart("circuit_breaker", State, State.CLOSED, (), EDGES)


class Mode(StrEnum):
    """What an operator laid over the three states."""

    AUTO = "auto"
    HELD = "held"
    DISABLED = "disabled"
    SHADOW = "shadow"


class Breaker(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One tool's breaker."""

    id: str
    run_id: str | None
    state: State
    created_at: float
    started_at: float | None
    completed_at: float | None
    reason: str | None
    spec: BreakerSpec
    tool: str
    since: float  # when this state, or its present cooldown, began
    mode: Mode = Mode.AUTO
    epoch: int = 0
    due: float | None = None  # the end of the cooldown
    streak: int = 0  # openings without a close between: the rung of the cooldown's ladder
    counts: rules.Counts = rules.NOTHING_COUNTED
    successes: int = 0  # of probes, in a row
    inconclusive: int = 0  # probes, in a row
    serial: int = 0  # of the last probe
    probe: Ticket | None = None


Event = Admit | Settle | TimerFired | Recovered | Ended
Verb = guard.ForceOpen | guard.ForceClose | guard.Reset | guard.Hold | guard.Disable | guard.Shadow
Inbox = Event | Verb | guard.WouldAdmit | Pause | Resume | Cancel


def create(tool: str, command: tuple[str, ...], spec: BreakerSpec, now: float) -> Breaker:
    """A breaker as it is spawned. ValueError names every fault of the spec."""
    if found := rules.faults(spec):
        raise ValueError(f"breaker of {tool}: {'; '.join(found)}")
    name = rules.breaker_id(tool, command)
    return Breaker(name, None, State.CLOSED, now, now, None, None, spec, tool, now)


def decide(breaker: Breaker, message: Inbox, now: float) -> Decision[Breaker]:
    if isinstance(message, guard.BreakerVerb):
        return _operated(breaker, message, now)
    if isinstance(message, guard.WouldAdmit):
        return _replied(breaker, would_admit(breaker, now))
    if isinstance(message, Pause | Resume | Cancel):
        verbs = "open, close, reset, hold, shadow or disable"
        return _replied(breaker, Refused(f"a breaker is not moved by this: {verbs} it"))
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
            return would_admit(_lapsed(breaker, now).state, now)
        case State.HALF_OPEN:
            return _refusal(breaker, probe.deadline, now)


# --- a state, a function -------------------------------------------------------------------------


def _closed(breaker: Breaker, message: Event, now: float) -> Decision[Breaker]:
    match message:
        case Admit():
            return _answered(breaker, message, _ticket(breaker, message, now))
        case Settle():
            return _settled_closed(breaker, message, now)
        case TimerFired() | Recovered() | Ended():
            # CLOSED holds no timer and no lease. The end of a former probe's owner is no news.
            return Decision(breaker)


def _open(breaker: Breaker, message: Event, now: float) -> Decision[Breaker]:
    match message:
        case Admit() if breaker.due is not None and breaker.due <= now:
            # The caller came before the timer's own message did: it is the same instant.
            return _then(_cooled(breaker, now), message, now)
        case Admit():
            return _not_admitted(breaker, message, now)
        case Settle():
            return _uncounted(breaker, message)
        case TimerFired(key="cooldown") if breaker.due is not None:
            return _cooled(breaker, now)
        case Recovered() if breaker.due is not None and now < breaker.since:
            # The clock was set back between two owners: that must not lengthen the cooldown.
            due = now + (breaker.due - breaker.since)
            again = replace(breaker, since=now, due=due)
            return Decision(again, (), (SetTimer("cooldown", due),))
        case TimerFired() | Ended() | Recovered():
            # Of a probe that is over; and the cooldown's timer is kept by the store.
            return Decision(breaker)


def _half_open(breaker: Breaker, message: Event, now: float) -> Decision[Breaker]:
    probe = breaker.probe
    match message:
        case Admit() | Settle() if probe is not None and probe.deadline <= now:
            # Whoever comes at or after the deadline finds the lease lapsed, before the timer's
            # own message too.
            return _then(_lapsed(breaker, now), message, now)
        case Admit() if probe is None:
            return _probing(breaker, message, now)
        case Admit():
            return _not_admitted(breaker, message, now)
        case Settle() if probe is not None and message.ticket.serial == probe.serial:
            return _settled_probe(breaker, message, now)
        case Settle():
            return _uncounted(breaker, message)
        case TimerFired(key="probe") if probe is not None:
            return _lapsed(breaker, now)
        case Ended() if probe is not None and message.target == probe.owner:
            return _released(breaker, probe, "its owner ended", now)
        case Recovered() if probe is not None:
            # Its process was reaped with the former owner: nobody's fault, so it does not count.
            note = _note_freed(probe, "the owner restarted")
            return Decision(replace(breaker, probe=None), (), (note,))
        case TimerFired() | Ended() | Recovered():
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
    return _answered(breaker, admit, _refusal(breaker, until, now))


def _answered(
    breaker: Breaker, admit: Admit, answer: Ticket | Refusal, effects: tuple[Any, ...] = ()
) -> Decision[Breaker]:
    said = Reply(answer) if admit.owner is None else Send(admit.owner, answer)
    return Decision(breaker, (), (*effects, said))


def _ticket(
    breaker: Breaker, admit: Admit, now: float, *, serial: int = 0, would_refuse: bool = False
) -> Ticket:
    deadline = now + admit.lease_s
    return Ticket(breaker.id, breaker.epoch, admit.owner, now, deadline, serial, would_refuse)


def _refusal(breaker: Breaker, until: float | None, now: float) -> Refusal:
    # Rounded up: a caller who comes back on the second is never early, and 0 would be a hot loop.
    wait = None if until is None else max(1, math.ceil(until - now))
    return Refusal(breaker.id, breaker.state, breaker.mode, wait, breaker.reason)


# --- results -------------------------------------------------------------------------------------


def _settled_closed(breaker: Breaker, settle: Settle, now: float) -> Decision[Breaker]:
    outcome = rules.classified(breaker.spec, settle)
    weight = BEARINGS[outcome].closed
    if not _is_current(breaker, settle) or breaker.mode is Mode.DISABLED:
        return _uncounted(breaker, settle)
    if settle.retry_after_s is not None:
        opened = _told_to_wait(breaker, settle.retry_after_s, settle, now)
        return _settled(opened, settle, outcome, counted=True)
    if weight is Weight.NOTHING:
        return _settled(Decision(breaker), settle, outcome, counted=False)
    counts, too_much = rules.counted(breaker.counts, breaker.spec, settle, weight, now)
    if too_much is not None:
        streak = 1 + rules.remembered(breaker.spec, breaker.streak, now - breaker.since)
        opened = _opened(breaker, rules.because(too_much, settle), now, streak=streak)
        return _settled(opened, settle, outcome, counted=True)
    after = breaker if counts is breaker.counts else replace(breaker, counts=counts)
    return _settled(Decision(after), settle, outcome, counted=True)


def _settled_probe(breaker: Breaker, settle: Settle, now: float) -> Decision[Breaker]:
    if not _is_current(breaker, settle):
        return _uncounted(breaker, settle)
    outcome = rules.classified(breaker.spec, settle)
    return _settled(_probed(breaker, settle, outcome, now), settle, outcome, counted=True)


def _probed(
    breaker: Breaker, settle: Settle, outcome: CallOutcome, now: float
) -> Decision[Breaker]:
    if settle.retry_after_s is not None:
        return _told_to_wait(breaker, settle.retry_after_s, settle, now)
    weight = BEARINGS[outcome].probe
    if weight is Weight.SLOW:
        # Where nobody counts slow calls, a slow answer is an answer.
        slow_is_bad = breaker.spec.window != "consecutive"
        weight = Weight.FAILURE if slow_is_bad else Weight.SUCCESS
    if weight is Weight.SUCCESS:
        return _succeeded(breaker, now)
    if weight is Weight.FAILURE:
        reason = rules.because(f"the probe ended {outcome}", settle)
        return _opened(breaker, reason, now, streak=breaker.streak + 1)
    return _released(breaker, settle.ticket, f"it ended {outcome}", now)


def _is_current(breaker: Breaker, settle: Settle) -> bool:
    ticket = settle.ticket
    same_epoch = ticket.epoch == breaker.epoch and ticket.breaker == breaker.id
    return same_epoch and ticket.owner == settle.by


def _uncounted(breaker: Breaker, settle: Settle) -> Decision[Breaker]:
    """Of this epoch, but let pass without being judged; or else stale, which goes on record."""
    ticket = settle.ticket
    let_pass = ticket.would_refuse or breaker.mode is Mode.DISABLED
    if let_pass and _is_current(breaker, settle):
        outcome = rules.classified(breaker.spec, settle)
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


# --- moves ---------------------------------------------------------------------------------------


def _opened(
    breaker: Breaker, reason: str, now: float, *, streak: int, wait_s: float | None = None
) -> Decision[Breaker]:
    epoch = breaker.epoch + 1
    length = rules.cooldown_s(breaker.spec, breaker.id, epoch, streak) if wait_s is None else wait_s
    opened = _fresh(breaker, State.OPEN, epoch, now, reason, streak=streak, due=now + length)
    was_closed = breaker.state is State.CLOSED
    trigger = "failure_threshold_exceeded" if was_closed else "test_failed"
    timers = (CancelTimer("probe"), SetTimer("cooldown", now + length))
    return Decision(opened, (_edge(breaker.state, opened, trigger),), timers)


def _told_to_wait(breaker: Breaker, told_s: float, settle: Settle, now: float) -> Decision[Breaker]:
    wait = rules.told_wait_s(told_s)
    reason = rules.because(f"the tool asked for {wait:g} s", settle)
    # No rung of the ladder: a tool that says when to come back is not failing.
    return _opened(breaker, reason, now, streak=breaker.streak, wait_s=wait)


def _cooled(breaker: Breaker, now: float) -> Decision[Breaker]:
    epoch, reason = breaker.epoch + 1, breaker.reason
    half = _fresh(breaker, State.HALF_OPEN, epoch, now, reason)
    edge = _edge(State.OPEN, half, "cooldown_expired")
    return Decision(half, (edge,), (CancelTimer("cooldown"),))


def _lapsed(breaker: Breaker, now: float) -> Decision[Breaker]:
    reason = "the probe was not settled before its deadline"
    return _opened(breaker, reason, now, streak=breaker.streak + 1)


def _succeeded(breaker: Breaker, now: float) -> Decision[Breaker]:
    successes = breaker.successes + 1
    if successes < breaker.spec.success_threshold:
        waiting = replace(breaker, probe=None, successes=successes, inconclusive=0)
        return Decision(waiting, (), (CancelTimer("probe"),))
    reason = f"{successes} successful probes in a row" if successes > 1 else "the probe succeeded"
    # With a decay, the ladder is forgotten by healthy time; without, by the close itself.
    streak = breaker.streak if breaker.spec.decay_s > 0 else 0
    closed = _fresh(breaker, State.CLOSED, breaker.epoch + 1, now, reason, streak=streak)
    edge = _edge(State.HALF_OPEN, closed, "success_threshold_met")
    return Decision(closed, (edge,), (CancelTimer("probe"),))


def _released(breaker: Breaker, probe: Ticket, why: str, now: float) -> Decision[Breaker]:
    """The probe gave no verdict: another may be made, but not for ever."""
    note = _note_freed(probe, why)
    inconclusive = breaker.inconclusive + 1
    if inconclusive < rules.INCONCLUSIVE_MAX:
        freed = replace(breaker, probe=None, inconclusive=inconclusive)
        return Decision(freed, (), (CancelTimer("probe"), note))
    reason = f"{inconclusive} probes in a row without a verdict"
    # The same rung: nothing was learned against the tool.
    opened = _opened(breaker, reason, now, streak=breaker.streak)
    return Decision(opened.state, opened.edges, (note, *opened.effects))


def _fresh(
    breaker: Breaker, state: State, epoch: int, now: float, reason: str | None, **rest: Any
) -> Breaker:
    """The start of an epoch: nothing is counted yet, and no lease is out."""
    fresh = replace(
        breaker,
        state=state,
        epoch=epoch,
        since=now,
        reason=reason,
        due=None,
        counts=rules.NOTHING_COUNTED,
        successes=0,
        inconclusive=0,
        probe=None,
    )
    return replace(fresh, **rest)


def _edge(source: State, after: Breaker, trigger: str) -> Taken:
    known = _metadata(after)
    return CHART.take(source, after.state, trigger, reason=after.reason, metadata=known)


def _metadata(breaker: Breaker) -> dict[str, Any]:
    known: dict[str, Any] = {"tool": breaker.tool, "mode": breaker.mode, "epoch": breaker.epoch}
    if breaker.due is not None:
        known |= {"due": breaker.due, "openings_in_a_row": breaker.streak}
    return known


def _note_freed(probe: Ticket, why: str) -> Note:
    freed = {"owner": probe.owner, "serial": probe.serial}
    return Note("breaker_probe_freed", reason=why, metadata=freed)


def _replied(breaker: Breaker, answer: Any) -> Decision[Breaker]:
    return Decision(breaker, (), (Reply(answer),))


# --- the operator's hand -------------------------------------------------------------------------

# What leads from a state to where the operator wants it. A state to itself is no edge.
_WAYS: dict[tuple[State, State], tuple[State, ...]] = {
    (State.CLOSED, State.OPEN): (State.OPEN,),
    (State.HALF_OPEN, State.OPEN): (State.OPEN,),
    (State.OPEN, State.CLOSED): (State.HALF_OPEN, State.CLOSED),
    (State.HALF_OPEN, State.CLOSED): (State.CLOSED,),
}


def _operated(breaker: Breaker, verb: Verb, now: float) -> Decision[Breaker]:
    match verb:
        case guard.ForceOpen():
            return _forced(breaker, verb, State.OPEN, Mode.AUTO, now)
        case guard.ForceClose():
            return _forced(breaker, verb, State.CLOSED, Mode.AUTO, now)
        case guard.Hold():
            return _forced(breaker, verb, State.OPEN, Mode.HELD, now)
        case guard.Disable():
            return _forced(breaker, verb, State.CLOSED, Mode.DISABLED, now)
        case guard.Shadow():
            return _forced(breaker, verb, breaker.state, Mode.SHADOW, now)
        case guard.Reset() if not verb.passed:
            why = f"the health check did not pass ({verb.evidence}); `breaker close` skips it"
            return _replied(breaker, Refused(why))
        case guard.Reset():
            return _forced(breaker, verb, State.CLOSED, Mode.AUTO, now)


def _forced(
    breaker: Breaker, verb: Verb, target: State, mode: Mode, now: float
) -> Decision[Breaker]:
    if (breaker.state, breaker.mode) == (target, mode) and not isinstance(verb, guard.Reset):
        # Asked twice, done once: no second record, and a cooldown that runs is not stretched.
        return _replied(breaker, Accepted(f"already {_shown(breaker)}", breaker.id))
    way = _WAYS.get((breaker.state, target), ())
    epoch = breaker.epoch + max(1, len(way))
    # A shadow is laid over a state as it stands, its cooldown too.
    kept = breaker.due if mode is Mode.SHADOW else None
    streak = 0 if target is State.CLOSED else max(1, breaker.streak)
    since, due = (now, None) if kept is None else (breaker.since, kept)
    if target is State.OPEN and mode is not Mode.HELD and due is None:
        due = now + rules.cooldown_s(breaker.spec, breaker.id, epoch, streak)
    fresh = _fresh(breaker, target, epoch, since, verb.reason, streak=streak, due=due, mode=mode)
    known = _metadata(fresh) | {"was": _shown(breaker)}
    if isinstance(verb, guard.Reset):
        known["evidence"] = verb.evidence[: rules.ERROR_CHARS_MAX]
    edges = tuple(
        CHART.take(
            source,
            step,
            "manual_override",
            reason=verb.reason,
            metadata=known,
            operator=verb.operator,
        )
        for source, step in pairwise((breaker.state, *way))
    )
    # An override that takes no edge, or changes more than the state, has a row of its own.
    row = Note("breaker_overridden", "warning", verb.reason, known, verb.operator)
    alone = () if edges and mode is breaker.mode else (row,)
    timer = CancelTimer("cooldown") if due is None else SetTimer("cooldown", due)
    reply = Reply(Accepted(_shown(fresh), breaker.id))
    return Decision(fresh, edges, (CancelTimer("probe"), timer, *alone, reply))


def _shown(breaker: Breaker) -> str:
    return breaker.state if breaker.mode is Mode.AUTO else f"{breaker.state} ({breaker.mode})"
