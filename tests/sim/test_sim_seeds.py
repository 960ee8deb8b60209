"""Which seeds are run, and with which strategy each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from runtime.sim.case import Config
from runtime.sim.seeds import PORTFOLIO, BadSeeds, Seeds, config_of, parse

HASH = "0123456789abcdef0123456789abcdef01234567"
FIRST = int(HASH[:12], 16)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", [0, 1, 2]),
        ("5..7", [5, 6, 7]),
        ("=9", [9]),
        ("2,=40, 6..7", [0, 1, 40, 6, 7]),
    ],
)
def test_seeds_are_typed_as_a_count_a_range_a_single_one_or_several(
    text: str, seeds: list[int]
) -> None:
    assert list(parse(text)) == seeds
    assert len(parse(text)) == len(seeds)


@pytest.mark.parametrize(
    "text", ["", "x", "7..5", "-1", "1.5", "commits", "3,", "0", "3,0", "commit:0"]
)
def test_what_is_no_seeds_is_refused_with_what_to_say(text: str) -> None:
    with pytest.raises(BadSeeds, match="say "):
        parse(text)


def test_a_commit_has_seeds_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANKSMAN_SIM_COMMIT", HASH)
    assert list(parse("commit:3")) == [FIRST, FIRST + 1, FIRST + 2]
    assert len(parse("10,commit")) == 110


def test_the_commit_is_that_which_git_has_checked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BANKSMAN_SIM_COMMIT", "GITHUB_SHA", "CI_COMMIT_SHA"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadSeeds, match="say --seeds"):
        parse("commit", Path("/"))


def test_a_commit_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANKSMAN_SIM_COMMIT", "main")
    with pytest.raises(BadSeeds, match="hexadecimal"):
        parse("commit")


def test_blocks_hold_all_seeds_in_order() -> None:
    assert list(Seeds((range(3), range(10, 12))).blocks(2)) == [[0, 1], [2, 10], [11]]


BASE = Config(strategy=PORTFOLIO, faults={"swarm": 1.0})


def test_seed_0_of_the_portfolio_is_calm() -> None:
    config = config_of(0, BASE)
    assert (config.strategy, config.faults) == ("fifo", {})


def test_the_portfolio_has_its_shares() -> None:
    drawn = Counter(config_of(seed, BASE).strategy for seed in range(1, 4001))
    shares = {name: round(count / 40) for name, count in drawn.items()}
    wanted = {"timed": 35, "pos": 25, "pct": 15, "random": 15, "urw": 10}
    assert all(abs(shares[name] - percent) <= 3 for name, percent in wanted.items())


def test_what_a_seed_of_the_portfolio_runs_with_is_always_the_same() -> None:
    assert [config_of(s, BASE) for s in range(50)] == [config_of(s, BASE) for s in range(50)]


def test_timed_runs_have_faults_and_of_the_others_some_are_about_order_alone() -> None:
    configs = [config_of(seed, BASE) for seed in range(1, 500)]
    assert all(c.faults for c in configs if c.strategy == "timed")
    assert {bool(c.faults) for c in configs if c.strategy == "pos"} == {True, False}


def test_pct_runs_have_several_depths() -> None:
    configs = [config_of(seed, BASE) for seed in range(1, 500)]
    assert {c.depth for c in configs if c.strategy == "pct"} == {2, 3, 5}


def test_a_strategy_that_was_asked_for_is_that_of_every_seed() -> None:
    base = Config(strategy="pos")
    assert all(config_of(seed, base) is base for seed in range(5))
