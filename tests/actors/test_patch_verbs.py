"""What a person may do to a patch: what goes on record, pauses, rollbacks."""

from __future__ import annotations

from typing import Any

import pytest

from actors import patch_messages as pm
from actors.effects import Note, Perform
from actors.messages import (
    Accepted,
    Cancel,
    Pause,
    Refused,
    Resume,
    Unblock,
)
from actors.patch import State
from actors.patch_messages import Work
from actors.patch_record import TROUBLES_MAX
from tests.actors.patch_kit import (
    BASE,
    PLAN,
    Ledger,
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

# --- the operator's word goes on record --------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(blocked, verb(pm.RejectPatch), id="reject"),
        pytest.param(blocked, verb(pm.ApprovePatch, names=("protected_path",)), id="approve"),
        pytest.param(blocked, Unblock((), "ann", "because"), id="unblock"),
        pytest.param(staged, verb(pm.DropPatch), id="drop"),
        pytest.param(quarantined, verb(pm.Revalidate), id="revalidate"),
        pytest.param(staged, Cancel("because", "ann"), id="cancel"),
    ],
)
def test_an_edge_that_a_person_took_names_them_and_their_reason(make: Any, message: Any) -> None:
    (edge,) = make().tell(message).taken
    assert edge.operator == "ann"
    assert "because" in edge.reason


@pytest.mark.parametrize(
    ("make", "message", "event"),
    [
        (staged, Pause("ann", "because"), "patch_paused"),
        (lambda: staged().tell(Pause()), Resume("ann", "because"), "patch_resumed"),
        (lambda: blocked("a", "b"), verb(pm.ApprovePatch, names=("a",)), "patch_approved"),
        (verified, Cancel("because", "ann"), "patch_end_wanted"),
    ],
)
def test_what_is_no_transition_has_a_row_with_the_person_and_the_reason(
    make: Any, message: Any, event: str
) -> None:
    (note,) = make().tell(message).found(Note)
    assert (note.event_type, note.operator, note.reason) == (event, "ann", "because")


def test_the_edges_of_a_rollback_name_whoever_asked_for_it() -> None:
    for ledger in (
        applied().tell(verb(pm.Rollback)).answer(pm.Restored()),
        committed().tell(verb(pm.Rollback, plan=PLAN)).answer(pm.Compensated()),
    ):
        (edge,) = ledger.taken
        assert (edge.operator, edge.reason) == ("ann", "because")
        assert ledger.patch.undoing is None


def test_an_end_by_way_of_another_state_gives_its_reason_on_every_edge() -> None:
    for ledger in (validating(), applied()):
        ledger.tell(Cancel("the run was cancelled"))
        assert [edge.reason for edge in ledger.taken] == ["the run was cancelled"] * 2


def test_what_broke_off_the_judge_is_the_reason_of_the_edge() -> None:
    (edge,) = validating().answer(None, "disk full").taken
    assert edge.reason == "disk full"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (committed, Cancel("the run was cancelled")),
        (committed, Pause("ann")),
        (staged, verb(pm.ApprovePatch, names=("a",))),
        (verified, verb(pm.RejectPatch)),
        (verified_and_paused, verb(pm.RejectPatch)),
        (Ledger, verb(pm.RejectPatch)),
        (quarantined, verb(pm.RejectPatch)),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(make: Any, message: Any) -> None:
    ledger = make()
    before = ledger.patch
    assert ledger.tell(message).patch is before
    assert isinstance(ledger.reply, Refused)


def test_what_is_done_is_accepted() -> None:
    for ledger in (
        staged().tell(Cancel("the run was cancelled")),
        verified().tell(Cancel("the run was cancelled")),
        blocked().tell(Unblock(operator="ann")),
        quarantined().tell(verb(pm.Revalidate)),
        applied().tell(verb(pm.RejectPatch)),
        applied().tell(verb(pm.Rollback)),
        committed().tell(verb(pm.Rollback, plan=PLAN)),
    ):
        assert isinstance(ledger.reply, Accepted)
        assert ledger.reply.entity_id == "p1"


# --- pause ---------------------------------------------------------------------------------------


def test_a_pause_withholds_its_turn_and_its_landing() -> None:
    assert isinstance(staged().tell(Pause("ann"), pm.Apply(BASE)).reply, Refused)
    ledger = verified_and_paused()
    assert (ledger.state, ledger.work) == (State.VERIFIED, None)
    assert ledger.tell(Resume("ann")).work is Work.LAND


