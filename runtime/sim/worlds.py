"""Ready worlds: plans of a usual shape, by the number of their tasks and workers.

Each function here makes a function of a `Sim`; what it is given is what the case may make smaller:
`sizes` of the same names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from actors import spec
from runtime.sim import ledger as patches_to_land
from runtime.sim.behaviour import Behaviour, Execution

if TYPE_CHECKING:
    from runtime.sim.scenario import Sim

World = Callable[["Sim"], None]


def pipeline(tasks: int = 8, workers: int = 3, retries: int = 2) -> World:
    """Tasks in lanes, each after the one before it, and a last one that joins them; on processes,
    with timeouts and retries. The run ends."""

    def world(sim: Sim) -> None:
        count, slots = sim.size("tasks", tasks), sim.size("workers", workers)
        sim.submit(pipeline_plan(max(1, count), max(1, slots), retries))

    return world


def pipeline_plan(tasks: int, workers: int, retries: int = 2) -> spec.Plan:
    """The plan of `pipeline`, for worlds of one's own."""
    lanes = max(1, min(workers, tasks - 1))
    made: dict[str, spec.Task] = {}
    for n in range(max(1, tasks - 1)):
        before = (f"t{n - lanes + 1}",) if n >= lanes else ()
        made[f"t{n + 1}"] = _task(before, retries)
    if tasks > 1:
        made["join"] = _task(tuple(made)[-lanes:], retries)
    return plan("pipeline", {"main": spec.Workstream(tasks=made)}, workers)


def diamond(width: int = 3, workers: int = 2) -> World:
    """One task, some that wait for it, and one that waits for them, over three workstreams."""

    def world(sim: Sim) -> None:
        wide = sim.size("width", width)
        middle = {f"m{n + 1}": _task(("first/top",)) for n in range(wide)}
        bottom = _task(tuple(f"middle/{name}" for name in middle))
        streams = {
            "first": spec.Workstream(tasks={"top": _task()}),
            "middle": spec.Workstream(tasks=middle, depends_on=("first",)),
            "last": spec.Workstream(tasks={"bottom": bottom}, depends_on=("middle",)),
        }
        sim.submit(plan("diamond", streams, sim.size("workers", workers)))

    return world


def gated(tasks: int = 4, workers: int = 2) -> World:
    """Tasks behind a gate, one validated by another gate, a workstream with a gate of its own."""

    def world(sim: Sim) -> None:
        count = sim.size("tasks", tasks)
        made = {f"t{n + 1}": _task(gates=("lint",)) for n in range(count)}
        made["checked"] = _task(("t1",), validate=("unit",))
        streams = {
            "build": spec.Workstream(tasks=made, gates=("whole",)),
            "ship": spec.Workstream(tasks={"out": _task()}, depends_on=("build",)),
        }
        gates = {
            "lint": spec.Gate(type="LINT", command=("lint",), timeout_s=60.0),
            "unit": spec.Gate(command=("unit",), depends_on=("lint",), timeout_s=120.0),
            "whole": spec.Gate(type="INTEGRATION", command=("whole",), timeout_s=120.0),
        }
        sim.submit(plan("gated", streams, sim.size("workers", workers), gates=gates))

    return world


def failing(tasks: int = 6, workers: int = 2) -> World:
    """Tasks that fail now and then, some for good, critical and not: every way a run can end."""

    def world(sim: Sim) -> None:
        made: dict[str, spec.Task] = {}
        for n in range(sim.size("tasks", tasks)):
            name = f"t{n + 1}"
            before = (f"t{n}",) if n and sim.maybe(f"chain {name}") else ()
            critical = not sim.maybe(f"not critical {name}", 0.4)
            made[name] = _task(before, critical=critical, max_retries=n % 3)
            sim.tool(name, duration_s=1 + n, fails=sim.choose(f"fails {name}", (0, 0, 1, 2, 9)))
        on_blocked = sim.choose("on blocked", ("end", "wait"))
        streams = {
            "a": spec.Workstream(tasks=made),
            "b": spec.Workstream(tasks={"after": _task()}, depends_on=("a",), critical=False),
            "c": spec.Workstream(tasks={"beside": _task()}),
        }
        run = spec.Run(name="failing", on_blocked=on_blocked, on_failure="finish")
        sim.submit(plan("failing", streams, sim.size("workers", workers), run=run))

    return world


