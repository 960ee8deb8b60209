"""The commands that only read, as installed, over a hand-made record without an owner."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from runtime.view.printed import output_path
from tests.e2e.commands import BANKSMAN, banksman
from tests.runtime.test_view_what_is import OLD, written
from tests.runtime.view_kit import NOW, READY, RUN, STARTED, Record, a_run, a_workstream


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a .state in it."""
    folder = tmp_path_factory.mktemp("reading")
    record = Record(folder / ".state")
    written(record)
    record.write()
    (folder / "deep" / "er").mkdir(parents=True)
    output = output_path(folder / ".state", f"{RUN}/build/a", 1)
    output.write_bytes(b"".join(b"line %d\n" % n for n in range(100)) + b"\x1b[2Jboo\xff\n")
    return folder


def test_help_lists_every_command_and_each_has_help(home: Path) -> None:
    listed = banksman("--help", cwd=home).out
    names = [
        line.split()[0]
        for line in listed.splitlines()
        if line.startswith("  ") and "  " in line.strip()
    ]
    commands = [name for name in names if not name.startswith("-")]
    assert {"run", "resume", "why", "verify", "db"} <= set(commands)
    for name in commands:
        assert banksman(name, "--help").code == 0, name


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["status", "23bcdfg"],
        ["tasks"],
        ["workers"],
        ["gates"],
        ["history", "build/e"],
        ["why", "build/e"],
        ["report"],
        ["stats", "failures"],
        ["stats", "overrides"],
        ["charts"],
    ],
)
def test_a_reading_command_has_text_and_one_json_value(home: Path, command: list[str]) -> None:
    text_and_one_json_value(home, command)


def test_verify_has_text_and_one_json_value(tmp_path: Path) -> None:
    record = Record(tmp_path / ".state")  # the one of the others has times of its own making
    record.add("run", a_run(), *STARTED, started_at=NOW + 1)
    record.add("workstream", a_workstream(), *READY)
    record.write()
    text_and_one_json_value(tmp_path, ["verify"])


def text_and_one_json_value(home: Path, command: list[str]) -> None:
    text = banksman(*command, cwd=home)
    assert (text.code, text.err) == (0, "")
    assert text.out
    machine = banksman(*command, "--json", cwd=home)
    assert (machine.code, machine.err) == (0, "")
    assert machine.out.count("\n") == 1
    json.loads(machine.out)


def test_the_state_directory_is_found_from_below_it(home: Path) -> None:
    assert banksman("status", "--json", cwd=home / "deep" / "er").json["state_dir"] == str(
        home / ".state"
    )


def test_a_named_state_directory_goes_before_what_is_near(home: Path, tmp_path: Path) -> None:
    found = banksman("tasks", "--json", "--state-dir", str(home / ".state"), cwd=tmp_path)
    assert len(found.json) == 7


def test_events_are_one_json_value_a_line(home: Path) -> None:
    lines = banksman("events", "--json", cwd=home).out.splitlines()
    assert lines == (home / ".state" / "transitions.jsonl").read_text().splitlines()


def test_events_take_every_filter(home: Path) -> None:
    filters = ["--run", OLD, "--operator", "ada", "--severity", "warning", "--type", "run"]
    (line,) = banksman("events", *filters, "--json", cwd=home).out.splitlines()
    assert json.loads(line)["reason"] == "wrong branch"


def test_events_since_a_moment_that_has_not_come_are_none(home: Path) -> None:
    assert banksman("events", "--since", "1h", cwd=home).out == ""
    assert len(banksman("events", "--since", "1970-01-01", cwd=home).out.splitlines()) > 20


def test_logs_are_the_bytes_as_they_were_printed(home: Path) -> None:
    done = subprocess.run(
        [BANKSMAN, "logs", "build/a", "--tail", "1"], cwd=home, capture_output=True, check=True
    )
    assert done.stdout == b"\x1b[2Jboo\xff\n"


def test_the_tail_of_logs_is_so_many_lines(home: Path) -> None:
    lines = banksman("logs", "build/a", "--tail", "3", "--json", cwd=home).json["text"].splitlines()
    assert [line[:7] for line in lines[:2]] == ["line 98", "line 99"]