def test_a_second_pause_is_no_second_record() -> None:
    ledger = staged().tell(Pause("ann"), Pause("ann"))
    assert ledger.found(Note) == []


# --- rollback ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [applied, verified_and_paused])
def test_what_has_not_landed_is_rolled_back_by_restoring_its_integration_ref(make: Any) -> None:
    ledger = make()
    source = ledger.state.value
    ledger.tell(verb(pm.Rollback))
    assert ledger.work is Work.RESTORE
    ledger.answer(pm.Restored())
    assert ledger.last_edges(1) == [(source, "rolled_back", "patch_rolled_back")]
    assert ledger.patch.rollback_reason == "because"


def test_a_committed_patch_is_rolled_back_once_its_plan_was_carried_out() -> None:
    ledger = committed().tell(verb(pm.Rollback, plan=PLAN))
    assert ledger.state is State.COMMITTED
    (perform,) = ledger.found(Perform)
    assert perform.payload.compensation == PLAN
    landed_at = ledger.patch.completed_at
    ledger.answer(pm.Compensated("revert1"))
    assert ledger.state is State.ROLLED_BACK
    assert ledger.patch.completed_at > landed_at


@pytest.mark.parametrize(
    "wrong",
    [
        verb(pm.Rollback),
        verb(pm.Rollback, plan=pm.Compensation("prayer")),
        pm.Rollback(operator="", reason="because", plan=PLAN),
        pm.Rollback(operator="ann", reason="", plan=PLAN),
    ],
)
def test_a_committed_patch_needs_an_operator_a_reason_and_a_plan(wrong: pm.Rollback) -> None:
    ledger = committed()
    before = ledger.patch
    assert ledger.tell(wrong).patch is before
    assert isinstance(ledger.reply, Refused)


def test_a_plan_that_git_broke_off_is_tried_again_at_once_under_its_key() -> None:
    ledger = committed().tell(verb(pm.Rollback, plan=PLAN))
    (asked,) = ledger.found(Perform)
    ledger.answer(None, "git was killed")
    (again,) = ledger.found(Perform)
    assert again == asked
    assert ledger.answer(pm.Compensated("revert1")).state is State.ROLLED_BACK
    assert ledger.patch.plan is None


def test_a_plan_that_git_breaks_off_for_ever_is_given_up_and_can_be_asked_for_again() -> None:
    ledger = committed().tell(verb(pm.Rollback, plan=PLAN))
    for _ in range(TROUBLES_MAX):
        ledger.answer(None, "the disk is full")
    (note,) = ledger.found(Note)
    assert (note.event_type, note.reason) == ("patch_rollback_failed", "the disk is full")
    assert ledger.work is None
    (perform,) = ledger.tell(verb(pm.Rollback, plan=PLAN)).found(Perform)
    assert (perform.key, ledger.patch.troubles) == ("p1.3:patch_compensate", 0)


def test_a_plan_that_failed_leaves_it_committed_and_can_be_tried_again() -> None:
    ledger = committed().tell(verb(pm.Rollback, plan=PLAN))
    ledger.answer(pm.NotCompensated("unit failed"))
    assert ledger.state is State.COMMITTED
    (note,) = ledger.found(Note)
    assert (note.event_type, note.operator) == ("patch_rollback_failed", "ann")
    first, second = "p1.2:patch_compensate", "p1.3:patch_compensate"
    (perform,) = ledger.tell(verb(pm.Rollback, plan=PLAN)).found(Perform)
    assert perform.key == second != first


def test_a_rollback_is_asked_for_once() -> None:
    ledger = committed().tell(verb(pm.Rollback, plan=PLAN), verb(pm.Rollback, plan=PLAN))
    assert isinstance(ledger.reply, Accepted)
    assert not ledger.found(Perform)


@pytest.mark.parametrize("make", [staged, quarantined, blocked, verified])
def test_what_was_not_applied_or_is_just_landing_is_not_rolled_back(make: Any) -> None:
    assert isinstance(make().tell(verb(pm.Rollback, plan=PLAN)).reply, Refused)


def test_a_cancel_while_its_ref_goes_back_leaves_it_rolled_back() -> None:
    ledger = applied().tell(verb(pm.Rollback), Cancel("the run was cancelled"))
    assert ledger.answer(pm.Restored()).state is State.ROLLED_BACK
