"""Every message that an inbox of our own actors can hold. Requests are imperative, facts are past.

Messages are frozen and encode to JSON by their tag (the class name), so that one which is still
undelivered when its epoch commits is a row of the store.
Those of the dispatcher, the worker slots and their processes are written in `slot_messages`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from actors.effects import Address
from actors.slot_messages import *  # noqa: F403 (one vocabulary, in two files for their length)
from actors.slot_messages import Message, Outcome

# --- everyone ------------------------------------------------------------------------------


class TimerFired(Message, frozen=True):
    """A timer of this actor is due: once, however long ago it was. `late_s` is by how much it comes
    late: the loop was busy, or nobody owned the directory."""

    key: str
    late_s: float = 0.0


class Recovered(Message, frozen=True):
    """This actor was read back from the store by a new owner, whose leases begin with `epoch`.

    Volatile timers are gone: set them anew. The first message that a recovered actor takes.
    """

    epoch: int


class Announce(Message, frozen=True):
    """The dispatcher is new and knows nothing: tell it again what it must know of you. `Recovered`
    says so too."""


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
    """End now. `through_failure` when a failure elsewhere is the cause, not a person.

    From a workstream that ends to its tasks: `closing`, for nothing of it can be retried any more;
    `as_done` where it is skipped, and its tasks count as done.
    """

    reason: str | None = None
    operator: str | None = None
    through_failure: bool = False
    closing: bool = False
    as_done: bool = False


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


class HandedOn(Message, frozen=True, kw_only=True):
    """An order that reaches its entity through the one above it. `if_version`: the version of the
    entity that it was decided on; `stale` is the kernel's word, in the entity's own turn, that it
    has moved since: the order is then refused for that."""

    if_version: int | None = None
    stale: str | None = None

    @property
    def entity(self) -> str:
        """The address of the one that it is for."""
        raise NotImplementedError


class RetryTask(HandedOn, frozen=True):
    """To the workstream of a terminal task, which hands it on to the task: makes `<id>~2`, which
    stands for it from now on."""

    task_id: str
    operator: str | None = None
    reason: str | None = None
    clear_retry_count: bool = False

    @property
    def entity(self) -> str:
        return f"task:{self.task_id}"


class RerunGate(HandedOn, frozen=True):
    """To the run of an ended gate, which adds the number `n` of the new entity and hands it on."""

    gate_id: str
    operator: str | None = None
    reason: str | None = None
    n: int = 0

    @property
    def entity(self) -> str:
        return f"test_gate:{self.gate_id}"


class Approve(Message, frozen=True):
    """To a gate that waits for a person: it passes."""

    operator: str
    reason: str | None = None


class Reject(Message, frozen=True):
    """To a gate that waits for a person: it fails."""

    operator: str
    reason: str | None = None


class Override(Message, frozen=True):
    """Go to the state `target` whatever guards say, by the shortest path of the chart.

    Refused where the path leaves a terminal state, or enters one that needs evidence that only the
    work can give. `evidence`: what the operator showed for it, as it was recorded."""

    target: str
    operator: str
    reason: str
    evidence: str | None = None


class Refused(Message, frozen=True):
    """A reply: the operator's command was not carried out (exit 5), and why."""

    reason: str


class Accepted(Message, frozen=True):
    """A reply: the operator's command is durable. `text` says what it began or found already so."""

    text: str = ""
    entity_id: str | None = None


# --- run --------------------------------------------------------------------------------------


class Begin(Message, frozen=True):
    """Run, workstream or task: what stood before you is in place, start when you can."""


class Expand(Message, frozen=True):
    """A run to itself: create the next slice of tasks, from `index` on. Bounds a turn's size."""

    index: int


class WorkstreamMoved(Message, frozen=True):
    """To the run, at every edge of a workstream, and at its end with what it leaves behind."""

    workstream: Address
    source: str
    target: str
    critical: bool = True
    through_failure: bool = False
    noncritical_failures: int = 0
    reason: str | None = None


class WorkSpent(Message, frozen=True):
    """To a run with a budget, when an execution ends: once for each lease, in the turn that gives
    the lease up. `attempt` false: infrastructure or a rate limit ended it, it burned no attempt.
    `seconds` is 0 where it was lost with its owner: when it ended nobody knows."""

    task: Address
    lease: str
    attempt: bool
    seconds: float


class WorkstreamStuck(Message, frozen=True):
    """To the run: nothing but a person moves a READY, RUNNING or VALIDATING workstream (`stuck`),
    for all that is left of it is BLOCKED or waits for gates that found nothing; or no longer."""

    workstream: Address
    stuck: bool


class NeedGates(Message, frozen=True):
    """To the run: make new entities of these gates (and of what they depend on) for `asker`, whose
    work they judge. `GatesMade` answers; verdicts follow as `GateVerdict` with the same `ticket`.
    """

    asker: Address
    names: tuple[str, ...]
    ticket: str


