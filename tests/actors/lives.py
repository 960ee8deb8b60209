"""Random plans and random lives of their runs, for properties. A life is a list of small numbers,
so that what Hypothesis shrinks it to can be read."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from actors import messages as m
from actors import spec
from tests.actors.world import World

SLOT = spec.Pool(
    count=2,
    heartbeat_s=10.0,
    recovery_window_s=30.0,
    restart=spec.Restart(intensity=2, window_s=60.0, backoff_s=1.0, backoff_s_max=8.0),
)
TOOLS = tuple(
    spec.Tool(
        command=("tool",),
        caller_fault_exit_codes=(3,),
        concurrency=concurrency,
        breaker=spec.Breaker(failure_threshold=2, cooldown_s=20.0, success_threshold=threshold),
        loop=loop,
    )
    for concurrency, threshold, loop in (
        (None, 1, None),
        (1, 2, spec.Loop(max_attempts=2)),
    )
)
FAILED = m.Outcome(exit_code=1)
OUTCOMES = (
    m.Outcome(exit_code=0),
    m.Outcome(exit_code=0),
    m.Outcome(exit_code=0),
    FAILED,
    m.Outcome(exit_code=3),
    m.Outcome(signal=11),
    m.Outcome(reason="lost", infrastructure=True, error="its process died"),
    m.Outcome(reason="not_started", infrastructure=True, error="no memory"),
)
# A gate's command may also end well and have tested nothing.
JUDGEMENTS = (*OUTCOMES, m.Outcome(exit_code=0, check=m.Check("pytest", 0)))
UNDEAD = m.Outcome(reason="timeout", alive=True, signal=9)

names = st.integers(1, 3)
some = st.sampled_from([True, True, True, False])
seconds = st.sampled_from([None, None, None, 5.0, 50.0])


@st.composite
def plans(draw: st.DrawFn) -> spec.Plan:
    """A plan that the checker would let pass: what waits, waits for what comes before it."""
    gates: dict[str, spec.Gate] = {}
    for n in range(draw(st.integers(0, 3))):
        depends_on = draw(_some_of(list(gates)))
        person = draw(st.sampled_from([False, False, False, True]))
        gates[f"g{n}"] = spec.Gate(
            command=() if person else ("check",),
            approval=person,
            timeout_s=draw(seconds) if person else None,
            depends_on=depends_on,
        )
    workstreams: dict[str, spec.Workstream] = {}
    before: list[str] = []
    for n in range(draw(st.integers(1, 3))):
        tasks: dict[str, spec.Task] = {}
        for number in range(draw(st.integers(0 if workstreams else 1, 4))):
            path = f"w{n}/t{number}"
            tasks[f"t{number}"] = draw(_tasks(before, list(gates)))
            before.append(path)
        workstreams[f"w{n}"] = spec.Workstream(
            depends_on=draw(_some_of(list(workstreams))),
            critical=draw(some),
            skip=not draw(some) and not draw(some),
            gates=draw(_some_of(list(gates))),
            tasks=tasks,
        )
    return spec.Plan(
        run=spec.Run(
            name="life",
            on_failure=draw(st.sampled_from(["finish", "stop"])),
            on_blocked=draw(st.sampled_from(["end", "end", "wait"])),
        ),
        workers={"pool": SLOT},
        tools={"tool": draw(st.sampled_from(TOOLS))},
        gates=gates,
        workstreams=workstreams,
    )


@st.composite
def _tasks(draw: st.DrawFn, before: list[str], gates: list[str]) -> spec.Task:
    tool = draw(st.sampled_from([None, "tool"]))
    return spec.Task(
        command=() if tool else ("work",),
        tool=tool,
        depends_on=draw(_some_of(before)),
        gates=draw(_some_of(gates)),
        validate=draw(_some_of(gates)),
        critical=draw(some),
        priority=draw(st.integers(0, 2)),
        concurrency_key=draw(st.sampled_from([None, None, "key"])),
        timeout_s=draw(seconds),
        queue_timeout_s=draw(seconds),
        total_timeout_s=draw(seconds),
        max_retries=draw(st.integers(0, 2)),
        retry_exit_codes=draw(st.sampled_from([(), (1,)])),
    )


def _some_of(names: list[str]) -> st.SearchStrategy[tuple[str, ...]]:
    if not names:
        return st.just(())
    return st.lists(st.sampled_from(names), max_size=2, unique=True).map(tuple)


def judge(salt: int, outcomes: tuple[m.Outcome, ...] = OUTCOMES) -> Callable[[str, int], m.Outcome]:
    """How each execution ends: the same each time it is asked."""

    def outcome(id: str, attempt: int) -> m.Outcome:
        return outcomes[zlib.crc32(f"{salt}/{id}/{attempt}".encode()) % len(outcomes)]

    return outcome


def live(plan: spec.Plan, life: list[tuple[int, int]], salt: int) -> World:
    """The world after this life of a run of the plan. Its inboxes need not be empty."""
    order = random.Random(salt)
    world = World(judge(salt), judge(salt + 1, JUDGEMENTS), pick=order.randrange)
    world.submit(plan)
    if salt % 2:
        world.drive(until=lambda: len(world.running) > 0)
    for event, which in life:
        _EVENTS[event](world, which)
    return world


def _turns(world: World, which: int) -> None:
    for _ in range(which):
        world.step()


def _report(world: World, which: int) -> None:
    for _ in range(min(which, len(world.reports))):
        world.report()
    world.deliver()


def _finish(world: World, which: int) -> None:
    if world.running:
        lease = list(world.running)[which % len(world.running)]
        world.finish(lease, UNDEAD if which == 30 else None)


def _finish_gate(world: World, which: int) -> None:
    if world.gates_running:
        world.finish_gate(list(world.gates_running)[which % len(world.gates_running)])


def _time(world: World, which: int) -> None:
    due = sorted(world.timers.items(), key=lambda t: t[1][0])
    if due:
        (address, key), _ = due[which % min(3, len(due))]
        world.fire(address, key, late_s=100.0 if which == 7 else 0.0)


def _crash(world: World, which: int) -> None:
    if world.processes:
        world.crash(sorted(world.processes)[which % len(world.processes)])


def _restart(world: World, which: int) -> None:
    if which % 3 == 0:
        world.restart_owner()


def _to(kind: str, message: Callable[[Any], Any]) -> Callable[[World, int], None]:
    """An operator's command to one of a kind."""

    def command(world: World, which: int) -> None:
        found = [v for v in world.of(kind) if v.run_id is not None]
        if not found:
            return
        value = found[which % len(found)]
        body = message(value)
        to = f"{kind}:{value.id}"
        if isinstance(body, m.RetryTask):
            to = f"workstream:{value.workstream_id}"
        elif isinstance(body, m.RerunGate):
            to = f"run:{value.run_id}"
        world.tell(to, body, control=True)

    return command


