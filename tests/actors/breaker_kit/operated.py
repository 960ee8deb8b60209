"""Cases 57 to 66: the operator's hand."""

from __future__ import annotations

import pytest

from actors.machine import InvalidTransition
from tests.actors.breaker_kit.port import Make, Subject, case, fail, half_open, opened


def moves(subject: Subject) -> list[tuple[str, str, str]]:
    return [(r.source, r.target, r.trigger) for r in subject.records]


@case(57)
def a_hold_outlasts_every_cooldown_and_names_no_time(make: Make) -> None:
    subject = make()
    assert subject.operate("hold")
    subject.advance(1e7)
    refused = subject.admit()
    assert (subject.state, subject.mode, subject.due) == ("open", "held", None)
    assert (refused.admitted, refused.retry_after_s, refused.reason) == (False, None, "drill")


@case(58)
def a_hold_ends_by_the_operators_word(make: Make) -> None:
    for verb, state in (("open", "open"), ("close", "closed"), ("reset", "closed")):
        subject = make(cooldown_s=60.0)
        subject.operate("hold")
        subject.advance(1e6)
        assert subject.operate(verb)
        assert (subject.state, subject.mode) == (state, "auto")
    subject = make(cooldown_s=60.0)
    subject.operate("hold")
    subject.operate("open")
    subject.advance(60.0)
    assert subject.admit().probe


@case(59)
def a_forced_close_from_open_is_two_records_of_one_decision_with_no_probe_between(
    make: Make,
) -> None:
    subject = opened(make)
    subject.records.clear()
    subject.operate("close")
    assert moves(subject) == [
        ("open", "half_open", "manual_override"),
        ("half_open", "closed", "manual_override"),
    ]
    assert not subject.admit().probe


@case(60)
def a_forced_open_runs_an_ordinary_cooldown_and_then_probes(make: Make) -> None:
    subject = make(cooldown_s=60.0)
    subject.operate("open")
    assert subject.admit().retry_after_s == 60
    subject.advance(60.0)
    assert subject.admit().probe


@case(61)
def a_second_forced_open_is_no_second_record_and_stretches_nothing(make: Make) -> None:
    subject = make(cooldown_s=60.0)
    subject.operate("open")
    subject.advance(30.0)
    before = subject.durable
    assert subject.operate("open")
    assert subject.durable == before
    assert len(subject.records) == 1


@case(62)
def a_reset_needs_the_health_check_to_have_passed(make: Make) -> None:
    subject = opened(make)
    before = subject.durable
    assert not subject.operate("reset", passed=False)
    assert subject.durable == before
    assert subject.operate("reset", passed=True)
    assert subject.state == "closed"
    assert subject.records[-1].metadata["evidence"] == "ruff 0.15"


@case(63)
def disabled_it_admits_all_and_counts_nothing_and_leaving_starts_fresh(make: Make) -> None:
    subject = opened(make)
    subject.operate("disable")
    assert (subject.state, subject.mode) == ("closed", "disabled")
    fail(subject, 50)
    assert subject.state == "closed"
    subject.operate("close")
    fail(subject)
    assert (subject.state, subject.mode) == ("closed", "auto")
    fail(subject)
    assert subject.state == "open"


@case(64)
def a_shadow_moves_as_usual_refuses_nobody_and_marks_whom_it_would_have(make: Make) -> None:
    subject = make(failure_threshold=2, cooldown_s=60.0)
    subject.operate("shadow")
    fail(subject, 2)
    passed = subject.admit()
    assert (subject.state, passed.admitted, passed.would_refuse) == ("open", True, True)
    assert not subject.settle(passed, "tool_failure").counted
    subject.advance(60.0)
    probe, other = subject.admit("task:a"), subject.admit("task:b")
    assert (probe.probe, other.admitted, other.would_refuse) == (True, True, True)
    assert not subject.settle(other, "tool_failure").counted
    assert subject.settle(probe).state == "closed"


@case(65)
def an_edge_that_is_not_in_the_chart_raises_and_leaves_no_trace(make: Make) -> None:
    for subject, source, target in (
        (make(), "closed", "half_open"),
        (opened(make), "open", "closed"),
    ):
        before, records = subject.durable, list(subject.records)
        with pytest.raises(InvalidTransition):
            subject.illegal(source, target)
        assert (subject.durable, subject.records) == (before, records)


@case(66)
def what_an_operator_does_names_them_and_makes_every_older_ticket_stale(make: Make) -> None:
    subject = half_open(make)
    probe = subject.admit()
    subject.operate("close")
    assert (subject.records[-1].operator, subject.records[-1].reason) == ("ann", "drill")
    assert subject.settle(probe, "tool_failure").outcome == "stale"
    assert subject.state == "closed"
