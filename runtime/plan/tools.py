"""What a plan may say of its tools, and the rules between a tool and the tasks that use it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from actors import breaker_rules, task_rules, template
from actors.spec import Breaker, Loop, Plan, RateLimit, Task, TaskSeed, Tool
from runtime.limits import (
    ARGV_BYTES_MAX,
    PATTERN_CHARS_MAX,
    PROMPT_BYTES_MAX,
    RETRIES_MAX,
    TOOL_CONCURRENCY_MAX,
)
from runtime.plan import fields
from runtime.plan.fault import Faults, Path, meant, quoted
from runtime.plan.fields import BAD, Checker
from runtime.plan.later import LOOP_LATER, Later

_FILES_TEXT = "stands for the files of a task's patch, which come with the patch ledger"


def _pattern(value: Any, path: Path, faults: Faults) -> Any:
    """A regular expression with a group `seconds`. What it may cost is bounded where it is used."""
    if fields.text(value, path, faults) is BAD:
        return BAD
    if len(value) > PATTERN_CHARS_MAX:
        text = f"{len(value)} characters, more than the {PATTERN_CHARS_MAX} of a pattern"
        faults.error(path, text, "match less of the line")
        return BAD
    try:
        groups = re.compile(value).groupindex
    except (re.error, RecursionError, OverflowError) as error:
        faults.error(path, f"no regular expression: {error}", "escape what is meant literally")
        return BAD
    if "seconds" not in groups:
        cure = r"name what holds them: 'retry after (?P<seconds>\d+)'"
        faults.error(path, "the pattern has no group `seconds`", cure)
        return BAD
    return value


def _number(value: Any, path: Path, faults: Faults) -> Any:
    """Any finite number; which ones make sense is a rule of the breaker's own."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        faults.error(path, f"expected a number, got {fields.described(value)}", "write one: 0.5")
        return BAD
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isfinite(number):
        return number
    faults.error(path, "no finite number", "write one: 0.5")
    return BAD


_COUNT = fields.whole(1, 1_000_000)

TOOL_FIELDS: Final[Mapping[str, Checker]] = {
    "command": fields.argv,
    "prompt": fields.one_of("arg", "stdin"),
    "health": fields.argv,
    "expected_exit_codes": fields.exit_codes(1),
    "caller_fault_exit_codes": fields.exit_codes(0),
    "concurrency": fields.whole(1, TOOL_CONCURRENCY_MAX),
}
RATE_LIMIT_FIELDS: Final[Mapping[str, Checker]] = {"pattern": _pattern}
BREAKER_FIELDS: Final[Mapping[str, Checker]] = {
    "window": fields.one_of("consecutive", "count", "time"),
    "failure_threshold": _COUNT,
    "size": _COUNT,
    "failure_rate": _number,
    "slow_call_s": fields.seconds,
    "slow_rate": _number,
    "minimum_calls": _COUNT,
    "success_threshold": _COUNT,
    "cooldown_s": fields.seconds,
    "growth": _number,
    "cooldown_s_max": fields.seconds,
    "jitter": _number,
    "decay_s": fields.seconds_or_none,
}
LOOP_FIELDS: Final[Mapping[str, Checker]] = {
    "max_attempts": fields.whole(1, RETRIES_MAX),
    "max_error_repeats": fields.whole(1, RETRIES_MAX),
}


class Part(NamedTuple):
    """A table within a tool's."""

    record: type[msgspec.Struct]
    checkers: Mapping[str, Checker]
    later: Mapping[str, Later] = {}


PARTS: Final[Mapping[str, Part]] = {
    "rate_limit": Part(RateLimit, RATE_LIMIT_FIELDS),
    "breaker": Part(Breaker, BREAKER_FIELDS),
    "loop": Part(Loop, LOOP_FIELDS, LOOP_LATER),
}


def apply_rules(plan: Plan, faults: Faults) -> None:
    """Adds what the plan breaks of the rules about tools."""
    for name, tool in plan.tools.items():
        at: Path = ("tools", name)
        _template(tool, at, faults)
        _exit_codes(tool, at, faults)
        for fault in breaker_rules.faults(tool.breaker):
            key, _, cure = fault.partition(": ")
            text = "does not go with the rest of the breaker"
            faults.error((*at, "breaker", key), text, f"use {cure}")
        if tool.loop is not None and tool.loop == Loop():
            cure = "add max_attempts = 5, or max_error_repeats = 2"
            faults.error((*at, "loop"), "the loop bounds nothing", cure)
    used = {t.tool for ws in plan.workstreams.values() for t in ws.tasks.values()}
    for name in plan.tools:
        if name not in used:
            cure = "name it in `tool` of a task, or remove it"
            faults.warning(("tools", name), "no task uses this tool", cure)


