"""Override in the machines: what must die first, the edges on record, and who hears of it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from msgspec.structs import replace

from actors import breaker, spec
from actors import gate as gate_machine
from actors import messages as m
from actors import task as task_machine
from actors import uet_worker as uet_machine
from actors import worker as worker_machine
from actors import workstream as ws_machine
from actors.effects import KillGate, Note, StopProcess
from actors.machine import Decision
from actors.messages import Standing
from actors.patch_messages import Work
from actors.workstream import Workstream
from tests.actors import patch_kit
from tests.actors import task_kit as t
from tests.actors import test_gate as gate_kit
from tests.actors import test_uet_worker as uet_kit
from tests.actors import test_worker as slot_kit
from tests.actors import test_workstream as ws_kit
from tests.actors.patch_kit import Ledger
from tests.actors.steps import after, answer, effects, sent, step, triggers
from tests.actors.test_override import PAIRS
from tests.actors.world import World

WHY = "known to be fine"


def order(target: str) -> m.Override:
    return m.Override(target, "ann", WHY)


def path(decision: Decision[Any]) -> list[str]:
    return [edge.target for edge in decision.edges]


TASKS: dict[str, Any] = {
    "pending": t.task(),
    "queued": t.queued(),
    "blocked": t.task(seed={"sources": (t.BEFORE,)}),
    "running": t.running(),
    "validating": t.validating(),
    "retrying": t.running(t.FAIL, max_retries=1),
}
TASKS["blocked"] = after(task_machine, TASKS["blocked"], t.BEGIN, t.FAILED)
STREAMS: dict[str, Any] = {
    "pending": ws_kit.at(ws_kit.BEGIN, **ws_kit.AFTER_ONE),
    "ready": ws_kit.READY,
    "running": ws_kit.RUNNING,
    "paused": ws_kit.PAUSED,
    "blocked": ws_kit.HELD,
    "validating": ws_kit.VALIDATING,
}
SLOTS: dict[str, Any] = {
    "initializing": slot_kit.STARTING,
    "idle": slot_kit.IDLE,
    "busy": slot_kit.BUSY,
    "paused": slot_kit.PAUSED,
    "unresponsive": slot_kit.DOUBTED,
    "failed": slot_kit.FAILED,
}
PROCESSES: dict[str, Any] = {
    "spawning": uet_kit.NEW,
    "idle": uet_kit.IDLE,
    "busy": uet_kit.BUSY,
    "draining": uet_kit.DRAINING,
}
GATES: dict[str, Any] = {
    "pending": gate_kit.QUEUED,
    "blocked": gate_kit.BLOCKED,
    "running": gate_kit.RUNNING,
}
BOTH_OVER = (ws_kit.ended(ws_kit.A, "cancelled"), ws_kit.ended(ws_kit.B, "cancelled"))
# What proves dead what an override has to end first.
DEATHS: dict[str, tuple[Any, ...]] = {
    "task": (t.finished(reason="cancelled", signal=9),),
    "workstream": BOTH_OVER,
    "worker": (m.UetEnded(slot_kit.UET, crashed=False), slot_kit.ENDED),
    "uet_worker": (m.ProcessExited(crashed=False),),
    "test_gate": (gate_kit.ended(m.Outcome(reason="overridden", signal=9)),),
}
MACHINES: dict[str, tuple[ModuleType, dict[str, Any]]] = {
    "task": (task_machine, TASKS),
    "workstream": (ws_machine, STREAMS),
    "worker": (worker_machine, SLOTS),
    "uet_worker": (uet_machine, PROCESSES),
    "test_gate": (gate_machine, GATES),
}
MINE = [pair for pair in PAIRS if pair[0] in MACHINES]


def test_each_state_stands_for_itself() -> None:
    for _, values in MACHINES.values():
        assert {name: str(value.state) for name, value in values.items()} == {n: n for n in values}


@pytest.mark.parametrize(("kind", "source", "target"), MINE)
def test_a_machine_takes_exactly_the_way_and_each_edge_names_the_operator(
    kind: str, source: str, target: str
) -> None:
    (module, values), cell = MACHINES[kind], PAIRS[kind, source, target]
    first = step(module, values[source], order(target))
    if cell == "-" or cell.startswith("!"):
        assert isinstance(answer(first), m.Refused)
        assert first.edges == ()
        assert first.state is values[source]
        return
    assert isinstance(answer(first), m.Accepted)
    (row,) = [n for n in effects(first, Note) if n.event_type == "manual_override"]
    assert (row.operator, row.reason) == ("ann", WHY)
    assert row.metadata["path"] == cell.split()
    edges = list(first.edges)
    value = first.state
    for death in DEATHS[kind] if not edges else ():
        then = module.decide(value, death, 11.0)
        edges += then.edges
        value = then.state
    by_hand = [edge for edge in edges if edge.operator == "ann"]
    assert [edge.target for edge in by_hand] == cell.split()
    assert all(edge.reason == WHY for edge in by_hand)


# --- a task ---------------------------------------------------------------------------------------


def test_what_runs_is_killed_first_and_the_task_stays_running_until_it_is_dead() -> None:
    asked = step(task_machine, TASKS["running"], order("completed"))
    assert asked.edges == ()
    assert sent(asked, t.UET) == [m.EndWork("1.1", "cancelled")]
    dead = task_machine.decide(asked.state, *DEATHS["task"], 11.0)
    assert path(dead) == ["validating", "completed"]
    assert sent(dead, t.SLOT) == [m.LeaseEnded("1.1")]
    assert sent(dead, t.RUN) == []  # no gate is asked


def test_dependents_of_an_overridden_task_hear_of_its_end_as_of_any_other() -> None:
    done = step(task_machine, TASKS["validating"], order("completed"))
    (told,) = sent(done, t.NEXT)
    assert (told.standing, told.was) == (Standing.DONE, Standing.WAITING)
    failed = step(task_machine, TASKS["blocked"], order("failed"))
    freed, told = sent(failed, t.NEXT)
    assert (freed.standing, freed.was) == (Standing.WAITING, Standing.STALLED)
    assert (told.standing, told.was) == (Standing.FAILED, Standing.WAITING)
    assert WHY in told.reason


def test_the_workstream_counts_an_overridden_task_once() -> None:
    failed = step(task_machine, TASKS["blocked"], order("failed"))
    freed, ended = sent(failed, t.WORKSTREAM)
    assert freed == m.TaskBlocked(t.ME, blocked=False)
    assert (ended.outcome, ended.was_blocked) == ("failed", False)
    cancelled = step(task_machine, TASKS["blocked"], order("cancelled"))
    (ended,) = sent(cancelled, t.WORKSTREAM)
    assert ended.was_blocked


def test_a_task_blocked_by_hand_stays_so_until_somebody_waives_that_by_hand() -> None:
    blocked = after(task_machine, TASKS["queued"], order("blocked"))
    assert blocked.reason == WHY
    asked_to_end = after(task_machine, blocked, m.EndBlocked())
    assert asked_to_end.state == "blocked"
    freed = step(task_machine, blocked, m.Unblock((), "bob"))
    assert triggers(freed) == ["dependency_recovered", "dependencies_met"]


def test_a_task_queued_by_hand_waits_for_nothing_and_asks_for_a_slot() -> None:
    waits = after(task_machine, t.task(seed={"sources": (t.BEFORE,)}), t.BEGIN)
    queued = step(task_machine, waits, order("queued"))
    assert isinstance(sent(queued, t.DISPATCH)[0], m.Enqueue)
    assert queued.state.after.waived == (t.BEFORE,)
    assert after(task_machine, queued.state, t.FAILED).state == "queued"
    assert sent(queued, t.WORKSTREAM) == [m.TaskQueued(t.ME)]


def test_an_override_burns_no_attempt() -> None:
    asked = after(task_machine, t.running(max_retries=3), order("retrying"))
    assert after(task_machine, asked, *DEATHS["task"]).retry_count == 0


def test_what_cannot_be_killed_is_undead_whatever_was_wanted() -> None:
    asked = after(task_machine, TASKS["running"], order("completed"))
    dead = step(task_machine, asked, t.finished(alive=True))
    assert (path(dead), dead.state.reason) == (["failed"], "undead")


def test_a_cancel_after_an_override_wins() -> None:
    asked = after(task_machine, TASKS["running"], order("completed"), m.Cancel("no", "bob"))
    assert path(step(task_machine, asked, *DEATHS["task"])) == ["cancelled"]


def test_what_an_operator_showed_is_kept_beside_the_order() -> None:
    shown = m.Override("completed", "ann", WHY, "sha256:12, 3 bytes: ok")
    (row,) = effects(step(task_machine, TASKS["validating"], shown), Note)
    assert row.metadata["evidence"] == "sha256:12, 3 bytes: ok"


# --- a workstream ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "as_done", "failure"),
    [("completed", True, False), ("skipped", True, False), ("failed", False, True)],
)
def test_a_workstream_ends_its_tasks_before_it_goes(
    target: str, as_done: bool, failure: bool
) -> None:
    asked = step(ws_machine, STREAMS["running"], order(target))
    assert asked.edges == ()
    closing = m.Cancel(WHY, "ann", failure, closing=True, as_done=as_done)
    assert sent(asked, ws_kit.A) == sent(asked, ws_kit.B) == [closing]
    over = step(ws_machine, asked.state, *BOTH_OVER)
    assert over.state.state == target
    (told,) = sent(over, ws_kit.NEXT)[-1:]
    assert told.standing is (Standing.FAILED if failure else Standing.DONE)


def test_a_workstream_that_is_to_validate_still_asks_its_gates() -> None:
    running = ws_kit.at(ws_kit.BEGIN, ws_kit.QUEUED, gates=("unit",))
    over = step(ws_machine, running, order("validating"), *BOTH_OVER)
    assert over.state.state == "validating"
    assert [x for x in sent(over, ws_kit.RUN) if isinstance(x, m.NeedGates)]


def test_a_workstream_blocked_by_hand_is_not_ended_for_it() -> None:
    blocked: Workstream = after(ws_machine, STREAMS["running"], order("blocked"))
    assert after(ws_machine, blocked, m.EndBlocked()).ending is None
    freed = after(ws_machine, blocked, m.Unblock((), "bob"))
    assert freed.state == "ready"


def test_a_workstream_whose_tasks_are_not_made_yet_is_not_overridden() -> None:
    said = answer(step(ws_machine, ws_kit.new(), order("running")))
    assert "try again in a moment" in said.reason


def test_a_paused_workstream_that_is_overridden_is_paused_no_more() -> None:
    going = step(ws_machine, STREAMS["paused"], order("running"))
    assert not going.state.paused
    assert sent(going, ws_kit.DISPATCH) == [m.HoldRun("r", False, "w")]


# --- a slot and its process -----------------------------------------------------------------------


def test_a_busy_slot_kills_its_process_and_gets_a_new_one_once_the_lease_is_back() -> None:
    asked = step(worker_machine, SLOTS["busy"], order("idle"))
    (stop,) = sent(asked, slot_kit.UET)
    assert stop.kill
    over = step(worker_machine, asked.state, *DEATHS["worker"])
    assert path(over) == ["idle"]
    assert sent(over, slot_kit.NEXT) == [m.Begin()]


@pytest.mark.parametrize("kill_again", [(), (m.StopUet(kill=True),)], ids=["once", "twice"])
def test_the_task_of_a_process_that_was_killed_by_hand_hears_whose_doing_it_was(
    kill_again: tuple[Any, ...],
) -> None:
    (stop,) = sent(step(worker_machine, SLOTS["busy"], order("failed")), slot_kit.UET)
    for killed in ((stop,), (order("terminated"),)):
        gone = step(uet_machine, PROCESSES["busy"], *killed, *kill_again, uet_kit.GONE)
        (finished,) = sent(gone, uet_kit.TASK)
        assert finished.outcome.by_hand


def test_a_slot_whose_task_ends_before_the_process_gets_its_new_one_when_that_is_gone() -> None:
    asked = after(worker_machine, SLOTS["busy"], order("idle"), slot_kit.ENDED)
    assert (asked.state, asked.ready) == ("idle", False)
    gone = step(worker_machine, asked, m.UetEnded(slot_kit.UET, crashed=False))
    assert sent(gone, slot_kit.NEXT) == [m.Begin()]


def test_a_slot_sent_to_fail_comes_back_by_its_restart() -> None:
    failed = step(worker_machine, SLOTS["idle"], order("failed"))
    assert path(failed) == ["failed"]
    gone = step(worker_machine, failed.state, slot_kit.STOPPED)
    assert "restart" in slot_kit.timers(gone)


@pytest.mark.parametrize("gone_before", [False, True])
def test_a_slot_sent_to_fail_that_failed_by_itself_meanwhile_comes_back_by_its_restart(
    gone_before: bool,
) -> None:
    silence = (m.TimerFired("heartbeat"), m.TimerFired("recovery"))
    failed = after(worker_machine, SLOTS["busy"], order("failed"), *silence)
    assert (failed.state, failed.lease) == ("failed", SLOTS["busy"].lease)
    crashed = m.UetEnded(slot_kit.UET, crashed=True)
    last = (crashed, slot_kit.ENDED) if gone_before else (slot_kit.ENDED, crashed)
    over = step(worker_machine, after(worker_machine, failed, last[0]), last[1])
    assert over.state.lease is None
    assert "restart" in slot_kit.timers(over)


def test_a_process_that_came_up_as_its_slot_was_failed_is_not_taken_for_a_new_one() -> None:
    failed = step(worker_machine, SLOTS["initializing"], order("failed"))
    up = m.UetReady(f"uet_worker:{failed.state.uet_id}")
    late = step(worker_machine, failed.state, up)
    assert path(late) == []
    gone = step(worker_machine, late.state, slot_kit.STOPPED)
    assert "restart" in slot_kit.timers(gone)


def test_a_process_is_terminated_only_when_it_is_gone_and_its_slot_takes_that_for_a_crash() -> None:
    asked = step(uet_machine, PROCESSES["busy"], order("terminated"))
    assert asked.edges == ()
    assert [e.kill for e in effects(asked, StopProcess)] == [True]
    gone = uet_machine.decide(asked.state, *DEATHS["uet_worker"], 11.0)
    assert path(gone) == ["terminated"]
    assert sent(gone, uet_kit.SLOT) == [m.UetEnded(uet_kit.ME, True, WHY)]
    uet_kit.lost(gone)


# --- a gate ---------------------------------------------------------------------------------------


def test_a_running_gate_fails_by_a_word_once_its_command_is_dead() -> None:
    asked = step(gate_machine, GATES["running"], order("failed"))
    assert (asked.edges, len(effects(asked, KillGate))) == ((), 1)
    dead = step(gate_machine, asked.state, *DEATHS["test_gate"])
    assert gate_kit.told(dead) == ("failed", Standing.FAILED, Standing.WAITING)
    assert dead.state.reason == WHY
    restarted = step(gate_machine, asked.state, m.Recovered(2))
    assert path(restarted) == ["failed"]


def test_a_gate_blocked_by_hand_is_let_go_by_hand() -> None:
    blocked = step(gate_machine, GATES["pending"], order("blocked"))
    assert gate_kit.told(blocked)[:2] == ("blocked", Standing.STALLED)
    freed = step(gate_machine, blocked.state, order("pending"))
    assert gate_kit.told(freed) == ("pending", Standing.WAITING, Standing.STALLED)
    assert freed.state.queued


def test_no_word_makes_a_gate_pass_but_approve_is_named_where_a_person_judges() -> None:
    approval = replace(gate_kit.new(), spec=replace(gate_kit.SEED, gate=spec.Gate(approval=True)))
    asked = step(gate_machine, approval, gate_kit.NEEDED, order("passed"))
    assert "banksman approve r/gate:unit~1" in answer(asked).reason
    over = step(gate_machine, asked.state, order("cancelled"), order("passed"))
    assert "banksman approve" not in answer(over).reason


# --- a breaker, a patch ---------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["closed", "open", "half_open"])
@pytest.mark.parametrize("target", ["closed", "open", "half_open"])
def test_a_breaker_goes_where_it_is_sent_by_edges_of_a_persons(source: str, target: str) -> None:
    value = breaker.create("ruff", ("ruff",), spec.Breaker(), 1.0)
    if source != "closed":
        value = after(breaker, value, order(source))
    went = step(breaker, value, order(target))
    if source == target:
        assert "already" in answer(went).reason
        return
    assert path(went) == PAIRS["circuit_breaker", source, target].split()
    assert {(e.trigger, e.operator) for e in went.edges} == {("manual_override", "ann")}
    assert (went.state.due is not None) == (target == "open")


IN_LEDGER: dict[str, Callable[[], Ledger]] = {
    "pending": Ledger,
    "validating": patch_kit.validating,
    "staged": patch_kit.staged,
    "blocked": patch_kit.blocked,
    "applied": patch_kit.applied,
    "verified": patch_kit.verified_and_paused,
    "quarantined": patch_kit.quarantined,
}
PATCHES = [(s, target) for k, s, target in PAIRS if k == "patch_ledger"]


@pytest.mark.parametrize(("source", "target"), PATCHES)
def test_a_patch_takes_exactly_the_way_and_git_is_never_touched(source: str, target: str) -> None:
    ledger, cell = IN_LEDGER[source](), PAIRS["patch_ledger", source, target]
    before = ledger.patch
    ledger.tell(order(target))
    if cell.startswith(("-", "!")) or target == "rolled_back":
        assert isinstance(ledger.reply, m.Refused)
        assert ledger.patch is before
        return
    assert isinstance(ledger.reply, m.Accepted)
    assert [edge.target for edge in ledger.taken] == cell.split()
    assert ledger.patch.commit_sha is None
    assert ledger.work is (Work.JUDGE if target == "validating" else None)
    assert ledger.patch.attempt > before.attempt


def test_a_patch_whose_ref_may_be_moving_is_not_overridden() -> None:
    said = patch_kit.verified().tell(order("dropped")).reply
    assert "a ref is being moved" in said.reason


# --- whole runs: counts and ends agree everywhere (the world checks that at every turn) -----------


def a_run(**more: Any) -> World:
    """A run with a slot of its own; "b" waits for "a"."""
    work = spec.Task(command=("work",))
    world = World()
    world.submit(
        spec.Plan(
            run=spec.Run(name="n"),
            workers={"p": spec.Pool(count=1)},
            workstreams={
                "a": spec.Workstream(tasks={"x": work, "y": work}),
                "b": spec.Workstream(tasks={"z": work}, depends_on=("a",), **more),
            },
        )
    )
    world.deliver()
    return world


@pytest.mark.parametrize(
    ("target", "went"),
    [
        ("completed", ["running", "completed"]),
        ("failed", ["running", "failed"]),
        ("cancelled", ["running", "cancelled"]),
    ],
)
def test_a_run_that_is_ended_by_an_override_ends_from_below(target: str, went: list[str]) -> None:
    world = a_run()
    assert isinstance(world.ask("run:r", order(target)), m.Accepted)
    world.drive()
    assert world.moves("run:r")[1:] == went
    assert world["run:r"].reason == WHY
    assert all(task.completed_at is not None for task in world.of("task"))


def test_a_run_is_paused_and_let_go_on_by_an_override_as_by_any_pause() -> None:
    world = a_run()
    world.ask("run:r", order("paused"))
    assert world.state("run:r") == "paused"
    world.ask("run:r", order("running"))
    world.drive()
    assert world.state("run:r") == "completed"


MOVABLE = sorted({(k, to) for k, _, to in PAIRS if k in MACHINES and to != "shutdown"})


@pytest.mark.parametrize(("kind", "target"), MOVABLE)
def test_a_run_still_ends_whatever_was_overridden_and_whenever(kind: str, target: str) -> None:
    for turns in range(0, 60, 7):
        world = a_run()
        for _ in range(turns):
            if not world.step() and world.reports:
                world.report()
        for value in world.of(kind):
            if value.completed_at is None:
                world.ask(f"{kind}:{value.id}", order(target))
        world.drive()
        let_go(world)
        assert world["run:r"].completed_at is not None, (turns, world.state("run:r"))


def let_go(world: World) -> None:
    """What an operator put on hold goes on."""
    for kind, word in (("worker", m.Resume("bob")), ("workstream", m.Resume("bob"))):
        for value in world.of(kind):
            if value.state == "paused":
                world.ask(f"{kind}:{value.id}", word)
    world.drive()
    for kind in ("workstream", "task"):
        for value in world.of(kind):
            if value.state == "blocked" and value.reason == WHY:
                world.ask(f"{kind}:{value.id}", m.Unblock((), "bob"))
    world.drive()
