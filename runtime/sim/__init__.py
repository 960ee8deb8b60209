"""Simulation: whole runs of the real actors under virtual time, seeded chance and faults.

What stands here is the public interface; everything else may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.sim import faults as faults
    from runtime.sim import worlds as worlds
    from runtime.sim.case import Case as Case
    from runtime.sim.case import Config as Config
    from runtime.sim.case import Failure as Failure
    from runtime.sim.case import Result as Result
    from runtime.sim.declare import SimulationFailed as SimulationFailed
    from runtime.sim.declare import simulate as simulate
    from runtime.sim.histories import check_linearizable as check_linearizable
    from runtime.sim.report import Report as Report
    from runtime.sim.scenario import Sim as Sim
    from runtime.sim.small import SmallWorld as SmallWorld

__all__ = [
    "Case",
    "Config",
    "Failure",
    "Report",
    "Result",
    "Sim",
    "SimulationFailed",
    "SmallWorld",
    "check_linearizable",
    "faults",
    "simulate",
    "worlds",
]

_PLACES = {
    "Case": ("runtime.sim.case", "Case"),
    "Config": ("runtime.sim.case", "Config"),
    "Failure": ("runtime.sim.case", "Failure"),
    "Report": ("runtime.sim.report", "Report"),
    "Result": ("runtime.sim.case", "Result"),
    "Sim": ("runtime.sim.scenario", "Sim"),
    "SimulationFailed": ("runtime.sim.declare", "SimulationFailed"),
    "SmallWorld": ("runtime.sim.small", "SmallWorld"),
    "check_linearizable": ("runtime.sim.histories", "check_linearizable"),
    "faults": ("runtime.sim.faults", ""),
    "simulate": ("runtime.sim.declare", "simulate"),
    "worlds": ("runtime.sim.worlds", ""),
}


def __getattr__(name: str) -> Any:
    # Imported when used: the pytest plugin is in this package, and must cost nothing unused.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 (as above)

    module, attribute = _PLACES[name]
    found = import_module(module)
    return getattr(found, attribute) if attribute else found
