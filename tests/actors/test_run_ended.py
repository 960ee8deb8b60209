"""Whatever has ended takes every message of its inbox, and moves no more."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

import pytest

from actors import guard_messages as guard
from actors import messages as m
from actors import spec
from actors.effects import Reply
from actors.messages import Standing
from tests.actors.world import MODULES, MORTAL, World

SAMPLES: dict[type, Any] = {
    m.Announce: m.Announce(),
    m.Assign: m.Assign("task:r/a/x", "9.9"),
    m.Assigned: m.Assigned("worker:p.1", "uet_worker:p.1@1", "9.9"),
    m.Approve: m.Approve("ann"),
    m.AssignmentRefused: m.AssignmentRefused("9.9"),
    m.Begin: m.Begin(),
    m.Cancel: m.Cancel("enough", "ann"),
    m.ClockHeld: m.ClockHeld(True),
    m.DependencyBlocked: m.DependencyBlocked("task:r/q/q", Standing.STALLED, Standing.WAITING),
    m.DependencyEnded: m.DependencyEnded("task:r/q/q", "completed", Standing.DONE),
    m.DependencyReplaced: m.DependencyReplaced("task:r/q/q", "task:r/q/q~2", Standing.DONE),
    m.Drain: m.Drain("ann"),
    m.EndBlocked: m.EndBlocked(),
    m.EndWork: m.EndWork("9.9", "timeout"),
    m.Execute: m.Execute("9.9", "task:r/a/x", 1),
    m.Expand: m.Expand(0),
    m.GateAdmitted: m.GateAdmitted(),
    m.GateEnded: m.GateEnded(1, m.Outcome(exit_code=0)),
    m.GateMoved: m.GateMoved("test_gate:r/gate:g~1", "passed"),
    m.GateNeeded: m.GateNeeded("task:r/a/x"),
    m.GateVerdict: m.GateVerdict("test_gate:r/gate:g~1", "g", "passed", Standing.DONE),
    m.GatesMade: m.GatesMade("9.9", ("test_gate:r/gate:g~1",)),
    m.Heartbeat: m.Heartbeat(),
    m.HeartbeatLimit: m.HeartbeatLimit("9.9", 5.0),
    m.HeartbeatSeen: m.HeartbeatSeen("uet_worker:p.1@1"),
    m.Launched: m.Launched("9.9", 1, 1, 1),
    m.LeaseEnded: m.LeaseEnded("9.9"),
    m.Override: m.Override("cancelled", "ann", "enough"),
    m.Pause: m.Pause("ann"),
    m.ProcessExited: m.ProcessExited(crashed=True),
    m.ProcessStarted: m.ProcessStarted(1, 1, "b"),
    m.Recovered: m.Recovered(2),
    m.Reject: m.Reject("ann"),
    m.Replace: m.Replace("ann"),
    m.RerunGate: m.RerunGate("r/gate:g~1", "ann", n=9),
    m.Resume: m.Resume("ann"),
    m.RetryTask: m.RetryTask("r/a/x", "ann"),
    m.ReturnAssignment: m.ReturnAssignment("9.9"),
    m.Shutdown: m.Shutdown(),
    m.Skip: m.Skip("not today", "ann"),
    m.StopUet: m.StopUet(),
    m.TaskStalled: m.TaskStalled("task:r/q/q", True),
    m.TimerFired: m.TimerFired("total"),
    m.UetEnded: m.UetEnded("uet_worker:p.1@1", crashed=True),
    m.UetReady: m.UetReady("uet_worker:p.1@1"),
    m.Unblock: m.Unblock((), "ann"),
    guard.Refusal: guard.Refusal("b", "open", "auto", 1),
    guard.Ticket: guard.Ticket("b", 0, "task:r/a/x", 1.0, 2.0, call="9.9"),
    m.WorkEnded: m.WorkEnded("9.9", m.Outcome()),
    m.WorkFinished: m.WorkFinished("9.9", m.Outcome()),
}
# What its children alone send, and they have all ended before it.
FROM_BELOW = {
    m.WorkSpent,
    m.NeedGates,
    m.TaskBlocked,
    m.TaskEnded,
    m.TaskQueued,
    m.TaskRetried,
    m.WorkstreamMoved,
    m.WorkstreamStuck,
}
BY_HAND = (
    m.Pause,
    m.Resume,
    m.Cancel,
    m.Skip,
    m.Unblock,
    m.RetryTask,
    m.Drain,
    m.Replace,
    m.Override,
)


def inbox(kind: str) -> list[type]:
    return [t for t in get_args(MODULES[kind].Inbox) if t not in FROM_BELOW | {m.Reach}]


@cache
def over() -> World:
    """A run that has ended, with something of every kind in it."""
    tasks = {"x": spec.Task(command=("work",), gates=("g",), validate=("g",))}
    world = World()
    world.submit(
        spec.Plan(
            run=spec.Run(name="n"),
            workers={"p": spec.Pool(count=1)},
            gates={"g": spec.Gate(command=("check",))},
            workstreams={"a": spec.Workstream(tasks=tasks)},
        )
    )
    world.drive()
    return world


@pytest.mark.parametrize("kind", MORTAL)
def test_what_has_ended_moves_no_more(kind: str) -> None:
    value = over().of(kind)[0]
    assert value.completed_at is not None
    for message in inbox(kind):
        decision = MODULES[kind].decide(value, SAMPLES[message], value.completed_at + 1.0)
        assert decision.edges == (), message
        assert decision.state.state == value.state


@pytest.mark.parametrize("kind", ["run", "workstream", "task", "worker", "test_gate"])
def test_what_has_ended_refuses_an_operator_with_a_reason_except_to_begin_anew(kind: str) -> None:
    value = over().of(kind)[0]
    for message in set(inbox(kind)) & set(BY_HAND):
        decision = MODULES[kind].decide(value, SAMPLES[message], value.completed_at + 1.0)
        (answer,) = [e.value for e in decision.effects if isinstance(e, Reply)]
        begins_anew = (kind, message) == ("task", m.RetryTask)
        assert isinstance(answer, m.Accepted if begins_anew else m.Refused)


def test_a_run_that_has_ended_makes_no_gate_for_work_that_has_ended_too() -> None:
    plan = spec.Plan(
        run=spec.Run(name="life"),
        workers={"p": spec.Pool(count=1)},
        gates={"g": spec.Gate(command=("check",))},
        workstreams={"a": spec.Workstream(tasks={"x": spec.Task(command=("x",))})},
    )
    world = World()
    world.submit(plan)
    world.drive()
    assert world.state("run:r") == "completed"
    before = set(world.values)
    world.tell("run:r", m.NeedGates("task:r/a/x", ("g",), "9.9"))
    world.deliver()
    assert set(world.values) == before


@pytest.mark.parametrize("kind", MODULES)
def test_every_message_of_an_inbox_is_a_message_of_the_vocabulary(kind: str) -> None:
    assert all(issubclass(t, m.Message) for t in get_args(MODULES[kind].Inbox))
