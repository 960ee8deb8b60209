"""Worker processes: what a command finds, how it ends, and that nothing of it is left."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from actors.effects import Release, StopProcess
from actors.messages import Heartbeat, Launched, ProcessExited, WorkEnded
from runtime.work.child.proc import carried, look, processes
from tests.runtime.work_kit import PYTHON, UET, Desk, alive, bell, working


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with working(tmp_path) as desk:
        await desk.start()
        yield desk


def child_of(desk: Desk) -> int:
    assert desk.uet is not None
    return desk.uet.pid


# --- how it ends ------------------------------------------------------------------------------


async def test_a_command_that_succeeds_is_reported_with_exit_code_0(desk: Desk) -> None:
    outcome = await desk.do("true")
    assert (outcome.exit_code, outcome.signal, outcome.reason) == (0, None, None)


async def test_a_command_that_fails_is_reported_with_its_exit_code(desk: Desk) -> None:
    outcome = await desk.do("sh", "-c", "exit 7")
    assert (outcome.exit_code, outcome.reason, outcome.infrastructure) == (7, None, False)


async def test_a_command_killed_by_a_signal_has_that_signal_and_no_exit_code(desk: Desk) -> None:
    outcome = await desk.do("sh", "-c", "kill -SEGV $$")
    assert (outcome.exit_code, outcome.signal, outcome.reason) == (None, 11, None)


async def test_the_duration_is_that_of_the_command(desk: Desk) -> None:
    assert 0.2 <= (await desk.do("sleep", "0.2")).duration_s < 5.0


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (("no-such-tool", "-v"), "no-such-tool: not found; install it or fix the plan"),
        (("./plain",), "./plain: not executable; allow it (chmod +x) or fix the plan"),
        (("./text",), "./text: not a program; give it a #! line or name its interpreter"),
        (("./orphan",), "./orphan: not found; install it or fix the plan"),
        (("echo", "a\0b"), "echo: embedded null byte"),
    ],
)
async def test_a_command_that_cannot_be_started_says_why(
    desk: Desk, tmp_path: Path, command: tuple[str, ...], error: str
) -> None:
    (tmp_path / "plain").write_text("")
    for name, text in (("text", "hello"), ("orphan", "#!/no/such/interpreter\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    outcome = await desk.do(*command)
    assert (outcome.reason, outcome.error) == ("not_started", error)
    assert (outcome.exit_code, outcome.infrastructure) == (None, False)


@pytest.mark.skipif(os.geteuid() == 0, reason="to root no folder is closed")
async def test_a_closed_folder_in_the_search_path_makes_no_command_look_forbidden(
    desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    outcome = await desk.do("no-such-tool", env={"PATH": f"{tmp_path}/closed:/usr/bin:/bin"})
    assert outcome.error == "no-such-tool: not found; install it or fix the plan"


async def test_text_that_no_system_takes_is_refused_and_harms_nobody(desk: Desk) -> None:
    lease = desk.offer("echo", "\ud800")
    assert (await desk.ended(lease)).reason == "not_started"
    assert (await desk.do("true")).exit_code == 0


async def test_a_folder_that_is_not_there_says_so(desk: Desk, tmp_path: Path) -> None:
    outcome = await desk.do("true", cwd="nowhere")
    assert outcome.reason == "not_started"
    folder = tmp_path / "nowhere"
    assert outcome.error == f"cwd {folder}: No such file or directory; make it or fix the plan"


async def test_an_output_file_that_cannot_be_made_is_the_machines_fault(desk: Desk) -> None:
    desk.output("t1").mkdir()
    lease = desk.offer("true")
    outcome = await desk.ended(lease)
    assert (outcome.reason, outcome.infrastructure) == ("not_started", True)
    assert outcome.error == f"{desk.output('t1')}: Is a directory"


async def test_a_worker_runs_on_after_a_command_that_could_not_be_started(desk: Desk) -> None:
    await desk.do("no-such-tool")
    assert (await desk.do("true")).exit_code == 0


# --- the launcher -----------------------------------------------------------------------------


async def test_a_launched_process_leads_a_session_of_its_own_and_waits(desk: Desk) -> None:
    lease = desk.offer("sleep", "60")
    launched = await desk.next(Launched)
    found = look(launched.pid)
    assert found is not None
    assert (found.session, found.ticks) == (launched.pid, launched.start_ticks)
    assert launched.pgid == os.getpgid(launched.pid) == launched.pid
    desk.withdraw(lease)
    await desk.ended(lease)


async def test_a_command_that_is_never_released_never_runs(desk: Desk, tmp_path: Path) -> None:
    lease = desk.offer("touch", str(tmp_path / "ran"))
    launched = await desk.next(Launched)
    desk.withdraw(lease, "cancelled")
    outcome = await desk.ended(lease)
    assert (outcome.reason, outcome.exit_code, outcome.signal) == ("cancelled", None, None)
    assert not alive(launched.pid)
    assert not (tmp_path / "ran").exists()


async def test_an_offer_that_is_withdrawn_before_it_was_launched_ends(desk: Desk) -> None:
    lease = desk.offer("sleep", "60")
    desk.withdraw(lease, "timeout")
    assert (await desk.ended(lease)).reason == "timeout"


async def test_a_launcher_that_was_killed_before_its_release_is_the_machines_fault(
    desk: Desk, tmp_path: Path
) -> None:
    lease = desk.offer("touch", str(tmp_path / "ran"))
    os.kill((await desk.next(Launched)).pid, 9)
    outcome = await desk.ended(lease)
    assert (outcome.reason, outcome.infrastructure) == ("not_started", True)
    assert not (tmp_path / "ran").exists()


async def test_an_order_for_a_lease_that_has_ended_does_not_touch_the_next(desk: Desk) -> None:
    first = await desk.begin("true")
    await desk.ended(first.lease)
    second = desk.offer("true")
    desk.withdraw(first.lease, "timeout")
    await desk.next(Launched)
    desk.work.perform(Release(UET, first.lease))
    desk.work.perform(Release(UET, second))
    assert (await desk.ended(second)).exit_code == 0


# --- what it finds ----------------------------------------------------------------------------


async def environment_of(desk: Desk, **more: Any) -> dict[str, str]:
    assert (await desk.do("env", "-0", **more)).exit_code == 0
    lines = desk.output().read_bytes().decode().split("\0")
    return dict(line.split("=", 1) for line in lines if line)


async def test_the_environment_is_an_allow_list_and_what_the_plan_says(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "hush")
    monkeypatch.setenv("PASSED_ON", "yes")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("LC_TIME", "C")
    monkeypatch.setenv("TZ", "UTC")
    found = await environment_of(desk, env={"MODE": "fast", "TZ": "CET"}, env_pass=("PASSED_ON",))
    assert "API_TOKEN" not in found
    assert "PYTHONPATH" not in found
    assert found["PASSED_ON"] == "yes"
    assert (found["MODE"], found["TZ"], found["LC_TIME"]) == ("fast", "CET", "C")
    assert found["PATH"] == os.environ["PATH"]


async def test_the_environment_says_which_lease_of_which_state_directory_this_is(
    desk: Desk, tmp_path: Path
) -> None:
    found = await environment_of(desk, attempt=1)
    assert {name: value for name, value in found.items() if name.startswith("BANKSMAN_")} == {
        "BANKSMAN_STATE": str(tmp_path / "state"),
        "BANKSMAN_UET": "worker:local.1@1",
        "BANKSMAN_LEASE": "1.1",
        "BANKSMAN_TASK_ID": "night-1/build/t1",
        "BANKSMAN_ATTEMPT": "1",
    }


async def test_a_name_in_env_pass_that_is_not_set_is_left_out(desk: Desk) -> None:
    assert "NOT_SET_ANYWHERE" not in await environment_of(desk, env_pass=("NOT_SET_ANYWHERE",))


async def test_a_value_that_is_no_utf8_arrives_as_it_left(desk: Desk) -> None:
    os.environb[b"BYTES"] = b"\xff\xfe"
    try:
        await desk.do("sh", "-c", 'printf %s "$BYTES"', env_pass=("BYTES",))
    finally:
        del os.environb[b"BYTES"]
    assert desk.output().read_bytes() == b"\xff\xfe"


async def test_the_worker_itself_knows_no_secret(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "hush")
    uet = "uet_worker:worker:local.2@1"
    child = await desk.start(uet)
    await desk.do("true", uet=uet, env_pass=("API_TOKEN",))
    assert not any(b"hush" in entry for entry in carried(child.pid) or ())


async def test_words_reach_the_command_as_they_are_and_no_shell_reads_them(desk: Desk) -> None:
    await desk.do("printf", "%s|", "$HOME", "a b", "*", "", "ü")
    assert desk.output().read_text() == "$HOME|a b|*||ü|"


async def test_a_relative_folder_is_taken_from_the_plans_folder(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    await desk.do("pwd", cwd="sub")
    assert desk.output().read_text().strip() == str(tmp_path / "sub")


async def test_there_is_nothing_on_stdin_and_no_terminal(desk: Desk) -> None:
    script = "cat; tty; (: </dev/tty) 2>/dev/null || echo detached"
    await desk.do("sh", "-c", script)
    assert desk.output().read_text() == "not a tty\ndetached\n"


async def test_only_the_three_standard_descriptors_are_open(desk: Desk) -> None:
    code = "import os; print(*sorted(os.listdir('/proc/self/fd')))"
    await desk.do(PYTHON, "-I", "-S", "-c", code)
    assert desk.output().read_text() == "0 1 2 3\n"  # 3 is the listing itself


async def test_no_signal_is_blocked_or_ignored(desk: Desk) -> None:
    await desk.do("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    lines = desk.output().read_text().split()
    assert lines == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]


async def test_both_streams_go_to_one_private_file_in_order(desk: Desk) -> None:
    outcome = await desk.do("sh", "-c", "echo one; echo two >&2; echo three")
    assert desk.output().read_text() == "one\ntwo\nthree\n"
    assert stat.S_IMODE(desk.output().stat().st_mode) == 0o600
    assert outcome.output_bytes == 14


# --- what it leaves behind --------------------------------------------------------------------


async def test_a_grandchild_in_the_background_dies_with_its_task(desk: Desk) -> None:
    outcome = await desk.do("sh", "-c", "sleep 60 & echo $!")
    assert outcome.exit_code == 0
    assert not alive(int(desk.output().read_text()))


async def test_a_daemon_in_a_session_of_its_own_and_without_our_marks_dies_too(
    desk: Desk, tmp_path: Path
) -> None:
    async with bell(tmp_path) as rung:
        daemon = f"env -i setsid sh -c 'echo $$ >{rung.path}; exec sleep 60' >/dev/null 2>&1 &"
        await desk.do("sh", "-c", f"{daemon} head -n 1 {rung.path}")
    assert not alive(int(desk.output().read_text()))


async def test_what_ignores_term_is_killed_after_the_grace(desk: Desk, tmp_path: Path) -> None:
    async with bell(tmp_path) as rung:
        script = f"trap '' TERM; echo $$ >{rung.path}; while :; do sleep 60; done"
        begun = await desk.begin("sh", "-c", script)
        pid = int(await rung.wait())
        desk.withdraw(begun.lease, "timeout", kill_timeout_s=0.6)
        outcome = await desk.ended(begun.lease)
    assert (outcome.reason, outcome.signal, outcome.alive) == ("timeout", 9, False)
    assert not alive(pid)


async def test_what_heeds_term_may_clean_up(desk: Desk, tmp_path: Path) -> None:
    async with bell(tmp_path) as rung:
        sleep = f"sh -c 'echo up >{rung.path}; exec sleep 60'"  # up: it can hear TERM
        script = f"trap 'echo bye; exit 3' TERM; {sleep} & wait"
        begun = await desk.begin("sh", "-c", script)
        await rung.wait()
        desk.withdraw(begun.lease, "cancelled")
        outcome = await desk.ended(begun.lease)
    assert (outcome.reason, outcome.exit_code) == ("cancelled", 3)
    assert desk.output().read_text() == "bye\n"


LATE = """
import os, signal, subprocess, sys
def leave(*_):
    subprocess.Popen(["sleep", "60"])
    os._exit(0)
