"""What a plan makes: the seeds of a run's workstreams, tasks, gates and slots.

What is looked up for every task is outlined once per plan, so that a slice of tasks costs what the
slice costs, however large the plan is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from actors.effects import Address
from actors.spec import (
    Gate,
    GateSeed,
    Plan,
    Task,
    TaskSeed,
    Tool,
    WorkerSeed,
    WorkstreamSeed,
    breaker_id,
)

# Runs that expand at the same time; one more outlines its plan again, which is slow, not wrong.
OUTLINES_MAX = 4


class Outline:
    """A plan the other way round: who waits for what. Made once, never changed after."""

    __slots__ = ("breakers", "bridges", "dependents", "plan", "tasks", "waiting_workstreams")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tasks: list[tuple[str, str]] = []
        self.dependents: dict[str, list[str]] = {}  # "workstream/task" of those who wait
        self.waiting_workstreams: dict[str, list[str]] = {}
        self.breakers = {name: breaker_id(name, t.command) for name, t in plan.tools.items()}
        self.bridges: dict[str, dict[str, None]] = {}  # tasks that other workstreams wait for
        for name, workstream in plan.workstreams.items():
            for other in dict.fromkeys(workstream.depends_on):
                self.waiting_workstreams.setdefault(other, []).append(name)
            for task_name, task in workstream.tasks.items():
                self.tasks.append((name, task_name))
                self._wait(name, task_name, task)

    def _wait(self, workstream: str, name: str, task: Task) -> None:
        for source in sources(workstream, task):
            self.dependents.setdefault(source, []).append(f"{workstream}/{name}")
            owner, _, other = source.partition("/")
            if owner != workstream:
                self.bridges.setdefault(owner, {})[other] = None


_outlines: dict[int, Outline] = {}


def outline(plan: Plan) -> Outline:
    """The outline of this very plan."""
    found = _outlines.get(id(plan))
    if found is None or found.plan is not plan:
        while len(_outlines) >= OUTLINES_MAX:
            del _outlines[next(iter(_outlines))]
        found = _outlines[id(plan)] = Outline(plan)
    return found


def forget(plan: Plan) -> None:
    """The run of this plan has all its tasks: the outline is needed no more."""
    _outlines.pop(id(plan), None)


def sources(workstream: str, task: Task) -> tuple[str, ...]:
    """What a task waits for, as "workstream/task", each once."""
    return tuple(
        dict.fromkeys(name if "/" in name else f"{workstream}/{name}" for name in task.depends_on)
    )


def workstream_seeds(plan: Plan, run_id: str) -> list[WorkstreamSeed]:
    """All workstreams, in the order of the plan."""
    known = outline(plan)
    return [
        WorkstreamSeed(
            run_id=run_id,
            name=name,
            critical=ws.critical,
            skip=ws.skip,
            gates=ws.gates,
            tasks=tuple(ws.tasks),
            timed=tuple(n for n, task in ws.tasks.items() if _is_timed(task)),
            bridges=tuple(known.bridges.get(name, ())),
            sources=_workstreams(run_id, dict.fromkeys(ws.depends_on)),
            dependents=_workstreams(run_id, known.waiting_workstreams.get(name, ())),
        )
        for name, ws in plan.workstreams.items()
    ]


def _is_timed(task: Task) -> bool:
    return task.queue_timeout_s is not None or task.total_timeout_s is not None


def _workstreams(run_id: str, names: Iterable[str]) -> tuple[Address, ...]:
    return tuple(f"workstream:{run_id}/{name}" for name in names)


def task_seeds(plan: Plan, run_id: str, first: int, count: int) -> list[TaskSeed]:
    """`count` tasks from the `first` on, in the order of the plan; fewer at its end."""
    known = outline(plan)
    run = plan.run
    seeds = []
    for workstream, name in known.tasks[first : first + count]:
        task = plan.workstreams[workstream].tasks[name]
        waiting = known.dependents.get(f"{workstream}/{name}", ())
        seeds.append(
            TaskSeed(
                run_id=run_id,
                workstream=workstream,
                name=name,
                task=task,
                sources=_tasks(run_id, sources(workstream, task) if task.depends_on else ()),
                gates=tuple(gate_address(run_id, g, 1) for g in dict.fromkeys(task.gates)),
                dependents=_tasks(run_id, waiting),
                env_pass=run.env_pass,
                base_dir=run.base_dir,
                run_priority=run.priority,
                own_slots=bool(plan.workers),
                tool=plan.tools[task.tool] if task.tool is not None else None,
                breaker=known.breakers[task.tool] if task.tool is not None else None,
                budgeted=run.budget is not None,
            )
        )
    return seeds


def _tasks(run_id: str, paths: Sequence[str]) -> tuple[Address, ...]:
    return tuple(f"task:{run_id}/{path}" for path in paths)


def tools_used(plan: Plan) -> dict[str, Tool]:
    """The tools that some task of the plan may call, by the id of the breaker of each."""
    streams = [ws for ws in plan.workstreams.values() if not ws.skip]
    names = dict.fromkeys(t.tool for ws in streams for t in ws.tasks.values() if t.tool is not None)
    return {breaker_id(name, plan.tools[name].command): plan.tools[name] for name in names}


def gate_address(run_id: str, name: str, n: int) -> Address:
    """The address of an entity of a gate."""
    return f"test_gate:{run_id}/gate:{name}~{n}"


def guarded(plan: Plan) -> dict[str, Tool]:
    """Everything of the plan that has a breaker, by that breaker's id: the tools that it uses, and
    the command of each gate as a tool of its own, with the settings that tools have by default."""
    gates = {breaker_of(name, gate): gate for name, gate in plan.gates.items()}
    commands = {found: Tool(command=g.command) for found, g in gates.items() if found is not None}
    return {**tools_used(plan), **commands}


def breaker_of(name: str, gate: Gate) -> str | None:
    """The id of the gate's own breaker: of that command under that name, in any run. None where a
    person judges."""
    return breaker_id(f"gate.{name}", gate.command) if gate.command else None


def first_gates(plan: Plan, run_id: str) -> tuple[list[GateSeed], list[Address]]:
    """The gates before tasks, and what they depend on; and, apart, those that nothing at all needs.

    A gate that only judges work has no entity until there is work to judge.
    """
    if not plan.gates:
        return [], []
    before: dict[str, list[Address]] = {}
    judging: list[str] = []
    for ws_name, ws in plan.workstreams.items():
        judging += ws.gates
        for name, task in ws.tasks.items():
            judging += task.validate
            for gate in dict.fromkeys(task.gates):
                before.setdefault(gate, []).append(f"task:{run_id}/{ws_name}/{name}")
    needed = _closure(plan, before)
    used = set(needed) | set(_closure(plan, judging))
    unneeded = [name for name in plan.gates if name not in used]
    seeds = _gate_seeds(plan, run_id, needed, before, dict.fromkeys(needed, 1), None)
    # They are cancelled as they stand: what they depend on need not be there.
    seeds += [GateSeed(run_id=run_id, name=name, n=1, gate=plan.gates[name]) for name in unneeded]
    return seeds, [gate_address(run_id, name, 1) for name in unneeded]


def judging_gates(
    plan: Plan,
    run_id: str,
    names: Sequence[str],
    asker: Address,
    ticket: str,
    counts: dict[str, int],
) -> list[GateSeed]:
    """New entities of these gates, and of what they depend on, whose verdicts go to `asker`.
    `counts` are the numbers used so far, and are counted on."""
    made = _closure(plan, names)
    for name in made:
        counts[name] += 1
    askers = {name: [asker] for name in names}
    return _gate_seeds(plan, run_id, made, askers, counts, ticket)


def _gate_seeds(
    plan: Plan,
    run_id: str,
    names: Sequence[str],
    askers: dict[str, list[Address]],
    numbers: dict[str, int],
    ticket: str | None,
) -> list[GateSeed]:
    def address(name: str) -> Address:
        return gate_address(run_id, name, numbers[name])

    needing: dict[str, list[Address]] = {}
    for name in names:
        for source in dict.fromkeys(plan.gates[name].depends_on):
            needing.setdefault(source, []).append(address(name))
    return [
        GateSeed(
            run_id=run_id,
            name=name,
            n=numbers[name],
            gate=plan.gates[name],
            askers=(*askers.get(name, ()), *needing.get(name, ())),
            sources=tuple(address(s) for s in dict.fromkeys(plan.gates[name].depends_on)),
            ticket=ticket,
            env_pass=plan.run.env_pass,
            base_dir=plan.run.base_dir,
            breaker=breaker_of(name, plan.gates[name]),
        )
        for name in names
    ]


def _closure(plan: Plan, names: Iterable[str]) -> list[str]:
    """These gates and all that they depend on, each once."""
    found: dict[str, None] = {}
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found[name] = None
            left += plan.gates[name].depends_on
    return list(found)


def worker_seeds(plan: Plan, run_id: str) -> list[WorkerSeed]:
    """The slots of the plan's own pools; none where the plan leaves them to the owner."""
    return [
        WorkerSeed(
            id=f"{run_id}/worker:{name}.{number}",
            run_id=run_id,
            pool=name,
            slot=pool,
            env_pass=plan.run.env_pass,
        )
        for name, pool in plan.workers.items()
        for number in range(1, max(1, pool.count) + 1)
    ]