class GatesMade(Message, frozen=True):
    """From the run: the entities that were made for `ticket`, to be cancelled if it lapses."""

    ticket: str
    gates: tuple[Address, ...]


class GateMoved(Message, frozen=True):
    """To the run, when a gate ends, and when one was not made to run again ("refused")."""

    gate: Address
    target: str


# --- workstream -------------------------------------------------------------------------------


class Standing(StrEnum):
    """How something that others wait for stands to them. Who waits is told of every change with
    what it `was`, so that counting is enough and nobody keeps a list."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"  # or cancelled through a failure
    WITHDRAWN = "withdrawn"  # cancelled by a person: not done, but no failure
    STALLED = "stalled"  # BLOCKED itself, or no verdict on the work: nothing ends for it alone


class DependencyEnded(Message, frozen=True):
    """To a dependent workstream or task. `outcome` is the terminal state, `standing` what it means
    to the dependent. `reason` names the root cause where it is not DONE."""

    source: Address
    outcome: str
    standing: Standing
    was: Standing = Standing.WAITING
    reason: str | None = None


class DependencyBlocked(Message, frozen=True):
    """To a dependent: `source` entered BLOCKED (STALLED, for its own end is still open) or left it.
    From a workstream that waits for such a one also to its tasks that others wait for."""

    source: Address
    standing: Standing
    was: Standing
    reason: str | None = None


class DependencyReplaced(Message, frozen=True):
    """To a dependent: `old` was retried, `new` stands for it and is waited for."""

    old: Address
    new: Address
    was: Standing


class TaskQueued(Message, frozen=True):
    """To the workstream, when a task goes from PENDING to QUEUED."""

    task: Address


class TaskBlocked(Message, frozen=True):
    """To the workstream, when a task enters (blocked) or leaves BLOCKED other than by its end."""

    task: Address
    blocked: bool


class TaskStalled(Message, frozen=True):
    """To the workstream: nothing but a person moves a VALIDATING task (`stalled`), for its gates
    found nothing out, or something does again. At its end it has told that it does."""

    task: Address
    stalled: bool


class TaskEnded(Message, frozen=True):
    """To the workstream, at a task's terminal state. `was_blocked`: it ended out of BLOCKED."""

    task: Address
    outcome: str
    critical: bool = True
    through_failure: bool = False
    was_blocked: bool = False
    reason: str | None = None


class TaskRetried(Message, frozen=True):
    """To the workstream: its `RetryTask` was carried out (`new` stands for `old`, which counted as
    `outcome`), or was not (`new` None)."""

    old: Address
    new: Address | None
    outcome: str | None = None
    noncritical_failure: bool = False


class EndBlocked(Message, frozen=True):
    """From the run to its workstreams, and from them to their tasks: nothing but an operator could
    move what is blocked, and the plan says `on_blocked = "end"`."""


class ClockHeld(Message, frozen=True):
    """From a run to its workstreams, and from them to their tasks: queue and total timeouts stand
    still from now on (`held`), or go on."""

    held: bool


class GateVerdict(Message, frozen=True):
    """To whoever needs a gate. `name` is the gate's name; `outcome` "passed", "failed",
    "cancelled", "infrastructure" (FAILED, but no verdict on the work), "blocked", or "pending"
    (no longer blocked, or run again: `replaces` is the entity in whose place this one is)."""

    gate: Address
    name: str
    outcome: str
    standing: Standing
    was: Standing = Standing.WAITING
    ticket: str | None = None
    reason: str | None = None
    replaces: Address | None = None


# --- task -------------------------------------------------------------------------------------


class Assigned(Message, frozen=True):
    """From a worker: the slot and its lease are yours; begin, or return them."""

    worker: Address
    uet: Address
    lease: str


class AssignmentRefused(Message, frozen=True):
    """From a worker that can no longer take the task: if it is still QUEUED, it queues again."""

    lease: str


class WorkFinished(Message, frozen=True):
    """From the uet worker: the work of `lease` ended, all dead (or `outcome.alive`)."""

    lease: str
    outcome: Outcome


# --- gate -------------------------------------------------------------------------------------


class GateNeeded(Message, frozen=True):
    """To a gate: `asker` wants its verdict (again: an ended gate answers at once)."""

    asker: Address
    ticket: str | None = None


class GateEnded(Message, frozen=True):
    """From the shell: a gate's command ended."""

    attempt: int
    outcome: Outcome


# --- oneself ------------------------------------------------------------------------------------


class Reach(Message, frozen=True):
    """To oneself: go on telling `order` to all those concerned, from `index` on. Bounds a turn."""

    order: (
        Begin
        | Cancel
        | EndBlocked
        | ClockHeld
        | DependencyEnded
        | DependencyBlocked
        | DependencyReplaced
        | GateVerdict
    )
    index: int
