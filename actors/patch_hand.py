"""An operator's word about a patch: approved, rejected, or overridden to another state.

An override changes the ledger, never what git holds. While a ref may be moving it is refused, and
an answer to what was asked before it comes under an older attempt, which changes nothing.
"""

from __future__ import annotations

from typing import Any

from actors import patch_messages as pm
from actors.effects import CancelTimer
from actors.messages import Override, Refused, Unblock
from actors.override import on_record, way
from actors.patch_record import CHART, PatchTurn, State

HOLD = "override"
_APPLIED = frozenset({State.APPLIED, State.VERIFIED})


def override(t: PatchTurn, order: Override) -> None:
    """Takes the way, or says why not."""
    patch = t.value
    edges = way(CHART, patch.state, order.target)
    if isinstance(edges, Refused):
        return t.refuse(edges.reason)
    if patch.moving is not None or patch.undoing is not None:
        return t.refuse("a ref is being moved for it: try again once that is settled")
    if order.target == State.ROLLED_BACK:
        # Its integration ref has to go back first, and that is git's word.
        return t.refuse("`patch rollback` takes it back, ref and all")
    t.effects.append(on_record(order, patch.state, edges))
    t.effects.append(CancelTimer("again"))
    t.lapse_gates()
    t.change(work=None, holds=(), troubles=0, attempt=patch.attempt + 1)
    for edge in edges:
        target = State(edge.target)
        t.move(target, edge.trigger, reason=order.reason, operator=order.operator, **_in(target))
        if t.value.started_at is None and target is State.VALIDATING:
            t.change(started_at=t.now)
    if t.value.state is State.VALIDATING:
        t.perform(pm.Work.JUDGE)
    elif t.value.state is State.BLOCKED:
        t.change(holds=(HOLD,))
    elif t.value.state is State.QUARANTINED:
        t.change(quarantine_reason=order.reason)
    t.reply(f"is {t.value.state}")
    return None


def reject(t: PatchTurn, verb: pm.RejectPatch) -> None:
    """Into quarantine, while it is judged or queued."""
    patch = t.value
    judged = {State.VALIDATING, State.STAGED, State.BLOCKED, State.APPLIED}
    if patch.moving is not None:
        t.refuse("a ref is being moved for it: try again once that is settled")
    elif patch.state not in judged:
        t.refuse(f"it is {patch.state}: only what is judged or queued can be rejected")
    else:
        t.quarantine(f"rejected: {verb.reason}", verb.operator)
        t.reply("in quarantine")


def approve(t: PatchTurn, verb: pm.ApprovePatch | Unblock) -> None:
    """Releases what a person approves, by name; an approval counts for later attempts too."""
    patch = t.value
    if patch.state is not State.BLOCKED:
        t.refuse(f"it is {patch.state}: nothing waits for this")
        return
    names = verb.names or patch.holds
    if unknown := [name for name in names if name not in patch.holds]:
        t.refuse(f"not what holds it: {', '.join(unknown)}; it is held for {patch.holds}")
        return
    t.change(approved=tuple(sorted({*patch.approved, *names})))
    t.note("patch_approved", "warning", verb.reason, verb.operator)
    t.release(names, verb.reason, verb.operator)
    t.reply(f"held for {', '.join(t.value.holds)}" if t.value.holds else "staged again")


def _in(target: State) -> dict[str, Any]:
    """What a state that is entered takes with it."""
    changes: dict[str, Any] = {"quarantine_reason": None}
    if target not in _APPLIED:
        changes["commit_sha"] = None
    if target is State.VALIDATING:
        changes["checks"] = pm.Checks()
    return changes
