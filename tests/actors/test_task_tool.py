"""A task and the breaker of its tool: asked last, answered once, settled once."""

from __future__ import annotations

from typing import Any

import pytest

from actors import guard_messages as guard
from actors import messages as m
from actors import spec
from actors import task as machine
from actors.effects import Note, Send, SetTimer
from actors.guard_messages import CallOutcome
from actors.task import State, Task, decide
from tests.actors.steps import after
from tests.actors.task_kit import (
    ASSIGNED,
    BEGIN,
    DISPATCH,
    JUDGE,
    ME,
    SLOT,
    UET,
    finished,
    task,
    verdict,
)

RUFF = spec.Tool(
    command=("ruff", "{args}"), caller_fault_exit_codes=(1,), expected_exit_codes=(0, 3)
)
BREAKER = "circuit_breaker:ruff-1"
TICKET = guard.Ticket("ruff-1", 4, ME, 1.0, 99.0, call="1.1")
REFUSAL = guard.Refusal("ruff-1", "open", "auto", 30, "down", call="1.1")


def a_task(tool: spec.Tool = RUFF, **more: Any) -> Task:
    more.setdefault("args", ("-q",))
    place = {"tool": tool, "breaker": "ruff-1", "base_dir": "/src"}
    return task(seed=place, command=(), **({"tool": "ruff"} | more))


def lived(*messages: Any, tool: spec.Tool = RUFF, **more: Any) -> Task:
    value: Task = after(machine, a_task(tool, **more), BEGIN, *messages)
    return value


def sent(value: Task, message: Any, to: str, now: float = 50.0) -> list[Any]:
    """What it sends to `to` for `message`."""
    effects = decide(value, message, now).effects
    return [e.message for e in effects if isinstance(e, Send) and e.to == to]


# --- before it runs -------------------------------------------------------------------------------


def test_it_asks_for_a_slot_with_its_tool_and_the_tools_concurrency() -> None:
    tool = spec.Tool(command=("ruff",), concurrency=3)
    (asked,) = sent(a_task(tool), BEGIN, DISPATCH)
    assert (asked.tool, asked.tool_limit, asked.process_only) == ("ruff-1", 3, True)


def test_with_a_slot_it_asks_the_breaker_and_runs_nothing_yet() -> None:
    queued = lived()
    assert sent(queued, ASSIGNED, UET) == []
    (asked,) = sent(queued, ASSIGNED, BREAKER)
    assert (asked.owner, asked.call) == (ME, "1.1")
    assert lived(ASSIGNED).state is State.QUEUED


def test_a_probe_has_as_long_as_its_task_may_run_and_a_margin() -> None:
    (asked,) = sent(lived(timeout_s=100.0), ASSIGNED, BREAKER)
    assert asked.lease_s == 160.0
    (asked,) = sent(lived(), ASSIGNED, BREAKER)
    assert asked.lease_s == 4 * 3600.0


def test_a_ticket_starts_it_in_the_slot_that_waited() -> None:
    (work,) = sent(lived(ASSIGNED), TICKET, UET)
    assert (work.lease, work.command) == ("1.1", ("ruff", "-q"))
    running = lived(ASSIGNED, TICKET)
    assert (running.state, running.lease, running.admitted) == (State.RUNNING, "1.1", TICKET)
    assert running.offered is None


def test_a_prompt_goes_through_stdin_or_an_argument_as_its_tool_says() -> None:
    for how, command, stdin in (
        ("arg", ("ai", "fix it"), None),
        ("stdin", ("ai",), "fix it"),
    ):
        template = ("ai", "{prompt}") if how == "arg" else ("ai",)
        value = lived(ASSIGNED, tool=spec.Tool(command=template, prompt=how), prompt="fix it")
        (work,) = sent(value, TICKET, UET)
        assert (work.command, work.stdin) == (command, stdin)


@pytest.mark.parametrize("how", ["arg", "stdin"])
def test_a_retry_tells_the_tool_at_the_end_of_its_prompt_why(how: str) -> None:
    template = ("ai", "{prompt}") if how == "arg" else ("ai",)
    tool = spec.Tool(command=template, prompt=how)
    again = (finished(exit_code=1), m.TimerFired("backoff"), m.Assigned(SLOT, UET, "1.2"))
    value = lived(ASSIGNED, TICKET, *again, tool=tool, prompt="fix it", max_retries=1)
    (work,) = sent(value, guard.Ticket("ruff-1", 4, ME, 1.0, 99.0, call="1.2"), UET)
    told = "fix it\n\nThe attempt before this one did not succeed: exit code 1"
    assert told in (work.stdin, *work.command)


