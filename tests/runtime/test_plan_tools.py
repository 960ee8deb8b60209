"""Tools in a plan: each fault of them with its line, its place and its cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors import spec
from runtime.plan import Fault, PlanError, absent_tools, check, load, validate

HEAD = '[run]\nname = "r"\n'
TASK = '[workstreams.w.tasks.t]\ntool = "x"\n'
TOOL = '[tools.x]\ncommand = ["sh", "{args}"]\n'


def faults(tmp_path: Path, text: str) -> tuple[Fault, ...]:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    try:
        return load(path).warnings
    except PlanError as error:
        return error.faults


def test_a_whole_tool_is_read_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        HEAD
        + """
        [tools.x]
        command = ["ai", "{prompt}", "{args}"]
        health = ["ai", "--version"]
        expected_exit_codes = [0, 2]
        caller_fault_exit_codes = [1]
        rate_limit = { pattern = 'retry after (?P<seconds>[0-9]+)' }
        concurrency = 2
        breaker = { window = "count", size = 20, minimum_calls = 5, failure_rate = 0.5, growth = 3 }
        loop = { max_attempts = 5, max_error_repeats = 2 }
        [workstreams.w.tasks.t]
        tool = "x"
        args = ["-q"]
        prompt = "make it work"
        """
    )
    plan = load(path).plan
    assert plan.tools["x"] == spec.Tool(
        command=("ai", "{prompt}", "{args}"),
        health=("ai", "--version"),
        expected_exit_codes=(0, 2),
        caller_fault_exit_codes=(1,),
        rate_limit=spec.RateLimit(pattern="retry after (?P<seconds>[0-9]+)"),
        concurrency=2,
        breaker=spec.Breaker(
            window="count", size=20, minimum_calls=5, failure_rate=0.5, growth=3.0
        ),
        loop=spec.Loop(max_attempts=5, max_error_repeats=2),
    )
    task = plan.workstreams["w"].tasks["t"]
    assert (task.tool, task.args, task.prompt) == ("x", ("-q",), "make it work")
    assert validate(plan) == ()


@pytest.mark.parametrize(
    ("line", "where", "text", "cure"),
    [
        ("prompt = 'file'", "prompt", '"file" is not "arg" or "stdin"', "use"),
        ("concurrency = 0", "concurrency", "0 is out of range", "use 1 to"),
        ("caller_fault_exit_codes = [0]", "caller_fault_exit_codes", "expected exit code too", ""),
        ("rate_limit = {}", "rate_limit", "the rate limit has no pattern", "add pattern"),
        ("rate_limit = { pattern = '(' }", "rate_limit.pattern", "no regular expression", "escape"),
        (
            "rate_limit = { pattern = 'x' }",
            "rate_limit.pattern",
            "no group `seconds`",
            "?P<seconds",
        ),
        ("rate_limit = 1", "rate_limit", "expected a table", "`rate_limit` as a table"),
        ("breaker = { windo = 1 }", "breaker.windo", 'no key "windo"', "mean `window`?"),
        ("breaker = { window = 'x' }", "breaker.window", '"x" is not "consecutive"', "use"),
        ("breaker = { cooldown_s = -1 }", "breaker.cooldown_s", "no usable number", "use"),
        ("breaker = { growth = 99 }", "breaker.growth", "does not go with", "use from 1 to 10"),
        ("breaker = { growth = nan }", "breaker.growth", "no finite number", "write one"),
        ("breaker = { growth = '2' }", "breaker.growth", "expected a number", "write one"),
        ("breaker = { jitter = 2 }", "breaker.jitter", "does not go with", "from 0 to 1"),
        ("breaker = { failure_rate = 0 }", "breaker.failure_rate", "does not go with", "above 0"),
        (
            "breaker = { slow_call_s = 1 }",
            "breaker.slow_call_s",
            "does not go with",
            "needs window",
        ),
        ("loop = {}", "loop", "the loop bounds nothing", "add max_attempts"),
        ("loop = { max_attempts = 0 }", "loop.max_attempts", "0 is out of range", "use 1 to"),
        (
            *("loop = { oscillation_threshold = 2 }", "loop.oscillation_threshold"),
            *("comes with the patch ledger", "`max_error_repeats` sees most"),
        ),
        ("cooldown_s = 1", "cooldown_s", 'no key "cooldown_s"', "it belongs to `breaker`"),
    ],
)
def test_a_key_of_a_tool_that_is_wrong_is_named(
    tmp_path: Path, line: str, where: str, text: str, cure: str
) -> None:
    found = next(f for f in faults(tmp_path, f"{HEAD}{TOOL}{line}\n{TASK}") if where in f.where)
    assert (found.line, found.where) == (5, f"tools.x.{where}")
    assert text in found.text
    assert cure in found.cure


@pytest.mark.parametrize(
    ("command", "where", "text", "cure"),
    [
        ('["t", "{arg}"]', "[1]", "`{arg}` is no placeholder", "did you mean `args`?"),
        ('["t", "{nope}"]', "[1]", "`{nope}` is no placeholder", "`{{nope}}` stands for it"),
        ('["t", "--x={args}"]', "[1]", "it may be several", "an element of its own"),
        ('["{prompt}"]', "[0]", "in the program's name", "name the program"),
        ('["t", "|", "tee"]', "[1]", "handed to the program as a word", '["sh", "-c"'),
        ('["t", "{files}"]', "[1]", "come with the patch ledger", "until then nothing"),
    ],
)
def test_a_placeholder_that_is_wrong_is_named(
    tmp_path: Path, command: str, where: str, text: str, cure: str
) -> None:
    plan = f'{HEAD}[tools.x]\ncommand = {command}\n{TASK}prompt = "p"\n'
    found = next(f for f in faults(tmp_path, plan) if f.where.startswith("tools"))
    assert (found.line, found.where) == (4, f"tools.x.command{where}")
    assert text in found.text
    assert cure in found.cure


@pytest.mark.parametrize(
    ("tool", "task", "where", "text", "cure"),
    [
        ("command = ['t']", "tool = 'xx'", ".tool", 'no tool "xx"', "did you mean `x`?"),
        ("command = ['t']", "tool = 'zzz'", ".tool", 'no tool "zzz"', "add [tools.zzz]"),
        ("command = ['t']", "tool = 'x'\nargs = ['a']", ".args", "takes no arguments", '"{args}"'),
        ("command = ['t']", "tool = 'x'\nprompt = 'a'", ".prompt", "takes no prompt", '"{prompt}"'),
        ("command = ['t', '{prompt}']", "tool = 'x'", "", "is given no prompt", "add prompt"),
        ("command = ['t']\nprompt = 'stdin'", "tool = 'x'", "", "is given no prompt", "add prompt"),
        (
            *("command = ['t']\nprompt = 'stdin'", "tool = 'x'\nprompt = '" + "a" * 300_000 + "'"),
            *(".prompt", "300000 bytes, more than the 262144", "into a file"),
        ),
        (
            *("command = ['t', '{prompt}']", "tool = 'x'\nprompt = '" + "a" * 140_000 + "'"),
            *("", "more than the 131071 that the system takes", 'prompt = "stdin"'),
        ),
        (
            *("command = ['t']", "tool = 'x'\nexpected_exit_codes = [3]"),
            *(".expected_exit_codes", "said once, of the tool", "move it to [tools.x]"),
        ),
        ("command = ['t']", "tool = 'x'\ncommand = ['t']", "", "`command` and `tool`", "keep one"),
        ("command = ['t']", "command = ['t']\nargs = []", ".args", "belongs to a `tool`", "remove"),
        ("command = ['t']", "command = ['t']\nprompt = ''", ".prompt", "belongs to a `tool`", ""),
        ("command = ['t']", "tool = 'x'\nargs = 'a b'", ".args", "expected a list", '["a b"]'),
    ],
)
def test_a_task_and_its_tool_must_go_together(
    tmp_path: Path, tool: str, task: str, where: str, text: str, cure: str
) -> None:
    plan = f"{HEAD}[tools.x]\n{tool}\n[workstreams.w.tasks.t]\n{task}\n"
    found = next(f for f in faults(tmp_path, plan) if f.severity == "error")
    assert found.where == f"workstreams.w.tasks.t{where}"
    assert text in found.text
    assert cure in found.cure


def test_a_tool_without_a_command_is_refused_and_one_that_nobody_uses_is_a_warning(
    tmp_path: Path,
) -> None:
    (found,) = faults(tmp_path, f"{HEAD}[tools.x]\nconcurrency = 1\n{TASK}")
    assert found.text == "the tool has no command"
    plain = "[workstreams.w.tasks.t]\ncommand = ['sh']\n"
    (warned,) = faults(tmp_path, HEAD + TOOL + plain)
    assert (warned.severity, warned.text) == ("warning", "no task uses this tool")


def test_all_faults_of_a_tool_are_told_at_once(tmp_path: Path) -> None:
    text = f"{HEAD}{TOOL}concurrency = 0\nrate_limit = {{ pattern = '(' }}\n{TASK}prompt = 'p'\n"
    found = {f.where for f in faults(tmp_path, text)}
    assert found >= {"tools.x.concurrency", "tools.x.rate_limit.pattern"}
    assert "workstreams.w.tasks.t.prompt" in found


def test_a_tool_that_is_absent_is_a_warning_at_check_and_refuses_a_submission(
    tmp_path: Path,
) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(f'{HEAD}[tools.x]\ncommand = ["no-such-tool"]\n{TASK}')
    checked = check([path])
    assert checked.ok
    (warned,) = checked.faults
    assert (warned.line, warned.where) == (4, "tools.x.command[0]")
    (fault,) = absent_tools(load(path).plan, tmp_path)
    assert str(fault).endswith('"no-such-tool" is not on the PATH; install it, or mend the name')


def test_a_program_of_the_folder_that_the_task_works_in_is_looked_for_there(
    tmp_path: Path,
) -> None:
    tool = spec.Tool(command=("{workdir}/run",))
    task = spec.Task(tool="x", cwd="sub")
    plan = spec.Plan(
        run=spec.Run(name="r"),
        tools={"x": tool},
        workstreams={"w": spec.Workstream(tasks={"t": task})},
    )
    (missing,) = absent_tools(plan, tmp_path)
    assert missing.path == ("workstreams", "w", "tasks", "t", "cwd")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "run").write_text("#!/bin/sh\n")
    (tmp_path / "sub" / "run").chmod(0o755)
    assert absent_tools(plan, tmp_path) == ()
