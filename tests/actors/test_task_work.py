"""A task that runs: its lease, what its outcome means, retries, validation and timeouts."""

from __future__ import annotations

from typing import Any

import pytest

from actors import messages as m
from actors import task as machine
from actors.effects import CancelTimer, Note, SetTimer, Spawn
from actors.messages import Outcome, Standing
from actors.task import State, Task
from actors.task_work import LOSSES_MAX
from tests.actors.steps import after, effects, sent, step, triggers
from tests.actors.task_kit import (
    ASSIGNED,
    DISPATCH,
    FAIL,
    JUDGE,
    LOST,
    ME,
    NEXT,
    OK,
    RUN,
    SLOT,
    UET,
    WORKSTREAM,
    finished,
    queued,
    running,
    task,
    validating,
    verdict,
)

BACKOFF = m.TimerFired("backoff")
EXECUTION = m.TimerFired("execution")
TOTAL = m.TimerFired("total")


def timers(decision: Any) -> dict[str, float]:
    return {t.key: t.due for t in effects(decision, SetTimer)}


# --- the lease -----------------------------------------------------------------------------------


def test_an_assigned_task_runs_under_its_lease() -> None:
    decision = step(machine, queued(), ASSIGNED)
    assert triggers(decision) == ["worker_assigned"]
    value = decision.state
    assert (value.worker_id, value.lease, value.attempt) == ("p.1", "1.1", 1)
    assert value.started_at == 10.0


def test_the_process_is_told_all_that_the_work_needs() -> None:
    value = queued(
        cwd="src",
        env={"A": "1"},
        seed={"env_pass": ("TOKEN",), "base_dir": "/plan"},
    )
    (work,) = sent(step(machine, value, ASSIGNED), UET)
    assert work == m.Execute(
        "1.1", ME, 1, ("make",), cwd="src", env={"A": "1"}, env_pass=("TOKEN",), base_dir="/plan"
    )


def test_leaving_running_gives_the_lease_back_whatever_the_outcome() -> None:
    for outcome, retries in ((OK, 0), (FAIL, 0), (FAIL, 1), (LOST, 0)):
        decision = step(machine, running(max_retries=retries), outcome)
        assert sent(decision, SLOT) == [m.LeaseEnded("1.1")]
        assert (decision.state.worker_id, decision.state.lease) == (None, None)
        assert decision.edges[0].metadata.worker_id == "p.1"


def test_leaving_running_frees_the_concurrency_key() -> None:
    decision = step(machine, running(concurrency_key="db"), OK)
    assert m.KeyFree("r", "db") in sent(decision, DISPATCH)


def test_a_new_dispatcher_learns_of_a_key_that_is_taken() -> None:
    value = running(concurrency_key="db")
    for word in (m.Recovered(2), m.Announce()):
        assert sent(step(machine, value, word), DISPATCH) == [m.KeyTaken(ME, "r", "db")]


@pytest.mark.parametrize(
    "value", [task(), queued(), running(), validating(), running(OK)], ids=lambda v: str(v.state)
)
def test_a_result_of_another_lease_is_refused_and_on_record(value: Task) -> None:
    decision = step(machine, value, finished("0.9", exit_code=0))
    assert decision.state is value
    (note,) = decision.effects
    assert isinstance(note, Note)
    assert (note.event_type, note.severity) == ("result_refused", "warning")


def test_undead_work_fails_its_task_and_retires_the_slot() -> None:
    decision = step(machine, running(max_retries=3), finished(reason="timeout", alive=True))
    assert triggers(decision) == ["task_failed"]
    assert (decision.state.reason, decision.state.exit_code) == ("undead", None)
    assert decision.edges[0].severity == "critical"
    assert not decision.edges[0].metadata.timeout_occurred
    assert sent(decision, SLOT) == [m.LeaseEnded("1.1", undead=True)]


def test_a_longer_silence_that_the_plan_allows_is_told_to_the_slot() -> None:
    decision = step(machine, queued(heartbeat_timeout_s=300.0), ASSIGNED)
    assert sent(decision, SLOT) == [m.HeartbeatLimit("1.1", 300.0)]


