"""A patch of the ledger: a change on its way from proposal to commit, or to quarantine.

    PENDING <──> VALIDATING ──> STAGED <──> APPLIED ──> VERIFIED ──> COMMITTED ──> ROLLED_BACK
                   ^    │        ^  │ ^       │ │         │  │                        ^
                   │    │        v  │ └───────┼─┼─restaged┘  └────────────────────────┤
                   │    │     BLOCKED         │ └─────────────────────────────────────┘
                   │    v        v            v
                   QUARANTINED <──────────────┘
    Whatever is not landing may also end EXPIRED, SUPERSEDED or DROPPED; the chart says whence.

Invariants:
1. A patch waits for one piece of work at most, and the work's key names the attempt: an answer
   under another key changes nothing.
2. While a ref may be moving (APPLY, LAND, RESTORE) no end is taken: it is remembered, and the
   outcome decides. What has landed by then is committed.
3. Gates count for the attempt they were asked for. A new base is a new attempt.
4. Only a patch's own failure quarantines it: a verdict of REJECT, a failed gate, a person's word.
   Infrastructure's trouble leads to another try, or to BLOCKED.
5. COMMITTED is left only by an operator with a compensation plan, once that plan was carried out.

Deliberately absent: git, and the order of the queue. Both come as messages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from actors import patch_hand
from actors import patch_messages as pm
from actors.effects import CancelTimer, SetTimer
from actors.machine import Decision
from actors.messages import (
    Begin,
    Cancel,
    GatesMade,
    GateVerdict,
    NeedGates,
    Override,
    Pause,
    Performed,
    Recovered,
    Resume,
    Standing,
    TimerFired,
    Unblock,
)
from actors.patch_messages import Checks, Verdict, Work
from actors.patch_record import (
    CHART,
    EDGES,
    TERMINAL,
    TROUBLES_MAX,
    Ending,
    Patch,
    PatchTurn,
    State,
    address_of,
    backoff_s,
    create,
    key_of,
)

__all__ = ["CHART", "EDGES", "Inbox", "Patch", "State", "create", "decide"]

Event = Begin | TimerFired | Recovered | Performed | GatesMade | GateVerdict
Queued = pm.Apply | pm.BaseMoved
Ender = pm.Supersede | Cancel | pm.DropPatch
Verb = Pause | Resume | Unblock | pm.ApprovePatch | pm.RejectPatch | pm.Revalidate | pm.Rollback
Inbox = Event | Queued | Ender | Verb | Override


def decide(patch: Patch, message: Inbox, now: float) -> Decision[Patch]:
    """One turn. Each message has its function, which names the states that it means something in:
    most of them belong to one or two of the twelve."""
    t = PatchTurn(CHART, patch, now)
    match message:
        case Begin():
            _begin(t)
        case TimerFired():
            _timer(t, message)
        case Recovered():
            # What it waits for is a row of the outbox, and its timers are kept too.
            pass
        case Performed():
            _performed(t, message)
        case GatesMade():
            _gates_made(t, message)
        case GateVerdict():
            _gate_verdict(t, message)
        case pm.Apply():
            _apply(t, message)
        case pm.BaseMoved():
            _base_moved(t, message)
        case pm.Supersede() | Cancel() | pm.DropPatch() | Pause() | Resume() | Unblock():
            _asked(t, message)
        case pm.ApprovePatch() | pm.RejectPatch() | pm.Revalidate() | pm.Rollback() | Override():
            _asked(t, message)
    return t.decision()


def _asked(t: PatchTurn, message: Ender | Verb | Override) -> None:
    match message:
        case pm.Supersede():
            by = f"by {message.by}"
            _end(t, Ending(State.SUPERSEDED, "patch_superseded", by, None, spares_quarantined=True))
        case Cancel(reason=why, operator=who):
            _end(t, Ending(State.DROPPED, "patch_dropped", why, who, spares_quarantined=True))
        case pm.DropPatch(operator=who, reason=why):
            _end(t, Ending(State.DROPPED, "patch_dropped", why, who))
        case Pause() | Resume():
            _pause(t, message)
        case pm.ApprovePatch() | Unblock():
            patch_hand.approve(t, message)
        case pm.RejectPatch():
            patch_hand.reject(t, message)
        case pm.Revalidate():
            _revalidate(t, message)
        case pm.Rollback():
            _rollback(t, message)
        case Override():
            patch_hand.override(t, message)


# --- judging --------------------------------------------------------------------------------------


def _begin(t: PatchTurn) -> None:
    patch = t.value
    if patch.state is not State.PENDING or patch.started_at is not None:
        return  # it has begun
    ttl_s = patch.spec.patch.ttl_s
    if ttl_s is not None:
        t.effects.append(SetTimer("ttl", patch.created_at + ttl_s))
    _judge(t)


def _judge(t: PatchTurn, verb: pm.Revalidate | None = None) -> None:
    started = t.now if t.value.started_at is None else t.value.started_at
    why, by = (verb.reason, verb.operator) if verb is not None else (None, None)
    t.move(
        State.VALIDATING,
        "validation_started",
        reason=why,
        operator=by,
        started_at=started,
        quarantine_reason=None,
        checks=Checks(),
    )
    t.perform(Work.JUDGE)


def _judged(t: PatchTurn, fact: pm.Judged) -> str | None:
    """The verdict of VALIDATING, or of STAGED where applying it to another base changed it."""
    validating = t.value.state is State.VALIDATING
    if fact.verdict is Verdict.ACCEPT and not validating:
        return "it was accepted again, and not applied"
    t.change(checks=fact.checks)
    if fact.verdict is Verdict.REJECT:
        t.quarantine(", ".join(fact.reasons) or "rejected")
        return None
    if validating:
        t.move(State.STAGED, "validation_passed")
    if fact.verdict is Verdict.HOLD:
        asked = fact.reasons or ("unnamed",)
        holds = tuple(name for name in asked if name not in t.value.approved)
        if holds:
            t.block(holds, f"held for {', '.join(holds)}")
    return None


def _revalidate(t: PatchTurn, verb: pm.Revalidate) -> None:
    patch = t.value
    if patch.state not in {State.PENDING, State.QUARANTINED}:
        t.refuse(f"it is {patch.state}: only a pending or a quarantined patch is validated again")
        return
    t.effects.append(CancelTimer("again"))
    # A new attempt: an answer to an older question must not be taken for this one's.
    t.change(attempt=patch.attempt + 1, troubles=0)
    _judge(t, verb)
    t.reply("validation has started")


# --- its turn: applied, verified, landed ----------------------------------------------------------


def _apply(t: PatchTurn, message: pm.Apply) -> None:
    patch = t.value
    if patch.state is not State.STAGED:
        why = f"it is {patch.state}"
    elif patch.paused:
        why = "it is paused"
    elif patch.work is not None:
        why = "it is being applied"
    else:
        t.change(onto=message.base_commit)
        t.perform(Work.APPLY)
        t.reply("it is being applied")
        return
    if message.asker is None:
        t.refuse(why)
    else:
        t.send(message.asker, pm.ApplyRefused(address_of(patch), why))


def _base_moved(t: PatchTurn, message: pm.BaseMoved) -> None:
    patch = t.value
    if patch.state is State.STAGED and patch.work is Work.APPLY:
        # It is being applied to the old base: the answer will not be of this one.
        t.change(onto=message.base_commit)
    elif patch.state in {State.APPLIED, State.VERIFIED} and patch.work is None:
        t.restage(f"the target is {message.base_commit} now")
    # Otherwise the next Apply names its base; and a landing is compare-and-swap, which will tell.


def _applied(t: PatchTurn, fact: pm.Applied) -> str | None:
    t.move(State.APPLIED, "patch_applied", commit_sha=fact.commit_sha)
    patch = t.value
    if patch.wanted is not None:
        return None
    if fact.base_commit != patch.onto:
        t.restage(f"the target is {patch.onto} now")
    elif not patch.spec.patch.gates:
        _verify(t)
    else:
        needed = NeedGates(address_of(patch), patch.spec.patch.gates, str(patch.attempt))
        t.send(f"run:{patch.run_id}", needed)
    return None


def _conflicted(t: PatchTurn, fact: pm.Conflicted) -> None:
    t.block(("conflict",), f"conflicts in {', '.join(fact.files)}")


def _gates_made(t: PatchTurn, message: GatesMade) -> None:
    patch = t.value
    if patch.state is State.APPLIED and message.ticket == str(patch.attempt):
        t.change(gates=message.gates)
        return
    for gate in message.gates:
        t.send(gate, Cancel("the attempt that it was to judge is over"))


def _gate_verdict(t: PatchTurn, verdict: GateVerdict) -> None:
    patch = t.value
    hold = f"gate:{verdict.name}"
    if patch.state is State.BLOCKED and hold in patch.holds:
        if verdict.standing is Standing.DONE:
            t.release((hold,), f"{verdict.name} passed")
        return
    if patch.state is not State.APPLIED or patch.work is not None:
        return
    if verdict.ticket != str(patch.attempt):
        return  # of an attempt that is over: evidence, and no verdict
    why = verdict.reason or verdict.outcome
    match verdict.standing:
        case Standing.WAITING:
            pass
        case Standing.DONE:
            passed = {*patch.passed, verdict.name}
            t.change(passed=tuple(sorted(passed)))
            if passed >= set(patch.spec.patch.gates):
                _verify(t)
        case Standing.FAILED:
            t.change(checks=msgspec.structs.replace(patch.checks, tests="failed"))
            t.quarantine(f"gate_failed:{verdict.name}: {why}")
        case Standing.WITHDRAWN | Standing.STALLED:
            # No verdict on the patch: it gives up its place until the gate is run again.
            t.restage(f"{verdict.name}: {why}")
            t.block((hold,), f"{verdict.name}: {why}")


def _verify(t: PatchTurn) -> None:
    tests = "passed" if t.value.spec.patch.gates else None
    checks = msgspec.structs.replace(t.value.checks, tests=tests)
    t.move(State.VERIFIED, "patch_verified", checks=checks)
    if not t.value.paused:
        t.perform(Work.LAND)


def _landed(t: PatchTurn, fact: pm.Landed) -> str | None:
    late = t.value.wanted
    if fact.commit_sha != t.value.commit_sha:
        return f"{fact.commit_sha} was landed where {t.value.commit_sha} was gated"
    t.move(State.COMMITTED, "patch_committed", wanted=None)
    if late is not None:
        t.note("patch_end_too_late", "warning", late.reason, late.operator)
    return None


def _not_landed(t: PatchTurn, fact: pm.NotLanded) -> None:
    t.restage(fact.reason)


# --- what the work came to ------------------------------------------------------------------------


def _performed(t: PatchTurn, message: Performed) -> None:
    before = t.value
    work = before.work
    if work is None or message.key != key_of(before, work):
        return  # nobody waits for it any more
    t.change(work=None)
    trouble = _answered(t, work, message)
    if trouble is None:
        t.change(troubles=0)
    else:
        _trouble(t, work, trouble)
    wanted, patch = t.value.wanted, t.value
    if wanted is not None and patch.moving is None and patch.state not in TERMINAL:
        t.change(wanted=None)
        if patch.state is not State.QUARANTINED or not wanted.spares_quarantined:
            _finish(t, wanted)


def _answered(t: PatchTurn, work: Work, message: Performed) -> str | None:
    """Acts on the fact that the performer returned. What is wrong with it, if it is none."""
    if message.error is not None:
        return message.error
    try:
        fact = msgspec.convert(message.result, pm.Fact)
    except msgspec.ValidationError:
        return f"{work.value} returned {message.result!r:.200}"
    answer = _ANSWERS.get((work, type(fact)))
    return answer(t, fact) if answer else f"{work.value} returned {type(fact).__name__}"


def _trouble(t: PatchTurn, work: Work, text: str) -> None:
    """Infrastructure failed, so nothing is known of the patch: the same work is tried again."""
    troubles = t.value.troubles + 1
    t.change(troubles=troubles)
    if work is Work.COMPENSATE:
        _not_undone(t, text)
        return
    t.change(work=work)
    if work is Work.JUDGE:
        t.move(State.PENDING, "validation_interrupted", reason=text, work=None)
    if troubles < TROUBLES_MAX:
        t.note("patch_trouble", "warning", text)
        t.effects.append(SetTimer("again", t.now + backoff_s(t.value)))
        return
    t.note("patch_stuck", "error", text)
    if work is Work.APPLY:
        t.change(work=None, troubles=0)
        t.block(("infrastructure",), text)


def _timer(t: PatchTurn, timer: TimerFired) -> None:
    patch = t.value
    if timer.key == "ttl":
        reason = f"not landed within {patch.spec.patch.ttl_s:g} s"
        _end(t, Ending(State.EXPIRED, "patch_expired", reason))
    else:
        _again(t)


def _again(t: PatchTurn) -> None:
    """What infrastructure's trouble broke off is tried again, under the same key."""
    if t.value.state is State.PENDING:
        _judge(t)
    elif t.value.moving is not None:
        t.perform(t.value.moving)


