"""A breaker and those who wait for its tool: allowances, the ramp, blame, and a plan's revision."""

from __future__ import annotations

import msgspec
import pytest

from actors import guard_messages as guard
from actors.breaker import decide
from actors.effects import Note, Send
from actors.messages import Announce, Recovered
from actors.spec import Breaker as BreakerSpec
from tests.actors.breaker_kit.ours import Ours
from tests.actors.breaker_kit.port import fail, half_open, opened


def closed_again(**settings: object) -> Ours:
    subject = half_open(Ours, **settings)
    assert isinstance(subject, Ours)
    fail(subject, outcome="ok")
    assert subject.state == "closed"
    return subject


def test_one_that_never_opened_tells_the_dispatcher_nothing() -> None:
    subject = Ours()
    fail(subject, 3, outcome="ok")
    fail(subject)
    assert subject.allowances == []


def test_an_open_breaker_allows_nothing_and_a_half_open_one_a_single_probe() -> None:
    subject = half_open(Ours)
    assert isinstance(subject, Ours)
    subject.admit("task:a")
    assert subject.allowances == [0, 1, 0]


def test_what_a_breaker_would_refuse_it_does_not_allow() -> None:
    for subject in (opened(Ours), half_open(Ours)):
        assert isinstance(subject, Ours)
        subject.admit("task:a")
        assert not subject.admit("task:b").admitted
        assert subject.allowances[-1] == 0


def test_a_dispatcher_that_let_a_refused_call_come_is_told_again_that_none_may() -> None:
    # Its index was built anew, and the breaker had not spoken yet: it would let it come for ever.
    subject = opened(Ours)
    assert isinstance(subject, Ours)
    before = len(subject.allowances)
    assert not subject.admit("task:a").admitted
    assert subject.allowances[before:] == [0]


def test_after_closing_answers_double_what_is_allowed_until_there_is_no_bound() -> None:
    subject = closed_again()
    allowed = [subject.value.ramp]
    for _ in range(127):
        fail(subject, outcome="ok")
        if subject.value.ramp != allowed[-1]:
            allowed.append(subject.value.ramp)
    assert allowed == [1, 2, 4, 8, 16, 32, 64, None]
    assert subject.allowances[3:] == allowed


@pytest.mark.parametrize("outcome", ["tool_failure", "cancelled", "unreachable", "lapsed"])
def test_what_is_no_answer_widens_nothing(outcome: str) -> None:
    subject = closed_again()
    fail(subject, outcome=outcome)
    assert subject.value.ramp == 1


def test_findings_of_a_linter_are_answers_on_the_ramp_and_of_a_probe() -> None:
    subject = half_open(Ours)
    assert isinstance(subject, Ours)
    fail(subject, outcome="caller_fault")
    assert subject.state == "closed"
    fail(subject, outcome="caller_fault")
    assert subject.value.ramp == 2


def test_failures_on_the_ramp_count_as_usual() -> None:
    subject = closed_again(failure_threshold=2)
    fail(subject, 2)
    assert (subject.state, subject.allowances[-1]) == ("open", 0)


def test_a_new_dispatcher_is_told_again_and_nothing_where_there_is_no_bound() -> None:
    for message in (Recovered(2), Announce()):
        subject = opened(Ours)
        assert isinstance(subject, Ours)
        before = len(subject.allowances)
        subject.tell(message)
        assert subject.allowances[before:] == [0]
        healthy = Ours()
        healthy.tell(message)
        assert healthy.allowances == []


def test_the_ramp_outlives_its_owner() -> None:
    subject = closed_again()
    fail(subject, outcome="ok")
    subject.restart()
    assert (subject.value.ramp, subject.allowances[-1]) == (2, 2)


def test_closed_by_hand_it_ramps_too_and_disabled_or_shadowed_it_does_not() -> None:
    allowed = {}
    for verb in ("close", "reset", "disable", "shadow"):
        subject = opened(Ours)
        assert isinstance(subject, Ours)
        subject.operate(verb)
        allowed[verb] = subject.allowances[-1]
    assert allowed == {"close": 1, "reset": 1, "disable": None, "shadow": None}


