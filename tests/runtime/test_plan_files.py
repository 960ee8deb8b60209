"""A plan's file: whatever its bytes are, it is loaded or refused with a clear word."""

from __future__ import annotations

import gc
import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.limits import PLAN_BYTES_MAX
from runtime.plan import Fault, PlanError, load, load_to_run
from runtime.plan.fault import dotted, quoted
from runtime.plan.later import TASK_LATER
from runtime.plan.read import TASK_FIELDS

SOUND = b'[run]\nname = "r"\n[workstreams.w.tasks.t]\ncommand = ["true"]\n'


def refused(path: Path, content: bytes | None = None) -> Fault:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PlanError) as caught:
        load(path)
    assert len(caught.value.faults) == 1
    fault = caught.value.faults[0]
    assert fault.file == str(path)
    return fault


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return tmp_path / "plan.toml"


def test_a_plan_knows_its_folder_and_digest(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan.write_bytes(SOUND)
    monkeypatch.chdir(plan.parent)
    loaded = load("plan.toml")
    assert loaded.base_dir == plan.parent
    assert loaded.plan.run.base_dir == str(plan.parent)
    assert loaded.text_digest == hashlib.sha256(SOUND).hexdigest()


def test_a_linked_plan_belongs_to_the_folder_of_the_link(plan: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere" / "real.toml"
    real.write_bytes(SOUND)
    plan.symlink_to(real)
    assert load(plan).base_dir == tmp_path


def test_a_byte_order_mark_and_other_newlines_are_taken(plan: Path) -> None:
    plan.write_bytes(b"\xef\xbb\xbf" + SOUND.replace(b"\n", b"\r\n"))
    assert load(plan).plan.run.name == "r"


def test_no_such_file_says_which_was_meant(plan: Path) -> None:
    plan.write_bytes(SOUND)
    fault = refused(plan.with_name("paln.toml"))
    assert (fault.text, fault.cure) == ("there is no such file", f"did you mean {plan}?")


def test_no_such_folder_is_no_crash(tmp_path: Path) -> None:
    assert refused(tmp_path / "a" / "b.toml").text == "there is no such file"


def test_a_folder_is_no_plan(tmp_path: Path) -> None:
    assert refused(tmp_path).text == "is a folder, not a plan"


def test_a_pipe_is_refused_and_not_waited_for(plan: Path) -> None:
    os.mkfifo(plan)
    assert refused(plan).text == "is not a regular file"


def test_a_path_that_no_system_takes_is_refused() -> None:
    with pytest.raises(PlanError, match="cannot be read"):
        load("a\0b")
    with pytest.raises(PlanError, match="cannot be read"):
        load("x" * 5_000)


def test_a_file_in_a_file_is_refused(plan: Path) -> None:
    plan.write_bytes(SOUND)
    with pytest.raises(PlanError, match="cannot be read: Not a directory"):
        load(plan / "x.toml")


def test_more_bytes_than_the_bound_are_refused(plan: Path) -> None:
    fault = refused(plan, b"#" * (PLAN_BYTES_MAX + 1))
    assert fault.text == f"{PLAN_BYTES_MAX + 1} bytes, more than the {PLAN_BYTES_MAX} of a plan"


def test_just_as_many_bytes_as_the_bound_are_read(plan: Path) -> None:
    plan.write_bytes(SOUND.ljust(PLAN_BYTES_MAX, b"#"))
    assert load(plan).plan.run.name == "r"


def test_bytes_that_are_no_utf8_are_named_with_their_line(plan: Path) -> None:
    fault = refused(plan, SOUND + b'phase = "\xff"')
    assert (fault.line, fault.text) == (5, "byte 0xff is not UTF-8")


@pytest.mark.parametrize(
    ("text", "line", "told", "cure"),
    [
        ("[run]\nname = night", 2, "Invalid value (column 8), at", "strings need quotes"),
        ("[run\n", 1, "Expected ']'", "docs/plans.md"),
        ("[run]\na b = 1", 2, "Expected '=' after a key", "key = value"),
        ("[run]\nname = '", 2, "the end of the file", "docs/plans.md"),
        ("[run]\nx = [1,\n", 3, "Invalid value (the end of the file)", "quotes"),
        ("[run]\nx = 1 y", 2, "Expected newline", "docs/plans.md"),
        ('x = "\\ud800"', 1, "not a Unicode scalar", "docs/plans.md"),
        ("x = 2020-13-45", 1, "Expected newline", "docs/plans.md"),
        ("e = { A = 1 }\ne.B = 2", 2, "immutable", "docs/plans.md"),
        ("x = 1\x1b[2J", 1, 'at "x = 1\\x1b[2J"', "docs/plans.md"),
    ],
)
def test_what_is_no_toml_is_named_with_line_and_column(
    plan: Path, text: str, line: int, told: str, cure: str
) -> None:
    fault = refused(plan, text.encode())
    assert fault.line == line
    assert fault.text.startswith("not TOML: ")
    assert told in fault.text
    assert cure in fault.cure


@pytest.mark.parametrize(
    ("text", "line", "where", "first"),
    [
        ("[run]\nname = 'a'\nname = 'b'", 3, "run.name", 2),
        ("[run]\n[workstreams.w]\n[run]", 3, "run", 1),
        ("[w.tasks.t]\na = 1\n[w.tasks.t]\na = 2", 3, "w.tasks.t", 1),
    ],
)
def test_a_name_that_is_written_twice_is_told_with_both_lines(
    plan: Path, text: str, line: int, where: str, first: int
) -> None:
    fault = refused(plan, text.encode())
    assert (fault.line, fault.where) == (line, where)
    assert fault.text == f"`{where}` is written twice, first in line {first}"


def test_a_number_of_too_many_digits_is_refused(plan: Path) -> None:
    assert "digits" in refused(plan, SOUND + b"priority = 1" + b"0" * 5_000).text


def test_a_hexadecimal_number_of_too_many_digits_is_refused(plan: Path) -> None:
    fault = refused(plan, SOUND + b"priority = 0x1" + b"0" * 5_000)
    assert (fault.line, fault.text) == (5, "one of 20001 bits is out of range")


@pytest.mark.parametrize("opening", ["[", "{a="])
def test_values_nested_very_deep_are_refused(plan: Path, opening: str) -> None:
    fault = refused(plan, SOUND + b"kwargs = " + opening.encode() * 50_000)
    assert "nested deeper" in fault.text


def test_a_key_of_very_many_parts_is_refused_at_once(plan: Path) -> None:
    fault = refused(plan, SOUND + b"a." * 1_000_000 + b"b = 1")
    assert (fault.line, fault.text) == (5, "keys or values nested deeper than 64 levels")


def test_many_dots_in_a_text_are_no_key(plan: Path) -> None:
    plan.write_bytes(SOUND + b'cwd = "' + b"../" * 100 + b'"')
    assert load(plan).plan.workstreams["w"].tasks["t"].cwd == "../" * 100


@pytest.mark.parametrize(
    ("name", "content"),
    [("plan.json", b"{}"), ("plan.toml", b' \n{"id": 1}'), ("plan.toml", b'[{"id": 1}]')],
)
def test_a_bundle_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    fault = refused(tmp_path / name, content)
    assert fault.text == (
        "bundles in JSON come with the patch ledger; this version does not run them"
    )


def test_an_error_says_everything_on_a_line_each(plan: Path) -> None:
    plan.write_bytes(SOUND.replace(b'"r"', b'"/"') + b"comand = 1")
    with pytest.raises(PlanError) as caught:
        load(plan)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f'{plan}:2: run.name: "/" cannot be a name; use ')
    assert second.startswith(f"{plan}:5: workstreams.w.tasks.t.comand: a task has no key")


def test_what_a_plan_holds_is_shown_harmless_and_short() -> None:
    assert quoted('a "b" \\ é') == '"a \\"b\\" \\\\ é"'
    assert quoted("\x1b[2J\n\ud800") == '"\\x1b[2J\\n\\ud800"'
    assert quoted("x" * 100) == f'"{"x" * 64}…"'
    assert dotted(("w", "a b", "c", 2, "x" * 200)) == f'w."a b".c[2]."{"x" * 64}…"'


def test_a_submission_is_refused_for_a_missing_tool_with_its_line(plan: Path) -> None:
    plan.write_bytes(SOUND.replace(b"true", b"no-such-tool"))
    assert load(plan).plan.run.name == "r"
    with pytest.raises(PlanError) as caught:
        load_to_run(plan)
    fault = caught.value.faults[0]
    assert (fault.file, fault.line) == (str(plan), 4)
    assert fault.text == '"no-such-tool" is not on the PATH'


def test_the_collector_runs_again_after_a_plan_that_was_refused(plan: Path) -> None:
    refused(plan, b"x")
    assert gc.isenabled()


def try_to_load(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(content)
        file.flush()
        try:
            found = load(file.name).warnings
        except PlanError as error:
            found = error.faults
    assert all(fault.file == file.name and "\n" not in str(fault) for fault in found)


@given(st.binary(max_size=200))
@example(b"\xff")
@example(b"a" * 4_000)
def test_random_bytes_are_loaded_or_refused(content: bytes) -> None:
    try_to_load(content)


WORDS = st.sampled_from(
    [
        *"[]{}=,.\"'\n",
        *("[run]\n", "name = ", '"r"', "[workers.p]\n", "[gates.g]\n", "[workstreams.w]\n"),
        *("[workstreams.w.tasks.t]\n", "[[workstreams]]\n", "command = ", "kwargs = ", "env = "),
        *("[tools.t]\n", "[tools.t.breaker]\n", "loop = ", "rate_limit = ", "growth = ", "args = "),
        *('["t", "{args}"]\n', '["{x}"]\n', "window = ", "pattern = ", "'(?P<seconds>'\n"),
        *('["true"]\n', "depends_on = ", '["w/t"]\n', "['g']\n", "gates = ", "validate = "),
        *("nan\n", "-1\n", "0\n", "1e400\n", "true\n", "1979-05-27\n", "{}\n", "[[]]\n", "[1]\n"),
        *("requires = ", "affinity = ", "restart = ", "timeout_s = ", "sandbox = ", "tool = "),
        *("count = ", "max_retries = ", "skip = ", "cwd = ", "call = ", '"a:b"\n', '"\\u0000"\n'),
    ]
)


@settings(max_examples=300)
@given(st.lists(WORDS, max_size=24).map("".join))
def test_random_plans_are_loaded_or_refused(text: str) -> None:
    try_to_load(text.encode())


VALUES: st.SearchStrategy[object] = st.recursive(
    st.sampled_from(["1", "-1", "nan", "true", '"x"', '""', "1979-05-27", '"a b"', "'../x'"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(map(str, items)) + "]")
        | st.dictionaries(st.sampled_from(["A", "b", '"c d"']), inner, max_size=2).map(
            lambda table: "{" + ", ".join(f"{k} = {v}" for k, v in table.items()) + "}"
        )
    ),
    max_leaves=6,
)
KEYS = st.sampled_from([*TASK_FIELDS, *TASK_LATER])


@settings(max_examples=300)
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_value_of_any_key_is_loaded_or_refused(table: dict[str, object]) -> None:
    lines = "".join(f"{key} = {value}\n" for key, value in table.items())
    try_to_load(b'[run]\nname = "r"\n[workstreams.w.tasks.t]\n' + lines.encode())
