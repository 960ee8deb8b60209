"""A UET worker: its process, the lease that it executes, and how both end."""

from __future__ import annotations

from typing import Any

import pytest

from actors import messages as m
from actors import spec
from actors import uet_worker as machine
from actors.effects import Offer, Release, StartProcess, StopProcess, Withdraw
from actors.machine import Decision
from actors.uet_worker import State, UetWorker
from tests.actors.steps import after, effects, sent, step, triggers

ME = "uet_worker:worker:p.1@1"
SLOT = "worker:worker:p.1"
TASK = "task:r/w/t"
POOL = spec.Pool(heartbeat_s=5.0, kill_timeout_s=7.0)
SEED = spec.UetSeed(
    worker=spec.WorkerSeed(id="worker:p.1", run_id=None, pool="p", slot=POOL, env_pass=("TOKEN",)),
    n=1,
)
NEW = machine.create(SEED, 1.0)
STARTED = m.ProcessStarted(pid=42, start_ticks=7, boot_id="b")
WORK = m.Execute("1.1", TASK, 3, command=("make",), cwd="src", env={"A": "1"}, base_dir="/plan")
LAUNCHED = m.Launched("1.1", pid=50, pgid=50, start_ticks=9)
DONE = m.WorkEnded("1.1", m.Outcome(exit_code=0))
GONE = m.ProcessExited(crashed=True, reason="signal 9")
ASKED = m.ProcessExited(crashed=False)


def at(*messages: Any) -> UetWorker:
    value: UetWorker = after(machine, NEW, *messages)
    return value


IDLE = at(m.Begin(), STARTED)
BUSY = at(m.Begin(), STARTED, WORK, LAUNCHED)
DRAINING = at(m.Begin(), STARTED, WORK, m.StopUet())
TERMINATED = at(m.Begin(), STARTED, GONE)


def lost(decision: Any) -> m.Outcome:
    (finished,) = sent(decision, TASK)
    assert isinstance(finished, m.WorkFinished)
    assert finished.lease == "1.1"
    assert finished.outcome.reason == "lost"
    assert finished.outcome.infrastructure
    return finished.outcome


# --- its process ---------------------------------------------------------------------------------


def test_begin_starts_the_process_as_the_pool_says() -> None:
    decision = step(machine, NEW, m.Begin())
    assert decision.effects == (StartProcess(ME, "p", "process", 5.0, ("TOKEN",)),)


def test_a_process_that_is_up_is_on_record_and_its_slot_is_told() -> None:
    decision = step(machine, NEW, m.Begin(), STARTED)
    assert decision.state.state is State.IDLE
    assert (IDLE.pid, IDLE.start_ticks, IDLE.boot_id, IDLE.started_at) == (42, 7, "b", 10.0)
    assert sent(decision, SLOT) == [m.UetReady(ME)]


def test_a_process_that_does_not_come_up_is_a_failed_spawn() -> None:
    decision = step(machine, NEW, m.Begin(), GONE)
    assert triggers(decision) == ["spawn_failed"]
    assert sent(decision, SLOT) == [m.UetEnded(ME, crashed=True, reason="signal 9")]


def test_an_idle_process_that_dies_by_itself_has_crashed() -> None:
    decision = step(machine, IDLE, GONE)
    assert triggers(decision) == ["crashed"]
    assert sent(decision, SLOT) == [m.UetEnded(ME, crashed=True, reason="signal 9")]


def test_a_stop_is_a_request_until_the_process_is_gone() -> None:
    decision = step(machine, IDLE, m.StopUet())
    assert decision.state.state is State.IDLE
    assert decision.effects == (StopProcess(ME, False, 7.0),)
    gone = step(machine, decision.state, GONE)
    assert triggers(gone) == ["shutdown_requested"]
    assert sent(gone, SLOT) == [m.UetEnded(ME, crashed=False, reason="signal 9")]


def test_a_stop_while_it_starts_waits_for_its_end_too() -> None:
    decision = step(machine, NEW, m.Begin(), m.StopUet(), STARTED)
    assert decision.state.state is State.SPAWNING
    assert decision.state.pid == 42
    assert triggers(step(machine, decision.state, ASKED)) == ["shutdown_requested"]


def test_a_second_stop_asks_again_only_to_kill() -> None:
    stopping = after(machine, IDLE, m.StopUet())
    assert step(machine, stopping, m.StopUet()).effects == ()
    assert step(machine, stopping, m.StopUet(kill=True)).effects == (StopProcess(ME, True, 7.0),)


def test_a_process_that_starts_after_its_end_was_recorded_is_killed() -> None:
    assert step(machine, TERMINATED, STARTED).effects == (StopProcess(ME, kill=True),)


def test_heartbeats_go_to_the_slot_and_change_nothing() -> None:
    for value in (IDLE, BUSY, DRAINING):
        decision = step(machine, value, m.Heartbeat())
        assert decision.state is value
        assert sent(decision, SLOT) == [m.HeartbeatSeen(ME, value.lease)]


# --- its lease -----------------------------------------------------------------------------------


def test_work_is_offered_under_its_lease() -> None:
    decision = step(machine, IDLE, WORK)
    assert triggers(decision) == ["task_assigned"]
    assert decision.state.lease == "1.1"
    (offer,) = effects(decision, Offer)
    assert offer == Offer(
        ME, "1.1", "r/w/t", 3, ("make",), None, {}, "src", {"A": "1"}, (), "/plan"
    )


def test_a_launcher_is_recorded_and_released_in_the_same_turn() -> None:
    decision = step(machine, IDLE, WORK, LAUNCHED)
    child = decision.state
    assert (child.child_pid, child.child_pgid, child.child_ticks) == (50, 50, 9)
    assert decision.effects == (Release(ME, "1.1"),)


