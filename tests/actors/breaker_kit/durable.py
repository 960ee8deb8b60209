"""Cases 67 to 86: what a restart keeps, what goes on record, and what load may not change.

Two of the list are not a pure breaker's to prove, and are held by the kernel's own tests: 73 (a
second process cannot become the owner) and 75 (nothing is acknowledged while the log fails).
"""

from __future__ import annotations

import random

import msgspec
import pytest

from tests.actors.breaker_kit.port import Make, Subject, case, fail, half_open, opened

KEPT_BY_THE_KERNEL = {73, 75}


@case(67)
def a_decision_that_is_not_kept_leaves_the_state_before_it_whole(make: Make) -> None:
    subject = make(failure_threshold=1)
    before, stored = subject.durable, subject.stored
    fail(subject)
    assert subject.state == "open"
    assert msgspec.json.encode(before) == stored


@case(68)
def every_state_is_read_back_as_it_was_stored(make: Make) -> None:
    probing = half_open(make)
    probing.admit()
    window = make(window="time", size=10, minimum_calls=5)
    fail(window, 3)
    held = make()
    held.operate("hold")
    for subject in (make(), opened(make), probing, window, held):
        stored = subject.stored
        assert msgspec.json.decode(stored, type=type(subject.durable)) == subject.durable


@case(69)
def on_another_clock_what_remains_is_at_most_one_cooldown(make: Make) -> None:
    for step in (-1e9, -3_600.0, -30.0, 0.0, 30.0, 3_600.0):
        subject = opened(make)
        subject.restart(clock_step_s=step)
        remaining = (subject.due or subject.now) - subject.now
        assert 0.0 <= remaining <= 60.0


@case(70)
def a_restart_keeps_the_rest_of_the_cooldown(make: Make) -> None:
    subject = opened(make)
    subject.advance(42.0)
    subject.restart()
    assert subject.admit().retry_after_s == 18
    subject.advance(18.0)
    assert subject.admit().probe


@case(71)
def the_same_messages_at_the_same_instants_give_the_same_breaker(make: Make) -> None:
    def lived(seed: int) -> Subject:
        subject = make(failure_threshold=2, cooldown_s=5.0, jitter=0.5)
        _live(subject, random.Random(seed), steps=200)
        return subject

    one, two = lived(7), lived(7)
    assert one.durable == two.durable
    assert one.records == two.records


@case(72)
def a_success_with_nothing_counted_leaves_the_very_same_value(make: Make) -> None:
    subject = make()
    before = subject.durable
    fail(subject, 10, outcome="ok")
    assert subject.durable is before
    window = make(window="count", size=5, minimum_calls=5)
    fail(window, 5, outcome="ok")
    full = window.durable
    fail(window, 5, outcome="ok")
    assert window.durable is full


@case(74)
def a_cooldown_that_ended_while_nobody_ran_moves_it_once(make: Make) -> None:
    subject = opened(make)
    subject.records.clear()
    subject.restart(clock_step_s=86_400.0)
    assert [r.trigger for r in subject.records] == ["cooldown_expired"]


@case(76)
def a_restart_keeps_the_counts_of_a_closed_breaker(make: Make) -> None:
    subject = make(failure_threshold=3)
    fail(subject, 2)
    subject.restart()
    fail(subject)
    assert subject.state == "open"


@case(77)
def each_transition_has_one_record_of_its_severity(make: Make) -> None:
    subject = half_open(make)
    fail(subject)
    subject.advance(120.0)
    fail(subject, outcome="ok")
    assert [(r.target, r.severity) for r in subject.records] == [
        ("open", "error"),
        ("half_open", "warning"),
        ("open", "error"),
        ("half_open", "warning"),
        ("closed", "info"),
    ]


@case(78)
def the_epoch_rises_by_one_with_each_transition(make: Make) -> None:
    subject = half_open(make)
    fail(subject)
    subject.operate("close")
    assert subject.epoch == len(subject.records) == 5


@case(79)
def a_reader_of_the_records_can_change_nothing(make: Make) -> None:
    subject = opened(make)
    with pytest.raises(AttributeError):
        subject.durable.state = "closed"
    assert subject.state == "open"


@case(80)
def a_record_names_the_tool_the_mode_and_when_it_ends(make: Make) -> None:
    subject = opened(make)
    assert subject.records[0].metadata == {
        "tool": "tool",
        "mode": "auto",
        "epoch": 1,
        "due": subject.due,
        "openings_in_a_row": 1,
    }


@case(81)
def what_is_no_transition_has_no_record(make: Make) -> None:
    subject = make(failure_threshold=3)
    fail(subject, 2)
    fail(subject, outcome="ok")
    fail(subject, outcome="cancelled")
    subject.restart()
    assert subject.records == []


@case(82)
def a_record_says_in_words_what_there_was_too_much_of(make: Make) -> None:
    in_a_row = opened(make)
    shares = make(window="count", size=10, minimum_calls=3, failure_rate=0.5)
    fail(shares, outcome="ok")
    fail(shares, 2)
    assert in_a_row.records[0].reason == "2 failures in a row"
    assert shares.records[0].reason == "2 of 3 calls failed"


@case(83)
def the_guarded_calls_run_side_by_side_and_end_in_any_order(make: Make) -> None:
    subject = make(failure_threshold=100)
    permits = [subject.admit(f"task:{i}") for i in range(50)]
    random.Random(3).shuffle(permits)
    assert all(subject.settle(p).counted for p in permits)


@case(84)
def ten_thousand_refusals_leave_the_very_same_value(make: Make) -> None:
    subject = opened(make)
    before = subject.durable
    for _ in range(10_000):
        subject.admit()
    assert subject.durable is before


@case(85)
def every_edge_is_taken_with_a_restart_after_every_step(make: Make) -> None:
    taken = set()
    for seed in range(20):
        subject = make(failure_threshold=1, cooldown_s=5.0, jitter=0.5)
        _live(subject, random.Random(seed), steps=100, restarts=True)
        taken |= {(r.source, r.target, r.trigger) for r in subject.records}
    assert len(taken) == 8


@case(86)
def its_row_stays_small_whatever_the_traffic(make: Make) -> None:
    chance = random.Random(1)
    for settings in ({"window": "count", "size": 100}, {"window": "time", "size": 60}):
        subject = make(**settings, failure_rate=1.0)
        for _ in range(5_000):
            subject.settle(subject.admit(), "ok" if chance.random() < 0.5 else "tool_failure")
            subject.advance(chance.random())
        assert len(subject.stored) < 1_500


def _live(subject: Subject, chance: random.Random, *, steps: int, restarts: bool = False) -> None:
    """A life of so many steps: calls, waiting, and now and then an operator."""
    verbs = ("open", "close", "hold", "disable", "shadow", "reset")
    for step in range(steps):
        roll = chance.random()
        if roll < 0.6:
            permit = subject.admit(f"task:{step}", lease_s=3.0)
            outcomes = ("ok", "tool_failure", "cancelled", "unreachable", "slow")
            if permit.admitted and chance.random() < 0.9:
                subject.settle(permit, chance.choice(outcomes))
        elif roll < 0.85:
            subject.advance(chance.random() * 6.0)
        else:
            subject.operate(chance.choice(verbs))
        if restarts:
            subject.restart()
