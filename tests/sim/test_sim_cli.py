"""`banksman simulate` as it is typed."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.cli.simlive import Live, line
from runtime.sim.explore import Standing
from runtime.sim.report import Explored
from runtime.sim.shrink import Extent, Progress

ROOT = Path(__file__).parents[2]

SCRIPT = """
from actors import spec
from runtime.sim import SmallWorld, simulate

def plan(**task):
    stream = spec.Workstream(tasks={"t": spec.Task(command=("true",), max_retries=3)})
    return spec.Plan(run=spec.Run(name="r"), workstreams={"w": stream})

@simulate(seeds=5)
def sound(sim):
    sim.submit(plan())

@simulate(seeds=50)
def broken(sim):
    sim.submit(plan())
    sim.always("no fault ever", lambda v: v.now_s < 5)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def simulate(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("BANKSMAN")}
    return subprocess.run(
        [sys.executable, "-m", "runtime", "simulate", *args],
        cwd=folder,
        env={**environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_script_in_which_nothing_is_broken_exits_0(script: Path) -> None:
    done = simulate(script.parent, "script.py::sound")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sound: nothing found in 5 runs; ")
    assert not (script.parent / ".sim").exists()


def test_all_simulations_of_a_file_run_and_one_that_is_broken_makes_it_1(script: Path) -> None:
    done = simulate(script.parent, "script.py")
    assert done.returncode == 1
    assert "sound: nothing found" in done.stdout
    assert "  covered: messages in states " in done.stdout
    assert "broken: always is broken at " in done.stdout
    assert "replay    banksman simulate 'script.py::broken' --case .sim/failures/" in done.stdout


def test_json_is_one_value_with_every_report(script: Path) -> None:
    done = simulate(script.parent, "script.py", "--json", "--seeds", "9")
    told = json.loads(done.stdout)
    assert told["ok"] is False
    assert [report["name"] for report in told["reports"]] == ["sound", "broken"]
    assert told["reports"][1]["failures"][0]["failure"]["text"] == "no fault ever"


def test_a_saved_case_is_replayed_and_chooses_its_own_simulation(script: Path) -> None:
    simulate(script.parent, "script.py")
    (case,) = (script.parent / ".sim" / "failures").glob("*.json")
    done = simulate(script.parent, "script.py", "--case", str(case))
    assert done.returncode == 1
    assert "sound" not in done.stdout
    assert "found by  a saved case" in done.stdout


def test_a_named_case_that_is_stale_exits_1(script: Path) -> None:
    simulate(script.parent, "script.py::broken")
    (case,) = (script.parent / ".sim" / "failures").glob("*.json")
    script.write_text(SCRIPT.replace("v.now_s < 5", "True").replace('"t": spec', '"u": spec'))
    done = simulate(script.parent, "script.py::broken", "--case", str(case))
    assert done.returncode == 1, done.stdout
    assert "broken: the saved case is stale" in done.stdout
    assert "is the first that differs" in done.stdout
    assert "find it anew: banksman simulate 'script.py::broken'" in done.stdout


def test_the_replay_of_a_run_that_is_not_one_runs_it_twice_and_fails_again(
    script: Path,
) -> None:
    chance = "    import random\n    sim.tool('t', duration_s=random.random())\n"
    script.write_text(SCRIPT.replace("def sound(sim):\n", f"def sound(sim):\n{chance}"))
    done = simulate(script.parent, "script.py::sound", "--check-determinism")
    assert done.returncode == 1
    found = re.search(r"replay    banksman simulate (.+)", done.stdout)
    assert found is not None
    assert found[1].endswith(" --check-determinism")
    again = simulate(script.parent, *shlex.split(found[1]))
    assert again.returncode == 1, again.stdout
    assert "sound: determinism is broken" in again.stdout
    assert "    once:  " in again.stdout
    assert found[0] in again.stdout


def test_options_are_taken(script: Path) -> None:
    options = ("--strategy", "pos", "--faults", "none", "--seeds", "3..7", "--jobs", "2")
    more = ("--check-determinism", "--coverage", "cov.json", "--budget", "1m")
    done = simulate(script.parent, "script.py::sound", *options, *more)
    assert done.returncode == 0, done.stderr
    assert "in 5 runs" in done.stdout
    covered = json.loads((script.parent / "cov.json").read_text())
    assert covered["together"]["faults_that_came"] == {}
    assert covered["simulations"][0]["pairs"]["seen"] > 10


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "there is no script to simulate; banksman simulate FILE.py"),
        (("none.py",), "there is no file none.py; give a Python file"),
        (("script.py::third",), "has no simulation 'third'; it has: sound, broken"),
        (("script.py", "--seeds", "x"), "'x' is no seeds: say 200"),
        (("script.py", "--seeds", "0"), "'0' is no seed at all, and proves nothing: say 1 or more"),
        (("script.py", "--budget", "soon"), "'soon' is no length of time: say 90s"),
        (("script.py", "--strategy", "best"), "strategy 'best': want one of portfolio"),
        (("script.py", "--case", "none.json"), "none.json: No such file or directory"),
        (("script.py", "--faults", "gremlins"), "fault 'gremlins': want one of"),
        (("diff", "a.json", "b.json"), "a.json: No such file"),
        (("why", "a.json"), "a.json: No such file"),
        (("trace", "script.py"), "has several simulations; name one"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_with_its_cure_and_exits_2(
    args: tuple[str, ...], says: str, script: Path
) -> None:
    done = simulate(script.parent, *args)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("banksman: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_scenario_in_which_nothing_happens_is_warned_of(script: Path) -> None:
    script.write_text(
        "from runtime.sim import simulate\n\n@simulate(seeds=2)\ndef idle(sim):\n"
        "    sim.pool('p', count=2)\n    sim.always('all is well', lambda v: True)\n"
    )
    done = simulate(script.parent, "script.py")
    assert done.returncode == 0
    assert "  warning: nothing happened in any run: sim.submit a plan, or " in done.stdout
    assert (
        "warning"
        not in simulate(script.parent, str(ROOT / "examples/simulate_race.py"), "--seeds=2").stdout
    )


def test_a_script_that_raises_is_told_with_its_file_and_line(script: Path) -> None:
    script.write_text(
        "from runtime.sim import simulate\n\n@simulate\ndef bad(sim):\n    sim.nothing()\n"
    )
    done = simulate(script.parent, "script.py")
    assert done.returncode == 2
    assert "script.py:5: AttributeError" in done.stderr


def a_case(script: Path) -> str:
    simulate(script.parent, "script.py::broken")
    (case,) = (script.parent / ".sim" / "failures").glob("*.json")
    return str(case.relative_to(script.parent))


def test_why_walks_from_the_violation_back_to_its_beginning(script: Path) -> None:
    case = a_case(script)
    done = simulate(script.parent, "why", case)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "  always: no fault ever"
    assert "<- #" in done.stdout
    wrong = simulate(script.parent, "why", case, "99999")
    assert wrong.returncode == 2
    assert "there is no event 99999" in wrong.stderr


@pytest.mark.parametrize(
    ("form", "begins"),
    [
        ("text", "  event  time"),
        ("mermaid", "sequenceDiagram"),
        ("html", "<!doctype html>"),
        ("json", '{"n":'),
    ],
)
def test_a_case_is_traced_in_four_forms(form: str, begins: str, script: Path) -> None:
    done = simulate(script.parent, "trace", a_case(script), "--format", form)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(begins)


def test_a_seed_that_passes_is_traced_too(script: Path) -> None:
    done = simulate(script.parent, "trace", "script.py::sound", "--seed", "3")
    assert done.returncode == 0, done.stderr
    assert "(run_finished)" in done.stdout or "completed" in done.stdout


def test_diff_finds_the_first_event_that_differs_between_two_traces(script: Path) -> None:
    for seed in ("0", "3"):
        traced = simulate(
            script.parent, "trace", "script.py::sound", "--seed", seed, "--format", "json"
        )
        (script.parent / f"{seed}.jsonl").write_text(traced.stdout)
    same = simulate(script.parent, "diff", "0.jsonl", "0.jsonl")
    assert same.returncode == 0
    assert same.stdout.startswith("the same, ")
    other = simulate(script.parent, "diff", "0.jsonl", "3.jsonl")
    assert other.returncode == 1
    assert "  A #" in other.stdout
    assert "differs in: " in other.stdout


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupt_tells_what_is_known_so_far(jobs: str, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    # The scenario says that it runs, once: opening the pipe waits for the one who reads it.
    says = "    if begun.exists():\n        begun.open('w').close()\n        begun.unlink(True)\n"
    text = SCRIPT.replace("def sound(sim):\n", f"def sound(sim):\n{says}")
    (tmp_path / "script.py").write_text(f"import pathlib\nbegun = pathlib.Path('begun')\n{text}")
    command = [sys.executable, "-m", "runtime", "simulate", "script.py::sound"]
    with subprocess.Popen(
        [*command, "--budget", "50s", "--jobs", jobs],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        begun.open().close()
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted: this is what is known so far" in said


def test_help_names_what_stands_beside_it(script: Path) -> None:
    done = simulate(script.parent, "--help")
    assert done.returncode == 0
    for word in ("--seeds", "--check-determinism", "simulate diff A B", "simulate why CASE"):
        assert word in done.stdout


def test_a_safeguard_that_is_switched_off_is_noticed(script: Path) -> None:
    done = simulate(script.parent, "--ablate", "commit before")
    assert done.returncode == 0, done.stdout
    assert "noticed  commit before effects: seed " in done.stdout
    assert done.stdout.endswith("2 safeguards switched off in turn, each was noticed\n")
    wrong = simulate(script.parent, "--ablate", "gravity")
    assert wrong.returncode == 2
    assert "there is no safeguard 'gravity'; there are: " in wrong.stderr


# --- the line that moves --------------------------------------------------------------------------


def standing(**more: object) -> Standing:
    explored = Explored(1_200, 3_600_000, 7_200 * 60, 30.0, 4_321, 0.0123)
    return Standing("name", explored, 10_000, 0, **more)  # type: ignore[arg-type]


def test_the_line_tells_seeds_speed_simulated_time_states_and_what_is_unseen() -> None:
    told = line(standing())
    for part in ("1,200 of 10,000 seeds", "120,000 events/s", "5.0 days", "4,321 states", "1.2%"):
        assert part in told


def test_while_shrinking_the_line_tells_what_is_left() -> None:
    progress = Progress("faults", 12, Extent(3, 17, {}, 800, 60.0))
    assert "making it smaller: faults  12 runs  3 faults, 17 choices" in line(
        standing(shrinking=progress)
    )


def test_where_there_is_no_terminal_nothing_moves() -> None:
    stream = io.StringIO()
    with Live(stream) as live:
        live.say(standing())
    assert stream.getvalue() == ""
