"""The rules between the fields of a plan: what names what, who can run what, what never ends.

They hold for a plan from a file and for one that a program built; nothing here looks at the
machine (that is `runtime.plan.absent`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from itertools import chain

from actors.spec import Plan, Pool, Task
from runtime.limits import PLAN_SLOTS_MAX
from runtime.plan import tools
from runtime.plan.fault import Faults, Path, meant, quoted
from runtime.plan.graph import rings

CALL = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_SHELL_WORDS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1", "2>"})
DEFAULT_POOLS: Mapping[str, Pool] = {"default": Pool()}


def apply_rules(
    plan: Plan, faults: Faults, calls: Set[str], owner_pools: Mapping[str, Pool] | None
) -> None:
    """Adds what the plan breaks. `calls` are the callables known by name in this process;
    `owner_pools` are used by a plan without pools of its own (None: they are not known here)."""
    _pools(plan, faults)
    _gates(plan, faults)
    tools.apply_rules(plan, faults)
    for name, tool in plan.tools.items():
        _shell_words(tool.command, ("tools", name, "command"), faults)
    _workstreams(plan, faults)
    pools = plan.workers or owner_pools
    fitting = None if pools is None else _Fitting(pools, plan.workstreams.keys())
    for name, workstream in plan.workstreams.items():
        for task_name, task in workstream.tasks.items():
            at = ("workstreams", name, "tasks", task_name)
            _task(plan, name, task, at, faults)
            if task.tool is not None:
                tools.apply_task_rules(plan, task, at, faults)
            if task.call is not None:
                _call(task.call, (*at, "call"), faults, calls)
            if fitting is not None:
                fitting.check(name, task, at, faults, calls)
    for ring in rings(plan):
        faults.error(ring.path, ring.text, "remove one of these dependencies")
    _one_file_each(plan, faults)


def _pools(plan: Plan, faults: Faults) -> None:
    slots = sum(pool.count for pool in plan.workers.values())
    if slots > PLAN_SLOTS_MAX:
        cure = f"use at most {PLAN_SLOTS_MAX}: one for each core is a good number"
        faults.error(("workers",), f"{slots} slots in all pools together", cure)
    for name, pool in plan.workers.items():
        at: Path = ("workers", name)
        for index, workstream in enumerate(pool.affinity):
            if workstream not in plan.workstreams:
                found = faults.nearest(workstream, plan.workstreams)
                text = f"there is no workstream {quoted(workstream)}"
                faults.error((*at, "affinity", index), text, meant(found, "name one of the plan"))
        _backoff(pool.restart.backoff_s, pool.restart.backoff_s_max, (*at, "restart"), faults)
        if pool.kind == "inline" and pool.sandbox != "none":
            text = "an inline pool runs in the owner's process, which no fence surrounds"
            faults.error((*at, "sandbox"), text, 'write kind = "process", or remove it')


def _gates(plan: Plan, faults: Faults) -> None:
    for name, gate in plan.gates.items():
        _known_gates(plan, gate.depends_on, ("gates", name, "depends_on"), faults)
        _shell_words(gate.command, ("gates", name, "command"), faults)
    needed = needed_gates(plan)
    for name in plan.gates:
        if name not in needed:
            cure = "name it in `gates` of a task or workstream, or in `validate` of a task"
            faults.warning(("gates", name), "nothing needs this gate: it will not run", cure)


def needed_gates(plan: Plan) -> set[str]:
    """Every gate that some task or workstream asks for, and what those depend on."""
    needed: set[str] = set()
    asked: list[str] = []
    for workstream in plan.workstreams.values():
        asked.extend(workstream.gates)
        asked.extend(
            chain.from_iterable((*t.gates, *t.validate) for t in workstream.tasks.values())
        )
    while asked:
        name = asked.pop()
        if name in plan.gates and name not in needed:
            needed.add(name)
            asked.extend(plan.gates[name].depends_on)
    return needed


def _workstreams(plan: Plan, faults: Faults) -> None:
    for name, workstream in plan.workstreams.items():
        at: Path = ("workstreams", name)
        _known_gates(plan, workstream.gates, (*at, "gates"), faults)
        for index, other in enumerate(workstream.depends_on):
            if other not in plan.workstreams:
                where = (*at, "depends_on", index)
                faults.error(
                    where,
                    f"there is no workstream {quoted(other)}",
                    _workstream_meant(plan, name, other, faults),
                )
    if plan.workstreams and all(w.skip for w in plan.workstreams.values()):
        faults.warning(("workstreams",), "every workstream is skipped", "nothing will run")


def _workstream_meant(plan: Plan, name: str, other: str, faults: Faults) -> str:
    owner = other.partition("/")[0]
    if "/" in other and owner in plan.workstreams:
        return f"a workstream waits for workstreams: write {quoted(owner)}, or let its tasks wait"
    if other in plan.workstreams[name].tasks:
        return "that is a task of this workstream: let the tasks that need it wait for it"
    return meant(faults.nearest(other, plan.workstreams), "name a workstream of this plan")


def _task(plan: Plan, workstream: str, task: Task, at: Path, faults: Faults) -> None:
    if task.depends_on:
        _known_tasks(plan, workstream, task.depends_on, (*at, "depends_on"), faults)
    if task.gates:
        _known_gates(plan, task.gates, (*at, "gates"), faults)
    if task.validate:
        _known_gates(plan, task.validate, (*at, "validate"), faults)
    _shell_words(task.command, (*at, "command"), faults)
    _backoff(task.backoff_s, task.backoff_s_max, at, faults)
    if task.retry_exit_codes:
        _retry_codes(task, (*at, "retry_exit_codes"), faults)
    total_s = task.total_timeout_s
    if task.timeout_s is not None and total_s is not None and task.timeout_s > total_s:
        text = f"longer than `total_timeout_s` ({total_s:g}), which ends it before"
        faults.warning((*at, "timeout_s"), text, "make it shorter, or remove it")


def _retry_codes(task: Task, at: Path, faults: Faults) -> None:
    both = sorted(set(task.retry_exit_codes) & set(task.expected_exit_codes))
    if both:
        cure = "leave it out here, or in `expected_exit_codes`"
        faults.error(at, f"{both[0]} is an expected exit code too", cure)
    if not task.max_retries:
        text = "`max_retries` is 0: there is no retry"
        faults.warning(at, text, "add max_retries = 3, or remove it")


def _known_tasks(
    plan: Plan, workstream: str, depends_on: Iterable[str], at: Path, faults: Faults
) -> None:
    seen: set[tuple[str, str]] = set()
    for index, reference in enumerate(depends_on):
        owner, slash, task = reference.partition("/")
        if not slash:
            owner, task = workstream, reference
        if (owner, task) in seen:
            text = f"{quoted(reference)} is named twice, with and without its workstream"
            faults.error((*at, index), text, "remove one of them")
        seen.add((owner, task))
        if owner not in plan.workstreams:
            found = faults.nearest(owner, plan.workstreams)
            text = f"there is no workstream {quoted(owner)}"
            cure = meant(found and f"{found}/{task}", "write workstream/task of this plan")
            faults.error((*at, index), text, cure)
        elif task not in plan.workstreams[owner].tasks:
            text = f"there is no task {quoted(task)} in workstream {quoted(owner)}"
            faults.error((*at, index), text, _task_meant(plan, owner, task, bool(slash), faults))


def _task_meant(plan: Plan, owner: str, task: str, named_owner: bool, faults: Faults) -> str:
    if not named_owner:
        for other, workstream in plan.workstreams.items():
            if task in workstream.tasks:
                return f"did you mean `{other}/{task}`?"
        if task in plan.workstreams:
            return "that is a workstream: name it in `depends_on` of the workstream"
        if task in plan.gates:
            return "that is a gate: name it in `gates`"
    found = faults.nearest(task, plan.workstreams[owner].tasks)
    if found is not None and named_owner:
        found = f"{owner}/{found}"
    return meant(found, "name a task of this plan")


def _known_gates(plan: Plan, names: Iterable[str], at: Path, faults: Faults) -> None:
    for index, name in enumerate(names):
        if name not in plan.gates:
            cure = f"add [gates.{name}]" if name.isidentifier() else "name a gate of this plan"
            cure = meant(faults.nearest(name, plan.gates), cure)
            faults.error((*at, index), f"there is no gate {quoted(name)}", cure)


def _shell_words(command: tuple[str, ...], at: Path, faults: Faults) -> None:
    if _SHELL_WORDS.isdisjoint(command):
        return
    word = next(word for word in command if word in _SHELL_WORDS)
    text = f"`{word}` is handed to the program as a word: no shell reads a command"
    faults.warning((*at, command.index(word)), text, 'if it is meant for one: ["sh", "-c", "..."]')


def _backoff(backoff_s: float, backoff_s_max: float, at: Path, faults: Faults) -> None:
    if backoff_s > backoff_s_max:
        text = f"{backoff_s:g} is more than `backoff_s_max` ({backoff_s_max:g})"
        faults.error((*at, "backoff_s"), text, "make it smaller, or the other larger")


def _call(call: str, at: Path, faults: Faults, calls: Set[str]) -> None:
    if call in calls or CALL.fullmatch(call):
        return
    found = faults.nearest(call, calls)
    text = f"{quoted(call)} names no function"
    faults.error(at, text, meant(found, 'write "package.module:function"'))


def _one_file_each(plan: Plan, faults: Faults) -> None:
    """The output file of a task has "__" for "/" in its name, so two tasks must not meet there."""
    owners: dict[str, str] = {}
    for name, workstream in plan.workstreams.items():
        for task in workstream.tasks:
            if "__" not in name and "__" not in task and not name.endswith("_"):
                continue
            file, owner = f"{name}__{task}", f"{name}/{task}"
            first = owners.setdefault(file, owner)
            if first != owner:
                at = ("workstreams", name, "tasks", task)
                text = f"its output would go into the same file as that of {first}"
                faults.error(at, text, "rename one of them, without `__`")


class _Fitting:
    """Which pools could take a task, looked up once for all tasks that ask the same."""

    def __init__(self, pools: Mapping[str, Pool], workstreams: Set[str]) -> None:
        self._pools = pools
        self._workstreams = workstreams
        self._known: dict[tuple[str, tuple[str, ...], str], str | None] = {}

    def check(self, workstream: str, task: Task, at: Path, faults: Faults, calls: Set[str]) -> None:
        """A task that no slot will ever take would wait for ever: refused."""
        kind = "inline" if task.call in calls else "process" if task.command or task.tool else ""
        asked = (workstream, task.requires, kind)
        if asked not in self._known:
            self._known[asked] = self._why_none(*asked)
        why = self._known[asked]
        if why is None:
            return
        lacking = next((r for r in task.requires if not self._with(r)), None)
        if lacking is None:
            what = f'kind = "{kind}"' if kind else "what it needs"
            faults.error(at, why, f"add a pool to [workers] with {what}")
        else:
            every = dict.fromkeys(chain.from_iterable(p.capabilities for p in self._pools.values()))
            where = (*at, "requires", task.requires.index(lacking))
            cure = meant(faults.nearest(lacking, every), "add it to `capabilities` of a pool")
            faults.error(where, f"no pool has the capability {quoted(lacking)}", cure)

    def _with(self, capability: str) -> list[Pool]:
        return [pool for pool in self._pools.values() if capability in pool.capabilities]

    def _why_none(self, workstream: str, requires: tuple[str, ...], kind: str) -> str | None:
        if not self._pools:
            return "there is no pool of workers to run it"
        able = [p for p in self._pools.values() if set(requires) <= set(p.capabilities)]
        if not able:
            return "no single pool has all that this task requires"
        able = [p for p in able if self._takes(p, workstream)]
        if not able:
            return "no pool that could run this task takes work of its workstream (`affinity`)"
        if kind and all(p.kind != kind for p in able):
            if kind == "process":
                return "a command runs in a process, and this task finds only inline pools"
            return "a function of this program runs inline, and this task finds only processes"
        return None

    def _takes(self, pool: Pool, workstream: str) -> bool:
        """A misspelt affinity is one fault, not one more for each task it was meant for."""
        misspelt = not self._workstreams >= set(pool.affinity)
        return not pool.affinity or misspelt or workstream in pool.affinity
