"""What a task's spec says about its executions: how to ask for one, and what its outcome means."""

from __future__ import annotations

from actors import pacing, template
from actors.messages import Enqueue, Execute, Outcome
from actors.spec import Task, TaskSeed

# Of a failure's reason: enough for its cause, little beside a prompt.
FAILURE_CHARS_MAX = 2000


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


def execute(
    seed: TaskSeed, id: str, lease: str, attempt: int, failure: str | None = None
) -> Execute:
    """The work, for the process of the slot that was granted. It is told the `failure` that makes
    it try again: in its environment, and a tool with a prompt at the end of that."""
    task, tool = seed.task, seed.tool
    env, prompt = task.env, task.prompt
    if failure is not None:
        told = failure.replace("\0", " ")[:FAILURE_CHARS_MAX]
        env = {**env, "BANKSMAN_RETRY_REASON": told}
        prompt = prompt_after(prompt, told)
    return Execute(
        lease,
        f"task:{id}",
        attempt,
        task.command if tool is None else command(seed, prompt),
        task.call,
        task.kwargs,
        task.cwd,
        env,
        seed.env_pass,
        seed.base_dir,
        prompt if tool is not None and tool.prompt == "stdin" else None,
        tool.rate_limit.pattern if tool is not None and tool.rate_limit is not None else None,
    )


def prompt_after(prompt: str | None, failure: str) -> str | None:
    """A tool's prompt for the attempt after one that failed. None stays None."""
    return prompt and f"{prompt}\n\nThe attempt before this one did not succeed: {failure}"


def command(seed: TaskSeed, prompt: str | None) -> tuple[str, ...]:
    """The argv that a task makes of its tool's command."""
    task = seed.task
    assert seed.tool is not None
    workdir = seed.base_dir if task.cwd == "." else task.cwd
    if not workdir.startswith("/") and workdir is task.cwd:
        workdir = f"{seed.base_dir}/{workdir}"
    return template.expanded(seed.tool.command, args=task.args, prompt=prompt, workdir=workdir)


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
