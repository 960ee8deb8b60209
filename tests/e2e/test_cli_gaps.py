"""What a person is told where something is out of the ordinary, at the installed command."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.e2e.commands import banksman

OK = '[run]\nname = "ok"\n[workstreams.w.tasks.a]\ncommand = ["true"]\n'


def test_a_second_run_says_nothing_of_slots_that_come_back_with_every_owner(
    tmp_path: Path,
) -> None:
    (tmp_path / "plan.toml").write_text(OK)
    banksman("run", "plan.toml", cwd=tmp_path)
    assert "recovered" not in banksman("run", "plan.toml", cwd=tmp_path).out


def test_a_short_id_means_the_newest_run_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(OK)
    for _ in range(2):
        banksman("run", "plan.toml", cwd=tmp_path)
    newest = banksman("status", "--json", cwd=tmp_path).json["runs"][0]["id"]
    found = banksman("why", "a", "--json", cwd=tmp_path)
    assert found.json["id"] == f"{newest}/w/a"
    assert found.err == f"banksman: a is taken for {newest}/w/a; another is called so\n"


def test_a_timeout_says_after_how_long(tmp_path: Path) -> None:
    plan = '[run]\nname = "slow"\n[workstreams.w.tasks.a]\ncommand = ["sleep", "60"]\n'
    (tmp_path / "plan.toml").write_text(plan + "timeout_s = 0.5\n")
    run = banksman("run", "plan.toml", cwd=tmp_path)
    assert run.code == 1
    assert "(timeout after 0.5 s)" in run.out


def test_a_run_that_a_poisonous_task_failed_shows_in_its_last_words_what_became_of_its_workers(
    tmp_path: Path,
) -> None:
    plan = '[run]\nname = "ill"\n[workstreams.w.tasks.a]\nbackoff_s = 0.01\n'
    plan += 'command = ["sh", "-c", "kill -9 $PPID; sleep 5"]\n'
    plan += "[workers.local]\ncount = 1\nrestart = { intensity = 50, backoff_s = 0.01 }\n"
    (tmp_path / "plan.toml").write_text(plan)
    run = banksman("run", "plan.toml", cwd=tmp_path)
    assert run.code == 1
    assert "  its workers died of it, again and again: " in run.out


def test_a_database_that_refuses_nothing_any_more_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(OK)
    banksman("run", "plan.toml", cwd=tmp_path)
    with sqlite3.connect(tmp_path / ".state" / "banksman.db") as db:
        db.execute("DROP TRIGGER audit_is_never_changed")
        db.execute("DROP TRIGGER tasks_moved")
    refused = banksman("run", "plan.toml", cwd=tmp_path)
    assert refused.code == 4
    assert "gone or changed: audit_is_never_changed, tasks_moved" in refused.err
    assert "there is no backup in archive/ to restore: move" in refused.err


def test_where_there_is_a_backup_a_damaged_database_names_it(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(OK)
    banksman("run", "plan.toml", cwd=tmp_path)
    backup = banksman("db", "backup", "--json", cwd=tmp_path).json["backup"]
    database = tmp_path / ".state" / "banksman.db"
    database.write_bytes(b"\0" * database.stat().st_size)
    for command in (["verify"], ["run", "plan.toml"], ["status"]):
        answer = banksman(*command, cwd=tmp_path)
        assert answer.code in (4, 6), command
        assert "db restore" in answer.err, command
    assert banksman("db", "restore", backup, cwd=tmp_path).code == 0
    assert banksman("verify", cwd=tmp_path).code == 0


def test_a_run_that_a_gate_failed_ends_with_what_the_gate_printed(tmp_path: Path) -> None:
    plan = '[run]\nname = "red"\n[workstreams.w.tasks.a]\ncommand = ["true"]\nvalidate = ["unit"]\n'
    plan += '[gates.unit]\ncommand = ["sh", "-c", "echo E assert 1 == 2; exit 1"]\n'
    (tmp_path / "plan.toml").write_text(plan)
    run = banksman("run", "plan.toml", cwd=tmp_path)
    assert "its last 20 lines of output\n  E assert 1 == 2\n" in run.out
    gate = banksman("gates", "--json", cwd=tmp_path).json[0]["id"]
    assert f"next: banksman logs {gate}\n" in run.out


def test_a_paused_run_that_is_resumed_without_an_owner_has_the_reason_on_record(
    tmp_path: Path,
) -> None:
    plan = '[run]\nname = "dear"\nbudget = { attempts = 1 }\n[workers.w]\ncount = 1\n'
    for task in "ab":
        plan += f'[workstreams.w.tasks.{task}]\ncommand = ["true"]\n'
    (tmp_path / "plan.toml").write_text(plan)
    assert banksman("run", "plan.toml", cwd=tmp_path).code == 7
    stale = banksman("resume", "dear", "--if-version", "99", cwd=tmp_path)
    assert (stale.code, "look again and decide anew" in stale.err) == (5, True)
    assert banksman("resume", "dear", "--reason", "paid", cwd=tmp_path).code == 0
    events = banksman("history", "dear", "--json", cwd=tmp_path).json
    told = {e["event_type"]: e["reason"] for e in events if e["reason"] == "paid"}
    assert set(told) == {"run_budget_granted", "run_state_transition"}


def test_a_database_whose_first_opening_came_to_nothing_is_made_whole_as_it_is_told(
    tmp_path: Path,
) -> None:
    (tmp_path / ".state").mkdir()
    (tmp_path / ".state" / "banksman.db").touch()
    for command in (["verify"], ["status"], ["db", "check"]):
        told = banksman(*command, cwd=tmp_path)
        assert (told.code, "`banksman resume` makes it whole" in told.err) == (4, True)
    assert banksman("resume", cwd=tmp_path).code == 0
    assert banksman("verify", cwd=tmp_path).code == 0
