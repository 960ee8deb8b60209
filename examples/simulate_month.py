"""A whole pipeline for a simulated month, under faults, in seconds:

    banksman simulate examples/simulate_month.py

Every night at two a run is submitted: it fetches, builds on two lanes, waits for a gate, deploys.
Meanwhile the owner is killed, the disk fills up, workers hang, heartbeats get lost, clocks jump: a
different mixture for each seed. The promises of the runtime are watched without asking; below
stand those of this pipeline.
"""

from __future__ import annotations

from actors import spec
from runtime.sim import Sim, simulate

NIGHTS = 30


def command(*argv: str, **fields: object) -> spec.Task:
    return spec.Task(command=argv, max_retries=5, timeout_s=1800, **fields)  # type: ignore[arg-type]


def nightly() -> spec.Plan:
    return spec.Plan(
        run=spec.Run(name="nightly"),
        workers={"local": spec.Pool(count=2)},
        gates={"unit": spec.Gate(command=("pytest", "-q"), timeout_s=600)},
        workstreams={
            "fetch": spec.Workstream(tasks={"sources": command("git", "fetch")}),
            "build": spec.Workstream(
                depends_on=("fetch",),
                tasks={"code": command("make"), "docs": command("make", "docs")},
            ),
            "release": spec.Workstream(
                depends_on=("build",),
                tasks={"deploy": command("make", "deploy", gates=("unit",))},
            ),
        },
    )


@simulate(seeds=20, horizon="30d")
def every_night_ends(sim: Sim) -> None:
    sim.tool("code", duration_s="10m")
    sim.tool("docs", duration_s="3m", fails=1)
    sim.gate("unit", duration_s="2m")
    nights = [
        sim.submit(nightly(), key=f"night-{n}", at=f"{24 * n + 2}h")
        for n in range(sim.size("nights", NIGHTS))
    ]
    sim.at("15d").crash("supervisor")
    sim.eventually(
        "every night has ended",
        lambda v: all((run := v.run(night)) is not None and run.terminal for night in nights),
        within="3d",
    )
    sim.sometimes("a night completes", lambda v: "completed" in v.states("run").values())
