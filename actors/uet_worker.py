"""A UET worker: one incarnation of the process in a worker's slot.

    SPAWNING ──started──> IDLE <──work and its end──> BUSY
       │                   │                          │ asked to stop
       │                   │                       DRAINING
       └── its process is gone ──> TERMINATED <───────┘

Invariants:
1. TERMINATED means that the process is gone, and all it ran: only the shell's word leads there. A
   request to stop is a flag until then, so that a new owner finds every process to reap.
2. A lease that was taken on is answered with exactly one `WorkFinished` to its task, whatever
   happens; one that cannot be taken on is answered with "lost" at once.
3. A launcher is released once, for the lease that is held, and not after its end was asked for.

Deliberately absent: restarts (the slot's), timeouts (the task's), heartbeat timers (the slot's).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import replace

from actors.effects import Effect, Offer, Release, Reply, Send, StartProcess, StopProcess, Withdraw
from actors.machine import Chart, Decision, Edge, Taken
from actors.messages import (
    Accepted,
    Announce,
    Begin,
    EndWork,
    Execute,
    Heartbeat,
    HeartbeatSeen,
    Launched,
    Outcome,
    Override,
    ProcessExited,
    ProcessStarted,
    Recovered,
    Refused,
    StopUet,
    UetEnded,
    UetReady,
    WorkEnded,
    WorkFinished,
)
from actors.override import Wanted, on_record, wanted, way
from actors.spec import UetSeed


class State(StrEnum):
    SPAWNING = "spawning"
    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    TERMINATED = "terminated"


EDGES = (
    Edge(State.SPAWNING, State.IDLE, "spawned", "info"),
    Edge(State.SPAWNING, State.TERMINATED, "spawn_failed", "error"),
    Edge(State.IDLE, State.BUSY, "task_assigned", "info"),
    Edge(State.IDLE, State.TERMINATED, "shutdown_requested", "info"),
    Edge(State.BUSY, State.IDLE, "task_completed", "info"),
    Edge(State.BUSY, State.DRAINING, "shutdown_requested", "info"),
    Edge(State.BUSY, State.TERMINATED, "crashed", "error"),
    Edge(State.DRAINING, State.TERMINATED, "drained", "info"),
    Edge(State.SPAWNING, State.TERMINATED, "shutdown_requested", "info"),
    Edge(State.IDLE, State.TERMINATED, "crashed", "error"),
    Edge(State.DRAINING, State.TERMINATED, "crashed", "error"),
)
CHART = Chart("uet_worker", State, State.SPAWNING, (State.TERMINATED,), EDGES)

Event: TypeAlias = (
    Execute
    | WorkEnded
    | Launched
    | Heartbeat
    | EndWork
    | Begin
    | ProcessStarted
    | ProcessExited
    | StopUet
    | Recovered
    | Announce
)
Inbox: TypeAlias = Event | Override


class UetWorker(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An incarnation as it is stored: `pid`, `start_ticks` and `boot_id` name its process for ever.

    `lease` and `child_*` are there while it executes.
    """

    id: str
    run_id: str | None
    state: State
    created_at: float
    started_at: float | None = None
    completed_at: float | None = None
    reason: str | None = None
    spec: UetSeed
    worker_id: str
    pid: int | None = None
    start_ticks: int | None = None
    boot_id: str | None = None
    lease: str | None = None
    child_pid: int | None = None
    child_pgid: int | None = None
    child_ticks: int | None = None
    task: str | None = None  # the address that is told how the lease's work ended
    withdrawn: bool = False  # its lease's work was asked to end
    stopping: bool = False  # its process was asked to end
    wanted: Wanted | None = None  # an override that waits for that end
    by_hand: bool = False  # a person had it killed: what it runs is not to blame


class UetMetadata(msgspec.Struct, frozen=True, gc=False):
    """What an event of an incarnation carries."""

    worker_id: str
    pid: int | None
    lease: str | None


def create(seed: UetSeed, now: float) -> UetWorker:
    """The incarnation of `seed`, whose process `Begin` starts."""
    return UetWorker(
        id=seed.id,
        run_id=seed.worker.run_id,
        state=State.SPAWNING,
        created_at=now,
        spec=seed,
        worker_id=seed.worker.id,
    )


def decide(uet: UetWorker, message: Inbox, now: float) -> Decision[UetWorker]:
    """One turn."""
    if isinstance(message, Override):
        return _overridden(uet, message)
    match uet.state:
        case State.IDLE:
            return _idle(uet, message, now)
        case State.BUSY:
            return _busy(uet, message, now)
        case State.SPAWNING:
            return _spawning(uet, message, now)
        case State.DRAINING:
            return _draining(uet, message, now)
        case State.TERMINATED:
            return _terminated(uet, message)


