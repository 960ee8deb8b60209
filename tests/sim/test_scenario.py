"""What a scenario says: users' actors, effects, promises, scripted moments, chance."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.effects import Perform, Reply, SetTimer
from actors.machine import Decision
from actors.messages import Message, Performed, Recovered, TimerFired
from runtime import user_kind
from runtime.plan import PlanError
from runtime.sim.case import Case, Config
from runtime.sim.scenario import Sim
from tests.sim.engine_kit import ran, scenario, whats


class Tally(msgspec.Struct, frozen=True):
    """A user's actor: it counts, and has each count printed by an effect."""

    id: str
    count: int = 0
    printed: tuple[int, ...] = ()
    ticks: int = 0


class Add(Message, frozen=True):
    amount: int


class Total(Message, frozen=True):
    pass


class Tick(Message, frozen=True):
    every_s: float


def decide(tally: Tally, message: Any, now: float) -> Decision[Tally]:
    match message:
        case Add(amount):
            after = msgspec.structs.replace(tally, count=tally.count + amount)
            printing = Perform("print", f"{tally.id}-{after.count}", after.count)
            return Decision(after, (), (Reply(after.count), printing))
        case Total():
            return Decision(tally, (), (Reply(tally.count),))
        case Tick(every_s):
            return Decision(tally, (), (SetTimer("tick", now + every_s),))
        case TimerFired():
            ticked = msgspec.structs.replace(tally, ticks=tally.ticks + 1)
            again = (SetTimer("tick", now + 60.0),) if ticked.ticks < 5 else ()
            return Decision(ticked, (), again)
        case Performed() if message.error is not None:
            return Decision(tally)
        case Performed():
            done = msgspec.structs.replace(tally, printed=(*tally.printed, message.result))
            return Decision(done)
        case Recovered():
            return Decision(tally)
    raise AssertionError(message)


KIND = user_kind("tally", Tally, decide, Add | Total | Tick | Recovered)


def counting(sim: Sim) -> dict[str, Any]:
    """A tally that is told to add twice, and a performer that keeps what it was asked."""
    printed: list[tuple[str, int, bool]] = []
    sim.register(KIND)
    ref = sim.spawn("tally", Tally("a"))
    sim.on_effect("print", lambda key, n, again: printed.append((key, n, again)) or n)
    first = sim.ask(ref, Add(2), at="5s")
    second = sim.ask(ref, Add(3), at="10s")
    return {"ref": ref, "printed": printed, "first": first, "second": second}


def test_a_users_actor_answers_and_its_effects_are_performed_in_order() -> None:
    seen: dict[str, Any] = {}
    ran(lambda_of(seen))
    assert (seen["first"].answer, seen["second"].answer) == (2, 5)
    assert [n for _, n, _ in seen["printed"]] == [2, 5]


def lambda_of(seen: dict[str, Any]) -> Any:
    def counted(sim: Sim) -> None:
        seen.clear()
        seen.update(counting(sim))
        sim.eventually("printed", lambda v: v.actor(seen["ref"]).printed == (2, 5))

    return counted


def test_a_users_timer_survives_a_crash() -> None:
    def ticking(sim: Sim) -> None:
        sim.register(KIND)
        sim.spawn("tally", Tally("a"), Tick(60.0))
        sim.at("90s").crash()
        sim.eventually("ticked", lambda v: v.actor("tally:a").ticks == 5)

    assert len(whats(ran(ticking), "crash")) == 1


@pytest.mark.parametrize("seed", range(6))
def test_an_effect_is_performed_at_least_once_whatever_crashes(seed: int) -> None:
    seen: dict[str, Any] = {}
    crashes = {"effect_lost": 0.5, "crash_after_commit": 0.3, "crash_between_effects": 0.3}
    of = scenario(lambda_of(seen))
    result = of.run(Case(of.locator, seed, Config(strategy="timed", faults=crashes)))
    acknowledged = [op.answer for op in (seen["first"], seen["second"]) if op.answer is not None]
    if result.failure is not None:  # one of the two questions fell into a time without an owner
        assert result.failure.invariant == "eventually"
        assert len(acknowledged) < 2
    assert {n for _, n, _ in seen["printed"]} >= set(acknowledged)
    known: set[str] = set()
    for key, _, again in seen["printed"]:
        assert again or key not in known
        known.add(key)


def test_the_history_holds_every_question_with_its_answer() -> None:
    kept: list[Any] = []

    def asked(sim: Sim) -> None:
        counting(sim)
        kept.append(sim)

    ran(asked)
    assert [(op.message, op.answer) for op in kept[-1].history()] == [(Add(2), 2), (Add(3), 5)]


def test_a_promise_that_does_not_always_hold_fails_with_its_label() -> None:
    def strict(sim: Sim) -> None:
        ref = counting(sim)["ref"]
        sim.always("below four", lambda v: (v.actor(ref).count or 0) < 4)

    of = scenario(strict)
    failure = of.run(Case(of.locator, 1, Config(strategy="fifo"))).failure
    assert failure is not None
    assert (failure.invariant, failure.text) == ("always", "below four")
    assert 10 <= failure.at < 11