def test_a_launcher_of_another_lease_is_not_released() -> None:
    decision = step(machine, IDLE, WORK, m.Launched("0.9", 50, 50, 9))
    assert decision.effects == ()


def test_a_launcher_whose_work_was_asked_to_end_is_recorded_but_not_released() -> None:
    decision = step(machine, IDLE, WORK, m.EndWork("1.1", "cancelled"), LAUNCHED)
    assert decision.state.child_pid == 50
    assert decision.effects == ()


def test_ended_work_frees_the_process_and_tells_the_task() -> None:
    decision = step(machine, BUSY, DONE)
    assert triggers(decision) == ["task_completed"]
    assert decision.state == IDLE
    assert sent(decision, TASK) == [m.WorkFinished("1.1", m.Outcome(exit_code=0))]


def test_an_end_of_an_older_lease_changes_nothing() -> None:
    for late in (m.WorkEnded("0.9", m.Outcome()), m.EndWork("0.9", "timeout")):
        decision = step(machine, BUSY, late)
        assert decision.state is BUSY
        assert decision.effects == ()


def test_work_is_withdrawn_once() -> None:
    decision = step(machine, BUSY, m.EndWork("1.1", "timeout"))
    assert decision.effects == (Withdraw(ME, "1.1", "timeout", 7.0),)
    assert step(machine, decision.state, m.EndWork("1.1", "cancelled")).effects == ()


def test_a_crash_while_busy_tells_the_task_that_its_work_is_lost() -> None:
    decision = step(machine, BUSY, GONE)
    assert triggers(decision) == ["crashed"]
    assert lost(decision).error == "signal 9"
    assert sent(decision, SLOT) == [m.UetEnded(ME, crashed=True, reason="signal 9")]
    assert decision.state.lease is None


def test_the_end_of_the_owner_is_named_to_task_and_slot() -> None:
    decision = step(machine, BUSY, m.ProcessExited(crashed=True, reason=m.OWNER_RESTARTED))
    assert lost(decision).error == m.OWNER_RESTARTED
    assert sent(decision, SLOT)[0].reason == m.OWNER_RESTARTED


@pytest.mark.parametrize(
    "value",
    [NEW, at(m.Begin(), STARTED, m.StopUet()), DRAINING, TERMINATED],
    ids=["spawning", "stopping", "draining", "terminated"],
)
def test_work_that_cannot_be_taken_on_is_lost_at_once(value: UetWorker) -> None:
    decision = step(machine, value, WORK)
    assert decision.state is value
    lost(decision)


# --- draining ------------------------------------------------------------------------------------


def test_a_busy_process_drains_before_it_stops() -> None:
    decision = step(machine, BUSY, m.StopUet(reason="replaced"))
    assert triggers(decision) == ["shutdown_requested"]
    assert decision.effects == ()
    ended = step(machine, decision.state, DONE)
    assert ended.state.state is State.DRAINING
    assert sent(ended, TASK) == [m.WorkFinished("1.1", m.Outcome(exit_code=0))]
    assert effects(ended, StopProcess) == [StopProcess(ME, False, 7.0)]
    assert triggers(step(machine, ended.state, ASKED)) == ["drained"]


def test_a_busy_process_that_is_to_be_killed_is_stopped_at_once() -> None:
    decision = step(machine, BUSY, m.StopUet(kill=True))
    assert decision.state.state is State.DRAINING
    assert decision.effects == (StopProcess(ME, True, 7.0),)
    lost(step(machine, decision.state, ASKED))


def test_a_draining_process_that_dies_by_itself_has_crashed() -> None:
    decision = step(machine, DRAINING, GONE)
    assert triggers(decision) == ["crashed"]
    lost(decision)


def test_work_of_a_draining_process_can_still_be_launched_and_withdrawn() -> None:
    decision = step(machine, DRAINING, LAUNCHED)
    assert decision.effects == (Release(ME, "1.1"),)
    decision = step(machine, DRAINING, m.EndWork("1.1", "timeout"))
    assert effects(decision, Withdraw)


@pytest.mark.parametrize("value", [NEW, IDLE, BUSY, DRAINING], ids=lambda v: str(v.state))
def test_words_that_come_too_late_or_twice_change_nothing(value: UetWorker) -> None:
    old = (m.WorkEnded("0.9", m.Outcome()), m.Launched("0.9", 1, 1, 1), m.EndWork("0.9", "x"))
    for late in (*old, m.Recovered(2), m.Announce()):
        decision = step(machine, value, late)
        assert decision.state is value
        assert decision.effects == ()


@pytest.mark.parametrize("value", [IDLE, BUSY, DRAINING], ids=lambda v: str(v.state))
def test_a_process_is_started_once(value: UetWorker) -> None:
    for again in (m.Begin(), STARTED):
        assert step(machine, value, again) == Decision(value)


def test_a_busy_process_takes_on_no_second_lease() -> None:
    decision = step(machine, BUSY, m.Execute("1.2", "task:r/w/u", 1))
    assert decision.state is BUSY
    (refused,) = sent(decision, "task:r/w/u")
    assert (refused.lease, refused.outcome.reason) == ("1.2", "lost")


def test_a_draining_process_can_still_be_killed() -> None:
    assert step(machine, DRAINING, m.StopUet(kill=True)).effects == (StopProcess(ME, True, 7.0),)
    assert step(machine, DRAINING, m.StopUet()).effects == ()


def test_a_lease_is_answered_exactly_once() -> None:
    ended = after(machine, BUSY, DONE, GONE)
    for late in (DONE, LAUNCHED, m.EndWork("1.1", "cancelled"), GONE, m.Heartbeat()):
        decision = step(machine, ended, late)
        assert decision.state is ended
        assert decision.effects == ()
