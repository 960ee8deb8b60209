"""Turns the tables of a plan into the values of `actors.spec`, naming every fault of form.

What is faulty is left out and the rest is read on, so that one look shows everything. The tables
come from TOML text, or are the records of a plan that a program built: the same rules for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from actors.spec import Budget, Gate, Plan, Pool, Restart, Run, Task, Tool, Workstream
from runtime.limits import (
    ATTEMPTS_MAX,
    PLAN_GATES_MAX,
    PLAN_POOLS_MAX,
    PLAN_SLOTS_MAX,
    PLAN_TASKS_MAX,
    PLAN_TOOLS_MAX,
    PLAN_WORKSTREAMS_MAX,
    PRIORITY_MAX,
    RETRIES_MAX,
)
from runtime.plan import fields, tools
from runtime.plan.fault import Faults, Path, meant, quoted
from runtime.plan.fields import BAD, Checker
from runtime.plan.later import (
    IDLE_RUN_KEYS,
    IDLE_RUN_TEXT,
    PLAN_LATER,
    RUN_LATER,
    TASK_LATER,
    Later,
)

S = TypeVar("S", bound=msgspec.Struct)

_PRIORITY = fields.whole(-PRIORITY_MAX, PRIORITY_MAX)

RUN_FIELDS: Final[Mapping[str, Checker]] = {
    "name": fields.name,
    "phase": fields.label,
    "on_failure": fields.one_of("finish", "stop"),
    "on_blocked": fields.one_of("end", "wait"),
    "env_pass": fields.variables,
    "priority": _PRIORITY,
}
BUDGET_FIELDS: Final[Mapping[str, Checker]] = {
    "attempts": fields.whole(1, ATTEMPTS_MAX),
    "seconds": fields.seconds,
}
RESTART_FIELDS: Final[Mapping[str, Checker]] = {
    "intensity": fields.whole(0, RETRIES_MAX),
    "window_s": fields.seconds,
    "backoff_s": fields.seconds_or_none,
    "backoff_s_max": fields.seconds_or_none,
}
POOL_FIELDS: Final[Mapping[str, Checker]] = {
    "count": fields.whole(0, PLAN_SLOTS_MAX),
    "kind": fields.one_of("process", "inline"),
    "capabilities": fields.labels,
    "affinity": fields.references,
    "heartbeat_s": fields.seconds,
    "recovery_window_s": fields.seconds,
    "kill_timeout_s": fields.seconds,
    "sandbox": fields.one_of("none", "write-fence"),
}
GATE_FIELDS: Final[Mapping[str, Checker]] = {
    "type": fields.one_of("LINT", "UNIT", "INTEGRATION", "SECURITY"),
    "command": fields.argv,
    "approval": fields.flag,
    "timeout_s": fields.seconds,
    "depends_on": fields.references,
    "expected_exit_codes": fields.exit_codes(1),
    "cwd": fields.folder,
    "env": fields.environment,
}
WORKSTREAM_FIELDS: Final[Mapping[str, Checker]] = {
    "depends_on": fields.references,
    "critical": fields.flag,
    "skip": fields.flag,
    "gates": fields.references,
}
TASK_FIELDS: Final[Mapping[str, Checker]] = {
    "command": fields.argv,
    "call": fields.text,
    "kwargs": fields.keywords,
    "tool": fields.name,
    "args": fields.arguments,
    "prompt": fields.prose,
    "depends_on": fields.references,
    "gates": fields.references,
    "validate": fields.references,
    "requires": fields.labels,
    "critical": fields.flag,
    "priority": _PRIORITY,
    "concurrency_key": fields.label,
    "timeout_s": fields.seconds,
    "queue_timeout_s": fields.seconds,
    "heartbeat_timeout_s": fields.seconds,
    "total_timeout_s": fields.seconds,
    "max_retries": fields.whole(0, RETRIES_MAX),
    "retry_exit_codes": fields.exit_codes(0),
    "expected_exit_codes": fields.exit_codes(1),
    "backoff_s": fields.seconds_or_none,
    "backoff_s_max": fields.seconds_or_none,
    "cwd": fields.folder,
    "env": fields.environment,
}

# Which keys a table may hold, for the word about one that it may not.
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "a plan": ("run", "workers", "tools", "gates", "workstreams"),
    "[run]": (*RUN_FIELDS, "budget", *IDLE_RUN_KEYS),
    "`budget`": tuple(BUDGET_FIELDS),
    "a pool": (*POOL_FIELDS, "restart"),
    "`restart`": tuple(RESTART_FIELDS),
    "a tool": (*tools.TOOL_FIELDS, *tools.PARTS),
    **{f"`{key}`": tuple(part.checkers) for key, part in tools.PARTS.items()},
    "a gate": tuple(GATE_FIELDS),
    "a workstream": (*WORKSTREAM_FIELDS, "tasks"),
    "a task": tuple(TASK_FIELDS),
}


def read(plan: Plan | Mapping[Any, Any], faults: Faults) -> Plan:
    """What could be read. It is a plan only if no error was added to `faults`."""
    tables = _table_of(plan)
    _refuse_unknown(tables, (), faults, "a plan", PLAN_LATER)
    return Plan(
        run=_run(_table_of(tables.get("run")), faults),
        workers=dict(_pools(tables.get("workers", {}), faults)),
        tools=dict(_tools(tables.get("tools", {}), faults)),
        gates=dict(_gates(tables.get("gates", {}), faults)),
        workstreams=_workstreams(tables.get("workstreams", {}), faults),
    )


def _table_of(value: Any) -> Any:
    """The table that would give this record, its defaults left out; what is no record, as it is.

    One level only, so that a large plan is never held twice. `base_dir` is left out too: no table
    can give it, only the place of a file.
    """
    if not isinstance(value, msgspec.Struct):
        return value
    return {
        key: entry
        for key, default in _defaults(type(value))
        if (entry := getattr(value, key)) is not default and (entry or not isinstance(entry, dict))
    }


@cache
def _defaults(record: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    """Each field with its default. That of a table is made anew each time and is none of these."""
    blank = record.__struct_defaults__
    required = (msgspec.NODEFAULT,) * (len(record.__struct_fields__) - len(blank))
    pairs = zip(record.__struct_fields__, required + blank, strict=True)
    return tuple((key, default) for key, default in pairs if key != "base_dir")


def _run(table: Any, faults: Faults) -> Run:
    if table is None:
        faults.error((), "there is no [run] table", 'begin the plan with [run] and name = "..."')
        return Run(name="plan")
    idle = [key for key in IDLE_RUN_KEYS if isinstance(table, Mapping) and key in table]
    for key in idle:
        if fields.text(table[key], ("run", key), faults) is not BAD:
            faults.warning(("run", key), IDLE_RUN_TEXT, "nothing to do until then")
    found = _fields(table, ("run",), faults, "[run]", RUN_FIELDS, RUN_LATER)
    if isinstance(table, Mapping) and "name" not in table:
        faults.error(("run",), "the run has no name", 'add name = "..." to [run]')
    if isinstance(table, Mapping) and table.get("budget") is not None:
        found["budget"] = _budget(_table_of(table["budget"]), faults)
    return Run(**{"name": "plan", **found})


def _budget(table: Any, faults: Faults) -> Budget:
    found = _fields(table, ("run", "budget"), faults, "`budget`", BUDGET_FIELDS, {})
    if isinstance(table, Mapping) and not BUDGET_FIELDS.keys() & table.keys():
        cure = "add attempts = 500, or seconds = 36000, or both"
        faults.error(("run", "budget"), "the budget bounds nothing", cure)
    return Budget(**found)


def _pools(table: Any, faults: Faults) -> Iterator[tuple[str, Pool]]:
    for name, at, value in _named(table, ("workers",), faults, "pools", PLAN_POOLS_MAX):
        entry = _table_of(value)
        found = _fields(entry, at, faults, "a pool", POOL_FIELDS, {})
        if isinstance(entry, Mapping) and "restart" in entry:
            where = (*at, "restart")
            table_of_it = _table_of(entry["restart"])
            restart = _fields(table_of_it, where, faults, "`restart`", RESTART_FIELDS, {})
            found["restart"] = Restart(**restart)
        yield name, Pool(**found)


def _tools(table: Any, faults: Faults) -> Iterator[tuple[str, Tool]]:
    for name, at, value in _named(table, ("tools",), faults, "tools", PLAN_TOOLS_MAX):
        entry = _table_of(value)
        found = _fields(entry, at, faults, "a tool", tools.TOOL_FIELDS, {})
        if not isinstance(entry, Mapping):
            entry = {}
        elif "command" not in entry:
            faults.error(at, "the tool has no command", 'add command = ["ruff", "{args}"]')
        for key, part in tools.PARTS.items():
            if entry.get(key) is None:
                continue
            where, of_it = (*at, key), _table_of(entry[key])
            inner = _fields(of_it, where, faults, f"`{key}`", part.checkers, part.later)
            if key != "rate_limit" or "pattern" in inner:
                found[key] = part.record(**inner)
            elif isinstance(of_it, Mapping) and "pattern" not in of_it:
                cure = r"add pattern = 'retry after (?P<seconds>\d+)'"
                faults.error(where, "the rate limit has no pattern", cure)
        yield name, Tool(**found)


def _gates(table: Any, faults: Faults) -> Iterator[tuple[str, Gate]]:
    for name, at, value in _named(table, ("gates",), faults, "gates", PLAN_GATES_MAX):
        entry = _table_of(value)
        found = _fields(entry, at, faults, "a gate", GATE_FIELDS, {})
        if isinstance(entry, Mapping):
            _judge(entry, at, faults)
        yield name, Gate(**found)


def _judge(gate: Mapping[Any, Any], at: Path, faults: Faults) -> None:
    """A gate is judged by its command or by a person, never by both or by neither."""
    by_person = gate.get("approval") is True
    if by_person and "command" in gate:
        cure = "make two gates, the one depending on the other"
        faults.error((*at, "approval"), "the gate has a command too, which would judge it", cure)
    elif "command" not in gate and gate.get("approval", False) is False:
        cure = 'add command = ["make", "check"], or approval = true for a person to judge'
        faults.error(at, "the gate has no command", cure)
    for key in ("expected_exit_codes", "cwd", "env") if by_person else ():
        if key in gate:
            text = "has no effect where a person judges: nothing is run"
            faults.warning((*at, key), text, "remove it")


def _workstreams(table: Any, faults: Faults) -> dict[str, Workstream]:
    found: dict[str, Workstream] = {}
    before, tasks = len(faults), 0
    where: Path = ("workstreams",)
    for name, at, value in _named(table, where, faults, "workstreams", PLAN_WORKSTREAMS_MAX):
        entry = _table_of(value)
        values = _fields(entry, at, faults, "a workstream", WORKSTREAM_FIELDS, {})
        in_it = entry.get("tasks", {}) if isinstance(entry, Mapping) else {}
        values["tasks"] = dict(_tasks(in_it, (*at, "tasks"), faults))
        tasks += len(values["tasks"])
        if isinstance(entry, Mapping) and in_it == {}:
            cure = f"add [workstreams.{name}.tasks.<name>] with a command, or remove the workstream"
            faults.error(at, "the workstream has no tasks", cure)
        found[name] = Workstream(**values)
    if tasks > PLAN_TASKS_MAX:
        faults.error(where, f"{tasks} tasks, more than {PLAN_TASKS_MAX}", "split the plan")
    if not found and len(faults) == before:
        cure = "add [workstreams.<name>.tasks.<name>] with a command"
        faults.error(where if table else (), "the plan has no tasks", cure)
    return found


def _tasks(table: Any, where: Path, faults: Faults) -> Iterator[tuple[str, Task]]:
    for name, at, value in _named(table, where, faults, "tasks", PLAN_TASKS_MAX):
        entry = _table_of(value)
        found = _fields(entry, at, faults, "a task", TASK_FIELDS, TASK_LATER)
        if isinstance(entry, Mapping):
            _one_kind_of_work(entry, at, faults)
        # A record that was read unchanged is kept: a second million of them would cost a gigabyte.
        unchanged = isinstance(value, Task) and all(found.get(k) is v for k, v in entry.items())
        yield name, value if unchanged else Task(**found)


def _one_kind_of_work(entry: Mapping[Any, Any], at: Path, faults: Faults) -> None:
    kinds = [key for key in ("command", "call", "tool") if key in entry]
    if not kinds:
        cure = 'add command = ["..."], tool = "..." or call = "package.module:function"'
        faults.error(at, "the task has no command, no tool and no call", cure)
    elif len(kinds) > 1:
        both = " and ".join(f"`{kind}`" for kind in kinds)
        faults.error(at, f"the task has {both}", "keep one of them")
    for key in ("args", "prompt"):
        if key in entry and "tool" not in entry:
            cure = "remove it, or put it into `command`"
            faults.error((*at, key), f"`{key}` belongs to a `tool`", cure)
    if "kwargs" in entry and "call" not in entry:
        cure = "remove it, or put the arguments into `command`"
        faults.error((*at, "kwargs"), "`kwargs` belongs to a `call`", cure)


def _named(
    table: Any, where: Path, faults: Faults, what: str, most: int
) -> Iterator[tuple[str, Path, Any]]:
    """The entries of a table of named things; those whose name no id can hold too, for what else
    is wrong in them."""
    if not isinstance(table, Mapping):
        cure = f"write [{'.'.join(map(str, where))}.<name>] with its keys below"
        faults.error(where, f"expected a table, got {fields.described(table)}", cure)
        return
    for count, (key, entry) in enumerate(table.items()):
        if count >= most:
            faults.error(where, f"more than {most} {what}", "split the plan")
            return
        name = key if isinstance(key, str) else str(key)
        at = (*where, name)
        fields.key_name(key, at, faults)
        yield name, at, entry


def _fields(
    table: Any,
    where: Path,
    faults: Faults,
    what: str,
    checkers: Mapping[str, Checker],
    later: Mapping[str, Later],
) -> dict[str, Any]:
    """The sound values of a table, by key. Keys that stand in `_KEYS` only are the caller's."""
    if not isinstance(table, Mapping):
        cure = f"write {what} as a table of keys and values"
        faults.error(where, f"expected a table, got {fields.described(table)}", cure)
        return {}
    found: dict[str, Any] = {}
    for key, value in table.items():
        checker = checkers.get(key)
        if checker is None:
            continue
        checked = checker(value, (*where, key), faults)
        if checked is not BAD:
            found[key] = checked
    if len(found) < len(table):
        _refuse_unknown(table, where, faults, what, later)
    return found


def _refuse_unknown(
    table: Mapping[Any, Any],
    where: Path,
    faults: Faults,
    what: str,
    later: Mapping[str, Later],
) -> None:
    known = _KEYS[what]
    for key in table:
        if key in known:
            continue
        path = (*where, str(key))
        if key in later:
            _refuse_later(path, faults, later[key])
            continue
        others = [place for place, keys in _KEYS.items() if key in keys]
        text = f"{what} has no key {quoted(str(key))}"
        # A key of a table within another is rather a slip here than a key in the wrong place.
        within = all(place.startswith("`") for place in others)
        nearest = faults.nearest(str(key), known) if within else None
        if others and nearest is None:
            faults.error(path, text, f"it belongs to {' or '.join(others)}")
        else:
            faults.error(path, text, meant(nearest, f"its keys are {', '.join(known)}"))


def _refuse_later(path: Path, faults: Faults, later: Later) -> None:
    text = f"`{path[-1]}` comes with {later.comes_with}; this version does not run it"
    faults.error(path, text, later.cure)
