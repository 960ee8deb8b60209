"""The operator's hand on a runtime: health commands, evidence, suspended actors, versions."""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import messages as m
from actors import spec
from runtime import Runtime, TurnFailed, evidence, health, open_runtime
from runtime.commands import Order, ReasonWanted, UnknownCommand, command_for
from runtime.errors import UnknownActor
from runtime.limits import EVIDENCE_EDGE_BYTES_MAX
from runtime.store.read import connect
from runtime.view.why import why
from tests.runtime.kernel_kit import account, opened, total
from tests.runtime.ledger_actor import Add, Raise
from tests.runtime.work_kit import gone


def order(name: str, entity_id: str, **more: object) -> Order:
    return Order(name=name, entity_id=entity_id, operator="ann", **more)  # type: ignore[arg-type]


# --- which message, to whom ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "ref", "message"),
    [
        (order("approve", "r/gate:ok~1"), "test_gate:r/gate:ok~1", m.Approve("ann")),
        (order("reject", "r/gate:ok~1"), "test_gate:r/gate:ok~1", m.Reject("ann")),
        (order("rerun", "r/gate:ok~1"), "run:r", m.RerunGate("r/gate:ok~1", "ann")),
        (order("retry", "r/w/t"), "workstream:r/w", m.RetryTask("r/w/t", "ann")),
        (order("drain", "worker:p.1"), "worker:worker:p.1", m.Drain("ann")),
        (order("replace", "r/worker:p.1"), "worker:r/worker:p.1", m.Replace("ann")),
    ],
)
def test_a_command_goes_to_the_actor_that_can_carry_it_out(
    given: Order, ref: str, message: m.Message
) -> None:
    assert command_for(given) == (ref, message)


def test_a_breaker_is_told_by_the_kind_that_its_verb_implies() -> None:
    ref, message = command_for(order("breaker", "ruff-1", reason="x", args={"verb": "hold"}))
    assert (ref, type(message).__name__) == ("circuit_breaker:ruff-1", "Hold")


@pytest.mark.parametrize("name", ["override", "breaker"])
def test_what_bends_a_rule_is_not_done_without_a_reason(name: str) -> None:
    with pytest.raises(ReasonWanted, match="say --reason TEXT"):
        command_for(order(name, "r/w/t", args={"target": "failed", "verb": "open"}))


@pytest.mark.parametrize(("name", "id"), [("approve", "r/w/t"), ("skip", "r"), ("drain", "r/w")])
def test_a_command_that_is_not_for_this_kind_is_refused(name: str, id: str) -> None:
    with pytest.raises(UnknownCommand, match="there is no command"):
        command_for(order(name, id))


@asynccontextmanager
async def waiting(folder: Path) -> AsyncIterator[tuple[Runtime, str]]:
    """A runtime with a run whose only task waits for a person's approval."""

    async def well() -> None:
        pass

    plan = spec.Plan(
        run=spec.Run(name="r"),
        gates={"ok": spec.Gate(type="UNIT", approval=True)},
        workstreams={"w": spec.Workstream(tasks={"t": spec.Task(call="well", gates=("ok",))})},
    )
    async with open_runtime(folder / ".state", calls={"well": well}) as rt:
        run = await rt.submit(plan)
        await rt.wait_idle()
        yield rt, run.id


# --- a tool's health ------------------------------------------------------------------------------


async def test_a_health_command_passes_by_its_exit_code_and_says_what_it_printed(
    tmp_path: Path,
) -> None:
    assert await health.ask([sys.executable, "-c", "print('1.2')"], tmp_path) == health.Health(
        True, "exit code 0; 1.2"
    )
    ill = await health.ask([sys.executable, "-c", "raise SystemExit('gone')"], tmp_path)
    assert ill == health.Health(False, "exit code 1; gone")


async def test_a_health_command_that_is_missing_did_not_pass(tmp_path: Path) -> None:
    found = await health.ask(["./no-such-tool"], tmp_path)
    assert (found.passed, "cannot be started" in found.said) == (False, True)


async def test_a_health_command_that_does_not_end_is_killed_with_what_it_started(
    tmp_path: Path,
) -> None:
    script = "sleep 600 & echo $! ; wait"
    found = await health.ask(["sh", "-c", script], tmp_path, timeout_s=0.5)
    assert not found.passed
    assert gone(int(found.said.rpartition(" ")[2]))


