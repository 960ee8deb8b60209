"""What stands in examples/ does what its first lines say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.e2e.crashing import BANKSMAN

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("BANKSMAN")}
    return subprocess.run(
        argv, cwd=cwd, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def banksman(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run(*BANKSMAN, *args, "--state-dir", str(cwd / "state"), cwd=cwd)


def test_the_small_plan_completes_and_its_history_verifies(tmp_path: Path) -> None:
    done = banksman("run", str(EXAMPLES / "small.toml"), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert banksman("verify", cwd=tmp_path).returncode == 0


def test_the_failing_plan_fails_and_says_what_to_type_next(tmp_path: Path) -> None:
    done = banksman("run", str(EXAMPLES / "failing.toml"), cwd=tmp_path)
    assert done.returncode == 1
    assert "last 20 lines" in done.stdout
    assert "next: banksman" in done.stdout


def test_the_digest_actor_of_a_module_outside_goes_on_where_it_was(tmp_path: Path) -> None:
    own = tmp_path / "elsewhere"
    shutil.copytree(EXAMPLES / "own_actor", own, ignore=shutil.ignore_patterns(".state"))
    first = run(sys.executable, str(own / "main.py"), "one", "two", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "[morning#1] one; two" in first.stdout
    second = run(sys.executable, str(own / "main.py"), "three", cwd=tmp_path)
    assert second.stdout.splitlines()[:2] == ["[morning#1] one; two", "[morning#2] three"]
    state = str(own / ".state")
    events = run(*BANKSMAN, "events", "--json", "--state-dir", state, cwd=tmp_path)
    kinds = {json.loads(line)["entity_type"] for line in events.stdout.splitlines()}
    assert kinds == {"digest"}


def test_the_breaker_example_shows_one_that_opens_and_the_probe_that_closes_it(
    tmp_path: Path,
) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns(".*"))
    done = banksman("run", str(tmp_path / "examples" / "breaker.toml"), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    which = ("--type", "circuit_breaker_state_transition", "--json")
    events = banksman("events", *which, cwd=tmp_path).stdout.splitlines()
    moves = [json.loads(line)["to_state"] for line in events]
    assert moves == ["closed", "open", "half_open", "open", "half_open", "closed"]


def simulated(example: str, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run(*BANKSMAN, "simulate", str(EXAMPLES / example), *args, cwd=cwd)


def test_the_race_is_found_and_made_small_and_is_not_in_the_office_that_is_right(
    tmp_path: Path,
) -> None:
    hasty = simulated("simulate_race.py::no_seat_is_sold_twice", cwd=tmp_path)
    assert hasty.returncode == 1, hasty.stderr
    assert "no more seats are sold than there are" in hasty.stdout
    assert "4 buyers to 3" in hasty.stdout
    assert "1. effect of charge takes" in hasty.stdout
    assert "    2. " not in hasty.stdout
    careful = simulated("simulate_race.py::no_seat_is_held_twice", cwd=tmp_path)
    assert careful.returncode == 0, careful.stdout


def test_the_month_of_the_pipeline_passes_under_faults(tmp_path: Path) -> None:
    done = simulated("simulate_month.py", "--seeds", "6", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "days simulated" in done.stdout


def test_the_small_worlds_are_proven_within_their_bounds(tmp_path: Path) -> None:
    done = simulated("simulate_proof.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("complete within these bounds") == 2
