"""Gate commands: a verdict is the command's, trouble is the machine's, and nothing is left."""

from __future__ import annotations

import os
from pathlib import Path

from actors.messages import GateEnded, Outcome
from runtime.work import output_path
from runtime.work.child.proc import descendants
from tests.runtime.work_kit import GATE, Desk, alive, bell, kill, working


def _output(desk: Desk, attempt: int = 1) -> Path:
    return output_path(desk.folder / "state" / "output", "night-1/gate:unit~1", attempt)


async def test_a_gate_that_passes_has_exit_code_0_and_its_output_in_a_file(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        outcome = await desk.gate("sh", "-c", "echo 12 passed; echo $BANKSMAN_GATE")
        assert (outcome.exit_code, outcome.reason) == (0, None)
        assert _output(desk).read_text() == "12 passed\nnight-1/gate:unit~1\n"
        assert outcome.output_bytes == _output(desk).stat().st_size


async def test_a_gate_that_fails_is_no_fault_of_the_machine(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        outcome = await desk.gate("sh", "-c", "exit 2")
    assert (outcome.exit_code, outcome.reason, outcome.infrastructure) == (2, None, False)


async def test_each_attempt_has_a_file_of_its_own(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        await desk.gate("echo", "first")
        await desk.gate("echo", "second", attempt=2)
        assert _output(desk, 1).read_text() == "first\n"
        assert _output(desk, 2).read_text() == "second\n"


async def test_a_missing_command_is_the_machines_fault(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        outcome = await desk.gate("no-such-linter")
    assert (outcome.reason, outcome.infrastructure) == ("not_started", True)
    assert outcome.error == "no-such-linter: not found; install it or fix the plan"


async def test_a_gate_past_its_timeout_is_killed_with_all_it_started(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        script = "setsid sleep 60 & echo $$ $!; wait"
        outcome = await desk.gate("sh", "-c", script, timeout_s=0.3)
        pids = [int(pid) for pid in _output(desk).read_text().split()]
    assert (outcome.reason, outcome.infrastructure) == ("timeout", False)
    assert not any(alive(pid) for pid in pids)


async def test_a_gate_is_killed_with_the_reason_that_was_given(tmp_path: Path) -> None:
    async with working(tmp_path) as desk, bell(tmp_path) as rung:
        desk.run_gate("sh", "-c", f"echo $$ >{rung.path}; exec sleep 60")
        pid = int(await rung.wait())
        desk.kill_gate("cancelled")
        ended = await desk.next(GateEnded, GATE)
        assert (ended.outcome.reason, ended.outcome.signal) == ("cancelled", 15)
        assert not alive(pid)


async def test_a_gate_that_is_killed_before_it_began_ends(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        desk.run_gate("touch", str(tmp_path / "ran"))
        desk.kill_gate("cancelled")
        assert (await desk.next(GateEnded, GATE)).outcome.reason == "cancelled"
    assert not (tmp_path / "ran").exists()


async def test_killing_a_gate_that_has_ended_changes_nothing(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        await desk.gate("true")
        desk.kill_gate()
        assert desk.reports == []


async def test_a_gate_whose_process_is_killed_is_lost_through_the_machine(tmp_path: Path) -> None:
    async with working(tmp_path) as desk, bell(tmp_path) as rung:
        desk.run_gate("sh", "-c", f"echo $PPID $$ >{rung.path}; exec sleep 60")
        child, pid = map(int, (await rung.wait()).split())
        kill(child)
        ended = await desk.next(GateEnded, GATE)
        assert ended.outcome == Outcome(
            reason="lost", error="its process was killed by SIGKILL", infrastructure=True
        )
        assert not alive(pid)


async def test_a_verdict_leaves_no_process_behind(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        await desk.gate("true")
        assert descendants(os.getpid()) == []
        assert not desk.work.busy


async def test_text_that_no_system_takes_is_the_machines_fault(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        outcome = await desk.gate("echo", "\ud800")
    assert (outcome.reason, outcome.infrastructure) == ("not_started", True)
