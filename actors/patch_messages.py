"""Every message to and from a patch of the ledger, and the effects that its work on git is.

A patch asks for that work by `Perform`, under one of the names of `Work`, with a `WorkOrder` as
payload and a key that names patch, attempt and work. The performer answers with one of the facts
below as its result (itself, or as the JSON object it encodes to). It looks up each time whether the
work is already done, not only where it is told `perhaps_done`: after an error the work is asked for
again under the same key, and what had raised it may have moved the ref before. A compensation is
looked up by the commit that it undoes, for a later attempt at it has another key. An error, or a
result that is none of the facts, is infrastructure's trouble and never the patch's fault.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from actors.effects import Address
from actors.messages import Message
from actors.spec import Patch as PatchSpec


class Verdict(StrEnum):
    """What the judges of a patch say."""

    ACCEPT = "ACCEPT"
    HOLD = "HOLD"  # suspicious: a person must approve its reasons, by name
    REJECT = "REJECT"


class Work(StrEnum):
    """The work on git that a patch may be waiting for; each is the name of a performer."""

    JUDGE = "patch_judge"  # validation by effect. Answers `Judged`
    APPLY = "patch_apply"  # a commit on the integration ref. `Applied`, `Conflicted` or `Judged`
    LAND = "patch_land"  # compare-and-swap of the target. `Landed` or `NotLanded`
    RESTORE = "patch_restore"  # the integration ref goes back. `Restored`
    COMPENSATE = "patch_compensate"  # the plan of a rollback. `Compensated` or `NotCompensated`


COMPENSATIONS = ("git_revert", "manual_fix", "skip")


class Compensation(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a landed patch is undone. Its performer executes it resumably."""

    compensation_type: str  # one of COMPENSATIONS
    required_gates: tuple[str, ...] = ()
    notify_commands: tuple[tuple[str, ...], ...] = ()
    verify_clean_state: bool = True


class Checks(msgspec.Struct, frozen=True, omit_defaults=True):
    """What each stage of validation said: "passed", "held", "failed"; None: not reached."""

    format: str | None = None
    scope: str | None = None
    constraints: str | None = None
    tests: str | None = None


class PatchSeed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a patch is made from. `content` names what it holds: a tree, or a filed text's digest.

    `told` are the addresses that hear of each of its moves: its task, and whoever orders the queue.
    """

    id: str
    run_id: str | None
    task_id: str | None
    base_commit: str
    content: str
    patch: PatchSpec = PatchSpec()
    told: tuple[Address, ...] = ()


class WorkOrder(msgspec.Struct, frozen=True, omit_defaults=True):
    """The payload of a patch's `Perform`: all that its performer needs to know."""

    patch: str
    attempt: int
    base_commit: str  # what the content was made against
    content: str
    onto: str | None = None  # what it is to be applied to
    commit_sha: str | None = None  # where it stands on its integration ref
    scope: tuple[str, ...] = ()
    create: tuple[str, ...] = ()
    policy: str | None = None
    compensation: Compensation | None = None


# --- facts: what the work on git came to ----------------------------------------------------------


class Judged(Message, frozen=True):
    """The verdict, with the reason codes of whatever is not accepted. REJECT has at least one."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    checks: Checks = Checks()


class Applied(Message, frozen=True):
    """It stands on its integration ref as `commit_sha`, on top of `base_commit`."""

    base_commit: str
    commit_sha: str


class Conflicted(Message, frozen=True):
    """It does not merge with the base it was to be applied to."""

    files: tuple[str, ...] = ()


class Landed(Message, frozen=True):
    """The target branch was moved to it, or had been already."""

    commit_sha: str


class NotLanded(Message, frozen=True):
    """The target branch is not what was gated against, and was not moved."""

    reason: str


class Restored(Message, frozen=True):
    """The integration ref is back where it was before."""


class Compensated(Message, frozen=True):
    """The plan was carried out, its gates passed."""

    commit_sha: str | None = None


class NotCompensated(Message, frozen=True):
    """The plan could not be carried out, or its gates failed: the patch stays committed."""

    reason: str


Fact = Judged | Applied | Conflicted | Landed | NotLanded | Restored | Compensated | NotCompensated


# --- from whoever orders the queue ----------------------------------------------------------------


class Apply(Message, frozen=True):
    """It is the patch's turn: everything ahead is settled, `base_commit` is what it lands on."""

    base_commit: str
    asker: Address | None = None


class ApplyRefused(Message, frozen=True):
    """To the asker: not now, and why."""

    patch: Address
    reason: str


class BaseMoved(Message, frozen=True):
    """The target is `base_commit` now: what was applied to another base is judged again."""

    base_commit: str


class Supersede(Message, frozen=True):
    """A newer patch of the same task, `by`, takes its place."""

    by: str


class PatchMoved(Message, frozen=True):
    """To those who are told: the patch went from `source` to `target`, in one decision."""

    patch: Address
    source: str
    target: str
    trigger: str
    reason: str | None = None
    commit_sha: str | None = None


# --- the operator's hand --------------------------------------------------------------------------


class PatchVerb(Message, frozen=True):
    """The common root: whoever bends a rule says who they are, and why."""

    operator: str
    reason: str


class ApprovePatch(PatchVerb, frozen=True):
    """Approves the named reasons of a HOLD, also for later attempts."""

    names: tuple[str, ...]


class RejectPatch(PatchVerb, frozen=True):
    """Into quarantine, by a person's verdict."""


class Revalidate(PatchVerb, frozen=True):
    """Judge it again: out of quarantine, or after infrastructure's trouble."""


class DropPatch(PatchVerb, frozen=True):
    """It will not land. Its content is kept."""


class Rollback(PatchVerb, frozen=True):
    """Undo it: the integration ref goes back, or, once it has landed, `plan` is carried out."""

    plan: Compensation | None = None
