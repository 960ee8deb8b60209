"""A run: making its parts, counting them, ending what can never start, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest

from actors import messages as m
from actors import run as machine
from actors import spec
from actors.effects import Note, Send, Spawn
from actors.run import SLICE, Run, State
from tests.actors.steps import after, answer, effects, sent, step, triggers

ME = "run:r"
A, B = "workstream:r/a", "workstream:r/b"
DISPATCH = "dispatch:main"
LINT = "test_gate:r/gate:lint~1"
SPARE = "test_gate:r/gate:spare~1"
BEGIN = m.Begin()
CANCEL = m.Cancel("enough", "ann")
TASK = spec.Task(command=("make",))
GATED = spec.Task(command=("make",), gates=("lint",), validate=("unit",))
GATE = spec.Gate(command=("check",))


def plan(
    *,
    a: spec.Workstream | None = None,
    b: spec.Workstream | None = None,
    gates: dict[str, spec.Gate] | None = None,
    workers: dict[str, spec.Pool] | None = None,
    **run: Any,
) -> spec.Plan:
    return spec.Plan(
        run=spec.Run(name="nightly", **run),
        workers=workers or {},
        gates=gates or {},
        workstreams={
            "a": a or spec.Workstream(tasks={"x": TASK}),
            "b": b or spec.Workstream(tasks={"y": TASK}),
        },
    )


def new(**more: Any) -> Run:
    return machine.create(plan(**more), "r", 1.0, "key")


def at(*messages: Any, **more: Any) -> Run:
    """A run in RUNNING, and after these messages."""
    value: Run = after(machine, new(**more), BEGIN, m.Expand(0), *messages)
    return value


def moved(workstream: str, source: str, target: str, **more: Any) -> m.WorkstreamMoved:
    return m.WorkstreamMoved(workstream, source, target, **more)


def through(workstream: str, *states: str, **more: Any) -> list[m.WorkstreamMoved]:
    """A workstream's way through these states, from PENDING on."""
    way = ("pending", *states)
    last = len(states) - 1
    return [
        moved(workstream, source, target, **(more if n == last else {}))
        for n, (source, target) in enumerate(zip(way, states, strict=False))
    ]


def completed(workstream: str) -> list[m.WorkstreamMoved]:
    return through(workstream, "ready", "running", "validating", "completed")


def failed(workstream: str, **more: Any) -> list[m.WorkstreamMoved]:
    return through(workstream, "ready", "running", "failed", reason="r/x failed", **more)


def blocked(workstream: str) -> list[m.WorkstreamMoved]:
    return through(workstream, "ready", "running", "blocked")


RUNNING = at()
PAUSED = at(m.Pause("ann"))
GATES = {"lint": GATE, "unit": GATE, "spare": GATE}
GATED_RUN: dict[str, Any] = {"a": spec.Workstream(tasks={"x": GATED}), "gates": GATES}


def spawned(decision: Any, kind: str) -> list[str]:
    return [e.value.id for e in effects(decision, Spawn) if e.kind == kind]


# --- making it -----------------------------------------------------------------------------------


def test_a_new_run_keeps_name_phase_and_key_of_its_submission() -> None:
    value = new(phase="PH-002")
    assert (value.name, value.phase, value.idempotency_key) == ("nightly", "PH-002", "key")
    assert value.state is State.INITIALIZING


def test_begin_makes_workstreams_and_slots_and_goes_on_with_the_tasks() -> None:
    decision = step(machine, new(workers={"p": spec.Pool(count=2)}), BEGIN)
    assert spawned(decision, "workstream") == ["r/a", "r/b"]
    assert spawned(decision, "worker") == ["r/worker:p.1", "r/worker:p.2"]
    assert sent(decision, "worker:r/worker:p.1") == [BEGIN]
    assert sent(decision, ME) == [m.Expand(0)]
    assert decision.edges == ()


