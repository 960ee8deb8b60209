"""An operator's command as the message it is, and the actor that it goes to."""

from __future__ import annotations

from typing import Any

from actors import messages as m
from runtime.errors import BanksmanError


class UnknownCommand(BanksmanError):
    """No such command, or not for this kind of entity; nothing has happened."""

    def __init__(self, name: str, kind: str | None = None) -> None:
        to = f" for a {kind}" if kind else ""
        super().__init__(f"there is no command {name!r}{to}; see `banksman --help`")
        self.name = name


def kind_of(entity_id: str) -> str:
    """The kind of an entity of ours, by the shape of its id."""
    last = entity_id.rpartition("/")[2]
    if last.startswith("worker:"):
        return "uet_worker" if "@" in last else "worker"
    if last.startswith("gate:"):
        return "test_gate"
    return ("run", "workstream", "task")[min(entity_id.count("/"), 2)]


def command_for(
    name: str, entity_id: str | None, *, operator: str, reason: str | None, **args: Any
) -> tuple[str, m.Message]:
    """The address and the message. Raises UnknownCommand."""
    if entity_id is None:
        raise UnknownCommand(name)
    kind = kind_of(entity_id)
    ref = f"{kind}:{entity_id}"
    match name, kind:
        case "pause", "run" | "workstream" | "task" | "worker":
            return ref, m.Pause(operator, reason)
        case "resume", "run" | "workstream" | "task" | "worker":
            return ref, m.Resume(operator, reason)
        case "cancel", "run" | "workstream" | "task" | "test_gate":
            return ref, m.Cancel(reason, operator)
        case "skip", "workstream":
            return ref, m.Skip(reason, operator)
        case "unblock", "workstream" | "task":
            return ref, m.Unblock(tuple(args.get("names", ())), operator, reason)
        case "retry", "task":
            retry = m.RetryTask(
                entity_id, operator, reason, bool(args.get("clear_retry_count", False))
            )
            return f"workstream:{entity_id.rpartition('/')[0]}", retry
        case _:
            raise UnknownCommand(name, kind)
