"""The operator's hand on a breaker: open, close, reset, hold, disable, shadow, override."""

from __future__ import annotations

from typing import Any

from actors import breaker_moves as moves
from actors import breaker_rules as rules
from actors import guard_messages as guard
from actors.breaker_state import CHART, Breaker, Mode, State
from actors.effects import CancelTimer, Note, Reply, SetTimer
from actors.machine import Decision
from actors.messages import Accepted, Override, Refused
from actors.override import on_record, way

Verb = guard.ForceOpen | guard.ForceClose | guard.Reset | guard.Hold | guard.Disable | guard.Shadow


def operated(breaker: Breaker, verb: Verb, now: float) -> Decision[Breaker]:
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
            return replied(breaker, Refused(why))
        case guard.Reset():
            return _forced(breaker, verb, State.CLOSED, Mode.AUTO, now)


def overridden(breaker: Breaker, order: Override, now: float) -> Decision[Breaker]:
    """Takes the way of the chart, each edge by a person's word; a mode laid over it ends."""
    edges = way(CHART, breaker.state, order.target)
    if isinstance(edges, Refused):
        return replied(breaker, edges)
    row = on_record(order, breaker.state, edges)
    went = _forced(breaker, order, State(order.target), Mode.AUTO, now)
    return Decision(went.state, went.edges, (row, *went.effects))


def _forced(
    breaker: Breaker, verb: Verb | Override, target: State, mode: Mode, now: float
) -> Decision[Breaker]:
    if (breaker.state, breaker.mode) == (target, mode) and not isinstance(verb, guard.Reset):
        # Asked twice, done once: no second record, and a cooldown that runs is not stretched.
        return replied(breaker, Accepted(f"already {_shown(breaker)}", breaker.id))
    # A state to itself is no edge.
    found = way(CHART, breaker.state, target)
    steps = () if isinstance(found, Refused) else found
    epoch = breaker.epoch + max(1, len(steps))
    # A shadow is laid over a state as it stands, its cooldown too.
    kept = breaker.due if mode is Mode.SHADOW else None
    streak = 0 if target is State.CLOSED else max(1, breaker.streak)
    since, due = (now, None) if kept is None else (breaker.since, kept)
    if target is State.OPEN and mode is not Mode.HELD and due is None:
        due = now + rules.cooldown_s(breaker.rules, breaker.id, epoch, streak)
    # A person may be wrong about the tool's health: what waits for it is let go step by step.
    ramp = 1 if steps and target is State.CLOSED and mode is Mode.AUTO else None
    began = {"streak": streak, "due": due, "mode": mode, "ramp": ramp}
    fresh = moves.fresh(breaker, target, epoch, since, verb.reason, **began)
    known = moves.metadata(fresh) | {"was": _shown(breaker)}
    if isinstance(verb, guard.Reset):
        known["evidence"] = verb.evidence[: rules.ERROR_CHARS_MAX]
    said: dict[str, Any] = {"reason": verb.reason, "metadata": known, "operator": verb.operator}
    edges = tuple(CHART.take(e.source, e.target, e.trigger, **said) for e in steps)
    # An override that takes no edge, or changes more than the state, has a row of its own.
    row = Note("breaker_overridden", "warning", verb.reason, known, verb.operator)
    stands_alone = (not edges or mode is not breaker.mode) and not isinstance(verb, Override)
    alone = (row,) if stands_alone else ()
    timer = CancelTimer("cooldown") if due is None else SetTimer("cooldown", due)
    reply = Reply(Accepted(_shown(fresh), breaker.id))
    return Decision(fresh, edges, (CancelTimer("probe"), timer, *alone, reply))


def _shown(breaker: Breaker) -> str:
    return breaker.state if breaker.mode is Mode.AUTO else f"{breaker.state} ({breaker.mode})"


def replied(breaker: Breaker, answer: Any) -> Decision[Breaker]:
    return Decision(breaker, (), (Reply(answer),))
