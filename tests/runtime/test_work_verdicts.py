"""What the closing lines of test runners say, from what they really wrote (`runner_output/`)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.work import junit, verdicts
from runtime.work.junit import executed_in, report_path
from runtime.work.verdicts import LINE_CHARS_MAX, TAIL_BYTES, Told, says_none, told

RECORDED = Path(__file__).parent / "runner_output"


def recorded(name: str) -> bytes:
    return (RECORDED / f"{name}.txt").read_bytes()


@pytest.mark.parametrize(
    ("name", "runner", "tests"),
    [
        ("pytest_pass", "pytest", 3),
        ("pytest_pass_quiet", "pytest", 3),
        ("pytest_colour", "pytest", 4),
        ("pytest_fail", "pytest", 4),
        ("pytest_fixture_error", "pytest", 1),
        ("pytest_collection_error", "pytest", 1),
        ("pytest_xdist", "pytest", 3),
        ("unittest_pass", "unittest", 1),
        ("unittest_fail", "unittest", 2),
        ("unittest_import_error", "unittest", 1),
        ("go_pass", "go test", None),
        ("go_cached", "go test", None),
        ("go_cover", "go test", None),
        ("go_fail", "go test", None),
        ("go_build_fails", "go test", None),
        ("go_pass_verbose", "go test", 1),
        ("go_fail_verbose", "go test", 2),
        ("cargo_pass", "cargo test", 1),
        ("cargo_fail", "cargo test", 2),
        ("node_spec_pass", "node --test", 2),
        ("node_tap_pass", "node --test", 2),
        ("node_spec_fail", "node --test", 3),
        ("node_tap_fail", "node --test", 1),
    ],
)
def test_a_runner_that_executed_tests_is_understood(
    name: str, runner: str, tests: int | None
) -> None:
    assert told(recorded(name), cut=False) == Told(runner, tests)


@pytest.mark.parametrize(
    ("name", "runner"),
    [
        ("pytest_none", "pytest"),
        ("pytest_none_quiet", "pytest"),
        ("pytest_skipped", "pytest"),
        ("pytest_deselected", "pytest"),
        ("pytest_missing_file", "pytest"),
        ("pytest_collect_only", "pytest"),
        ("pytest_collect_only_q", "pytest"),
        ("unittest_none", "unittest"),
        ("unittest_none_313", "unittest"),
        ("unittest_skipped", "unittest"),
        ("go_none", "go test"),
        ("go_none_verbose", "go test"),
        ("go_filtered", "go test"),
        ("cargo_none", "cargo test"),
        ("cargo_filtered", "cargo test"),
        ("node_none_spec", "node --test"),
        ("node_none_tap", "node --test"),
        ("node_skip", "node --test"),
        ("node_name_pattern", "node --test"),
    ],
)
def test_a_runner_that_executed_no_test_is_understood(name: str, runner: str) -> None:
    assert told(recorded(name), cut=False) == Told(runner, 0)


@pytest.mark.parametrize(
    "name", ["cargo_build_fails", "pytest_pass_very_quiet", "go_json"], ids=str
)
def test_a_runner_that_wrote_no_closing_line_is_not_guessed_at(name: str) -> None:
    assert told(recorded(name), cut=False) is None


@pytest.mark.parametrize(
    "text",
    [
        "All checks passed!",
        "Found 3 errors in 1 file (checked 5 source files)",
        "compiled 3 files in 0.2s",
        "# tests 0",
        "ok  all good",
        "Ran 0 tests in 0.000s",
        "no tests ran",
    ],
)
def test_other_output_is_nobodys_closing_line(text: str) -> None:
    assert told(f"{text}\nbye\n".encode(), cut=False) is None


def test_runners_after_one_another_are_counted_together() -> None:
    both = recorded("pytest_none") + recorded("unittest_fail") + recorded("pytest_pass")
    assert told(both, cut=False) == Told("pytest + unittest", 5)


def test_a_count_that_one_of_two_runners_does_not_tell_is_not_made_up() -> None:
    both = recorded("pytest_pass") + recorded("go_pass")
    assert told(both, cut=False) == Told("pytest + go test", None)


def test_none_in_the_last_packages_says_nothing_of_those_that_were_cut_off() -> None:
    for name in ("go_none", "cargo_none"):
        said = told(recorded(name), cut=True)
        assert said is not None
        assert said.tests is None


def test_all_verbose_tests_skipped_are_no_tests() -> None:
    lines = b"=== RUN   TestB\n--- SKIP: TestB (0.00s)\nPASS\nok  \tdemo/a\t0.002s\n"
    assert told(lines, cut=False) == Told("go test", 0)


def test_progress_colours_returns_and_broken_text_do_not_hide_a_closing_line() -> None:
    hidden = b"\xff\xfe\r1%\r9%\r\x1b[1m===== \x1b[32m2 passed\x1b[0m in 0.01s ====\r\n"
    assert told(b"\x80\x81 \x1b[" + hidden, cut=True) == Told("pytest", 2)


def test_an_hour_long_run_is_understood() -> None:
    line = b"= 1 failed, 5000 passed, 2 warnings, 3 rerun in 4211.20s (1:10:11) =\n"
    assert told(line, cut=False) == Told("pytest", 5001)


@pytest.mark.parametrize(
    "unit",
    [
        b"1 passed, ",
        b"\x1b[",
        b"\x1b[0;",
        b"1 a in 1.0s ",
        b"=",
        b"\r",
        b"ok  \t",
        b"Ran 1 test\n",
        b"# tests 1\n",
        b"9",
        b"\n",
        b"test result: ok. ",
        b"FAIL\t \t \t",
    ],
    ids=repr,
)
def test_of_hostile_output_no_more_is_read_than_short_lines_each_once(unit: bytes) -> None:
    flood = (unit * (TAIL_BYTES // len(unit) + 1))[:TAIL_BYTES]
    lines = list(verdicts._lines(flood))
    assert all(len(line) <= LINE_CHARS_MAX for line in lines)
    assert sum(map(len, lines)) <= TAIL_BYTES
    assert told(flood, cut=True) is None


def test_a_number_of_thousands_of_digits_is_a_number() -> None:
    line = b"9" * 400 + b" passed in 0.01s\n"
    assert told(line, cut=False) == Told("pytest", 10**12)


@pytest.mark.parametrize(
    "command",
    [("pytest",), ("python", "-m", "pytest", "-qq"), ("uv", "run", ".venv/bin/pytest")],
    ids=str,
)
def test_the_exit_code_5_of_a_silent_pytest_says_that_there_were_no_tests(
    command: tuple[str, ...],
) -> None:
    assert says_none(command, 5)
    assert not says_none(command, 1)
    assert not says_none(("make", "check"), 5)


# --- JUnit XML -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "path"),
    [
        (("pytest", "--junitxml=out/r.xml"), "/src/out/r.xml"),
        (("pytest", "--junit-xml", "/tmp/r.xml", "-q"), "/tmp/r.xml"),
        (("gotestsum", "--junitfile", "r.xml", "./..."), "/src/r.xml"),
        (("pytest", "--junitxml"), None),
        (("pytest", "--junitxml", "-q"), None),
        (("pytest", "r.xml"), None),
    ],
    ids=str,
)
def test_a_report_is_looked_for_where_the_command_names_one(
    command: tuple[str, ...], path: str | None
) -> None:
    assert report_path(command, "/src") == path


def test_a_real_report_counts_what_was_executed_and_not_what_was_skipped() -> None:
    assert executed_in(str(RECORDED / "pytest.xml"), 0) == 3


def report(folder: Path, text: str) -> str:
    path = folder / "r.xml"
    path.write_text(text)
    return str(path)


def test_a_report_of_skipped_tests_only_is_a_report_of_none(tmp_path: Path) -> None:
    text = "<testsuite><testcase name='a'><skipped/></testcase></testsuite>"
    assert executed_in(report(tmp_path, text), 0) == 0


BOMB = """<!DOCTYPE t [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<testsuite><testcase name="&b;"/></testsuite>"""
OUTSIDE = """<!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/hostname">]>
<testsuite><testcase name="a">&x;</testcase></testsuite>"""


@pytest.mark.parametrize(
    "text",
    [BOMB, OUTSIDE, "<testsuite><testcase/>", "", "tests: 5", "<html><testcase/></html>"],
    ids=["entities", "outside", "cut short", "empty", "no xml", "another document"],
)
def test_what_is_no_plain_report_is_not_believed(tmp_path: Path, text: str) -> None:
    assert executed_in(report(tmp_path, text), 0) is None


@pytest.mark.parametrize("encoding", ["shift_jis", "utf-7", "no-such-one", "rot13", "idna"])
def test_a_report_in_an_encoding_that_cannot_be_read_is_not_believed(
    tmp_path: Path, encoding: str
) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><testsuite><testcase/></testsuite>'
    assert executed_in(report(tmp_path, text), 0) is None


def test_a_report_from_before_the_command_began_is_not_believed(tmp_path: Path) -> None:
    path = report(tmp_path, "<testsuite><testcase/></testsuite>")
    os.utime(path, (5, 5))
    assert executed_in(path, 6 * 10**9) is None
    assert executed_in(path, 5 * 10**9) == 1


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "absent", "a\0b"):
        assert executed_in(str(tmp_path / name), 0) is None


def test_a_report_above_the_bound_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(junit, "REPORT_BYTES_MAX", 20)
    assert executed_in(report(tmp_path, "<testsuite><testcase/></testsuite>"), 0) is None