def test_what_must_happen_in_time_fails_when_it_does_not() -> None:
    def impatient(sim: Sim) -> None:
        counting(sim)
        sim.eventually("a thousand", lambda v: v.actor("tally:a").count == 1000, within="1m")

    of = scenario(impatient)
    failure = of.run(Case(of.locator, 1, Config(strategy="fifo"))).failure
    assert failure is not None
    assert failure.invariant == "eventually"


def test_what_happens_sometimes_is_counted() -> None:
    def counted(sim: Sim) -> None:
        counting(sim)
        sim.sometimes("five", lambda v: v.actor("tally:a").count == 5)
        sim.sometimes("never", lambda v: v.actor("tally:a").count == 6)

    sometimes = ran(counted).coverage.sometimes
    assert sometimes["five"] > 0
    assert sometimes["never"] == 0


def test_the_first_option_is_the_calm_one_and_an_override_takes_another() -> None:
    drawn: list[str] = []

    def choosing(sim: Sim) -> None:
        drawn.append(sim.choose("colour", ("red", "green", "blue")))

    of = scenario(choosing)
    for overrides in ({"*": 0}, {"choose/colour/1": 2}):
        of.run(Case(of.locator, 5, Config(strategy="fifo"), overrides))
    assert drawn == ["red", "blue"]


def test_a_plan_with_faults_is_refused_with_each_of_them() -> None:
    from actors import spec  # noqa: PLC0415 (beside its one use)

    def wrong(sim: Sim) -> None:
        task = spec.Task(command=("work",), depends_on=("nobody",))
        streams = {"main": spec.Workstream(tasks={"t": task})}
        sim.submit(spec.Plan(run=spec.Run(name="wrong"), workstreams=streams))

    with pytest.raises(PlanError, match="nobody"):
        ran(wrong)


def test_a_users_actor_that_raises_fails_the_run_and_names_the_message() -> None:
    def raising(sim: Sim) -> None:
        sim.register(user_kind("tally", Tally, _raises, Add | Recovered))
        sim.tell(sim.spawn("tally", Tally("a")), Add(1), at="1s")

    of = scenario(raising)
    failure = of.run(Case(of.locator, 1, Config(strategy="fifo"))).failure
    assert failure is not None
    assert failure.invariant == "an actor never fails"
    assert "Add" in failure.text
    assert "out of paper" in failure.text


def _raises(tally: Tally, message: Any, _now: float) -> Decision[Tally]:
    if message == Add(1):
        raise RuntimeError("out of paper")
    return Decision(tally)


def test_a_decide_that_remembers_is_found_impure() -> None:
    calls = [0]

    def forgetful(tally: Tally, message: Any, _now: float) -> Decision[Tally]:
        calls[0] += 1
        return Decision(msgspec.structs.replace(tally, count=calls[0]))

    def impure(sim: Sim) -> None:
        sim.register(user_kind("tally", Tally, forgetful, Add | Recovered))
        ref = sim.spawn("tally", Tally("a"))
        for n in range(200):
            sim.tell(ref, Add(1), at=1 + n)

    of = scenario(impure)
    failure = of.run(Case(of.locator, 1, Config(strategy="fifo"))).failure
    assert failure is not None
    assert failure.invariant == "deciding is pure"


def test_an_operators_command_acts_on_any_end_of_an_id() -> None:
    def cancelled(sim: Sim) -> None:
        from runtime.sim.worlds import pipeline_plan  # noqa: PLC0415 (beside its one use)

        sim.tool("*", duration_s=60)
        sim.submit(pipeline_plan(3, 1))
        sim.at("30s").command("cancel", "main/t2")
        sim.eventually("cancelled", lambda v: v.task("t2").state == "cancelled")

    ran(cancelled)


def test_what_a_performer_checks_ends_the_run() -> None:
    def unlucky(sim: Sim) -> None:
        counting(sim)
        sim.on_effect("print", lambda _key, n, _again: sim.check(n != 5, "five is printed"))

    of = scenario(unlucky)
    failure = of.run(Case(of.locator, 1, Config(strategy="fifo"))).failure
    assert failure is not None
    assert (failure.invariant, failure.text) == ("check", "five is printed")


def test_an_outcome_that_is_under_way_when_the_owner_dies_is_asked_for_again() -> None:
    calls: list[tuple[str, bool]] = []

    def slow(sim: Sim) -> None:
        counting(sim)
        sim.on_effect(
            "print", lambda key, n, again: calls.append((key, again)) or n, 0.01, report_s=0.5
        )
        sim.at("5.2s").crash()

    of = scenario(slow)
    config = Config(strategy="fifo")
    result = of.run(Case(of.locator, 1, config, {"latency.report/print/1": 40}), record=True)
    assert result.failure is None
    assert calls[:2] == [("a-2", False), ("a-2", True)]