def operated(tasks: int = 6, workers: int = 2) -> World:
    """A pipeline, and an operator who pauses, resumes, cancels, skips and retries at any moment."""

    def world(sim: Sim) -> None:
        count, slots = sim.size("tasks", tasks), sim.size("workers", workers)
        sim.tool("*", duration_s=20)
        sim.submit(pipeline_plan(count, slots))
        sim.submit(pipeline_plan(max(1, count // 2), slots), at="10s")
        sim.operator(
            *("pause", "resume", "cancel", "skip", "unblock", "retry", "drain", "replace"),
            "override",
            every="7s",
            until="5m",
        )

    return world


def guarded(tasks: int = 6, workers: int = 3, outage_s: float = 120.0) -> World:
    """Tasks that use one tool with a breaker, which fails for a while and tells a rate limit now
    and then."""

    def world(sim: Sim) -> None:
        tool = spec.Tool(
            command=("llm", "{args}"),
            concurrency=2,
            caller_fault_exit_codes=(3,),
            breaker=spec.Breaker(failure_threshold=2, cooldown_s=30.0, success_threshold=2),
        )

        def behave(execution: Execution) -> Behaviour:
            if 10.0 < sim.view.now_s < 10.0 + outage_s:
                return Behaviour(duration_s=2.0, exit_code=1)
            return Behaviour(duration_s=8.0, exit_code=sim.choose(execution.name, (0, 0, 0, 1, 3)))

        sim.tool("llm", behave)
        made = {
            f"t{n + 1}": spec.Task(tool="llm", args=("x",), max_retries=8, timeout_s=600.0)
            for n in range(sim.size("tasks", tasks))
        }
        workers_ = {"local": spec.Pool(count=sim.size("workers", workers))}
        sim.submit(
            spec.Plan(
                run=spec.Run(name="guarded"),
                workers=workers_,
                tools={"llm": tool},
                workstreams={"main": spec.Workstream(tasks=made)},
            )
        )

    return world


def approved(tasks: int = 3, workers: int = 2) -> World:
    """A gate that a person passes, some time later; tasks before it and behind it."""

    def world(sim: Sim) -> None:
        made = {f"t{n + 1}": _task() for n in range(sim.size("tasks", tasks))}
        streams = {
            "build": spec.Workstream(tasks=made),
            "ship": spec.Workstream(
                tasks={"out": _task(gates=("sign",), validate=("smoke",))}, depends_on=("build",)
            ),
        }
        gates = {
            "sign": spec.Gate(type="SECURITY", approval=True),
            "smoke": spec.Gate(command=("smoke",), timeout_s=60.0),
        }
        sim.gate("smoke", fails=sim.choose("smoke fails", (0, 1, 2)))
        sim.submit(plan("approved", streams, sim.size("workers", workers), gates=gates))
        sim.at(f"{sim.choose('asked after', (60, 3, 600))}s").command("approve", "gate:sign~1")

    return world


def owners_pool(runs: int = 3, tasks: int = 3, workers: int = 2) -> World:
    """Runs that share the owner's pool, with a key that only one task at a time may hold."""

    def world(sim: Sim) -> None:
        sim.pool("local", count=sim.size("workers", workers))
        for n in range(sim.size("runs", runs)):
            made = {
                f"t{i + 1}": _task(concurrency_key="db" if i % 2 else None, priority=i % 3)
                for i in range(sim.size("tasks", tasks))
            }
            shared = spec.Plan(
                run=spec.Run(name=f"run{n + 1}", priority=n % 2),
                workstreams={"main": spec.Workstream(tasks=made)},
            )
            sim.submit(shared, at=f"{n}s")

    return world


def inline(tasks: int = 20, workers: int = 4) -> World:
    """Callables of the owner's own process: the shortest way through the kernel."""

    def world(sim: Sim) -> None:
        made = {
            f"t{n + 1}": spec.Task(call="work", max_retries=1)
            for n in range(sim.size("tasks", tasks))
        }
        sim.tool("*", duration_s=0.01)
        pool = spec.Pool(kind="inline", count=sim.size("workers", workers))
        streams = {"main": spec.Workstream(tasks=made)}
        run = spec.Run(name="inline")
        sim.submit(spec.Plan(run=run, workers={"local": pool}, workstreams=streams))

    return world


def plan(
    name: str,
    workstreams: dict[str, spec.Workstream],
    workers: int = 2,
    *,
    gates: dict[str, spec.Gate] | None = None,
    run: spec.Run | None = None,
) -> spec.Plan:
    """A plan with one pool of processes."""
    return spec.Plan(
        run=run or spec.Run(name=name),
        workers={"local": spec.Pool(count=workers)},
        gates=gates or {},
        workstreams=workstreams,
    )


def _task(
    depends_on: tuple[str, ...] = (),
    max_retries: int = 2,
    *,
    critical: bool = True,
    gates: tuple[str, ...] = (),
    validate: tuple[str, ...] = (),
    concurrency_key: str | None = None,
    priority: int = 0,
) -> spec.Task:
    return spec.Task(
        command=("work",),
        depends_on=depends_on,
        max_retries=max_retries,
        critical=critical,
        gates=gates,
        validate=validate,
        concurrency_key=concurrency_key,
        priority=priority,
        timeout_s=600.0,
    )


ledger = patches_to_land.ledger

WORLDS: dict[str, World] = {
    "pipeline": pipeline(),
    "diamond": diamond(),
    "gated": gated(),
    "failing": failing(),
    "operated": operated(),
    "guarded": guarded(),
    "approved": approved(),
    "owners_pool": owners_pool(),
    "inline": inline(),
    "ledger": ledger(),
}
"""Every ready world in its usual size, by name."""