async def test_a_health_command_that_leaves_a_daemon_behind_is_not_waited_for(
    tmp_path: Path,
) -> None:
    found = await health.ask(["sh", "-c", "sleep 600 & echo $!"], tmp_path, timeout_s=20.0)
    assert found.passed
    assert gone(int(found.said.rpartition(" ")[2]))


async def test_a_health_command_meets_no_shell(tmp_path: Path) -> None:
    found = await health.ask(
        [sys.executable, "-c", "import sys; print(sys.argv[1])", "$HOME"], tmp_path
    )
    assert found.said.endswith("$HOME")


async def test_of_a_flood_the_end_is_kept(tmp_path: Path) -> None:
    found = await health.ask([sys.executable, "-c", "print('x' * 10**6, 'end')"], tmp_path)
    assert found.said.endswith("x end")
    assert len(found.said) < 10_000


# --- evidence ------------------------------------------------------------------------------------


def test_a_small_file_is_kept_whole(tmp_path: Path) -> None:
    shown = tmp_path / "seen"
    shown.write_bytes(b"all is well\n")
    found = evidence.read(shown)
    assert (found.size, found.kept) == (12, b"all is well\n")
    kept = evidence.keep(found, tmp_path, "r/w/t")
    assert kept.path.read_bytes() == b"all is well\n"
    assert kept.path.stat().st_mode & 0o777 == 0o600
    assert found.sha256 in kept.said
    assert kept.said.endswith("all is well")


def test_of_a_large_file_the_ends_are_kept_and_all_is_digested(tmp_path: Path) -> None:
    data = b"first" + b"." * 5 * EVIDENCE_EDGE_BYTES_MAX + b"last"
    shown = tmp_path / "seen"
    shown.write_bytes(data)
    found = evidence.read(shown)
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.kept.startswith(b"first")
    assert found.kept.endswith(b"last")
    assert len(found.kept) < 2 * EVIDENCE_EDGE_BYTES_MAX + 100


async def test_what_was_shown_for_an_order_stays_when_the_same_is_ordered_again(
    tmp_path: Path,
) -> None:
    shown = tmp_path / "seen"
    shown.write_bytes(b"all is well\n")
    args: dict[str, Any] = {"target": "cancelled", "shown": evidence.read(shown)}
    async with waiting(tmp_path) as (rt, run_id):
        task = f"{run_id}/w/t"
        first = await rt.command("override", task, operator="ann", reason="fine", **args)
        again = await rt.command("override", task, operator="ann", reason="fine", **args)
        assert (type(first), type(again)) == (m.Accepted, m.Refused)
        (kept,) = (tmp_path / ".state" / "output").glob("*override*")
        assert kept.read_bytes() == b"all is well\n"


async def test_of_what_was_shown_for_an_order_that_was_not_taken_nothing_is_kept(
    tmp_path: Path,
) -> None:
    shown = tmp_path / "seen"
    shown.write_bytes(b"all is well\n")
    args: dict[str, Any] = {"target": "nonsense", "shown": evidence.read(shown)}
    async with waiting(tmp_path) as (rt, run_id):
        refused = await rt.command(
            "override", f"{run_id}/w/t", operator="ann", reason="fine", **args
        )
        assert isinstance(refused, m.Refused)
        with pytest.raises(UnknownActor):
            await rt.command("override", f"{run_id}/w/x", operator="ann", reason="fine", **args)
        assert list((tmp_path / ".state" / "output").glob("*override*")) == []


async def test_a_word_that_is_no_text_is_put_on_record_as_one(tmp_path: Path) -> None:
    shown = tmp_path / "\udcff"
    shown.write_bytes(b"all is well\n")
    args: dict[str, Any] = {"target": "cancelled", "shown": evidence.read(shown)}
    async with waiting(tmp_path) as (rt, run_id):
        orders = (
            await rt.command("pause", run_id, operator="\udcfe", reason="\udcff"),
            await rt.command("override", f"{run_id}/w/t", operator="a", reason="\udcff", **args),
        )
        assert [type(answer) for answer in orders] == [m.Accepted, m.Accepted]
        assert rt.suspended() == {}
        with closing(connect(rt.db_path)) as db:
            said = db.execute(
                "SELECT operator, reason FROM state_transitions WHERE to_state='paused'"
            )
            assert said.fetchall() == [("\\udcfe", "\\udcff")]