signal.signal(signal.SIGTERM, leave)
open(sys.argv[1], "w").write("up")
signal.pause()
"""


async def test_what_is_started_at_the_last_moment_is_told_to_end_too(tmp_path: Path) -> None:
    async with working(tmp_path, grace_s_max=300.0) as desk, bell(tmp_path) as rung:
        await desk.start()
        begun = await desk.begin(PYTHON, "-c", LATE, rung.path)
        await rung.wait()
        desk.withdraw(begun.lease, "cancelled", kill_timeout_s=900.0)
        assert (await desk.ended(begun.lease)).exit_code == 0


async def test_what_has_stopped_itself_hears_term(desk: Desk, tmp_path: Path) -> None:
    async with bell(tmp_path) as rung:
        begun = await desk.begin("sh", "-c", f"echo $$ >{rung.path}; kill -STOP $$; echo on")
        await rung.wait()
        desk.withdraw(begun.lease, "cancelled")
        outcome = await desk.ended(begun.lease)
    assert outcome.signal == 15


async def test_a_command_that_closes_its_output_ends_when_it_ends(desk: Desk) -> None:
    outcome = await desk.do("sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 4")
    assert outcome.exit_code == 4
    assert outcome.duration_s >= 0.3


async def test_what_ends_by_itself_just_after_the_command_is_let(desk: Desk) -> None:
    await desk.do("bash", "-c", "exec > >(sleep 0.05; cat); echo late")
    assert desk.output().read_text() == "late\n"


async def test_what_kill_does_not_end_in_time_is_reported_alive(desk: Desk, tmp_path: Path) -> None:
    async with bell(tmp_path) as rung:
        begun = await desk.begin("sh", "-c", f"echo $$ >{rung.path}; exec sleep 60")
        await rung.wait()
        desk.withdraw(begun.lease, "timeout", kill_timeout_s=0.0)  # no time at all
        outcome = await desk.ended(begun.lease)
        assert (outcome.reason, outcome.alive) == ("timeout", True)
        assert outcome.error == f"survived KILL: {begun.pid}"
        refused = await desk.ended(desk.offer("true"))
        assert (refused.reason, refused.infrastructure) == ("not_started", True)
        await desk.stop(kill=True)
    assert not alive(begun.pid)


async def test_no_zombie_and_no_descriptor_is_left_by_many_leases(desk: Desk) -> None:
    def open_files(pid: int) -> int:
        return len(os.listdir(f"/proc/{pid}/fd"))

    await desk.do("true")
    before = open_files(child_of(desk)), open_files(os.getpid())
    for _ in range(40):
        assert (await desk.do("true")).exit_code == 0
    for _ in range(10):
        await desk.do("no-such-tool")
    assert (open_files(child_of(desk)), open_files(os.getpid())) == before
    assert not [process for process in processes() if process.parent == child_of(desk)]


# --- heartbeats, stopping ---------------------------------------------------------------------


async def test_heartbeats_come_on_time_while_a_task_floods_its_output(tmp_path: Path) -> None:
    async with working(tmp_path, output_head=1 << 16, output_tail=1 << 12) as desk:
        await desk.start(heartbeat_s=0.1)
        begun = await desk.begin("yes")
        beats = [await desk.next(Heartbeat) for _ in range(8)]
        assert beats[-1].lease == begun.lease
        desk.withdraw(begun.lease)
        assert (await desk.ended(begun.lease)).truncated


async def test_an_idle_worker_beats_too(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        await desk.start(heartbeat_s=0.05)
        assert (await desk.next(Heartbeat)).lease is None


async def test_an_idle_worker_stops_when_asked(desk: Desk) -> None:
    assert await desk.stop() == ProcessExited(crashed=False)
    assert not alive(child_of(desk))


async def test_a_busy_worker_stops_after_what_it_runs(desk: Desk, tmp_path: Path) -> None:
    async with bell(tmp_path) as rung:
        begun = await desk.begin("head", "-n", "1", rung.path)
        desk.work.perform(StopProcess(UET))
        rung.say("go")
        assert (await desk.ended(begun.lease)).exit_code == 0
        assert await desk.next(ProcessExited) == ProcessExited(crashed=False)


async def test_two_workers_run_at_the_same_time(desk: Desk, tmp_path: Path) -> None:
    other = "uet_worker:worker:local.2@1"
    await desk.start(other)
    async with bell(tmp_path) as rung:
        first = await desk.begin("head", "-n", "1", rung.path)
        second = await desk.begin("sh", "-c", f"echo go >{rung.path}", uet=other)
        assert (await desk.ended(second.lease, other)).exit_code == 0
        assert (await desk.ended(first.lease)).exit_code == 0


async def test_an_offer_to_a_worker_that_is_gone_is_lost(desk: Desk) -> None:
    await desk.stop()
    lease = desk.offer("true")
    ended = await desk.next(WorkEnded)
    assert ended.lease == lease
    assert (ended.outcome.reason, ended.outcome.infrastructure) == ("lost", True)


async def test_stopping_a_worker_that_is_gone_is_answered(desk: Desk) -> None:
    await desk.stop()
    assert not (await desk.stop()).crashed