@pytest.mark.parametrize(
    ("cwd", "workdir"), [(".", "/src"), ("lib", "/src/lib"), ("/else", "/else")]
)
def test_the_folder_it_works_in_is_told_to_the_tool(cwd: str, workdir: str) -> None:
    value = lived(ASSIGNED, tool=spec.Tool(command=("t", "-C{workdir}")), cwd=cwd, args=())
    assert sent(value, TICKET, UET)[0].command == ("t", f"-C{workdir}")


def test_the_pattern_of_a_rate_limit_goes_with_the_work() -> None:
    limit = spec.RateLimit(pattern="wait (?P<seconds>[0-9]+)")
    value = lived(ASSIGNED, tool=spec.Tool(command=("t",), rate_limit=limit), args=())
    assert sent(value, TICKET, UET)[0].rate_limit == limit.pattern


def test_refused_it_gives_the_slot_back_and_waits_where_it_stood() -> None:
    asking = lived(ASSIGNED)
    assert sent(asking, REFUSAL, SLOT) == [m.ReturnAssignment("1.1")]
    (again,) = sent(asking, REFUSAL, DISPATCH)
    assert again.since == asking.since
    refused = lived(ASSIGNED, REFUSAL)
    assert (refused.state, refused.offered, refused.attempt) == (State.QUEUED, None, 0)


def test_its_queue_timeout_goes_on_while_it_is_parked() -> None:
    parked = lived(ASSIGNED, REFUSAL, queue_timeout_s=9.0)
    ended = decide(parked, m.TimerFired("queue"), 60.0).state
    assert (ended.state, ended.reason) == (State.FAILED, "queue timeout after 9 s")


@pytest.mark.parametrize(
    "leaving",
    [m.Cancel("enough", "ann"), m.TimerFired("queue"), m.Pause("ann"), m.TimerFired("total")],
)
def test_whoever_leaves_the_queue_gives_the_slot_back_and_settles_a_late_ticket(
    leaving: Any,
) -> None:
    asking = lived(ASSIGNED, queue_timeout_s=9.0)
    assert m.ReturnAssignment("1.1") in sent(asking, leaving, SLOT)
    assert m.Dequeue(ME) in sent(asking, leaving, DISPATCH)
    gone = decide(asking, leaving, 50.0).state
    (settled,) = sent(gone, TICKET, BREAKER)
    assert (settled.ticket, settled.outcome, settled.by) == (TICKET, CallOutcome.CANCELLED, ME)
    assert decide(gone, TICKET, 60.0).state.state is gone.state


def test_a_refusal_of_a_slot_that_is_gone_changes_nothing() -> None:
    gone = lived(ASSIGNED, m.Pause("ann"))
    assert decide(gone, REFUSAL, 60.0).effects == ()


def test_an_answer_about_an_earlier_slot_does_not_start_it_in_the_next() -> None:
    later = m.Assigned(SLOT, UET, "1.2")
    asking = lived(ASSIGNED, REFUSAL, later)
    (settled,) = sent(asking, TICKET, BREAKER)
    assert settled.outcome is CallOutcome.CANCELLED
    assert decide(asking, TICKET, 60.0).state.offered == later


def test_a_second_slot_while_the_breaker_is_asked_goes_back() -> None:
    second = m.Assigned("worker:p.2", "uet_worker:p.2@1", "1.2")
    assert sent(lived(ASSIGNED), second, "worker:p.2") == [m.ReturnAssignment("1.2")]


def test_a_new_owner_finds_the_slot_given_back_and_the_task_queued_again() -> None:
    asking = lived(ASSIGNED)
    assert sent(asking, m.Recovered(2), SLOT) == [m.ReturnAssignment("1.1")]
    (again,) = sent(asking, m.Recovered(2), DISPATCH)
    assert isinstance(again, m.Enqueue)
    assert decide(asking, m.Recovered(2), 60.0).state.offered is None