# --- rollback -------------------------------------------------------------------------------------


def _rollback(t: PatchTurn, verb: pm.Rollback) -> None:
    patch = t.value
    undoing = Ending(State.ROLLED_BACK, "patch_rolled_back", verb.reason, verb.operator)
    if not verb.operator or not verb.reason:
        t.refuse("a rollback needs an operator and a reason")
    elif patch.undoing is not None:
        t.reply("it is being rolled back")
    elif patch.moving is not None:
        t.refuse("a ref is being moved for it: try again once that is settled")
    elif patch.state in {State.APPLIED, State.VERIFIED}:
        t.lapse_gates()
        t.change(undoing=undoing)
        t.perform(Work.RESTORE)
        t.reply("its integration ref goes back")
    elif patch.state is not State.COMMITTED:
        t.refuse(f"it is {patch.state}: only what was applied or committed is rolled back")
    elif verb.plan is None or verb.plan.compensation_type not in pm.COMPENSATIONS:
        t.refuse(f"it has landed: name a compensation plan ({', '.join(pm.COMPENSATIONS)})")
    else:
        t.change(undoing=undoing, plan=verb.plan, attempt=patch.attempt + 1, troubles=0)
        t.perform(Work.COMPENSATE)
        t.reply("its compensation plan is carried out")