# --- what is not there ---------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "id"), [("retry", "/w/t~7"), ("rerun", "/gate:ok~7")])
async def test_a_command_for_what_is_not_there_leaves_nobody_waiting_for_it(
    tmp_path: Path, name: str, id: str
) -> None:
    async with waiting(tmp_path) as (rt, run_id):
        with pytest.raises(UnknownActor):
            await rt.command(name, f"{run_id}{id}", operator="ann")
        approved = await rt.command("approve", f"{run_id}/gate:ok~1", operator="ann")
        assert isinstance(approved, m.Accepted)
        with anyio.fail_after(20.0):
            assert await rt.wait_ended(f"run:{run_id}") == "completed"


# --- suspended actors ----------------------------------------------------------------------------


async def test_a_suspended_actor_is_explained_and_let_go_on_by_a_word(tmp_path: Path) -> None:
    async with opened(tmp_path) as rt:
        ref = await account(rt, "a")
        for _ in range(3):
            with pytest.raises(TurnFailed):
                await rt.ask(ref, Raise())
        with closing(connect(rt.db_path)) as db:
            db.row_factory = sqlite3.Row
            said = why(db, "account", "a", 0.0)
        assert "it is suspended" in said.summary
        assert said.moves[0].command == "banksman release a"
        answer = await rt.command("release", "a", operator="ann", reason="mended", kind="account")
        assert isinstance(answer, m.Accepted)
        await rt.tell(ref, Add(2))
        assert await total(rt, ref) == 2
        again = await rt.command("release", "a", operator="ann", kind="account")
        assert isinstance(again, m.Refused)


# --- versions ------------------------------------------------------------------------------------


async def ended_twice(folder: Path, stack: AsyncExitStack) -> tuple[Runtime, str]:
    """A runtime with a run that still goes on, whose task `t` and gate `no` have ended."""

    async def ill() -> None:
        raise ValueError("ill")

    plan = spec.Plan(
        run=spec.Run(name="r", on_blocked="wait"),
        gates={
            "ok": spec.Gate(type="UNIT", approval=True),
            "no": spec.Gate(type="UNIT", approval=True),
        },
        workstreams={
            "w": spec.Workstream(
                tasks={
                    "t": spec.Task(call="ill", max_retries=0, critical=False),
                    "u": spec.Task(call="ill", gates=("ok", "no")),
                }
            )
        },
    )
    opening = open_runtime(folder / ".state", calls={"ill": ill})
    rt = await stack.enter_async_context(opening)
    run = await rt.submit(plan)
    await rt.wait_idle()
    await rt.wait_ended(f"task:{run.id}/w/t")
    assert isinstance(await rt.command("reject", f"{run.id}/gate:no~1", operator="ann"), m.Accepted)
    await rt.wait_idle()
    return rt, run.id


def version_of(rt: Runtime, table: str, entity_id: str) -> int:
    with closing(connect(rt.db_path)) as db:
        query = f"SELECT version FROM {table} WHERE id = ?"
        version: int = db.execute(query, (entity_id,)).fetchone()[0]
        return version


@pytest.mark.parametrize(
    ("name", "table", "id"), [("retry", "tasks", "/w/t"), ("rerun", "test_gates", "/gate:no~1")]
)
async def test_of_two_orders_on_one_version_that_come_at_once_one_is_refused_as_stale(
    tmp_path: Path, name: str, table: str, id: str
) -> None:
    async with AsyncExitStack() as stack:
        rt, run_id = await ended_twice(tmp_path, stack)
        seen = version_of(rt, table, run_id + id)
        answers: list[m.Accepted | m.Refused] = []

        async def ask() -> None:
            said = await rt.command(name, run_id + id, operator="ann", if_version=seen)
            answers.append(said)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(ask)
        assert sorted(type(said).__name__ for said in answers) == ["Accepted", "Refused"]
        (refused,) = [said for said in answers if isinstance(said, m.Refused)]
        assert f"not {seen}: look again" in refused.reason


@pytest.mark.parametrize(("name", "id"), [("retry", "/w/t"), ("rerun", "/gate:no~1")])
async def test_an_order_that_was_refused_as_stale_keeps_nobody_waiting(
    tmp_path: Path, name: str, id: str
) -> None:
    async with AsyncExitStack() as stack:
        rt, run_id = await ended_twice(tmp_path, stack)
        refused = await rt.command(name, run_id + id, operator="ann", if_version=999)
        assert isinstance(refused, m.Refused)
        assert isinstance(await rt.command("cancel", f"{run_id}/w/u", operator="ann"), m.Accepted)
        with anyio.fail_after(20.0):
            await rt.wait_ended(f"run:{run_id}")
