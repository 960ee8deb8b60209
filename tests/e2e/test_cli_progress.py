"""How far running work says it has come: in the live view, `status`, `tasks` and `why`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.commands import Going, banksman
from tests.e2e.test_cli_live import frames, terminal
from tests.e2e.test_cli_running import a_daemon

HOSTILE = "\x1b]0;owned\x07\x1b[2Jpage 3 \udc00 of 60 " + "w" * 5_000

CALLS = f"""
from runtime import progress

def turn_pages():
    progress({HOSTILE!r})
    open("pipe").read()
"""

PLAN = """
[run]
name = "said"
[workers.calls]
kind = "inline"
count = 1
[workers.commands]
count = 1
[workstreams.w.tasks.call]
call = "said_calls:turn_pages"
[workstreams.w.tasks.shell]
command = ["sh", "-c", "printf '\\\\033]0;owned\\\\007\\\\033[31mhalf way\\\\n'; cat pipe2"]
"""

GUARDED = """
[run]
name = "guarded"
budget = { attempts = 9 }
[gates.ok]
approval = true
[workstreams.w.tasks.a]
command = ["true"]
gates = ["ok"]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "said.toml").write_text(PLAN)
    (tmp_path / "guarded.toml").write_text(GUARDED)
    (tmp_path / "said_calls.py").write_text(CALLS)
    for name in ("pipe", "pipe2"):
        os.mkfifo(tmp_path / name)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def let_go(here: Path) -> None:
    for name in ("pipe", "pipe2"):
        (here / name).write_text("go\n")


@pytest.fixture
def running(here: Path) -> Iterator[Path]:
    """A folder whose run has both its tasks at work, each having said something."""
    with Going("run", "said.toml", cwd=here) as run:
        run.until("w/call  queued -> running")
        run.until("w/shell  queued -> running")
        while "page 3" not in (seen := banksman("tasks", cwd=here).out) or "half" not in seen:
            pass  # its first word is said after the transition, and no event tells of it
        yield here
        let_go(here)
        assert run.end() == 0


def test_each_command_shows_the_last_word_of_what_runs_and_no_harm_is_in_it(running: Path) -> None:
    run_id = banksman("status", "--json", cwd=running).json["runs"][0]["id"]
    for command in (["status"], ["status", run_id], ["tasks"], ["why", "call"]):
        said = banksman(*command, cwd=running).out
        assert "^[]0;owned^Gpage 3" in said
        assert not {"\x1b", "\x07", "\udc00"} & set(said)
    for command in (["status"], ["tasks"]):
        lines = banksman(*command, cwd=running).out.splitlines()
        assert max(map(len, lines)) < 200
    assert "last said: ^[]0;owned^Ghalf way, " in banksman("why", "shell", cwd=running).out


def test_as_json_it_is_whole_within_its_bound_and_says_when(running: Path) -> None:
    for found in (
        banksman("status", "--json", cwd=running).json["at_work"],
        banksman("tasks", "--json", cwd=running).json,
    ):
        call, shell = sorted(found, key=lambda task: str(task["id"]))
        assert (len(call["said"]["text"]), call["said"]["at"]) == (200, None)
        assert shell["said"]["text"] == "\x1b]0;owned\x07\x1b[31mhalf way"
        assert shell["said"]["at"] > 1e9


def test_a_terminal_shows_what_a_callable_tells_beside_its_task_within_the_width(
    here: Path,
) -> None:
    with terminal("run", "said.toml", cwd=here) as shown:
        shown.until("page 3")
        let_go(here)
        text = shown.rest()
    rows = [row for frame in frames(text)[:-1] for row in frame if "page 3" in row]
    assert rows
    assert all("w/call" in row and len(row) < 80 for row in rows)
    assert "\x1b]0;" not in text


def test_a_plan_that_another_owner_carries_shows_what_keeps_it_back_and_what_it_says(
    here: Path,
) -> None:
    with a_daemon(here):
        with terminal("run", "guarded.toml", cwd=here) as shown:
            shown.until("gate ok waits for you")
            shown.until("budget: 0 of 9 attempts used")
            assert banksman("approve", "ok", cwd=here).code == 0
            shown.rest()
        with terminal("run", "said.toml", cwd=here) as shown:
            shown.until("page 3")
            let_go(here)
            shown.rest()
