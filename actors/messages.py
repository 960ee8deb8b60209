"""Every message that an inbox of our own actors can hold. Requests are imperative, facts are past.

Messages are frozen and encode to JSON by their tag (the class name), so that one which is still
undelivered when its epoch commits is a row of the store.
"""

from __future__ import annotations

from typing import Any

import msgspec

from actors.effects import Address


class Message(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """The common root."""


# --- everyone ------------------------------------------------------------------------------


class TimerFired(Message, frozen=True):
    """A timer of this actor is due. `missed` counts the further ticks that an overdue one stands
    for after a restart; `late_s` says by how much the loop itself was late."""

    key: str
    missed: int = 0
    late_s: float = 0.0


class Recovered(Message, frozen=True):
    """This actor was read back from the store by a new owner, whose leases begin with `epoch`.

    Volatile timers are gone: set them anew. The first message that a recovered actor takes.
    """

    epoch: int


class Ended(Message, frozen=True):
    """The watched actor reached the terminal `state`."""

    target: Address
    state: str


class Performed(Message, frozen=True):
    """The outcome of a `Perform`. `error` None means that the performer returned."""

    key: str
    result: Any = None
    error: str | None = None


# --- the operator's hand; `operator` and `reason` go on record ------------------------------


class Pause(Message, frozen=True):
    operator: str | None = None
    reason: str | None = None


class Resume(Message, frozen=True):
    operator: str | None = None
    reason: str | None = None


class Cancel(Message, frozen=True):
    """End now. `through_failure` when a failure elsewhere is the cause, not a person."""

    reason: str | None = None
    operator: str | None = None
    through_failure: bool = False


class Skip(Message, frozen=True):
    """Workstreams only: counts as done, its tasks too; not so where `through_failure`."""

    reason: str | None = None
    operator: str | None = None
    through_failure: bool = False


class Unblock(Message, frozen=True):
    """Waives the cause of BLOCKED. `names`: which causes (empty: all)."""

    names: tuple[str, ...] = ()
    operator: str | None = None
    reason: str | None = None


class RetryTask(Message, frozen=True):
    """To the workstream of a terminal task: makes `<id>~2`, which stands for it from now on."""

    task_id: str
    operator: str | None = None
    reason: str | None = None
    clear_retry_count: bool = False


class Refused(Message, frozen=True):
    """A reply: the operator's command was not carried out (exit 5), and why."""

    reason: str


class Accepted(Message, frozen=True):
    """A reply: the operator's command is durable. `text` says what it began or found already so."""

    text: str = ""
    entity_id: str | None = None


# --- outcomes of work, from the shell ---------------------------------------------------------


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a piece of work ended, as the shell saw it.

    `exit_code` is None where nothing exited (a callable raised, a process was killed by `signal`).
    `reason` is one of None (it simply ended), "timeout", "cancelled", "lost" (its worker died),
    "not_started" (exec failed: `error` says why), "error" (a callable raised), or what `Withdraw`
    and `KillGate` gave. `infrastructure` true: no fault of the work.
    `alive` true: processes survived KILL. `error` is one line for a person.
    """

    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    error: str | None = None
    infrastructure: bool = False
    alive: bool = False
    duration_s: float = 0.0
    output_bytes: int = 0
    output_digest: str | None = None
    truncated: bool = False
    result: Any = None  # what a callable returned, if it encodes to JSON within its bound


# --- run --------------------------------------------------------------------------------------


class Begin(Message, frozen=True):
    """Run, workstream or task: what stood before you is in place, start when you can."""


class Expand(Message, frozen=True):
    """A run to itself: create the next slice of tasks, from `index` on. Bounds a turn's size."""

    index: int


class WorkstreamMoved(Message, frozen=True):
    """To the run, at every edge of a workstream."""

    workstream: Address
    source: str
    target: str
    critical: bool = True
    through_failure: bool = False
    noncritical_failures: int = 0
    reason: str | None = None


class NeedGates(Message, frozen=True):
    """To the run: make new entities of these gates (and of what they depend on) for `asker`, whose
    work they judge. Verdicts go to `asker` as `GateVerdict` with the same `ticket`."""

    asker: Address
    names: tuple[str, ...]
    ticket: str


class GateMoved(Message, frozen=True):
    """To the run, when a gate ends."""

    gate: Address
    target: str


# --- workstream -------------------------------------------------------------------------------


class DependencyEnded(Message, frozen=True):
    """To a dependent workstream or task. `outcome` is the terminal state; done is "completed", and
    "skipped" unless through a failure."""

    source: Address
    outcome: str
    done: bool
    reason: str | None = None


class DependencyReplaced(Message, frozen=True):
    """To a dependent: `old` was retried, `new` stands for it."""

    old: Address
    new: Address


class TaskQueued(Message, frozen=True):
    """To the workstream, at a task's first QUEUED."""

    task: Address


class TaskBlocked(Message, frozen=True):
    """To the workstream, when a task enters (blocked) or leaves BLOCKED other than by its end."""

    task: Address
    blocked: bool


class TaskEnded(Message, frozen=True):
    """To the workstream, at a task's terminal state. `was_blocked`: it ended out of BLOCKED."""

    task: Address
    outcome: str
    critical: bool = True
    through_failure: bool = False
    was_blocked: bool = False
    reason: str | None = None


class EndBlocked(Message, frozen=True):
    """From the run to its workstreams: nothing but an operator could move what is blocked, and the
    plan says `on_blocked = "end"`."""


class GateVerdict(Message, frozen=True):
    """To whoever needs a gate. `name` is the gate's name; `outcome` "passed", "failed",
    "cancelled", or "infrastructure" (FAILED, but no verdict on the work)."""

    gate: Address
    name: str
    outcome: str
    ticket: str | None = None
    reason: str | None = None


# --- task -------------------------------------------------------------------------------------


class Assigned(Message, frozen=True):
    """From a worker: the slot and its lease are yours; begin, or return them."""

    worker: Address
    uet: Address
    lease: str


class WorkBegun(Message, frozen=True):
    """From the uet worker: the command was released (its launcher is on record) or called."""

    lease: str


class WorkFinished(Message, frozen=True):
    """From the uet worker: the work of `lease` ended, all dead (or `outcome.alive`)."""

    lease: str
    outcome: Outcome


# --- dispatch: the queue before the worker slots ------------------------------------------------


class Enqueue(Message, frozen=True):
    """From a task that entered QUEUED."""

    task: Address
    run_id: str
    workstream: str  # its name in the plan, for affinity
    priority: int = 0
    requires: tuple[str, ...] = ()
    concurrency_key: str | None = None
    inline_only: bool = False  # a callable that no child process can import


class Dequeue(Message, frozen=True):
    """From a task that left QUEUED otherwise than by an assignment. Unknown: nothing."""

    task: Address


class SlotFree(Message, frozen=True):
    """From a worker that entered IDLE."""

    worker: Address
    run_id: str | None  # None: the owner's pool, any run
    pool: str
    kind: str
    capabilities: tuple[str, ...] = ()
    affinity: tuple[str, ...] = ()


class SlotGone(Message, frozen=True):
    """From a worker that left IDLE otherwise than by `Assign`. Unknown: nothing."""

    worker: Address


class KeyFree(Message, frozen=True):
    """From a task that left RUNNING with a concurrency key."""

    run_id: str
    key: str


class HoldRun(Message, frozen=True):
    """From a run: start nothing more of it (`held`), or go on."""

    run_id: str
    held: bool


class GateQueue(Message, frozen=True):
    """From a gate that may run: asks for one of the bounded places for gate commands."""

    gate: Address
    run_id: str


class GateDone(Message, frozen=True):
    """From a gate that left RUNNING, or stopped waiting for its place."""

    gate: Address


class GateAdmitted(Message, frozen=True):
    """To a gate: the place is yours. If you no longer want it, answer `GateDone`."""


# --- worker -----------------------------------------------------------------------------------


class Assign(Message, frozen=True):
    """From the dispatcher: take this task under `lease`."""

    task: Address
    lease: str


class ReturnAssignment(Message, frozen=True):
    """From a task that had left QUEUED before the assignment arrived."""

    lease: str


class LeaseEnded(Message, frozen=True):
    """From a task that left RUNNING: the slot is free again (`undead`: retire it instead)."""

    lease: str
    undead: bool = False


class UetReady(Message, frozen=True):
    """From the worker's uet worker: SPAWNING -> IDLE."""

    uet: Address


class UetEnded(Message, frozen=True):
    """From the worker's uet worker: it is TERMINATED. `crashed` false: it was asked to."""

    uet: Address
    crashed: bool
    reason: str | None = None


class HeartbeatSeen(Message, frozen=True):
    """From the uet worker to its worker. Changes nothing durable unless the worker was doubted."""

    uet: Address
    lease: str | None = None


class Drain(Message, frozen=True):
    """Finish what runs, take nothing new, then shut the slot down."""

    operator: str | None = None
    reason: str | None = None


class Replace(Message, frozen=True):
    """A new process for this slot once what runs has finished."""

    operator: str | None = None
    reason: str | None = None


class Shutdown(Message, frozen=True):
    """The slot is removed from its pool (its run is over)."""

    reason: str | None = None


# --- uet worker: from the shell -----------------------------------------------------------------


class ProcessStarted(Message, frozen=True):
    """The worker's process is up. `pid` 0 for an inline worker."""

    pid: int
    start_ticks: int  # field 22 of /proc/<pid>/stat: with boot_id it names a process for ever
    boot_id: str


class ProcessExited(Message, frozen=True):
    """The worker's process is gone, and all it ran. `crashed` unless asked to stop."""

    crashed: bool
    reason: str | None = None


class Heartbeat(Message, frozen=True):
    """The process is alive, and its own clock says so."""

    lease: str | None = None


class Launched(Message, frozen=True):
    """The launcher of `lease` waits on its pipe. Commit it, then `Release`."""

    lease: str
    pid: int
    pgid: int
    start_ticks: int


class WorkEnded(Message, frozen=True):
    """The work of `lease` is over and every process of it dead (or `outcome.alive`)."""

    lease: str
    outcome: Outcome


class Execute(Message, frozen=True):
    """From a task to its uet worker: do this under `lease`."""

    lease: str
    task: Address
    attempt: int
    command: tuple[str, ...] = ()
    call: str | None = None
    kwargs: dict[str, Any] = {}
    cwd: str = "."
    env: dict[str, str] = {}
    env_pass: tuple[str, ...] = ()
    base_dir: str = "."


class EndWork(Message, frozen=True):
    """From a task to its uet worker: stop the work of `lease` (timeout, cancel)."""

    lease: str
    reason: str


class StopUet(Message, frozen=True):
    """From a worker to its uet worker. `kill`: now; else after what runs."""

    kill: bool = False
    reason: str | None = None


# --- gate -------------------------------------------------------------------------------------


class GateNeeded(Message, frozen=True):
    """To a gate: `asker` wants its verdict (again: an ended gate answers at once)."""

    asker: Address
    ticket: str | None = None


class GateEnded(Message, frozen=True):
    """From the shell: a gate's command ended."""

    attempt: int
    outcome: Outcome
