"""An operator's command as the message it is, and the actor that it goes to."""

from __future__ import annotations

from typing import Any

import msgspec

from actors import guard_messages as guard
from actors import messages as m
from runtime.errors import BanksmanError


class UnknownCommand(BanksmanError):
    """No such command, or not for this kind of entity; nothing has happened."""

    def __init__(self, name: str, kind: str | None = None) -> None:
        to = f" for a {kind.replace('_', ' ')}" if kind else ""
        super().__init__(f"there is no command {name!r}{to}; see `banksman --help`")
        self.name = name


class ReasonWanted(BanksmanError):
    """Who bends a rule says why; nothing has happened."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} bends a rule, and its reason goes on record: say --reason TEXT")
        self.name = name


# What an operator lays over a breaker; `reset` asks the tool first, and is not one of these.
BREAKER_VERBS: dict[str, type[guard.BreakerVerb]] = {
    "open": guard.ForceOpen,
    "close": guard.ForceClose,
    "hold": guard.Hold,
    "shadow": guard.Shadow,
    "disable": guard.Disable,
}


def kind_of(entity_id: str) -> str:
    """The kind of an entity of a run, or of a slot, by the shape of its id."""
    last = entity_id.rpartition("/")[2]
    if last.startswith("worker:"):
        return "uet_worker" if "@" in last else "worker"
    if last.startswith("gate:"):
        return "test_gate"
    return ("run", "workstream", "task")[min(entity_id.count("/"), 2)]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One command of an operator. `kind`: where the id's shape does not say it (a breaker, a user's
    own)."""

    name: str
    entity_id: str
    operator: str
    reason: str | None = None
    if_version: int | None = None
    kind: str | None = None
    args: dict[str, Any] = {}

    @property
    def ref(self) -> str:
        """The address of the entity that is meant."""
        kind = self.kind or ("circuit_breaker" if self.name == "breaker" else None)
        return f"{kind or kind_of(self.entity_id)}:{self.entity_id}"


def command_for(order: Order) -> tuple[str, m.Message]:
    """The address and the message. Raises UnknownCommand, ReasonWanted."""
    kind = order.ref.partition(":")[0]
    if order.name in _BENDING:
        message = _bending(order, kind)
    elif kind == "test_gate":
        return _of_gate(order)
    elif (order.name, kind) == ("retry", "task"):
        anew = bool(order.args.get("clear_retry_count", False))
        seen = order.if_version
        retry = m.RetryTask(order.entity_id, order.operator, order.reason, anew, if_version=seen)
        return f"workstream:{order.entity_id.rpartition('/')[0]}", retry
    else:
        message = _plain(order, kind)
    return order.ref, message


_BENDING = ("override", "breaker")


def _bending(order: Order, kind: str) -> m.Message:
    who, why, args = order.operator, order.reason, order.args
    if not why:
        raise ReasonWanted(order.name)
    if order.name == "override":
        return m.Override(args["target"], who, why, args.get("evidence"))
    verb = BREAKER_VERBS.get(args.get("verb", ""))
    if verb is None or kind != "circuit_breaker":
        raise UnknownCommand(order.name, kind)
    return verb(who, why)


def _plain(order: Order, kind: str) -> m.Message:
    who, why = order.operator, order.reason
    match order.name, kind:
        case "pause", "run" | "workstream" | "task" | "worker" | "patch_ledger":
            return m.Pause(who, why)
        case "resume", "run" | "workstream" | "task" | "worker" | "patch_ledger":
            return m.Resume(who, why)
        case "cancel", "run" | "workstream" | "task":
            return m.Cancel(why, who)
        case "skip", "workstream":
            return m.Skip(why, who)
        case "unblock", "workstream" | "task":
            return m.Unblock(tuple(order.args.get("names", ())), who, why)
        case "drain", "worker":
            return m.Drain(who, why)
        case "replace", "worker":
            return m.Replace(who, why)
        case _:
            raise UnknownCommand(order.name, kind)


def _of_gate(order: Order) -> tuple[str, m.Message]:
    match order.name:
        case "cancel":
            return order.ref, m.Cancel(order.reason, order.operator)
        case "approve":
            return order.ref, m.Approve(order.operator, order.reason)
        case "reject":
            return order.ref, m.Reject(order.operator, order.reason)
        case "rerun":
            run_id = order.entity_id.rpartition("/gate:")[0]
            who, why, seen = order.operator, order.reason, order.if_version
            return f"run:{run_id}", m.RerunGate(order.entity_id, who, why, if_version=seen)
        case _:
            raise UnknownCommand(order.name, "test_gate")
