"""Cases 37 to 56: one probe at a time, and no way to be stuck in HALF_OPEN."""

from __future__ import annotations

import math

from tests.actors.breaker_kit.port import Make, case, fail, half_open


@case(37)
def of_a_hundred_callers_at_once_one_probes_and_the_rest_hear_when_to_come_back(
    make: Make,
) -> None:
    subject = half_open(make)
    answers = [subject.admit(f"task:{i}", lease_s=12.5) for i in range(100)]
    assert [a.admitted for a in answers] == [True] + [False] * 99
    assert {a.retry_after_s for a in answers[1:]} == {math.ceil(12.5)}


@case(38)
def every_probe_is_a_lease_of_its_own(make: Make) -> None:
    subject = half_open(make, success_threshold=2)
    first = subject.admit("task:a", lease_s=5.0)
    subject.settle(first)
    second = subject.admit("task:b", lease_s=5.0)
    assert first.probe
    assert second.probe
    assert first.raw != second.raw
    assert (second.raw.owner, second.raw.deadline) == ("task:b", subject.now + 5.0)


@case(39)
def it_closes_after_as_many_single_probes_in_a_row_as_are_asked_for(make: Make) -> None:
    subject = half_open(make, success_threshold=3)
    states = []
    for _ in range(3):
        probe = subject.admit()
        assert probe.probe
        assert not subject.admit("task:other").admitted
        states.append(subject.settle(probe).state)
    assert states == ["half_open", "half_open", "closed"]


@case(40)
def a_close_forgets_the_failures_and_the_ladder(make: Make) -> None:
    subject = half_open(make, growth=2.0, cooldown_s_max=1e4)
    fail(subject)  # reopened: the second rung
    subject.advance(120.0)
    fail(subject, outcome="ok")
    assert subject.state == "closed"
    fail(subject)
    assert subject.state == "closed"
    fail(subject)
    assert subject.due == subject.now + 60.0


@case(41)
def a_failed_probe_reopens_for_a_whole_new_cooldown(make: Make) -> None:
    subject = half_open(make, growth=1.0)
    probe = subject.admit()
    subject.advance(7.0)
    subject.settle(probe, "tool_failure")
    assert (subject.state, subject.due) == ("open", subject.now + 60.0)


@case(42)
def a_slow_probe_fails_only_where_slow_calls_are_counted(make: Make) -> None:
    subject = half_open(make)
    fail(subject, outcome="slow")
    assert subject.state == "closed"
    counting = make(
        window="count", size=4, minimum_calls=2, slow_call_s=1.0, cooldown_s=60.0, growth=1.0
    )
    fail(counting, 2)
    counting.advance(60.0)
    counting.settle(counting.admit(), "ok", duration_s=3.0)
    assert counting.state == "open"


@case(43)
def a_cancelled_probe_frees_the_lease_and_the_next_caller_probes(make: Make) -> None:
    subject = half_open(make)
    subject.settle(subject.admit("task:a"), "cancelled")
    assert subject.state == "half_open"
    assert subject.admit("task:b").probe


@case(44)
def the_death_of_the_probes_owner_frees_it_at_once_and_no_others_does(make: Make) -> None:
    subject = half_open(make)
    subject.settle(subject.admit("task:earlier"), "cancelled")
    subject.admit("task:a", lease_s=1e6)
    subject.owner_dies("task:earlier")
    assert not subject.admit("task:b").admitted
    subject.owner_dies("task:a")
    assert subject.admit("task:b").probe


@case(45)
def three_probes_in_a_row_without_a_verdict_reopen_it(make: Make) -> None:
    for outcome in ("cancelled", "unreachable"):
        subject = half_open(make, growth=5.0)
        fail(subject, 2, outcome=outcome)
        assert subject.state == "half_open"
        fail(subject, outcome=outcome)
        assert (subject.state, subject.due) == ("open", subject.now + 60.0), "no new rung"


