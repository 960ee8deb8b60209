"""Every effect that a decision may ask for. The kernel carries them out, in order.

The order contract: `Send`, `Spawn`, timers and `Note` become durable together with the decision
that asked for them. Everything under "leaves the kernel" is carried out only after the epoch that
holds the decision is committed, and effects on one target in commit order.
An effect is imperative; its outcome comes back as a message, a fact in the past tense.

What survives a crash: the state row of a uet worker or a gate *is* the record of its unfinished
work (a spawn or a call is never offered again, a RUNNING gate tries again); a `Perform` is a row
of its own, offered again with the same key, marked as perhaps done.
"""

from __future__ import annotations

from typing import Any

import msgspec

# An address is "<kind>:<id>": "task:nightly-1a2b/build/compile", "uet_worker:worker:local.1@3".
Address = str


class Effect(msgspec.Struct, frozen=True, gc=False):
    """The common root, so that a decision can be typed."""


# --- stays inside the kernel -------------------------------------------------------------------


class Send(Effect, frozen=True):
    """Puts `message` into the inbox of `to`. `control` overtakes work already waiting there.

    `hand_on`: whoever asked this actor in this turn is now answered by `to`, in the turn that takes
    this message.
    """

    to: Address
    message: Any
    control: bool = False
    hand_on: bool = False


class Spawn(Effect, frozen=True):
    """Creates an actor of `kind` with its initial `value` (whose `id` names it). Already there: an
    assertion of the kernel, for an id is derived from its parent's state.

    `value` may be a seed of actors/spec.py instead, which has an `id` too: no machine knows the
    value of another, so the kernel makes it with `create(seed, now)` of the kind's module.
    """

    kind: str
    value: Any


class SetTimer(Effect, frozen=True):
    """Delivers `TimerFired(key)` to this actor at `due` (the kernel's seconds), once.

    Setting a key again replaces it: the older one is never delivered, even if already queued.
    A volatile timer is not stored: recovery tells its actor by `Recovered`, which sets it anew.
    """

    key: str
    due: float
    volatile: bool = False


class CancelTimer(Effect, frozen=True):
    """The timer `key` of this actor is never delivered, even if already queued. Absent: nothing."""

    key: str


class Note(Effect, frozen=True):
    """A row of the audit that is no transition: a refused result, a pause flag, an approval."""

    event_type: str
    severity: str = "info"
    reason: str | None = None
    metadata: Any = None
    operator: str | None = None


class Watch(Effect, frozen=True):
    """This actor is sent `Ended(target, state)` once `target` is terminal (at once if it is)."""

    target: Address


# --- leaves the kernel: only after the commit --------------------------------------------------


class Reply(Effect, frozen=True):
    """Answers the `ask` that this turn consumed. Without an asker: nothing."""

    value: Any


class StartProcess(Effect, frozen=True):
    """Starts the process of a uet worker. Outcome: `ProcessStarted` or `ProcessExited` to it."""

    uet: Address
    pool: str  # key of the pool's spec
    kind: str  # "process" or "inline"
    heartbeat_s: float
    env_pass: tuple[str, ...] = ()
    sandbox: str = "none"


class StopProcess(Effect, frozen=True):
    """Ends a uet worker's process (kill: now) and whatever it runs. Outcome: `ProcessExited`."""

    uet: Address
    kill: bool = False
    kill_timeout_s: float = 30.0


class Offer(Effect, frozen=True):
    """Offers one lease of work to a uet worker.

    process: its launcher is forked and waits; outcome `Launched`, then nothing runs before
    `Release`. inline: the callable is called at once, no `Launched`. Then `WorkEnded`.
    """

    uet: Address
    lease: str
    task_id: str
    attempt: int
    command: tuple[str, ...]
    call: str | None
    kwargs: dict[str, Any]
    cwd: str
    env: dict[str, str]
    env_pass: tuple[str, ...]
    base_dir: str
    stdin: str | None = None
    rate_limit: str | None = None


class Release(Effect, frozen=True):
    """Lets the committed launcher of `lease` exec its command."""

    uet: Address
    lease: str


class Withdraw(Effect, frozen=True):
    """Ends the work of `lease`: TERM, grace, KILL to every descendant. Outcome: `WorkEnded`, once
    every process of it is proven dead; `outcome.alive` where `kill_timeout_s` was not enough."""

    uet: Address
    lease: str
    reason: str
    kill_timeout_s: float = 30.0


class RunGate(Effect, frozen=True):
    """Runs a gate's command in the supervisor. Outcome: `GateEnded(attempt, outcome)` to `gate`.

    `fresh`: whatever is known, for a person asked to see it run.
    """

    gate: Address
    attempt: int
    command: tuple[str, ...]
    timeout_s: float
    cwd: str
    env: dict[str, str]
    env_pass: tuple[str, ...]
    base_dir: str
    fresh: bool = False


class KillGate(Effect, frozen=True):
    """Ends a running gate command. Outcome: `GateEnded` with the outcome's `reason` given here."""

    gate: Address
    reason: str
    kill_timeout_s: float = 30.0


class Perform(Effect, frozen=True):
    """A user's own effect: handed to the performer registered under `name`, at least once, with
    `key` constant over repeats. Outcome: `Performed(key, ...)` to this actor."""

    name: str
    key: str
    payload: Any = None
