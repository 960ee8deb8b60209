"""Two runs side by side, and one run backwards."""

from __future__ import annotations

import msgspec

from runtime.sim.case import Happening
from runtime.sim.compare import ancestry, chain, first_difference, in_words, told_chain


def event(n: int, *causes: int, fault: bool = False, edges: bool = False) -> Happening:
    moved = (("a", "b", "go"),) if edges else ()
    return Happening(n, float(n), f"a{n}", "Go", f"k/{n}", "", moved, (), causes, fault)


RUN = [event(1), event(2, 1), event(3), event(4, 3, fault=True), event(5, 2, 4), event(6, 5)]


def test_equal_runs_do_not_part() -> None:
    assert first_difference(RUN, list(RUN)) is None


def test_runs_part_at_the_first_event_that_differs_and_its_fields_are_named() -> None:
    other = [*RUN[:2], msgspec.structs.replace(RUN[2], what="Stop", at=9.0), *RUN[3:]]
    parting = first_difference(RUN, other)
    assert parting is not None
    assert parting.n == 3
    assert set(parting.differs) == {"what", "at"}


def test_a_run_that_ends_earlier_parts_where_it_ends() -> None:
    parting = first_difference(RUN, RUN[:4])
    assert parting is not None
    assert (parting.n, parting.other) == (5, None)
    assert in_words(parting.other) == "nothing, it has ended"


def test_everything_that_led_to_an_event_and_nothing_else_is_its_ancestry() -> None:
    assert list(ancestry(RUN, 5)) == [1, 2, 3, 4, 5]
    assert list(ancestry(RUN, 2)) == [1, 2]


def test_a_cause_outside_of_what_is_kept_is_passed_over() -> None:
    assert list(ancestry([event(7, 2)], 7)) == [7]


def test_a_chain_goes_back_by_the_latest_cause_but_never_passes_a_fault_by() -> None:
    assert [h.n for h in chain(RUN, 6)] == [3, 4, 5, 6]


def test_a_long_chain_is_told_by_its_ends_its_faults_and_its_changes_of_state() -> None:
    run = [event(1)]
    run += [event(n, n - 1, fault=n == 10, edges=n in (5, 12)) for n in range(2, 21)]
    assert [h.n for h in told_chain(run, 20)] == [1, 5, 10, 12, 20]
