"""Histories: an answer that no order explains is found, and no other is blamed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import msgspec
import pytest

from actors import effects as fx
from actors import messages as m
from actors.machine import Decision
from runtime.kinds import user_kind
from runtime.sim import faults
from runtime.sim.case import Case, Config
from runtime.sim.engine import run_case
from runtime.sim.histories import check_linearizable
from runtime.sim.scenario import Scenario, Sim


class Asked(msgspec.Struct, frozen=True):
    """One question; `returned` None: nobody knows what came of it."""

    message: tuple[str, int]
    invoked: int
    returned: int | None = None
    answer: Any = None
    error: str | None = None
    client: str = "ann"
    ref: str = "register:a"


class Register:
    """Holds one number: ("read", 0), ("write", n), ("add", n) which answers the sum."""

    def initial(self, _ref: str) -> int:
        return 0

    def step(self, state: int, message: tuple[str, int]) -> tuple[int, Any]:
        what, number = message
        if what == "read":
            return state, state
        if what == "write":
            return number, "ok"
        return state + number, state + number


def read(answer: int, invoked: int, returned: int | None, **more: Any) -> Asked:
    return Asked(("read", 0), invoked, returned, answer, **more)


def write(number: int, invoked: int, returned: int | None, **more: Any) -> Asked:
    return Asked(("write", number), invoked, returned, "ok", **more)


def test_one_after_the_other_is_explained() -> None:
    found = check_linearizable([write(1, 1, 2), read(1, 3, 4)], Register())
    assert found.ok
    assert found.text == "linearizable"


def test_a_read_of_what_was_overwritten_before_is_found() -> None:
    late = read(1, 5, 6, client="bob")
    found = check_linearizable([write(1, 1, 2), write(2, 3, 4), late], Register())
    assert found.ok is False
    assert found.culprit == late
    assert found.ref == "register:a"
    assert "bob asked ('read', 0) and was told 1" in found.text


def test_what_overlaps_may_have_come_in_either_order() -> None:
    both = [write(1, 1, 10), write(2, 2, 9)]
    for answer in (1, 2):
        assert check_linearizable([*both, read(answer, 11, 12)], Register()).ok
    assert check_linearizable([*both, read(0, 11, 12)], Register()).ok is False


def test_two_readers_may_not_see_two_writes_in_different_orders() -> None:
    both = [write(1, 1, 4), write(2, 1, 4)]
    ann, bob = [read(1, 5, 6), read(2, 7, 8)], [read(2, 5, 6), read(1, 7, 8)]
    assert check_linearizable([*both, *ann], Register()).ok is False
    assert check_linearizable([*both, *bob], Register()).ok is False
    assert check_linearizable([*both, ann[0]], Register()).ok


def test_a_question_without_an_answer_may_have_been_taken_at_any_time_or_never() -> None:
    lost = write(1, 1, None)
    assert check_linearizable([lost, read(0, 2, 3)], Register()).ok
    assert check_linearizable([lost, read(0, 2, 3), read(1, 4, 5)], Register()).ok
    assert check_linearizable([lost, read(1, 2, 3), read(0, 4, 5)], Register()).ok is False


def test_a_question_that_failed_may_have_been_taken_after_all() -> None:
    failed = msgspec.structs.replace(write(1, 1, 2), error="the owner ended")
    assert check_linearizable([failed, read(0, 3, 4)], Register()).ok
    assert check_linearizable([failed, read(1, 3, 4)], Register()).ok


def test_a_question_is_not_taken_before_it_was_asked() -> None:
    assert check_linearizable([read(1, 1, 2), write(1, 3, None)], Register()).ok is False


def test_actors_are_checked_apart() -> None:
    one = [write(1, 1, 2), read(1, 3, 4)]
    other = [msgspec.structs.replace(each, ref="register:b") for each in (read(0, 3, 4),)]
    assert check_linearizable([*one, *other], Register()).ok
    wrong = [msgspec.structs.replace(each, ref="register:b") for each in (read(1, 3, 4),)]
    assert check_linearizable([*one, *wrong], Register()).ref == "register:b"


def test_more_steps_than_it_may_take_are_no_verdict() -> None:
    many = [write(n, 1, 1000) for n in range(40)]
    found = check_linearizable([*many, read(-1, 2000, 2001)], Register(), steps_max=5_000)
    assert found.ok is None
    assert found.text.startswith("not known within 5001 steps")


def test_a_model_may_hold_what_cannot_be_hashed() -> None:
    class Shelf:
        def initial(self, _ref: str) -> list[int]:
            return []

        def step(self, state: list[int], message: tuple[str, int]) -> tuple[list[int], Any]:
            after = [*state, message[1]]
            return after, len(after)

    put = [Asked(("put", 5), 1, 10, 2), Asked(("put", 6), 2, 9, 1)]
    assert check_linearizable(put, Shelf()).ok
    assert check_linearizable([*put, Asked(("put", 7), 11, 12, 2)], Shelf()).ok is False


# --- of simulated actors --------------------------------------------------------------------------


class Cell(msgspec.Struct, frozen=True):
    """A number, and the one before it."""

    id: str
    number: int = 0
    before: int = 0


class Add(m.Message, frozen=True):
    """Adds one, and answers the sum."""


class Get(m.Message, frozen=True):
    """Answers the number."""


def count(cell: Cell, message: Add | Get, _now: float) -> Decision[Cell]:
    match message:
        case Add():
            more = msgspec.structs.replace(cell, number=cell.number + 1, before=cell.number)
            return Decision(more, (), (fx.Reply(more.number),))
        case Get():
            return Decision(cell, (), (fx.Reply(cell.number),))


def count_stale(cell: Cell, message: Add | Get, now: float) -> Decision[Cell]:
    if isinstance(message, Get) and cell.number == 2:
        return Decision(cell, (), (fx.Reply(cell.before),))
    return count(cell, message, now)


class Counting:
    """What a cell should be."""

    def initial(self, _ref: str) -> int:
        return 0

    def step(self, state: int, message: Add | Get) -> tuple[int, int]:
        after = state + isinstance(message, Add)
        return after, after


def two_clients(decide: Any) -> Scenario:
    """Two clients ask one cell, under every fault there is."""

    def scenario(sim: Sim) -> None:
        sim.register(user_kind("cell", Cell, decide, Add | Get))
        ref = sim.spawn("cell", Cell("c"))
        for n, client in enumerate(("ann", "bob") * 4):
            sim.ask(ref, Add() if n % 3 == 0 else Get(), at=5.0 + n, client=client)
        sim.model(Counting(), "cell:")

    return Scenario("tests.sim.test_histories:two_clients", scenario)


@pytest.mark.parametrize("seed", range(12))
def test_a_cell_answers_as_its_reference_model_through_every_fault(seed: int) -> None:
    result = run_case(two_clients(count), Case("two_clients", seed, Config(faults=faults.default)))
    assert result.failure is None
    assert result.coverage.always["the reference model agrees"] >= 5


def test_a_stale_answer_is_held_against_the_reference_model() -> None:
    failures = [
        run_case(two_clients(count_stale), Case("two_clients", seed)).failure for seed in range(3)
    ]
    assert {f.invariant for f in failures if f is not None} == {"the reference model agrees"}
    assert all(failure is not None for failure in failures)


# --- against brute force --------------------------------------------------------------------------


def brute_force(history: list[Asked]) -> bool:
    """Every order of every choice of the unanswered: the definition itself."""
    must = [a for a in history if a.returned is not None and a.error is None]
    may = [a for a in history if a not in must]
    for chosen in _subsets(may):
        for order in permutations([*must, *chosen]):
            if _in_time(order) and _explains(order):
                return True
    return False


def _subsets(items: list[Asked]) -> Iterator[list[Asked]]:
    for mask in range(1 << len(items)):
        yield [item for n, item in enumerate(items) if mask >> n & 1]


def _in_time(order: tuple[Asked, ...]) -> bool:
    """No one comes after somebody who was asked only when it had been answered."""
    for n, one in enumerate(order):
        for later in order[n + 1 :]:
            end = later.returned if later.returned is not None and later.error is None else None
            if end is not None and end < one.invoked:
                return False
    return True


def _explains(order: tuple[Asked, ...]) -> bool:
    model, state = Register(), 0
    for each in order:
        state, answer = model.step(state, each.message)
        if each.returned is not None and each.error is None and answer != each.answer:
            return False
    return True


def some_history(draw: random.Random) -> list[Asked]:
    """A few questions by a few clients, some lost; answers true of some order, or merely likely."""
    history: list[Asked] = []
    free = dict.fromkeys(("ann", "bob", "eve"), 0)
    value = 0
    for _ in range(draw.randint(1, 6)):
        client = draw.choice(list(free))
        invoked = free[client] + draw.randint(1, 3)
        what = draw.choice(["read", "read", "write", "add"])
        message = (what, draw.randint(1, 2))
        value, answer = Register().step(value, message)
        if what != "write" and draw.random() < 0.3:
            answer = draw.randint(0, 4)
        returned: int | None = invoked + draw.randint(1, 6)
        free[client] = returned or 0
        if draw.random() < 0.2:
            returned = None
        error = "lost" if draw.random() < 0.1 else None
        history.append(Asked(message, invoked, returned, answer, error, client))
    return history


@pytest.mark.parametrize("seed", range(8))
def test_it_says_what_brute_force_says(seed: int) -> None:
    draw = random.Random(seed)
    verdicts = []
    for _ in range(500):
        history = some_history(draw)
        found = check_linearizable(history, Register())
        assert found.ok is brute_force(history), history
        verdicts.append(found.ok)
    assert 50 < sum(map(bool, verdicts)) < 450


def test_the_order_that_it_names_is_one_that_explains() -> None:
    draw = random.Random(99)
    for _ in range(300):
        found = check_linearizable(some_history(draw), Register())
        if found.ok and found.order:
            assert _in_time(found.order)
            assert _explains(found.order)
