"""The gates of a plan: judged by a command or by a person."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.spec import Gate
from runtime.plan import Fault, Loaded, PlanError, load

HEAD = '[run]\nname = "r"\n[workstreams.w.tasks.t]\ncommand = ["true"]\ngates = ["g"]\n[gates.g]\n'


def loaded(tmp_path: Path, gate: str) -> Loaded:
    path = tmp_path / "plan.toml"
    path.write_text(HEAD + gate)
    return load(path)


def fault(tmp_path: Path, gate: str) -> Fault:
    with pytest.raises(PlanError) as raised:
        loaded(tmp_path, gate)
    (found,) = raised.value.faults
    return found


def test_a_gate_may_be_a_persons_of_any_type_without_a_timeout(tmp_path: Path) -> None:
    found = loaded(tmp_path, 'approval = true\ntype = "SECURITY"\n')
    assert found.plan.gates == {"g": Gate(type="SECURITY", approval=True, timeout_s=None)}
    assert found.warnings == ()


def test_an_approval_may_have_a_timeout(tmp_path: Path) -> None:
    found = loaded(tmp_path, "approval = true\ntimeout_s = 60\n")
    assert found.plan.gates["g"].timeout_s == 60.0


def test_a_gate_with_a_command_and_an_approval_is_refused(tmp_path: Path) -> None:
    found = fault(tmp_path, 'approval = true\ncommand = ["x"]\n')
    assert found.text == "the gate has a command too, which would judge it"
    assert (found.line, found.where) == (7, "gates.g.approval")


@pytest.mark.parametrize("text", ["", "approval = false\n"])
def test_a_gate_that_nobody_would_judge_is_refused(tmp_path: Path, text: str) -> None:
    found = fault(tmp_path, text)
    assert found.text == "the gate has no command"
    assert "approval = true" in found.cure


def test_an_approval_is_true_or_false(tmp_path: Path) -> None:
    assert fault(tmp_path, 'approval = "yes"\n').where == "gates.g.approval"


@pytest.mark.parametrize("key", ["cwd = 'x'", "env = { A = '1' }", "expected_exit_codes = [1]"])
def test_what_says_how_a_command_runs_is_warned_of_where_a_person_judges(
    tmp_path: Path, key: str
) -> None:
    (warning,) = loaded(tmp_path, f"approval = true\n{key}\n").warnings
    assert warning.text == "has no effect where a person judges: nothing is run"


def test_a_gate_that_nothing_needs_is_warned_of(tmp_path: Path) -> None:
    (warning,) = loaded(tmp_path, "approval = true\n[gates.h]\napproval = true\n").warnings
    assert (warning.where, warning.text) == (
        "gates.h",
        "nothing needs this gate: it will not run",
    )
