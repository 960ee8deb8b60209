"""One patch under test, and the states that many tests begin with."""

from __future__ import annotations

from typing import Any

from actors import patch_messages as pm
from actors.effects import Reply
from actors.machine import Taken
from actors.messages import (
    Begin,
    Cancel,
    GateVerdict,
    Pause,
    Performed,
    Resume,
    Standing,
    Unblock,
)
from actors.patch import Patch, State, create, decide
from actors.patch_messages import Checks, Judged, PatchSeed, Verdict, Work
from actors.patch_record import TERMINAL
from actors.spec import Patch as PatchSpec

BASE, TIP = "base000", "tip1111"
PLAN = pm.Compensation("git_revert", ("unit",))
TASK = "task:r/build/compile"
ACCEPTED = Judged(Verdict.ACCEPT, checks=Checks("passed", "passed", "passed"))


# Whoever asks for one of these is answered, once, whatever becomes of it.
ASKED = (pm.Supersede, Cancel, pm.PatchVerb, Pause, Resume, Unblock)


class Ledger:
    """One patch and what it asked for. `said` are the effects of the last turn."""

    def __init__(self, *, gates: tuple[str, ...] = ("unit",), ttl_s: float | None = None) -> None:
        self.now = 100.0
        seed = PatchSeed(
            id="p1",
            run_id="r",
            task_id="r/build/compile",
            base_commit=BASE,
            content="tree:abc",
            patch=PatchSpec(scope=("src/**",), gates=gates, ttl_s=ttl_s),
            told=(TASK,),
        )
        self.patch: Patch = create(seed, self.now)
        self.said: tuple[Any, ...] = ()
        self.taken: tuple[Taken, ...] = ()
        self.edges: list[tuple[str, str, str]] = []

    @property
    def state(self) -> State:
        return self.patch.state

    @property
    def work(self) -> Work | None:
        return self.patch.work

    def tell(self, *messages: Any, after_s: float = 1.0) -> Ledger:
        for message in messages:
            self.now += after_s
            decision = decide(self.patch, message, self.now)
            self.patch, self.said = decision.state, decision.effects
            self.taken = decision.edges
            assert len(self.found(Reply)) == 1 or not isinstance(message, ASKED)
            taken = [(str(e.source), e.target, e.trigger) for e in decision.edges]
            self.edges += taken
            holds(self.patch)
        return self

    def answer(self, fact: Any, error: str | None = None) -> Ledger:
        """The performer of the work that it waits for returns."""
        assert self.work is not None, "it waits for no work"
        key = f"p1.{self.patch.attempt}:{self.work.value}"
        return self.tell(Performed(key, fact, error))

    def verdict(self, standing: Standing, name: str = "unit", ticket: str | None = None) -> Ledger:
        ticket = ticket or str(self.patch.attempt)
        gate = f"test_gate:r/gate:{name}~1"
        return self.tell(GateVerdict(gate, name, standing.value, standing, ticket=ticket))

    def found(self, kind: type) -> list[Any]:
        return [e for e in self.said if isinstance(e, kind)]

    @property
    def reply(self) -> Any:
        (reply,) = self.found(Reply)
        return reply.value

    def last_edges(self, count: int) -> list[tuple[str, str, str]]:
        return self.edges[-count:]


def holds(patch: Patch) -> None:
    """What the store checks, and the invariants of the module."""
    ended = patch.state in TERMINAL
    assert (patch.completed_at is not None) == ended
    assert (
        patch.completed_at is None
        or patch.started_at is None
        or (patch.created_at <= patch.started_at <= patch.completed_at)
    )
    assert patch.state is not State.QUARANTINED or patch.quarantine_reason
    assert patch.state is not State.ROLLED_BACK or patch.rollback_reason
    assert (patch.state is State.BLOCKED) == bool(patch.holds)
    assert patch.wanted is None or patch.moving is not None
    places = {
        Work.JUDGE: {State.VALIDATING},
        Work.APPLY: {State.STAGED},
        Work.LAND: {State.VERIFIED},
        Work.RESTORE: {State.APPLIED, State.VERIFIED},
        Work.COMPENSATE: {State.COMMITTED},
    }
    assert patch.work is None or patch.state in places[patch.work]
    standing = {State.APPLIED, State.VERIFIED, State.COMMITTED}
    assert patch.state not in standing or patch.commit_sha is not None


def verb(kind: type, **more: Any) -> Any:
    return kind(operator="ann", reason="because", **more)


def validating(**settings: Any) -> Ledger:
    return Ledger(**settings).tell(Begin())


def staged(**settings: Any) -> Ledger:
    return validating(**settings).answer(ACCEPTED)


def blocked(*reasons: str, **settings: Any) -> Ledger:
    held = Judged(Verdict.HOLD, reasons or ("protected_path",))
    return validating(**settings).answer(held)


def quarantined(**settings: Any) -> Ledger:
    return validating(**settings).answer(Judged(Verdict.REJECT, ("out_of_scope",)))


def applied(**settings: Any) -> Ledger:
    return staged(**settings).tell(pm.Apply(BASE)).answer(pm.Applied(BASE, TIP))


def verified(**settings: Any) -> Ledger:
    return applied(**settings).verdict(Standing.DONE)


def committed(**settings: Any) -> Ledger:
    return verified(**settings).answer(pm.Landed(TIP))


def verified_and_paused(**settings: Any) -> Ledger:
    return applied(**settings).tell(Pause("ann")).verdict(Standing.DONE)
