"""Our breaker against every case of the kit."""

from __future__ import annotations

import pytest

from tests.actors.breaker_kit import closed, durable, opened, operated, probing
from tests.actors.breaker_kit.ours import Ours
from tests.actors.breaker_kit.port import CASES

CHAPTERS = (closed, opened, probing, operated, durable)


def _title(number: int) -> str:
    return f"{number:02d}-{CASES[number].__name__}"


@pytest.mark.parametrize("number", sorted(CASES), ids=_title)
def test_our_breaker_keeps_case(number: int) -> None:
    CASES[number](Ours)


def test_no_case_of_the_list_is_missing() -> None:
    assert set(CASES) | durable.KEPT_BY_THE_KERNEL == set(range(1, 87))
    assert sum(c.__module__ in {m.__name__ for m in CHAPTERS} for c in CASES.values()) == len(CASES)
