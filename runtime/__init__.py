"""The async shell of Banksman: it carries out what the actors decide.

What stands here is the public interface of the embedded library; everything else may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors import spec as spec
    from runtime.clock import SystemClock as SystemClock
    from runtime.clock import VirtualClock as VirtualClock
    from runtime.kinds import user_kind as user_kind
    from runtime.opening import open_runtime as open_runtime
    from runtime.plan import PlanError as PlanError
    from runtime.plan import load as load_plan
    from runtime.runtime import Run as Run
    from runtime.runtime import Runtime as Runtime

__all__ = [
    "PlanError",
    "Run",
    "Runtime",
    "SystemClock",
    "VirtualClock",
    "load_plan",
    "open_runtime",
    "spec",
    "user_kind",
]

_PLACES = {
    "PlanError": ("runtime.plan", "PlanError"),
    "Run": ("runtime.runtime", "Run"),
    "Runtime": ("runtime.runtime", "Runtime"),
    "SystemClock": ("runtime.clock", "SystemClock"),
    "VirtualClock": ("runtime.clock", "VirtualClock"),
    "load_plan": ("runtime.plan", "load"),
    "open_runtime": ("runtime.opening", "open_runtime"),
    "spec": ("actors.spec", ""),
    "user_kind": ("runtime.kinds", "user_kind"),
}


def __getattr__(name: str) -> Any:
    # Imported when used: `banksman --help` must not pay for an event loop and a database.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 (as above)

    module, attribute = _PLACES[name]
    found = import_module(module)
    return getattr(found, attribute) if attribute else found
