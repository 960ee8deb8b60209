"""What a result counts for, and what the odds are."""

from __future__ import annotations

import pytest

from actors import merge_odds
from actors.merge_evidence import Evidence, Weight
from actors.merge_queue import Build, Built, End, GateOutcome, Start, Unfit

PASSED, FAILED = GateOutcome.PASSED, GateOutcome.FAILED
QUESTION = ("tree", "unit")


@pytest.fixture
def known() -> Evidence:
    """One attempt runs."""
    known = Evidence()
    known.started("1", Start("a", 1, "tree", QUESTION))
    return known


def test_the_first_verdict_counts(known: Evidence) -> None:
    assert known.ended("1", QUESTION, PASSED) is Weight.COUNTS
    assert known.verdicts == {QUESTION: PASSED}


def test_a_verdict_that_comes_twice_frees_one_slot_and_counts_once(known: Evidence) -> None:
    known.started("2", Start("b", 1, "other", ("other", "unit")))
    known.ended("1", QUESTION, PASSED)
    assert known.ended("1", QUESTION, PASSED) is Weight.EVIDENCE
    assert list(known.attempts) == ["2"]


def test_a_contradiction_is_told_and_changes_nothing(known: Evidence) -> None:
    known.ended("1", QUESTION, PASSED)
    assert known.ended("1", QUESTION, FAILED) is Weight.CONTRADICTS
    assert known.verdicts == {QUESTION: PASSED}


def test_what_a_stopped_attempt_says_is_evidence_only_and_frees_its_slot(known: Evidence) -> None:
    known.stopping("1")
    assert list(known.attempts) == ["1"]
    assert known.ended("1", QUESTION, FAILED) is Weight.EVIDENCE
    assert (known.verdicts, known.attempts, known.stalls) == ({}, {}, set())


def test_one_that_ended_before_it_was_told_to_stop_has_counted(known: Evidence) -> None:
    known.ended("1", QUESTION, PASSED)
    known.stopping("1")
    assert (known.verdicts, known.attempts) == ({QUESTION: PASSED}, {})


@pytest.mark.parametrize("outcome", [GateOutcome.INFRASTRUCTURE, None])
def test_trouble_and_a_death_without_a_word_are_no_verdict(
    known: Evidence, outcome: GateOutcome | None
) -> None:
    known.ended("1", QUESTION, outcome)
    assert (known.verdicts, known.stalls) == ({}, {("a", 1, QUESTION)})


def test_trouble_with_what_has_a_verdict_already_holds_nobody(known: Evidence) -> None:
    known.started("2", Start("b", 1, "tree", QUESTION))
    known.ended("1", QUESTION, PASSED)
    assert known.ended("2", QUESTION, GateOutcome.INFRASTRUCTURE) is Weight.EVIDENCE
    assert known.stalls == set()


def test_the_first_answer_of_a_build_stands() -> None:
    known, order = Evidence(), Build("a", 1, "0")
    known.built(order, Built("0a"))
    known.built(order, Unfit(End.BLOCKED, ("late",)))
    assert known.builds == {("0", "a", 1): Built("0a")}


def test_what_left_the_queue_leaves_its_verdicts_alone(known: Evidence) -> None:
    known.built(Build("a", 1, "0"), Built("tree"))
    known.built(Build("b", 1, "0"), Built("other"))
    known.ended("1", QUESTION, PASSED)
    known.left("a")
    assert (list(known.builds), known.verdicts) == ([("0", "b", 1)], {QUESTION: PASSED})


def test_what_left_the_queue_takes_its_troubles_with_it(known: Evidence) -> None:
    known.started("2", Start("b", 1, "other", ("other", "unit")))
    known.ended("1", QUESTION, None)
    known.ended("2", ("other", "unit"), None)
    known.left("a")
    assert known.stalls == {("b", 1, ("other", "unit"))}


# --- the odds -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "places"), [(0.5, 2), (0.8, 4), (0.9, 7), (0.95, 14)])
def test_a_place_is_of_use_as_long_as_all_ahead_of_it_pass_half_of_the_time(
    rate: float, places: int
) -> None:
    assert merge_odds.window(100, rate) == places


@pytest.mark.parametrize(("rate", "worth", "places"), [(1.0, 0.5, 8), (0.0, 0.5, 1), (0.5, 0, 8)])
def test_a_window_has_a_place_and_no_more_than_the_machine(
    rate: float, worth: float, places: int
) -> None:
    assert merge_odds.window(8, rate, worth) == places


@pytest.mark.parametrize(("cores", "each", "places"), [(8, 2, 4), (2, 4, 1), (2, 0.5, 4)])
def test_places_are_what_the_cores_carry(cores: int, each: float, places: int) -> None:
    assert merge_odds.places(cores, each) == places


def test_before_anything_was_seen_one_neighbour_is_speculated_on() -> None:
    assert merge_odds.window(100, merge_odds.odds(0, 0)) == 2


def test_more_results_of_the_same_share_make_the_odds_bolder() -> None:
    assert merge_odds.odds(9, 1) < merge_odds.odds(90, 10) < 0.9


def test_failures_narrow_the_window_to_the_head() -> None:
    assert merge_odds.window(8, merge_odds.odds(0, 10)) == 1
