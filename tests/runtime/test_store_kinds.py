"""Kinds of actors: ours, and users' own, as they are stored and read back."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors import breaker, gate, patch, spec, uet_worker
from actors.machine import Chart, Decision, Edge
from actors.messages import Message, Recovered
from actors.patch_messages import PatchSeed
from runtime.kinds import KINDS, user_kind
from runtime.store import Change, ConstraintFailed
from runtime.store.verify import verify
from tests.runtime.store_kit import Hand, a_run, a_task, a_worker, a_workstream, open_store, plain


class State(StrEnum):
    SHUT = "shut"
    OPEN = "open"
    WALLED_UP = "walled_up"


CHART = Chart(
    "door",
    State,
    State.SHUT,
    (State.WALLED_UP,),
    (
        Edge("shut", "open", "pushed"),
        Edge("open", "shut", "pulled"),
        Edge("shut", "walled_up", "walled_up", "critical"),
    ),
)


class Push(Message, frozen=True):
    """Opens."""


class Door(msgspec.Struct, frozen=True):
    id: str
    state: State = State.SHUT
    pushes: int = 0


class Bell(msgspec.Struct, frozen=True):
    id: str
    rings: int = 0


class Untagged(msgspec.Struct):
    """A message that JSON cannot tell from another."""


def decide(value: Door, _message: Push, _now: float) -> Decision[Door]:
    return Decision(value)


DOOR = user_kind("door", Door, decide, Push, CHART)
BELL = user_kind("bell", Bell, decide, Push)


async def test_a_users_actor_takes_the_edges_of_its_own_chart(tmp_path: Path) -> None:
    shut, opened = Door("front"), Door("front", State.OPEN, 1)
    async with await open_store(tmp_path, kinds=[DOOR]) as store:
        hand = Hand(store, (DOOR,))
        hand.born("door", shut)
        hand.move("door", shut, opened, "pushed")
        await hand.commit()
        hand.move("door", opened, Door("front", State.WALLED_UP), "walled_up")
        with pytest.raises(ConstraintFailed, match="the edge is not in the chart"):
            await hand.commit()
        stored = await store.load(DOOR, "front")
    assert stored is not None
    assert stored.value == opened


async def test_a_users_actor_that_has_ended_is_not_among_the_unfinished(tmp_path: Path) -> None:
    shut, walled_up = Door("front"), Door("front", State.WALLED_UP)
    async with await open_store(tmp_path, kinds=[DOOR]) as store:
        hand = Hand(store, (DOOR,))
        hand.born("door", Door("back"))
        hand.born("door", shut)
        hand.move("door", shut, walled_up, "walled_up")
        await hand.commit()
        unfinished = [s.address async for page in store.unfinished() for s in page]
    assert unfinished == ["door:back"]


async def test_a_users_actor_without_a_chart_is_kept(tmp_path: Path) -> None:
    async with await open_store(tmp_path, kinds=[BELL]) as store:
        hand = Hand(store, (BELL,))
        hand.born("bell", Bell("front"))
        await hand.commit()
        hand.note("bell", Bell("front", 1), "rung")
        await hand.commit()
        stored = await store.load(BELL, "front")
    assert stored is not None
    assert (stored.value, stored.version) == (Bell("front", 1), 2)


async def test_an_actor_of_an_unknown_kind_is_accounted_for_without_its_value(
    tmp_path: Path,
) -> None:
    async with await open_store(tmp_path, kinds=[BELL]) as store:
        hand = Hand(store, (BELL,))
        hand.born("bell", Bell("front"))
        await hand.commit()
    async with await open_store(tmp_path) as store:
        unfinished = [(s.address, s.value) async for page in store.unfinished() for s in page]
    assert unfinished == [("bell:front", None)]


async def test_the_edges_of_a_users_chart_are_recorded_once(tmp_path: Path) -> None:
    for _ in range(2):
        async with await open_store(tmp_path, kinds=[DOOR, BELL]):
            pass
    db = plain(tmp_path)
    edges = db.execute("SELECT * FROM legal_edges WHERE machine = 'door'").fetchall()
    db.close()
    assert sorted(edges) == sorted(
        ("door", e.source, e.target, e.trigger, e.severity) for e in CHART.edges
    )


def one_of_each() -> dict[str, Any]:
    pool = spec.WorkerSeed(id="worker:local.1", run_id=None, pool="local", slot=spec.Pool())
    patches = PatchSeed(id="p1", run_id=None, task_id=None, base_commit="c0ffee", content="t1")
    gates = spec.GateSeed(run_id="r", name="unit", n=1, gate=spec.Gate(command=("true",)))
    return {
        "run": a_run(idempotency_key="k"),
        "workstream": a_workstream(),
        "task": a_task("t", exit_code=3),
        "worker": a_worker(),
        "uet_worker": uet_worker.create(spec.UetSeed(worker=pool, n=1), 1_000_000.0),
        "test_gate": gate.create(gates, 1_000_000.0),
        "circuit_breaker": breaker.create("ruff", ("ruff",), spec.Breaker(), 1_000_000.0),
        "patch_ledger": patch.create(patches, 1_000_000.0),
    }


@pytest.mark.parametrize("name", KINDS)
async def test_an_actor_of_each_machine_is_read_back_as_it_was(tmp_path: Path, name: str) -> None:
    value = one_of_each()[name]
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        hand.born(name, value)
        await hand.commit()
        stored = await store.load(KINDS[name], value.id)
    assert stored is not None
    assert stored.value == value
    assert verify(tmp_path).whole


@pytest.mark.parametrize("name", KINDS)
def test_a_row_holds_only_what_sqlite_binds_at_once(name: str) -> None:
    change = Change(KINDS[name], 1, one_of_each()[name], None, 1, 1, "{}", True)
    row = (*KINDS[name].new_row(change), *KINDS[name].changed_row(change))
    assert {type(column) for column in row} <= {str, int, float, type(None)}


def test_a_users_inbox_holds_what_the_kernel_sends() -> None:
    assert BELL.decode_message('{"type":"Push"}') == Push()
    assert BELL.decode_message('{"type":"Recovered","epoch":3}') == Recovered(3)


def test_one_of_our_messages_is_read_back_by_each_of_our_machines() -> None:
    for kind in KINDS.values():
        assert kind.decode_message('{"type":"Recovered","epoch":3}') == Recovered(3)


def test_a_users_message_is_none_of_ours() -> None:
    with pytest.raises(msgspec.ValidationError):
        KINDS["task"].decode_message('{"type":"Push"}')


def test_the_eight_machines_are_kinds() -> None:
    assert {name: kind.table for name, kind in KINDS.items()} == {
        "run": "runs",
        "workstream": "workstreams",
        "task": "tasks",
        "worker": "workers",
        "uet_worker": "uet_workers",
        "test_gate": "test_gates",
        "circuit_breaker": "circuit_breakers",
        "patch_ledger": "patch_ledger",
    }


@pytest.mark.parametrize("name", ["task", "dispatch", "two words", "a:b", ""])
def test_a_kind_needs_a_name_of_its_own(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a kind"):
        user_kind(name, Bell, decide, Push)


def test_a_kind_whose_messages_cannot_be_told_apart_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cannot be read back from JSON.*tagged"):
        user_kind("gong", Bell, decide, Untagged)


def test_a_chart_has_the_name_of_its_kind() -> None:
    with pytest.raises(ValueError, match="the chart of the kind 'gong' is named 'door'"):
        user_kind("gong", Door, decide, Push, CHART)