def test_begin_twice_makes_it_once() -> None:
    assert step(machine, new(), BEGIN, BEGIN).effects == ()


def test_a_plan_without_a_task_fails_before_it_runs() -> None:
    empty = spec.Workstream()
    decision = step(machine, new(a=empty, b=empty), BEGIN)
    assert triggers(decision) == ["run_failed"]
    assert decision.effects == ()


def test_tasks_are_made_a_slice_in_a_turn_and_then_it_runs() -> None:
    many = spec.Workstream(tasks={f"t{n}": TASK for n in range(SLICE)})
    decision = step(machine, new(a=many), BEGIN, m.Expand(0))
    assert len(spawned(decision, "task")) == SLICE
    assert sent(decision, ME) == [m.Expand(SLICE)]
    assert decision.edges == ()
    last = step(machine, decision.state, m.Expand(SLICE))
    assert spawned(last, "task") == ["r/b/y"]
    assert triggers(last) == ["run_started"]
    assert last.state.expanded == SLICE + 1


def test_a_slice_that_comes_again_makes_nothing() -> None:
    assert step(machine, RUNNING, m.Expand(0)).effects == ()


def test_a_run_that_runs_begins_its_workstreams() -> None:
    decision = step(machine, new(), BEGIN, m.Expand(0))
    assert sent(decision, A) == [BEGIN]
    assert sent(decision, B) == [BEGIN]
    assert decision.state.started_at == 10.0


def test_gates_are_made_after_the_tasks_that_they_speak_to() -> None:
    decision = step(machine, new(**GATED_RUN), BEGIN, m.Expand(0))
    kinds = [e.kind for e in effects(decision, Spawn)]
    assert kinds == ["task", "task", "test_gate", "test_gate"]
    assert decision.state.gates_open == 2
    assert dict(zip(GATES, decision.state.gate_counts, strict=True)) == {
        "lint": 1,
        "unit": 0,
        "spare": 1,
    }


def test_a_gate_that_nothing_needs_is_cancelled() -> None:
    decision = step(machine, new(**GATED_RUN), BEGIN, m.Expand(0))
    assert sent(decision, SPARE) == [m.Cancel("nothing needs it")]
    assert sent(decision, LINT) == []


# --- how it ends ---------------------------------------------------------------------------------


def test_a_run_completes_with_its_last_workstream() -> None:
    decision = step(machine, RUNNING, *completed(A), *completed(B))
    assert triggers(decision) == ["run_completed"]
    assert decision.state.completed_at == 10.0


def test_its_own_slots_are_shut_down_at_its_end_and_do_not_hold_it_up() -> None:
    value = at(*completed(A), workers={"p": spec.Pool(count=1)})
    decision = step(machine, value, *completed(B))
    assert decision.state.state is State.COMPLETED
    assert sent(decision, "worker:r/worker:p.1") == [m.Shutdown("its run is over")]


def test_a_critical_workstream_that_failed_fails_the_run_once_all_have_ended() -> None:
    decision = step(machine, RUNNING, *failed(A))
    assert decision.edges == ()
    last = step(machine, decision.state, *completed(B))
    assert triggers(last) == ["run_failed"]
    assert last.state.reason == "r/a failed: r/x failed"


def test_a_critical_workstream_skipped_through_a_failure_fails_the_run() -> None:
    skipped = through(A, "blocked", "skipped", through_failure=True, reason="r/x failed")
    decision = step(machine, RUNNING, *skipped, *completed(B))
    assert triggers(decision) == ["run_failed"]


def test_a_workstream_skipped_by_plan_or_operator_fails_nothing() -> None:
    decision = step(machine, RUNNING, *through(A, "skipped"), *completed(B))
    assert triggers(decision) == ["run_completed"]
    assert decision.state.skipped == 1


def test_a_workstream_that_a_person_cancelled_fails_nothing() -> None:
    decision = step(machine, RUNNING, *through(A, "cancelled"), *completed(B))
    assert triggers(decision) == ["run_completed"]