def test_logs_of_an_attempt_that_never_was_say_which_there_are(home: Path) -> None:
    answer = banksman("logs", "build/a", "--attempt", "9", cwd=home)
    assert answer.code == 2
    assert "there is: 1" in answer.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["why", "nothing/like/this"], "there is no entity"),
        (["why", "2"], "means any of"),
        (["status", "nope"], "there is no run"),
        (["history"], "missing argument"),
        (["events", "--severity", "loud"], "--severity"),
        (["events", "--since", "yesterday"], "is no moment"),
        (["tasks", "--nope"], "no such option"),
        (["tasks", "--state", "happy"], "there are: pending"),
        (["stats", "wins"], "wins"),
        (["charts", "brake"], "there are: run"),
        (["statsu"], "did you mean `banksman stat"),
        (["check", "missing.toml"], "no such file"),
    ],
)
def test_a_wrong_argument_exits_2_with_one_line_that_names_it(
    home: Path, command: list[str], words: str
) -> None:
    answer = banksman(*command, cwd=home)
    assert answer.code == 2
    said = answer.err or answer.out
    assert words in said
    assert said.count("\n") == 1


def test_an_error_is_a_json_value_too(home: Path) -> None:
    answer = banksman("why", "buidl/e", "--json", cwd=home)
    error = answer.json["error"]
    assert (answer.code, error["code"]) == (2, "unknown_id")
    assert "build/e" in error["cure"]


def test_candidates_of_an_ambiguous_end_are_listed(home: Path) -> None:
    error = banksman("why", "2", "--json", cwd=home).json["error"]
    assert error["code"] == "ambiguous_id"
    assert OLD in error["cure"]


def test_an_end_is_enough_where_only_one_entity_has_it(home: Path) -> None:
    assert banksman("why", "~2", "--json", cwd=home).json["id"] == f"{RUN}/build/a~2"


def test_without_a_state_directory_the_cure_is_named(tmp_path: Path) -> None:
    answer = banksman("status", cwd=tmp_path)
    assert answer.code == 2
    assert "banksman run PLAN" in answer.err


def test_a_directory_without_a_database_is_refused(tmp_path: Path) -> None:
    answer = banksman("status", "--state-dir", str(tmp_path))
    assert (answer.code, "holds no banksman.db" in answer.err) == (2, True)


def test_what_is_no_database_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "banksman.db").write_bytes(b"not a database, but long enough " * 64)
    answer = banksman("status", "--state-dir", str(tmp_path))
    assert answer.code == 4
    assert answer.err.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error(home: Path) -> None:
    with subprocess.Popen(
        [BANKSMAN, "events"], cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


def test_a_full_disk_under_stdout_is_said(home: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [BANKSMAN, "events"],
            cwd=home,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 74
    assert "No space left" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_ascii_terminal_is_enough(home: Path) -> None:
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    assert banksman("report", cwd=home, env=env).code == 0


def test_colours_are_for_terminals(home: Path) -> None:
    assert "\x1b" not in banksman("status", cwd=home).out


def test_a_broken_row_is_named_and_exits_6(home: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(home / ".state", tmp_path / ".state")
    with sqlite3.connect(copy / "banksman.db") as db:
        for (name,) in db.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
        ).fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute("UPDATE state_transitions SET reason = 'forged' WHERE seq = 7")
    db.close()
    answer = banksman("verify", cwd=tmp_path)
    assert answer.code == 6
    assert "audit row 7" in answer.out
    found = banksman("verify", "--json", cwd=tmp_path)
    assert (found.code, found.json["whole"]) == (6, False)


def test_help_costs_little() -> None:
    env = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run([BANKSMAN, "--help"], capture_output=True, text=True, env=env, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert imported.isdisjoint({"anyio", "asyncio", "rich", "structlog", "msgspec", "sqlite3"})


def test_without_a_command_there_is_help(tmp_path: Path) -> None:
    answer = banksman(cwd=tmp_path)
    assert (answer.code, answer.err) == (2, "")
    assert "Run a plan to its end" in answer.out
