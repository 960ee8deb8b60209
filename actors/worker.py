"""A worker: a durable slot that the dispatcher assigns to, whatever process stands in it.

    INITIALIZING ──up──> IDLE <──assigned, done──> BUSY ──silent──> UNRESPONSIVE
                          │ └── PAUSED                                   │
                          │           FAILED <──silent, or crashed───────┤
                          └──recovered──┘ └──> SHUTDOWN (from anywhere) <┘

Invariants:
1. One lease at a time: the slot is assigned only when IDLE with its process up, and is IDLE again
   only after the task gave the lease back. A slow kill cannot free a task twice.
2. One process at a time: the next incarnation starts only after the last one has ended.
3. The pool never shrinks by failure: FAILED always waits for the end of its process or for the
   restart timer, and a slot that is retired for an undead task leaves another in its place.
4. The end of the owner is nobody's failure: a new process comes at once, the state stays.

Deliberately absent: what a task is, and which to take next (the dispatcher's).
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec.structs import replace

from actors import messages as m
from actors import pacing
from actors.effects import CancelTimer, Note, Reply, SetTimer, Spawn
from actors.machine import Decision
from actors.override import Wanted, on_record, wanted, way
from actors.spec import UetSeed
from actors.worker_state import (
    CHART,
    EDGES,
    NO_LEASE,
    State,
    Worker,
    WorkerMetadata,
    WorkerTurn,
    create,
)

__all__ = ["CHART", "EDGES", "Inbox", "State", "Worker", "WorkerMetadata", "create", "decide"]

DISPATCH = "dispatch:main"
BEATS_MISSED_MAX = 2


Work: TypeAlias = m.Assign | m.LeaseEnded | m.ReturnAssignment | m.HeartbeatLimit
Process: TypeAlias = m.UetReady | m.UetEnded | m.HeartbeatSeen
Hand: TypeAlias = m.Pause | m.Resume | m.Drain | m.Replace | m.Override
Kernel: TypeAlias = m.Begin | m.TimerFired | m.Recovered | m.Announce | m.Shutdown
Inbox: TypeAlias = Work | Process | Hand | Kernel


def decide(worker: Worker, message: Inbox, now: float) -> Decision[Worker]:
    """One turn. Read by message: most mean one thing in the states that they can meet."""
    turn = WorkerTurn(CHART, worker, now)
    match message:
        case m.Assign():
            _assign(turn, message)
        case m.LeaseEnded() | m.ReturnAssignment():
            _lease_ended(turn, message)
        case m.HeartbeatSeen():
            _heartbeat(turn, message)
        case m.HeartbeatLimit():
            _limit(turn, message)
        case m.TimerFired():
            _timer(turn, message)
        case m.UetReady():
            _ready(turn, message)
        case m.UetEnded():
            _uet_ended(turn, message)
        case m.Begin():
            _begin(turn)
        case m.Recovered() | m.Announce():
            _recovered(turn, message)
        case m.Pause() | m.Resume() | m.Drain() | m.Replace() | m.Override():
            _hand(turn, message)
        case m.Shutdown():
            _shutdown(turn, message)
    return turn.decision()


# --- the work ---------------------------------------------------------------------------------


def _assign(turn: WorkerTurn, message: m.Assign) -> None:
    worker = turn.value
    if worker.state is not State.IDLE or not worker.ready:
        # The task is still QUEUED and knows best whether it still wants a slot.
        turn.send(message.task, m.AssignmentRefused(message.lease))
        return
    task_id = message.task.removeprefix("task:")
    turn.move(State.BUSY, "task_assigned", lease=message.lease, task_id=task_id)
    slot, uet = f"worker:{worker.id}", f"uet_worker:{worker.uet_id}"
    turn.send(message.task, m.Assigned(slot, uet, message.lease))


def _lease_ended(turn: WorkerTurn, message: m.LeaseEnded | m.ReturnAssignment) -> None:
    if message.lease != turn.value.lease:
        return None  # of a lease that this slot no longer counts
    if isinstance(message, m.LeaseEnded) and message.undead:
        return _retire(turn)
    if turn.value.wanted is not None:
        return _follow(turn, turn.value.wanted)
    match turn.value.state:
        case State.BUSY:
            returned = isinstance(message, m.ReturnAssignment)
            _release(turn, "assignment_returned" if returned else "task_completed")
        case State.UNRESPONSIVE:
            _release(turn, "heartbeat_recovered")
        case State.FAILED:
            turn.change(**NO_LEASE)
            _recover(turn)
        case State.INITIALIZING | State.IDLE | State.PAUSED | State.SHUTDOWN:
            raise AssertionError(f"{turn.value.state} holds no lease")
    return None


def _release(turn: WorkerTurn, trigger: str) -> None:
    """BUSY or UNRESPONSIVE -> IDLE, and on to where the operator wants it."""
    was = turn.value
    turn.move(State.IDLE, trigger, **NO_LEASE)
    if was.state is State.UNRESPONSIVE:
        turn.effects.append(CancelTimer("recovery"))
    if was.ready and (was.state is State.UNRESPONSIVE or was.limit_s is not None):
        _expect_beat(turn)
    _settle(turn)


def _settle(turn: WorkerTurn) -> None:
    """IDLE: offers the slot, unless something else was asked for while it could not be done."""
    worker = turn.value
    if worker.state is not State.IDLE:
        return
    if worker.draining:
        _end(turn, "drained")
        return
    if worker.paused:
        turn.move(State.PAUSED, "paused")
    if worker.replacing:
        _stop_to_replace(turn)
    elif worker.ready and not worker.paused:
        _offer(turn)


def _offer(turn: WorkerTurn) -> None:
    w, slot = turn.value, turn.value.spec.slot
    free = (f"worker:{w.id}", w.run_id, w.pool, w.kind, slot.capabilities, slot.affinity)
    turn.send(DISPATCH, m.SlotFree(*free))


def _take_back(turn: WorkerTurn) -> None:
    """Before the slot leaves IDLE otherwise than by an assignment."""
    if turn.value.state is State.IDLE and turn.value.ready:
        turn.send(DISPATCH, m.SlotGone(f"worker:{turn.value.id}"))


# --- its process and its heartbeats -------------------------------------------------------------


def _begin(turn: WorkerTurn) -> None:
    if turn.value.state is State.INITIALIZING and not turn.value.incarnation:
        _spawn(turn)


def _spawn(turn: WorkerTurn) -> None:
    n = turn.value.incarnation + 1
    seed = UetSeed(worker=turn.value.spec, n=n)
    turn.change(incarnation=n, uet_id=seed.id, ready=False, replacing=False)
    turn.effects.append(Spawn("uet_worker", seed))
    turn.send(f"uet_worker:{seed.id}", m.Begin())


def _ready(turn: WorkerTurn, message: m.UetReady) -> None:
    if message.uet != f"uet_worker:{turn.value.uet_id}":
        return None  # of an incarnation that was given up
    if turn.value.state is State.SHUTDOWN:
        return turn.send(message.uet, m.StopUet(kill=True))
    if turn.value.replacing:
        return None  # it was asked to end before it was up: its end brings the next one
    turn.change(ready=True)
    _expect_beat(turn)
    if turn.value.state is State.INITIALIZING:
        turn.move(State.IDLE, "registered", started_at=turn.now)
    if turn.value.state is State.FAILED:
        _recover(turn)
    else:
        _settle(turn)
    # BUSY, UNRESPONSIVE, PAUSED: offered once the lease is given back, or at the resume.
    return None


def _recover(turn: WorkerTurn) -> None:
    """FAILED -> IDLE, once there is a new process and the old lease is given back."""
    worker = turn.value
    if worker.lease is None and worker.draining:
        _end(turn, "drained")
    elif worker.lease is None and worker.ready:
        turn.move(State.IDLE, "recovered")
        _settle(turn)


def _uet_ended(turn: WorkerTurn, message: m.UetEnded) -> None:
    worker = turn.value
    if message.uet != f"uet_worker:{worker.uet_id}" or worker.state is State.SHUTDOWN:
        return
    _take_back(turn)
    turn.effects += (CancelTimer("heartbeat"), CancelTimer("recovery"))
    turn.change(uet_id=None, ready=False)
    if worker.wanted is not None and worker.lease is not None:
        return  # it goes where an operator wants it once its task has given the lease back
    if message.reason == m.OWNER_RESTARTED:
        _spawn(turn)
    elif worker.state is State.FAILED:
        _restart_later(turn)
    elif worker.replacing and not message.crashed:
        _spawn(turn)
    elif message.crashed:
        turn.move(State.FAILED, "worker_failed", crashed=True, reason=message.reason)
        _restart_later(turn)
    # Else the owner stops in good order: the next one finds a slot without a process.


def _restart_later(turn: WorkerTurn) -> None:
    wait_s, restarts = pacing.restart(turn.value.spec.slot.restart, turn.value.restarts, turn.now)
    turn.change(restarts=restarts)
    turn.effects.append(SetTimer("restart", turn.now + wait_s))


def _fail(turn: WorkerTurn, trigger: str, silent_s: float, reason: str) -> None:
    """A silent process: killed; its end, which proves what it ran dead, starts the next one."""
    turn.move(State.FAILED, trigger, silent_s=silent_s, reason=reason, ready=False)
    turn.send(f"uet_worker:{turn.value.uet_id}", m.StopUet(kill=True, reason=reason))


def _patience_s(worker: Worker) -> float:
    return max(BEATS_MISSED_MAX * worker.spec.slot.heartbeat_s, worker.limit_s or 0.0)


def _expect_beat(turn: WorkerTurn) -> None:
    if turn.value.kind == "process":
        due = turn.now + _patience_s(turn.value)
        turn.effects.append(SetTimer("heartbeat", due, volatile=True))


def _give_window(turn: WorkerTurn) -> None:
    due = turn.now + turn.value.spec.slot.recovery_window_s
    turn.effects.append(SetTimer("recovery", due, volatile=True))


def _heartbeat(turn: WorkerTurn, message: m.HeartbeatSeen) -> None:
    worker = turn.value
    if message.uet != f"uet_worker:{worker.uet_id}" or not worker.ready:
        return
    if worker.state is State.UNRESPONSIVE:
        turn.move(State.BUSY, "heartbeat_resumed")
        turn.effects.append(CancelTimer("recovery"))
    _expect_beat(turn)


def _limit(turn: WorkerTurn, message: m.HeartbeatLimit) -> None:
    if message.lease == turn.value.lease and turn.value.state is State.BUSY:
        turn.change(limit_s=message.timeout_s)
        _expect_beat(turn)


def _timer(turn: WorkerTurn, message: m.TimerFired) -> None:
    worker, heartbeat_s = turn.value, turn.value.spec.slot.heartbeat_s
    match message.key:
        case "restart":
            if worker.state is State.FAILED and worker.uet_id is None:
                _spawn(turn)
        case _ if message.late_s > heartbeat_s:
            # The loop itself stood still: beats may wait unread. Give them one more interval.
            turn.effects.append(SetTimer(message.key, turn.now + heartbeat_s, volatile=True))
        case "heartbeat":
            _missed(turn)
        case "recovery" if worker.state is State.UNRESPONSIVE:
            silent_s = _patience_s(worker) + worker.spec.slot.recovery_window_s
            _fail(turn, "recovery_window_exceeded", silent_s, "silent past its recovery window")


def _missed(turn: WorkerTurn) -> None:
    worker = turn.value
    silent_s = _patience_s(worker)
    if worker.state is State.BUSY:
        reason = f"no heartbeat for {silent_s:g} s"
        turn.move(State.UNRESPONSIVE, "heartbeat_missed", silent_s=silent_s, reason=reason)
        _give_window(turn)
    elif worker.state in {State.IDLE, State.PAUSED} and worker.ready:
        _take_back(turn)
        _fail(turn, "worker_failed", silent_s, "silent while idle")


def _recovered(turn: WorkerTurn, message: m.Recovered | m.Announce) -> None:
    worker = turn.value
    if isinstance(message, m.Announce):
        return _settle(turn)
    if worker.ready:
        turn.change(ready=False)  # with the last owner its process ended, and is going to say so
    # Without a process because the last owner stopped in good order; a FAILED one has its timer.
    if worker.uet_id is None and worker.incarnation and worker.state is not State.FAILED:
        _spawn(turn)
    return None


# --- the operator's hand, and the run's end -----------------------------------------------------


def _hand(turn: WorkerTurn, message: Hand) -> None:
    worker = turn.value
    if worker.state is State.SHUTDOWN:
        cure = f"; {worker.replaced_by} stands in its place" if worker.replaced_by else ""
        turn.effects.append(Reply(m.Refused(f"{worker.id} is shut down{cure}")))
        return None
    match message:
        case m.Pause():
            text = _pause(turn, message)
        case m.Resume():
            text = _resume(turn, message)
        case m.Drain():
            text = _drain(turn, message)
        case m.Replace():
            text = _replace(turn, message)
        case m.Override():
            return _override(turn, message)
    return turn.effects.append(Reply(m.Accepted(text, worker.id)))


def _note(turn: WorkerTurn, event_type: str, message: Hand) -> None:
    turn.effects.append(Note(event_type, "info", message.reason, None, message.operator))


def _pause(turn: WorkerTurn, message: m.Pause) -> str:
    if turn.value.paused:
        return "already paused"
    turn.change(paused=True)
    if turn.value.state is State.IDLE:
        _take_back(turn)
        turn.move(State.PAUSED, "paused", reason=message.reason, operator=message.operator)
        return "paused"
    _note(turn, "worker_pause_requested", message)
    return "takes nothing new once what it does has ended"


def _resume(turn: WorkerTurn, message: m.Resume) -> str:
    if not turn.value.paused:
        return "not paused"
    turn.change(paused=False)
    if turn.value.state is State.PAUSED:
        turn.move(State.IDLE, "resumed", reason=message.reason, operator=message.operator)
        _settle(turn)
    else:
        _note(turn, "worker_resume_requested", message)
    return "resumed"


def _drain(turn: WorkerTurn, message: m.Drain) -> str:
    _note(turn, "worker_drain_requested", message)
    if turn.value.lease is not None:
        turn.change(draining=True)
        return f"shuts down once {turn.value.task_id} has left it"
    _end(turn, message.reason, message.operator)
    return "shut down"


def _replace(turn: WorkerTurn, message: m.Replace) -> str:
    if not turn.value.ready:
        return "it is getting a new process already"
    _note(turn, "worker_replace_requested", message)
    turn.change(replacing=True)
    if turn.value.lease is not None:
        return f"gets a new process once {turn.value.task_id} has left it"
    _take_back(turn)
    _stop_to_replace(turn)
    return "gets a new process"


def _override(turn: WorkerTurn, order: m.Override) -> None:
    """Goes there at once, or as soon as what it executes is proven dead."""
    worker = turn.value
    edges = way(CHART, worker.state, order.target)
    if isinstance(edges, m.Refused):
        return turn.effects.append(Reply(edges))
    if worker.wanted is not None:
        text = f"it is on its way to {worker.wanted.target} already"
        return turn.effects.append(Reply(m.Refused(text)))
    turn.effects.append(on_record(order, worker.state, edges))
    if order.target == State.UNRESPONSIVE:
        trigger, why, by = "heartbeat_missed", order.reason, order.operator
        turn.move(State.UNRESPONSIVE, trigger, silent_s=0.0, reason=why, operator=by)
        _give_window(turn)
        text = "is unresponsive until its next heartbeat"
        return turn.effects.append(Reply(m.Accepted(text, worker.id)))
    if worker.lease is None:
        _follow(turn, wanted(order))
        return turn.effects.append(Reply(m.Accepted(f"is {turn.value.state}", worker.id)))
    # Where the lease ends before the process has, that end brings the next one.
    turn.change(wanted=wanted(order), ready=False, replacing=True)
    if worker.uet_id is not None:
        why = f"overridden by {order.operator}: {order.reason}"
        stop = m.StopUet(kill=True, reason=why, by_hand=True)
        turn.send(f"uet_worker:{worker.uet_id}", stop, control=True)
    text = f"is {order.target} once {worker.task_id} has left it, dead"
    return turn.effects.append(Reply(m.Accepted(text, worker.id)))


def _follow(turn: WorkerTurn, order: Wanted) -> None:
    """Takes the way. A slot without a process gets one, but where it is shut down."""
    worker = turn.value
    if worker.state == order.target:
        # While its task was dying it fell silent for so long that it failed by itself.
        turn.change(wanted=None, **NO_LEASE)
        return _restart_failed(turn, order.reason)
    edges = way(CHART, worker.state, order.target)
    assert not isinstance(edges, m.Refused), "it was asked before"
    _take_back(turn)
    turn.effects += (CancelTimer("heartbeat"), CancelTimer("recovery"), CancelTimer("restart"))
    paused = order.target == State.PAUSED
    turn.change(wanted=None, paused=paused, draining=False, **NO_LEASE)
    if order.target == State.SHUTDOWN:
        return _end(turn, order.reason, order.operator, kill=True)
    for edge in edges:
        by = order.operator
        turn.move(State(edge.target), edge.trigger, reason=order.reason, operator=by)
    if order.target == State.FAILED:
        return _restart_failed(turn, order.reason)
    if turn.value.uet_id is None:
        return _spawn(turn)
    if turn.value.ready:
        _expect_beat(turn)
    return _settle(turn)


def _restart_failed(turn: WorkerTurn, reason: str) -> None:
    """FAILED: the end of its process starts the next one, or the restart timer."""
    turn.change(ready=False)
    if turn.value.uet_id is None:
        _restart_later(turn)
    else:
        turn.change(replacing=True)
        turn.send(f"uet_worker:{turn.value.uet_id}", m.StopUet(kill=True, reason=reason))


def _stop_to_replace(turn: WorkerTurn) -> None:
    if turn.value.replacing and turn.value.ready:
        turn.change(ready=False)
        turn.effects.append(CancelTimer("heartbeat"))
        turn.send(f"uet_worker:{turn.value.uet_id}", m.StopUet(reason="replaced"))


def _shutdown(turn: WorkerTurn, message: m.Shutdown) -> None:
    if turn.value.state is not State.SHUTDOWN:
        _end(turn, message.reason)
    elif turn.value.replaced_by is not None:
        turn.send(f"worker:{turn.value.replaced_by}", message)


def _end(turn: WorkerTurn, reason: str | None, by: str | None = None, kill: bool = False) -> None:
    uet_id, doubted = turn.value.uet_id, turn.value.state is State.UNRESPONSIVE
    turn.send(DISPATCH, m.SlotGone(f"worker:{turn.value.id}"))
    turn.move(State.SHUTDOWN, "shutdown", reason=reason, operator=by, ready=False, **NO_LEASE)
    if uet_id is not None:
        turn.send(f"uet_worker:{uet_id}", m.StopUet(kill or doubted, reason))


def _retire(turn: WorkerTurn) -> None:
    """What its task ran cannot be killed: the slot goes, and another takes its place."""
    worker = turn.value
    reason = f"processes of {worker.task_id} survived KILL"
    if not worker.draining:
        base, _, n = worker.id.partition("~")
        seed = replace(worker.spec, id=f"{base}~{int(n or 1) + 1}")
        turn.change(replaced_by=seed.id)
        turn.effects.append(Spawn("worker", seed))
        turn.send(f"worker:{seed.id}", m.Begin())
    turn.effects.append(Note("worker_retired", "critical", reason))
    _end(turn, reason, kill=True)