def test_uncritical_failures_are_counted_and_on_record() -> None:
    a = failed(A, critical=False, noncritical_failures=2)
    decision = step(machine, RUNNING, *a, *completed(B))
    assert triggers(decision) == ["run_completed"]
    assert decision.edges[0].metadata.noncritical_failures == 3
    assert decision.edges[0].metadata.failed_workstreams == 1


def test_a_failure_stops_the_others_if_the_plan_says_so() -> None:
    value = at(on_failure="stop")
    decision = step(machine, value, *failed(A))
    (cancel,) = sent(decision, B)
    assert cancel == m.Cancel("r/a failed: r/x failed", through_failure=True)
    last = step(machine, decision.state, *through(B, "cancelled", through_failure=True))
    assert triggers(last) == ["run_failed"]


def test_a_second_failure_does_not_stop_them_again_nor_take_the_first_ones_place() -> None:
    value = at(*failed(A), on_failure="stop")
    decision = step(machine, value, *failed(B))
    assert sent(decision, A) == []
    assert decision.state.cause == "r/a failed: r/x failed"


# --- gates ---------------------------------------------------------------------------------------


def test_a_run_waits_for_its_gates_and_ends_those_that_nobody_waits_for() -> None:
    decision = step(machine, at(*completed(A), **GATED_RUN), *completed(B))
    assert decision.edges == ()
    assert [type(x) for x in sent(decision, LINT)] == [m.Cancel]
    value = after(machine, decision.state, m.GateMoved(LINT, "passed"))
    assert value.state is State.RUNNING
    assert triggers(step(machine, value, m.GateMoved(SPARE, "cancelled"))) == ["run_completed"]


def test_gates_that_judge_are_made_with_the_next_numbers_and_told_to_whoever_asked() -> None:
    asked = m.NeedGates("task:r/a/x", ("unit", "lint"), "1.7")
    decision = step(machine, at(**GATED_RUN), asked)
    assert set(spawned(decision, "test_gate")) == {"r/gate:unit~1", "r/gate:lint~2"}
    (made,) = sent(decision, "task:r/a/x")
    assert made.ticket == "1.7"
    assert set(made.gates) == {"test_gate:r/gate:unit~1", "test_gate:r/gate:lint~2"}
    assert sent(decision, "test_gate:r/gate:unit~1") == [m.GateNeeded("task:r/a/x")]
    assert decision.state.gates_open == 4


def test_gates_that_only_others_depend_on_are_made_but_not_asked_for() -> None:
    chain = {"lint": GATE, "unit": spec.Gate(command=("u",), depends_on=("lint",))}
    value = at(a=spec.Workstream(tasks={"x": TASK}, gates=("unit",)), gates=chain)
    decision = step(machine, value, m.NeedGates(A, ("unit",), "r/a"))
    assert sent(decision, "test_gate:r/gate:lint~1") == []


RERUN = m.RerunGate("r/gate:lint~1", "ann", "flaky")


def test_a_gate_is_run_again_under_the_next_number_by_the_gate_itself() -> None:
    decision = step(machine, at(**GATED_RUN), RERUN)
    again = m.RerunGate("r/gate:lint~1", "ann", "flaky", n=2)
    assert decision.effects == (Send(LINT, again, control=True, hand_on=True),)
    assert decision.state.gates_open == 3


def test_a_gate_that_was_not_run_again_is_counted_out() -> None:
    value = at(RERUN, m.GateMoved(LINT, "refused"), **GATED_RUN)
    assert value.gates_open == 2


def test_a_gate_that_was_run_again_is_ended_with_the_run() -> None:
    asked = m.NeedGates("task:r/a/x", ("unit",), "1.7")
    unit = "test_gate:r/gate:unit~1"
    value = at(asked, m.RerunGate("r/gate:unit~1", "ann"), *completed(A), **GATED_RUN)
    assert [type(x) for x in sent(step(machine, value, *completed(B)), unit)] == [m.Cancel]


