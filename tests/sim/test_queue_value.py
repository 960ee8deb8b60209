"""The dispatcher as a value: it does what the real one does, and equal ones go on alike."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from actors import messages as m
from actors.dispatch import Dispatch
from actors.effects import Send
from runtime.sim.queue_value import Queue, Queues, queue

MACHINE = Queues()
TASKS = [f"task:r/w/t{n}" for n in range(4)]
SLOTS = [f"worker:worker:local.{n}" for n in (1, 2, 3)]
GATES = ["test_gate:r/gate:a~1", "test_gate:r/gate:b~1"]


def some_message(draw: random.Random) -> Any:
    task, slot, gate = draw.choice(TASKS), draw.choice(SLOTS), draw.choice(GATES)
    key = draw.choice([None, None, "db"])
    tool = draw.choice([None, "lint-1"])
    return draw.choice(
        [
            m.Enqueue(task, "r", "w", draw.randint(0, 1), (), key, tool=tool),
            m.Enqueue(task, "r", "w", 0, (), key),
            m.SlotFree(slot, None, "local", "process"),
            m.SlotFree(slot, None, "local", "process"),
            m.Dequeue(task),
            m.SlotGone(slot),
            m.KeyFree("r", "db"),
            m.HoldRun("r", draw.random() < 0.5),
            m.GateQueue(gate, "r"),
            m.GateDone(gate),
            m.ToolAllowance("lint-1", draw.choice([0, 1, 2, None]), draw.randint(0, 2)),
        ]
    )


def nameless(effects: tuple[Any, ...]) -> list[Any]:
    """The effects, whatever their leases are called."""
    return [
        (effect.to, effect.message.task)
        if isinstance(effect, Send) and isinstance(effect.message, m.Assign)
        else effect
        for effect in effects
    ]


def same(text: bytes) -> bytes:
    return text


@pytest.mark.parametrize("seed", range(20))
def test_it_answers_as_the_real_one(seed: int) -> None:
    draw = random.Random(seed)
    real, value = Dispatch(1, 2), queue(1, 2)
    for _ in range(60):
        message = some_message(draw)
        decision = MACHINE.decide(value, message, 0.0)
        assert nameless(decision.effects) == nameless(real.decide(message, 0.0))
        value = decision.state


def test_it_gives_no_lease_twice() -> None:
    draw = random.Random(7)
    value, leases = queue(3, 2), []
    for _ in range(500):
        decision = MACHINE.decide(value, some_message(draw), 0.0)
        value = decision.state
        leases += [e.message.lease for e in decision.effects if isinstance(e.message, m.Assign)]
    assert len(leases) > 20
    assert len(set(leases)) == len(leases)
    assert all(lease.startswith("3.") for lease in leases)


def test_those_that_are_written_alike_go_on_alike() -> None:
    draw = random.Random(1)
    known: dict[bytes, Queue] = {}
    met = 0
    for _ in range(150):
        value = queue(1, 2)
        for _ in range(draw.randint(1, 7)):
            value = MACHINE.decide(value, some_message(draw), 0.0).state
            other = known.setdefault(MACHINE.encode(value, same), value)
            if other is value or other.kept == value.kept:
                continue
            met += 1
            for message in (some_message(draw) for _ in range(6)):
                one, two = (MACHINE.decide(v, message, 0.0) for v in (value, other))
                assert one.effects == two.effects
                assert MACHINE.encode(one.state, same) == MACHINE.encode(two.state, same)
    assert met > 20


def test_the_order_in_which_slots_became_known_is_no_part_of_it() -> None:
    one, other = queue(1, 1), queue(1, 1)
    for n in (1, 2):
        free = m.SlotFree(SLOTS[n - 1], None, "local", "process")
        one = MACHINE.decide(one, free, 0.0).state
    for n in (2, 1):
        free = m.SlotFree(SLOTS[n - 1], None, "local", "process")
        other = MACHINE.decide(other, free, 0.0).state
    gone = [m.SlotGone(slot) for slot in SLOTS[:1]]
    for message in gone:
        one = MACHINE.decide(one, message, 0.0).state
        other = MACHINE.decide(other, message, 0.0).state
    assert MACHINE.encode(one, same) == MACHINE.encode(other, same)


def test_it_is_decoded_from_nothing_but_its_bytes() -> None:
    value = queue(1, 1)
    again = msgspec.structs.replace(value, kept=bytes(value.kept))
    message = m.Enqueue(TASKS[0], "r", "w")
    assert MACHINE.decide(value, message, 0.0) == MACHINE.decide(again, message, 0.0)
