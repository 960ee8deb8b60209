"""A worker: one lease at a time, one process at a time, and a pool that never shrinks."""

from __future__ import annotations

from typing import Any

import pytest

from actors import messages as m
from actors import spec
from actors import worker as machine
from actors.effects import CancelTimer, Note, SetTimer, Spawn
from actors.worker import State, Worker
from tests.actors.steps import after, answer, effects, sent, step, triggers

ME = "worker:r/worker:p.1"
UET = "uet_worker:r/worker:p.1@1"
NEXT = "uet_worker:r/worker:p.1@2"
DISPATCH = "dispatch:main"
TASK = "task:r/w/t"
POOL = spec.Pool(
    capabilities=("python",),
    affinity=("w",),
    heartbeat_s=10.0,
    recovery_window_s=60.0,
    restart=spec.Restart(intensity=2, window_s=100.0, backoff_s=1.0, backoff_s_max=8.0),
)
SEED = spec.WorkerSeed(id="r/worker:p.1", run_id="r", pool="p", slot=POOL)
NEW = machine.create(SEED, 1.0)
READY = m.UetReady(UET)
ASSIGN = m.Assign(TASK, "1.1")
FREE = m.SlotFree(ME, "r", "p", "process", ("python",), ("w",))
ENDED = m.LeaseEnded("1.1")
CRASHED = m.UetEnded(UET, crashed=True, reason="signal 9")
STOPPED = m.UetEnded(UET, crashed=False)
OWNER = m.UetEnded(UET, crashed=True, reason=m.OWNER_RESTARTED)
BEAT = m.HeartbeatSeen(UET, "1.1")
SILENCE = m.TimerFired("heartbeat")
WINDOW = m.TimerFired("recovery")


def at(*messages: Any, now: float = 10.0) -> Worker:
    value: Worker = after(machine, NEW, m.Begin(), *messages, now=now)
    return value


STARTING = at()
IDLE = at(READY)
BUSY = at(READY, ASSIGN)
DOUBTED = at(READY, ASSIGN, SILENCE)
FAILED = at(READY, CRASHED)
PAUSED = at(READY, m.Pause("ann"))
OVER = at(READY, m.Shutdown("its run is over"))


def timers(decision: Any) -> dict[str, float]:
    return {t.key: t.due for t in effects(decision, SetTimer)}


# --- coming up -----------------------------------------------------------------------------------


def test_begin_starts_the_first_process() -> None:
    decision = step(machine, NEW, m.Begin())
    (spawn,) = effects(decision, Spawn)
    assert spawn == Spawn("uet_worker", spec.UetSeed(worker=SEED, n=1))
    assert sent(decision, UET) == [m.Begin()]


def test_begin_twice_starts_one_process() -> None:
    assert step(machine, STARTING, m.Begin()).effects == ()


def test_a_slot_is_offered_once_its_process_is_up() -> None:
    decision = step(machine, STARTING, READY)
    assert triggers(decision) == ["registered"]
    assert sent(decision, DISPATCH) == [FREE]
    assert decision.state.started_at == 10.0


def test_a_process_that_does_not_come_up_is_started_again_later() -> None:
    decision = step(machine, STARTING, CRASHED)
    assert triggers(decision) == ["worker_failed"]
    assert timers(decision) == {"restart": 11.0}


# --- the lease -----------------------------------------------------------------------------------


def test_an_assignment_is_handed_to_the_task_with_slot_process_and_lease() -> None:
    decision = step(machine, IDLE, ASSIGN)
    assert triggers(decision) == ["task_assigned"]
    assert (decision.state.lease, decision.state.task_id) == ("1.1", "r/w/t")
    assert sent(decision, TASK) == [m.Assigned(ME, UET, "1.1")]


@pytest.mark.parametrize(
    "value",
    [STARTING, BUSY, DOUBTED, FAILED, PAUSED, OVER, at(READY, m.Replace("ann"))],
    ids=["starting", "busy", "doubted", "failed", "paused", "over", "being replaced"],
)
def test_a_slot_that_cannot_take_a_task_tells_the_task(value: Worker) -> None:
    decision = step(machine, value, m.Assign("task:r/w/u", "1.2"))
    assert decision.state is value
    assert sent(decision, "task:r/w/u") == [m.AssignmentRefused("1.2")]


