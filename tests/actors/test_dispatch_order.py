"""The dispatcher against an oracle that looks at everything, for slots and tasks of many kinds."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors import messages as m
from actors.dispatch import Dispatch
from actors.effects import Send

SLOTS = {
    "plain": {"kind": "process"},
    "gpu": {"kind": "process", "capabilities": ("gpu",)},
    "mine": {"kind": "process", "affinity": ("w1",)},
    "inline": {"kind": "inline"},
    "own": {"kind": "process", "run_id": "r1"},
}


def enqueue(name: str, **more: Any) -> m.Enqueue:
    return m.Enqueue(f"task:{name}", more.pop("run_id", "r"), more.pop("workstream", "w"), **more)


def slot(name: str, **more: Any) -> m.SlotFree:
    more = {"run_id": None, "kind": "process"} | more
    return m.SlotFree(f"worker:{name}", pool="p", **more)


def granted(effects: tuple[Any, ...]) -> list[tuple[str, str]]:
    return [
        (e.to.removeprefix("worker:"), e.message.task.removeprefix("task:"))
        for e in effects
        if isinstance(e, Send) and isinstance(e.message, m.Assign)
    ]


def feed(dispatch: Dispatch, *messages: Any) -> list[tuple[str, str]]:
    return [pair for message in messages for pair in granted(dispatch.decide(message, 0.0))]


def test_a_free_key_passes_over_a_task_that_finds_no_slot() -> None:
    dispatch = Dispatch(1, 1)
    keyed = {"concurrency_key": "db"}
    feed(dispatch, slot("a"), enqueue("first", since=1.0, **keyed))
    feed(dispatch, enqueue("gpu", since=2.0, requires=("gpu",), **keyed), enqueue("last", **keyed))
    feed(dispatch, slot("b"))
    assert feed(dispatch, m.KeyFree("r", "db")) == [("b", "last")]


def test_a_free_key_passes_over_a_task_whose_workstream_is_paused() -> None:
    dispatch = Dispatch(1, 1)
    keyed = {"concurrency_key": "db"}
    feed(dispatch, slot("a"), enqueue("first", **keyed))
    feed(dispatch, enqueue("paused", workstream="x", since=1.0, **keyed))
    feed(dispatch, enqueue("last", since=2.0, **keyed), slot("b"))
    feed(dispatch, m.HoldRun("r", held=True, workstream="x"))
    assert feed(dispatch, m.KeyFree("r", "db")) == [("b", "last")]


def test_the_slot_that_can_do_least_goes_first() -> None:
    dispatch = Dispatch(1, 1)
    feed(dispatch, slot("gpu", capabilities=("gpu",)), slot("plain"))
    feed_order = [feed(dispatch, enqueue(name)) for name in ("a", "b")]
    assert feed_order == [[("plain", "a")], [("gpu", "b")]]


def test_slots_that_come_late_take_what_has_waited_longest() -> None:
    dispatch = Dispatch(1, 1)
    feed(dispatch, *(enqueue(str(n), since=float(9 - n)) for n in range(5)))
    assert [pair[1] for n in range(5) for pair in feed(dispatch, slot(f"s{n}"))] == [
        "4",
        "3",
        "2",
        "1",
        "0",
    ]


def test_a_class_of_slots_that_is_gone_is_forgotten_and_can_come_back() -> None:
    dispatch = Dispatch(1, 1)
    feed(dispatch, slot("s"), m.SlotGone("worker:s"), enqueue("t"))
    assert dispatch.explain("task:t") == "no slot in existence offers its kind and workstream"
    assert feed(dispatch, slot("s")) == [("s", "t")]


def test_it_says_when_the_run_is_paused_or_the_key_is_taken() -> None:
    dispatch = Dispatch(1, 1)
    feed(
        dispatch, slot("s"), enqueue("a", concurrency_key="db"), enqueue("b", concurrency_key="db")
    )
    assert dispatch.explain("task:b") == "the concurrency key 'db' is held by a"
    feed(dispatch, m.HoldRun("r", held=True))
    assert dispatch.explain("task:b") == "its run or workstream is paused"


def test_gates_of_a_paused_run_wait_and_keep_their_turn() -> None:
    dispatch = Dispatch(1, 1)
    dispatch.decide(m.HoldRun("r", held=True), 0.0)
    for gate in ("g0", "g1"):
        assert dispatch.decide(m.GateQueue(gate, "r"), 0.0) == ()
    assert dispatch.decide(m.GateQueue("other", "q"), 0.0) == (Send("other", m.GateAdmitted()),)
    dispatch.decide(m.GateQueue("late", "q"), 0.0)
    dispatch.decide(m.HoldRun("r", held=False), 0.0)
    order = [dispatch.decide(m.GateDone(g), 0.0) for g in ("other", "g0", "g1")]
    assert [effect.to for (effect,) in order if isinstance(effect, Send)] == ["g0", "g1", "late"]


def test_a_gate_that_asks_twice_has_one_place() -> None:
    dispatch = Dispatch(1, 2)
    dispatch.decide(m.GateQueue("g0", "r"), 0.0)
    assert dispatch.decide(m.GateQueue("g0", "r"), 0.0) == ()
    assert dispatch.decide(m.GateQueue("g1", "r"), 0.0) != ()


# --- the oracle ----------------------------------------------------------------------------------


class Oracle:
    """What is true, told step by step, without any index."""

    def __init__(self) -> None:
        self.dispatch = Dispatch(1, 1)
        self.queued: dict[str, m.Enqueue] = {}
        self.running: dict[str, tuple[str, m.Enqueue]] = {}
        self.idle: dict[str, m.SlotFree] = {}
        self.held: set[tuple[str, str | None]] = set()
        self.clock = 0.0
        self.leases: set[str] = set()

    def tell(self, message: Any) -> None:
        effects = self.dispatch.decide(message, self.clock)
        for effect in effects:
            assert isinstance(effect, Send)
            assert effect.message.lease not in self.leases
            self.leases.add(effect.message.lease)
        for worker, name in granted(effects):
            offered, wanted = self.idle[worker], self.queued[name]
            assert self.may(offered, wanted)
            better = [q for q in self.queued.values() if self.may(offered, q)]
            assert min(map(_rank, better)) == _rank(wanted)
            del self.idle[worker]
            self.running[name] = (worker, self.queued.pop(name))
        left = [(s, q) for s in self.idle.values() for q in self.queued.values() if self.may(s, q)]
        assert left == []

    def may(self, offered: m.SlotFree, wanted: m.Enqueue) -> bool:
        keys = {(w.run_id, w.concurrency_key) for _, w in self.running.values()}
        return (
            offered.run_id == (wanted.run_id if wanted.own_slots else None)
            and not (wanted.process_only and offered.kind == "inline")
            and not (wanted.inline_only and offered.kind == "process")
            and set(wanted.requires) <= set(offered.capabilities)
            and (not offered.affinity or wanted.workstream in offered.affinity)
            and (wanted.run_id, None) not in self.held
            and (wanted.run_id, wanted.workstream) not in self.held
            and (
                wanted.concurrency_key is None
                or (wanted.run_id, wanted.concurrency_key) not in keys
            )
        )


def _rank(wanted: m.Enqueue) -> tuple[int, int, float]:
    return (-wanted.run_priority, -wanted.priority, wanted.since)


wanted = st.fixed_dictionaries(
    {
        "run_id": st.sampled_from(["r1", "r2"]),
        "workstream": st.sampled_from(["w1", "w2"]),
        "priority": st.integers(0, 1),
        "requires": st.sampled_from([(), (), ("gpu",)]),
        "concurrency_key": st.sampled_from([None, "k"]),
        "how": st.sampled_from(["any", "inline", "process"]),
        "own": st.sampled_from([False, False, True]),
    }
)
names = st.sampled_from("abcdefgh")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("queue"), names, wanted),
        st.tuples(st.just("free"), st.sampled_from(list(SLOTS)), st.integers(0, 1)),
        st.tuples(st.just("leave"), names, st.none()),
        st.tuples(st.just("end"), names, st.none()),
        st.tuples(st.just("gone"), st.sampled_from(list(SLOTS)), st.integers(0, 1)),
        st.tuples(
            st.just("hold"),
            st.sampled_from(["r1", "r2"]),
            st.tuples(st.sampled_from([None, "w1"]), st.booleans()),
        ),
    ),
    max_size=50,
)


@settings(deadline=None)
@given(steps)
def test_whoever_may_start_first_starts_at_once_and_nobody_else(life: list[Any]) -> None:
    world = Oracle()
    for step in life:
        world.clock += 1.0
        _take(world, step)


def _take(world: Oracle, step: Any) -> None:
    match step:
        case ("queue", name, wish) if name not in world.queued and name not in world.running:
            how = {"inline_only": wish["how"] == "inline", "process_only": wish["how"] == "process"}
            keys = ("run_id", "workstream", "priority", "requires", "concurrency_key")
            asked = {key: wish[key] for key in keys} | how | {"own_slots": wish["own"]}
            world.queued[name] = enqueue(name, since=world.clock, **asked)
            world.tell(world.queued[name])
        case ("free", kind, n):
            name = f"{kind}{n}"
            if name not in world.idle and name not in {w for w, _ in world.running.values()}:
                world.idle[name] = slot(name, **SLOTS[kind])
                world.tell(world.idle[name])
        case ("leave", name, _) if name in world.queued:
            del world.queued[name]
            world.tell(m.Dequeue(f"task:{name}"))
        case ("end", name, _) if name in world.running:
            _, done = world.running.pop(name)
            if done.concurrency_key is not None:
                world.tell(m.KeyFree(done.run_id, done.concurrency_key))
        case ("gone", kind, n) if f"{kind}{n}" in world.idle:
            del world.idle[f"{kind}{n}"]
            world.tell(m.SlotGone(f"worker:{kind}{n}"))
        case ("hold", run_id, (workstream, held)):
            scope = (run_id, workstream)
            world.held = world.held | {scope} if held else world.held - {scope}
            world.tell(m.HoldRun(run_id, held, workstream))
        case _:
            pass  # not possible now
