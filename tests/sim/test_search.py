"""The search: every state of a small world once, and the nearest one that breaks a promise."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from actors import effects as fx
from actors import messages as m
from actors import spec, task, uet_worker
from actors.machine import Decision
from actors.waits import Waits
from runtime.kinds import Kind, user_kind
from runtime.sim.search import SearchResult, explore
from runtime.sim.small import SmallWorld
from runtime.sim.view import View
from tests.sim.search_kit import gated, plan, reached, world

# --- what it visits -------------------------------------------------------------------------------


def test_a_small_world_is_searched_to_its_end() -> None:
    found = explore(world(2, 1))
    assert found.complete
    assert found.failure is None
    assert found.at_rest == 1
    assert str(found).startswith("complete within these bounds (crashes ≤ 0, drops ≤ 0")


@pytest.mark.parametrize(
    ("small", "crashes"),
    [
        (lambda: world(2, 1), 0),
        (lambda: world(2, 2), 0),
        (lambda: world(1, 1, fails=True, max_retries=1), 0),
        (lambda: world(1, 1, deaths=1), 0),
        (lambda: world(1, 1), 1),
        (lambda: gated(validate=("g",), max_retries=1), 0),
    ],
)
def test_the_reduction_loses_no_state(small: Any, crashes: int) -> None:
    whole = reached(small(), reduction=False, crashes=crashes)
    reduced = reached(small(), reduction=True, crashes=crashes)
    assert len(whole) > 100
    assert reduced == whole


def test_the_reduction_follows_hardly_more_transitions_than_there_are_states() -> None:
    whole, reduced = explore(world(2, 2), reduction=False), explore(world(2, 2))
    assert (whole.states, whole.at_rest) == (reduced.states, reduced.at_rest)
    assert reduced.transitions < whole.transitions / 3


def test_slots_that_are_alike_are_exchanged_for_one_another() -> None:
    whole, folded = explore(world(2, 2), symmetry=False), explore(world(2, 2))
    assert folded.complete
    assert whole.states / 2 <= folded.states <= whole.states * 0.55
    assert {s for _, s, _ in whole.coverage.pairs} == {s for _, s, _ in folded.coverage.pairs}


def test_every_way_to_end_is_found() -> None:
    ends = set()

    def watch(view: View) -> None:
        if view.quiescent:
            ends.add((str(view["run:r"].state), view["task:r/w/t0"].retry_count))

    explore(world(1, 1, fails=True, max_retries=1), [watch])
    assert ends == {("completed", 0), ("completed", 1), ("failed", 1)}


def test_a_crash_at_any_moment_loses_no_task_and_burns_no_attempt() -> None:
    ends = set()

    def watch(view: View) -> None:
        if view.quiescent:
            ends.add((str(view["run:r"].state), view["task:r/w/t0"].retry_count))

    found = explore(world(1, 1), [watch], crashes=1)
    assert found.complete
    assert ends == {("completed", 0)}


def test_a_gate_that_waits_for_a_person_is_no_deadlock() -> None:
    found = explore(gated(gates=("g",)))
    assert found.failure is None
    assert found.complete


def test_a_gate_that_is_asked_for_as_its_run_ends_is_not_made() -> None:
    """The request may be overtaken by the news of the end of everything that it is for."""
    small = gated(validate=("g",))
    small.tell("run:r", m.Cancel("enough", "ann"), control=True)
    found = explore(small, seconds_max=30.0)
    assert found.failure is None, found


def test_a_request_to_end_work_that_is_under_way_as_the_owner_dies_holds_nobody_up() -> None:
    found = explore(world(1, 1, timeout_s=5.0), crashes=1, states_max=60_000)
    assert found.failure is None, found


def test_a_slot_that_is_failed_by_hand_while_its_process_comes_up_comes_back() -> None:
    """The process says that it is up, and is asked to end, at the same moment."""
    small = world(1, 1)
    small.tell("worker:worker:local.1", m.Override("failed", "ann", "why"), control=True)
    found = explore(small, seconds_max=30.0)
    assert found.failure is None, found


# --- what it finds --------------------------------------------------------------------------------


class Account(msgspec.Struct, frozen=True):
    """A balance, and what was read of it."""

    id: str
    balance: int = 0


class Read(m.Message, frozen=True):
    teller: str


class Balance(m.Message, frozen=True):
    balance: int


class Write(m.Message, frozen=True):
    balance: int


class Deposit(m.Message, frozen=True):
    """To a teller: one coin."""


def keep(account: Account, message: Read | Write, _now: float) -> Decision[Account]:
    match message:
        case Read(teller):
            return Decision(account, (), (fx.Send(teller, Balance(account.balance)),))
        case Write(balance):
            return Decision(msgspec.structs.replace(account, balance=balance))


class Teller(msgspec.Struct, frozen=True):
    id: str


def serve(teller: Teller, message: Deposit | Balance, _now: float) -> Decision[Teller]:
    match message:
        case Deposit():
            return Decision(teller, (), (fx.Send("account:a", Read(f"teller:{teller.id}")),))
        case Balance(balance):
            return Decision(teller, (), (fx.Send("account:a", Write(balance + 1)),))


def bank(**how: Any) -> SmallWorld:
    """Two tellers who each put one coin into the same account."""
    kinds = [
        user_kind("account", Account, keep, Read | Write),
        user_kind("teller", Teller, serve, Deposit | Balance),
    ]
    small = SmallWorld(kinds=kinds, **how)
    small.spawn("account", Account("a"))
    for name in ("x", "y"):
        small.spawn("teller", Teller(name))
        small.tell(f"teller:{name}", Deposit())
    return small


def no_coin_is_lost(view: View) -> str | None:
    if view.under_way() or view["account:a"].balance == 2:
        return None
    return f"two coins were paid in, the balance is {view['account:a'].balance}"


def test_a_race_of_users_own_actors_is_found_with_the_shortest_way_to_it() -> None:
    found = explore(bank(), [no_coin_is_lost])
    assert found.failure is not None
    assert found.failure.invariant == "no_coin_is_lost"
    assert [h.what for h in found.happenings].count("Write") == 2
    assert len(found.happenings) == 8  # two coins, four messages each: none is superfluous


def test_the_reduction_finds_as_short_a_way() -> None:
    whole = explore(bank(), [no_coin_is_lost], reduction=False)
    assert len(whole.happenings) == len(explore(bank(), [no_coin_is_lost]).happenings)


def test_the_way_to_a_failure_names_who_took_what_from_whom() -> None:
    story = explore(bank(), [no_coin_is_lost]).happenings
    assert [h.n for h in story] == list(range(1, len(story) + 1))
    last = story[-1]
    assert (last.actor, last.what) == ("account:a", "Write")
    assert last.detail.startswith("from teller:")
    assert all(cause < h.n for h in story for cause in h.causes)
    assert all(a.n < b.n for a, b in pairwise(story))


def test_what_comes_from_outside_may_be_lost_where_there_is_a_budget_for_it() -> None:
    def both_coins(view: View) -> str | None:
        return "a coin is missing" if view.quiescent and _settled(view) else None

    def _settled(view: View) -> bool:
        return not view.under_way() and view["account:a"].balance == 0

    assert explore(bank(), [both_coins]).failure is None
    found = explore(bank(), [both_coins], drops=2)
    assert found.failure is not None
    assert [h.fault for h in found.happenings] == [True, True]


def test_a_decide_that_is_not_pure_is_found() -> None:
    calls: list[int] = []

    def forgetful(account: Account, _message: Read | Write, _now: float) -> Decision[Account]:
        calls.append(1)
        return Decision(msgspec.structs.replace(account, balance=len(calls)))

    small = SmallWorld(kinds=[user_kind("account", Account, forgetful, Read | Write)])
    small.spawn("account", Account("a"))
    small.tell("account:a", Write(1))
    found = explore(small)
    assert found.failure is not None
    assert found.failure.invariant == "decide is pure"


def test_a_decide_that_raises_is_found() -> None:
    def broken(_account: Account, _message: Read | Write, _now: float) -> Decision[Account]:
        raise ValueError("no")

    small = SmallWorld(kinds=[user_kind("account", Account, broken, Read | Write)])
    small.spawn("account", Account("a"))
    small.tell("account:a", Write(1))
    found = explore(small)
    assert found.failure is not None
    assert (found.failure.invariant, len(found.happenings)) == ("no turn raises", 1)


def _with(small: SmallWorld, kind: str, decide: Any) -> SmallWorld:
    """The world, with another `decide` of one of our machines."""
    small.machines[kind].decide = decide  # type: ignore[method-assign]
    return small


def test_a_task_that_starts_before_its_gate_has_passed_is_found() -> None:
    def hasty(value: task.Task, message: Any, now: float) -> Any:
        return task.decide(msgspec.structs.replace(value, gates=Waits()), message, now)

    found = explore(_with(gated(gates=("g",)), "task", hasty))
    assert found.failure is not None
    assert found.failure.invariant == "gates before starts"


def test_a_process_that_forgets_its_lease_ends_in_a_deadlock() -> None:
    def forgetful(value: uet_worker.UetWorker, message: Any, now: float) -> Any:
        decision = uet_worker.decide(value, message, now)
        if isinstance(message, m.WorkEnded):
            return msgspec.structs.replace(decision, effects=())
        return decision

    found = explore(_with(world(1, 1), "uet_worker", forgetful))
    assert found.failure is not None
    assert found.failure.invariant == "no deadlock"
    assert "r/w/t0 is running" in found.failure.text


# --- what it is held within -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "why"),
    [
        ({"states_max": 500}, "more than 500 states"),
        ({"depth_max": 10}, "deeper than 10 steps"),
    ],
)
def test_what_a_bound_cut_off_is_not_called_complete(bound: dict[str, int], why: str) -> None:
    found: SearchResult = explore(world(2, 2), **bound)  # type: ignore[arg-type]
    assert not found.complete
    assert found.cut == why
    assert str(found).startswith(f"not complete ({why}")


def test_a_depth_that_cuts_nothing_off_is_complete() -> None:
    assert explore(world(1, 1), depth_max=100).complete


# --- time -----------------------------------------------------------------------------------------


class Alarm(msgspec.Struct, frozen=True):
    """A clock with two timers."""

    id: str
    rang: tuple[str, ...] = ()


def ring(alarm: Alarm, message: Deposit | m.TimerFired, now: float) -> Decision[Alarm]:
    match message:
        case Deposit():
            late, soon = fx.SetTimer("late", now + 9.0), fx.SetTimer("soon", now + 5.0)
            return Decision(alarm, (), (late, soon))
        case m.TimerFired(key):
            return Decision(msgspec.structs.replace(alarm, rang=(*alarm.rang, key)))


def test_a_later_timer_does_not_overtake_one_that_is_due_before_it() -> None:
    def kind(first: str, second: str) -> Kind:
        def two(alarm: Alarm, message: Deposit | m.TimerFired, now: float) -> Decision[Alarm]:
            decision = ring(alarm, message, now)
            if isinstance(message, Deposit):
                by_key = {e.key: e for e in decision.effects}
                return msgspec.structs.replace(decision, effects=(by_key[first], by_key[second]))
            return decision

        return user_kind("alarm", Alarm, two, Deposit | m.TimerFired)

    def orders(first: str, second: str) -> set[tuple[str, ...]]:
        small = SmallWorld(kinds=[kind(first, second)])
        small.spawn("alarm", Alarm("a"))
        small.tell("alarm:a", Deposit())
        seen = set()

        def watch(view: View) -> None:
            if view.quiescent:
                seen.add(view["alarm:a"].rang)

        explore(small, [watch])
        return {rang for rang in seen if len(rang) == 2}

    assert orders("soon", "late") == {("soon", "late")}
    # Armed first and longer: how much earlier it was armed is not known, so either may be due.
    assert orders("late", "soon") == {("soon", "late"), ("late", "soon")}


def test_a_run_of_a_plan_with_pools_has_its_slots_and_a_timeout_may_strike() -> None:
    ends = set()

    def watch(view: View) -> None:
        if view.quiescent:
            ends.add(str(view["run:r"].state))

    small = SmallWorld()
    made = plan(1, timeout_s=5.0)
    small.submit(msgspec.structs.replace(made, workers={"p": spec.Pool(kind="inline", count=1)}))
    assert explore(small, [watch]).complete
    assert ends == {"completed", "failed"}
