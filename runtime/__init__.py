"""The async shell of Banksman: it carries out what the actors decide.

What stands here is the public interface of the embedded library; everything else may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors import spec as spec
    from runtime.clock import SystemClock as SystemClock
    from runtime.clock import VirtualClock as VirtualClock
    from runtime.errors import ActorSuspended as ActorSuspended
    from runtime.errors import BanksmanError as BanksmanError
    from runtime.errors import InboxFull as InboxFull
    from runtime.errors import OutcomeUnknown as OutcomeUnknown
    from runtime.errors import RuntimeStopped as RuntimeStopped
    from runtime.errors import TurnFailed as TurnFailed
    from runtime.errors import UnknownActor as UnknownActor
    from runtime.events import Lagged as Lagged
    from runtime.kinds import user_kind as user_kind
    from runtime.opening import open_runtime as open_runtime
    from runtime.plan import PlanError as PlanError
    from runtime.plan import load as load_plan
    from runtime.recovery import RecoveryReport as RecoveryReport
    from runtime.router import DeadLetter as DeadLetter
    from runtime.runtime import Run as Run
    from runtime.runtime import Runtime as Runtime
    from runtime.store import OwnerBusy as OwnerBusy
    from runtime.work.inline import progress as progress
    from runtime.work.inline import withdrawn as withdrawn

__all__ = [
    "ActorSuspended",
    "BanksmanError",
    "DeadLetter",
    "InboxFull",
    "Lagged",
    "OutcomeUnknown",
    "OwnerBusy",
    "PlanError",
    "RecoveryReport",
    "Run",
    "Runtime",
    "RuntimeStopped",
    "SystemClock",
    "TurnFailed",
    "UnknownActor",
    "VirtualClock",
    "load_plan",
    "open_runtime",
    "progress",
    "spec",
    "user_kind",
    "withdrawn",
]

_PLACES = {
    "ActorSuspended": ("runtime.errors", "ActorSuspended"),
    "BanksmanError": ("runtime.errors", "BanksmanError"),
    "DeadLetter": ("runtime.router", "DeadLetter"),
    "InboxFull": ("runtime.errors", "InboxFull"),
    "Lagged": ("runtime.events", "Lagged"),
    "OutcomeUnknown": ("runtime.errors", "OutcomeUnknown"),
    "OwnerBusy": ("runtime.store", "OwnerBusy"),
    "PlanError": ("runtime.plan", "PlanError"),
    "RecoveryReport": ("runtime.recovery", "RecoveryReport"),
    "Run": ("runtime.runtime", "Run"),
    "Runtime": ("runtime.runtime", "Runtime"),
    "RuntimeStopped": ("runtime.errors", "RuntimeStopped"),
    "SystemClock": ("runtime.clock", "SystemClock"),
    "TurnFailed": ("runtime.errors", "TurnFailed"),
    "UnknownActor": ("runtime.errors", "UnknownActor"),
    "VirtualClock": ("runtime.clock", "VirtualClock"),
    "load_plan": ("runtime.plan", "load"),
    "open_runtime": ("runtime.opening", "open_runtime"),
    "progress": ("runtime.work.inline", "progress"),
    "spec": ("actors.spec", ""),
    "user_kind": ("runtime.kinds", "user_kind"),
    "withdrawn": ("runtime.work.inline", "withdrawn"),
}


def __getattr__(name: str) -> Any:
    # Imported when used: `banksman --help` must not pay for an event loop and a database.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 (as above)

    module, attribute = _PLACES[name]
    found = import_module(module)
    return getattr(found, attribute) if attribute else found