# --- what an outcome means -----------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 3])
def test_an_expected_exit_code_completes_the_task(code: int) -> None:
    decision = step(machine, running(expected_exit_codes=(0, 3)), finished(exit_code=code))
    assert triggers(decision) == ["execution_complete", "validation_passed"]
    assert decision.state.exit_code == code
    assert sent(decision, WORKSTREAM) == [m.TaskEnded(ME, "completed")]
    assert sent(decision, NEXT) == [m.DependencyEnded(ME, "completed", Standing.DONE)]


def test_a_callable_that_returned_completes_its_task() -> None:
    value = running(command=(), call="package.module:function")
    assert step(machine, value, finished(result=7)).state.state is State.COMPLETED


def test_a_command_without_an_exit_code_has_not_succeeded() -> None:
    assert step(machine, running(), finished()).state.state is State.FAILED


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ({"exit_code": 2}, "exit code 2"),
        ({"signal": 11}, "signal 11"),
        ({"reason": "error", "error": "ValueError: no"}, "ValueError: no"),
        ({"reason": "not_started", "error": "no such file"}, "no such file"),
    ],
)
def test_a_failure_without_retries_fails_the_task_and_says_why(
    outcome: dict[str, Any], reason: str
) -> None:
    decision = step(machine, running(), finished(**outcome))
    assert triggers(decision) == ["task_failed"]
    assert decision.state.reason == reason
    assert sent(decision, WORKSTREAM) == [m.TaskEnded(ME, "failed", reason=reason)]


def test_those_who_wait_hear_of_a_failure_by_name_and_reason() -> None:
    (said,) = sent(step(machine, running(), FAIL), NEXT)
    assert said.standing is Standing.FAILED
    assert said.reason == "r/w/t failed: exit code 1"


def test_every_event_carries_the_metadata_that_others_read() -> None:
    decision = step(machine, running(max_retries=2), FAIL, now=12.5)
    metadata = decision.edges[0].metadata
    assert metadata == machine.TaskMetadata("p.1", 2.5, 1, 1, timeout_occurred=False)


# --- retries -------------------------------------------------------------------------------------


def test_a_failure_with_retries_left_waits_and_queues_again() -> None:
    decision = step(machine, running(max_retries=1), FAIL)
    assert triggers(decision) == ["retry_scheduled"]
    assert decision.state.retry_count == 1
    assert 10.8 <= timers(decision)["backoff"] <= 11.2
    again = step(machine, decision.state, BACKOFF)
    assert triggers(again) == ["retry_queued"]
    assert [type(x) for x in sent(again, DISPATCH)] == [m.Enqueue]
    assert sent(again, WORKSTREAM) == []


def test_a_failure_when_the_retries_are_spent_fails_the_task() -> None:
    again = m.Assigned(SLOT, UET, "1.2")
    decision = step(
        machine, running(max_retries=1), FAIL, BACKOFF, again, finished("1.2", exit_code=1)
    )
    assert triggers(decision) == ["task_failed"]
    assert decision.state.retry_count == 1


def test_waits_double_up_to_their_cap() -> None:
    value, waits = running(max_retries=9, backoff_s=1.0, backoff_s_max=4.0), []
    for n in range(1, 6):
        decision = step(machine, value, finished(f"1.{n}", exit_code=1))
        waits.append(timers(decision)["backoff"] - 10.0)
        value = after(machine, decision.state, BACKOFF, m.Assigned(SLOT, UET, f"1.{n + 1}"))
    for wait, expected in zip(waits, (1.0, 2.0, 4.0, 4.0, 4.0), strict=True):
        assert 0.8 * expected <= wait <= 1.2 * expected


def test_only_listed_exit_codes_are_retried() -> None:
    value = running(max_retries=1, retry_exit_codes=(75,))
    assert step(machine, value, finished(exit_code=75)).state.state is State.RETRYING
    assert step(machine, value, finished(exit_code=1)).state.state is State.FAILED
    assert step(machine, value, finished(signal=11)).state.state is State.FAILED


