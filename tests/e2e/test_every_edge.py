"""Every edge of seven machines is taken by a real scenario: real processes, SQLite and time.

What was taken is read from `state_transitions` afterwards; `-s` shows the table. The eighth
machine, the patch ledger's, has its scenarios where patches are.
"""

from __future__ import annotations

import sqlite3
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from runtime.kinds import KINDS
from tests.e2e import edges_runs, edges_workers
from tests.e2e.edges_stage import Stage, staged

MACHINES = ("run", "workstream", "task", "worker", "uet_worker", "test_gate", "circuit_breaker")

# An edge that no real scenario can take would stand here, with the reason.
NEVER: dict[tuple[str, str, str, str], str] = {}

AT_ONCE = 6


async def play(stage: Stage) -> list[str]:
    """Every scenario, some at a time: they share one owner, and nothing else. Returns how those
    failed that did."""
    places = anyio.CapacityLimiter(AT_ONCE)
    failed: list[str] = []

    async def one(scenario: Callable[[Stage], Awaitable[None]]) -> None:
        async with places:
            try:
                await scenario(stage)
            except Exception as error:  # noqa: BLE001 (the others have edges to take yet)
                at = traceback.extract_tb(error.__traceback__)[1]
                failed.append(f"{scenario.__name__}, line {at.lineno}: {at.line}: {error!r}")

    async with anyio.create_task_group() as group:
        for scenario in (*edges_workers.SCENARIOS, *edges_runs.SCENARIOS):
            group.start_soon(one, scenario)
    return failed


def taken(state: Path) -> dict[tuple[str, str, str, str], int]:
    db = sqlite3.connect(f"file:{state / 'banksman.db'}?mode=ro", uri=True)
    try:
        return {
            (kind, source, target, trigger): times
            for kind, source, target, trigger, times in db.execute(
                "SELECT entity_type, from_state, to_state, trigger, count(*)"
                " FROM state_transitions WHERE from_state IS NOT NULL"
                " AND event_type = entity_type || '_state_transition' GROUP BY 1, 2, 3, 4"
            )
        }
    finally:
        db.close()


@pytest.mark.slow
async def test_every_edge_is_taken_by_a_real_scenario(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        failed = await play(stage)
    found = taken(tmp_path / "state")
    missing = []
    for name in MACHINES:
        edges = [(name, str(e.source), str(e.target), e.trigger) for e in KINDS[name].chart.edges]
        print(f"\n{name}: {sum(edge in found for edge in edges)} of {len(edges)} edges")
        for edge in edges:
            _, source, target, trigger = edge
            times = found.get(edge, 0)
            print(f"  {times:6}  {source} -> {target}  {trigger}  {NEVER.get(edge, '')}")
        missing += [edge for edge in edges if edge not in found and edge not in NEVER]
    assert failed == []
    assert missing == []
    assert not NEVER.keys() & found.keys()
