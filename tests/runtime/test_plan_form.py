"""Each fault of form is named with its line, its place, what is wrong and the cure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors import spec
from runtime.plan import Fault, PlanError, load
from runtime.plan.later import PLAN_LATER, RUN_LATER, TASK_LATER
from runtime.plan.read import (
    BUDGET_FIELDS,
    GATE_FIELDS,
    POOL_FIELDS,
    RESTART_FIELDS,
    RUN_FIELDS,
    TASK_FIELDS,
    WORKSTREAM_FIELDS,
)
from runtime.plan.tools import BREAKER_FIELDS, LOOP_FIELDS, RATE_LIMIT_FIELDS, TOOL_FIELDS

RUN = '[run]\nname = "r"\n'
TASK = '[workstreams.w.tasks.t]\ncommand = ["true"]\n'


def faults(tmp_path: Path, text: str) -> tuple[Fault, ...]:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    try:
        return load(path).warnings
    except PlanError as error:
        return error.faults


def only(tmp_path: Path, text: str) -> tuple[int | None, str, str, str]:
    found = faults(tmp_path, text)
    assert len(found) == 1, found
    assert found[0].file == str(tmp_path / "plan.toml")
    return found[0].line, found[0].where, found[0].text, found[0].cure


def test_a_sound_plan_has_no_faults(tmp_path: Path) -> None:
    assert faults(tmp_path, RUN + TASK) == ()


@pytest.mark.parametrize(
    ("line", "where", "text", "cure"),
    [
        ("comand = 1", "comand", 'a task has no key "comand"', "did you mean `command`?"),
        ("name = 'x'", "name", 'a task has no key "name"', "it belongs to [run]"),
        ("xyz = 1", "xyz", 'a task has no key "xyz"', "its keys are command, call, kwargs,"),
        (
            "timeout_s = '30'",
            "timeout_s",
            "expected a number of seconds, got the string",
            "30, wit",
        ),
        ("timeout_s = 0", "timeout_s", "0 is no usable number of seconds", "use 0.001 to"),
        ("timeout_s = -1.5", "timeout_s", "-1.5 is no usable", "use 0.001 to"),
        ("timeout_s = nan", "timeout_s", "nan is no usable", "leave it out"),
        ("timeout_s = inf", "timeout_s", "inf is no usable", "leave it out"),
        ("timeout_s = true", "timeout_s", "expected a number of seconds, got true", "like 60"),
        ("backoff_s = -1", "backoff_s", "-1 is no usable", "use 0 to"),
        ("max_retries = -1", "max_retries", "-1 is out of range", "use 0 to 10000"),
        ("max_retries = 1.5", "max_retries", "expected a whole number, got the number 1.5", "like"),
        ("max_retries = true", "max_retries", "expected a whole number, got true", "number"),
        ("max_retries = [1]", "max_retries", "expected a whole number, got a list", "number"),
        ("priority = 9999999999", "priority", "9999999999 is out of range", "to 1000000"),
        ("critical = 'yes'", "critical", 'expected true or false, got the string "yes"', "quotes"),
        ("requires = 'gpu'", "requires", 'expected a list, got the string "gpu"', '["gpu"]'),
        ("requires = [1]", "requires[0]", "expected a string, got the number 1", "quotes"),
        ("requires = ['']", "requires[0]", '"" cannot be shown as a label', "1 to 128"),
        ('requires = ["a\\nb"]', "requires[0]", '"a\\nb" cannot be shown', "on one line"),
        ("gates = ['g', 'g']", "gates[1]", '"g" is named twice', "remove one"),
        ("depends_on = ['']", "depends_on[0]", "expected a name", "in quotes"),
        ("expected_exit_codes = []", "expected_exit_codes", "no exit code would count", "[0]"),
        (
            "expected_exit_codes = [256]",
            "expected_exit_codes[0]",
            "256 is out of range",
            "0 to 255",
        ),
        ("expected_exit_codes = [0, 0]", "expected_exit_codes[1]", "0 is named twice", "remove"),
        ("cwd = ''", "cwd", "an empty path", '"."'),
        ("cwd = 1", "cwd", "expected a string, got the number 1", "in quotes"),
        ('cwd = "a\\u0000b"', "cwd", "holds a NUL character", "remove it"),
        ("env = ['A']", "env", "expected a table of strings, got a list", 'LANG = "C"'),
        ("env = { A = 1 }", "env.A", "expected a string, got the number 1", "in quotes"),
        ('env = { "A=B" = "1" }', 'env."A=B"', "expected the name of an environment", "LANG"),
        ('env = { A = "\\u0000" }', "env.A", "holds a NUL character", "remove it"),
        ("env = 1979-05-27", "env", "expected a table of strings, got a date or time", "LANG"),
        ("kwargs = { a = 1 }", "kwargs", "`kwargs` belongs to a `call`", "into `command`"),
        ("concurrency_key = ''", "concurrency_key", '"" cannot be shown as a label', "1 to 128"),
        ("concurrency_key = 1", "concurrency_key", "expected a string", "quotes"),
    ],
)
def test_a_key_of_a_task_that_is_wrong_is_named(
    tmp_path: Path, line: str, where: str, text: str, cure: str
) -> None:
    found = next(f for f in faults(tmp_path, RUN + TASK + line) if where in f.where)
    assert (found.line, found.where) == (5, f"workstreams.w.tasks.t.{where}")
    assert text in found.text
    assert cure in found.cure


@pytest.mark.parametrize(
    ("command", "where", "text", "cure"),
    [
        ('"make all"', "", "expected a list of strings (argv), got the string", '["make", "all"]'),
        ('"it\'s"', "", "expected a list of strings", '["make", "all"]'),
        ("3", "", "expected a list of strings (argv), got the number 3", "each word apart"),
        ("[]", "", "an empty command", '["make"]'),
        ('[""]', "[0]", "the program's name is empty", "name a program"),
        ('["a", 3]', "[1]", "expected a string, got the number 3", 'write "3"'),
        ('["a", "\\u0000"]', "[1]", "holds a NUL character", "remove it"),
        (f'["{"a" * 140_000}"]', "", "140000 bytes, more than the 131071", "into a file"),
    ],
)
def test_a_command_that_is_no_argv_is_named(
    tmp_path: Path, command: str, where: str, text: str, cure: str
) -> None:
    plan = f"{RUN}[workstreams.w.tasks.t]\ncommand = {command}"
    line, place, told, what_to_do = only(tmp_path, plan)
    assert (line, place) == (4, f"workstreams.w.tasks.t.command{where}")
    assert text in told
    assert cure in what_to_do


@pytest.mark.parametrize(
    ("table", "line", "where", "text", "cure"),
    [
        ("[workers.a]\ncount = -1", 6, "workers.a.count", "-1 is out of range", "0 to 1024"),
        ("[workers.a]\ncount = 2000", 6, "workers.a.count", "2000 is out of range", "0 to 1024"),
        ("[workers.a]\nkind = 'inlin'", 6, "workers.a.kind", '"inlin" is not', 'mean "inline"'),
        ("[workers.a]\nkind = 1", 6, "workers.a.kind", 'expected "process" or "inline"', "use"),
        ("[workers.a]\nsandbox = 'x'", 6, "workers.a.sandbox", '"x" is not "none" or', "use"),
        ("[workers.a]\nrestart = 1", 6, "workers.a.restart", "expected a table, got the", "table"),
        ("[workers.a.restart]\nwindow = 1", 6, "workers.a.restart.window", "no key", "`window_s`"),
        ("[workers]\na = 1", 6, "workers.a", "expected a table, got the number 1", "a pool"),
        ("[workers.'a b']", 5, 'workers."a b"', '"a b" cannot be a name', "no `..`"),
        ("[workers.'a..b']", 5, 'workers."a..b"', '"a..b" cannot be a name', "no `..`"),
        ("[workers.-a]", 5, "workers.-a", '"-a" cannot be a name', "begin with a letter"),
        (f"[workers.{'a' * 65}]", 5, f"workers.{'a' * 65}", "cannot be a name", "64 characters"),
        ("[tasks.x]", 5, "tasks", 'a plan has no key "tasks"', "it belongs to a workstream"),
        ("[worker.x]", 5, "worker", 'a plan has no key "worker"', "did you mean `workers`?"),
        ("[workstreams.v]", 5, "workstreams.v", "the workstream has no tasks", "remove"),
        ("[workstreams]\nv = 1", 6, "workstreams.v", "expected a table, got the number", "table"),
        ("[workstreams.v]\ntasks = 1", 6, "workstreams.v.tasks", "expected a table", ".<name>]"),
        ("[workstreams.v.tasks.t]", 5, "workstreams.v.tasks.t", "has no command", "add command"),
    ],
)
def test_a_table_that_is_wrong_is_named(
    tmp_path: Path, table: str, line: int, where: str, text: str, cure: str
) -> None:
    found = only(tmp_path, RUN + TASK + table)
    assert found[:2] == (line, where)
    assert text in found[2]
    assert cure in found[3]


@pytest.mark.parametrize(
    ("text", "line", "where", "told"),
    [
        ("", None, "", "there is no [run] table"),
        ("[run]", 1, "run", "the run has no name"),
        ("\nrun = 3", 2, "run", "expected a table, got the number 3"),
        ("[run]\nname = 'a/b'", 2, "run.name", '"a/b" cannot be a name'),
        ("[run]\nname = 3", 2, "run.name", "expected a string, got the number 3"),
        (RUN + "on_failure = 'stopp'", 3, "run.on_failure", '"stopp" is not "finish" or "stop"'),
        (RUN + 'phase = "a\\u001b[2J"', 3, "run.phase", '"a\\x1b[2J" cannot be shown'),
        (RUN + "base_dir = '/'", 3, "run.base_dir", '[run] has no key "base_dir"'),
        (RUN + "env_pass = ['A=B']", 3, "run.env_pass[0]", "expected the name of an env"),
        (RUN + "env_pass = 'A'", 3, "run.env_pass", "expected a list"),
        (RUN + "workstreams = 1", 3, "run.workstreams", '[run] has no key "workstreams"'),
    ],
)
def test_a_run_that_is_wrong_is_named(
    tmp_path: Path, text: str, line: int | None, where: str, told: str
) -> None:
    found = next(f for f in faults(tmp_path, text) if f.where == where and told in f.text)
    assert found.line == line


@pytest.mark.parametrize("table", ["", "[workstreams]\n", "[workers.a]\n"])
def test_a_plan_without_a_task_is_refused(tmp_path: Path, table: str) -> None:
    assert only(tmp_path, RUN + table)[2:] == (
        "the plan has no tasks",
        "add [workstreams.<name>.tasks.<name>] with a command",
    )


def test_a_task_with_both_a_command_and_a_call_is_refused(tmp_path: Path) -> None:
    found = only(tmp_path, RUN + TASK + "call = 'json:dumps'")
    assert found[1:3] == ("workstreams.w.tasks.t", "the task has `command` and `call`")


def test_a_gate_without_a_command_is_refused(tmp_path: Path) -> None:
    found = faults(tmp_path, RUN + TASK + "validate = ['g']\n[gates.g]\ntype = 'LINT'")
    assert [(f.line, f.text) for f in found] == [(6, "the gate has no command")]


@pytest.mark.parametrize(
    ("value", "where", "text"),
    [
        ("[1]", "", "expected a table, got a list"),
        ("{ a = 1979-05-27 }", ".a", "a date or time cannot be written as JSON"),
        ("{ a = [nan] }", ".a[0]", "nan cannot be written as JSON"),
        ("{ a = 99999999999999999999 }", ".a", "99999999999999999999 is too large a number"),
        ("{ a = " + "[" * 40 + "]" * 40 + " }", ".a" + "[0]" * 31, "nested deeper than 32 levels"),
        ('{ a = "' + "x" * 300_000 + '" }', "", "300008 bytes as JSON, more than the 262144"),
    ],
)
def test_arguments_that_json_cannot_carry_are_named(
    tmp_path: Path, value: str, where: str, text: str
) -> None:
    plan = f"{RUN}[workstreams.w.tasks.t]\ncall = 'json:dumps'\nkwargs = {value}"
    line, place, told, _ = only(tmp_path, plan)
    assert (line, place) == (5, f"workstreams.w.tasks.t.kwargs{where}")
    assert text in told


def test_arguments_that_json_can_carry_arrive_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        RUN
        + "[workstreams.w.tasks.t]\ncall = 'json:dumps'\nkwargs = { obj = [1, 2.5, { a = true }] }"
    )
    kwargs = load(path).plan.workstreams["w"].tasks["t"].kwargs
    assert kwargs == {"obj": [1, 2.5, {"a": True}]}


LATER = [
    *((f"{key} = 1\n{RUN}{TASK}", 1, key) for key in PLAN_LATER),
    *((f"{RUN}{key} = 1\n{TASK}", 3, f"run.{key}") for key in RUN_LATER),
    *((f"{RUN}{TASK}{key} = 1", 5, f"workstreams.w.tasks.t.{key}") for key in TASK_LATER),
]


@pytest.mark.parametrize(("text", "line", "where"), LATER)
def test_a_key_that_comes_later_is_refused_by_name(
    tmp_path: Path, text: str, line: int, where: str
) -> None:
    found = next(f for f in faults(tmp_path, text) if "comes with" in f.text)
    assert (found.line, found.where) == (line, where)
    assert "this version does not run it" in found.text
    assert "remove it" in found.cure


def test_a_task_that_has_only_a_tool_is_not_told_that_it_has_no_command(tmp_path: Path) -> None:
    found = faults(tmp_path, RUN + "[workstreams.w.tasks.t]\ntool = 'ruff'")
    assert [f.where for f in found] == ["workstreams.w.tasks.t.tool"]


def test_the_place_for_patches_is_idle_without_patches_and_said_to_be(tmp_path: Path) -> None:
    found = faults(tmp_path, RUN + "repository = '.'\ntarget = 'main'\n" + TASK)
    assert [(str(f.severity), f.line) for f in found] == [("warning", 3), ("warning", 4)]
    assert "no effect without patches" in found[0].text


@pytest.mark.parametrize("sandbox", ["none", "write-fence"])
def test_a_pool_says_what_stands_around_its_work(tmp_path: Path, sandbox: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(f"{RUN}{TASK}[workers.w]\nsandbox = '{sandbox}'")
    assert load(path).plan.workers["w"].sandbox == sandbox


def test_an_inline_pool_cannot_be_fenced(tmp_path: Path) -> None:
    plan = RUN + "[workers.w]\nkind = 'inline'\nsandbox = 'write-fence'\n"
    plan += "[workstreams.w.tasks.t]\ncall = 'json:dumps'"
    line, where, text, cure = only(tmp_path, plan)
    assert (line, where) == (5, "workers.w.sandbox")
    assert "which no fence surrounds" in text
    assert 'kind = "process"' in cure


def test_every_fault_is_found_in_one_look_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = (
        "[run]\nname = '/'\nphase = 3\n[workers.a]\ncount = -1\n[workstreams.w.tasks.t]\n"
        "command = 3\ncritical = 1\ndepends_on = ['x']\n[workstreams.w.tasks.u]\n[gates.g]\nfoo = 1"
    )
    errors = [f for f in faults(tmp_path, text) if f.severity == "error"]
    assert [f.line for f in errors] == [2, 3, 5, 7, 8, 9, 10, 11, 12]


def test_more_of_a_kind_than_the_bound_are_refused(tmp_path: Path) -> None:
    pools = "".join(f"[workers.p{i}]\n" for i in range(257))
    assert only(tmp_path, RUN + TASK + pools)[1:3] == ("workers", "more than 256 pools")


def test_very_many_faults_are_counted_beyond_a_bound(tmp_path: Path) -> None:
    tasks = "".join(
        f"[workstreams.w.tasks.t{i}]\ncommand = ['x']\nkey{i} = 1\n" for i in range(800)
    )
    found = faults(tmp_path, RUN + tasks)
    assert len(found) == 501
    assert any(f.text == "300 more errors like these are not shown" for f in found)


@pytest.mark.parametrize(
    ("budget", "where", "text", "cure"),
    [
        ("{}", "run.budget", "the budget bounds nothing", "add attempts = 500"),
        ("3", "run.budget", "expected a table, got the number 3", "a table of keys"),
        ("{ attempts = 0 }", "run.budget.attempts", "0 is out of range", "1 to"),
        ("{ minutes = 3 }", "run.budget.minutes", "`budget` has no key", "its keys are attempts"),
    ],
)
def test_a_budget_that_bounds_nothing_is_refused(
    tmp_path: Path, budget: str, where: str, text: str, cure: str
) -> None:
    found = [f for f in faults(tmp_path, f"{RUN}budget = {budget}\n{TASK}") if f.where == where]
    assert text in found[0].text
    assert cure in found[0].cure


@pytest.mark.parametrize(
    ("checkers", "record", "left_out"),
    [
        (RUN_FIELDS, spec.Run, {"base_dir", "budget"}),
        (BUDGET_FIELDS, spec.Budget, set()),
        (POOL_FIELDS, spec.Pool, {"restart"}),
        (RESTART_FIELDS, spec.Restart, set()),
        (GATE_FIELDS, spec.Gate, set()),
        (WORKSTREAM_FIELDS, spec.Workstream, {"tasks"}),
        (TASK_FIELDS, spec.Task, set()),
        (TOOL_FIELDS, spec.Tool, {"rate_limit", "breaker", "loop"}),
        (RATE_LIMIT_FIELDS, spec.RateLimit, set()),
        (BREAKER_FIELDS, spec.Breaker, set()),
        (LOOP_FIELDS, spec.Loop, set()),
    ],
)
def test_every_field_of_a_spec_can_be_written_and_nothing_else(
    checkers: dict[str, Any], record: type[msgspec.Struct], left_out: set[str]
) -> None:
    assert checkers.keys() | left_out == set(record.__struct_fields__)


def test_every_key_that_may_be_written_arrives_in_the_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(FULL)
    loaded = load(path)
    assert loaded.warnings == ()
    assert loaded.plan == spec.Plan(
        run=spec.Run(
            name="nightly",
            phase="PH-002",
            on_failure="stop",
            on_blocked="wait",
            env_pass=("TOKEN",),
            priority=-3,
            budget=spec.Budget(attempts=500, seconds=36_000.0),
            base_dir=str(tmp_path),
        ),
        workers={
            "local": spec.Pool(
                count=2,
                kind="inline",
                capabilities=("python",),
                affinity=("build",),
                heartbeat_s=5.0,
                recovery_window_s=30.0,
                kill_timeout_s=3.0,
                restart=spec.Restart(intensity=1, window_s=6.0, backoff_s=0.0, backoff_s_max=9.0),
            ),
            "rest": spec.Pool(),
        },
        gates={
            "lint": spec.Gate(command=("ruff", "check")),
            "unit": spec.Gate(
                type="INTEGRATION",
                command=("pytest", "-q"),
                timeout_s=60.0,
                depends_on=("lint",),
                expected_exit_codes=(0, 5),
                cwd="src",
                env={"LANG": "C"},
            ),
        },
        workstreams={
            "prepare": spec.Workstream(tasks={"get": spec.Task(command=("true",))}),
            "build": spec.Workstream(
                depends_on=("prepare",),
                critical=False,
                skip=True,
                gates=("unit",),
                tasks={
                    "compile": spec.Task(
                        command=("make",),
                        depends_on=("prepare/get",),
                        gates=("lint",),
                        validate=("unit",),
                        critical=False,
                        priority=7,
                        concurrency_key="db",
                        timeout_s=1.0,
                        queue_timeout_s=2.0,
                        heartbeat_timeout_s=3.0,
                        total_timeout_s=4.0,
                        max_retries=3,
                        retry_exit_codes=(75,),
                        expected_exit_codes=(0, 1),
                        backoff_s=0.5,
                        backoff_s_max=30.0,
                        cwd="src",
                        env={"LANG": "C"},
                    ),
                    "call": spec.Task(call="json:dumps", kwargs={"obj": [1]}, requires=("python",)),
                },
            ),
        },
    )


FULL = """
[run]
name = "nightly"
phase = "PH-002"
on_failure = "stop"
on_blocked = "wait"
env_pass = ["TOKEN"]
priority = -3
budget = { attempts = 500, seconds = 36000 }

