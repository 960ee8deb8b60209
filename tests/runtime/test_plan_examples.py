"""The examples pass `check`, and docs/plans.md tells the whole format, as it is."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors import spec
from runtime import limits
from runtime.plan import Severity, check, load
from runtime.plan.later import (
    IDLE_RUN_KEYS,
    LOOP_LATER,
    PLAN_LATER,
    RUN_LATER,
    TASK_LATER,
)
from runtime.plan.locate import find_lines

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))
DOCS = (ROOT / "docs" / "plans.md").read_text()

# Which section of the document describes which record.
RECORDS: dict[str, type[msgspec.Struct]] = {
    "[run]": spec.Run,
    "[workers.NAME]": spec.Pool,
    "[tools.NAME]": spec.Tool,
    "[tools.NAME.breaker]": spec.Breaker,
    "[tools.NAME.loop]": spec.Loop,
    "[gates.NAME]": spec.Gate,
    "[workstreams.NAME]": spec.Workstream,
    "[workstreams.NAME.tasks.NAME]": spec.Task,
}


def section(title: str) -> str:
    return DOCS.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(title: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section(title), re.MULTILINE))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_a_sound_plan(path: Path) -> None:
    checked = check([path])
    assert checked.ok
    # What the machine lacks is a warning at the place that needs it; the plans have no other.
    assert all(f.where.endswith(("command[0]", "cwd")) for f in checked.faults), checked.faults
    assert all(fault.severity is Severity.WARNING for fault in checked.faults)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_begins_with_what_it_shows_and_how_to_run_it(path: Path) -> None:
    first = path.read_text().split("[run]", 1)[0]
    assert first.startswith("# ")
    assert f"banksman run examples/{path.name}" in first


def test_the_main_example_has_workstreams_dependencies_a_retry_and_gates() -> None:
    plan = load(ROOT / "examples" / "banksman_on_itself.toml").plan
    tasks = [task for w in plan.workstreams.values() for task in w.tasks.values()]
    assert len(plan.workstreams) >= 3
    assert any(workstream.depends_on for workstream in plan.workstreams.values())
    assert any(task.depends_on for task in tasks)
    assert any(task.max_retries for task in tasks)
    assert any(workstream.gates for workstream in plan.workstreams.values())
    assert any(task.gates for task in tasks)


def test_the_retry_of_the_main_example_succeeds_at_its_second_attempt(tmp_path: Path) -> None:
    (tmp_path / "examples" / "steps").mkdir(parents=True)
    step = tmp_path / "examples" / "steps" / "warm_cache.py"
    step.write_text((ROOT / "examples" / "steps" / "warm_cache.py").read_text())
    (tmp_path / "actors").mkdir()
    (tmp_path / "actors" / "a.py").write_text("")
    codes = [
        subprocess.run([sys.executable, str(step)], check=False, capture_output=True).returncode
        for _ in range(3)
    ]
    task = load(ROOT / "examples" / "banksman_on_itself.toml").plan
    retried = task.workstreams["prepare"].tasks["warm-cache"].retry_exit_codes
    assert codes == [retried[0], 0, 0]


@pytest.mark.parametrize(("title", "record"), RECORDS.items())
def test_every_key_is_documented_with_its_default(title: str, record: type[msgspec.Struct]) -> None:
    documented = rows(title)
    assert documented.keys() == set(record.__struct_fields__) - {"base_dir"}
    for key, shown in documented.items():
        if shown in {"required", "none", "", "as below"}:
            continue
        blank: dict[str, Any] = {"name": "x"} if record is spec.Run else {}
        default = getattr(record(**blank), key)
        told = tomllib.loads(f"x = {shown.strip('`')}")["x"]
        assert told == (list(default) if isinstance(default, tuple) else default), key


def test_the_defaults_of_a_restart_are_documented() -> None:
    told = re.search(r"`restart = (\{.*?\})`", section("[workers.NAME]"), re.DOTALL)
    assert told is not None
    table = tomllib.loads(f"x = {told[1]}")["x"]
    assert msgspec.convert(table, spec.Restart) == spec.Restart()
    assert table.keys() == set(spec.Restart.__struct_fields__)


def test_what_comes_later_is_documented_with_what_brings_it() -> None:
    told = section("What comes later")
    for later in (PLAN_LATER, RUN_LATER, TASK_LATER, LOOP_LATER):
        for key, (comes_with, _) in later.items():
            row = next(line for line in told.splitlines() if re.search(rf"[`.\[]{key}[`\] ]", line))
            assert row.rstrip(" |").endswith(comes_with), key
    assert all(f"`run.{key}`" in told for key in IDLE_RUN_KEYS)


@pytest.mark.parametrize(
    ("shown", "bound"),
    [
        ("16 MiB", limits.PLAN_BYTES_MAX / 1024 / 1024),
        ("64 levels", limits.KEY_PARTS_MAX),
        ("64 characters", limits.NAME_CHARS_MAX),
        ("1,000,000 tasks", limits.PLAN_TASKS_MAX),
        ("10,000 workstreams", limits.PLAN_WORKSTREAMS_MAX),
        ("1,000 gates", limits.PLAN_GATES_MAX),
        ("256 pools", limits.PLAN_POOLS_MAX),
        ("10,000 entries", limits.LIST_ITEMS_MAX),
        ("500 faults", limits.FAULTS_MAX),
        ("at most 1024", limits.PLAN_SLOTS_MAX),
        ("at most 10000", limits.RETRIES_MAX),
    ],
)
def test_a_bound_in_the_document_is_the_one_that_holds(shown: str, bound: float) -> None:
    assert shown in DOCS.replace("\n", " ")
    assert float(re.sub(r"[^0-9]", "", shown)) == bound


def test_the_plans_in_the_document_are_plans(tmp_path: Path) -> None:
    for number, text in enumerate(re.findall(r"```toml\n(.*?)```", DOCS, re.DOTALL)):
        path = tmp_path / f"{number}.toml"
        path.write_text(text)
        assert load(path).warnings == ()
        assert find_lines(text).written