def _spawning(uet: UetWorker, message: Event, now: float) -> Decision[UetWorker]:
    match message:
        case Begin():
            return Decision(uet, (), (_start(uet),))
        case ProcessStarted():
            named = replace(
                uet, pid=message.pid, start_ticks=message.start_ticks, boot_id=message.boot_id
            )
            if uet.stopping:
                return Decision(named)  # its stop was asked for meanwhile: on record, no more
            edge = _edge(named, State.IDLE, "spawned")
            up = replace(named, state=State.IDLE, started_at=now)
            return Decision(up, (edge,), (Send(_slot(uet), UetReady(_address(uet))),))
        case ProcessExited():
            trigger = "shutdown_requested" if uet.stopping else "spawn_failed"
            return _gone(uet, message, trigger, now)
        case StopUet():
            return _stop(uet, message)
        case Execute():
            return Decision(uet, (), (_lost(uet, message, "its process is not up"),))
        case WorkEnded() | Launched() | EndWork() | Heartbeat():
            return Decision(uet)  # nothing runs here yet: of no lease of ours
        case Recovered() | Announce():
            return Decision(uet)  # what became of the process comes as ProcessExited


def _idle(uet: UetWorker, message: Event, now: float) -> Decision[UetWorker]:
    match message:
        case Execute() if uet.stopping:
            return Decision(uet, (), (_lost(uet, message, "its process was stopped"),))
        case Execute():
            taken = replace(uet, lease=message.lease, task=message.task)
            edge = _edge(taken, State.BUSY, "task_assigned")
            busy = replace(taken, state=State.BUSY)
            return Decision(busy, (edge,), (_offer(uet, message),))
        case Heartbeat():
            return Decision(uet, (), (_seen(uet),))
        case ProcessExited():
            asked = uet.stopping or not message.crashed
            return _gone(uet, message, "shutdown_requested" if asked else "crashed", now)
        case StopUet():
            return _stop(uet, message)
        case WorkEnded() | Launched() | EndWork():
            return Decision(uet)  # of a lease that was answered already
        case Begin() | ProcessStarted():
            return Decision(uet)  # it is up
        case Recovered() | Announce():
            return Decision(uet)


def _busy(uet: UetWorker, message: Event, now: float) -> Decision[UetWorker]:
    match message:
        case WorkEnded() if message.lease == uet.lease:
            edge = _edge(uet, State.IDLE, "task_completed")
            return Decision(_at_rest(uet, State.IDLE), (edge,), (_finished(uet, message.outcome),))
        case Launched() if message.lease == uet.lease:
            return _launched(uet, message)
        case Heartbeat():
            return Decision(uet, (), (_seen(uet),))
        case EndWork() if message.lease == uet.lease:
            return _withdraw(uet, message)
        case WorkEnded() | Launched() | EndWork():
            return Decision(uet)  # of an older lease
        case ProcessExited():
            return _gone(uet, message, "crashed", now)
        case StopUet():
            stop = _stop(uet, message) if message.kill else Decision(uet)
            edge = _edge(uet, State.DRAINING, "shutdown_requested", reason=message.reason)
            draining = replace(stop.state, state=State.DRAINING, reason=message.reason)
            return Decision(draining, (edge,), stop.effects)
        case Execute():
            return Decision(uet, (), (_lost(uet, message, "its process is busy"),))
        case Begin() | ProcessStarted() | Recovered() | Announce():
            return Decision(uet)


def _draining(uet: UetWorker, message: Event, now: float) -> Decision[UetWorker]:
    match message:
        case WorkEnded() if message.lease == uet.lease:
            stop = _stop(_at_rest(uet, State.DRAINING), StopUet())
            return Decision(stop.state, (), (_finished(uet, message.outcome), *stop.effects))
        case Launched() if message.lease == uet.lease:
            return _launched(uet, message)
        case Heartbeat():
            return Decision(uet, (), (_seen(uet),))
        case EndWork() if message.lease == uet.lease:
            return _withdraw(uet, message)
        case WorkEnded() | Launched() | EndWork():
            return Decision(uet)  # of an older lease
        case ProcessExited():
            asked = uet.stopping or not message.crashed
            return _gone(uet, message, "drained" if asked else "crashed", now)
        case StopUet():
            return _stop(uet, message) if message.kill else Decision(uet)
        case Execute():
            return Decision(uet, (), (_lost(uet, message, "its process is draining"),))
        case Begin() | ProcessStarted() | Recovered() | Announce():
            return Decision(uet)


def _terminated(uet: UetWorker, message: Event) -> Decision[UetWorker]:
    match message:
        case Execute():
            return Decision(uet, (), (_lost(uet, message, uet.reason or "its process is gone"),))
        case ProcessStarted():
            # Started by the last effect of an owner that had ended meanwhile: nobody waits for it.
            return Decision(uet, (), (StopProcess(_address(uet), kill=True),))
        case WorkEnded() | Launched() | EndWork() | Heartbeat():
            return Decision(uet)  # its lease was answered when the process went
        case Begin() | ProcessExited() | StopUet() | Recovered() | Announce():
            return Decision(uet)


def _launched(uet: UetWorker, message: Launched) -> Decision[UetWorker]:
    child = replace(
        uet,
        child_pid=message.pid,
        child_pgid=message.pgid,
        child_ticks=message.start_ticks,
    )
    if uet.withdrawn:
        return Decision(child)  # it goes on waiting on its pipe until Withdraw ends it
    return Decision(child, (), (Release(_address(uet), message.lease),))


