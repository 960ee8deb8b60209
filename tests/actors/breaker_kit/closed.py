"""Cases 1 to 18: what a CLOSED breaker counts, and what it must not count."""

from __future__ import annotations

from tests.actors.breaker_kit.port import Make, case, each, fail

COUNTED = {"window": "count", "size": 10, "minimum_calls": 4, "failure_rate": 0.5}
TIMED = {"window": "time", "size": 10, "minimum_calls": 4, "failure_rate": 0.5}


@case(1)
def starts_closed_in_its_first_epoch_with_nothing_due(make: Make) -> None:
    subject = make()
    assert (subject.state, subject.mode, subject.epoch, subject.due) == ("closed", "auto", 0, None)


@case(2)
def admits_any_number_of_calls_at_once_while_closed(make: Make) -> None:
    subject = make()
    assert all(subject.admit(f"task:{i}").admitted for i in range(100))


@case(3)
def a_success_between_failures_zeroes_the_count(make: Make) -> None:
    subject = make(failure_threshold=2)
    fail(subject)
    fail(subject, outcome="ok")
    fail(subject)
    assert subject.state == "closed"


@case(4)
def failures_count_by_when_they_are_settled_whoever_made_the_calls(make: Make) -> None:
    subject = make(failure_threshold=3)
    permits = [subject.admit(f"task:{i}") for i in range(3)]
    for permit in reversed(permits):
        subject.settle(permit, "tool_failure")
    assert subject.state == "open"


@case(5)
def opens_at_the_threshold_and_not_below_it(make: Make) -> None:
    for threshold in (1, 2, 5):
        subject = make(failure_threshold=threshold)
        fail(subject, threshold - 1)
        assert subject.state == "closed"
        fail(subject)
        assert subject.state == "open"


@case(6)
def the_caller_whose_failure_opens_it_is_told_so(make: Make) -> None:
    subject = make(failure_threshold=1)
    assert subject.settle(subject.admit(), "tool_failure").state == "open"


@case(7)
def a_fault_of_the_caller_neither_counts_nor_resets(make: Make) -> None:
    subject = make(failure_threshold=2)
    fail(subject)
    before = subject.durable
    fail(subject, outcome="caller_fault")
    assert subject.durable == before
    fail(subject)
    assert subject.state == "open"


@case(8)
def where_slow_calls_are_not_counted_a_slow_success_is_a_success(make: Make) -> None:
    subject = make(failure_threshold=2)
    fail(subject)
    fail(subject, outcome="slow")
    fail(subject)
    assert subject.state == "closed"


@case(9)
def a_result_that_was_called_a_failure_opens_without_an_error_text(make: Make) -> None:
    subject = make(failure_threshold=1)
    subject.settle(subject.admit(), "tool_failure", error=None)
    assert subject.state == "open"


@case(10)
def a_success_that_took_too_long_counts_as_slow(make: Make) -> None:
    subject = make(**COUNTED | {"slow_call_s": 1.0, "slow_rate": 1.0})
    taken = [subject.settle(subject.admit(), "ok", duration_s=s) for s in (1.5, 1.5, 1.5, 1.5)]
    assert [t.outcome for t in taken] == ["slow"] * 4
    assert subject.state == "open"


@case(11)
def a_cancelled_call_leaves_every_count_as_it_was(make: Make) -> None:
    for subject in each(make, {"failure_threshold": 2}, COUNTED, TIMED):
        fail(subject)
        before = subject.durable
        fail(subject, 10, outcome="cancelled")
        assert subject.durable == before


@case(12)
def a_call_whose_end_nobody_knows_counts_neither_way(make: Make) -> None:
    subject = make(failure_threshold=2)
    fail(subject)
    before = subject.durable
    fail(subject, 5, outcome="lapsed")
    assert subject.durable == before


@case(13)
def neither_the_callers_faults_nor_an_unreachable_tool_open_it(make: Make) -> None:
    for subject in each(make, {"failure_threshold": 1}, COUNTED | {"minimum_calls": 1}):
        fail(subject, 20, outcome="caller_fault")
        fail(subject, 20, outcome="unreachable")
        assert subject.state == "closed"


@case(14)
def a_window_opens_at_its_failure_rate_and_not_below_it(make: Make) -> None:
    subject = make(**COUNTED | {"minimum_calls": 10})
    fail(subject, 5, outcome="ok")
    fail(subject, 4)
    fail(subject, outcome="ok")
    assert subject.state == "closed"
    fail(subject)
    assert subject.state == "open"


@case(15)
def below_the_minimum_of_calls_a_window_never_opens_however_bad(make: Make) -> None:
    for settings in (COUNTED, TIMED):
        subject = make(**settings)
        fail(subject, 3)
        assert subject.state == "closed"
        fail(subject)
        assert subject.state == "open"


@case(16)
def a_full_window_of_calls_forgets_its_oldest_result(make: Make) -> None:
    subject = make(**COUNTED | {"size": 4, "minimum_calls": 4, "failure_rate": 0.75})
    fail(subject, 2)
    fail(subject, 4, outcome="ok")
    fail(subject, 2)
    assert subject.state == "closed"
    fail(subject)
    assert subject.state == "open"


@case(17)
def a_result_is_booked_where_its_call_began(make: Make) -> None:
    subject = make(**TIMED)
    old = [subject.admit(f"task:{i}") for i in range(4)]
    subject.advance(20.0)
    for permit in old:
        subject.settle(permit, "tool_failure")
    assert subject.state == "closed", "all four began before the window"


@case(18)
def a_window_of_time_forgets_what_is_older_than_itself(make: Make) -> None:
    subject = make(**TIMED)
    fail(subject, 3)
    subject.advance(11.0)
    fail(subject, 3)
    assert subject.state == "closed"
    fail(subject)
    assert subject.state == "open"
