"""db, check, init, charts and the operator's repairs, as installed."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.e2e.commands import banksman
from tests.e2e.test_cli_running import OK, is_whole, states, status, the_run

# What depends on `a` is blocked, and stays so until a person decides.
BLOCKED = """
[run]
name = "stuck"
on_blocked = "wait"
[workstreams.w.tasks.a]
command = ["test", "-e", "mended"]
critical = false
[workstreams.w.tasks.b]
command = ["true"]
depends_on = ["a"]
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "ok.toml").write_text(OK)
    (tmp_path / "stuck.toml").write_text(BLOCKED)
    return tmp_path


# --- an operator's repairs, without an owner ----------------------------------------------------


def test_a_blocked_run_exits_7_and_names_what_would_move_it(here: Path) -> None:
    answer = banksman("run", "stuck.toml", cwd=here)
    assert answer.code == 7
    assert f"banksman unblock {the_run(here)}/w/b" in answer.out
    assert "w/a failed: exit code 1" in banksman("why", "w/b", cwd=here).out


def test_a_waived_cause_lets_the_run_finish(here: Path) -> None:
    banksman("run", "stuck.toml", cwd=here)
    assert banksman("unblock", "w/b", "--reason", "fine without", cwd=here).code == 0
    assert banksman("resume", cwd=here).code == 0
    assert states(here) == {"w/a": "failed", "w/b": "completed"}
    assert is_whole(here)


def test_a_retried_task_that_succeeds_frees_what_waits_for_it(here: Path) -> None:
    banksman("run", "stuck.toml", cwd=here)
    (here / "mended").touch()
    retried = banksman("retry", "w/a", "--reason", "mended", "--json", cwd=here)
    assert retried.json["entity_id"].endswith("/w/a~2")
    assert banksman("resume", cwd=here).code == 0
    assert states(here) == {"w/a": "failed", "w/a~2": "completed", "w/b": "completed"}
    counts = status(here)["runs"][0]["tasks"]
    assert counts == {"total": 2, "by_state": {"completed": 2}}


def test_unblock_refuses_what_is_not_blocked(here: Path) -> None:
    banksman("run", "ok.toml", cwd=here)
    answer = banksman("unblock", "w/a", cwd=here)
    assert (answer.code, answer.err.count("\n")) == (5, 1)


def test_a_task_of_an_ended_run_is_not_retried_but_the_run_is(here: Path) -> None:
    (here / "bad.toml").write_text(OK.replace('"echo", "up she goes"', '"test", "-e", "mended"'))
    assert banksman("run", "bad.toml", cwd=here).code == 1
    run_id = the_run(here)
    assert banksman("retry", "w/b", cwd=here).code == 5
    (here / "mended").touch()
    new = banksman("retry", run_id, "--json", cwd=here).json["entity_id"]
    assert new != run_id
    assert banksman("resume", cwd=here).code == 0
    assert status(here)["runs"][0]["id"] == new


# --- check, init, charts ------------------------------------------------------------------------


def test_a_sound_plan_passes_and_says_what_is_in_it(here: Path) -> None:
    answer = banksman("check", "ok.toml", cwd=here)
    assert (answer.code, answer.err) == (0, "")
    assert "1 workstream, 2 tasks, no gates" in answer.out


def test_a_folder_of_plans_is_checked_whole(here: Path) -> None:
    (here / "wrong.toml").write_text('[run]\nname = "x"\n')
    found = banksman("check", ".", "--json", cwd=here)
    assert found.code == 2
    assert {plan["name"] for plan in found.json["plans"]} == {"ok", "stuck"}
    assert any(fault["file"].endswith("wrong.toml") for fault in found.json["faults"])


def test_init_writes_a_plan_that_runs(tmp_path: Path) -> None:
    assert banksman("init", cwd=tmp_path).code == 0
    tomllib.loads((tmp_path / "plan.toml").read_text())
    assert banksman("run", "plan.toml", cwd=tmp_path).code == 0


def test_init_never_writes_over_a_plan_unless_told(here: Path) -> None:
    answer = banksman("init", "ok.toml", cwd=here)
    assert (answer.code, "--force" in answer.err) == (2, True)
    assert (here / "ok.toml").read_text() == OK
    assert banksman("init", "ok.toml", "--force", cwd=here).code == 0