def test_a_new_dispatcher_learns_of_the_tool_that_is_held() -> None:
    for value in (lived(ASSIGNED), lived(ASSIGNED, TICKET)):
        assert sent(value, m.Announce(), DISPATCH) == [m.ToolTaken(ME, "ruff-1")]
    (again,) = sent(lived(), m.Announce(), DISPATCH)
    assert isinstance(again, m.Enqueue)


# --- after it ran ---------------------------------------------------------------------------------


def settled(end: m.WorkFinished, *before: Any, tool: spec.Tool = RUFF, **more: Any) -> guard.Settle:
    value = lived(ASSIGNED, TICKET, *before, tool=tool, **more)
    (said,) = sent(value, end, BREAKER)
    assert isinstance(said, guard.Settle)
    assert (said.ticket, said.by) == (TICKET, ME)
    assert decide(value, end, 60.0).state.admitted is None
    return said


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        ({"exit_code": 0}, "ok"),
        ({"exit_code": 3}, "ok"),
        ({"exit_code": 0, "retry_after_s": 9.0}, "ok"),
        ({"exit_code": 1}, "caller_fault"),
        ({"exit_code": 70}, "tool_failure"),
        ({"signal": 11}, "tool_failure"),
        ({"reason": "not_started", "error": "no such file"}, "unreachable"),
        ({"reason": "timeout", "infrastructure": True}, "unreachable"),
        ({"reason": "lost", "infrastructure": True}, "lapsed"),
        ({"reason": "lost", "infrastructure": True, "error": m.OWNER_RESTARTED}, "lapsed"),
        ({"signal": 9, "alive": True}, "tool_failure"),
    ],
)
def test_each_end_says_one_thing_of_the_tool(end: dict[str, Any], outcome: str) -> None:
    assert settled(finished(**end)).outcome == outcome


def test_the_tool_is_told_how_long_it_took_and_what_it_said() -> None:
    said = settled(finished(exit_code=70, duration_s=4.5, error="panic"))
    assert (said.duration_s, said.error) == (4.5, "panic")


def test_a_timeout_is_the_tools_failure_and_a_cancel_or_the_total_timeout_nobodys() -> None:
    killed = finished(signal=15, reason="timeout")
    assert settled(killed, m.TimerFired("execution"), timeout_s=9.0).outcome == "tool_failure"
    assert settled(killed, m.TimerFired("total")).outcome == "cancelled"
    assert settled(killed, m.Cancel("enough", "ann")).outcome == "cancelled"


def test_its_place_at_the_tool_is_free_after_the_breaker_was_told() -> None:
    value = lived(ASSIGNED, TICKET)
    effects = decide(value, finished(exit_code=0), 60.0).effects
    order = [e.message for e in effects if isinstance(e, Send) and e.to in {BREAKER, DISPATCH}]
    assert [type(message) for message in order] == [guard.Settle, m.ToolFree]


def test_exit_codes_that_its_tool_expects_are_success() -> None:
    done = lived(ASSIGNED, TICKET, finished(exit_code=3))
    assert (done.state, done.exit_code) == (State.COMPLETED, 3)


def test_findings_are_the_tasks_failure() -> None:
    failed = lived(ASSIGNED, TICKET, finished(exit_code=1))
    assert (failed.state, failed.reason) == (State.FAILED, "exit code 1")


# --- rate limits ----------------------------------------------------------------------------------

LIMITED = finished(exit_code=1, retry_after_s=30.0)


def test_a_rate_limit_opens_the_breaker_until_then_and_burns_no_attempt() -> None:
    said = settled(LIMITED)
    assert (said.outcome, said.retry_after_s) == (CallOutcome.TOOL_FAILURE, 30.0)
    waiting = lived(ASSIGNED, TICKET, LIMITED)
    assert (waiting.state, waiting.retry_count) == (State.RETRYING, 0)
    assert waiting.reason == "rate limited: its tool asked for 30 s"


def test_it_comes_back_when_the_tool_said_so() -> None:
    running = lived(ASSIGNED, TICKET)
    timers = decide(running, LIMITED, 60.0).effects
    assert [e.due for e in timers if getattr(e, "key", None) == "backoff"] == [90.0]