def test_a_lease_that_ends_frees_the_slot() -> None:
    decision = step(machine, BUSY, ENDED)
    assert triggers(decision) == ["task_completed"]
    assert (decision.state.lease, decision.state.task_id) == (None, None)
    assert sent(decision, DISPATCH) == [FREE]


def test_an_assignment_that_is_returned_frees_the_slot() -> None:
    decision = step(machine, BUSY, m.ReturnAssignment("1.1"))
    assert triggers(decision) == ["assignment_returned"]
    assert sent(decision, DISPATCH) == [FREE]


@pytest.mark.parametrize("late", [m.LeaseEnded("0.9"), m.ReturnAssignment("0.9")])
def test_the_end_of_an_older_lease_does_not_free_the_slot(late: Any) -> None:
    for value in (BUSY, IDLE, FAILED, OVER):
        decision = step(machine, value, late)
        assert decision.state is value
        assert decision.effects == ()


def test_a_slot_whose_task_left_undead_processes_is_retired_and_replaced() -> None:
    decision = step(machine, BUSY, m.LeaseEnded("1.1", undead=True))
    assert triggers(decision) == ["shutdown"]
    (spawn,) = effects(decision, Spawn)
    assert spawn.value.id == "r/worker:p.1~2"
    assert sent(decision, "worker:r/worker:p.1~2") == [m.Begin()]
    assert sent(decision, UET)[0].kill
    (note,) = effects(decision, Note)
    assert (note.event_type, note.severity) == ("worker_retired", "critical")


def test_a_failed_slot_with_an_undead_task_is_retired_too() -> None:
    failed = at(READY, ASSIGN, CRASHED)
    decision = step(machine, failed, m.LeaseEnded("1.1", undead=True))
    assert decision.state.state is State.SHUTDOWN
    assert effects(decision, Spawn)


def test_the_replacement_of_a_replacement_counts_on() -> None:
    second = machine.create(spec.WorkerSeed(id="p.1~2", run_id=None, pool="p", slot=POOL), 1.0)
    uet = m.UetReady("uet_worker:p.1~2@1")
    undead = m.LeaseEnded("1.1", undead=True)
    decision = step(machine, second, m.Begin(), uet, ASSIGN, undead)
    assert effects(decision, Spawn)[0].value.id == "p.1~3"


# --- heartbeats ----------------------------------------------------------------------------------


def test_a_process_that_is_up_is_expected_to_beat_twice() -> None:
    decision = step(machine, STARTING, READY)
    assert effects(decision, SetTimer) == [SetTimer("heartbeat", 30.0, volatile=True)]


def test_a_heartbeat_changes_nothing_but_the_time_of_the_next() -> None:
    for value in (IDLE, BUSY):
        decision = step(machine, value, BEAT, now=15.0)
        assert decision.state is value
        assert decision.effects == (SetTimer("heartbeat", 35.0, volatile=True),)


def test_two_missed_beats_make_a_busy_slot_unresponsive() -> None:
    decision = step(machine, BUSY, SILENCE)
    assert triggers(decision) == ["heartbeat_missed"]
    assert effects(decision, SetTimer) == [SetTimer("recovery", 70.0, volatile=True)]
    metadata = decision.edges[0].metadata
    assert metadata.heartbeat_status == "missed"
    assert metadata.last_heartbeat_age_seconds == 20.0
    assert metadata.current_load == 1


def test_a_late_beat_resumes_a_doubted_slot() -> None:
    decision = step(machine, DOUBTED, BEAT)
    assert triggers(decision) == ["heartbeat_resumed"]
    assert decision.state.state is State.BUSY
    assert CancelTimer("recovery") in decision.effects


def test_a_result_from_a_doubted_slot_is_good_and_recovers_it() -> None:
    decision = step(machine, DOUBTED, ENDED)
    assert triggers(decision) == ["heartbeat_recovered"]
    assert sent(decision, DISPATCH) == [FREE]
    assert CancelTimer("recovery") in decision.effects


def test_silence_past_the_recovery_window_kills_the_process() -> None:
    decision = step(machine, DOUBTED, WINDOW)
    assert triggers(decision) == ["recovery_window_exceeded"]
    assert sent(decision, UET) == [m.StopUet(kill=True, reason=decision.state.reason)]


def test_the_next_process_waits_until_the_killed_one_is_gone_and_its_lease_given_back() -> None:
    failed = after(machine, DOUBTED, WINDOW)
    gone = step(machine, failed, STOPPED)
    assert timers(gone) == {"restart": 11.0}
    started = step(machine, gone.state, m.TimerFired("restart"), m.UetReady(NEXT))
    assert started.state.state is State.FAILED
    freed = step(machine, started.state, ENDED)
    assert triggers(freed) == ["recovered"]
    assert sent(freed, DISPATCH) == [FREE]


