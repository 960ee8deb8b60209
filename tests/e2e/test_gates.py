"""Gates as installed: an approval that a run waits for, an empty suite, a reused verdict."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.e2e.commands import banksman
from tests.runtime.git_kit import repository

SIGNED = """
[run]
name = "release"
[gates.sign]
approval = true
[workstreams.w.tasks.ship]
command = ["true"]
gates = ["sign"]
"""
TESTED = f"""
[run]
name = "tested"
[gates.unit]
command = [{sys.executable!r}, "-m", "unittest", "-q"]
[workstreams.w.tasks.work]
command = ["true"]
validate = ["unit"]
"""
A_TEST = "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): pass\n"


def gates(folder: Path, *more: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = banksman("gates", "--json", *more, cwd=folder).json
    return found


def test_a_run_that_waits_for_an_approval_exits_7_and_goes_on_once_it_is_given(
    tmp_path: Path,
) -> None:
    (tmp_path / "plan.toml").write_text(SIGNED)
    first = banksman("run", "plan.toml", cwd=tmp_path)
    assert first.code == 7
    assert "waits for a person" in first.out
    assert "banksman approve" in first.out
    given = banksman("approve", "sign", "--reason", "as planned", cwd=tmp_path)
    assert given.code == 0
    assert banksman("resume", cwd=tmp_path).code == 0
    (gate,) = gates(tmp_path, "--all")
    assert gate["state"] == "passed"
    assert gate["reason"].endswith(": as planned")
    assert banksman("logs", "sign", cwd=tmp_path).err.endswith("a person: nothing is run\n")
    assert banksman("verify", cwd=tmp_path).code == 0


def test_a_rejected_approval_fails_its_run_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(SIGNED)
    banksman("run", "plan.toml", cwd=tmp_path)
    assert banksman("reject", "sign", "--reason", "too early", cwd=tmp_path).code == 0
    said = banksman("report", cwd=tmp_path).out
    assert "failed" in said
    assert "too early" in said


def test_an_empty_suite_stops_the_run_for_a_person_until_there_is_a_test_and_a_rerun(
    tmp_path: Path,
) -> None:
    (tmp_path / "plan.toml").write_text(TESTED)
    first = banksman("run", "plan.toml", cwd=tmp_path)
    assert first.code == 7
    assert "no test was executed, says unittest" in first.out
    (tmp_path / "test_a.py").write_text(A_TEST)
    again = banksman("gate", "rerun", "unit", cwd=tmp_path)
    assert again.code == 0
    over = banksman("resume", cwd=tmp_path)
    assert (over.code, "gates  1/1 passed" in over.out) == (0, True)
    old, new = gates(tmp_path, "--all")
    assert (old["state"], old["tests"], new["state"], new["tests"]) == ("failed", 0, "passed", 1)


def test_a_second_run_on_the_same_tree_reuses_the_verdict_and_says_so(tmp_path: Path) -> None:
    repository(
        tmp_path, plan__toml=TESTED, test_a__py=A_TEST, __gitignore="__pycache__/\n.state/\n"
    )
    codes = [banksman("run", "plan.toml", cwd=tmp_path).code for _ in range(3)]
    assert codes == [0, 0, 0]
    *_, third = sorted(gates(tmp_path, "--all"), key=lambda gate: gate["created_at"])
    assert third["reused_from"] is not None
    assert third["reused_from"] in banksman("gates", cwd=tmp_path).out
    silent = banksman("logs", third["id"], cwd=tmp_path)
    assert f"banksman logs {third['reused_from']}" in silent.err
