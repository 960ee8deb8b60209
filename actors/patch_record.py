"""A patch as the ledger stores it: its chart, its value, and the turn that moves it.

`actors.patch` decides; it has the diagram and the invariants.
"""

from __future__ import annotations

import zlib
from enum import StrEnum
from typing import Any

import msgspec

from actors import patch_messages as pm
from actors.effects import Note, Perform, Reply
from actors.machine import Chart, Decision, Edge, Turn
from actors.messages import Accepted, Cancel, Refused
from actors.patch_messages import Checks, PatchSeed, Work

# A performer that failed so often will not be mended by waiting: a person has to look.
TROUBLES_MAX = 10
TROUBLE_BACKOFF_S = 1.0
TROUBLE_BACKOFF_S_MAX = 300.0


class State(StrEnum):
    PENDING = "pending"
    VALIDATING = "validating"
    STAGED = "staged"
    BLOCKED = "blocked"
    APPLIED = "applied"
    VERIFIED = "verified"
    COMMITTED = "committed"
    QUARANTINED = "quarantined"
    ROLLED_BACK = "rolled_back"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    DROPPED = "dropped"


EDGES: tuple[Edge, ...] = (
    Edge(State.PENDING, State.VALIDATING, "validation_started", "info"),
    Edge(State.PENDING, State.EXPIRED, "patch_expired", "warning"),
    Edge(State.PENDING, State.SUPERSEDED, "patch_superseded", "info"),
    Edge(State.PENDING, State.DROPPED, "patch_dropped", "warning"),
    Edge(State.VALIDATING, State.STAGED, "validation_passed", "info"),
    Edge(State.VALIDATING, State.QUARANTINED, "patch_quarantined", "error"),
    Edge(State.VALIDATING, State.PENDING, "validation_interrupted", "warning"),
    Edge(State.STAGED, State.APPLIED, "patch_applied", "info"),
    Edge(State.STAGED, State.BLOCKED, "patch_blocked", "warning"),
    Edge(State.STAGED, State.QUARANTINED, "patch_quarantined", "error"),
    Edge(State.STAGED, State.EXPIRED, "patch_expired", "warning"),
    Edge(State.STAGED, State.SUPERSEDED, "patch_superseded", "info"),
    Edge(State.STAGED, State.DROPPED, "patch_dropped", "warning"),
    Edge(State.BLOCKED, State.STAGED, "patch_unblocked", "info"),
    Edge(State.BLOCKED, State.QUARANTINED, "patch_quarantined", "error"),
    Edge(State.BLOCKED, State.EXPIRED, "patch_expired", "warning"),
    Edge(State.BLOCKED, State.SUPERSEDED, "patch_superseded", "info"),
    Edge(State.BLOCKED, State.DROPPED, "patch_dropped", "warning"),
    Edge(State.APPLIED, State.VERIFIED, "patch_verified", "info"),
    Edge(State.APPLIED, State.STAGED, "patch_restaged", "warning"),
    Edge(State.APPLIED, State.QUARANTINED, "patch_quarantined", "error"),
    Edge(State.APPLIED, State.ROLLED_BACK, "patch_rolled_back", "error"),
    Edge(State.VERIFIED, State.COMMITTED, "patch_committed", "info"),
    Edge(State.VERIFIED, State.STAGED, "patch_restaged", "warning"),
    Edge(State.VERIFIED, State.ROLLED_BACK, "patch_rolled_back", "error"),
    Edge(State.COMMITTED, State.ROLLED_BACK, "patch_rolled_back", "critical"),
    Edge(State.QUARANTINED, State.VALIDATING, "validation_started", "warning"),
    Edge(State.QUARANTINED, State.EXPIRED, "patch_expired", "warning"),
    Edge(State.QUARANTINED, State.DROPPED, "patch_dropped", "warning"),
)

TERMINAL = (State.COMMITTED, State.ROLLED_BACK, State.EXPIRED, State.SUPERSEDED, State.DROPPED)

CHART = Chart(
    "patch_ledger",
    State,
    State.PENDING,
    TERMINAL,
    EDGES,
    sanctioned=((State.COMMITTED, State.ROLLED_BACK),),
)