def test_a_silent_idle_process_is_killed_at_once() -> None:
    decision = step(machine, IDLE, SILENCE)
    assert triggers(decision) == ["worker_failed"]
    assert sent(decision, DISPATCH) == [m.SlotGone(ME)]
    assert sent(decision, UET)[0].kill


def test_a_silent_paused_process_is_killed_and_comes_back_paused() -> None:
    failed = after(machine, PAUSED, SILENCE, STOPPED, m.TimerFired("restart"))
    decision = step(machine, failed, m.UetReady(NEXT))
    assert triggers(decision) == ["recovered", "paused"]
    assert sent(decision, DISPATCH) == []


def test_a_stalled_loop_is_not_taken_for_a_dead_process() -> None:
    for value, key in ((BUSY, "heartbeat"), (IDLE, "heartbeat"), (DOUBTED, "recovery")):
        decision = step(machine, value, m.TimerFired(key, late_s=11.0))
        assert decision.state is value
        assert decision.effects == (SetTimer(key, 20.0, volatile=True),)


def test_a_task_may_allow_a_longer_silence_for_its_own_lease() -> None:
    decision = step(machine, BUSY, m.HeartbeatLimit("1.1", 90.0))
    assert timers(decision) == {"heartbeat": 100.0}
    freed = step(machine, decision.state, ENDED)
    assert timers(freed) == {"heartbeat": 30.0}


def test_a_silence_limit_never_shortens_the_two_beats() -> None:
    decision = step(machine, BUSY, m.HeartbeatLimit("1.1", 1.0))
    assert timers(decision) == {"heartbeat": 30.0}


def test_a_silence_limit_of_another_lease_is_not_taken() -> None:
    assert step(machine, BUSY, m.HeartbeatLimit("0.9", 90.0)).effects == ()


def test_an_inline_slot_is_not_expected_to_beat() -> None:
    pool = spec.Pool(kind="inline")
    inline = machine.create(spec.WorkerSeed(id="p.1", run_id=None, pool="p", slot=pool), 1.0)
    decision = step(machine, inline, m.Begin(), m.UetReady("uet_worker:p.1@1"))
    assert effects(decision, SetTimer) == []


def test_a_slot_without_a_process_is_not_expected_to_beat() -> None:
    for value in (STARTING, after(machine, IDLE, OWNER), after(machine, BUSY, OWNER, ENDED)):
        assert step(machine, value, SILENCE).effects == ()
    doubted = after(machine, DOUBTED, OWNER)
    assert timers(step(machine, doubted, ENDED)) == {}


def test_a_beat_of_a_given_up_process_means_nothing() -> None:
    for value in (FAILED, OVER, after(machine, DOUBTED, WINDOW)):
        assert step(machine, value, BEAT).effects == ()


# --- restarts ------------------------------------------------------------------------------------


def test_a_crash_fails_the_slot_and_takes_it_back() -> None:
    decision = step(machine, IDLE, CRASHED)
    assert triggers(decision) == ["worker_failed"]
    assert decision.edges[0].metadata.crash_detected
    assert not step(machine, IDLE, SILENCE).edges[0].metadata.crash_detected
    assert sent(decision, DISPATCH) == [m.SlotGone(ME)]
    assert timers(decision) == {"restart": 11.0}


def test_a_restart_timer_of_a_slot_that_has_a_process_starts_no_other() -> None:
    starting = after(machine, FAILED, m.TimerFired("restart"))
    for value in (starting, IDLE, BUSY):
        assert step(machine, value, m.TimerFired("restart")).effects == ()


def test_the_restart_timer_starts_the_next_incarnation() -> None:
    decision = step(machine, FAILED, m.TimerFired("restart"))
    assert effects(decision, Spawn)[0].value.id == "r/worker:p.1@2"
    assert decision.state.incarnation == 2
    ready = step(machine, decision.state, m.UetReady(NEXT))
    assert triggers(ready) == ["recovered"]


