"""`check` over files and folders: the stable shape, and plans of any size in bounded time."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from actors import spec
from runtime.cli.failures import as_stop
from runtime.plan import PlanError, check, load, validate

T = TypeVar("T")

SOUND = '[run]\nname = "r"\n[workstreams.w.tasks.t]\ncommand = ["true"]\n'


def test_a_sound_plan_is_ok_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(SOUND)
    counts = {"file": str(path), "name": "r", "workstreams": 1, "tasks": 1, "gates": 0}
    assert check([path]).as_json() == {"ok": True, "faults": [], "plans": [counts]}


def test_a_fault_has_its_stable_shape(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(SOUND + "patch = { scope = ['src/**'] }\n")
    found = check([path]).as_json()
    assert found["ok"] is False
    assert found["plans"] == []
    assert found["faults"][0] == {
        "file": str(path),
        "line": 5,
        "where": "workstreams.w.tasks.t.patch",
        "text": "`patch` comes with the patch ledger; this version does not run it",
        "cure": "remove it: the task then works in `cwd` itself",
        "severity": "error",
    }


def test_what_the_machine_lacks_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(SOUND.replace("true", "no-such-tool") + 'cwd = "."\n')
    checked = check([path])
    assert checked.ok
    assert [(str(f.severity), f.line) for f in checked.faults] == [("warning", 4)]


def test_the_warnings_of_a_sound_plan_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(SOUND + '[gates.g]\ncommand = ["true"]\n')
    checked = check([path])
    assert checked.ok
    assert [(f.line, f.where) for f in checked.faults] == [(5, "gates.g")]


def test_every_plan_of_a_folder_is_checked_and_other_toml_is_not(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(SOUND)
    (tmp_path / "a.toml").write_text(SOUND.replace('"r"', '"/"'))
    (tmp_path / "c.json").write_text("{}")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "notes.md").write_text("")
    checked = check([tmp_path])
    assert [Path(loaded.file).name for loaded in checked.plans] == ["b.toml"]
    assert [Path(fault.file).name for fault in checked.faults] == ["a.toml", "c.json"]
    assert not checked.ok


def test_a_folder_without_a_plan_is_a_fault(tmp_path: Path) -> None:
    found = check([tmp_path]).faults
    assert [(f.file, f.text) for f in found] == [(str(tmp_path), "no plan lies in this folder")]


def test_several_files_are_checked_in_their_order(tmp_path: Path) -> None:
    for name in ("z", "a"):
        (tmp_path / name).write_text("x")
    checked = check([tmp_path / "z", tmp_path / "a", tmp_path / "gone"])
    assert [Path(fault.file).name for fault in checked.faults] == ["z", "a", "gone"]


def timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.process_time()
    done = work()
    return time.process_time() - began, done


@pytest.mark.slow
def test_a_plan_of_100000_tasks_is_checked_in_a_few_seconds(tmp_path: Path) -> None:
    lines = ['[run]\nname = "r"']
    for number in range(100_000):
        if number % 1_000 == 0:
            lines.append(f"[workstreams.w{number // 1_000}.tasks]")
        after = f', depends_on = ["t{number - 1}"]' if number % 1_000 else ""
        lines.append(f't{number} = {{ command = ["true"]{after} }}')
    path = tmp_path / "plan.toml"
    path.write_text("\n".join(lines))
    took_s, checked = timed(lambda: check([path]))
    assert checked.ok
    assert checked.as_json()["plans"][0]["tasks"] == 100_000
    if took_s >= 5:  # a machine that is slow by itself
        assert took_s < 4 * timed(lambda: tomllib.loads(path.read_text()))[0]


@pytest.mark.slow
def test_a_plan_of_100000_faults_is_checked_in_bounded_time(tmp_path: Path) -> None:
    lines = ['[run]\nname = "r"\n[workstreams.w.tasks]']
    lines += [
        f't{n} = {{ command = ["x"], depends_on = ["u{n}"], comand = 1 }}' for n in range(50_000)
    ]
    path = tmp_path / "plan.toml"
    path.write_text("\n".join(lines))
    took_s, checked = timed(lambda: check([path]))
    assert took_s < 15
    assert 500 < len(checked.faults) < 510
    assert checked.faults[0].line is None or checked.faults[0].line >= 4


def test_equal_faults_are_told_once_to_a_person_and_all_within_the_bound_as_json() -> None:
    tasks = {f"t{n}": spec.Task(call="fetch") for n in range(100_000)}
    plan = spec.Plan(run=spec.Run(name="r"), workstreams={"w": spec.Workstream(tasks=tasks)})
    error = PlanError(validate(plan, frozenset(), {}))
    lines = str(error).splitlines()
    assert len(lines) < 10
    assert any("t0.call" in line and "(and 99,999 more like it)" in line for line in lines)
    shapes = [fault.as_json() for fault in error.faults]
    assert len(shapes) == 500
    calls = [shape for shape in shapes if shape["where"].endswith(".call")]
    assert len(calls) + calls[0]["more"] == 100_000


def test_the_command_groups_equal_faults_and_keeps_those_that_differ(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        SOUND + "".join(f"[workstreams.w.tasks.t{n}]\ncommand = {n % 2}\n" for n in range(6))
    )
    with pytest.raises(PlanError) as refused:
        load(path)
    stop = as_stop(refused.value)
    assert stop.text == "the plan has 6 faults, so nothing was started"
    assert len(stop.lines) == sum("(and 2 more like it)" in line for line in stop.lines) == 2
    assert len(stop.facts["faults"]) == 6
