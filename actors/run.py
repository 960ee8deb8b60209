"""A run: makes its workstreams, tasks and gates, and ends when all of them have.

    INITIALIZING ──everything made──> RUNNING ⇄ PAUSED
         └──────────────────────────────┴────────┴──> COMPLETED, FAILED, CANCELLED

Invariants:
1. It ends only when every workstream and every gate of it is terminal. Slots of its own pools are
   told to shut down, and hold nothing up.
2. It counts its workstreams and lists none: an event costs the same in a run of any size.
3. What only an operator could move is ended, if the plan says so, once nothing else moves. A pause,
   a missing verdict and `on_blocked = "wait"` are no endings: they wait for a person.
4. How it ends follows from its critical workstreams; the rest is counted and on record.
5. A budget that is used up pauses and kills nothing. Each `Resume` after that grants the whole of
   it again; without one the run ends only where nothing is left that could start.

Deliberately absent: `prepare`, and the clone that patches need.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from actors import messages as m
from actors import run_plan
from actors.effects import Note, Send, Spawn
from actors.machine import Decision
from actors.override import Wanted, on_record, wanted, way
from actors.run_state import CHART, EDGES, Run, RunMetadata, RunTurn, State, create

__all__ = ["CHART", "EDGES", "Inbox", "Run", "RunMetadata", "State", "create", "decide"]

DISPATCH = "dispatch:main"
# Tasks made in one turn: long enough to be cheap, short enough that others get their turn.
SLICE = 500


Making: TypeAlias = m.Begin | m.Expand
Below: TypeAlias = m.WorkstreamMoved | m.WorkstreamStuck | m.NeedGates | m.GateMoved | m.WorkSpent
Hand: TypeAlias = m.Pause | m.Resume | m.Cancel | m.RerunGate | m.Override
Kernel: TypeAlias = m.Recovered | m.Announce
Inbox: TypeAlias = Below | Hand | Making | Kernel

_MOVABLE = frozenset({"ready", "running", "paused", "validating"})
_ENDED = frozenset({"completed", "failed", "cancelled", "skipped"})


def decide(run: Run, message: Inbox, now: float) -> Decision[Run]:
    """One turn. Read by message: each changes counts or wishes, and `_settle` draws the
    conclusions, the same for all."""
    turn = RunTurn(CHART, run, now)
    match message:
        case m.WorkstreamMoved():
            _moved(turn, message)
        case m.WorkstreamStuck():
            _stuck(turn, message)
        case m.NeedGates():
            _need_gates(turn, message)
        case m.GateMoved():
            _gate_moved(turn)
        case m.WorkSpent():
            _spent(turn, message)
        case m.Begin():
            _begin(turn)
        case m.Expand():
            _expand(turn, message)
        case m.Pause() | m.Resume() | m.Cancel() | m.RerunGate() | m.Override():
            _hand(turn, message)
        case m.Recovered() | m.Announce():
            if run.paused and run.completed_at is None:
                turn.send(DISPATCH, m.HoldRun(run.id, held=True), control=True)
    return turn.decision()


# --- making it ------------------------------------------------------------------------------------


def _begin(turn: RunTurn) -> None:
    run, plan = turn.value, turn.value.spec
    if run.state is not State.INITIALIZING or run.expanded >= 0:
        return  # it has begun
    if not any(workstream.tasks for workstream in plan.workstreams.values()):
        turn.move(State.FAILED, "run_failed", reason="the plan has no task: add one")
        return
    turn.change(expanded=0)
    turn.effects += [Spawn("workstream", s) for s in run_plan.workstream_seeds(plan, run.id)]
    for slot in run_plan.worker_seeds(plan, run.id):
        turn.effects.append(Spawn("worker", slot))
        turn.send(f"worker:{slot.id}", m.Begin())
    turn.send(run.address, m.Expand(0))


def _expand(turn: RunTurn, message: m.Expand) -> None:
    run, plan = turn.value, turn.value.spec
    if run.state is not State.INITIALIZING or message.index != run.expanded:
        return  # this slice is there
    seeds = run_plan.task_seeds(plan, run.id, message.index, SLICE)
    turn.effects += [Spawn("task", seed) for seed in seeds]
    made = message.index + len(seeds)
    if len(seeds) == SLICE:
        turn.change(expanded=made)
        turn.send(run.address, m.Expand(made))
        return
    run_plan.forget(plan)
    turn.change(expanded=made)
    _open(turn)


def _open(turn: RunTurn) -> None:
    """Everything is made: begins, or ends what an operator cancelled meanwhile."""
    run, plan = turn.value, turn.value.spec
    # Last, for a gate tells its tasks what becomes of it: they have to be there.
    gates, unneeded = run_plan.first_gates(plan, run.id)
    counts = dict.fromkeys(plan.gates, 0) | {seed.name: 1 for seed in gates}
    turn.change(gates_open=len(gates), gate_counts=tuple(counts.values()))
    turn.effects += [Spawn("test_gate", seed) for seed in gates]
    turn.tell_all(m.Begin())
    if run.ending is not None:
        turn.tell_all(_cancelling(run), control=True)
        return
    turn.move(State.RUNNING, "run_started", started_at=turn.now)
    for gate in unneeded:
        turn.send(gate, m.Cancel("nothing needs it"))
    if run.paused:
        turn.move(State.PAUSED, "run_paused", reason="paused before it started")
        _hold(turn)


# --- what is below --------------------------------------------------------------------------------


def _moved(turn: RunTurn, message: m.WorkstreamMoved) -> None:
    run = turn.value
    source, target = message.source, message.target
    turn.change(
        movable=run.movable + (target in _MOVABLE) - (source in _MOVABLE),
        blocked=run.blocked + (target == "blocked") - (source == "blocked"),
    )
    if target in _ENDED:
        _workstream_ended(turn, message)
    _settle(turn, run.movable, message.workstream if target == "blocked" else None)


def _workstream_ended(turn: RunTurn, message: m.WorkstreamMoved) -> None:
    run, target = turn.value, message.target
    failed = target == "failed" or (target == "skipped" and message.through_failure)
    fatal = failed and message.critical
    failures = message.noncritical_failures + (failed and not message.critical)
    turn.change(
        unfinished=run.unfinished - 1,
        critical_failures=run.critical_failures + fatal,
        noncritical_failures=run.noncritical_failures + failures,
        **{target: getattr(run, target) + 1},
    )
    if not fatal:
        return
    cause = f"{message.workstream.removeprefix('workstream:')} {target}: {message.reason}"
    turn.change(cause=run.cause or cause)
    if run.spec.run.on_failure == "stop" and run.ending is None:
        turn.change(ending="failed")
        turn.tell_all(m.Cancel(cause, through_failure=True), control=True)


def _stuck(turn: RunTurn, message: m.WorkstreamStuck) -> None:
    run = turn.value
    step = 1 if message.stuck else -1
    turn.change(movable=run.movable - step, blocked=run.blocked + step)
    _settle(turn, run.movable, message.workstream if message.stuck else None)


def _gate_moved(turn: RunTurn) -> None:
    turn.change(gates_open=turn.value.gates_open - 1)
    _settle(turn, turn.value.movable, None)


def _need_gates(turn: RunTurn, message: m.NeedGates) -> None:
    run, plan = turn.value, turn.value.spec
    if run.completed_at is not None:
        return  # who asked has ended too, and was overtaken by the news of it
    counts = dict(zip(plan.gates, run.gate_counts, strict=True))
    asked = (message.names, message.asker, message.ticket)
    seeds = run_plan.judging_gates(plan, run.id, *asked, counts)
    turn.change(gate_counts=tuple(counts.values()), gates_open=run.gates_open + len(seeds))
    turn.effects += [Spawn("test_gate", seed) for seed in seeds]
    addresses = tuple(f"test_gate:{seed.id}" for seed in seeds)
    turn.send(message.asker, m.GatesMade(message.ticket, addresses))
    for seed in seeds:
        if message.asker in seed.askers:
            turn.send(f"test_gate:{seed.id}", m.GateNeeded(message.asker))


def _spent(turn: RunTurn, message: m.WorkSpent) -> None:
    run = turn.value
    turn.change(
        attempts_spent=run.attempts_spent + message.attempt,
        seconds_spent=round(run.seconds_spent + message.seconds, 6),
    )
    used_up = _used_up(turn.value)
    if used_up is None or run.paused or run.ending or run.completed_at is not None:
        return  # whoever has paused it is told at the resume
    turn.change(paused=True, overspent=True)
    spent = {"attempts": turn.value.attempts_spent, "seconds": turn.value.seconds_spent}
    turn.effects.append(Note("run_budget_exhausted", "warning", used_up, spent))
    if run.state is State.RUNNING:
        turn.move(State.PAUSED, "run_paused", reason=used_up)
        _hold(turn)


def _used_up(run: Run) -> str | None:
    """What the budget is used up of since it was last granted."""
    budget, (attempts, seconds) = run.spec.run.budget, run.granted
    if budget is None:
        return None
    if budget.attempts is not None and run.attempts_spent - attempts >= budget.attempts:
        return f"its budget of {budget.attempts} attempts is used up"
    if budget.seconds is not None and run.seconds_spent - seconds >= budget.seconds:
        return f"its budget of {budget.seconds:g} seconds is used up"
    return None


# --- the conclusions ------------------------------------------------------------------------------


def _settle(turn: RunTurn, movable_before: int, newly_blocked: str | None) -> None:
    run = turn.value
    if not run.unfinished:
        _close(turn)
    elif (
        run.state is not State.RUNNING
        or run.ending
        or run.spec.run.on_blocked != "end"
        or run.movable
        or not run.blocked
    ):
        return
    elif movable_before:
        turn.tell_all(m.EndBlocked())
    elif newly_blocked is not None:
        turn.send(newly_blocked, m.EndBlocked())


def _close(turn: RunTurn) -> None:
    """Every workstream has ended: the gates that nobody waits for now, then the run."""
    run = turn.value
    if run.gates_open:
        if not run.closing:
            turn.change(closing=True)
            first = (f"test_gate:{g.id}" for g in run_plan.first_gates(run.spec, run.id)[0])
            for gate in (*first, *run.reruns):
                turn.send(gate, m.Cancel("its run is over"), control=True)
        return
    if run.wanted is not None:
        _end_as_wanted(turn, run.wanted)
    elif run.ending == "cancelled":
        _end(turn, State.CANCELLED, "run_cancelled", run.reason)
    elif run.critical_failures:
        _end(turn, State.FAILED, "run_failed", run.cause)
    elif run.state is State.RUNNING:
        _end(turn, State.COMPLETED, "run_completed", None)
    elif run.overspent:
        turn.move(State.RUNNING, "run_resumed", reason="nothing is left that could start")
        _end(turn, State.COMPLETED, "run_completed", None)
    # Else a person has paused it, and it completes at its resume.


def _end(turn: RunTurn, target: State, trigger: str, reason: str | None) -> None:
    run = turn.value
    if run.paused:
        turn.send(DISPATCH, m.HoldRun(run.id, held=False), control=True)
    for seed in run_plan.worker_seeds(run.spec, run.id) if run.expanded >= 0 else ():
        turn.send(f"worker:{seed.id}", m.Shutdown("its run is over"))
    turn.move(target, trigger, reason=reason, operator=run.operator)


def _end_as_wanted(turn: RunTurn, order: Wanted) -> None:
    edges = way(CHART, turn.value.state, order.target)
    assert not isinstance(edges, m.Refused), "it was asked before"
    for edge in edges[:-1]:
        by = order.operator
        turn.move(State(edge.target), edge.trigger, reason=order.reason, operator=by)
    _end(turn, State(order.target), edges[-1].trigger, order.reason)


def _cancelling(run: Run) -> m.Cancel:
    failed = run.wanted is not None and run.wanted.target == State.FAILED
    return m.Cancel(run.reason, run.operator, through_failure=failed)


def _hold(turn: RunTurn) -> None:
    held = turn.value.paused
    turn.send(DISPATCH, m.HoldRun(turn.value.id, held), control=True)
    turn.tell_all(m.ClockHeld(held))


# --- the operator's hand --------------------------------------------------------------------------


def _hand(turn: RunTurn, message: Hand) -> None:
    run = turn.value
    if run.completed_at is not None:
        turn.reply(m.Refused(f"{run.id} is {run.state} already"))
        return
    match message:
        case m.Pause():
            _pause(turn, message)
        case m.Resume():
            _resume(turn, message)
        case m.Cancel():
            _cancel(turn, message)
        case m.RerunGate():
            _rerun(turn, message)
        case m.Override():
            _override(turn, message)


def _note(turn: RunTurn, event_type: str, message: m.Pause | m.Resume | m.Cancel) -> None:
    turn.effects.append(Note(event_type, "info", message.reason, None, message.operator))


def _pause(turn: RunTurn, message: m.Pause) -> None:
    run = turn.value
    if run.paused:
        return turn.reply(m.Accepted("is paused already", run.id))
    turn.change(paused=True)
    if run.state is State.RUNNING:
        turn.move(State.PAUSED, "run_paused", reason=message.reason, operator=message.operator)
        _hold(turn)
    else:
        _note(turn, "run_pause_requested", message)
    return turn.reply(m.Accepted("paused: what runs finishes", run.id))


def _resume(turn: RunTurn, message: m.Resume) -> None:
    run = turn.value
    if not run.paused:
        return turn.reply(m.Accepted("is not paused", run.id))
    turn.change(paused=False, overspent=False)
    granted = "resumed"
    if (used_up := _used_up(run)) is not None:
        turn.change(granted=(run.attempts_spent, run.seconds_spent))
        granted = f"resumed: {used_up}, and granted again"
        _note(turn, "run_budget_granted", message)
    if run.state is State.PAUSED:
        turn.move(State.RUNNING, "run_resumed", reason=message.reason, operator=message.operator)
        _hold(turn)
        # Whatever got stuck during the pause was told nothing: all are told now.
        _settle(turn, 1, None)
    else:
        _note(turn, "run_resume_requested", message)
    return turn.reply(m.Accepted(granted, run.id))


def _cancel(turn: RunTurn, message: m.Cancel) -> None:
    run = turn.value
    if run.ending == "cancelled":
        return turn.reply(m.Accepted("is being cancelled already", run.id))
    said = {"reason": message.reason, "operator": message.operator}
    turn.change(ending="cancelled", wanted=None, **said)
    _note(turn, "run_cancel_requested", message)
    if run.expanded < 0:
        _end(turn, State.CANCELLED, "run_cancelled", message.reason)
    elif run.state is not State.INITIALIZING:
        turn.tell_all(_cancelling(turn.value), control=True)
        _settle(turn, run.movable, None)
    # Else once all of it is made: what is not there cannot end.
    return turn.reply(m.Accepted("cancelled, once all of it has ended", run.id))


def _override(turn: RunTurn, order: m.Override) -> None:
    """An end comes once all of it has ended; a pause and its end come at once."""
    run = turn.value
    edges = way(CHART, run.state, order.target)
    if isinstance(edges, m.Refused):
        return turn.reply(edges)
    if run.ending is not None:
        return turn.reply(m.Refused(f"{run.id} is ending already ({run.ending})"))
    target = State(order.target)
    if run.state is State.INITIALIZING and target in {State.RUNNING, State.PAUSED}:
        return turn.reply(m.Refused("its tasks are being made just now: it starts by itself"))
    turn.effects.append(on_record(order, run.state, edges))
    if target is State.PAUSED:
        return _pause(turn, m.Pause(order.operator, order.reason))
    if target is State.RUNNING:
        return _resume(turn, m.Resume(order.operator, order.reason))
    said = {"reason": order.reason, "operator": order.operator}
    turn.change(ending="overridden", wanted=wanted(order), **said)
    if run.state is not State.INITIALIZING:
        turn.tell_all(_cancelling(turn.value), control=True)
        _settle(turn, run.movable, None)
    # Else once all of it is made: what is not there cannot end.
    return turn.reply(m.Accepted(f"is {target} once all of it has ended", run.id))


def _rerun(turn: RunTurn, message: m.RerunGate) -> None:
    """Handed on: the gate itself knows whether it has ended. Whoever asks has looked its id up."""
    run, names = turn.value, list(turn.value.spec.gates)
    name = message.gate_id.rpartition("/gate:")[2].partition("~")[0]
    if name not in names or not message.gate_id.startswith(f"{run.id}/gate:"):
        return turn.reply(m.Refused(f"{message.gate_id} is no gate of {run.id}"))
    if run.ending is not None or not run.unfinished:
        return turn.reply(m.Refused(f"{run.id} is ending: nothing of it waits for a gate"))
    at = names.index(name)
    n = run.gate_counts[at] + 1
    counts = (*run.gate_counts[:at], n, *run.gate_counts[at + 1 :])
    old = f"test_gate:{message.gate_id}"
    reruns = tuple(dict.fromkeys((*run.reruns, old)))
    turn.change(gate_counts=counts, gates_open=run.gates_open + 1, reruns=reruns)
    again = msgspec.structs.replace(message, n=n)
    # As urgent as the cancel that may follow: the old one knows by then whom to hand that on to.
    return turn.effects.append(Send(old, again, control=True, hand_on=True))
