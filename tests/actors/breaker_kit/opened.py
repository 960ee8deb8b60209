"""Cases 19 to 36: what an OPEN breaker refuses, for how long, and what it does not listen to."""

from __future__ import annotations

from tests.actors.breaker_kit.port import Make, Subject, case, fail, half_open, opened


def cooldown(subject: Subject) -> float:
    assert subject.due is not None
    return subject.due - subject.now


def reopen(subject: Subject) -> float:
    """Lets the cooldown pass and the probe fail; returns the length of the next cooldown."""
    subject.advance(cooldown(subject))
    fail(subject)
    assert subject.state == "open"
    return cooldown(subject)


@case(19)
def an_open_breaker_refuses_and_hands_out_no_ticket(make: Make) -> None:
    subject = opened(make)
    assert [subject.admit(f"task:{i}").admitted for i in range(3)] == [False] * 3


@case(20)
def a_refusal_carries_what_opened_it(make: Make) -> None:
    subject = make(failure_threshold=1)
    subject.settle(subject.admit(), "tool_failure", error="exit code 70")
    assert "exit code 70" in (subject.admit().reason or "")


@case(21)
def retry_after_never_rises_and_is_never_0_while_refusing(make: Make) -> None:
    subject = opened(make)
    heard = []
    while not (permit := subject.admit()).admitted:
        heard.append(permit.retry_after_s or 0)
        subject.advance(0.7, timers=False)
    assert heard == sorted(heard, reverse=True)
    assert min(heard) >= 1


@case(22)
def retry_after_is_rounded_up_so_that_no_caller_comes_too_early(make: Make) -> None:
    subject = opened(make)
    subject.advance(0.4)
    assert subject.admit().retry_after_s == 60
    subject.advance(59.5)
    assert subject.admit().retry_after_s == 1


@case(23)
def each_call_refused_is_one_refusal(make: Make) -> None:
    subject = opened(make)
    refused = [subject.admit(f"task:{i}") for i in range(7)]
    assert sum(not r.admitted for r in refused) == 7


@case(24)
def a_refusal_is_no_outcome_and_lengthens_nothing(make: Make) -> None:
    subject = opened(make)
    before = subject.durable
    for _ in range(100):
        subject.admit()
    assert subject.durable == before


@case(25)
def a_late_success_of_a_call_from_before_the_trip_changes_nothing(make: Make) -> None:
    subject = make(failure_threshold=2)
    late = subject.admit("task:slow")
    fail(subject, 2)
    before = subject.durable
    assert not subject.settle(late, "ok").counted
    assert subject.durable == before


@case(26)
def a_late_failure_does_not_stretch_the_cooldown(make: Make) -> None:
    subject = make(failure_threshold=2)
    late = [subject.admit(f"task:{i}") for i in range(5)]
    fail(subject, 2)
    due = subject.due
    for permit in late:
        subject.advance(5.0)
        subject.settle(permit, "tool_failure")
    assert subject.due == due


@case(27)
def a_late_result_goes_on_record_as_stale_with_its_epoch(make: Make) -> None:
    subject = make(failure_threshold=2)
    late = subject.admit("task:slow")
    fail(subject, 2)
    assert subject.settle(late, "ok").outcome == "stale"
    assert subject.stale == [0]


@case(28)
def each_opening_in_a_row_waits_longer_up_to_the_cap(make: Make) -> None:
    subject = opened(make, cooldown_s=10.0, growth=3.0, cooldown_s_max=100.0)
    first = cooldown(subject)
    assert [first, *(reopen(subject) for _ in range(4))] == [10.0, 30.0, 90.0, 100.0, 100.0]


@case(29)
def a_clock_set_back_a_day_over_a_restart_does_not_delay_the_probe(make: Make) -> None:
    subject = opened(make)
    subject.restart(clock_step_s=-86_400.0)
    subject.advance(60.0)
    assert subject.admit().probe


@case(30)
def the_jitter_is_bounded_repeatable_and_differs_between_breakers(make: Make) -> None:
    def first_cooldown(name: str) -> float:
        subject = make(name, failure_threshold=1, cooldown_s=10.0, jitter=0.5)
        fail(subject)
        return cooldown(subject)

    lengths = [first_cooldown(f"tool{i}") for i in range(20)]
    assert lengths == [first_cooldown(f"tool{i}") for i in range(20)]
    assert all(10.0 <= length <= 15.0 for length in lengths)
    assert len(set(lengths)) == 20


@case(31)
def looking_changes_nothing(make: Make) -> None:
    subject = opened(make)
    before, records = subject.durable, list(subject.records)
    for _ in range(3):
        subject.would_admit()
        subject.advance(59.0, timers=False)
    assert (subject.durable, subject.records) == (before, records)


@case(32)
def a_caller_at_the_very_end_of_the_cooldown_is_admitted_and_none_before(make: Make) -> None:
    subject = opened(make)
    subject.advance(59.999, timers=False)
    assert not subject.admit().admitted
    subject.advance(0.001, timers=False)
    assert subject.admit().probe


@case(33)
def with_a_decay_the_ladder_shrinks_by_healthy_time_and_not_at_once(make: Make) -> None:
    def flapping(healthy_s: float) -> float:
        subject = opened(make, cooldown_s=10.0, growth=2.0, cooldown_s_max=1e4, decay_s=100.0)
        for _ in range(3):
            reopen(subject)  # the fourth opening in a row
        subject.advance(cooldown(subject))
        fail(subject, outcome="ok")
        assert subject.state == "closed"
        subject.advance(healthy_s)
        fail(subject, 2)
        return cooldown(subject)

    assert [flapping(s) for s in (0.0, 100.0, 250.0, 1_000.0)] == [160.0, 80.0, 40.0, 10.0]


@case(34)
def told_by_the_tool_it_opens_until_then_and_burns_no_attempt(make: Make) -> None:
    subject = make(failure_threshold=5)
    told = subject.settle(subject.admit(), "tool_failure", retry_after_s=63.0)
    assert (subject.state, cooldown(subject)) == ("open", 63.0)
    assert not told.burns_attempt
    assert subject.admit().retry_after_s == 63


@case(35)
def neither_a_long_row_of_openings_nor_an_absurd_pause_overflows(make: Make) -> None:
    subject = opened(make, cooldown_s=1.0, growth=10.0, cooldown_s_max=60.0)
    assert [reopen(subject) for _ in range(500)][-1] == 60.0
    for told in (float("inf"), float("nan"), -5.0, 0.0):
        other = make(failure_threshold=5)
        other.settle(other.admit(), "tool_failure", retry_after_s=told)
        assert other.state == "open"
        assert 1.0 <= cooldown(other) <= 7 * 86_400.0


@case(36)
def the_end_of_the_cooldown_shows_without_a_caller(make: Make) -> None:
    subject = half_open(make)
    assert subject.state == "half_open"
    assert [r.trigger for r in subject.records] == [
        "failure_threshold_exceeded",
        "cooldown_expired",
    ]
