"""run and resume, as installed: exit codes, lines, signals, a second terminal, last words."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.e2e.commands import BANKSMAN, Going, banksman

OK = """
[run]
name = "ok"
[workstreams.w.tasks.a]
command = ["echo", "the way is clear"]
[workstreams.w.tasks.b]
command = ["echo", "up she goes"]
depends_on = ["a"]
"""

FAILS = """
[run]
name = "bad"
[workstreams.w.tasks.a]
command = ["sh", "-c", "for i in $(seq 40); do echo line $i; done; exit 3"]
[workstreams.x]
depends_on = ["w"]
[workstreams.x.tasks.never]
command = ["true"]
"""

# `a` reads from a pipe: it runs until somebody writes into it, or ends it.
WAITS = """
[run]
name = "long"
[workstreams.w.tasks.a]
command = ["cat", "pipe"]
[workstreams.w.tasks.b]
command = ["echo", "done"]
depends_on = ["a"]
[workstreams.other]
depends_on = ["w"]
[workstreams.other.tasks.c]
command = ["true"]
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    for name, text in (("ok", OK), ("bad", FAILS), ("long", WAITS)):
        (tmp_path / f"{name}.toml").write_text(dedent(text))
    return tmp_path


def let_go(here: Path) -> None:
    """Ends the task that reads from the pipe, once it does."""
    (here / "pipe").write_text("let go\n")


def status(here: Path) -> Any:
    return banksman("status", "--json", cwd=here).json


def the_run(here: Path) -> str:
    run_id: str = status(here)["runs"][0]["id"]
    return run_id


def states(here: Path) -> dict[str, str]:
    tasks = banksman("tasks", "--all", "--json", cwd=here).json
    return {task["id"].partition("/")[2]: task["state"] for task in tasks}


def is_whole(here: Path) -> bool:
    return banksman("verify", cwd=here).code == 0


# --- how a run ends ------------------------------------------------------------------------------


def test_a_run_that_completes_exits_0_and_says_where_its_history_lies(here: Path) -> None:
    answer = banksman("run", "ok.toml", cwd=here)
    assert (answer.code, answer.err) == (0, "")
    for words in ("completed  2/2 done", "banksman.db", "transitions.jsonl", "banksman report"):
        assert words in answer.out
    assert is_whole(here)


def test_without_a_terminal_each_transition_is_a_line(here: Path) -> None:
    lines = banksman("run", "ok.toml", cwd=here).out.splitlines()
    moves = [line.split("  ")[1:3] for line in lines if " -> " in line]
    assert ["task w/a", "pending -> queued"] in moves
    assert ["task w/a", "queued -> running"] in moves
    assert ["task w/a", "validating -> completed"] in moves
    assert moves[-1][1] == "running -> completed"


def test_the_banner_names_version_durability_database_and_epoch(here: Path) -> None:
    first, second = banksman("run", "ok.toml", cwd=here).out.splitlines()[:2]
    assert "banksman 0" in first
    assert "durability power" in first
    assert str(here / ".state") in second
    assert "owner epoch 1" in second
    process = banksman("run", "ok.toml", "--durability", "process", cwd=here).out
    assert "durability process" in process.splitlines()[0]


def test_a_failed_run_exits_1_and_ends_with_the_task_its_output_and_the_next_command(
    here: Path,
) -> None:
    answer = banksman("run", "bad.toml", cwd=here)
    assert answer.code == 1
    run_id = the_run(here)
    end = answer.out[answer.out.index("\nfailed  bad-") :]
    assert f"{run_id}/w/a  (exit code 3)" in end
    assert "line 21" in end
    assert "line 20\n" not in end
    assert f"next: banksman logs {run_id}/w/a" in end


def test_failures_that_are_not_critical_are_counted(here: Path) -> None:
    spell = '[workstreams.docs.tasks.spell]\ncommand = ["false"]\ncritical = false\n'
    (here / "docs.toml").write_text(OK + spell)
    answer = banksman("run", "docs.toml", cwd=here)
    assert answer.code == 0
    assert "1 failure in tasks that are not critical" in answer.out


def test_as_json_a_run_is_one_value_and_its_progress_goes_to_stderr(here: Path) -> None:
    answer = banksman("run", "bad.toml", "--json", cwd=here)
    value = answer.json
    assert (answer.code, value["exit"], value["runs"][0]["state"]) == (1, 1, "failed")
    assert value["runs"][0]["failed_task"]["exit_code"] == 3
    assert value["runs"][0]["output_tail"].endswith("line 40")
    assert " -> " in answer.err


