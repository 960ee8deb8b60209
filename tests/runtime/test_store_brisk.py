"""The switch interval while a commit is written, and after it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from runtime.store.brisk import SWITCH_S, brisk


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before + 5e-7)


def test_the_interpreter_changes_hands_faster_only_while_a_commit_is_written() -> None:
    sys.setswitchinterval(0.004)
    with brisk():
        assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
    assert sys.getswitchinterval() == pytest.approx(0.004)


def test_two_commits_that_overlap_leave_the_interval_as_the_first_found_it() -> None:
    sys.setswitchinterval(0.004)
    first, second = brisk(), brisk()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
    second.__exit__(None, None, None)
    assert sys.getswitchinterval() == pytest.approx(0.004)


def test_an_interval_that_is_shorter_already_stays_as_it_is() -> None:
    sys.setswitchinterval(SWITCH_S / 2)
    found = sys.getswitchinterval()
    with brisk():
        assert sys.getswitchinterval() == pytest.approx(found)


def test_a_thousand_commits_do_not_wear_the_interval_down() -> None:
    sys.setswitchinterval(0.000049)
    found = sys.getswitchinterval()
    for _ in range(1000):
        with brisk():
            pass
    assert sys.getswitchinterval() == pytest.approx(found)