@case(46)
def a_success_between_makes_the_next_inconclusive_probe_the_first(make: Make) -> None:
    subject = half_open(make, success_threshold=2)
    fail(subject, 2, outcome="cancelled")
    fail(subject, outcome="ok")
    fail(subject, 2, outcome="cancelled")
    assert subject.state == "half_open"
    fail(subject, outcome="ok")
    assert subject.state == "closed"


@case(47)
def the_late_result_of_a_lapsed_probe_changes_nothing(make: Make) -> None:
    for outcome in ("ok", "tool_failure"):
        subject = half_open(make)
        lost = subject.admit(lease_s=10.0)
        subject.advance(10.0)
        assert subject.state == "open"
        before = subject.durable
        assert subject.settle(lost, outcome).outcome == "stale"
        assert subject.durable == before


@case(48)
def the_deadline_reopens_it_without_any_caller(make: Make) -> None:
    subject = half_open(make)
    subject.admit(lease_s=10.0)
    subject.advance(9.999)
    assert subject.state == "half_open"
    subject.advance(0.001)
    assert (subject.state, subject.records[-1].trigger) == ("open", "test_failed")


@case(49)
def a_kill_during_a_probe_leaves_no_lease_and_nothing_stuck(make: Make) -> None:
    subject = half_open(make)
    lost = subject.admit(lease_s=1e6)
    subject.restart()
    assert subject.state == "half_open"
    assert subject.settle(lost, "ok").outcome == "stale"
    probe = subject.admit("task:b")
    assert probe.probe
    assert subject.settle(probe).state == "closed"


@case(50)
def a_result_at_the_very_deadline_comes_too_late(make: Make) -> None:
    subject = half_open(make)
    probe = subject.admit(lease_s=10.0)
    subject.advance(10.0, timers=False)
    assert subject.settle(probe, "ok").outcome == "stale"
    assert subject.state == "open"


@case(51)
def a_failure_from_before_the_trip_does_not_fail_the_probe(make: Make) -> None:
    subject = make(failure_threshold=2, cooldown_s=60.0)
    late = subject.admit("task:a")
    fail(subject, 2)
    subject.advance(60.0)
    probe = subject.admit("task:a")
    subject.settle(late, "tool_failure")
    assert subject.state == "half_open"
    assert subject.settle(probe).state == "closed"


@case(52)
def a_success_from_before_the_trip_does_not_close_it(make: Make) -> None:
    subject = make(failure_threshold=2, cooldown_s=60.0)
    late = subject.admit("task:a")
    fail(subject, 2)
    subject.advance(60.0)
    subject.admit("task:a")
    subject.settle(late, "ok")
    assert subject.state == "half_open"


@case(53)
def a_probe_settled_by_another_than_its_owner_is_refused(make: Make) -> None:
    subject = half_open(make)
    probe = subject.admit("task:a")
    assert not subject.settle(probe, "ok", by="task:thief").counted
    assert subject.state == "half_open"
    assert subject.settle(probe, "ok").state == "closed"


@case(54)
def a_probe_settled_twice_counts_once(make: Make) -> None:
    subject = half_open(make, success_threshold=2)
    probe = subject.admit()
    subject.settle(probe)
    assert subject.settle(probe).outcome == "stale"
    assert subject.state == "half_open"


@case(55)
def asking_whether_it_would_admit_takes_no_lease(make: Make) -> None:
    subject = half_open(make)
    assert all(subject.would_admit().admitted for _ in range(3))
    assert subject.admit().probe
    assert not subject.would_admit().admitted
    subject.advance(1e3, timers=False)
    assert not subject.would_admit().admitted, "the lapsed probe would have reopened it"


@case(56)
def a_probe_that_is_told_to_wait_reopens_until_then_on_the_same_rung(make: Make) -> None:
    subject = half_open(make, growth=2.0, cooldown_s_max=1e4)
    told = subject.settle(subject.admit(), "tool_failure", retry_after_s=7.0)
    assert (told.state, told.burns_attempt) == ("open", False)
    assert subject.due == subject.now + 7.0
    subject.advance(7.0)
    fail(subject)
    assert subject.due == subject.now + 120.0
