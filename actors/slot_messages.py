"""The root of all messages, and those to and from the dispatcher, worker slots and processes.

Read and imported as a part of `actors.messages`, which has the rest.
"""

from __future__ import annotations

from typing import Any

import msgspec

from actors.effects import Address


class Message(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, gc=False):
    """The common root."""


# --- outcomes of work, from the shell ---------------------------------------------------------


class Check(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How the verdict of a gate's command came about.

    `judged_by` is "exit_code", or the test runner whose closing lines were understood; `tests` how
    many it executed (None: not told). `key` digests the tree, the command and the environment that
    the verdict holds for; None: it cannot be reused, and `unkeyed` says why. `reused_from`: nothing
    was run, for this gate entity passed with the same key.
    """

    judged_by: str | None = None
    tests: int | None = None
    key: str | None = None
    unkeyed: str | None = None
    reused_from: str | None = None


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
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
    # The same for the same error: a digest of its last lines without numbers, times and addresses.
    signature: str | None = None
    retry_after_s: float | None = None  # the tool said so, by the pattern of its rate limit
    confinement: str | None = None  # what really stood around the work: "none", "write-fence"
    check: Check | None = None  # of a gate's command
    by_hand: bool = False  # lost because a person had its worker's process ended

    def why(self) -> str:
        """How it ended, in a few words."""
        if self.error is not None:
            return self.error
        if self.exit_code is not None:
            return f"exit code {self.exit_code}"
        if self.signal is not None:
            return f"signal {self.signal}"
        return self.reason or "no result"


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
    process_only: bool = False  # a command
    run_priority: int = 0  # before `priority`
    since: float = 0.0  # when it entered QUEUED: who waited longer goes first among equals
    own_slots: bool = False  # its plan has pools: it takes a slot of its own run or none
    tool: str | None = None  # the id of its tool's breaker
    tool_limit: int | None = None  # executions of that tool at a time, over all runs


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


class KeyTaken(Message, frozen=True):
    """From a RUNNING task with a concurrency key, to a new dispatcher."""

    task: Address
    run_id: str
    key: str


class KeyFree(Message, frozen=True):
    """From a task that left RUNNING with a concurrency key."""

    run_id: str
    key: str


class ToolTaken(Message, frozen=True):
    """From a task that holds a slot for its tool, to a new dispatcher."""

    task: Address
    tool: str


class ToolFree(Message, frozen=True):
    """From a task whose execution of a tool is over. Unknown: nothing."""

    task: Address
    tool: str


class ToolAllowance(Message, frozen=True):
    """From a tool's breaker: so many executions that begin from now on, in `epoch`, may be under
    way at a time. 0: none; None: any number."""

    tool: str
    allowed: int | None
    epoch: int = 0


class HoldRun(Message, frozen=True):
    """From a run, or from one `workstream` of it: start nothing more of it (`held`), or go on."""

    run_id: str
    held: bool
    workstream: str | None = None


class GateQueue(Message, frozen=True):
    """From a gate that may run: asks for one of the bounded places for gate commands. `running`:
    it has one already, and a new dispatcher must know. `tool`: the id of the gate's breaker."""

    gate: Address
    run_id: str
    running: bool = False
    tool: str | None = None


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


class HeartbeatLimit(Message, frozen=True):
    """From a task: during this lease, doubt the worker only after `timeout_s` of silence."""

    lease: str
    timeout_s: float


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


# The `reason` of ProcessExited when the owner's own end took the process along.
OWNER_RESTARTED = "owner restarted"


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
    stdin: str | None = None  # what the work reads; None: nothing, and its end at once
    rate_limit: str | None = (
        None  # a regular expression whose group `seconds` goes into the outcome
    )


class EndWork(Message, frozen=True):
    """From a task to its uet worker: stop the work of `lease` (timeout, cancel)."""

    lease: str
    reason: str


class StopUet(Message, frozen=True):
    """From a worker to its uet worker. `kill`: now; else after what runs. `by_hand`: a person's
    will, for which what runs is not to blame."""

    kill: bool = False
    reason: str | None = None
    by_hand: bool = False
