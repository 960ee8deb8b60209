"""The pytest plugin: options, failures as a story, and nothing at all where it is not used."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest_plugins = ("pytester",)

ROOT = Path(__file__).parents[2]

SIMULATED = """
from actors import spec
from runtime.sim import simulate

def plan():
    stream = spec.Workstream(tasks={"t": spec.Task(command=("true",), max_retries=3)})
    return spec.Plan(run=spec.Run(name="r"), workstreams={"w": stream})

@simulate(seeds=6, faults={})
def test_it_ends(sim):
    sim.submit(plan())

@simulate(seeds=60)
def test_it_never_runs_twice(sim):
    run = sim.submit(plan())
    sim.always("one attempt", lambda v: all(t.retry_count == 0 for t in v.all("task")))
    sim.tool("t", fails=1)

def test_plain():
    assert True
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(test_sim=SIMULATED)
    return pytester


def run(suite: pytest.Pytester, *args: str) -> tuple[pytest.RunResult, str]:
    result = suite.runpytest_subprocess("-p", "no:cacheprovider", "-q", *args)
    return result, result.stdout.str() + result.stderr.str()


def test_decorated_functions_are_tests_and_a_failure_is_a_story_without_our_traceback(
    suite: pytest.Pytester,
) -> None:
    result, said = run(suite)
    result.assert_outcomes(passed=2, failed=1)
    assert "test_it_never_runs_twice: always is broken at " in said
    assert "replay    pytest 'test_sim.py::test_it_never_runs_twice' --sim-case " in said
    assert "Traceback" not in said
    assert "declare.py" not in said
    assert "plugin.py" not in said


def test_the_replay_command_of_the_story_fails_in_the_same_way(suite: pytest.Pytester) -> None:
    _, said = run(suite)
    found = re.search(r"replay    pytest '(\S+)' (--sim-case) (\S+)", said)
    assert found is not None
    result, again = run(suite, *found.groups())
    result.assert_outcomes(failed=1)
    assert "one attempt" in again
    assert "found by  a saved case, shrunk from seed 0" in again


def test_a_case_runs_the_simulation_it_is_of_and_no_other(suite: pytest.Pytester) -> None:
    run(suite)
    (case,) = (suite.path / ".sim" / "failures").glob("*.json")
    result, _ = run(suite, "--sim-case", str(case))
    result.assert_outcomes(passed=1, failed=1, skipped=1)


def test_the_number_of_seeds_comes_from_the_option_or_else_the_environment_or_else_the_test(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = ("-k", "it_ends", "-rP")
    assert "nothing found in 6 runs" in run(suite, *ends)[1]
    monkeypatch.setenv("BANKSMAN_SIM_SEEDS", "4")
    assert "nothing found in 4 runs" in run(suite, *ends)[1]
    assert "nothing found in 3 runs" in run(suite, *ends, "--sim-seeds", "3")[1]
    assert "nothing found in 1 run;" in run(suite, *ends, "--sim-seed", "77")[1]


def test_coverage_timelines_and_the_check_of_determinism_are_options_too(
    suite: pytest.Pytester,
) -> None:
    result, said = run(
        suite,
        "--sim-coverage=out/c.json",
        "--sim-html=pages",
        "--sim-check-determinism",
        "--sim-no-shrink",
    )
    result.assert_outcomes(passed=2, failed=1)
    covered = json.loads((suite.path / "out" / "c.json").read_text())
    assert covered["together"]["always"]["one attempt"] > 0
    assert list((suite.path / "pages").glob("*.html"))
    assert "shrunk" not in said


def test_two_processes_and_a_budget_are_options_too(suite: pytest.Pytester) -> None:
    result, _ = run(
        suite, "-k", "it_ends", "--sim-jobs", "2", "--sim-budget", "60s", "--sim-seeds=20"
    )
    result.assert_outcomes(passed=1, deselected=2)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--sim-seeds=x", "say 200"),
        ("--sim-budget=soon", "say 90s"),
        ("--sim-strategy=best", "want one of portfolio"),
        ("--sim-jobs=0", "want a number"),
        ("--sim-faults=crash=often", "say crash=0.01"),
    ],
)
def test_an_option_that_cannot_be_read_is_a_usage_error_before_anything_runs(
    suite: pytest.Pytester, option: str, says: str
) -> None:
    result, said = run(suite, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert says in said


def test_a_sometimes_that_never_came_is_told_at_the_end(suite: pytest.Pytester) -> None:
    never = "    sim.sometimes('it rains', lambda v: False)\n"
    once = "    sim.sometimes('it ends', lambda v: bool(v.all('run')))\n"
    text = SIMULATED.replace("def test_it_ends(sim):\n", f"def test_it_ends(sim):\n{never}{once}")
    suite.makepyfile(test_sim=text)
    result, said = run(suite, "-k", "it_ends")
    result.assert_outcomes(passed=1, deselected=2)
    assert "simulation: passed, and not put to the test" in said
    assert "test_sim.py::test_it_ends: never came by: it rains\n" in said


def test_a_simulation_in_which_nothing_happens_is_told_at_the_end(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_sim=SIMULATED.replace("    sim.submit(plan())", "    pass"))
    assert "test_sim.py::test_it_ends: nothing happened in any run\n" in run(suite)[1]


def test_where_everything_came_by_the_end_says_nothing(suite: pytest.Pytester) -> None:
    assert "put to the test" not in run(suite, "-k", "it_ends or plain")[1]


def test_a_variable_that_cannot_be_read_is_one_usage_error_that_names_it(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BANKSMAN_SIM_SEEDS", "zz")
    result, said = run(suite)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said.count("BANKSMAN_SIM_SEEDS: 'zz' is no seeds: say 200") == 1
    assert "passed" not in said


def test_without_the_plugin_a_decorated_function_is_a_test_all_the_same(
    suite: pytest.Pytester,
) -> None:
    result, said = run(suite, "-p", "no:banksman-sim")
    result.assert_outcomes(passed=2, failed=1)
    assert "always is broken at " in said


def test_a_suite_without_simulations_loads_nothing_of_them(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys
        def test_plain():
            ours = [m for m in sys.modules if m.partition(".")[0] in ("runtime", "actors")]
            assert sorted(ours) == ["runtime", "runtime.sim", "runtime.sim.plugin"]
            assert "msgspec" not in sys.modules
        """
    )
    result, _ = run(pytester, "--strict-config", "--strict-markers", "-W", "error")
    result.assert_outcomes(passed=1)


def test_a_proof_is_a_test_and_shows_what_it_came_to(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_proof="""
        from actors import spec
        from runtime.sim import SmallWorld, simulate

        @simulate.exhaustive()
        def test_one_task():
            world = SmallWorld()
            world.slots(1)
            tasks = {"t": spec.Task(call="f")}
            streams = {"w": spec.Workstream(tasks=tasks)}
            world.submit(spec.Plan(run=spec.Run(name="r"), workstreams=streams))
            return world
        """
    )
    result, said = run(suite, "test_proof.py", "-rP")
    result.assert_outcomes(passed=1)
    assert "complete within these bounds" in said
