"""What a task's spec says about its executions: how to ask for one, and what its outcome means."""

from __future__ import annotations

from actors import pacing, template
from actors.messages import Enqueue, Execute, Outcome
from actors.spec import Task, TaskSeed


def enqueue(seed: TaskSeed, id: str, since: float) -> Enqueue:
    """Asks the dispatcher for a slot."""
    task = seed.task
    return Enqueue(
        f"task:{id}",
        seed.run_id,
        seed.workstream,
        task.priority,
        task.requires,
        task.concurrency_key,
        inline_only=task.call is not None and ":" not in task.call,
        process_only=task.call is None,
        run_priority=seed.run_priority,
        since=since,
        own_slots=seed.own_slots,
        tool=seed.breaker,
        tool_limit=None if seed.tool is None else seed.tool.concurrency,
    )


def execute(seed: TaskSeed, id: str, lease: str, attempt: int) -> Execute:
    """The work, for the process of the slot that was granted."""
    task, tool = seed.task, seed.tool
    return Execute(
        lease,
        f"task:{id}",
        attempt,
        task.command if tool is None else command(seed),
        task.call,
        task.kwargs,
        task.cwd,
        task.env,
        seed.env_pass,
        seed.base_dir,
        task.prompt if tool is not None and tool.prompt == "stdin" else None,
        tool.rate_limit.pattern if tool is not None and tool.rate_limit is not None else None,
    )


def command(seed: TaskSeed) -> tuple[str, ...]:
    """The argv that a task makes of its tool's command."""
    task = seed.task
    assert seed.tool is not None
    workdir = seed.base_dir if task.cwd == "." else task.cwd
    if not workdir.startswith("/") and workdir is task.cwd:
        workdir = f"{seed.base_dir}/{workdir}"
    return template.expanded(seed.tool.command, args=task.args, prompt=task.prompt, workdir=workdir)


def succeeded(seed: TaskSeed, outcome: Outcome) -> bool:
    """Whether the work ended by itself, and as the plan expects."""
    if outcome.reason is not None or outcome.signal is not None:
        return False
    if outcome.exit_code is None:
        return seed.task.call is not None
    expected = seed.task if seed.tool is None else seed.tool
    return outcome.exit_code in expected.expected_exit_codes


def may_retry(task: Task, outcome: Outcome) -> bool:
    """Whether the plan lets this failure be tried again. Only an exit code can be listed."""
    return not task.retry_exit_codes or outcome.exit_code in task.retry_exit_codes


def retry_wait(task: Task, id: str, times: int) -> float:
    """Seconds before try number `times` + 1 after a failure; `times` counts from 1."""
    wait_s = pacing.backoff(task.backoff_s, times - 1, task.backoff_s_max)
    return pacing.jittered(wait_s, id, times)


def timeout(seconds: float | None, what: str = "") -> str:
    """The reason of an end by a timeout: which one, and after how long."""
    return f"{what}timeout" + ("" if seconds is None else f" after {seconds:g} s")
