"""Ablations: every safeguard is noticed when it is gone, and only then."""

from __future__ import annotations

import msgspec
import pytest

from actors import uet_worker
from runtime.sim import ablate
from runtime.sim.ablate import ablations, off, run
from runtime.sim.engine import run_case

ALL = {ablation.name: ablation for ablation in ablations()}


def test_there_are_at_least_twelve_each_with_its_law() -> None:
    assert len(ALL) == len(ablations()) >= 12
    assert all(ablation.law for ablation in ablations())


@pytest.mark.parametrize("name", ALL)
def test_a_safeguard_that_is_gone_is_noticed(name: str) -> None:
    verdict = run(ALL[name])
    assert not verdict.survived, str(verdict)
    assert str(verdict).startswith(f"noticed  {name}: seed {verdict.seed}, ")


@pytest.mark.parametrize("name", ALL)
def test_a_safeguard_that_is_there_lets_the_same_run_pass(name: str) -> None:
    ablation = ALL[name]
    assert run_case(ablation.scenario(), ablation.case(ablation.known)).failure is None


def test_an_ablation_that_changes_nothing_survives_and_says_so() -> None:
    idle = msgspec.structs.replace(ALL["reap before recovery"], off=off(), name="nothing")
    verdict = run(idle, range(3))
    assert verdict.survived
    assert str(verdict).startswith("SURVIVED nothing: 3 seeds noticed nothing; what a former")


def test_what_was_switched_off_is_on_again_afterwards() -> None:
    before = uet_worker._spawning
    run(ALL["spawning once"], [0])
    assert uet_worker._spawning is before


def test_what_is_switched_off_is_on_again_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), ALL["spawning once"].off():
        raise ZeroDivisionError
    assert uet_worker._spawning.__module__ == "actors.uet_worker"


def test_the_known_seed_is_tried_first() -> None:
    verdict = run(msgspec.structs.replace(ALL["commit before effects"], known=17))
    assert (verdict.seed, verdict.runs) == (17, 1)


def test_no_ablation_needs_more_seeds_than_it_may() -> None:
    assert all(ablation.known < ablate.SEEDS_MAX for ablation in ablations())
