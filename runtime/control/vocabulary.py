"""Every command an owner answers: its name, its arguments, and the call it makes on the engine.

The one place where a command of the owner is spelled; the socket serves it, and whatever serves
it later (HTTP) maps onto the same table.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Literal

import msgspec

from actors.messages import Refused
from actors.spec import Plan
from runtime.control.engine import Engine
from runtime.control.gapless import gapless
from runtime.evidence import Evidence
from runtime.plan import PlanError, told_once
from runtime.view.filters import EventFilter


class Declined(Exception):
    """The engine said no: the answer is an error with this code, and nothing was done."""

    def __init__(self, code: str, text: str, cure: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.cure = cure


class Args(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The common root; also the arguments of a command that takes none."""


class Submit(Args, frozen=True):
    plan: Plan
    key: str | None = None


class Operate(Args, frozen=True):
    """The operator's hand on one entity, by its full id. `kind`: where the id does not say it."""

    entity: str
    operator: str
    reason: str | None = None
    if_version: int | None = None
    kind: str | None = None


class Retry(Operate, frozen=True):
    clear_retry_count: bool = False


class Unblock(Operate, frozen=True):
    names: tuple[str, ...] = ()


class Override(Operate, frozen=True, kw_only=True):
    """`target`: the state to go to. `shown`: what the operator showed for it."""

    target: str
    shown: Evidence | None = None


class Breaker(Operate, frozen=True, kw_only=True):
    verb: Literal["open", "close", "reset", "hold", "shadow", "disable"]


class Events(Args, frozen=True):
    """`since`: the seq after which to begin; None: from now."""

    since: int | None = None
    where: EventFilter = EventFilter()


class Verb(msgspec.Struct, frozen=True):
    """One command: `answer` for one value, or `stream` for events without an end."""

    args: type[Args]
    answer: Callable[[Engine, Any], Awaitable[Any]] | None = None
    stream: Callable[[Engine, Any], AsyncGenerator[Any, None]] | None = None


async def _submit(engine: Engine, args: Submit) -> dict[str, Any]:
    try:
        run = await engine.submit(args.plan, args.key)
    except PlanError as error:
        faults = "; ".join(told for _, told in told_once(error.faults))
        raise Declined("bad_plan", faults, "mend the plan, then `banksman check` it") from None
    return {"run_id": run.id}


async def _statistics(engine: Engine, _args: Args) -> dict[str, Any]:
    return engine.statistics()


async def _progress(engine: Engine, _args: Args) -> dict[str, str]:
    # A callable may say what is no text that can be encoded: a lone surrogate.
    told = engine.progress().items()
    return {lease: line.encode("utf-8", "replace").decode() for lease, line in told}


async def _waits(engine: Engine, _args: Args) -> dict[str, Any]:
    return {"unfinished": engine.unfinished_runs(), "waits_for_person": engine.waits_for_person()}


async def _events(engine: Engine, args: Events) -> AsyncGenerator[Any, None]:
    events = gapless(engine, args.since)
    try:
        async for event in events:
            if args.where.matches(event):
                yield event
    finally:
        await events.aclose()


def _operate(name: str) -> Callable[[Engine, Any], Awaitable[Any]]:
    async def answer(engine: Engine, args: Operate) -> Any:
        fields = msgspec.structs.asdict(args)
        if args.kind is None:
            del fields["kind"]
        return await operate(engine, name, fields.pop("entity"), **fields)

    return answer


async def operate(engine: Engine, name: str, entity: str, **args: Any) -> dict[str, Any]:
    """Carries out an operator's command. Raises Declined("refused") with the engine's reason."""
    reply = await engine.command(name, entity, **args)
    if isinstance(reply, Refused):
        raise Declined("refused", reply.reason)
    return {"text": reply.text, "entity_id": reply.entity_id or entity}


_PLAIN = (
    *("pause", "resume", "cancel", "skip", "approve", "reject", "rerun"),
    *("drain", "replace", "release"),
)

VOCABULARY: dict[str, Verb] = {
    "submit": Verb(Submit, answer=_submit),
    "statistics": Verb(Args, answer=_statistics),
    "waits": Verb(Args, answer=_waits),
    "progress": Verb(Args, answer=_progress),
    "events": Verb(Events, stream=_events),
    **{name: Verb(Operate, answer=_operate(name)) for name in _PLAIN},
    "retry": Verb(Retry, answer=_operate("retry")),
    "unblock": Verb(Unblock, answer=_operate("unblock")),
    "override": Verb(Override, answer=_operate("override")),
    "breaker": Verb(Breaker, answer=_operate("breaker")),
}
