"""Ten thousand random lives of a merge queue, each compared with one patch after another."""

from __future__ import annotations

from collections import Counter

import pytest

from actors.merge_evidence import Weight
from tests.actors.merge_kit import History, serial

HISTORIES = 10_000
SLICES = 4
HAPPENINGS = (
    "landed",
    "not landed",
    "quarantined",
    "blocked",
    "stopped",
    Weight.EVIDENCE,
    Weight.CONTRADICTS,
)


@pytest.mark.parametrize("part", range(SLICES))
def test_whatever_happens_the_queue_comes_to_what_one_patch_after_another_would(part: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(part, HISTORIES, SLICES):
        history = History(seed)
        try:
            history.run()
        except AssertionError as broken:
            raise AssertionError(f"seed {seed}") from broken
        seen.update(history.seen)
    assert all(seen[each] > 100 for each in HAPPENINGS), seen


@pytest.mark.parametrize("part", range(SLICES))
def test_of_a_queue_that_is_left_alone_the_oracle_needs_the_first_list_only(part: int) -> None:
    for seed in range(part, HISTORIES // 4, SLICES):
        history = History(seed, calm=True)
        history.run()
        tree, owed = "0", []
        for patch in history.began:
            came_to, tree = serial(history.world, tree, patch)
            owed.append((patch.id, came_to))
        assert (history.settled, history.tree) == (owed, tree), f"seed {seed}"