def test_restarts_wait_longer_and_past_their_intensity_longest_but_never_end() -> None:
    value, waits = IDLE, []
    for n in range(1, 6):
        decision = step(
            machine,
            value,
            m.UetEnded(f"{ME}@{n}".replace("worker:", "uet_worker:", 1), crashed=True),
        )
        waits.append(timers(decision)["restart"] - 10.0)
        again = m.UetReady(f"uet_worker:r/worker:p.1@{n + 1}")
        value = after(machine, decision.state, m.TimerFired("restart"), again)
    assert waits == [1.0, 2.0, 8.0, 8.0, 8.0]


def test_restarts_long_ago_do_not_count() -> None:
    crashed = after(machine, IDLE, CRASHED, m.TimerFired("restart"), m.UetReady(NEXT))
    decision = step(machine, crashed, m.UetEnded(NEXT, crashed=True), now=500.0)
    assert timers(decision) == {"restart": 501.0}


def test_the_end_of_the_owner_is_nobodys_failure() -> None:
    for value in (STARTING, IDLE, BUSY, PAUSED, DOUBTED):
        decision = step(machine, value, OWNER)
        assert decision.state.state is value.state
        assert decision.state.restarts == ()
        assert effects(decision, Spawn)[0].value.id == "r/worker:p.1@2"


def test_a_busy_slot_with_a_new_process_is_free_once_its_old_lease_is_given_back() -> None:
    value = after(machine, BUSY, OWNER, m.UetReady(NEXT))
    assert value.state is State.BUSY
    assert sent(step(machine, value, ENDED), DISPATCH) == [FREE]


def test_a_slot_whose_process_is_not_up_is_idle_but_not_offered() -> None:
    decision = step(machine, BUSY, OWNER, ENDED)
    assert decision.state.state is State.IDLE
    assert sent(decision, DISPATCH) == []
    assert sent(step(machine, decision.state, m.UetReady(NEXT)), DISPATCH) == [FREE]


def test_a_process_that_stops_with_its_owner_is_started_by_the_next_one() -> None:
    stopped = step(machine, IDLE, STOPPED)
    assert effects(stopped, Spawn) == []
    assert effects(step(machine, stopped.state, m.Recovered(2)), Spawn)


def test_a_failed_slot_waits_for_its_timer_also_under_a_new_owner() -> None:
    assert step(machine, FAILED, m.Recovered(2)).effects == ()


def test_an_idle_slot_is_offered_again_to_a_new_dispatcher() -> None:
    assert sent(step(machine, IDLE, m.Announce()), DISPATCH) == [FREE]
    for value in (BUSY, PAUSED, FAILED, OVER, STARTING):
        assert step(machine, value, m.Announce()).effects == ()


def test_a_slot_is_not_offered_under_a_new_owner_before_its_new_process_is_up() -> None:
    recovered = step(machine, IDLE, m.Recovered(2))
    assert recovered.effects == ()
    refused = step(machine, recovered.state, ASSIGN)
    assert sent(refused, TASK) == [m.AssignmentRefused("1.1")]
    spawned = step(machine, recovered.state, OWNER)
    assert sent(step(machine, spawned.state, m.UetReady(NEXT)), DISPATCH) == [FREE]


def test_words_of_an_incarnation_that_was_given_up_change_nothing() -> None:
    for late in (m.UetReady(NEXT), m.UetEnded(NEXT, crashed=True)):
        decision = step(machine, IDLE, late)
        assert decision.state is IDLE
        assert decision.effects == ()


# --- the operator's hand -------------------------------------------------------------------------


def test_an_idle_slot_pauses_at_once_and_is_taken_back() -> None:
    decision = step(machine, IDLE, m.Pause("ann", "look"))
    assert triggers(decision) == ["paused"]
    assert decision.edges[0].operator == "ann"
    assert sent(decision, DISPATCH) == [m.SlotGone(ME)]
    assert isinstance(answer(decision), m.Accepted)


def test_a_busy_slot_pauses_once_its_task_has_left_it() -> None:
    asked = step(machine, BUSY, m.Pause("ann"))
    assert asked.state.state is State.BUSY
    assert effects(asked, Note)[0].event_type == "worker_pause_requested"
    freed = step(machine, asked.state, ENDED)
    assert triggers(freed) == ["task_completed", "paused"]
    assert sent(freed, DISPATCH) == []


def test_a_resumed_slot_is_offered_again() -> None:
    decision = step(machine, PAUSED, m.Resume("ann"))
    assert triggers(decision) == ["resumed"]
    assert sent(decision, DISPATCH) == [FREE]