class Ending(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An end that was asked for: where to, by which trigger, and whose word it was."""

    target: State
    trigger: str
    reason: str | None = None
    operator: str | None = None
    spares_quarantined: bool = False


class Patch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A patch as it is stored. Its content lies in the ledger's own repository."""

    id: str
    run_id: str | None
    state: State
    created_at: float
    started_at: float | None = None
    completed_at: float | None = None
    reason: str | None = None
    spec: PatchSeed
    task_id: str | None
    commit_sha: str | None = None
    quarantine_reason: str | None = None
    rollback_reason: str | None = None
    attempt: int = 1
    onto: str | None = None  # the base it is, or is to be, applied to
    work: Work | None = None  # what it waits for
    wanted: Ending | None = None  # an end that waits for a ref to stand still
    undoing: Ending | None = None  # the rollback on its way
    plan: pm.Compensation | None = None  # and how, once it has landed
    checks: Checks = Checks()
    holds: tuple[str, ...] = ()  # what keeps it BLOCKED
    approved: tuple[str, ...] = ()  # reasons of a HOLD that a person approved
    gates: tuple[str, ...] = ()  # the gate entities of this attempt
    passed: tuple[str, ...] = ()  # names of gates that passed in this attempt
    troubles: int = 0  # of infrastructure, in a row
    paused: bool = False

    @property
    def moving(self) -> Work | None:
        """The work on its way that may be moving a ref."""
        return self.work if self.work in {Work.APPLY, Work.LAND, Work.RESTORE} else None


def create(seed: PatchSeed, now: float) -> Patch:
    """The patch of `seed`, which `Begin` sets in motion. ValueError where its gates have no run."""
    if seed.patch.gates and seed.run_id is None:
        raise ValueError(f"patch {seed.id} has gates, and no run that could make them")
    return Patch(
        id=seed.id,
        run_id=seed.run_id,
        state=State.PENDING,
        created_at=now,
        spec=seed,
        task_id=seed.task_id,
    )


class PatchTurn(Turn[Patch]):
    """Puts the metadata of the ledger on every edge, and tells whoever is to be told."""

    def move(
        self,
        target: State,
        trigger: str,
        *,
        reason: str | None = None,
        operator: str | None = None,
        **changes: Any,
    ) -> None:
        self.change(**changes)
        self.take(target, trigger, _known(self.value), reason=reason, operator=operator)

    def perform(self, work: Work) -> None:
        self.change(work=work)
        patch, plan = self.value, self.value.spec.patch
        order = pm.WorkOrder(
            patch.id,
            patch.attempt,
            patch.spec.base_commit,
            patch.spec.content,
            patch.onto,
            patch.commit_sha,
            plan.scope,
            plan.create,
            plan.policy,
            patch.plan,
        )
        self.effects.append(Perform(work.value, key_of(patch, work), order))

    def block(self, holds: tuple[str, ...], reason: str) -> None:
        """Out of the queue, until all of `holds` are released."""
        self.move(State.BLOCKED, "patch_blocked", reason=reason, holds=holds)

    def release(
        self, names: tuple[str, ...], reason: str | None, operator: str | None = None
    ) -> None:
        """Takes `names` off what holds it; with the last of them it is back in the queue."""
        holds = tuple(name for name in self.value.holds if name not in names)
        self.change(holds=holds)
        if not holds:
            attempt = self.value.attempt + 1
            self.move(
                State.STAGED, "patch_unblocked", reason=reason, operator=operator, attempt=attempt
            )

    def restage(self, reason: str | None) -> None:
        """Back into the queue. What was gated was gated on another base: a new attempt."""
        self.lapse_gates()
        attempt = self.value.attempt + 1
        self.move(State.STAGED, "patch_restaged", reason=reason, commit_sha=None, attempt=attempt)

    def quarantine(self, reason: str, operator: str | None = None) -> None:
        """Aside, with what was found; kept until a person drops it or has it judged again."""
        self.lapse_gates()
        self.move(
            State.QUARANTINED,
            "patch_quarantined",
            reason=reason,
            operator=operator,
            quarantine_reason=reason,
            commit_sha=None,
            work=None,
            holds=(),
        )

    def lapse_gates(self) -> None:
        """The gates of this attempt have nothing left to judge."""
        for gate in self.value.gates:
            self.send(gate, Cancel("the attempt that it judges is over"))
        if self.value.gates or self.value.passed:
            self.change(gates=(), passed=())

    def reply(self, text: str) -> None:
        self.effects.append(Reply(Accepted(text, self.value.id)))

    def refuse(self, reason: str) -> None:
        self.effects.append(Reply(Refused(reason)))

    def note(self, event: str, severity: str, reason: str | None, by: str | None = None) -> None:
        self.effects.append(Note(event, severity, reason, _known(self.value), by))

    def decision(self) -> Decision[Patch]:
        if self.edges:
            patch, last = self.value, self.edges[-1]
            source = str(self.edges[0].source)
            moved = pm.PatchMoved(
                address_of(patch), source, last.target, last.trigger, last.reason, patch.commit_sha
            )
            for address in patch.spec.told:
                self.send(address, moved)
        return super().decision()


def backoff_s(patch: Patch) -> float:
    """Seconds before the next try, the longer the more troubles there were in a row."""
    chance = zlib.crc32(f"{patch.id}:{patch.troubles}".encode()) / 2**32
    length = min(TROUBLE_BACKOFF_S * 2.0**patch.troubles, TROUBLE_BACKOFF_S_MAX)
    return length * (0.5 + 0.5 * chance)


def _known(patch: Patch) -> dict[str, Any]:
    return {
        "patch_id": patch.id,
        "task_id": patch.task_id,
        "attempt": patch.attempt,
        "validation_results": msgspec.structs.asdict(patch.checks),
        "commit_sha": patch.commit_sha,
        "quarantine_reason": patch.quarantine_reason,
    }


def address_of(patch: Patch) -> str:
    return f"patch_ledger:{patch.id}"


def key_of(patch: Patch, work: Work) -> str:
    return f"{patch.id}.{patch.attempt}:{work.value}"
