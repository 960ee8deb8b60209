"""Worlds in which a safeguard is needed: where tools fail, effects are told twice, owners die."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from actors import effects as fx
from actors import messages as m
from actors import spec
from actors.machine import Decision
from runtime.kinds import user_kind
from runtime.sim.worlds import plan

if TYPE_CHECKING:
    from runtime.sim.scenario import Sim


def tooled(sim: Sim) -> None:
    """Tasks of one tool that fails often: its breaker opens, probes and closes all the time."""
    breaker = spec.Breaker(failure_threshold=2, cooldown_s=2.0, growth=1.0, jitter=0.0)
    tool = spec.Tool(command=("sick",), breaker=breaker)
    tasks = {
        f"t{n + 1}": spec.Task(tool="sick", max_retries=9, backoff_s=1.0, backoff_s_max=4.0)
        for n in range(sim.size("tasks", 8))
    }
    sim.tool("sick", duration_s=2)
    sim.tool("t1", duration_s=30)
    sim.tool("t2", duration_s=30)
    made = plan("tooled", {"main": spec.Workstream(tasks=tasks)}, sim.size("workers", 3))
    sim.submit(msgspec.structs.replace(made, tools={"sick": tool}))


def short_of_time(sim: Sim) -> None:
    """A task that runs into its timeout and does not end when told to; other slots are free."""
    slow = spec.Task(command=("slow",), timeout_s=4.0, max_retries=2, backoff_s=0.1)
    sim.tool("slow", duration_s=60, ignores_term=True)
    sim.submit(plan("short", {"main": spec.Workstream(tasks={"t1": slow})}, 3))


class Account(msgspec.Struct, frozen=True):
    """What was asked to be paid, and what was paid."""

    id: str
    asked: int = 0
    paid: tuple[str, ...] = ()


class Pay(m.Message, frozen=True):
    """Pay once."""


def pays(account: Account, message: Pay | m.Performed, _now: float) -> Decision[Account]:
    """Each payment is an effect with a key of its own, for ever."""
    match message:
        case Pay():
            n = account.asked + 1
            more = msgspec.structs.replace(account, asked=n)
            key = f"{account.id}-{n}"
            return Decision(more, (), (fx.Perform("bank", key, {"n": n}), fx.Reply(n)))
        case m.Performed(key):
            if key in account.paid:
                return Decision(account)
            return Decision(msgspec.structs.replace(account, paid=(*account.paid, key)))


def paid_once(sim: Sim) -> None:
    """An actor whose effects are carried out elsewhere, by a bank that knows what it has seen."""
    sim.register(user_kind("account", Account, pays, Pay))
    ref = sim.spawn("account", Account("a"))
    ledger: set[str] = set()
    payments = sim.size("payments", 6)
    ours = {f"a-{n + 1}" for n in range(payments)}  # one may fail, and the next is the first

    def bank(key: str, _payload: Any, perhaps_done: bool) -> str:
        sim.check(perhaps_done or key not in ledger, f"{key} is paid twice, and nobody said so")
        sim.check(key in ours, f"{key} is no payment of ours")
        ledger.add(key)
        return key

    sim.on_effect("bank", bank)
    for n in range(payments):
        sim.ask(ref, Pay(), at=5.0 + n)


class Counted(m.Message, frozen=True):
    """One of a row of numbers."""

    number: int


class Count(m.Message, frozen=True):
    """Send the numbers from 1 on, so many of them."""

    many: int


class Row(msgspec.Struct, frozen=True):
    """How many numbers came."""

    id: str
    last: int = 0


def counts(row: Row, message: Count | Counted, _now: float) -> Decision[Row]:
    """Sends a row of numbers, or takes one: each must be one more than the last."""
    match message:
        case Count(many):
            numbers = tuple(fx.Send("row:listener", Counted(n + 1)) for n in range(many))
            return Decision(row, (), numbers)
        case Counted(number):
            assert number == row.last + 1, f"{number} after {row.last}"
            return Decision(msgspec.structs.replace(row, last=number))


def in_order(sim: Sim) -> None:
    """One actor tells another a row of numbers."""
    sim.register(user_kind("row", Row, counts, Count | Counted))
    sim.spawn("row", Row("listener"))
    teller = sim.spawn("row", Row("teller"))
    sim.tell(teller, Count(sim.size("numbers", 5)), at=5)