def test_what_infrastructure_ends_burns_no_attempt() -> None:
    decision = step(machine, running(), LOST)
    assert triggers(decision) == ["retry_scheduled"]
    assert (decision.state.retry_count, decision.state.losses) == (0, 1)


def test_a_task_that_loses_its_worker_again_and_again_is_set_aside() -> None:
    value = running()
    for n in range(1, LOSSES_MAX):
        lost = finished(f"1.{n}", reason="lost", infrastructure=True)
        value = after(machine, value, lost, BACKOFF, m.Assigned(SLOT, UET, f"1.{n + 1}"))
    last = finished(f"1.{LOSSES_MAX}", reason="lost", infrastructure=True)
    decision = step(machine, value, last)
    assert triggers(decision) == ["task_failed"]
    assert decision.state.reason == "poison"


def test_a_command_that_the_machine_cannot_start_fails_in_the_end() -> None:
    value = running()
    for n in range(1, LOSSES_MAX + 1):
        lost = finished(f"1.{n}", reason="not_started", error="no memory", infrastructure=True)
        value = after(machine, value, lost, BACKOFF, m.Assigned(SLOT, UET, f"1.{n + 1}"))
    assert (value.state, value.reason) == (State.FAILED, "infrastructure")


def test_losses_count_only_in_a_row() -> None:
    value = after(machine, running(max_retries=5), LOST, BACKOFF, m.Assigned(SLOT, UET, "1.2"))
    assert value.losses == 1
    for code in (0, 1):
        assert after(machine, value, finished("1.2", exit_code=code)).losses == 0


def test_the_last_exit_code_is_kept_also_where_it_did_not_decide() -> None:
    cancelled = running(m.Cancel(), finished(exit_code=7))
    undead = running(finished(exit_code=7, alive=True))
    assert (cancelled.exit_code, undead.exit_code) == (7, 7)


def test_the_end_of_the_owner_counts_neither_as_attempt_nor_as_loss() -> None:
    gone = finished(reason="lost", error=m.OWNER_RESTARTED, infrastructure=True)
    decision = step(machine, running(), gone)
    assert (decision.state.retry_count, decision.state.losses) == (0, 0)
    assert timers(decision) == {"backoff": 10.0}


def test_what_a_person_did_to_its_worker_counts_neither_as_attempt_nor_as_loss() -> None:
    gone = finished(reason="lost", error="overridden by ann: x", infrastructure=True, by_hand=True)
    decision = step(machine, running(), gone)
    assert (decision.state.retry_count, decision.state.losses) == (0, 0)
    assert (decision.state.reason, timers(decision)) == ("overridden by ann: x", {"backoff": 10.0})


# --- execution timeout ---------------------------------------------------------------------------


def test_an_execution_timeout_asks_the_work_to_end_and_waits_for_its_death() -> None:
    decision = step(machine, running(timeout_s=5.0, max_retries=1), EXECUTION)
    assert decision.edges == ()
    assert sent(decision, UET) == [m.EndWork("1.1", "timeout")]
    ended = step(machine, decision.state, finished(reason="timeout", signal=15))
    assert triggers(ended) == ["retry_scheduled"]
    assert ended.edges[0].metadata.timeout_occurred
    assert ended.state.ending is None


def test_an_execution_timeout_without_retries_fails_the_task() -> None:
    timed_out = finished(reason="timeout", signal=15)
    decision = step(machine, running(timeout_s=5.0), EXECUTION, timed_out)
    assert (decision.state.state, decision.state.reason) == (State.FAILED, "timeout after 5 s")


def test_work_that_succeeded_just_before_it_was_ended_has_succeeded() -> None:
    decision = step(machine, running(timeout_s=5.0), EXECUTION, OK)
    assert decision.state.state is State.COMPLETED


def test_a_worker_lost_while_its_work_is_timed_out_is_still_a_timeout() -> None:
    decision = step(machine, running(timeout_s=5.0), EXECUTION, LOST)
    assert decision.state.reason == "timeout after 5 s"