def test_every_fault_of_a_plan_is_named_and_nothing_is_begun(here: Path) -> None:
    (here / "faulty.toml").write_text(OK + 'depends_om = ["a"]\n[workstreams.empty]\nskipp = 1\n')
    answer = banksman("run", "faulty.toml", cwd=here)
    assert answer.code == 2
    assert "depends_om" in answer.err
    assert "skipp" in answer.err
    assert all(line.startswith("banksman: ") for line in answer.err.splitlines())
    assert not (here / ".state").exists()
    error = banksman("run", "faulty.toml", "--json", cwd=here).json["error"]
    assert error["code"] == "bad_plan"
    assert len(error["faults"]) >= 2


def test_a_tool_that_is_not_here_is_refused_at_submission(here: Path) -> None:
    (here / "tool.toml").write_text(OK.replace('"echo", "up', '"no-such-tool", "up'))
    answer = banksman("run", "tool.toml", cwd=here)
    assert answer.code == 2
    assert "no-such-tool" in answer.err


def test_a_plan_that_is_not_there_exits_2(here: Path) -> None:
    answer = banksman("run", "nope.toml", cwd=here)
    assert (answer.code, answer.err.count("\n")) == (2, 1)


def test_a_state_directory_that_cannot_be_made_exits_4(here: Path) -> None:
    answer = banksman("run", "ok.toml", "--state-dir", "ok.toml", cwd=here)
    assert answer.code == 4
    assert answer.err.count("\n") == 1


def test_a_reader_that_goes_away_does_not_stop_the_run(here: Path) -> None:
    shell = f"{BANKSMAN} run bad.toml | head -1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", shell], cwd=here, capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("1\n", "")
    assert status(here)["runs"][0]["state"] == "failed"


def test_a_run_without_any_standard_stream_leaves_its_database_whole(here: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{BANKSMAN} run ok.toml <&- >&- 2>&-"], cwd=here, check=False, timeout=60
    )
    assert done.returncode == 0
    assert is_whole(here)


# --- signals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_lets_what_runs_finish_and_starts_nothing_more(here: Path, number: int) -> None:
    with Going("run", "long.toml", cwd=here) as run:
        run.until("task w/a  queued -> running")
        run.signal(number)
        assert "w/a" in run.until("draining")
        let_go(here)
        assert run.end() == 130
    assert "banksman resume" in run.said
    assert states(here) == {"w/a": "completed", "w/b": "queued", "other/c": "pending"}
    assert is_whole(here)


def test_two_signals_kill_what_runs_and_the_run_can_be_resumed(here: Path) -> None:
    with Going("run", "long.toml", cwd=here) as run:
        run.until("task w/a  queued -> running")
        run.signal(signal.SIGINT)
        run.until("draining")
        run.signal(signal.SIGINT)
        assert run.end() == 130
    with pytest.raises(OSError, match="No such device"):
        os.open(here / "pipe", os.O_WRONLY | os.O_NONBLOCK)  # nobody reads from it any more
    with Going("resume", cwd=here) as resumed:
        resumed.until("task w/a  queued -> running")
        let_go(here)
        assert resumed.end() == 0
    assert is_whole(here)


def test_a_run_that_ends_while_it_drains_exits_as_it_ended(here: Path) -> None:
    (here / "last.toml").write_text(
        OK.split("[workstreams.w.tasks.b]", maxsplit=1)[0].replace(
            '"echo", "the way is clear"', '"cat", "pipe"'
        )
    )
    with Going("run", "last.toml", cwd=here) as run:
        run.until("task w/a  queued -> running")
        run.signal(signal.SIGINT)
        run.until("draining")
        let_go(here)
        assert run.end() == 0


def test_after_kill_9_resume_accounts_for_everything_and_finishes(here: Path) -> None:
    with Going("run", "long.toml", cwd=here) as run:
        run.until("task w/a  queued -> running")
        run.process.kill()
    with Going("resume", cwd=here) as resumed:
        resumed.until("recovered")
        assert "no attempt burned" in resumed.until("w/a  running:")
        resumed.until("task w/a  queued -> running")
        let_go(here)
        assert resumed.end() == 0
    assert set(states(here).values()) == {"completed"}
    assert is_whole(here)


