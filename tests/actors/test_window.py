"""Sliding windows over the results of calls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.spec import Breaker as BreakerSpec
from actors.window import EMPTY, WINDOW_SLICES, Tally, Window, booked, tally

COUNT = BreakerSpec(window="count", size=4)
TIME = BreakerSpec(window="time", size=10)  # a slice is a second


def count(*results: str) -> Window:
    window = EMPTY
    for result in results:
        window = booked(window, COUNT, 0.0, 0.0, failed="f" in result, slow="s" in result)
    return window


def at(window: Window, began: float, now: float | None = None, *, failed: bool = True) -> Window:
    now = began if now is None else now
    return booked(window, TIME, began, now, failed=failed, slow=False)


def test_a_window_of_calls_tells_failed_slow_and_both_apart() -> None:
    window = count("", "f", "s", "fs")
    assert window.ring == ".fsb"
    assert tally(window, COUNT, 0.0) == Tally(calls=4, failures=2, slow=2)


def test_a_window_of_calls_holds_the_last_of_them() -> None:
    assert count("f", "f", "", "s", "", "").ring == ".s.."


def test_a_window_of_time_counts_by_slices_of_a_tenth() -> None:
    window = at(at(at(EMPTY, 100.2), 100.9, failed=False), 101.0)
    assert window.slices == ((100, 2, 1, 0), (101, 1, 1, 0))
    assert tally(window, TIME, 101.0) == Tally(calls=3, failures=2, slow=0)


def test_slow_calls_are_counted_where_they_began() -> None:
    window = booked(EMPTY, TIME, 100.0, 103.0, failed=False, slow=True)
    window = booked(window, TIME, 100.0, 103.0, failed=False, slow=True)
    assert window.slices == ((100, 2, 0, 2),)


def test_a_call_stands_in_the_window_for_at_least_its_size() -> None:
    window = at(EMPTY, 100.0)
    assert tally(window, TIME, 110.999).calls == 1
    assert tally(window, TIME, 111.0).calls == 0


def test_a_call_that_began_before_the_window_leaves_the_same_value() -> None:
    window = at(EMPTY, 200.0)
    assert at(window, 189.999, now=200.0) is window
    assert at(window, 190.0, now=200.0) is not window


def test_a_call_that_began_in_the_future_of_another_clock_leaves_the_same_value() -> None:
    window = at(EMPTY, 200.0)
    assert at(window, 201.0, now=200.9) is window


def test_what_has_left_the_window_is_dropped_with_the_next_booking() -> None:
    window = at(at(EMPTY, 100.0), 111.0)
    assert [s[0] for s in window.slices] == [111]
    kept = at(at(EMPTY, 100.0), 110.0)
    assert [s[0] for s in kept.slices] == [100, 110]


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.booleans()), max_size=80))
def test_a_window_of_time_holds_what_a_list_of_all_calls_would(
    calls: list[tuple[float, bool]],
) -> None:
    window, now, everything = EMPTY, 1_000.0, []
    for wait, failed in calls:
        now += wait
        window = at(window, now, failed=failed)
        everything.append((now, failed))
        live = [f for began, f in everything if int(began) >= int(now) - WINDOW_SLICES]
        assert tally(window, TIME, now) == Tally(len(live), sum(live), 0)
        assert len(window.slices) <= WINDOW_SLICES + 1