def _fire(key: str) -> Callable[[World, int], None]:
    """A timer of this key, due or not, is over."""

    def event(world: World, which: int) -> None:
        found = [address for address, name in world.timers if name == key]
        if found:
            world.fire(found[which % len(found)], key, late_s=100.0 if which == 7 else 0.0)

    return event


def _beat(world: World, which: int) -> None:
    if world.processes:
        world.beat(sorted(world.processes)[which % len(world.processes)])


def _by_hand(world: World, which: int) -> None:
    """One of the rarer commands."""
    choice = (
        _to("run", lambda run: m.Pause("ann")),
        _to("run", lambda run: m.Resume("ann")),
        _to("run", lambda run: m.Cancel("enough", "ann")),
        _to("workstream", lambda ws: m.Pause("ann")),
        _to("workstream", lambda ws: m.Resume("ann")),
        _to("workstream", lambda ws: m.Cancel("enough", "ann")),
        _to("workstream", lambda ws: m.Unblock((), "ann")),
        _to("worker", lambda worker: m.Pause("ann")),
        _to("worker", lambda worker: m.Resume("ann")),
        _to("worker", lambda worker: m.Replace("ann")),
        _to("test_gate", lambda gate: m.RerunGate(gate.id, "ann")),
        _to("test_gate", lambda gate: m.RerunGate(gate.id, "ann")),
        _to("test_gate", lambda gate: m.Cancel("enough", "ann")),
        _to("test_gate", lambda gate: m.Approve("ann")),
        _to("test_gate", lambda gate: m.Reject("ann", "not yet")),
    )
    choice[which % len(choice)](world, which * 7)


_EVENTS: tuple[Callable[[World, int], None], ...] = (
    _turns,
    _turns,
    _report,
    _report,
    _report,
    _finish,
    _finish,
    _finish_gate,
    _time,
    _crash,
    _restart,
    _fire("heartbeat"),
    _fire("recovery"),
    _beat,
    _to("task", lambda task: m.Pause("ann")),
    _to("task", lambda task: m.Resume("ann")),
    _to("task", lambda task: m.Cancel("enough", "ann")),
    _to("task", lambda task: m.RetryTask(task.id, "ann", clear_retry_count=True)),
    _to("workstream", lambda ws: m.Skip("not today", "ann")),
    _to("task", lambda task: m.Unblock((), "ann")),
    _by_hand,
    _by_hand,
    _by_hand,
    _by_hand,
)
lives = st.lists(st.tuples(st.integers(0, len(_EVENTS) - 1), st.integers(0, 30)), max_size=60)


def let_it_end(world: World) -> None:
    """Takes every pause away, and lets everything happen that then happens by itself."""
    world.deliver()
    for kind in ("run", "workstream", "task", "worker"):
        for value in world.of(kind):
            if value.paused:
                world.tell(f"{kind}:{value.id}", m.Resume("ann"), control=True)
    world.drive()


def waits_for_a_person(world: World) -> bool:
    """Whether something is there that only a person can decide about."""
    plan = world.of("run")[0].spec
    stalled = any(
        g.verdict == "infrastructure"
        or (g.state == "cancelled" and g.operator)
        or (g.state == "pending" and g.asked_at is not None)
        for g in world.of("test_gate")
    )
    blocked = any(t.state == "blocked" for t in (*world.of("task"), *world.of("workstream")))
    return stalled or (blocked and plan.run.on_blocked == "wait")