def test_resume_without_anything_unfinished_says_so(here: Path) -> None:
    banksman("run", "ok.toml", cwd=here)
    answer = banksman("resume", cwd=here)
    assert (answer.code, "nothing is unfinished here" in answer.out) == (0, True)


def test_resume_of_a_run_that_has_ended_exits_as_it_ended(here: Path) -> None:
    banksman("run", "bad.toml", cwd=here)
    answer = banksman("resume", the_run(here), cwd=here)
    assert answer.code == 1
    assert "failed already" in answer.out


# --- a second terminal ----------------------------------------------------------------------------


def test_a_second_run_is_told_who_holds_the_directory(here: Path) -> None:
    with Going("run", "long.toml", cwd=here) as run:
        run.until("task w/a  queued -> running")
        second = banksman("run", "ok.toml", cwd=here)
        assert second.code == 4
        assert f"pid {run.process.pid}" in second.err
        assert "run long.toml" in second.err
        assert banksman("resume", cwd=here).code == 4


def test_the_owner_is_shown_while_it_lives(here: Path) -> None:
    with Going("run", "long.toml", cwd=here) as run:
        run.until("task w/a  queued -> running")
        assert status(here)["owner"]["pid"] == run.process.pid
    assert status(here)["owner"] is None


def test_every_looking_command_works_beside_a_run(here: Path) -> None:
    with Going("run", "long.toml", cwd=here) as run:
        run.until("task w/a  queued -> running")
        for command in ("status", "tasks", "workers", "gates", "events", "report", "verify"):
            assert banksman(command, cwd=here).code == 0, command
        said = banksman("why", "w/a", cwd=here).out
        assert "it is at work" in said
        assert "attempt 1 of 1" in said
        assert "/w is running" in banksman("why", "other", cwd=here).out
        let_go(here)
        assert run.end() == 0


def test_a_cancelled_run_exits_3(here: Path) -> None:
    with Going("run", "long.toml", cwd=here) as run:
        run.until("task w/a  queued -> running")
        answer = banksman("cancel", the_run(here), "--reason", "wrong branch", cwd=here)
        assert answer.code == 0
        assert run.end() == 3
    assert "wrong branch" in run.said
    assert set(states(here).values()) == {"cancelled"}


def test_a_run_that_only_a_person_can_move_exits_7_with_the_way_out(here: Path) -> None:
    with Going("run", "long.toml", cwd=here) as run:
        run.until("task w/a  queued -> running")
        run_id = the_run(here)
        banksman("pause", run_id, "--reason", "lunch", "--operator", "ada", cwd=here)
        let_go(here)
        assert run.end() == 7
    assert "paused by ada (lunch)" in run.said
    assert f"banksman resume {run_id}" in run.said
    assert banksman("resume", cwd=here).code == 7
    assert banksman("resume", run_id, cwd=here).code == 0


def test_a_paused_run_is_resumed_through_its_owner(here: Path) -> None:
    with Going("run", "long.toml", cwd=here) as run:
        run.until("task w/a  queued -> running")
        run_id = the_run(here)
        banksman("pause", run_id, cwd=here)
        run.until("running -> paused")
        answer = banksman("resume", run_id, "--json", cwd=here)
        assert answer.json["entity_id"] == run_id
        run.until("paused -> running")
        let_go(here)
        assert run.end() == 0


def test_a_skipped_workstream_counts_as_done(here: Path) -> None:
    with Going("run", "long.toml", cwd=here) as run:
        run.until("task w/a  queued -> running")
        assert banksman("skip", "other", "--reason", "not today", cwd=here).code == 0
        let_go(here)
        assert run.end() == 0
    assert "not today" in banksman("history", "other", cwd=here).out


def test_a_command_on_a_stale_view_is_refused(here: Path) -> None:
    with Going("run", "long.toml", cwd=here) as run:
        run.until("task w/a  queued -> running")
        answer = banksman("cancel", "other", "--if-version", "77", "--json", cwd=here)
        assert answer.code == 5
        assert answer.json["error"]["code"] == "refused"
        run.process.kill()


def test_what_has_ended_cannot_be_cancelled(here: Path) -> None:
    banksman("run", "ok.toml", cwd=here)
    answer = banksman("cancel", the_run(here), cwd=here)
    assert answer.code in (0, 5)
    assert status(here)["runs"][0]["state"] == "completed"


