"""Breakers and patches on the real kernel: what an owner that was followed by another has kept."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from actors import breaker, patch
from actors import guard_messages as guard
from actors import patch_messages as pm
from actors.messages import Accepted, Begin, Refused
from actors.spec import Breaker as BreakerSpec
from runtime import Runtime, VirtualClock, open_runtime
from runtime.store import OwnerBusy
from tests.runtime.disk_kit import SmallDisk, small_disk
from tests.runtime.kernel_kit import until

__all__ = ["small_disk"]

SPEC = BreakerSpec(failure_threshold=2, cooldown_s=60.0, jitter=0.0)
SEED = pm.PatchSeed(id="p1", run_id=None, task_id=None, base_commit="base", content="tree:abc")


def still() -> VirtualClock:
    """A clock that only the test moves."""
    return VirtualClock(autojump=False)


async def a_breaker(rt: Runtime) -> str:
    return await rt.spawn("circuit_breaker", breaker.create("ruff", ("ruff",), SPEC, 1_000_000.0))


async def call(rt: Runtime, ref: str, outcome: guard.CallOutcome) -> guard.Settled:
    ticket = await rt.ask(ref, guard.Admit())
    assert isinstance(ticket, guard.Ticket), ticket
    settled: guard.Settled = await rt.ask(ref, guard.Settle(ticket, outcome))
    return settled


async def trip(rt: Runtime, ref: str) -> None:
    for _ in range(2):
        await call(rt, ref, guard.CallOutcome.TOOL_FAILURE)


def audit(folder: Path) -> list[Any]:
    db = sqlite3.connect(f"file:{folder / '.state' / 'banksman.db'}?mode=ro", uri=True)
    try:
        return db.execute(
            "SELECT from_state, to_state, trigger, operator FROM state_transitions"
            " WHERE from_state IS NOT to_state AND from_state IS NOT NULL ORDER BY seq"
        ).fetchall()
    finally:
        db.close()


async def test_an_open_breaker_is_open_for_the_next_owner_with_the_rest_of_its_cooldown(
    tmp_path: Path,
) -> None:
    clock = still()
    async with open_runtime(tmp_path / ".state", clock=clock) as rt:
        ref = await a_breaker(rt)
        await trip(rt, ref)
        clock.advance(20.0)
        await rt.tell(ref, guard.Admit())
        await rt.wait_idle()
    later = VirtualClock(clock.now(), autojump=False)
    async with open_runtime(tmp_path / ".state", clock=later) as rt:
        refused = await rt.ask(ref, guard.Admit())
        assert (refused.state, refused.retry_after_s) == ("open", 40)
        later.advance(40.0)
        ticket = await rt.ask(ref, guard.Admit())
        assert ticket.serial == 1


async def test_a_probe_that_was_lost_with_its_owner_keeps_the_breaker_from_nobody(
    tmp_path: Path,
) -> None:
    clock = still()
    async with open_runtime(tmp_path / ".state", clock=clock) as rt:
        ref = await a_breaker(rt)
        await trip(rt, ref)
        clock.advance(60.0)
        lost = await rt.ask(ref, guard.Admit())
        assert lost.serial == 1
    async with open_runtime(tmp_path / ".state", clock=still()) as rt:
        late = await rt.ask(ref, guard.Settle(lost, guard.CallOutcome.OK))
        assert late.outcome is guard.CallOutcome.STALE
        assert (await call(rt, ref, guard.CallOutcome.OK)).state == "closed"


async def test_while_the_log_cannot_be_written_nobody_is_let_through_and_that_is_said_once(
    small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []

    async def pause(seconds: float) -> None:
        tries.append(seconds)
        await asyncio.sleep(0)

    clock = still()
    state = small_disk.root / ".state"
    async with open_runtime(state, clock=clock) as rt:
        ref = await a_breaker(rt)
        await trip(rt, ref)
        clock.advance(60.0)
        await rt.wait_idle()
        small_disk.fill()
        monkeypatch.setattr(rt._sup, "pause", pause)
        probe = asyncio.ensure_future(rt.ask(ref, guard.Admit()))
        await until(lambda: len(tries) >= 3)
        assert not probe.done()
        small_disk.free()
        assert (await probe).serial == 1
        assert rt.statistics()["trouble"] is None
    lines = (state / "banksman.log").read_text().splitlines()
    said = [json.loads(line)["event"] for line in lines]
    assert [word for word in said if "commit" in word] == ["not_committed", "committed_again"]


async def test_the_cooldowns_end_is_on_record_without_any_caller(tmp_path: Path) -> None:
    async with open_runtime(tmp_path / ".state", clock=VirtualClock()) as rt:
        ref = await a_breaker(rt)
        await trip(rt, ref)
        await rt.wait_idle()
        while (await rt.ask(ref, guard.WouldAdmit())).state == "open":
            await rt.wait_idle()
    assert audit(tmp_path) == [
        ("closed", "open", "failure_threshold_exceeded", None),
        ("open", "half_open", "cooldown_expired", None),
    ]


async def test_a_forced_close_is_two_rows_that_name_the_operator(tmp_path: Path) -> None:
    async with open_runtime(tmp_path / ".state", clock=still()) as rt:
        ref = await a_breaker(rt)
        await trip(rt, ref)
        await rt.ask(ref, guard.ForceClose("ann", "the disk is back"))
    assert audit(tmp_path)[1:] == [
        ("open", "half_open", "manual_override", "ann"),
        ("half_open", "closed", "manual_override", "ann"),
    ]


async def test_two_owners_of_one_breaker_there_cannot_be(tmp_path: Path) -> None:
    async with open_runtime(tmp_path / ".state", clock=still()):
        with pytest.raises(OwnerBusy):
            async with open_runtime(tmp_path / ".state", clock=still()):
                pytest.fail("a second owner")


ANSWERS: dict[str, Any] = {
    "patch_judge": pm.Judged(pm.Verdict.ACCEPT),
    "patch_apply": pm.Applied("base", "tip"),
    "patch_land": pm.Landed("tip"),
    "patch_compensate": pm.Compensated("revert"),
}


def performers(asked: list[str]) -> dict[str, Any]:
    def one(name: str) -> Any:
        async def perform(key: str, _order: Any, _perhaps_done: bool) -> Any:
            asked.append(key)
            return ANSWERS[name]

        return perform

    return {name: one(name) for name in ANSWERS}


async def test_a_patch_lands_and_is_rolled_back_through_its_performers(tmp_path: Path) -> None:
    asked: list[str] = []
    async with open_runtime(tmp_path / ".state", clock=still(), performers=performers(asked)) as rt:
        ref = await rt.spawn("patch_ledger", patch.create(SEED, 1_000_000.0), Begin())
        while isinstance(await rt.ask(ref, pm.Apply("base")), Refused):
            await rt.wait_idle()  # it is not staged yet
        assert await rt.wait_ended(ref) == "committed"
        plan = pm.Compensation("git_revert")
        await rt.ask(ref, pm.Rollback("ann", "it broke the nightly", plan))
        while await rt.wait_ended(ref) == "committed":
            await rt.wait_idle()  # its plan is being carried out
    assert asked == [
        "p1.1:patch_judge",
        "p1.1:patch_apply",
        "p1.1:patch_land",
        "p1.2:patch_compensate",
    ]
    assert [(row[1], row[3]) for row in audit(tmp_path)] == [
        ("validating", None),
        ("staged", None),
        ("applied", None),
        ("verified", None),
        ("committed", None),
        ("rolled_back", "ann"),
    ]


async def test_a_judge_that_nobody_registered_leaves_the_patch_pending_for_another_try(
    tmp_path: Path,
) -> None:
    async with open_runtime(tmp_path / ".state", clock=still()) as rt:
        ref = await rt.spawn("patch_ledger", patch.create(SEED, 1_000_000.0), Begin())
        async with aclosing(rt.events(since=0)) as events:
            async for event in events:
                if event["trigger"] == "validation_interrupted":
                    break
        assert "no performer is registered under 'patch_judge'" in event["reason"]
        assert isinstance(await rt.ask(ref, pm.Revalidate("ann", "it is there now")), Accepted)