def test_charts_come_as_json_as_mermaid_and_as_text(tmp_path: Path) -> None:
    charts = banksman("charts", "--json", cwd=tmp_path).json
    assert len(charts) == 8
    assert sum(len(chart["states"]) for chart in charts.values()) == 58
    edges = {(name, *edge[:2]) for name, chart in charts.items() for edge in chart["edges"]}
    assert len(edges) == 122  # some may be taken by more than one trigger
    assert banksman("charts", "run", "--mermaid").out.startswith("stateDiagram-v2")
    assert "run_started" in banksman("charts", "run").out


# --- db -----------------------------------------------------------------------------------------


def test_the_status_of_the_database_counts_its_rows(here: Path) -> None:
    banksman("run", "ok.toml", cwd=here)
    found = banksman("db", "status", "--json", cwd=here).json
    assert (found["rows"]["tasks"], found["clean"], found["holder"]) == (2, True, None)
    assert found["schema"] == found["schema_known"]
    assert "state_transitions" in banksman("db", "status", cwd=here).out


def test_a_backup_can_be_restored_and_what_it_replaced_is_kept(here: Path) -> None:
    banksman("run", "ok.toml", cwd=here)
    first = the_run(here)
    backup = banksman("db", "backup", "--json", cwd=here).json["backup"]
    banksman("run", "ok.toml", cwd=here)
    assert the_run(here) != first
    restored = banksman("db", "restore", backup, "--json", cwd=here)
    assert restored.code == 0
    assert Path(restored.json["replaced"]).exists()
    assert the_run(here) == first
    assert is_whole(here)


def test_a_lost_database_comes_back_from_its_backup(here: Path) -> None:
    banksman("run", "ok.toml", cwd=here)
    backup = here / "kept.db"
    assert banksman("db", "backup", str(backup), cwd=here).code == 0
    (here / ".state" / "banksman.db").unlink()
    assert banksman("status", cwd=here).code == 2
    answer = banksman("db", "restore", str(backup), "--state-dir", ".state", cwd=here)
    assert answer.code == 0, answer.err
    assert is_whole(here)


def test_a_backup_is_never_written_over(here: Path) -> None:
    banksman("run", "ok.toml", cwd=here)
    (here / "there.db").touch()
    answer = banksman("db", "backup", "there.db", cwd=here)
    assert (answer.code, answer.err.count("\n")) == (4, 1)


def test_the_file_itself_is_checked_and_vacuumed(here: Path) -> None:
    banksman("run", "ok.toml", cwd=here)
    assert banksman("db", "check", "--json", cwd=here).json == {"ok": True, "findings": []}
    sizes = banksman("db", "vacuum", "--json", cwd=here).json
    assert sizes["bytes_after"] <= sizes["bytes_before"]
    assert banksman("db", "migrate", "--json", cwd=here).json["migrations"] == []
    assert is_whole(here)


def test_a_damaged_database_is_named_by_every_command(here: Path) -> None:
    banksman("run", "ok.toml", cwd=here)
    database = here / ".state" / "banksman.db"
    with database.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 8192 * 4)
    checked = banksman("db", "check", "--json", cwd=here)
    assert checked.code == 6
    assert banksman("verify", cwd=here).code == 6
    for command in (["run", "ok.toml"], ["resume"]):
        answer = banksman(*command, cwd=here)
        assert answer.code == 4, command
        assert "restore" in answer.err
    json.loads(banksman("status", "--json", cwd=here).out)


def test_what_is_old_is_archived_and_the_record_is_whole(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(
        '[run]\nname = "old"\n[workstreams.w.tasks.a]\ncommand = ["true"]\n'
    )
    state = ("--state-dir", "state")
    assert banksman("run", "plan.toml", *state, cwd=tmp_path).code == 0
    done = banksman("db", "archive", "--before", "0s", "--json", *state, cwd=tmp_path)
    assert (done.code, done.json["first"], Path(done.json["path"]).exists()) == (0, 1, True)
    assert banksman("verify", *state, cwd=tmp_path).code == 0
    assert banksman("run", "plan.toml", *state, cwd=tmp_path).code == 0
    assert banksman("verify", *state, cwd=tmp_path).code == 0
    again = banksman("db", "archive", "--before", "2001-01-01", *state, cwd=tmp_path)
    assert again.out == "nothing is that old\n"
    wrong = banksman("db", "archive", "--before", "soon", *state, cwd=tmp_path)
    assert (wrong.code, "--before 'soon' is no moment" in wrong.err) == (2, True)