def test_without_an_owner_a_command_takes_the_directory_over_and_leaves_it(here: Path) -> None:
    with Going("run", "long.toml", cwd=here) as run:
        run.until("task w/a  queued -> running")
        run.signal(signal.SIGINT)
        run.until("draining")
        let_go(here)
        run.end()
    answer = banksman("cancel", "other", "--reason", "no longer wanted", cwd=here)
    assert (answer.code, answer.err) == (0, "")
    assert status(here)["owner"] is None
    assert states(here)["other/c"] == "cancelled"
    events = banksman("events", "--operator", os.environ.get("USER", "root"), "--json", cwd=here)
    assert "no longer wanted" in events.out
    assert is_whole(here)


def test_events_are_followed_from_a_second_terminal(here: Path) -> None:
    with Going("run", "long.toml", cwd=here) as run:
        run.until("task w/a  queued -> running")
        follow = ["events", "--follow", "--type", "task", "--json"]
        with Going(*follow, cwd=here) as following:
            following.until('"to_state":"running"')
            let_go(here)
            line = following.until('"to_state":"completed"')
            assert json.loads(line)["entity_id"].endswith("/w/a")
        assert run.end() == 0


def test_logs_are_followed_until_the_task_ends(here: Path) -> None:
    with Going("run", "long.toml", cwd=here) as run:
        run.until("task w/a  queued -> running")
        with Going("logs", "-f", "w/a", cwd=here) as logs:
            let_go(here)
            logs.until("let go")
            assert logs.end() == 0
        assert run.end() == 0


DAEMON = """
import anyio, sys
from runtime import open_runtime
async def main():
    async with open_runtime(".state", role="daemon", command="daemon") as rt:
        print("up", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
anyio.run(main)
"""


@contextmanager
def a_daemon(here: Path) -> Iterator[None]:
    python = Path(BANKSMAN).with_name("python")
    with subprocess.Popen(
        [python, "-c", DAEMON], cwd=here, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdin is not None
        assert daemon.stdout.readline() == "up\n"
        yield
        daemon.stdin.write("\n")
        daemon.stdin.close()
        assert daemon.wait(30) == 0


def test_a_plan_is_handed_to_a_live_daemon_and_followed(here: Path) -> None:
    with a_daemon(here):
        answer = banksman("run", "bad.toml", cwd=here)
        assert answer.code == 1
        assert "submitted bad-" in answer.out
        assert "task w/a  queued -> running" in answer.out
        assert "line 40" in answer.out
        assert status(here)["owner"]["role"] == "daemon"


def test_who_leaves_a_daemons_run_leaves_it_running(here: Path) -> None:
    with a_daemon(here):
        with Going("run", "long.toml", cwd=here) as run:
            run.until("task w/a  queued -> running")
            run.signal(signal.SIGINT)
            assert run.end() == 130
        assert "goes on without you" in run.said
        with Going("events", "-f", "--type", "run", cwd=here) as events:
            events.until("initializing -> running")
            let_go(here)
            events.until("running -> completed")


def test_commands_that_meet_on_a_directory_without_an_owner_wait_for_each_other(
    here: Path,
) -> None:
    with Going("run", "long.toml", cwd=here) as run:
        run.until("task w/a  queued -> running")
        run.process.kill()
    both = [Going("skip", "other", cwd=here), Going("pause", "w/b", cwd=here)]
    assert [command.end() for command in both] == [0, 0]
    for command in both:
        command.__exit__()


def test_the_owners_lock_without_a_socket_is_told_too(here: Path) -> None:
    banksman("run", "ok.toml", cwd=here)
    import fcntl  # noqa: PLC0415 - only here

    with (here / ".state" / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = banksman("run", "ok.toml", cwd=here)
        assert answer.code == 4
        assert "is held by pid" in answer.err


def test_a_database_of_a_newer_version_is_refused_with_the_cure(here: Path) -> None:
    banksman("run", "ok.toml", cwd=here)
    with sqlite3.connect(here / ".state" / "banksman.db") as db:
        db.execute("INSERT INTO migrations VALUES (99, 'future', 'x', 0.0)")
    db.close()
    for command in (["status"], ["run", "ok.toml"]):
        answer = banksman(*command, cwd=here)
        assert answer.code == 4, command
        assert "newer banksman" in answer.err