[workers.local]
count = 2
kind = "inline"
capabilities = ["python"]
affinity = ["build"]
heartbeat_s = 5
recovery_window_s = 30
kill_timeout_s = 3
restart = { intensity = 1, window_s = 6, backoff_s = 0, backoff_s_max = 9 }
[workers.rest]

[gates.lint]
command = ["ruff", "check"]
[gates.unit]
type = "INTEGRATION"
command = ["pytest", "-q"]
timeout_s = 60
depends_on = ["lint"]
expected_exit_codes = [0, 5]
cwd = "src"
env = { LANG = "C" }

[workstreams.prepare.tasks.get]
command = ["true"]
[workstreams.build]
depends_on = ["prepare"]
critical = false
skip = true
gates = ["unit"]
[workstreams.build.tasks.compile]
command = ["make"]
depends_on = ["prepare/get"]
gates = ["lint"]
validate = ["unit"]
critical = false
priority = 7
concurrency_key = "db"
timeout_s = 1
queue_timeout_s = 2
heartbeat_timeout_s = 3
total_timeout_s = 4
max_retries = 3
retry_exit_codes = [75]
expected_exit_codes = [0, 1]
backoff_s = 0.5
backoff_s_max = 30
cwd = "src"
env = { LANG = "C" }
[workstreams.build.tasks.call]
call = "json:dumps"
kwargs = { obj = [1] }
requires = ["python"]
"""


def test_what_is_left_out_has_the_default_of_the_spec(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(RUN + TASK)
    task = spec.Task(command=("true",))
    run = spec.Run(name="r", base_dir=str(tmp_path))
    plan = spec.Plan(run=run, workstreams={"w": spec.Workstream(tasks={"t": task})})
    assert load(path).plan == plan