def test_an_execution_clock_is_volatile_and_starts_with_the_execution() -> None:
    decision = step(machine, queued(timeout_s=5.0), ASSIGNED)
    assert effects(decision, SetTimer) == [SetTimer("execution", 15.0, volatile=True)]
    retried = step(machine, running(timeout_s=5.0, max_retries=1), FAIL)
    assert CancelTimer("execution") in retried.effects


def test_an_execution_clock_is_set_anew_for_a_new_owner() -> None:
    decision = step(machine, running(timeout_s=5.0), m.Recovered(2), now=12.0)
    assert timers(decision) == {"execution": 15.0}


def test_a_clock_of_a_state_that_is_over_means_nothing() -> None:
    for key in ("backoff", "execution", "queue"):
        value = validating()
        assert step(machine, value, m.TimerFired(key)).state is value


# --- total timeout -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "trigger"),
    [
        (queued(), "task_failed"),
        (running(LOST), "task_failed"),
        (validating(), "validation_failed"),
        (task(), "task_cancelled"),
    ],
    ids=["queued", "retrying", "validating", "pending"],
)
def test_a_total_timeout_ends_the_task_where_it_stands(value: Task, trigger: str) -> None:
    decision = step(machine, value, TOTAL)
    assert triggers(decision) == [trigger]
    assert decision.state.reason == "total timeout"
    assert decision.edges[0].metadata.timeout_occurred


def test_a_total_timeout_of_a_task_that_never_ran_is_a_failure_to_others() -> None:
    decision = step(machine, task(), TOTAL)
    assert sent(decision, WORKSTREAM)[0].through_failure
    assert sent(decision, NEXT)[0].standing is Standing.FAILED


def test_a_total_timeout_of_running_work_is_final_once_it_is_dead() -> None:
    decision = step(machine, running(max_retries=5), TOTAL)
    assert sent(decision, UET) == [m.EndWork("1.1", "timeout")]
    ended = step(machine, decision.state, finished(reason="timeout", signal=15))
    assert (ended.state.state, ended.state.reason) == (State.FAILED, "total timeout")
    assert ended.edges[0].metadata.timeout_occurred


def test_a_total_timeout_after_an_execution_timeout_is_final_too() -> None:
    decision = step(machine, running(timeout_s=5.0, max_retries=5), EXECUTION, TOTAL)
    assert sent(decision, UET) == []
    ended = after(machine, decision.state, finished(reason="timeout", signal=15))
    assert (ended.state, ended.reason) == (State.FAILED, "total timeout")


# --- validation ----------------------------------------------------------------------------------


def test_gates_are_asked_to_judge_what_was_executed() -> None:
    decision = step(machine, running(validate=("unit", "lint", "unit")), OK)
    assert triggers(decision) == ["execution_complete"]
    assert sent(decision, RUN) == [m.NeedGates(ME, ("unit", "lint"), "1.1")]
    assert sent(decision, SLOT) == [m.LeaseEnded("1.1")]


def test_a_task_completes_once_every_gate_has_passed() -> None:
    value = running(OK, validate=("unit", "lint"))
    one = after(machine, value, verdict("passed", Standing.DONE))
    assert one.state is State.VALIDATING
    assert triggers(step(machine, one, verdict("passed", Standing.DONE))) == ["validation_passed"]


def test_a_failed_verdict_is_a_retry_with_its_reason() -> None:
    decision = step(machine, validating(max_retries=1), verdict("failed", Standing.FAILED))
    assert triggers(decision) == ["retry_scheduled"]
    assert decision.state.retry_count == 1
    assert decision.state.reason == "validation failed: unit failed"


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (running(FAIL, BACKOFF, max_retries=1), "exit code 1"),
        (
            validating(verdict("failed", Standing.FAILED), BACKOFF, max_retries=1),
            "validation failed: unit failed",
        ),
    ],
)
def test_a_retry_is_told_why_the_attempt_before_it_failed(before: Task, reason: str) -> None:
    (work,) = sent(step(machine, before, m.Assigned(SLOT, UET, "1.2")), UET)
    assert work.env["BANKSMAN_RETRY_REASON"] == reason