def _withdraw(uet: UetWorker, message: EndWork) -> Decision[UetWorker]:
    if uet.withdrawn:
        return Decision(uet)
    kill_timeout_s = uet.spec.worker.slot.kill_timeout_s
    end = Withdraw(_address(uet), message.lease, message.reason, kill_timeout_s)
    return Decision(replace(uet, withdrawn=True), (), (end,))


def _stop(uet: UetWorker, message: StopUet) -> Decision[UetWorker]:
    """Asks the process to end: at most twice, first kindly and then with `kill`."""
    if uet.stopping and not message.kill:
        return Decision(uet)
    stop = StopProcess(_address(uet), message.kill, uet.spec.worker.slot.kill_timeout_s)
    return Decision(
        replace(uet, stopping=True, by_hand=uet.by_hand or message.by_hand), (), (stop,)
    )


def _overridden(uet: UetWorker, order: Override) -> Decision[UetWorker]:
    """Ends the process, or lets it finish what it does; TERMINATED once its end is proven."""
    edges = way(CHART, uet.state, order.target)
    if isinstance(edges, Refused):
        return Decision(uet, (), (Reply(edges),))
    row = on_record(order, uet.state, edges)
    if order.target == State.DRAINING:
        said = {"reason": order.reason, "operator": order.operator}
        edge = _edge(uet, State.DRAINING, "shutdown_requested", **said)
        draining = replace(uet, state=State.DRAINING, reason=order.reason, wanted=wanted(order))
        return Decision(draining, (edge,), (row, Reply(Accepted("is draining", uet.id))))
    stop = _stop(uet, StopUet(kill=True, reason=order.reason, by_hand=True))
    text = f"is {order.target} once its process is proven dead"
    effects = (row, *stop.effects, Reply(Accepted(text, uet.id)))
    return Decision(replace(stop.state, wanted=wanted(order)), (), effects)


def _gone(uet: UetWorker, message: ProcessExited, trigger: str, now: float) -> Decision[UetWorker]:
    by_hand = uet.wanted
    reason = message.reason if by_hand is None else by_hand.reason
    operator = None if by_hand is None else by_hand.operator
    edge = _edge(uet, State.TERMINATED, trigger, reason=reason, operator=operator)
    ended = replace(_at_rest(uet, State.TERMINATED), reason=reason, completed_at=now)
    # Ended by hand, it leaves its slot as a crash does: with a new process to come.
    crashed = by_hand is not None or (message.crashed and trigger in {"crashed", "spawn_failed"})
    effects: tuple[Effect, ...] = (Send(_slot(uet), UetEnded(_address(uet), crashed, reason)),)
    if uet.lease is not None:
        lost = Outcome(reason="lost", error=reason, infrastructure=True, by_hand=uet.by_hand)
        effects = (_finished(uet, lost), *effects)
    return Decision(ended, (edge,), effects)


def _at_rest(uet: UetWorker, state: State) -> UetWorker:
    return replace(
        uet,
        state=state,
        reason=None,
        lease=None,
        child_pid=None,
        child_pgid=None,
        child_ticks=None,
        task=None,
        withdrawn=False,
    )


def _address(uet: UetWorker) -> str:
    return f"uet_worker:{uet.id}"


def _slot(uet: UetWorker) -> str:
    return f"worker:{uet.worker_id}"


def _edge(
    uet: UetWorker,
    target: State,
    trigger: str,
    reason: str | None = None,
    operator: str | None = None,
) -> Taken:
    said: dict[str, Any] = {"reason": reason, "operator": operator}
    said["metadata"] = UetMetadata(uet.worker_id, uet.pid, uet.lease)
    return CHART.take(uet.state, target, trigger, **said)


def _start(uet: UetWorker) -> StartProcess:
    seed, slot = uet.spec.worker, uet.spec.worker.slot
    return StartProcess(
        _address(uet), seed.pool, slot.kind, slot.heartbeat_s, seed.env_pass, slot.sandbox
    )


def _offer(uet: UetWorker, work: Execute) -> Offer:
    return Offer(
        _address(uet),
        work.lease,
        work.task.removeprefix("task:"),
        work.attempt,
        work.command,
        work.call,
        work.kwargs,
        work.cwd,
        work.env,
        work.env_pass,
        work.base_dir,
        work.stdin,
        work.rate_limit,
    )


def _seen(uet: UetWorker) -> Send:
    return Send(_slot(uet), HeartbeatSeen(_address(uet), uet.lease))


def _finished(uet: UetWorker, outcome: Outcome) -> Send:
    assert uet.task is not None
    assert uet.lease is not None
    return Send(uet.task, WorkFinished(uet.lease, outcome))


def _lost(uet: UetWorker, work: Execute, why: str) -> Send:
    outcome = Outcome(reason="lost", error=why, infrastructure=True, by_hand=uet.by_hand)
    return Send(work.task, WorkFinished(work.lease, outcome))