def test_an_allowance_overtakes_what_waits_at_the_dispatcher() -> None:
    ours = Ours(failure_threshold=1)
    settle = guard.Settle(ours.admit().raw, guard.CallOutcome.TOOL_FAILURE, "task:a")
    first, *_ = decide(ours.value, settle, ours.now).effects
    assert isinstance(first, Send)
    assert first.control


def test_the_answer_names_the_call_that_it_answers() -> None:
    subject = opened(Ours)
    assert isinstance(subject, Ours)
    (refused,) = subject.tell(guard.Admit("task:a", call="7.1"))
    assert refused.message.call == "7.1"
    healthy = Ours()
    (admitted,) = healthy.tell(guard.Admit("task:a", call="7.2"))
    assert admitted.message.call == "7.2"


# --- blame --------------------------------------------------------------------------------------


def test_blame_is_one_failure_where_failures_count() -> None:
    subject = Ours(failure_threshold=2)
    subject.tell(guard.Blame("task:a", "loop"))
    assert subject.value.counts.failures == 1
    subject.tell(guard.Blame("task:b", "loop"))
    assert subject.state == "open"


def test_blame_moves_nothing_that_is_out_of_use_or_on_probation_or_disabled() -> None:
    disabled = Ours(failure_threshold=1)
    disabled.operate("disable")
    for subject in (opened(Ours), half_open(Ours), disabled):
        before = subject.durable
        assert isinstance(subject, Ours)
        subject.tell(guard.Blame("task:a", "loop"))
        assert subject.durable is before


# --- another plan -------------------------------------------------------------------------------

STRICT = BreakerSpec(failure_threshold=1, jitter=0.0)


def test_the_newest_plan_counts_from_its_submission_on() -> None:
    subject = Ours(failure_threshold=5)
    fail(subject, 3)
    (note,) = subject.tell(guard.Revise(STRICT, ("tool", "--version"), "here", "plan of run r"))
    assert isinstance(note, Note)
    assert (note.event_type, note.reason) == ("breaker_revised", "plan of run r")
    assert subject.value.health == ("tool", "--version")
    fail(subject)
    assert subject.state == "open"


def test_a_revision_leaves_state_epoch_cooldown_and_like_counts() -> None:
    subject = Ours(failure_threshold=5)
    fail(subject, 3)
    subject.tell(guard.Revise(STRICT))
    assert subject.value.counts.failures == 3
    shut = opened(Ours)
    assert isinstance(shut, Ours)
    due = shut.due
    shut.tell(guard.Revise(STRICT))
    assert (shut.state, shut.due, shut.epoch) == ("open", due, 1)


def test_another_window_counts_anew() -> None:
    subject = Ours(failure_threshold=5)
    fail(subject, 3)
    subject.tell(guard.Revise(BreakerSpec(window="count", size=10)))
    assert subject.value.counts.failures == 0


def test_the_same_again_leaves_the_very_same_value() -> None:
    subject = Ours(failure_threshold=5)
    before = subject.value
    assert subject.tell(guard.Revise(before.rules)) == []
    assert subject.value is before


def test_the_same_plan_in_another_folder_is_no_revision_on_record() -> None:
    subject = Ours(failure_threshold=5)
    assert subject.tell(guard.Revise(subject.value.rules, base_dir="elsewhere")) == []
    assert subject.value.base_dir == "elsewhere"


def test_a_revision_and_its_way_back_are_stored() -> None:
    subject = Ours(failure_threshold=5)
    first = subject.value.spec
    subject.tell(guard.Revise(STRICT))
    stored = msgspec.json.decode(subject.stored, type=type(subject.value))
    assert stored.rules == STRICT
    subject.tell(guard.Revise(first))
    assert subject.value.revised is None