def test_a_failure_reaches_the_environment_bounded_and_without_a_null() -> None:
    error = finished(reason="error", error="a\0b" + "c" * 10_000)
    before = running(error, BACKOFF, max_retries=1)
    (work,) = sent(step(machine, before, m.Assigned(SLOT, UET, "1.2")), UET)
    told = work.env["BANKSMAN_RETRY_REASON"]
    assert (told[:4], len(told)) == ("a bc", 2000)


def test_a_task_that_was_retried_by_hand_is_told_too() -> None:
    (spawned,) = effects(step(machine, running(FAIL), m.RetryTask("r/w/t", "ann")), Spawn)
    assert spawned.value.failure == "exit code 1"


def test_an_attempt_after_one_that_infrastructure_ended_is_told_nothing() -> None:
    before = running(LOST, BACKOFF)
    (work,) = sent(step(machine, before, m.Assigned(SLOT, UET, "1.2")), UET)
    assert "BANKSMAN_RETRY_REASON" not in work.env


def test_a_failed_verdict_without_retries_fails_the_task() -> None:
    decision = step(machine, validating(), verdict("failed", Standing.FAILED))
    assert triggers(decision) == ["validation_failed"]


def test_the_other_gates_of_a_validation_that_failed_are_dismissed() -> None:
    decision = step(machine, validating(), verdict("failed", Standing.FAILED))
    for gate in (JUDGE, "test_gate:r/gate:lint~2"):
        assert [type(x) for x in sent(decision, gate)] == [m.Cancel]


def test_what_is_no_verdict_leaves_the_task_validating_and_says_why() -> None:
    decision = step(machine, validating(), verdict("infrastructure", Standing.STALLED))
    assert decision.edges == ()
    assert decision.state.reason == "unit infrastructure"
    again = verdict("pending", Standing.WAITING, Standing.STALLED)
    assert after(machine, decision.state, again).reason is None


def test_a_gate_run_again_that_passes_completes_the_task() -> None:
    stalled = verdict("infrastructure", Standing.STALLED)
    again = verdict("pending", Standing.WAITING, Standing.STALLED)
    decision = step(machine, validating(), stalled, again, verdict("passed", Standing.DONE))
    assert triggers(decision) == ["validation_passed"]


def test_a_passed_gate_that_is_run_again_is_waited_for_again() -> None:
    value = running(OK, validate=("unit", "lint"))
    value = after(machine, value, verdict("passed", Standing.DONE))
    again = after(machine, value, verdict("pending", Standing.WAITING, Standing.DONE))
    assert again.unverified == 2


def test_a_verdict_on_an_earlier_execution_means_nothing() -> None:
    value = running(OK, validate=("unit",))
    assert step(machine, value, verdict("failed", Standing.FAILED, ticket="0.9")).state is value
    retried = after(machine, validating(max_retries=1), verdict("failed", Standing.FAILED))
    assert step(machine, retried, verdict("failed", Standing.FAILED)).state is retried


def test_gates_that_are_made_for_a_validation_that_is_over_are_dismissed() -> None:
    over = running(OK, m.Cancel(), validate=("unit",))
    decision = step(machine, over, m.GatesMade("1.1", (JUDGE,)))
    assert [type(x) for x in sent(decision, JUDGE)] == [m.Cancel]


def test_the_gates_of_a_completed_task_are_left_alone() -> None:
    decision = step(machine, validating(), verdict("passed", Standing.DONE))
    assert sent(decision, JUDGE) == []


def test_an_outcome_says_why_in_few_words() -> None:
    assert Outcome(error="no such file", exit_code=1).why() == "no such file"
    assert Outcome(exit_code=2).why() == "exit code 2"
    assert Outcome(signal=9).why() == "signal 9"
    assert Outcome(reason="lost").why() == "lost"
    assert Outcome().why() == "no result"
