"""How long to wait before something is tried again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors import pacing
from actors.spec import Restart

POLICY = Restart(intensity=2, window_s=10.0, backoff_s=1.0, backoff_s_max=30.0)


def test_backoff_doubles_up_to_its_cap() -> None:
    assert [pacing.backoff(1.0, n, 5.0) for n in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_backoff_after_a_million_failures_is_still_its_cap() -> None:
    assert pacing.backoff(1.0, 1_000_000, 300.0) == 300.0


@given(st.floats(0.1, 1e6), st.text(max_size=20), st.integers(0, 100))
def test_jitter_stays_within_a_fifth_and_repeats(wait_s: float, name: str, attempt: int) -> None:
    jittered = pacing.jittered(wait_s, name, attempt)
    assert 0.8 * wait_s <= jittered <= 1.2 * wait_s * (1 + 1e-12)
    assert jittered == pacing.jittered(wait_s, name, attempt)


def test_jitter_parts_what_failed_together() -> None:
    waits = {pacing.jittered(10.0, f"r/w/t{n}", 1) for n in range(20)}
    assert len(waits) == 20


def test_restarts_within_the_intensity_wait_twice_as_long_each() -> None:
    assert pacing.restart(POLICY, (), 100.0) == (1.0, (100.0,))
    assert pacing.restart(POLICY, (100.0,), 101.0) == (2.0, (100.0, 101.0))


def test_restarts_past_the_intensity_wait_longest() -> None:
    assert pacing.restart(POLICY, (100.0, 101.0), 102.0) == (30.0, (101.0, 102.0))


def test_restarts_out_of_the_window_are_forgotten() -> None:
    assert pacing.restart(POLICY, (100.0, 101.0), 200.0) == (1.0, (200.0,))


def test_an_intensity_of_none_always_waits_longest() -> None:
    assert pacing.restart(Restart(intensity=0, backoff_s_max=9.0), (), 1.0) == (9.0, ())