def _rolled_back(t: PatchTurn, _fact: pm.Restored | pm.Compensated) -> None:
    undoing = t.value.undoing
    assert undoing is not None, "what undoes a patch was asked for"
    t.move(
        undoing.target,
        undoing.trigger,
        reason=undoing.reason,
        operator=undoing.operator,
        rollback_reason=undoing.reason,
        undoing=None,
        plan=None,
        wanted=None,
    )


def _not_undone(t: PatchTurn, text: str) -> None:
    """What has landed has no timers: at once again, for the target may have been moved already."""
    if t.value.troubles < TROUBLES_MAX:
        t.note("patch_trouble", "warning", text)
        t.perform(Work.COMPENSATE)
    else:
        _not_compensated(t, pm.NotCompensated(text))


def _not_compensated(t: PatchTurn, fact: pm.NotCompensated) -> None:
    undoing = t.value.undoing
    by = undoing.operator if undoing is not None else None
    t.change(undoing=None, plan=None)
    t.note("patch_rollback_failed", "error", fact.reason, by)


# --- ends -----------------------------------------------------------------------------------------


def _end(t: PatchTurn, ending: Ending) -> None:
    patch = t.value
    if patch.state in TERMINAL:
        t.refuse(f"it is {patch.state} already")
    elif patch.state is State.QUARANTINED and ending.spares_quarantined:
        t.reply("it stays in quarantine, as evidence; `patch drop` ends it")
    elif patch.moving is None:
        _finish(t, ending)
        t.reply(str(ending.target))
    else:
        if patch.wanted is None:
            t.change(wanted=ending)
            t.note("patch_end_wanted", "info", ending.reason, ending.operator)
        t.reply("a ref is being moved for it: it ends once that is settled, unless it has landed")


