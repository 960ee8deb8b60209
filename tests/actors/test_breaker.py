"""What the kit cannot ask of other breakers: our effects, our bounds, and our invariants."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import guard_messages as guard
from actors.breaker import Breaker, Mode, State, create, decide, would_admit
from actors.breaker_rules import faults
from actors.effects import CancelTimer, Note, Reply, Send, SetTimer, Watch
from actors.messages import Cancel, Ended, Pause, Recovered, Refused, Resume, TimerFired
from actors.spec import Breaker as BreakerSpec
from actors.spec import breaker_id
from tests.actors.breaker_kit.ours import VERBS, Ours
from tests.actors.breaker_kit.port import fail, half_open

# --- effects ----------------------------------------------------------------------------------


def test_an_opening_arms_a_timer_that_outlives_the_owner() -> None:
    subject = Ours(failure_threshold=1)
    fail(subject)
    assert subject.timers["cooldown"] == SetTimer("cooldown", subject.now + 60.0, volatile=False)


def test_a_probe_is_watched_timed_and_noted() -> None:
    subject = half_open(Ours)
    subject.effects.clear()
    subject.admit("task:a", lease_s=9.0)
    timer, note, watch, said = subject.effects
    assert timer == SetTimer("probe", subject.now + 9.0, volatile=True)
    assert isinstance(note, Note)
    assert watch == Watch("task:a")
    assert isinstance(said, Send)


def test_a_settled_probe_leaves_no_timer_behind() -> None:
    for outcome in guard.CallOutcome:
        subject = half_open(Ours)
        subject.settle(subject.admit(), outcome)
        assert "probe" not in subject.timers


def test_a_caller_outside_the_kernel_is_answered_by_the_reply() -> None:
    breaker = create("ruff", ("ruff",), BreakerSpec(), 0.0)
    (said,) = decide(breaker, guard.Admit(), 5.0).effects
    assert isinstance(said, Reply)
    assert said.value == guard.Ticket(breaker.id, 0, None, 5.0, 605.0)


def test_a_kept_cooldown_needs_no_timer_set_anew_after_a_restart() -> None:
    subject = Ours(failure_threshold=1)
    fail(subject)
    assert subject.tell(Recovered(2)) == []


def test_a_probe_that_was_freed_by_a_restart_goes_on_record() -> None:
    subject = half_open(Ours)
    subject.admit("task:a")
    (note,) = subject.tell(Recovered(2))
    assert isinstance(note, Note)
    assert note.event_type == "breaker_probe_freed"


def test_an_override_without_an_edge_has_a_row_of_its_own() -> None:
    subject = Ours()
    subject.operate("shadow")
    notes = [e for e in subject.effects if isinstance(e, Note)]
    assert [(n.event_type, n.operator, n.reason) for n in notes] == [
        ("breaker_overridden", "ann", "drill")
    ]


def test_a_forced_open_has_its_edge_and_no_second_row() -> None:
    subject = Ours()
    subject.operate("open")
    assert not any(isinstance(e, Note) for e in subject.effects)


@pytest.mark.parametrize("state", State)
def test_what_moves_a_task_does_not_move_a_breaker(state: State) -> None:
    subject = {
        State.CLOSED: Ours,
        State.OPEN: lambda: _opened_once(Ours()),
        State.HALF_OPEN: lambda: half_open(Ours),
    }[state]()
    before = subject.value
    for message in (Pause(), Resume(), Cancel()):
        (reply,) = subject.tell(message)
        assert isinstance(reply.value, Refused)
    assert subject.value is before


def _opened_once(subject: Ours) -> Ours:
    subject.operate("open")
    return subject


def test_a_ticket_of_another_breaker_is_stale() -> None:
    mine, other = Ours("mine", failure_threshold=1), Ours("other")
    assert mine.settle(other.admit(), "tool_failure").outcome == "stale"
    assert mine.state == "closed"


def test_a_timer_of_a_state_that_was_left_changes_nothing() -> None:
    for subject in (Ours(), _opened_once(Ours()), half_open(Ours)):
        before = subject.value
        assert subject.tell(TimerFired("probe")) == []
        assert subject.tell(Ended("task:gone", "failed")) == []
        assert subject.value is before


def test_a_hold_from_closed_has_its_edge_and_the_row_of_the_mode() -> None:
    subject = Ours()
    subject.operate("hold")
    assert [r.trigger for r in subject.records] == ["manual_override"]
    assert [e.event_type for e in subject.effects if isinstance(e, Note)] == ["breaker_overridden"]


def test_an_operator_is_told_what_the_breaker_now_is() -> None:
    subject = Ours()
    told = [subject.tell(verb("ann", "drill"))[-1].value.text for verb in VERBS.values()]
    assert told == ["open", "closed", "open (held)", "closed (disabled)", "closed (shadow)"]
    assert subject.tell(guard.Shadow("ann", "drill"))[-1].value.text == "already closed (shadow)"


def test_every_override_begins_one_epoch_at_least() -> None:
    subject = Ours()
    epochs = []
    for verb in ("shadow", "reset", "open", "close"):
        subject.operate(verb)
        epochs.append(subject.epoch)
    assert epochs == [1, 2, 3, 5]


# --- what the epochs forget, and what they keep -----------------------------------------------


def test_a_lapsed_probe_climbs_the_ladder_as_a_failed_one_does() -> None:
    subject = half_open(Ours)
    subject.admit(lease_s=10.0)
    subject.advance(10.0)
    assert subject.due == subject.now + 120.0


def test_a_failed_probe_zeroes_the_successes_before_it() -> None:
    subject = half_open(Ours, success_threshold=2, growth=1.0)
    fail(subject, outcome="ok")
    fail(subject)
    subject.advance(60.0)
    fail(subject, outcome="ok")
    assert subject.state == "half_open"


def test_a_reopening_zeroes_the_inconclusive_probes_before_it() -> None:
    subject = half_open(Ours, growth=1.0)
    fail(subject, 2, outcome="cancelled")
    fail(subject)
    subject.advance(60.0)
    fail(subject, 2, outcome="cancelled")
    assert subject.state == "half_open"


def test_a_forced_close_forgets_the_ladder() -> None:
    subject = half_open(Ours)
    fail(subject)
    subject.operate("close")
    fail(subject, 2)
    assert subject.due == subject.now + 60.0


def test_a_close_is_one_epoch_and_says_how_many_probes_it_took() -> None:
    one, three = half_open(Ours), half_open(Ours, success_threshold=3)
    fail(one, outcome="ok")
    fail(three, 3, outcome="ok")
    assert (one.epoch, three.epoch) == (3, 3)
    assert one.records[-1].reason == "the probe succeeded"
    assert three.records[-1].reason == "3 successful probes in a row"


def test_the_serials_of_probes_count_on_over_openings() -> None:
    subject = half_open(Ours, growth=1.0)
    serials = []
    for _ in range(3):
        probe = subject.admit()
        serials.append(probe.raw.serial)
        subject.settle(probe, "tool_failure")
        subject.advance(60.0)
    assert serials == [1, 2, 3]


def test_a_clock_set_back_twice_lengthens_nothing() -> None:
    subject = _opened_once(Ours())
    for _ in range(2):
        subject.restart(clock_step_s=-10_000.0)
        assert subject.due == subject.now + 60.0


def test_a_shadow_keeps_the_cooldown_that_runs() -> None:
    subject = _opened_once(Ours())
    subject.advance(20.0)
    subject.operate("shadow")
    assert (subject.due, subject.value.since) == (subject.now + 40.0, subject.now - 20.0)


def test_a_shadow_over_a_hold_starts_a_cooldown() -> None:
    subject = Ours()
    subject.operate("hold")
    subject.advance(1e6)
    subject.operate("shadow")
    assert subject.due == subject.now + 60.0


def test_a_decay_of_less_than_a_second_forgets_as_well() -> None:
    subject = half_open(Ours, decay_s=0.5, growth=2.0)
    fail(subject, outcome="ok")
    subject.advance(0.5)
    fail(subject, 2)
    assert subject.due == subject.now + 60.0


# --- what a settled call is told --------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [("ok", True), ("tool_failure", True), ("slow", True), ("caller_fault", False)],
)
def test_a_result_that_weighs_nothing_is_told_that_it_did_not_count(
    outcome: str, counted: bool
) -> None:
    for threshold in (1, 5):
        subject = Ours(failure_threshold=threshold)
        assert subject.settle(subject.admit(), outcome).counted == counted
    probed = half_open(Ours)
    assert probed.settle(probed.admit(), "tool_failure").counted


def test_told_to_wait_counts() -> None:
    subject = Ours()
    assert subject.settle(subject.admit(), "tool_failure", retry_after_s=5.0).counted


def test_a_disabled_breaker_says_what_it_took_a_result_for_and_does_not_count_it() -> None:
    subject = Ours(window="count", slow_call_s=1.0)
    subject.operate("disable")
    told = subject.settle(subject.admit(), "ok", duration_s=2.0)
    assert (told.outcome, told.counted, subject.stale) == ("slow", False, [])


def test_a_call_that_took_just_as_long_as_allowed_is_not_slow() -> None:
    subject = Ours(window="count", slow_call_s=1.0)
    assert subject.settle(subject.admit(), "ok", duration_s=1.0).outcome == "ok"


def test_a_failure_that_also_took_too_long_counts_as_both() -> None:
    subject = Ours(window="count", slow_call_s=1.0)
    subject.settle(subject.admit(), "tool_failure", duration_s=2.0)
    subject.settle(subject.admit(), "slow")
    assert subject.value.counts.window.ring == "bs"


def test_a_pause_shorter_than_a_second_is_a_second() -> None:
    subject = Ours()
    subject.settle(subject.admit(), "tool_failure", retry_after_s=0.2)
    assert subject.due == subject.now + 1.0


def test_a_look_at_the_very_end_of_a_cooldown_and_of_a_lease_says_what_a_caller_would_hear() -> (
    None
):
    subject = _opened_once(Ours())
    subject.advance(60.0, timers=False)
    assert subject.would_admit().admitted
    probe = half_open(Ours)
    probe.admit(lease_s=10.0)
    probe.advance(10.0, timers=False)
    assert probe.would_admit().retry_after_s == 120


# --- the table of outcomes --------------------------------------------------------------------


def test_every_outcome_has_its_declared_bearing() -> None:
    assert set(guard.BEARINGS) == set(guard.CallOutcome)


def test_only_what_the_tool_itself_did_burns_an_attempt() -> None:
    burning = {o for o, bearing in guard.BEARINGS.items() if bearing.burns_attempt}
    assert burning == {"ok", "tool_failure", "slow", "caller_fault"}


@pytest.mark.parametrize("outcome", guard.CallOutcome)
def test_the_table_says_what_an_outcome_does_to_a_closed_breaker(
    outcome: guard.CallOutcome,
) -> None:
    subject = Ours(failure_threshold=1)
    fail(subject, outcome=outcome)
    assert (subject.state == "open") == (guard.BEARINGS[outcome].closed is guard.Weight.FAILURE)


@pytest.mark.parametrize("outcome", guard.CallOutcome)
def test_the_table_says_what_an_outcome_does_to_a_probe(outcome: guard.CallOutcome) -> None:
    subject = half_open(Ours)
    fail(subject, outcome=outcome)
    expected = {
        guard.Weight.SUCCESS: "closed",
        guard.Weight.SLOW: "closed",
        guard.Weight.FAILURE: "open",
        guard.Weight.NOTHING: "half_open",
    }[guard.BEARINGS[outcome].probe]
    assert subject.state == expected


# --- the spec ---------------------------------------------------------------------------------


def test_the_default_spec_has_no_fault() -> None:
    assert faults(BreakerSpec()) == ()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"window": "sliding"}, "window"),
        ({"failure_threshold": 0}, "failure_threshold"),
        ({"success_threshold": 0}, "success_threshold"),
        ({"window": "count", "size": 0, "minimum_calls": 0}, "size"),
        ({"window": "count", "size": 1_001}, "size"),
        ({"window": "count", "size": 5, "minimum_calls": 6}, "minimum_calls"),
        ({"minimum_calls": 0}, "minimum_calls"),
        ({"failure_rate": 0.0}, "failure_rate"),
        ({"failure_rate": 1.1}, "failure_rate"),
        ({"slow_rate": math.nan}, "slow_rate"),
        ({"slow_rate": 0.0}, "slow_rate"),
        ({"slow_rate": 1.1}, "slow_rate"),
        ({"slow_call_s": 1.0}, "slow_call_s"),
        ({"window": "time", "slow_call_s": 0.0}, "slow_call_s"),
        ({"cooldown_s": 0.0}, "cooldown_s"),
        ({"cooldown_s": math.inf, "cooldown_s_max": math.inf}, "cooldown_s"),
        ({"cooldown_s": math.nan}, "cooldown_s"),
        ({"cooldown_s": 700.0}, "cooldown_s_max"),
        ({"growth": 0.5}, "growth"),
        ({"growth": 11.0}, "growth"),
        ({"jitter": -0.1}, "jitter"),
        ({"jitter": 1.1}, "jitter"),
        ({"decay_s": -1.0}, "decay_s"),
    ],
)
def test_a_fault_of_the_spec_is_named(wrong: dict[str, float], named: str) -> None:
    assert any(text.startswith(f"{named}:") for text in faults(BreakerSpec(**wrong)))


@pytest.mark.parametrize(
    "right",
    [
        {"failure_threshold": 1, "success_threshold": 1, "growth": 1.0, "jitter": 0.0},
        {"window": "count", "size": 1, "minimum_calls": 1},
        {"window": "count", "size": 1_000, "minimum_calls": 1_000},
        {"window": "time", "size": 100_000, "minimum_calls": 2_000},
        {"window": "count", "slow_call_s": 0.001, "slow_rate": 1.0, "failure_rate": 1.0},
        {"window": "count", "slow_rate": 0.001, "failure_rate": 0.001},
        {"cooldown_s": 600.0, "cooldown_s_max": 600.0, "growth": 10.0, "jitter": 1.0},
    ],
)
def test_what_lies_on_a_bound_is_no_fault(right: dict[str, float]) -> None:
    assert faults(BreakerSpec(**right)) == ()


def test_a_breaker_of_a_faulty_spec_is_never_made_and_all_faults_are_named() -> None:
    with pytest.raises(ValueError, match=r"breaker of ruff: cooldown_s: .*; growth: "):
        create("ruff", ("ruff",), BreakerSpec(cooldown_s=0.0, growth=0.0), 0.0)


def test_another_command_under_the_same_name_has_another_breaker() -> None:
    assert breaker_id("ruff", ("ruff", "check")) != breaker_id("ruff", ("ruff", "format"))
    assert breaker_id("a", ("b c",)) != breaker_id("a", ("b", "c"))


# --- invariants, over any life ----------------------------------------------------------------


def holds(breaker: Breaker) -> None:
    """The invariants of the module, and the stamps."""
    assert (breaker.probe is None) or breaker.state is State.HALF_OPEN
    assert (breaker.due is not None) == (
        breaker.state is State.OPEN and breaker.mode is not Mode.HELD
    )
    assert breaker.mode is not Mode.HELD or breaker.state is State.OPEN
    assert breaker.mode is not Mode.DISABLED or breaker.state is State.CLOSED
    assert breaker.state is State.CLOSED or breaker.counts.failures == 0
    assert breaker.completed_at is None
    if breaker.probe is not None:
        assert breaker.probe.epoch == breaker.epoch
        assert breaker.probe.serial == breaker.serial


Steps = list[tuple[str, Any]]
WINDOWS = st.sampled_from(
    [
        {"window": "consecutive", "failure_threshold": 2},
        {"window": "count", "size": 6, "minimum_calls": 3, "failure_rate": 0.5},
        {"window": "time", "size": 10, "minimum_calls": 3, "slow_call_s": 1.0, "slow_rate": 0.5},
    ]
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.sampled_from(["task:a", "task:b"])),
        st.tuples(st.just("settle"), st.sampled_from(list(guard.CallOutcome))),
        st.tuples(st.just("told"), st.floats(0.0, 20.0)),
        st.tuples(st.just("wait"), st.floats(0.0, 12.0)),
        st.tuples(st.just("late"), st.floats(0.0, 12.0)),
        st.tuples(st.just("die"), st.just("task:a")),
        st.tuples(st.just("restart"), st.floats(-20.0, 20.0)),
        st.tuples(
            st.just("operate"),
            st.sampled_from(["open", "close", "hold", "disable", "shadow", "reset"]),
        ),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(WINDOWS, STEPS)
def test_no_row_of_messages_breaks_an_invariant(kind: dict[str, object], steps: Steps) -> None:
    subject = Ours(**kind, cooldown_s=5.0, jitter=0.5)
    permits = []
    for name, value in steps:
        before = subject.epoch
        foreseen = would_admit(subject.value, subject.now)
        match name:
            case "admit":
                permit = subject.admit(value, lease_s=4.0)
                assert permit.admitted == isinstance(foreseen, guard.Clear)
                permits += [permit] if permit.admitted else []
            case "settle" if permits:
                subject.settle(permits.pop(0), value, duration_s=2.0)
            case "told" if permits:
                subject.settle(permits.pop(), "tool_failure", retry_after_s=value)
            case "wait":
                subject.advance(value)
            case "late":
                subject.advance(value, timers=False)
            case "die" if value in subject.watched:
                subject.owner_dies(value)
            case "restart":
                subject.restart(value)
            case "operate":
                subject.operate(value)
            case _:
                continue
        assert subject.epoch >= before
        holds(subject.value)


@settings(max_examples=100, deadline=None)
@given(WINDOWS, STEPS)
def test_left_alone_for_long_it_lets_a_probe_through_unless_held(
    kind: dict[str, object],
    steps: Steps,
) -> None:
    subject = Ours(**kind, cooldown_s=5.0, cooldown_s_max=50.0, jitter=0.5)
    permits = []
    for name, value in steps:
        if name == "admit":
            permits.append(subject.admit(value, lease_s=4.0))
        elif name == "settle" and permits and permits[-1].admitted:
            subject.settle(permits.pop(), value)
        elif name == "operate":
            subject.operate(value)
        elif name == "wait":
            subject.advance(value)
    subject.advance(10_000.0)
    assert subject.admit("task:last").admitted == (subject.mode != "held")


def test_cancel_timer_is_asked_for_before_a_new_cooldown_is_set() -> None:
    subject = half_open(Ours)
    subject.effects.clear()
    fail(subject)
    asked = [e.key for e in subject.effects if isinstance(e, CancelTimer | SetTimer)]
    assert asked[-2:] == ["probe", "cooldown"]
