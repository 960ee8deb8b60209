"""Every world of ours, to look for bugs of the machines and the kernel by the hundred thousand:

    banksman simulate tests/sim/campaign.py --seeds 30000 --jobs 2

CI runs the first seeds of each; `--seeds commit:100` are some that this commit alone has. Each seed
draws how large its world is: most bugs need little, and a small world has many more lives an hour.
"""

from __future__ import annotations

from runtime.sim import Sim, grounds, simulate, worlds


@simulate()
def pipeline(sim: Sim) -> None:
    worlds.pipeline(sim.choose("tasks", (2, 1, 3, 5)), sim.choose("workers", (2, 1, 3)))(sim)


@simulate()
def diamond(sim: Sim) -> None:
    worlds.diamond(sim.choose("width", (2, 1, 3)))(sim)


@simulate()
def gated(sim: Sim) -> None:
    worlds.gated(sim.choose("tasks", (1, 2, 3)))(sim)


@simulate()
def failing(sim: Sim) -> None:
    worlds.failing(sim.choose("tasks", (2, 1, 3, 5)), sim.choose("workers", (2, 1)))(sim)


@simulate()
def operated(sim: Sim) -> None:
    worlds.operated(sim.choose("tasks", (2, 1, 3, 5)), sim.choose("workers", (2, 1)))(sim)


@simulate()
def guarded(sim: Sim) -> None:
    worlds.guarded(sim.choose("tasks", (2, 1, 4)), sim.choose("workers", (2, 1, 3)))(sim)


@simulate()
def approved(sim: Sim) -> None:
    worlds.approved(sim.choose("tasks", (2, 1, 3)))(sim)


@simulate()
def owners_pool(sim: Sim) -> None:
    worlds.owners_pool(sim.choose("runs", (2, 1, 3)), sim.choose("tasks", (2, 1, 3)))(sim)


@simulate()
def inline(sim: Sim) -> None:
    worlds.inline(sim.choose("tasks", (3, 1, 8)), sim.choose("workers", (2, 1, 3)))(sim)


@simulate()
def tooled(sim: Sim) -> None:
    grounds.tooled(sim)


@simulate()
def short_of_time(sim: Sim) -> None:
    grounds.short_of_time(sim)


@simulate()
def paid_once(sim: Sim) -> None:
    grounds.paid_once(sim)


@simulate()
def ledger(sim: Sim) -> None:
    worlds.ledger(sim.choose("patches", (2, 1, 3, 4)))(sim)