def test_a_rerun_is_refused_for_what_is_no_gate_of_it_and_once_it_ends() -> None:
    value = at(**GATED_RUN)
    for gate in ("r/gate:nobody~1", "q/gate:lint~1", "lint"):
        assert "is no gate of r" in answer(step(machine, value, m.RerunGate(gate))).reason
    assert "is ending" in answer(step(machine, value, CANCEL, RERUN)).reason


# --- what can never start ------------------------------------------------------------------------


def told_to_end(decision: Any) -> list[str]:
    return [
        effect.to.partition("/")[2]
        for effect in effects(decision, Send)
        if effect.message == m.EndBlocked()
    ]


def test_what_is_blocked_ends_once_nothing_else_moves() -> None:
    one = step(machine, RUNNING, *blocked(A), *through(B, "ready"))
    assert told_to_end(one) == []
    decision = step(machine, one.state, moved(B, "ready", "cancelled"))
    assert told_to_end(decision) == ["a", "b"]


def test_a_ready_workstream_that_is_stuck_does_not_move_either() -> None:
    value = at(*blocked(A), *through(B, "ready"))
    decision = step(machine, value, m.WorkstreamStuck(B, stuck=True))
    assert told_to_end(decision) == ["a", "b"]


def test_one_that_gets_blocked_when_nothing_moves_any_more_is_told_alone() -> None:
    value = at(*failed(A))
    decision = step(machine, value, moved(B, "pending", "blocked"))
    assert told_to_end(decision) == ["b"]


@pytest.mark.parametrize(
    "way",
    [
        ("ready",),
        ("ready", "running"),
        ("ready", "running", "paused"),
        ("ready", "running", "validating"),
    ],
    ids=lambda way: way[-1],
)
def test_what_moves_or_is_paused_keeps_the_blocked_ones_alive(way: tuple[str, ...]) -> None:
    decision = step(machine, RUNNING, *through(B, *way), *blocked(A))
    assert told_to_end(decision) == []


def test_blocked_ones_wait_if_the_plan_says_so() -> None:
    decision = step(machine, at(on_blocked="wait"), *completed(B), *blocked(A))
    assert told_to_end(decision) == []
    assert decision.state.state is State.RUNNING


def test_blocked_ones_of_a_paused_run_end_only_after_its_resume() -> None:
    value = after(machine, PAUSED, *completed(B))
    decision = step(machine, value, *blocked(A))
    assert told_to_end(decision) == []
    assert told_to_end(step(machine, decision.state, m.Resume())) == ["a", "b"]


# --- pause ---------------------------------------------------------------------------------------


def test_a_paused_run_starts_nothing_more_and_its_clocks_stand_still() -> None:
    decision = step(machine, RUNNING, m.Pause("ann", "look"))
    assert triggers(decision) == ["run_paused"]
    assert decision.edges[0].operator == "ann"
    assert sent(decision, DISPATCH) == [m.HoldRun("r", True)]
    assert sent(decision, A) == [m.ClockHeld(True)]
    resumed = step(machine, decision.state, m.Resume("bo"))
    assert triggers(resumed) == ["run_resumed"]
    assert sent(resumed, DISPATCH) == [m.HoldRun("r", False)]
    assert sent(resumed, A) == [m.ClockHeld(False)]


def test_a_run_that_is_paused_while_it_is_made_starts_paused() -> None:
    asked = step(machine, new(), BEGIN, m.Pause("ann"))
    assert effects(asked, Note)[0].event_type == "run_pause_requested"
    decision = step(machine, asked.state, m.Expand(0))
    assert triggers(decision) == ["run_started", "run_paused"]
    assert sent(decision, DISPATCH) == [m.HoldRun("r", True)]


