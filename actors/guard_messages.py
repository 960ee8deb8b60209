"""Every message to and from a circuit breaker, and what the outcome of a call means to it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from actors.effects import Address
from actors.messages import Message
from actors.spec import Breaker as BreakerSpec

# A caller who does not say how long its call may take: longer than nearly every tool call, and
# short enough that a lost probe does not keep a tool shut for the night.
PROBE_LEASE_S = 600.0


class CallOutcome(StrEnum):
    """How a guarded call ended, as its caller saw it."""

    OK = "ok"
    TOOL_FAILURE = "tool_failure"
    SLOW = "slow"  # it succeeded, but took longer than `slow_call_s`
    CALLER_FAULT = "caller_fault"  # the request was at fault: findings of a linter, a bad argument
    UNREACHABLE = "unreachable"  # the tool was never reached: our own machine's trouble
    CANCELLED = "cancelled"
    LAPSED = "lapsed"  # nobody knows how it ended
    STALE = "stale"  # its result came too late to be believed


class Weight(StrEnum):
    """What an outcome counts as."""

    SUCCESS = "success"
    SLOW = "slow"  # a failure where the spec counts slow calls, else a success
    FAILURE = "failure"
    NOTHING = "nothing"  # neither counts nor resets; of a probe: inconclusive


class Bearing(msgspec.Struct, frozen=True):
    """The bearing of one outcome: on a CLOSED breaker, on a probe, and on the caller's attempts."""

    closed: Weight
    probe: Weight
    burns_attempt: bool


BEARINGS: dict[CallOutcome, Bearing] = {
    CallOutcome.OK: Bearing(Weight.SUCCESS, Weight.SUCCESS, burns_attempt=True),
    CallOutcome.TOOL_FAILURE: Bearing(Weight.FAILURE, Weight.FAILURE, burns_attempt=True),
    CallOutcome.SLOW: Bearing(Weight.SLOW, Weight.SLOW, burns_attempt=True),
    # To a probe an answer is an answer: a linter that has findings in all it is shown works well,
    # and were that no verdict, its breaker would reopen for ever.
    CallOutcome.CALLER_FAULT: Bearing(Weight.NOTHING, Weight.SUCCESS, burns_attempt=True),
    CallOutcome.UNREACHABLE: Bearing(Weight.NOTHING, Weight.NOTHING, burns_attempt=False),
    CallOutcome.CANCELLED: Bearing(Weight.NOTHING, Weight.NOTHING, burns_attempt=False),
    CallOutcome.LAPSED: Bearing(Weight.NOTHING, Weight.FAILURE, burns_attempt=False),
    CallOutcome.STALE: Bearing(Weight.NOTHING, Weight.NOTHING, burns_attempt=False),
}


# --- calls ------------------------------------------------------------------------------------


class Admit(Message, frozen=True):
    """May I call the tool now? The answer is a `Ticket` or a `Refusal`.

    It is sent to `owner`; where there is none (a caller outside the kernel) it is the reply.
    `lease_s` is how long a probe may take before it counts as lost. `call` is the caller's own name
    for this call, and comes back with the answer.
    """

    owner: Address | None = None
    lease_s: float = PROBE_LEASE_S
    call: str | None = None


class Ticket(Message, frozen=True):
    """The call may be made. Give the ticket back with `Settle`, whatever happens.

    `serial` is 0 but for a probe, whose ticket is a lease: it ends with its owner or at `deadline`.
    `would_refuse`: the breaker is shadowed and lets pass what it would otherwise have refused.
    """

    breaker: str  # the breaker's id
    epoch: int
    owner: Address | None
    admitted_at: float
    deadline: float
    serial: int = 0
    would_refuse: bool = False
    call: str | None = None


class Refusal(Message, frozen=True):
    """The call may not be made. `retry_after_s` is at least 1; None: a person has to act first."""

    breaker: str
    state: str
    mode: str
    retry_after_s: int | None
    reason: str | None = None
    call: str | None = None


class Settle(Message, frozen=True):
    """The call of `ticket` ended. `by` must be the ticket's owner.

    `retry_after_s`: the tool itself said how long to leave it alone (a rate limit).
    `error`: one line that says what went wrong.
    """

    ticket: Ticket
    outcome: CallOutcome
    by: Address | None = None
    duration_s: float = 0.0
    retry_after_s: float | None = None
    error: str | None = None


class Settled(Message, frozen=True):
    """The reply to `Settle`: what the result was taken for, and whether it changed the counts."""

    breaker: str
    outcome: CallOutcome
    counted: bool
    burns_attempt: bool
    state: str


class Blame(Message, frozen=True):
    """One failure against the tool beside its calls, each of which was settled: `by` has gone round
    in circles with it."""

    by: Address
    reason: str


class Revise(Message, frozen=True):
    """A plan was submitted whose breaker or health command for this tool is another one. It takes
    effect from here on: the newest plan counts."""

    spec: BreakerSpec
    health: tuple[str, ...] = ()
    base_dir: str = "."
    reason: str | None = None


class WouldAdmit(Message, frozen=True):
    """What would `Admit` say? The reply is `Clear` or a `Refusal`; nothing changes."""


class Clear(Message, frozen=True):
    """The reply to `WouldAdmit`: a call made now would be admitted."""

    breaker: str
    state: str
    mode: str


# --- the operator's hand -------------------------------------------------------------------------


class BreakerVerb(Message, frozen=True):
    """The common root: whoever bends a rule says who they are, and why."""

    operator: str
    reason: str


class ForceOpen(BreakerVerb, frozen=True):
    """Open for one cooldown, then probe as usual."""


class ForceClose(BreakerVerb, frozen=True):
    """Close, whatever is known; ends a hold, a shadow or a disabled breaker."""


class Reset(BreakerVerb, frozen=True):
    """Close and forget, because the tool's health command `passed`. `evidence`: what it printed, or
    why there is none."""

    passed: bool
    evidence: str = ""


class Hold(BreakerVerb, frozen=True):
    """Open until a person says otherwise."""


class Disable(BreakerVerb, frozen=True):
    """Let everything pass and count nothing, until a person says otherwise."""


class Shadow(BreakerVerb, frozen=True):
    """Let everything pass, but count and move as usual, to see what would have been refused."""
