"""The patch ledger's way to a commit: what git and the gates said, and what follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from actors import patch_messages as pm
from actors.effects import Perform, Send
from actors.messages import (
    Begin,
    Cancel,
    GatesMade,
    NeedGates,
    Performed,
    Refused,
    Standing,
    TimerFired,
    Unblock,
)
from actors.patch import State, decide
from actors.patch_messages import Checks, Judged, Verdict
from tests.actors.patch_kit import (
    BASE,
    TASK,
    TIP,
    applied,
    blocked,
    committed,
    quarantined,
    staged,
    validating,
    verb,
    verified,
    verified_and_paused,
)

# --- the straight way -----------------------------------------------------------------------------


def test_from_proposal_to_commit() -> None:
    assert [edge[2] for edge in committed().edges] == [
        "validation_started",
        "validation_passed",
        "patch_applied",
        "patch_verified",
        "patch_committed",
    ]


def test_the_judge_is_told_all_that_it_needs() -> None:
    (perform,) = validating().found(Perform)
    assert (perform.name, perform.key) == ("patch_judge", "p1.1:patch_judge")
    assert perform.payload == pm.WorkOrder("p1", 1, BASE, "tree:abc", scope=("src/**",))


def test_it_is_applied_to_the_base_that_its_turn_names() -> None:
    (perform,) = staged().tell(pm.Apply("newer")).found(Perform)
    assert (perform.name, perform.payload.base_commit, perform.payload.onto) == (
        "patch_apply",
        BASE,
        "newer",
    )


def test_once_applied_it_asks_its_run_for_the_gates_of_this_attempt() -> None:
    sent = [e for e in applied(gates=("lint", "unit")).found(Send) if e.to == "run:r"]
    assert [e.message for e in sent] == [NeedGates("patch_ledger:p1", ("lint", "unit"), "1")]


def test_every_gate_must_pass_before_it_is_verified() -> None:
    ledger = applied(gates=("lint", "unit")).verdict(Standing.DONE, "unit")
    assert ledger.state is State.APPLIED
    assert ledger.verdict(Standing.DONE, "lint").state is State.VERIFIED


def test_a_patch_without_gates_is_verified_and_says_that_nothing_was_tested() -> None:
    ledger = applied(gates=())
    assert ledger.state is State.VERIFIED
    assert ledger.patch.checks.tests is None


def test_once_verified_the_very_commit_that_was_gated_is_landed() -> None:
    (perform,) = verified().found(Perform)
    assert (perform.name, perform.payload.commit_sha) == ("patch_land", TIP)


def test_whoever_is_told_hears_of_each_move() -> None:
    (sent,) = committed().found(Send)
    assert sent == Send(
        TASK,
        pm.PatchMoved(
            "patch_ledger:p1", "verified", "committed", "patch_committed", commit_sha=TIP
        ),
    )


def test_it_started_when_it_was_first_judged() -> None:
    ledger = validating()
    assert (ledger.patch.created_at, ledger.patch.started_at) == (100.0, 101.0)
    ledger.answer(None, "disk full").tell(TimerFired("again"))
    assert ledger.patch.started_at == 101.0


def test_it_begins_once() -> None:
    ledger = validating().answer(None, "disk full")
    before = ledger.patch
    assert ledger.tell(Begin()).patch is before


def test_every_edge_carries_the_ledgers_metadata() -> None:
    ledger = verified()
    decision = decide(ledger.patch, Performed("p1.1:patch_land", pm.Landed(TIP)), 200.0)
    assert decision.edges[0].metadata == {
        "patch_id": "p1",
        "task_id": "r/build/compile",
        "attempt": 1,
        "validation_results": {
            "format": "passed",
            "scope": "passed",
            "constraints": "passed",
            "tests": "passed",
        },
        "commit_sha": TIP,
        "quarantine_reason": None,
    }


# --- verdicts ---------------------------------------------------------------------------------


def test_a_hold_is_staged_and_blocked_in_one_decision() -> None:
    ledger = blocked("protected_path", "exec_bit")
    assert ledger.last_edges(2) == [
        ("validating", "staged", "validation_passed"),
        ("staged", "blocked", "patch_blocked"),
    ]
    assert ledger.patch.holds == ("protected_path", "exec_bit")


def test_a_reject_is_quarantined_with_its_reason_codes() -> None:
    ledger = validating().answer(Judged(Verdict.REJECT, ("out_of_scope", "binary")))
    assert ledger.state is State.QUARANTINED
    assert ledger.patch.quarantine_reason == "out_of_scope, binary"


def test_an_approval_names_what_it_approves_and_the_last_one_releases() -> None:
    ledger = blocked("protected_path", "exec_bit")
    ledger.tell(verb(pm.ApprovePatch, names=("exec_bit",)))
    assert (ledger.state, ledger.patch.holds) == (State.BLOCKED, ("protected_path",))
    ledger.tell(verb(pm.ApprovePatch, names=("protected_path",)))
    assert ledger.state is State.STAGED


def test_an_approval_of_what_does_not_hold_it_is_refused() -> None:
    ledger = blocked("protected_path").tell(verb(pm.ApprovePatch, names=("binary",)))
    assert isinstance(ledger.reply, Refused)
    assert "protected_path" in ledger.reply.reason


def test_an_unblock_without_names_waives_everything() -> None:
    assert blocked("a", "b").tell(Unblock(operator="ann")).state is State.STAGED


def test_each_time_it_is_staged_again_it_is_a_new_attempt() -> None:
    ledger = blocked().tell(Unblock(operator="ann"))
    assert ledger.patch.attempt == 2
    assert applied().tell(pm.BaseMoved("newer")).patch.attempt == 2
    assert quarantined().tell(verb(pm.Revalidate)).patch.attempt == 2


def test_what_was_approved_once_does_not_hold_it_again_on_another_base() -> None:
    ledger = blocked("protected_path").tell(verb(pm.ApprovePatch, names=("protected_path",)))
    ledger.tell(pm.Apply("newer")).answer(Judged(Verdict.HOLD, ("protected_path", "binary")))
    assert ledger.patch.holds == ("binary",)


def test_a_person_can_reject_what_is_held() -> None:
    ledger = blocked("protected_path").tell(verb(pm.RejectPatch))
    assert (ledger.state, ledger.patch.quarantine_reason) == (
        State.QUARANTINED,
        "rejected: because",
    )


def test_a_conflict_blocks_and_names_the_files() -> None:
    ledger = staged().tell(pm.Apply(BASE)).answer(pm.Conflicted(("a.py", "b.py")))
    assert (ledger.state, ledger.patch.reason) == (State.BLOCKED, "conflicts in a.py, b.py")


def test_on_another_base_it_may_be_rejected_after_all() -> None:
    ledger = staged().tell(pm.Apply("newer")).answer(Judged(Verdict.REJECT, ("no_effect",)))
    assert ledger.state is State.QUARANTINED


# --- gates --------------------------------------------------------------------------------------


def test_a_failed_gate_quarantines_it_with_the_gates_reason() -> None:
    ledger = applied().verdict(Standing.FAILED)
    assert ledger.patch.quarantine_reason == "gate_failed:unit: failed"
    assert ledger.patch.checks.tests == "failed"


def test_in_quarantine_it_stands_on_no_commit_and_a_new_judge_starts_from_nothing() -> None:
    ledger = applied().verdict(Standing.FAILED)
    assert ledger.patch.commit_sha is None
    assert ledger.tell(verb(pm.Revalidate)).patch.checks == Checks()


@pytest.mark.parametrize("standing", [Standing.STALLED, Standing.WITHDRAWN])
def test_a_gate_without_a_verdict_never_quarantines_it(standing: Standing) -> None:
    ledger = applied().verdict(standing)
    assert ledger.last_edges(2) == [
        ("applied", "staged", "patch_restaged"),
        ("staged", "blocked", "patch_blocked"),
    ]
    assert ledger.patch.holds == ("gate:unit",)


def test_a_newer_gate_that_passes_releases_what_its_elder_blocked() -> None:
    ledger = applied().verdict(Standing.STALLED).verdict(Standing.DONE, ticket="1")
    assert ledger.state is State.STAGED


def test_a_verdict_of_an_older_attempt_is_no_verdict() -> None:
    ledger = applied().tell(pm.BaseMoved("newer"))
    ledger.tell(pm.Apply("newer")).answer(pm.Applied("newer", TIP))
    before = ledger.patch
    assert ledger.verdict(Standing.FAILED, ticket="1").patch is before


def test_a_gate_that_waits_changes_nothing() -> None:
    ledger = applied()
    before = ledger.patch
    assert ledger.verdict(Standing.WAITING).patch is before


def test_gates_of_an_attempt_that_is_over_are_cancelled() -> None:
    ledger = applied().tell(GatesMade("1", ("test_gate:g1", "test_gate:g2")))
    ledger.tell(pm.BaseMoved("newer"))
    cancelled = [e.to for e in ledger.found(Send) if isinstance(e.message, Cancel)]
    assert cancelled == ["test_gate:g1", "test_gate:g2"]


@pytest.mark.parametrize(
    "over",
    [
        lambda ledger: ledger.verdict(Standing.FAILED),
        lambda ledger: ledger.tell(verb(pm.RejectPatch)),
        lambda ledger: ledger.tell(verb(pm.Rollback)),
        lambda ledger: ledger.tell(Cancel("the run was cancelled")),
    ],
)
def test_whatever_ends_an_attempt_cancels_its_gates_once(over: Any) -> None:
    ledger = over(applied().tell(GatesMade("1", ("test_gate:g1",))))
    cancelled = [e.to for e in ledger.found(Send) if isinstance(e.message, Cancel)]
    assert cancelled == ["test_gate:g1"]
    assert (ledger.patch.gates, ledger.patch.passed) == ((), ())


def test_what_passed_in_an_older_attempt_does_not_count_in_the_next() -> None:
    ledger = applied(gates=("lint", "unit")).verdict(Standing.DONE, "lint")
    ledger.tell(pm.BaseMoved("newer"), pm.Apply("newer")).answer(pm.Applied("newer", TIP))
    assert ledger.verdict(Standing.DONE, "unit").state is State.APPLIED


def test_another_gate_that_passes_does_not_release_it() -> None:
    ledger = applied(gates=("lint", "unit")).verdict(Standing.STALLED, "unit")
    assert ledger.verdict(Standing.DONE, "lint").state is State.BLOCKED


def test_gates_that_were_made_too_late_are_cancelled_at_once() -> None:
    ledger = applied().tell(pm.BaseMoved("newer"), GatesMade("1", ("test_gate:g1",)))
    assert [e.to for e in ledger.found(Send)] == ["test_gate:g1"]


# --- the base moves ------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [applied, verified_and_paused])
def test_when_its_base_moved_it_goes_back_into_the_queue_as_a_new_attempt(make: Any) -> None:
    ledger = make().tell(pm.BaseMoved("newer"))
    assert (ledger.state, ledger.patch.attempt, ledger.patch.commit_sha) == (State.STAGED, 2, None)


def test_what_was_applied_to_a_base_that_moved_meanwhile_is_restaged_in_the_same_decision() -> None:
    ledger = staged().tell(pm.Apply(BASE), pm.BaseMoved("newer"))
    ledger.answer(pm.Applied(BASE, TIP))
    assert ledger.last_edges(2) == [
        ("staged", "applied", "patch_applied"),
        ("applied", "staged", "patch_restaged"),
    ]


def test_a_landing_on_a_target_that_moved_is_restaged_and_not_tried_again() -> None:
    ledger = verified().answer(pm.NotLanded("the target is newer now"))
    assert (ledger.state, ledger.work) == (State.STAGED, None)


def test_a_moved_base_does_not_touch_what_waits_in_the_queue() -> None:
    for ledger in (validating(), staged(), blocked(), quarantined()):
        before = ledger.patch
        assert ledger.tell(pm.BaseMoved("newer")).patch is before


@pytest.mark.parametrize("make", [validating, blocked, applied, quarantined, committed])
def test_whoever_gives_it_its_turn_too_early_is_told_why_not(make: Any) -> None:
    ledger = make().tell(pm.Apply(BASE, asker="queue:q"))
    (sent,) = ledger.found(Send)
    assert (sent.to, sent.message.reason) == ("queue:q", f"it is {ledger.state}")


def test_it_is_applied_once_at_a_time() -> None:
    ledger = staged().tell(pm.Apply(BASE), pm.Apply(BASE))
    assert isinstance(ledger.reply, Refused)
    assert not ledger.found(Perform)
