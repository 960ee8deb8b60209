"""Every world of ours, to look for bugs of the machines and the kernel by the hundred thousand:

    banksman simulate tests/sim/campaign.py --seeds 30000 --jobs 2

CI runs the first seeds of each; `--seeds commit:100` are some that this commit alone has.
"""

from __future__ import annotations

from runtime.sim import Sim, grounds, simulate, worlds


@simulate()
def pipeline(sim: Sim) -> None:
    worlds.pipeline(tasks=5, workers=2)(sim)


@simulate()
def diamond(sim: Sim) -> None:
    worlds.diamond(width=2)(sim)


@simulate()
def gated(sim: Sim) -> None:
    worlds.gated(tasks=3)(sim)


@simulate()
def failing(sim: Sim) -> None:
    worlds.failing(tasks=4)(sim)


@simulate()
def operated(sim: Sim) -> None:
    worlds.operated(tasks=5)(sim)


@simulate()
def guarded(sim: Sim) -> None:
    worlds.guarded(tasks=4, workers=2)(sim)


@simulate()
def approved(sim: Sim) -> None:
    worlds.approved()(sim)


@simulate()
def owners_pool(sim: Sim) -> None:
    worlds.owners_pool()(sim)


@simulate()
def inline(sim: Sim) -> None:
    worlds.inline(tasks=8, workers=3)(sim)


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
    worlds.ledger(patches=4)(sim)
