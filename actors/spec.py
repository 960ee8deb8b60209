"""What a plan says, as frozen values: the immutable half of every entity.

A plan file is parsed into a `Plan`; an embedding program builds one itself. Nothing here decides.
Bounds and the rules between the fields are checked by `runtime.plan`, all faults at once.
The seeds at the end are what one entity is made from: its part of the plan and its place in it.
A seed is the entity's `spec`, written once; `create(seed, now)` of its module makes the value.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from actors.effects import Address


class _Spec(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    gc=False,
):
    """Unknown keys are an error; what equals its default is not stored."""


class Restart(_Spec, frozen=True):
    """How often a worker's process may be restarted, and how long apart (seconds)."""

    intensity: int = 5
    window_s: float = 60.0
    backoff_s: float = 1.0
    backoff_s_max: float = 60.0


class Pool(_Spec, frozen=True):
    """A pool of worker slots. `count` 0 means as many as there are cores: whoever submits the plan
    puts their number there, for the pure half cannot count them."""

    count: int = 0
    kind: str = "process"  # or "inline": Python callables in this process
    capabilities: tuple[str, ...] = ()
    affinity: tuple[str, ...] = ()  # only these workstreams; empty: any
    heartbeat_s: float = 60.0
    recovery_window_s: float = 300.0
    kill_timeout_s: float = 30.0
    restart: Restart = Restart()
    sandbox: str = "none"  # or "write-fence": what runs can write only below its base directory


# Longer than nearly every test suite that is run again and again.
GATE_TIMEOUT_S = 600.0


class Gate(_Spec, frozen=True):
    """A test gate: a command run by the supervisor, never by a worker; or a person's `approval`."""

    type: str = "UNIT"  # LINT, UNIT, INTEGRATION, SECURITY
    command: tuple[str, ...] = ()
    approval: bool = False
    timeout_s: float | None = None  # of a command GATE_TIMEOUT_S; an approval waits for ever
    depends_on: tuple[str, ...] = ()
    expected_exit_codes: tuple[int, ...] = (0,)
    cwd: str = "."
    env: dict[str, str] = {}


class Breaker(_Spec, frozen=True):
    """When a tool is taken out of use, and when it is tried again.

    `window` says what is counted: failures in a row ("consecutive": `failure_threshold`), or the
    share of failed and of slow calls among the last `size` calls ("count") or of the last `size`
    seconds ("time"), once at least `minimum_calls` are known.
    """

    window: str = "consecutive"
    failure_threshold: int = 5
    size: int = 100
    failure_rate: float = 0.5
    slow_call_s: float | None = None  # a call that took longer is slow; None: none is
    slow_rate: float = 1.0
    minimum_calls: int = 10
    success_threshold: int = 1  # probes that must succeed in a row before it closes
    cooldown_s: float = 60.0
    growth: float = 2.0  # each further opening without a close between waits so many times longer
    cooldown_s_max: float = 600.0
    jitter: float = 0.1  # a cooldown is stretched by up to this share of itself
    decay_s: float = 0.0  # closed for so long, it forgets one opening; 0: closing forgets them all


class Loop(_Spec, frozen=True):
    """When a task that tries again and again is going round in circles; it then ends for good."""

    max_attempts: int | None = None  # executions, whatever their outcome
    max_error_repeats: int | None = None  # failures in a row with the same error


class RateLimit(_Spec, frozen=True):
    """How a tool says that it wants to be left alone: `pattern`, a regular expression over the last
    lines of its output, whose group `seconds` says for how long."""

    pattern: str


class Tool(_Spec, frozen=True):
    """A named command with a breaker of its own."""

    command: tuple[str, ...] = ()  # {prompt}, {files}, {args}, {workdir} are filled in by a task
    prompt: str = "arg"  # or "stdin"
    health: tuple[str, ...] = ()  # passes while the tool works; asked by `breaker reset`
    expected_exit_codes: tuple[int, ...] = (0,)
    caller_fault_exit_codes: tuple[int, ...] = ()  # findings: the task's failure, not the tool's
    rate_limit: RateLimit | None = None
    concurrency: int | None = None  # executions at a time, over all runs; None: no bound
    breaker: Breaker = Breaker()
    loop: Loop | None = None


def breaker_id(name: str, command: tuple[str, ...]) -> str:
    """The breaker of a tool: another command under the same name is another tool."""
    return f"{name}-{hashlib.sha256(msgspec.json.encode(command)).hexdigest()[:10]}"


class Patch(_Spec, frozen=True):
    """The change that a task leaves in its clone: what it may touch, and what must hold."""

    scope: tuple[str, ...] = ()
    create: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    ttl_s: float | None = None
    policy: str | None = None