def test_a_pause_that_is_taken_back_in_time_leaves_no_trace_in_the_state() -> None:
    resumed = step(machine, BUSY, m.Pause("ann"), m.Resume("ann"))
    assert effects(resumed, Note)[0].event_type == "worker_resume_requested"
    assert after(machine, resumed.state, ENDED).state is State.IDLE


def test_pausing_twice_and_resuming_what_runs_are_answered() -> None:
    assert answer(step(machine, PAUSED, m.Pause("ann"))).text == "already paused"
    assert answer(step(machine, IDLE, m.Resume("ann"))).text == "not paused"


def test_an_idle_slot_that_is_drained_shuts_down() -> None:
    decision = step(machine, IDLE, m.Drain("ann"))
    assert triggers(decision) == ["shutdown"]
    assert sent(decision, DISPATCH) == [m.SlotGone(ME)]
    assert sent(decision, UET) == [m.StopUet()]
    assert effects(decision, Note)[0].event_type == "worker_drain_requested"


def test_a_busy_slot_that_is_drained_shuts_down_after_its_task() -> None:
    decision = step(machine, BUSY, m.Drain("ann"), ENDED)
    assert triggers(decision) == ["task_completed", "shutdown"]


def test_a_drained_slot_that_crashes_does_not_come_back() -> None:
    decision = step(machine, BUSY, m.Drain("ann"), CRASHED, ENDED)
    assert decision.state.state is State.SHUTDOWN


def test_a_replaced_process_ends_before_the_next_one_starts() -> None:
    asked = step(machine, IDLE, m.Replace("ann"))
    assert sent(asked, DISPATCH) == [m.SlotGone(ME)]
    assert sent(asked, UET) == [m.StopUet(reason="replaced")]
    assert CancelTimer("heartbeat") in asked.effects
    assert effects(asked, Note)[0].event_type == "worker_replace_requested"
    ended = step(machine, asked.state, STOPPED)
    assert effects(ended, Spawn)[0].value.id == "r/worker:p.1@2"
    assert sent(step(machine, ended.state, m.UetReady(NEXT)), DISPATCH) == [FREE]


def test_a_busy_process_is_replaced_once_its_task_has_left() -> None:
    asked = step(machine, BUSY, m.Replace("ann"))
    assert sent(asked, UET) == []
    freed = step(machine, asked.state, ENDED)
    assert sent(freed, UET) == [m.StopUet(reason="replaced")]
    assert sent(freed, DISPATCH) == []


def test_a_slot_without_a_process_is_not_replaced_again() -> None:
    assert "already" in answer(step(machine, FAILED, m.Replace("ann"))).text


@pytest.mark.parametrize(
    "value", [STARTING, IDLE, BUSY, PAUSED, DOUBTED, FAILED], ids=lambda v: str(v.state)
)
def test_shutdown_ends_the_slot_from_anywhere(value: Worker) -> None:
    decision = step(machine, value, m.Shutdown("its run is over"))
    assert triggers(decision) == ["shutdown"]
    assert decision.state.completed_at == 10.0
    assert sent(decision, DISPATCH) == [m.SlotGone(ME)]
    assert bool(sent(decision, UET)) == (value.uet_id is not None)


def test_an_unresponsive_process_is_killed_at_shutdown() -> None:
    assert sent(step(machine, DOUBTED, m.Shutdown()), UET)[0].kill


def test_a_process_that_comes_up_after_the_shutdown_is_killed() -> None:
    value = after(machine, STARTING, m.Shutdown())
    assert sent(step(machine, value, READY), UET) == [m.StopUet(kill=True)]


def test_shutdown_reaches_the_slot_that_stands_for_a_retired_one() -> None:
    retired = after(machine, BUSY, m.LeaseEnded("1.1", undead=True))
    decision = step(machine, retired, m.Shutdown("over"))
    assert sent(decision, "worker:r/worker:p.1~2") == [m.Shutdown("over")]


@pytest.mark.parametrize("word", [m.Pause(), m.Resume(), m.Drain(), m.Replace()])
def test_an_operator_is_refused_by_a_slot_that_is_shut_down(word: Any) -> None:
    decision = step(machine, OVER, word)
    assert isinstance(answer(decision), m.Refused)
    assert decision.state is OVER


def test_a_retired_slot_names_the_one_in_its_place() -> None:
    retired = after(machine, BUSY, m.LeaseEnded("1.1", undead=True))
    assert "r/worker:p.1~2 stands in its place" in answer(step(machine, retired, m.Pause())).reason
