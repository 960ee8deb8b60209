"""Gates from the plan to the verdict: what their runners say, what is reused, who approves."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from actors import messages as m
from actors import spec
from actors.effects import RunGate
from actors.guard_messages import ForceClose, ForceOpen, Hold
from actors.messages import Check, Outcome
from runtime import Runtime, VirtualClock, open_runtime
from runtime.known import passed_with
from runtime.store.read import connect
from runtime.view.guards import breakers
from runtime.view.why import why
from runtime.work import Limits
from runtime.work.site import Site
from runtime.work.witness import Bench
from tests.runtime.git_kit import repository
from tests.runtime.kernel_kit import rows, until
from tests.runtime.work_kit import Desk, working

PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q")


def plan(folder: Path, *command: str, approval: bool = False, **more: Any) -> spec.Plan:
    """One task behind the gate `unit`."""
    gate = spec.Gate(command=command, approval=approval, **more)
    task = spec.Task(command=("true",), gates=("unit",))
    return spec.Plan(
        run=spec.Run(name="n", base_dir=str(folder)),
        gates={"unit": gate},
        workstreams={"a": spec.Workstream(tasks={"x": task})},
    )


def gates(folder: Path) -> list[dict[str, Any]]:
    """Every gate entity, in the order of creation, with its value."""
    found = rows(folder, "SELECT id, state, reason, exit_code, approver, value FROM test_gates")
    names = ("id", "state", "reason", "exit_code", "approver")
    return [
        {**dict(zip(names, row[:5], strict=True)), **msgspec.json.decode(row[5])} for row in found
    ]


# --- what the shell sees -------------------------------------------------------------------------


def write(folder: Path, text: str) -> str:
    (folder / "test_it.py").write_text(text)
    return str(folder / "test_it.py")


async def test_a_runner_is_recognised_by_what_it_wrote(tmp_path: Path) -> None:
    path = write(tmp_path, "def test_a(): pass\ndef test_b(): pass\n")
    async with working(tmp_path) as desk:
        outcome = await desk.gate(*PYTEST, path)
    assert outcome.check is not None
    assert (outcome.check.judged_by, outcome.check.tests) == ("pytest", 2)


async def test_a_run_that_collects_nothing_is_told_apart_from_one_that_passes(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, "import pytest\n@pytest.mark.skip\ndef test_a(): pass\n")
    async with working(tmp_path) as desk:
        skipped = await desk.gate(*PYTEST, path)
        silent = await desk.gate(*PYTEST, "-qq", "-k", "no", path, attempt=2)
    assert (skipped.exit_code, skipped.check) == (0, Check("pytest", 0))
    assert (silent.exit_code, silent.check) == (5, Check("pytest", 0))


async def test_a_report_that_the_command_names_counts_before_what_it_printed(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, "def test_a(): pass\n")
    async with working(tmp_path) as desk:
        outcome = await desk.gate(*PYTEST, path, "--junitxml=r.xml")
        stale = await desk.gate("echo", "--junitxml=r.xml", attempt=2)
    assert outcome.check is not None
    assert (outcome.check.judged_by, outcome.check.tests) == ("junit xml", 1)
    assert stale.check is not None
    assert stale.check.judged_by == "exit_code"


async def test_what_no_runner_wrote_is_judged_by_its_exit_code_and_so_recorded(
    tmp_path: Path,
) -> None:
    async with working(tmp_path) as desk:
        outcome = await desk.gate("sh", "-c", "echo all is well")
    assert outcome.check is not None
    assert (outcome.check.judged_by, outcome.check.tests) == ("exit_code", None)
    assert (outcome.check.key, outcome.check.unkeyed) == (
        None,
        "there is no tree: the folder is in no git work tree of this user",
    )


# --- keys ----------------------------------------------------------------------------------------


async def check(desk: Desk, *command: str, attempt: int = 1) -> Check:
    found = (await desk.gate(*command, attempt=attempt)).check
    assert found is not None
    return found


async def test_in_a_work_tree_a_verdict_has_a_key_and_the_same_once_more(tmp_path: Path) -> None:
    repository(tmp_path)
    async with working(tmp_path) as desk:
        first = await check(desk, "true")
        again = await check(desk, "true", attempt=2)
        (tmp_path / "code.py").write_text("x = 2\n")
        other = await check(desk, "true", attempt=3)
    assert first.key is not None
    assert again.key == first.key
    assert other.key not in {None, first.key}


async def test_a_verdict_on_a_tree_that_moved_meanwhile_has_no_key(tmp_path: Path) -> None:
    repository(tmp_path)
    async with working(tmp_path) as desk:
        found = await check(desk, "touch", "new.py")
    assert (found.key, found.unkeyed) == (None, "the tree changed while it ran")


async def test_a_verdict_beside_ignored_files_that_moved_meanwhile_has_no_key(
    tmp_path: Path,
) -> None:
    repository(tmp_path)
    async with working(tmp_path) as desk:
        found = await check(desk, "touch", "build.o")
        cached = await check(desk, "mkdir", "-p", "__pycache__", attempt=2)
    assert found.unkeyed == "the tree changed while it ran"
    assert cached.key is not None


async def test_a_tree_that_takes_too_long_is_none_and_not_looked_at_again(tmp_path: Path) -> None:
    repository(tmp_path)
    async with working(tmp_path, look_timeout_s=0.0) as desk:
        found = [await check(desk, "true", attempt=n) for n in (1, 2)]
    assert {each.unkeyed for each in found} == {"its tree takes longer than 0 s to look at"}


async def test_who_waits_for_a_look_does_not_take_up_one_that_took_too_long_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = tmp_path / "git"
    git.write_text('#!/bin/sh\necho look >>"$0.calls"\nexec sleep 60\n')
    git.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    limits = Limits(look_timeout_s=0.2)
    bench = Bench(Site(state_dir=tmp_path / "s", output_dir=tmp_path / "s", limits=limits))
    async with anyio.create_task_group() as group:
        for n in range(4):
            asked = RunGate(
                f"test_gate:r/gate:g{n}~1", 1, ("true",), 9.0, ".", {}, (), str(tmp_path)
            )
            group.start_soon(bench.witness(asked).before)
    assert (tmp_path / "git.calls").read_text() == "look\n"


async def test_a_known_verdict_is_told_without_running_anything(tmp_path: Path) -> None:
    repository(tmp_path)
    known = Outcome(exit_code=0, check=Check("pytest", 7, reused_from="old"))
    async with working(tmp_path) as desk:
        desk.work.look_up(lambda _key: known)
        outcome = await desk.gate("touch", str(tmp_path / "ran"))
        fresh = await desk.gate("true", attempt=2, fresh=True)
    assert not (tmp_path / "ran").exists()
    assert outcome.check is not None
    assert (outcome.check.reused_from, outcome.check.tests) == ("old", 7)
    assert fresh.check is not None
    assert fresh.check.reused_from is None


# --- whole runs ----------------------------------------------------------------------------------


def beside(what: spec.Plan) -> spec.Plan:
    """The plan with a task that keeps its run going."""
    task = spec.Task(command=("sleep", "60"))
    streams = {**what.workstreams, "b": spec.Workstream(tasks={"y": task})}
    return msgspec.structs.replace(what, workstreams=streams)


async def ran(rt: Runtime, what: spec.Plan) -> str:
    return await (await rt.submit(what)).wait()


async def test_a_gate_that_passed_is_not_run_again_while_nothing_changed(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    count = tmp_path / "count"
    what = plan(repo, "sh", "-c", f"echo ran >>{count}")
    async with open_runtime(repo / ".state") as rt:
        assert await ran(rt, what) == "completed"
        assert await ran(rt, what) == "completed"
        (repo / "code.py").write_text("x = 2\n")
        assert await ran(rt, what) == "completed"
    assert count.read_text().split() == ["ran", "ran"]
    first, second, third = gates(repo)
    assert second["check"]["reused_from"] == first["id"]
    assert (second["state"], second["exit_code"]) == ("passed", 0)
    assert "reused_from" not in third["check"]
    noted = rows(repo, "SELECT metadata FROM state_transitions WHERE to_state = 'passed'")
    assert [msgspec.json.decode(text)["reused_from"] for (text,) in noted] == [
        None,
        first["id"],
        None,
    ]


async def test_a_verdict_survives_its_owner(tmp_path: Path) -> None:
    repo = repository(tmp_path)
    for _ in range(3):
        async with open_runtime(repo / ".state") as rt:
            assert await ran(rt, plan(repo, "true")) == "completed"
    first, second, third = gates(repo)
    assert second["check"]["reused_from"] == third["check"]["reused_from"] == first["id"]


async def test_a_failure_is_run_again_and_ends_the_reuse_of_what_passed_before(
    tmp_path: Path,
) -> None:
    """The same key and another verdict: what matters is more than the key knows of."""
    repo = repository(tmp_path / "repo")
    switch = tmp_path / "switch"
    switch.touch()
    what = plan(repo, "sh", "-c", f"test -e {switch}")
    async with open_runtime(repo / ".state") as rt:
        assert await ran(rt, what) == "completed"
        first = gates(repo)[0]
        switch.unlink()
        run = await rt.submit(beside(what))
        await until(lambda: len(gates(repo)) == 2 and gates(repo)[1]["state"] == "passed")
        rerun = m.RerunGate(gates(repo)[1]["id"], "ann")
        await rt.ask(f"run:{run.id}", rerun, control=True)
        await until(lambda: len(gates(repo)) == 3 and gates(repo)[2]["state"] == "failed")
        await rt.ask(f"run:{run.id}", m.Cancel("enough", "ann"), control=True)
        await run.wait()
        assert gates(repo)[2]["check"]["key"] == first["check"]["key"]
        assert passed_with(rt.db_path, first["check"]["key"]) is None
        assert await ran(rt, what) == "failed"
        assert "reused_from" not in gates(repo)[3]["check"]


async def test_a_rerun_runs_whatever_is_known(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    async with open_runtime(repo / ".state") as rt:
        run = await rt.submit(beside(plan(repo, "true")))
        await until(lambda: any(g["state"] == "passed" for g in gates(repo)))
        gate = gates(repo)[0]["id"]
        answer = await rt.ask(f"run:{run.id}", m.RerunGate(gate, "ann"), control=True)
        assert isinstance(answer, m.Accepted)
        await until(lambda: [g["state"] for g in gates(repo)] == ["passed", "passed"])
        await rt.ask(f"run:{run.id}", m.Cancel("enough", "ann"), control=True)
        await run.wait()
    again = gates(repo)[1]
    assert again["retry_of"] == gate
    assert "reused_from" not in again["check"]
    assert again["check"]["key"] == gates(repo)[0]["check"]["key"]


async def test_a_gate_without_tests_blames_nobody_and_waits_for_a_person(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    async with open_runtime(tmp_path / ".state") as rt:
        run = await rt.submit(plan(tmp_path, *PYTEST, path))
        await until(lambda: gates(tmp_path) and gates(tmp_path)[0]["state"] == "failed")
        await until(lambda: rt.waits_for_person() == [run.id])
        (gate,) = gates(tmp_path)
        assert gate["reason"] == "infrastructure: no test was executed, says pytest"
        assert rows(tmp_path, "SELECT state FROM tasks") == [("blocked",)]
        write(tmp_path, "def test_a(): pass\n")
        await rt.ask(f"run:{run.id}", m.RerunGate(gate["id"], "ann"), control=True)
        assert await run.wait() == "completed"
    (breaker,) = rows(tmp_path, "SELECT tool, state FROM circuit_breakers")
    assert breaker == ("gate.unit", "closed")


# --- the gate's own breaker ----------------------------------------------------------------------


async def test_a_gate_behind_a_breaker_that_is_held_waits_for_a_person_and_why_says_so(
    tmp_path: Path,
) -> None:
    what = plan(tmp_path, "true")
    async with open_runtime(tmp_path / ".state") as rt:
        assert await ran(rt, what) == "completed"
        ((breaker,),) = rows(tmp_path, "SELECT id FROM circuit_breakers")
        await rt.ask(f"circuit_breaker:{breaker}", Hold("ann", "the suite is being moved"))
        run = await rt.submit(what)
        await until(lambda: rt.waits_for_person() == [run.id])
        gate = gates(tmp_path)[1]["id"]
        assert gates(tmp_path)[1]["state"] == "pending"
        with closing(connect(rt.db_path)) as db:
            db.row_factory = sqlite3.Row
            said = why(db, "test_gate", gate, now=2_000_000_000.0)
            row = breakers(db, [breaker])[0]
            behind = why(db, "circuit_breaker", breaker, now=2_000_000_000.0)
        assert said.causes[0].text.startswith("its tool gate.unit is shut")
        assert said.causes[0].reason == "the suite is being moved"
        assert row.parked == 1
        assert any(gate in cause.text for cause in behind.causes)
        await rt.ask(f"circuit_breaker:{breaker}", ForceClose("ann", "moved"))
        assert await run.wait() == "completed"


async def test_a_breaker_of_a_gate_is_open_after_a_restart_and_the_probe_closes_it(
    tmp_path: Path,
) -> None:
    what = plan(tmp_path, "true")
    async with open_runtime(tmp_path / ".state", clock=VirtualClock(autojump=False)) as rt:
        assert await ran(rt, what) == "completed"
        ((breaker,),) = rows(tmp_path, "SELECT id FROM circuit_breakers")
        await rt.ask(f"circuit_breaker:{breaker}", ForceOpen("ann", "let me see"))
        await rt.submit(what)
        await until(lambda: len(gates(tmp_path)) == 2 and gates(tmp_path)[1].get("queued"))
    clock = VirtualClock(autojump=False)
    async with open_runtime(tmp_path / ".state", clock=clock) as rt:
        (run_id,) = rt.unfinished_runs()
        await rt.wait_idle()
        assert gates(tmp_path)[1]["state"] == "pending"
        assert rt.waits_for_person() == []
        clock.advance(3600.0)
        assert await rt.wait_ended(f"run:{run_id}") == "completed"
    assert rows(tmp_path, "SELECT state FROM circuit_breakers") == [("closed",)]


# --- approvals -----------------------------------------------------------------------------------


async def test_a_run_waits_for_an_approval_over_restarts_and_goes_on_with_it(
    tmp_path: Path,
) -> None:
    what = plan(tmp_path, approval=True)
    async with open_runtime(tmp_path / ".state") as rt:
        run = await rt.submit(what)
        await until(lambda: rt.waits_for_person() == [run.id])
    async with open_runtime(tmp_path / ".state") as rt:
        await until(lambda: rt.waits_for_person() == [run.id])
        gate = f"test_gate:{gates(tmp_path)[0]['id']}"
        answer = await rt.ask(gate, m.Approve("ann", "fine"), control=True)
        assert answer.text == "approved"
        assert await rt.wait_ended(f"run:{run.id}") == "completed"
    (found,) = gates(tmp_path)
    assert (found["approver"], found["reason"]) == ("ann", "approved by ann: fine")
    said = rows(
        tmp_path,
        "SELECT event_type, operator FROM state_transitions WHERE entity_type = 'test_gate'"
        " AND operator IS NOT NULL ORDER BY seq",
    )
    assert ("gate_approved", "ann") in said


async def test_an_approval_with_a_timeout_still_waits_for_a_person(tmp_path: Path) -> None:
    async with open_runtime(tmp_path / ".state") as rt:
        run = await rt.submit(plan(tmp_path, approval=True, timeout_s=3600.0))
        await until(lambda: rt.waits_for_person() == [run.id])
        gate = f"test_gate:{gates(tmp_path)[0]['id']}"
        await rt.ask(gate, m.Reject("bob", "no"), control=True)
        assert await run.wait() == "failed"
    assert gates(tmp_path)[0]["reason"] == "rejected by bob: no"


@pytest.mark.parametrize("state", ["passed", "failed"])
async def test_what_cannot_be_read_is_not_known(tmp_path: Path, state: str) -> None:
    assert passed_with(tmp_path / f"{state}.db", "k") is None


async def test_a_verdict_of_a_form_that_is_not_ours_is_not_known(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    async with open_runtime(repo / ".state") as rt:
        run = await rt.submit(plan(repo, "true"))
        assert await run.wait() == "completed"
        key = gates(repo)[0]["check"]["key"]
        assert passed_with(rt.db_path, key) is not None
    with closing(sqlite3.connect(repo / ".state" / "banksman.db")) as db:
        db.execute("UPDATE test_gates SET value = json_set(value, '$.check.tests', 'many')")
        db.commit()
    assert passed_with(repo / ".state" / "banksman.db", key) is None