def _finish(t: PatchTurn, ending: Ending) -> None:
    """The way to the end, in one decision: it leads through PENDING or STAGED."""
    state, why, by = t.value.state, ending.reason, ending.operator
    t.change(work=None)
    if state is State.VALIDATING:
        t.move(State.PENDING, "validation_interrupted", reason=why)
    elif state in {State.APPLIED, State.VERIFIED}:
        t.restage(why)
    t.move(ending.target, ending.trigger, reason=why, operator=by, holds=())


# --- the operator's hand --------------------------------------------------------------------------


def _pause(t: PatchTurn, verb: Pause | Resume) -> None:
    patch = t.value
    wants = isinstance(verb, Pause)
    stuck = patch.troubles >= TROUBLES_MAX
    if patch.state in TERMINAL:
        t.refuse(f"it is {patch.state}")
        return
    if patch.paused is not wants:
        t.change(paused=wants)
        t.note("patch_paused" if wants else "patch_resumed", "info", verb.reason, verb.operator)
    if not wants and stuck:
        t.change(troubles=0)
        _again(t)
    elif not wants and patch.state is State.VERIFIED and patch.work is None:
        t.perform(Work.LAND)
    t.reply("paused: it neither starts nor lands" if wants else "it goes on")


_ANSWERS: dict[tuple[Work, type], Callable[[PatchTurn, Any], str | None]] = {
    (Work.JUDGE, pm.Judged): _judged,
    (Work.APPLY, pm.Judged): _judged,
    (Work.APPLY, pm.Applied): _applied,
    (Work.APPLY, pm.Conflicted): _conflicted,
    (Work.LAND, pm.Landed): _landed,
    (Work.LAND, pm.NotLanded): _not_landed,
    (Work.RESTORE, pm.Restored): _rolled_back,
    (Work.COMPENSATE, pm.Compensated): _rolled_back,
    (Work.COMPENSATE, pm.NotCompensated): _not_compensated,
}
"""What each work may answer. A function returns the trouble it found in the answer, if any."""
