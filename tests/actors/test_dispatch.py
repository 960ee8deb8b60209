"""The dispatcher: who gets which slot, in what order, and what stands aside."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors import messages as m
from actors.dispatch import Dispatch
from actors.effects import Effect, Send


def enqueue(name: str, **more: Any) -> m.Enqueue:
    more.setdefault("run_id", "r")
    more.setdefault("workstream", "w")
    return m.Enqueue(f"task:{name}", **more)


def slot(name: str, **more: Any) -> m.SlotFree:
    more.setdefault("run_id", None)
    more.setdefault("kind", "process")
    return m.SlotFree(f"worker:{name}", pool="local", **more)


def assigned(effects: tuple[Effect, ...]) -> list[tuple[str, str]]:
    """(worker, task) of each assignment."""
    return [
        (e.to.removeprefix("worker:"), e.message.task.removeprefix("task:"))
        for e in effects
        if isinstance(e, Send) and isinstance(e.message, m.Assign)
    ]


def after(dispatch: Dispatch, *messages: m.Message) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for message in messages:
        found += assigned(dispatch.decide(message, 0.0))
    return found


def test_a_task_gets_a_slot_that_is_idle_already() -> None:
    assert after(Dispatch(1, 1), slot("s"), enqueue("t")) == [("s", "t")]


def test_a_slot_gets_a_task_that_is_queued_already() -> None:
    assert after(Dispatch(1, 1), enqueue("t"), slot("s")) == [("s", "t")]


def test_no_lease_is_given_twice_and_it_names_the_owner() -> None:
    dispatch = Dispatch(7, 1)
    leases = []
    for number in range(3):
        (effect,) = (
            *dispatch.decide(enqueue(f"t{number}"), 0.0),
            *dispatch.decide(slot("s"), 0.0),
        )
        assert isinstance(effect, Send)
        leases.append(effect.message.lease)
    assert leases == ["7.1", "7.2", "7.3"]


def test_a_busy_slot_is_not_assigned_again_before_it_is_free() -> None:
    dispatch = Dispatch(1, 1)
    assert after(dispatch, slot("s"), enqueue("a"), enqueue("b")) == [("s", "a")]
    assert after(dispatch, slot("s")) == [("s", "b")]


def test_run_priority_goes_before_priority_before_who_waited_longest() -> None:
    dispatch = Dispatch(1, 1)
    after(
        dispatch,
        enqueue("late", since=9.0),
        enqueue("early", since=1.0),
        enqueue("urgent", priority=5, since=9.0),
        enqueue("royal", run_priority=1, since=9.0),
    )
    order = [after(dispatch, slot("s"))[0][1] for _ in range(4)]
    assert order == ["royal", "urgent", "early", "late"]


def test_a_task_takes_only_a_slot_with_every_capability_that_it_requires() -> None:
    dispatch = Dispatch(1, 1)
    assert (
        after(dispatch, enqueue("t", requires=("gpu", "net")), slot("a", capabilities=("gpu",)))
        == []
    )
    assert after(dispatch, slot("b", capabilities=("net", "gpu", "x"))) == [("b", "t")]


def test_a_command_takes_no_inline_slot_and_a_local_callable_no_process() -> None:
    dispatch = Dispatch(1, 1)
    after(dispatch, enqueue("command", process_only=True), enqueue("local", inline_only=True))
    assert after(dispatch, slot("i", kind="inline")) == [("i", "local")]
    assert after(dispatch, slot("p")) == [("p", "command")]


def test_a_slot_with_an_affinity_takes_only_those_workstreams() -> None:
    dispatch = Dispatch(1, 1)
    after(dispatch, enqueue("other", workstream="x"), enqueue("mine", workstream="build"))
    assert after(dispatch, slot("s", affinity=("build",))) == [("s", "mine")]
    assert after(dispatch, slot("s", affinity=("build",))) == []
    assert after(dispatch, slot("any")) == [("any", "other")]


def test_a_run_with_pools_of_its_own_uses_them_and_nobody_elses() -> None:
    dispatch = Dispatch(1, 1)
    assert after(dispatch, enqueue("t", own_slots=True), slot("owner")) == []
    assert after(dispatch, slot("other", run_id="q")) == []
    assert after(dispatch, slot("own", run_id="r")) == [("own", "t")]


def test_a_task_that_left_the_queue_is_not_assigned() -> None:
    dispatch = Dispatch(1, 1)
    assert after(dispatch, enqueue("t"), m.Dequeue("task:t"), slot("s")) == []


def test_a_slot_that_is_gone_is_not_assigned() -> None:
    dispatch = Dispatch(1, 1)
    assert after(dispatch, slot("s"), m.SlotGone("worker:s"), enqueue("t")) == []


def test_one_task_at_a_time_holds_a_key_of_its_run() -> None:
    dispatch = Dispatch(1, 1)
    after(dispatch, slot("s1"), slot("s2"))
    assert after(
        dispatch, enqueue("a", concurrency_key="db"), enqueue("b", concurrency_key="db")
    ) == [("s1", "a")]
    assert after(dispatch, enqueue("c", run_id="q", concurrency_key="db")) == [("s2", "c")]
    after(dispatch, slot("s1"))
    assert after(dispatch, m.KeyFree("r", "db")) == [("s1", "b")]


def test_a_key_goes_to_the_next_when_the_first_in_line_leaves() -> None:
    dispatch = Dispatch(1, 1)
    after(dispatch, slot("s"), enqueue("a", concurrency_key="db"))
    after(dispatch, enqueue("b", concurrency_key="db"), enqueue("c", concurrency_key="db"))
    after(dispatch, m.KeyFree("r", "db"), m.Dequeue("task:b"))
    assert after(dispatch, slot("s")) == [("s", "c")]


def test_a_task_that_gives_its_assignment_back_gives_its_key_back() -> None:
    dispatch = Dispatch(1, 1)
    after(dispatch, slot("s"), enqueue("a", concurrency_key="db"))
    after(dispatch, enqueue("b", concurrency_key="db"), m.Dequeue("task:a"))
    assert after(dispatch, slot("s")) == [("s", "b")]


def test_a_new_dispatcher_learns_who_holds_a_key() -> None:
    dispatch = Dispatch(1, 1)
    after(dispatch, m.KeyTaken("task:a", "r", "db"), slot("s"))
    assert after(dispatch, enqueue("b", concurrency_key="db")) == []
    assert after(dispatch, m.KeyFree("r", "db")) == [("s", "b")]


def test_a_held_run_starts_nothing_until_it_goes_on() -> None:
    dispatch = Dispatch(1, 1)
    after(dispatch, m.HoldRun("r", held=True), enqueue("a"), enqueue("b"))
    assert after(dispatch, slot("s"), enqueue("other", run_id="q")) == [("s", "other")]
    assert after(dispatch, slot("s")) == []
    assert after(dispatch, m.HoldRun("r", held=False)) == [("s", "a")]


def test_a_hold_that_comes_after_queueing_holds_too() -> None:
    dispatch = Dispatch(1, 1)
    assert after(dispatch, enqueue("a"), m.HoldRun("r", held=True), slot("s")) == []
    assert after(dispatch, m.HoldRun("r", held=False)) == [("s", "a")]


def test_a_held_workstream_holds_its_own_tasks_only() -> None:
    dispatch = Dispatch(1, 1)
    hold = m.HoldRun("r", held=True, workstream="w")
    assert after(dispatch, hold, enqueue("a"), enqueue("b", workstream="x"), slot("s")) == [
        ("s", "b")
    ]


def test_no_more_gates_run_than_there_are_places() -> None:
    dispatch = Dispatch(1, 2)
    gates = [m.GateQueue(f"test_gate:g{n}", "r") for n in range(3)]
    admitted = [e for g in gates for e in dispatch.decide(g, 0.0)]
    assert [e.to for e in admitted if isinstance(e, Send)] == ["test_gate:g0", "test_gate:g1"]
    (more,) = dispatch.decide(m.GateDone("test_gate:g0"), 0.0)
    assert more == Send("test_gate:g2", m.GateAdmitted())


def test_a_gate_that_runs_already_takes_a_place_of_a_new_dispatcher() -> None:
    dispatch = Dispatch(1, 1)
    dispatch.decide(m.GateQueue("test_gate:g0", "r", running=True), 0.0)
    assert dispatch.decide(m.GateQueue("test_gate:g1", "r"), 0.0) == ()


def test_it_says_why_a_task_has_no_slot() -> None:
    dispatch = Dispatch(1, 1)
    after(dispatch, slot("s"), enqueue("a"), enqueue("b"), enqueue("c", requires=("gpu",)))
    assert dispatch.explain("task:a") == "it is not queued"
    assert dispatch.explain("task:b") == "all 1 slots that it may take are busy"
    assert dispatch.explain("task:c") == "no slot in existence offers gpu"


names = st.sampled_from("abcdef")
keys = st.sampled_from([None, "k1", "k2"])


@given(
    st.lists(
        st.one_of(
            st.builds(lambda n, k, p: ("queue", n, k, p), names, keys, st.integers(0, 2)),
            st.builds(lambda n: ("leave", n), names),
            st.builds(lambda n: ("free", n), st.sampled_from(["s1", "s2"])),
            st.builds(lambda n: ("end", n), names),
            st.builds(lambda h: ("hold", h), st.booleans()),
        ),
        max_size=60,
    )
)
def test_nobody_waits_for_a_slot_that_is_idle_and_no_key_has_two_holders(steps: list[Any]) -> None:
    dispatch = Dispatch(1, 1)
    queued: dict[str, m.Enqueue] = {}
    running: dict[str, tuple[str, m.Enqueue]] = {}  # task -> (worker, what it wanted)
    idle: set[str] = set()
    held = False
    for step in steps:
        message: m.Message | None = None
        match step:
            case ("queue", name, key, priority) if name not in queued and name not in running:
                message = queued[name] = enqueue(name, concurrency_key=key, priority=priority)
            case ("leave", name) if name in queued:
                del queued[name]
                message = m.Dequeue(f"task:{name}")
            case ("free", worker) if worker not in idle and all(
                worker != at for at, _ in running.values()
            ):
                idle.add(worker)
                message = slot(worker)
            case ("end", name) if name in running:
                _, wanted = running.pop(name)
                if wanted.concurrency_key is not None:
                    message = m.KeyFree("r", wanted.concurrency_key)
            case ("hold", held_now):
                held = held_now
                message = m.HoldRun("r", held=held_now)
        if message is None:
            continue
        for worker, name in assigned(dispatch.decide(message, 0.0)):
            idle.remove(worker)
            running[name] = (worker, queued.pop(name))
        taken = [w.concurrency_key for _, w in running.values() if w.concurrency_key]
        assert len(taken) == len(set(taken))
        able = [q for q in queued.values() if q.concurrency_key not in taken]
        assert held or not (idle and able)
