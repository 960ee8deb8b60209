"""`init` writes a first plan for what it finds, and that plan passes `check`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from actors.spec import Plan
from runtime.plan import PLAN_NAME, PlanExists, first_plan, load, write_first_plan
from runtime.plan.absent import absent


def planned(repo: Path, files: dict[str, str]) -> Plan:
    for name, content in files.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(content)
    loaded = load(write_first_plan(repo))
    assert loaded.warnings == ()
    return loaded.plan


def commands(plan: Plan) -> dict[str, list[str]]:
    return {
        f"{name}/{task}": list(spec.command)
        for name, workstream in plan.workstreams.items()
        for task, spec in workstream.tasks.items()
    }


PYPROJECT = """
[build-system]
requires = ["hatchling"]
[tool.ruff]
[tool.mypy]
packages = ["own"]
[tool.pytest.ini_options]
"""


def test_a_python_project_is_linted_typed_tested_and_built(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"pyproject.toml": PYPROJECT})
    assert commands(plan) == {
        "lint/ruff": ["ruff", "check", "."],
        "types/mypy": ["mypy"],
        "test/pytest": ["python3", "-m", "pytest", "-q"],
        "build/wheel": ["python3", "-m", "pip", "wheel", "--no-deps", "--wheel-dir", "dist", "."],
    }
    assert plan.workstreams["build"].depends_on == ("lint", "types", "test")
    assert plan.workstreams["lint"].gates == ("ruff-format",)
    assert (plan.gates["ruff-format"].type, plan.gates["ruff-format"].command) == (
        "LINT",
        ("ruff", "format", "--check", "."),
    )


def test_the_programs_of_a_virtual_environment_are_used(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    os.symlink(sys.executable, tmp_path / ".venv" / "bin" / "python")
    (tmp_path / ".venv" / "bin" / "ruff").write_text("#!/bin/sh\n")
    (tmp_path / ".venv" / "bin" / "ruff").chmod(0o755)
    found = commands(planned(tmp_path, {"pyproject.toml": PYPROJECT}))
    assert found["lint/ruff"][0] == ".venv/bin/ruff"
    assert found["types/mypy"][0] == "mypy"
    assert found["test/pytest"][0] == ".venv/bin/python"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"pytest.ini": ""}, {"test/pytest": ["python3", "-m", "pytest", "-q"]}),
        ({"setup.cfg": "[tool:pytest]\n"}, {"test/pytest": ["python3", "-m", "pytest", "-q"]}),
        ({"noxfile.py": ""}, {"test/nox": ["nox"]}),
        ({"tox.ini": "[tox]\n"}, {"test/tox": ["tox"]}),
        ({"tox.ini": "[flake8]\n"}, {"lint/flake8": ["flake8"]}),
        ({"mypy.ini": ""}, {"types/mypy": ["mypy", "."]}),
        ({"pyrightconfig.json": "{}"}, {"types/pyright": ["pyright"]}),
        (
            {"tests/test_a.py": ""},
            {"test/unittest": ["python3", "-m", "unittest", "discover", "-s", "tests", "-t", "."]},
        ),
        (
            {"tests/test_a.py": "", "requirements-dev.txt": "pytest\n"},
            {"test/pytest": ["python3", "-m", "pytest", "-q"]},
        ),
        (
            {"go.mod": "module x\n"},
            {
                "lint/go-vet": ["go", "vet", "./..."],
                "test/go-test": ["go", "test", "./..."],
                "build/go-build": ["go", "build", "./..."],
            },
        ),
        (
            {"Makefile": "CC := gcc\nall: x\ncheck:\n\ttrue\n.PHONY: all\nlint ::\n\ttrue\n"},
            {
                "lint/make-lint": ["make", "lint"],
                "test/make-check": ["make", "check"],
                "build/make-all": ["make", "all"],
            },
        ),
    ],
)
def test_what_a_repository_is_set_up_for_becomes_tasks(
    tmp_path: Path, files: dict[str, str], expected: dict[str, list[str]]
) -> None:
    assert commands(planned(tmp_path, files)) == expected


def test_the_scripts_of_a_node_package_are_run_by_its_own_package_manager(tmp_path: Path) -> None:
    scripts = {"lint": "eslint .", "type-check": "tsc", "test": "vitest", "build": "vite build"}
    package = {"scripts": {**scripts, "format:check": "prettier --check .", "dev": "vite"}}
    files = {"package.json": json.dumps(package), "pnpm-lock.yaml": ""}
    plan = planned(tmp_path, files)
    assert commands(plan) == {
        "lint/pnpm-lint": ["pnpm", "run", "lint"],
        "types/pnpm-type-check": ["pnpm", "run", "type-check"],
        "test/pnpm-test": ["pnpm", "run", "test"],
        "build/pnpm-build": ["pnpm", "run", "build"],
    }
    assert plan.workstreams["test"].tasks["pnpm-test"].env == {"CI": "1"}
    assert plan.gates["pnpm-format"].command == ("pnpm", "run", "format:check")


def test_the_test_script_that_npm_itself_writes_is_left_out(tmp_path: Path) -> None:
    script = 'echo "Error: no test specified" && exit 1'
    package = {"scripts": {"test": script, "build": "tsc"}}
    found = commands(planned(tmp_path, {"package.json": json.dumps(package)}))
    assert found == {"build/npm-build": ["npm", "run", "build"]}


def test_cargo_commands_take_turns(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"Cargo.toml": "[package]\n"})
    tasks = [t for w in plan.workstreams.values() for t in w.tasks.values()]
    assert len(tasks) == 4
    assert {task.concurrency_key for task in tasks} == {"cargo"}
    assert plan.gates["cargo-fmt"].command == ("cargo", "fmt", "--check")


def test_a_cmake_build_is_judged_by_its_tests(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"CMakeLists.txt": "project(x)\nenable_testing()\n"})
    assert plan.workstreams["build"].tasks["cmake-build"].depends_on == ("cmake-configure",)
    assert plan.workstreams["build"].gates == ("ctest",)
    assert plan.gates["ctest"].type == "UNIT"


def test_a_makefile_adds_only_what_nothing_else_does(tmp_path: Path) -> None:
    files = {"go.mod": "module x\n", "Makefile": "lint:\ntest:\ntypes:\n"}
    found = commands(planned(tmp_path, files))
    assert "types/make-types" in found
    assert not {"lint/make-lint", "test/make-test"} & found.keys()


def test_a_repository_of_many_kinds_gets_one_plan(tmp_path: Path) -> None:
    files = {"pyproject.toml": PYPROJECT, "Cargo.toml": "", "go.mod": "", "CMakeLists.txt": "x"}
    files["package.json"] = json.dumps({"scripts": {"prettier:check": "prettier"}})
    plan = planned(tmp_path, files)
    assert list(plan.workstreams) == ["lint", "types", "test", "build"]
    assert set(plan.gates) == {"ruff-format", "npm-format", "cargo-fmt"}


def test_an_empty_repository_gets_a_plan_that_runs(tmp_path: Path) -> None:
    plan = planned(tmp_path, {})
    assert commands(plan) == {"hello/greet": ["echo", "the way is clear"]}
    assert absent(plan, tmp_path) == ()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("pyproject.toml", "[broken"),
        ("package.json", "{"),
        ("package.json", "[" * 100_000),
        ("package.json", '{"scripts": []}'),
        ("pyproject.toml", "tool = 3"),
        ("Makefile", "\x00\x01 ::::\n"),
    ],
)
def test_a_broken_file_is_passed_over(tmp_path: Path, file: str, content: str) -> None:
    assert commands(planned(tmp_path, {file: content})) == {
        "hello/greet": ["echo", "the way is clear"]
    }


@pytest.mark.parametrize(
    ("folder", "name"), [("my app", "my-app"), ("..x..", "x"), ("é", "plan"), ("a" * 99, "a" * 48)]
)
def test_the_run_is_named_after_the_folder(tmp_path: Path, folder: str, name: str) -> None:
    (tmp_path / folder).mkdir()
    assert planned(tmp_path / folder, {}).run.name == name


def test_a_plan_that_is_there_is_left_alone_unless_forced(tmp_path: Path) -> None:
    (tmp_path / PLAN_NAME).write_text("mine")
    with pytest.raises(PlanExists, match="--force"):
        write_first_plan(tmp_path)
    assert (tmp_path / PLAN_NAME).read_text() == "mine"
    assert write_first_plan(tmp_path, force=True).read_text() == first_plan(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [PLAN_NAME]


def test_another_file_may_be_named(tmp_path: Path) -> None:
    assert load(write_first_plan(tmp_path, tmp_path / "other.toml")).plan.run.name


def test_a_link_to_nowhere_is_a_plan_that_is_there(tmp_path: Path) -> None:
    (tmp_path / PLAN_NAME).symlink_to("gone")
    with pytest.raises(PlanExists):
        write_first_plan(tmp_path)


def test_a_plan_that_lies_elsewhere_runs_its_commands_in_the_repository(tmp_path: Path) -> None:
    repo, elsewhere = tmp_path / "repo", tmp_path / "plans"
    repo.mkdir()
    elsewhere.mkdir()
    (repo / "pyproject.toml").write_text(PYPROJECT)
    plan = load(write_first_plan(repo, elsewhere / "mine.toml")).plan
    places = {task.cwd for stream in plan.workstreams.values() for task in stream.tasks.values()}
    places |= {gate.cwd for gate in plan.gates.values()}
    assert {(elsewhere / place).resolve() for place in places} == {repo}
