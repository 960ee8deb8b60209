"""A run is a pure function of its case: in this process, in others, under other hash seeds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from runtime.sim.case import Case, Config
from runtime.sim.shrink import pinned
from runtime.sim.worlds import WORLDS
from tests.sim.engine_kit import case, scenario
from tests.sim.hashes import hashes

ROOT = Path(__file__).parents[2]


def _elsewhere(python: str, hash_seed: str) -> list[str]:
    environ = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [python, "-m", "tests.sim.hashes"]
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, check=True, text=True
    )
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_a_case_gives_the_same_run_in_a_process_with_another_hash_seed(hash_seed: str) -> None:
    assert _elsewhere(sys.executable, hash_seed) == hashes()


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_a_case_gives_the_same_run_under_another_python(version: str) -> None:
    python = os.environ.get(f"BANKSMAN_PYTHON_{version.replace('.', '_')}") or shutil.which(
        f"python{version}"
    )
    asks = "import msgspec, anyio, aiosqlite, structlog"
    if (
        not python
        or subprocess.run([python, "-c", asks], capture_output=True, check=False).returncode
    ):
        pytest.skip(f"no Python {version} with our dependencies here")
    assert _elsewhere(python, "random") == hashes()


@pytest.mark.parametrize("world", sorted(WORLDS))
def test_a_recorded_run_is_the_run_that_was_not(world: str) -> None:
    of = scenario(world)
    for seed in range(1, 6):
        assert of.run(case(of, seed)).trace_hash == of.run(case(of, seed), record=True).trace_hash


@pytest.mark.parametrize("world", sorted(WORLDS))
def test_what_was_chosen_makes_the_same_run_again_with_nothing_left_to_chance(world: str) -> None:
    of = scenario(world)
    for seed in range(1, 9):
        first = of.run(case(of, seed), record=True)
        again = of.run(pinned(first), record=True)
        assert (again.trace_hash, again.choices) == (first.trace_hash, first.choices)


def test_another_seed_gives_another_run() -> None:
    of = scenario("pipeline")
    assert len({of.run(case(of, seed)).trace_hash for seed in range(1, 40)}) == 39


def test_a_saved_case_is_the_case() -> None:
    of = scenario("pipeline")
    saved = msgspec.json.decode(msgspec.json.encode(case(of, 7)), type=Case)
    assert of.run(saved).trace_hash == of.run(case(of, 7)).trace_hash


def test_an_override_that_leaves_out_one_fault_leaves_the_others_where_they_were() -> None:
    of = scenario("pipeline")
    config = Config(strategy="timed", faults={"worker_crash": 0.5, "heartbeat_lost": 0.3})
    first = of.run(Case(of.locator, 3, config), record=True)
    crashes = [key for key in first.choices if key.startswith("fault.worker_crash/")]
    assert crashes
    second = of.run(Case(of.locator, 3, config, {crashes[-1]: 0}), record=True)
    before = first.happenings.index(next(h for h in first.happenings if h.key == crashes[-1]))
    assert second.happenings[: before - 1] == first.happenings[: before - 1]
    assert crashes[-1] not in second.choices