class Task(_Spec, frozen=True):
    """One task: `command` (argv, no shell), `tool` with `args` and `prompt`, or `call`
    ("package.module:function")."""

    command: tuple[str, ...] = ()
    tool: str | None = None
    args: tuple[str, ...] = ()
    prompt: str | None = None
    call: str | None = None  # without a colon: a callable known by name in this process only
    kwargs: dict[str, Any] = {}
    depends_on: tuple[str, ...] = ()  # "task" of this workstream, or "workstream/task"
    gates: tuple[str, ...] = ()
    validate: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    critical: bool = True
    priority: int = 0
    concurrency_key: str | None = None
    timeout_s: float | None = None  # execution
    queue_timeout_s: float | None = None
    heartbeat_timeout_s: float | None = None
    total_timeout_s: float | None = None
    max_retries: int = 0
    retry_exit_codes: tuple[int, ...] = ()  # empty: every unexpected one
    expected_exit_codes: tuple[int, ...] = (0,)
    backoff_s: float = 1.0
    backoff_s_max: float = 300.0
    cwd: str = "."
    env: dict[str, str] = {}


class Workstream(_Spec, frozen=True):
    """A line of work: tasks, what it waits for, the gates of its own validation."""

    depends_on: tuple[str, ...] = ()
    critical: bool = True
    skip: bool = False
    gates: tuple[str, ...] = ()
    tasks: dict[str, Task] = {}


class Budget(_Spec, frozen=True):
    """What a run may use up before it is paused for a person: executions, and their seconds."""

    attempts: int | None = None
    seconds: float | None = None


class Run(_Spec, frozen=True):
    """The [run] table. `base_dir` is the plan's folder: relative `cwd` is taken from there."""

    name: str
    phase: str | None = None
    on_failure: str = "finish"  # or "stop"
    on_blocked: str = "end"  # or "wait"
    env_pass: tuple[str, ...] = ()
    priority: int = 0
    budget: Budget | None = None
    base_dir: str = "."


class Plan(_Spec, frozen=True):
    """A whole plan. `workers` empty: the owner's default pool is used."""

    run: Run
    workers: dict[str, Pool] = {}
    tools: dict[str, Tool] = {}
    gates: dict[str, Gate] = {}
    workstreams: dict[str, Workstream] = {}


# --- seeds ------------------------------------------------------------------------------------


class WorkstreamSeed(_Spec, frozen=True):
    """A workstream and its place in the run. The tasks' own specs stay in the run's plan."""

    run_id: str
    name: str
    critical: bool = True
    skip: bool = False
    gates: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()  # names, in the order of the plan
    timed: tuple[str, ...] = ()  # those with a timeout that stands still while paused
    bridges: tuple[str, ...] = ()  # those that tasks of other workstreams wait for
    sources: tuple[Address, ...] = ()  # workstreams that it waits for
    dependents: tuple[Address, ...] = ()  # workstreams that wait for it

    @property
    def id(self) -> str:
        return f"{self.run_id}/{self.name}"


class TaskSeed(_Spec, frozen=True):
    """A task and its place in the run. A retry of a task has the same seed."""

    run_id: str
    workstream: str
    name: str
    task: Task
    sources: tuple[Address, ...] = ()  # tasks that it waits for
    gates: tuple[Address, ...] = ()  # gates that must be PASSED before it may start
    dependents: tuple[Address, ...] = ()  # tasks that wait for it
    env_pass: tuple[str, ...] = ()
    base_dir: str = "."
    run_priority: int = 0
    own_slots: bool = False  # the plan has pools: only slots of this run may take it
    budgeted: bool = False  # its run is to be told of the end of each execution
    tool: Tool | None = None
    breaker: str | None = None  # the id of its tool's breaker

    @property
    def id(self) -> str:
        return f"{self.run_id}/{self.workstream}/{self.name}"


class GateSeed(_Spec, frozen=True):
    """One entity of a gate. `askers` are told its verdict, with `ticket` where it judges one piece
    of work (None: it stands before the tasks of the run)."""

    run_id: str
    name: str
    n: int
    gate: Gate
    askers: tuple[Address, ...] = ()  # tasks, a workstream, and gates that depend on it
    sources: tuple[Address, ...] = ()  # gates that it depends on
    ticket: str | None = None
    env_pass: tuple[str, ...] = ()
    base_dir: str = "."
    breaker: str | None = None  # the id of its own breaker; None: a person judges, or it has none

    @property
    def id(self) -> str:
        return f"{self.run_id}/gate:{self.name}~{self.n}"


class WorkerSeed(_Spec, frozen=True):
    """A slot of a pool. `run_id` None: of the owner's pool."""

    id: str
    run_id: str | None
    pool: str
    slot: Pool
    env_pass: tuple[str, ...] = ()


class UetSeed(_Spec, frozen=True):
    """One incarnation of a slot's process."""

    worker: WorkerSeed
    n: int

    @property
    def id(self) -> str:
        return f"{self.worker.id}@{self.n}"
