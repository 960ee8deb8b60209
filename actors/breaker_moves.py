"""The moves of a breaker that several messages lead to: each begins an epoch or frees a probe."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from actors import breaker_rules as rules
from actors import pacing
from actors.breaker_state import CHART, Breaker, State
from actors.effects import CancelTimer, Note, SetTimer
from actors.guard_messages import Settle, Ticket
from actors.machine import Decision, Taken


def opened(
    breaker: Breaker, reason: str, now: float, *, streak: int, wait_s: float | None = None
) -> Decision[Breaker]:
    epoch = breaker.epoch + 1
    length = (
        rules.cooldown_s(breaker.rules, breaker.id, epoch, streak) if wait_s is None else wait_s
    )
    opened = fresh(breaker, State.OPEN, epoch, now, reason, streak=streak, due=now + length)
    was_closed = breaker.state is State.CLOSED
    trigger = "failure_threshold_exceeded" if was_closed else "test_failed"
    timers = (CancelTimer("probe"), SetTimer("cooldown", now + length))
    return Decision(opened, (edge(breaker.state, opened, trigger),), timers)


def told_to_wait(breaker: Breaker, told_s: float, settle: Settle, now: float) -> Decision[Breaker]:
    wait = pacing.told_wait(told_s)
    reason = rules.because(f"the tool asked for {wait:g} s", settle)
    # No rung of the ladder: a tool that says when to come back is not failing.
    return opened(breaker, reason, now, streak=breaker.streak, wait_s=wait)


def cooled(breaker: Breaker, now: float) -> Decision[Breaker]:
    epoch, reason = breaker.epoch + 1, breaker.reason
    half = fresh(breaker, State.HALF_OPEN, epoch, now, reason)
    taken = edge(State.OPEN, half, "cooldown_expired")
    return Decision(half, (taken,), (CancelTimer("cooldown"),))


def lapsed(breaker: Breaker, now: float) -> Decision[Breaker]:
    reason = "the probe was not settled before its deadline"
    return opened(breaker, reason, now, streak=breaker.streak + 1)


def succeeded(breaker: Breaker, now: float) -> Decision[Breaker]:
    successes = breaker.successes + 1
    if successes < breaker.rules.success_threshold:
        waiting = replace(breaker, probe=None, successes=successes, inconclusive=0)
        return Decision(waiting, (), (CancelTimer("probe"),))
    reason = f"{successes} successful probes in a row" if successes > 1 else "the probe succeeded"
    # With a decay, the ladder is forgotten by healthy time; without, by the close itself.
    streak = breaker.streak if breaker.rules.decay_s > 0 else 0
    closed = fresh(breaker, State.CLOSED, breaker.epoch + 1, now, reason, streak=streak, ramp=1)
    taken = edge(State.HALF_OPEN, closed, "success_threshold_met")
    return Decision(closed, (taken,), (CancelTimer("probe"),))


def ramped(breaker: Breaker) -> Breaker:
    """CLOSED again, and the tool has answered: once as many answers as calls are allowed at a time,
    twice as many are; past the last step any number."""
    assert breaker.ramp is not None
    answers = breaker.answers + 1
    if answers < breaker.ramp:
        return replace(breaker, answers=answers)
    wider = 2 * breaker.ramp
    return replace(breaker, ramp=wider if wider <= rules.RAMP_MAX else None, answers=0)


def released(breaker: Breaker, probe: Ticket, why: str, now: float) -> Decision[Breaker]:
    """The probe gave no verdict: another may be made, but not for ever."""
    note = note_freed(probe, why)
    inconclusive = breaker.inconclusive + 1
    if inconclusive < rules.INCONCLUSIVE_MAX:
        freed = replace(breaker, probe=None, inconclusive=inconclusive)
        return Decision(freed, (), (CancelTimer("probe"), note))
    reason = f"{inconclusive} probes in a row without a verdict"
    # The same rung: nothing was learned against the tool.
    again = opened(breaker, reason, now, streak=breaker.streak)
    return Decision(again.state, again.edges, (note, *again.effects))


def fresh(
    breaker: Breaker, state: State, epoch: int, now: float, reason: str | None, **rest: Any
) -> Breaker:
    """The start of an epoch: nothing is counted yet, and no lease is out."""
    begun = replace(
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
        ramp=None,
        answers=0,
    )
    return replace(begun, **rest)


def edge(source: State, after: Breaker, trigger: str) -> Taken:
    known = metadata(after)
    return CHART.take(source, after.state, trigger, reason=after.reason, metadata=known)


def metadata(breaker: Breaker) -> dict[str, Any]:
    known: dict[str, Any] = {"tool": breaker.tool, "mode": breaker.mode, "epoch": breaker.epoch}
    if breaker.due is not None:
        known |= {"due": breaker.due, "openings_in_a_row": breaker.streak}
    return known


def note_freed(probe: Ticket, why: str) -> Note:
    freed = {"owner": probe.owner, "serial": probe.serial}
    return Note("breaker_probe_freed", reason=why, metadata=freed)