def _template(tool: Tool, at: Path, faults: Faults) -> None:
    known = template.MANY | template.ONE
    for index, name, alone in template.placeholders(tool.command):
        where = (*at, "command", index)
        shown = f"`{{{name}}}`"
        if name not in known:
            listed = ", ".join(f"{{{each}}}" for each in sorted(known))
            cure = meant(faults.nearest(name, known), f"use {listed}")
            cure = f"{cure}; `{{{{{name}}}}}` stands for it as it is"
            faults.error(where, f"{shown} is no placeholder", cure)
        elif name in template.MANY and not alone:
            cure = f'write "{{{name}}}" as an element of its own'
            faults.error(where, f"{shown} within an argument: it may be several", cure)
        elif index == 0 and name != "workdir":
            faults.error(where, f"{shown} in the program's name", "name the program")
        elif name == "prompt" and tool.prompt == "stdin":
            cure = 'remove it, or write prompt = "arg"'
            faults.error(where, "the prompt goes to this tool's stdin", cure)
        elif name == "files":
            faults.warning(where, f"{shown} {_FILES_TEXT}", "until then nothing stands there")


def _exit_codes(tool: Tool, at: Path, faults: Faults) -> None:
    both = sorted(set(tool.caller_fault_exit_codes) & set(tool.expected_exit_codes))
    if both:
        cure = "leave it out here, or in `expected_exit_codes`"
        where = (*at, "caller_fault_exit_codes")
        faults.error(where, f"{both[0]} is an expected exit code too", cure)


def apply_task_rules(plan: Plan, task: Task, at: Path, faults: Faults) -> None:
    """Adds what a task with a `tool` breaks."""
    assert task.tool is not None
    tool = plan.tools.get(task.tool)
    if tool is None:
        cure = f"add [tools.{task.tool}] with its command"
        cure = meant(faults.nearest(task.tool, plan.tools), cure)
        faults.error((*at, "tool"), f"there is no tool {quoted(task.tool)}", cure)
        return
    wanted = template.names(tool.command) & {"args", "prompt"}
    if tool.prompt == "stdin":
        wanted |= {"prompt"}
    if task.args and "args" not in wanted:
        cure = f'add "{{args}}" to the command of {task.tool}, or remove it'
        faults.error((*at, "args"), f"the tool {quoted(task.tool)} takes no arguments", cure)
    if task.prompt is not None and "prompt" not in wanted:
        cure = f'add "{{prompt}}" to the command of {task.tool}, or remove it'
        faults.error((*at, "prompt"), f"the tool {quoted(task.tool)} takes no prompt", cure)
    if task.prompt is None and "prompt" in wanted:
        text = f"the tool {quoted(task.tool)} is given no prompt"
        faults.error(at, text, 'add prompt = "..."')
    _length(task, tool, at, faults)
    if task.expected_exit_codes != (0,):
        where = (*at, "expected_exit_codes")
        text = "what a tool's exit codes mean is said once, of the tool"
        faults.error(where, text, f"move it to [tools.{task.tool}]")


def _length(task: Task, tool: Tool, at: Path, faults: Faults) -> None:
    if task.prompt is not None and tool.prompt == "stdin":
        size = len(task.prompt.encode(errors="surrogatepass"))
        if size > PROMPT_BYTES_MAX:
            text = f"{size} bytes, more than the {PROMPT_BYTES_MAX} that are stored with a task"
            faults.error((*at, "prompt"), text, "put the long part into a file")
        return
    seed = TaskSeed(run_id="", workstream="", name="", task=task, tool=tool)
    # A retry tells the tool at the end of its prompt what went wrong before.
    prompt = task_rules.prompt_after(task.prompt, "\U0010ffff" * task_rules.FAILURE_CHARS_MAX)
    words = task_rules.command(seed, prompt)
    size = sum(len(word.encode(errors="surrogatepass")) + 1 for word in words)
    if size > ARGV_BYTES_MAX:
        text = f"a command of {size} bytes, more than the {ARGV_BYTES_MAX} that the system takes"
        cure = 'put the long part into a file, or take a tool with prompt = "stdin"'
        faults.error(at, text, cure)