def test_a_long_rate_limit_is_the_breakers_to_wait_out_and_not_the_tasks() -> None:
    value = lived(ASSIGNED, TICKET, backoff_s_max=60.0)
    decision = decide(value, finished(exit_code=1, retry_after_s=86_400.0), 50.0)
    (timer,) = [e for e in decision.effects if isinstance(e, SetTimer)]
    assert (timer.key, timer.due) == ("backoff", 110.0)
    assert decision.state.reason == "rate limited: its tool asked for 86400 s"


def test_a_task_without_a_tool_knows_no_rate_limit() -> None:
    running = after(machine, task(), BEGIN, ASSIGNED)
    assert decide(running, LIMITED, 60.0).state.state is State.FAILED


# --- loops ----------------------------------------------------------------------------------------


def looped(loop: spec.Loop, *ends: m.WorkFinished, **more: Any) -> Task:
    """After these ends of its executions, one after the other."""
    value = lived(tool=spec.Tool(command=("t",), loop=loop), args=(), max_retries=9, **more)
    for n, end in enumerate(ends, 1):
        lease = f"1.{n}"
        ticket = guard.Ticket("ruff-1", 4, ME, 1.0, 99.0, call=lease)
        ended = m.WorkFinished(lease, end.outcome)
        given = m.Assigned(SLOT, UET, lease)
        value = after(machine, value, given, ticket, ended)
        if value.state is State.RETRYING:
            value = after(machine, value, m.TimerFired("backoff"))
    return value


def failure(signature: str | None) -> m.WorkFinished:
    return finished(exit_code=70, signature=signature)


def test_the_same_error_too_often_in_a_row_is_a_loop() -> None:
    twice = spec.Loop(max_error_repeats=2)
    assert looped(twice, failure("a"), failure("b"), failure("a")).state is State.QUEUED
    ended = looped(twice, failure("a"), failure("b"), failure("b"))
    assert (ended.state, ended.reason) == (State.FAILED, "loop")


def test_what_has_no_signature_repeats_nothing() -> None:
    twice = spec.Loop(max_error_repeats=2)
    assert looped(twice, failure(None), failure(None)).state is State.QUEUED


def test_too_many_attempts_are_a_loop_though_retries_are_left() -> None:
    thrice = spec.Loop(max_attempts=3)
    assert looped(thrice, failure("a"), failure("b")).state is State.QUEUED
    assert looped(thrice, failure("a"), failure("b"), failure("c")).reason == "loop"


def test_neither_a_rate_limit_nor_a_lost_worker_is_an_attempt_of_a_loop() -> None:
    lost = finished(reason="lost", infrastructure=True, signature="x")
    once = spec.Loop(max_attempts=2, max_error_repeats=2)
    assert looped(once, LIMITED, LIMITED, lost, lost, failure("a")).state is State.QUEUED


def test_a_loop_is_one_failure_of_the_tool_though_the_work_was_at_fault() -> None:
    tool = spec.Tool(
        command=("t",), caller_fault_exit_codes=(1,), loop=spec.Loop(max_error_repeats=1)
    )
    value = lived(ASSIGNED, TICKET, tool=tool, args=(), max_retries=9)
    end = finished(exit_code=1, signature="a")
    (said,) = sent(value, end, BREAKER)
    assert said.outcome is CallOutcome.TOOL_FAILURE
    notes = [e for e in decide(value, end, 60.0).effects if isinstance(e, Note)]
    assert [(n.event_type, n.reason) for n in notes] == [
        ("task_loop", "the same error 1 times in a row")
    ]


def test_a_validation_that_fails_alike_again_and_again_is_a_loop_and_blames_the_tool() -> None:
    tool = spec.Tool(command=("t",), loop=spec.Loop(max_error_repeats=1))
    failed = verdict("failed", m.Standing.FAILED)
    value = lived(
        ASSIGNED,
        TICKET,
        finished(exit_code=0),
        m.GatesMade("1.1", (JUDGE,)),
        tool=tool,
        args=(),
        max_retries=9,
        validate=("unit",),
    )
    assert [type(b) for b in sent(value, failed, BREAKER)] == [guard.Blame]
    ended = decide(value, failed, 60.0).state
    assert (ended.state, ended.reason) == (State.FAILED, "loop")
