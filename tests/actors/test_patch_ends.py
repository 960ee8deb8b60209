"""How a patch is tried again and how it ends; and what holds in any of its lives."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import patch_messages as pm
from actors.effects import CancelTimer, Note, Perform, Send, SetTimer
from actors.messages import (
    Accepted,
    Begin,
    Cancel,
    GatesMade,
    NeedGates,
    Pause,
    Performed,
    Recovered,
    Refused,
    Resume,
    Standing,
    TimerFired,
    Unblock,
)
from actors.patch import CHART, Patch, State, create
from actors.patch_messages import Judged, PatchSeed, Verdict, Work
from actors.patch_record import TERMINAL, TROUBLES_MAX
from actors.spec import Patch as PatchSpec
from tests.actors.patch_kit import (
    ACCEPTED,
    BASE,
    PLAN,
    TIP,
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

# --- infrastructure ----------------------------------------------------------------------------


def test_a_judge_that_broke_off_is_asked_again_after_a_pause_under_the_same_key() -> None:
    ledger = validating().answer(None, "git: command not found")
    assert ledger.last_edges(1) == [("validating", "pending", "validation_interrupted")]
    (timer,) = ledger.found(SetTimer)
    assert 1.0 <= timer.due - ledger.now <= 2.0
    (perform,) = ledger.tell(TimerFired("again")).found(Perform)
    assert perform.key == "p1.1:patch_judge"


def test_the_pauses_grow_and_end_where_a_person_has_to_look() -> None:
    ledger = validating()
    waits = []
    for _ in range(TROUBLES_MAX - 1):
        ledger.answer(None, "disk full")
        (timer,) = ledger.found(SetTimer)
        waits.append(timer.due - ledger.now)
        ledger.tell(TimerFired("again"))
    ledger.answer(None, "disk full")
    assert waits[-1] > waits[0] * 20
    assert not ledger.found(SetTimer)
    assert [n.event_type for n in ledger.found(Note)] == ["patch_stuck"]
    assert ledger.tell(Resume("ann")).state is State.VALIDATING


def test_a_landing_whose_outcome_is_unknown_is_asked_again_and_stays_verified() -> None:
    ledger = verified().answer(None, "git crashed")
    assert (ledger.state, ledger.work) == (State.VERIFIED, Work.LAND)
    (perform,) = ledger.tell(TimerFired("again")).found(Perform)
    assert perform.key == "p1.1:patch_land"
    assert ledger.answer(pm.Landed(TIP)).state is State.COMMITTED


def test_a_landing_of_another_commit_than_was_gated_is_no_landing() -> None:
    ledger = verified().answer(pm.Landed("other"))
    assert ledger.state is State.VERIFIED
    (note,) = ledger.found(Note)
    assert "other was landed where tip1111 was gated" in note.reason


def test_applying_that_never_works_blocks_it_and_an_unblock_starts_afresh() -> None:
    ledger = staged().tell(pm.Apply(BASE))
    for _ in range(TROUBLES_MAX - 1):
        ledger.answer(None, "disk full").tell(TimerFired("again"))
    ledger.answer(None, "disk full")
    assert (ledger.state, ledger.patch.holds) == (State.BLOCKED, ("infrastructure",))
    ledger.tell(Unblock(operator="ann"), pm.Apply(BASE)).answer(None, "disk full")
    assert ledger.state is State.STAGED


def test_a_success_between_ends_the_row_of_troubles() -> None:
    ledger = validating().answer(None, "disk full").tell(TimerFired("again")).answer(ACCEPTED)
    assert ledger.patch.troubles == 0
    ledger = validating().answer(None, "disk full").tell(verb(pm.Revalidate))
    assert ledger.patch.troubles == 0


def test_a_resume_starts_what_was_stuck_with_a_clean_slate() -> None:
    ledger = verified()
    for _ in range(TROUBLES_MAX - 1):
        ledger.answer(None, "disk full").tell(TimerFired("again"))
    ledger.answer(None, "disk full").tell(Resume("ann"))
    assert (ledger.patch.troubles, ledger.work) == (0, Work.LAND)
    assert [e.key for e in ledger.found(Perform)] == ["p1.1:patch_land"]


def test_an_answer_that_fits_no_question_is_trouble_and_no_verdict() -> None:
    for nonsense in (pm.Landed(TIP), {"type": "Nonsense"}, 42, None):
        assert validating().answer(nonsense).state is State.PENDING
    ledger = staged().tell(pm.Apply(BASE)).answer(ACCEPTED)
    assert (ledger.state, ledger.work) == (State.STAGED, Work.APPLY)


def test_an_answer_read_back_from_the_store_is_the_same_answer() -> None:
    as_json = msgspec.json.decode(msgspec.json.encode(ACCEPTED))
    assert validating().answer(as_json).state is State.STAGED


def test_an_answer_to_an_older_question_changes_nothing() -> None:
    ledger = quarantined().tell(verb(pm.Revalidate))
    before = ledger.patch
    assert ledger.tell(Performed("p1.1:patch_judge", ACCEPTED)).patch is before


def test_a_restart_changes_nothing_for_what_it_waits_for_is_kept() -> None:
    for make in (validating, staged, verified, committed):
        ledger = make()
        before = ledger.patch
        assert ledger.tell(Recovered(2)).patch is before
        assert ledger.said == ()


# --- ends --------------------------------------------------------------------------------------


def test_its_time_to_live_runs_from_its_creation() -> None:
    ledger = validating(ttl_s=60.0)
    assert ledger.found(SetTimer) == [SetTimer("ttl", 160.0)]


ENDS = [
    pytest.param(Cancel("the run was cancelled"), State.DROPPED, "patch_dropped", id="cancel"),
    pytest.param(TimerFired("ttl"), State.EXPIRED, "patch_expired", id="expire"),
    pytest.param(pm.Supersede("p2"), State.SUPERSEDED, "patch_superseded", id="supersede"),
    pytest.param(verb(pm.DropPatch), State.DROPPED, "patch_dropped", id="drop"),
]


@pytest.mark.parametrize(("ending", "target", "trigger"), ENDS)
@pytest.mark.parametrize(
    ("make", "before"),
    [
        pytest.param(Ledger, [], id="pending"),
        pytest.param(
            validating, [("validating", "pending", "validation_interrupted")], id="validating"
        ),
        pytest.param(staged, [], id="staged"),
        pytest.param(blocked, [], id="blocked"),
        pytest.param(applied, [("applied", "staged", "patch_restaged")], id="applied"),
        pytest.param(
            verified_and_paused, [("verified", "staged", "patch_restaged")], id="verified"
        ),
    ],
)
def test_an_end_takes_the_charts_way_in_one_decision(
    make: Any, before: list[tuple[str, str, str]], ending: Any, target: State, trigger: str
) -> None:
    ledger = make(ttl_s=60.0)
    source = before[-1][1] if before else ledger.state.value
    ledger.tell(ending)
    assert ledger.last_edges(len(before) + 1) == [*before, (source, target.value, trigger)]
    assert ledger.work is None


@pytest.mark.parametrize(("ending", "target", "trigger"), ENDS)
def test_an_end_waits_while_a_ref_may_be_moving_and_what_has_landed_is_committed(
    ending: Any, target: State, trigger: str
) -> None:
    ledger = verified(ttl_s=60.0).tell(ending)
    assert ledger.state is State.VERIFIED
    assert ledger.answer(pm.Landed(TIP)).state is State.COMMITTED
    assert [n.event_type for n in ledger.found(Note)] == ["patch_end_too_late"]


@pytest.mark.parametrize(("ending", "target", "trigger"), ENDS)
def test_an_end_that_waited_is_taken_once_the_ref_did_not_move(
    ending: Any, target: State, trigger: str
) -> None:
    ledger = verified(ttl_s=60.0).tell(ending).answer(pm.NotLanded("moved"))
    assert ledger.last_edges(2) == [
        ("verified", "staged", "patch_restaged"),
        ("staged", target.value, trigger),
    ]


@pytest.mark.parametrize(("ending", "target", "trigger"), ENDS)
def test_an_end_that_waited_for_the_integration_ref_records_that_it_moved(
    ending: Any, target: State, trigger: str
) -> None:
    ledger = staged(ttl_s=60.0).tell(pm.Apply(BASE), ending).answer(pm.Applied(BASE, TIP))
    assert ledger.last_edges(3) == [
        ("staged", "applied", "patch_applied"),
        ("applied", "staged", "patch_restaged"),
        ("staged", target.value, trigger),
    ]
    assert not any(isinstance(e.message, NeedGates) for e in ledger.found(Send))


def test_of_two_ends_that_wait_the_first_is_taken() -> None:
    ledger = verified(ttl_s=60.0).tell(pm.Supersede("p2"), TimerFired("ttl"))
    assert ledger.answer(pm.NotLanded("moved")).state is State.SUPERSEDED


def test_quarantine_outlives_a_cancel_and_a_newer_patch() -> None:
    for message in (Cancel("the run was cancelled"), pm.Supersede("p2")):
        ledger = quarantined()
        before = ledger.patch
        assert ledger.tell(message).patch is before
        assert isinstance(ledger.reply, Accepted)


def test_a_patch_that_is_quarantined_while_its_cancel_waits_stays_in_quarantine() -> None:
    ledger = staged().tell(pm.Apply("newer"), Cancel("the run was cancelled"))
    ledger.answer(Judged(Verdict.REJECT, ("no_effect",)))
    assert (ledger.state, ledger.patch.wanted) == (State.QUARANTINED, None)


@pytest.mark.parametrize(
    ("message", "state"), [(verb(pm.DropPatch), "dropped"), (TimerFired("ttl"), "expired")]
)
def test_quarantine_ends_by_a_drop_or_its_time_to_live_and_keeps_its_reason(
    message: Any, state: str
) -> None:
    ledger = quarantined(ttl_s=60.0).tell(message)
    assert (ledger.state, ledger.patch.quarantine_reason) == (state, "out_of_scope")


def test_revalidation_is_a_new_attempt_and_clears_the_reason() -> None:
    ledger = quarantined().tell(verb(pm.Revalidate))
    assert (ledger.state, ledger.patch.attempt) == (State.VALIDATING, 2)
    assert ledger.patch.quarantine_reason is None
    assert ledger.found(CancelTimer) == [CancelTimer("again")]


def test_only_what_is_pending_or_quarantined_is_validated_again() -> None:
    assert isinstance(staged().tell(verb(pm.Revalidate)).reply, Refused)


# --- everything at once ---------------------------------------------------------------------------


def test_gates_need_a_run_that_makes_them() -> None:
    seed = PatchSeed(
        id="p",
        run_id=None,
        task_id=None,
        base_commit=BASE,
        content="x",
        patch=PatchSpec(gates=("unit",)),
    )
    with pytest.raises(ValueError, match="has gates, and no run"):
        create(seed, 0.0)


FACTS = [
    ACCEPTED,
    Judged(Verdict.HOLD, ("protected_path",)),
    Judged(Verdict.REJECT, ("format",)),
    pm.Applied(BASE, TIP),
    pm.Conflicted(("a.py",)),
    pm.Landed(TIP),
    pm.NotLanded("moved"),
    pm.Restored(),
    pm.Compensated(),
    pm.NotCompensated("unit failed"),
    None,
]
TOLD = [
    Begin(),
    TimerFired("ttl"),
    TimerFired("again"),
    Recovered(2),
    pm.Apply(BASE),
    pm.BaseMoved("newer"),
    pm.Supersede("p2"),
    Cancel("because"),
    Pause("ann"),
    Resume("ann"),
    Unblock(),
    verb(pm.ApprovePatch, names=("protected_path",)),
    verb(pm.RejectPatch),
    verb(pm.Revalidate),
    verb(pm.DropPatch),
    verb(pm.Rollback),
    verb(pm.Rollback, plan=PLAN),
    GatesMade("1", ("test_gate:g",)),
]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("answer"), st.sampled_from(FACTS)),
        st.tuples(st.just("answer"), st.sampled_from(FACTS)),
        st.tuples(st.just("verdict"), st.sampled_from(list(Standing))),
        st.tuples(st.just("tell"), st.sampled_from(TOLD)),
    ),
    max_size=40,
)


def live(steps: list[tuple[str, Any]]) -> Ledger:
    """A life. What is broken is found by `holds`, after every turn."""
    ledger = validating(ttl_s=60.0)
    for how, what in steps:
        if how == "answer" and ledger.work is not None:
            ledger.answer(what, "trouble" if what is None else None)
        elif how == "verdict":
            ledger.verdict(what)
        elif how == "tell":
            ledger.tell(what)
    return ledger


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_no_row_of_messages_breaks_an_invariant(steps: list[tuple[str, Any]]) -> None:
    ledger = live(steps)
    stored = msgspec.json.encode(ledger.patch)
    assert msgspec.json.decode(stored, type=Patch) == ledger.patch


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_a_cancelled_patch_ends_or_is_quarantined_once_no_ref_moves(
    steps: list[tuple[str, Any]],
) -> None:
    ledger = live(steps).tell(Cancel("the run was cancelled"))
    outcomes = {
        Work.APPLY: pm.Applied(BASE, TIP),
        Work.LAND: pm.NotLanded("moved"),
        Work.RESTORE: pm.Restored(),
    }
    if ledger.patch.moving is not None:
        ledger.answer(outcomes[ledger.patch.moving])
    assert ledger.state in {*TERMINAL, State.QUARANTINED}


def test_every_edge_is_taken_by_some_life() -> None:
    lives = [
        *(committed().edges, blocked().edges, quarantined().edges),
        *(make(ttl_s=9.0).tell(end.values[0]).edges for make in MAKERS for end in ENDS),
        *(make().tell(verb(pm.RejectPatch)).edges for make in (staged, blocked, applied)),
        blocked().tell(Unblock()).edges,
        validating().answer(None, "trouble").edges,
        verified().answer(pm.NotLanded("moved")).edges,
        applied().tell(pm.BaseMoved("newer")).edges,
        quarantined().tell(verb(pm.Revalidate)).edges,
        *(make().tell(verb(pm.Rollback)).answer(pm.Restored()).edges for make in UNLANDED),
        committed().tell(verb(pm.Rollback, plan=PLAN)).answer(pm.Compensated()).edges,
    ]
    taken = {edge for life in lives for edge in life}
    assert taken == {(e.source, e.target, e.trigger) for e in CHART.edges}


MAKERS = (Ledger, staged, blocked, quarantined)
UNLANDED = (applied, verified_and_paused)