def test_a_pause_while_it_is_made_can_be_taken_back() -> None:
    decision = step(machine, new(), BEGIN, m.Pause("ann"), m.Resume("ann"), m.Expand(0))
    assert triggers(decision) == ["run_started"]


def test_a_paused_run_completes_at_its_resume() -> None:
    value = after(machine, PAUSED, *completed(A), *completed(B))
    assert value.state is State.PAUSED
    assert triggers(step(machine, value, m.Resume())) == ["run_resumed", "run_completed"]


def test_a_paused_run_that_has_failed_is_failed() -> None:
    decision = step(machine, PAUSED, *completed(A), *failed(B))
    assert triggers(decision) == ["run_failed"]


def test_a_new_dispatcher_learns_of_the_pause() -> None:
    for word in (m.Recovered(2), m.Announce()):
        assert sent(step(machine, PAUSED, word), DISPATCH) == [m.HoldRun("r", True)]
        assert step(machine, RUNNING, word).effects == ()


def test_pausing_twice_and_resuming_what_is_not_paused_are_answered() -> None:
    assert answer(step(machine, PAUSED, m.Pause())).text == "is paused already"
    assert answer(step(machine, RUNNING, m.Resume())).text == "is not paused"


# --- cancel --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [RUNNING, PAUSED], ids=["running", "paused"])
def test_a_cancel_ends_every_workstream_first(value: Run) -> None:
    decision = step(machine, value, CANCEL)
    assert decision.edges == ()
    assert sent(decision, A) == [m.Cancel("enough", "ann")]
    last = step(machine, decision.state, *through(A, "cancelled"), *through(B, "cancelled"))
    assert triggers(last) == ["run_cancelled"]
    assert (last.state.reason, last.edges[0].operator) == ("enough", "ann")


def test_a_cancel_is_on_record_when_it_is_asked_for() -> None:
    (note,) = effects(step(machine, RUNNING, CANCEL), Note)
    assert (note.event_type, note.operator, note.reason) == (
        "run_cancel_requested",
        "ann",
        "enough",
    )


def test_a_cancelled_run_is_cancelled_even_if_something_failed_on_the_way() -> None:
    value = after(machine, RUNNING, *failed(A), CANCEL)
    assert triggers(step(machine, value, *through(B, "cancelled"))) == ["run_cancelled"]


def test_a_run_that_is_cancelled_before_it_begins_is_cancelled_at_once() -> None:
    decision = step(machine, new(workers={"p": spec.Pool(count=1)}), CANCEL)
    assert triggers(decision) == ["run_cancelled"]
    assert effects(decision, Send) == []
    assert step(machine, decision.state, BEGIN).effects == ()


def test_a_run_that_is_cancelled_while_it_is_made_ends_what_was_made() -> None:
    decision = step(machine, new(), BEGIN, CANCEL, m.Expand(0))
    assert decision.edges == ()
    assert sent(decision, A) == [BEGIN, m.Cancel("enough", "ann")]
    last = step(machine, decision.state, *through(A, "cancelled"), *through(B, "cancelled"))
    assert [(t.source, t.target) for t in last.edges] == [("initializing", "cancelled")]


def test_a_second_cancel_finds_the_first() -> None:
    decision = step(machine, RUNNING, CANCEL, CANCEL)
    assert answer(decision).text == "is being cancelled already"
    assert sent(decision, A) == []


def test_a_paused_run_that_ends_leaves_no_hold_behind() -> None:
    value = after(machine, PAUSED, CANCEL, *through(A, "cancelled"))
    decision = step(machine, value, *through(B, "cancelled"))
    assert m.HoldRun("r", False) in sent(decision, DISPATCH)


@pytest.mark.parametrize("word", [m.Pause(), m.Resume(), CANCEL, RERUN])
def test_a_run_that_has_ended_refuses_the_operators_hand(word: Any) -> None:
    over = at(*completed(A), *completed(B))
    decision = step(machine, over, word)
    assert answer(decision) == m.Refused("r is completed already")
    assert decision.state is over
