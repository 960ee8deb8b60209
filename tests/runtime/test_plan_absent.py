"""What a plan needs and the machine lacks is found before anything runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from actors.spec import Gate, Plan, Run, Task, Workstream
from runtime.plan import Fault, Severity, absent_tools
from runtime.plan.absent import absent


def plan(*tasks: Task, gate: Gate | None = None, **more: object) -> Plan:
    named = {f"t{number}": task for number, task in enumerate(tasks)}
    gates = {} if gate is None else {"g": gate}
    workstream = Workstream(tasks=named, gates=tuple(gates), **more)  # type: ignore[arg-type]
    return Plan(run=Run(name="r"), gates=gates, workstreams={"w": workstream})


def only(base: Path, given: Plan, environ: dict[str, str] | None = None) -> Fault:
    found = absent(given, base, environ=environ)
    assert len(found) == 1, found
    return found[0]


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_program_on_the_path_is_there(tmp_path: Path) -> None:
    assert absent(plan(Task(command=("sh", "-c", "true"))), tmp_path) == ()


def test_a_program_that_is_not_on_the_path_is_refused(tmp_path: Path) -> None:
    found = only(tmp_path, plan(Task(command=("no-such-tool",))))
    assert found.where == "workstreams.w.tasks.t0.command[0]"
    assert found.severity is Severity.ERROR
    assert found.text == '"no-such-tool" is not on the PATH'
    assert found.cure == "install it, or mend the name"


def test_the_path_is_that_of_the_owner_or_of_the_task(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "mine")
    task = Task(command=("mine",))
    assert only(tmp_path, plan(task), {"PATH": "/nowhere"}).text == '"mine" is not on the PATH'
    assert absent(plan(task), tmp_path, environ={"PATH": f"/nowhere:{tmp_path}/bin"}) == ()
    own = Task(command=("mine",), env={"PATH": "bin"})
    assert absent(plan(own), tmp_path, environ={"PATH": "/nowhere"}) == ()


def test_a_program_with_a_slash_is_looked_for_from_the_tasks_folder(tmp_path: Path) -> None:
    program(tmp_path / "sub" / "tool")
    assert absent(plan(Task(command=("./tool",), cwd="sub")), tmp_path) == ()
    found = only(tmp_path, plan(Task(command=("./tool",))))
    assert found.text == '"./tool" is not there'
    assert "relative to `cwd`" in found.cure


def test_a_program_that_may_not_be_executed_is_named_so(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "tool").chmod(0o644)
    found = only(tmp_path, plan(Task(command=("bin/tool",))))
    assert (found.text, found.cure) == (
        '"bin/tool" may not be executed',
        "allow it with chmod +x, or name its interpreter",
    )
    on_path = only(tmp_path, plan(Task(command=("tool",))), {"PATH": f"{tmp_path}/bin"})
    assert on_path.text == '"tool" may not be executed'


def test_a_folder_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    assert only(tmp_path, plan(Task(command=("./bin",)))).text == '"./bin" is not a file'


@pytest.mark.parametrize(
    ("command", "cure"),
    [
        ("make all", "write each word of a command apart"),
        ("$HOME", "write the path out: no shell reads a command"),
        ("~", "write the path out: no shell reads a command"),
        ("{python}", "install it, or mend the name"),
    ],
)
def test_what_a_shell_would_have_read_is_told(tmp_path: Path, command: str, cure: str) -> None:
    assert only(tmp_path, plan(Task(command=(command,)))).cure == cure


def test_one_tool_is_one_fault_however_many_tasks_need_it(tmp_path: Path) -> None:
    found = only(tmp_path, plan(*(Task(command=("no-such-tool", str(n))) for n in range(2))))
    assert found.where == "workstreams.w.tasks.t0.command[0]"
    assert found.text == '"no-such-tool" is not on the PATH (needed in 2 places)'


def test_a_folder_that_is_missing_is_refused_once(tmp_path: Path) -> None:
    tasks = [Task(command=("sh",), cwd="gone"), Task(command=("no-such",), cwd="gone")]
    found = only(tmp_path, plan(*tasks))
    assert found.where == "workstreams.w.tasks.t0.cwd"
    assert found.text == f'the folder "{tmp_path}/gone" does not exist'


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = only(tmp_path, plan(Task(command=("sh",), cwd="file")))
    assert found.text == f'the folder "{tmp_path}/file" is not a folder'


def test_what_an_earlier_task_may_make_is_a_warning(tmp_path: Path) -> None:
    make = Task(command=("sh", "-c", "make"))
    use = Task(command=("./made",), depends_on=("t0",))
    found = only(tmp_path, plan(make, use))
    assert found.severity is Severity.WARNING
    assert found.text == '"./made" is not there yet'
    assert absent_tools(plan(make, use), tmp_path) == ()
    inside = Task(command=("sh",), cwd="made", depends_on=("t0",))
    assert absent_tools(plan(make, inside), tmp_path) == ()


def test_a_tool_of_the_path_is_not_made_by_an_earlier_task(tmp_path: Path) -> None:
    use = Task(command=("no-such-tool",), depends_on=("t0",))
    assert len(absent_tools(plan(Task(command=("sh",)), use), tmp_path)) == 1


def test_a_gate_that_is_needed_must_have_its_program(tmp_path: Path) -> None:
    gate = Gate(command=("no-such-tool",))
    assert only(tmp_path, plan(Task(command=("sh",)), gate=gate)).where == "gates.g.command[0]"


def test_what_does_not_run_needs_nothing(tmp_path: Path) -> None:
    unneeded = Plan(
        run=Run(name="r"),
        gates={"g": Gate(command=("no-such-tool",))},
        workstreams={"w": Workstream(skip=True, tasks={"t": Task(command=("no-such-tool",))})},
    )
    assert absent(unneeded, tmp_path) == ()


# --- functions -----------------------------------------------------------------------------------


def test_a_function_beside_the_plan_is_found_and_its_module_not_imported(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text("raise SystemExit('imported')\ndef fetch(): ...\n")
    assert absent(plan(Task(call="steps:fetch")), tmp_path) == ()
    assert "steps" not in sys.modules


def test_a_function_in_a_package_is_found(tmp_path: Path) -> None:
    (tmp_path / "own" / "deep").mkdir(parents=True)
    (tmp_path / "own" / "__init__.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "own" / "deep" / "steps.py").write_text("if True:\n    fetch = lambda: None\n")
    (tmp_path / "own" / "deep" / "__init__.py").write_text("from .steps import fetch as get\n")
    tasks = [Task(call="own.deep.steps:fetch"), Task(call="own.deep:get")]
    assert absent(plan(*tasks), tmp_path) == ()


def test_an_installed_function_is_found(tmp_path: Path) -> None:
    calls = ["json:dumps", "os.path:join", "asyncio.subprocess:create_subprocess_exec"]
    calls += ["sys:exit", "math:sqrt", "msgspec.json:encode", "email.mime.text:MIMEText.items"]
    assert absent(plan(*(Task(call=call) for call in calls)), tmp_path) == ()


@pytest.mark.parametrize(
    ("call", "text", "cure"),
    [
        ("no_such_module:f", 'there is no module "no_such_module"', "the plan's folder"),
        ("json.no_such:f", 'there is no module "json.no_such"', "the plan's folder"),
        ("steps.more:f", 'there is no module "steps.more"', "the plan's folder"),
        ("steps:fetsh", '"steps" has no "fetsh"', "did you mean `fetch`?"),
        ("steps:zzzzzz", '"steps" has no "zzzzzz"', "define it there"),
        ("broken:f", "is no Python", "mend it"),
    ],
)
def test_a_function_that_is_not_there_is_refused(
    tmp_path: Path, call: str, text: str, cure: str
) -> None:
    (tmp_path / "steps.py").write_text('def fetch():\n    "\\d"\n')
    (tmp_path / "broken.py").write_text("def f(:\n")
    found = only(tmp_path, plan(Task(call=call)))
    assert found.where == "workstreams.w.tasks.t0.call"
    assert text in found.text
    assert cure in found.cure


@pytest.mark.parametrize("source", ["from os import *\n", "def __getattr__(name): ...\n"])
def test_a_module_whose_names_cannot_be_read_is_believed(tmp_path: Path, source: str) -> None:
    (tmp_path / "steps.py").write_text(source)
    assert absent(plan(Task(call="steps:fetch")), tmp_path) == ()


def test_a_call_known_by_name_is_not_looked_for(tmp_path: Path) -> None:
    assert absent_tools(plan(Task(call="mine")), tmp_path, frozenset({"mine"})) == ()
