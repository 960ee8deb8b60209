"""The operator's hand: a command carried out on the actor that it is for, and its answer.

Invariants:
1. What it answers is durable; what it refuses has not happened.
2. A version that the caller saw is held against the entity's own in the turn that takes the order,
   also where the message takes another way (a retry goes to the workstream, a rerun to the run).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec

from actors import guard_messages as guard
from actors import messages as m
from actors.breaker import Breaker
from runtime import evidence, health
from runtime.commands import Order, ReasonWanted, UnknownCommand, command_for
from runtime.errors import UnknownActor
from runtime.limits import COMMAND_TIMEOUT_S
from runtime.supervisor import Supervisor

Ask = Callable[..., Awaitable[Any]]
Answer = m.Accepted | m.Refused


async def carry_out(sup: Supervisor, ask: Ask, order: Order) -> Answer:
    """Raises UnknownActor, UnknownCommand, ReasonWanted."""
    if order.name == "override" and order.args.get("shown") is not None:
        return await _with_evidence(sup, ask, order)
    if order.name == "breaker" and order.args.get("verb") == "reset":
        found = await _reset(sup, order)
        if isinstance(found, m.Refused):
            return found
        ref, message = order.ref, found
    else:
        ref, message = command_for(order)
    if_version = order.if_version
    if ref != order.ref:
        await _version(sup, order.ref)
        if_version = None  # its message carries it
    answer = await ask(ref, message, COMMAND_TIMEOUT_S, control=True, if_version=if_version)
    assert isinstance(answer, Answer)
    return answer


async def stale_version(sup: Supervisor, order: Order) -> m.Refused | None:
    """The refusal of an order about what has ended that was decided on another version than the
    present one. Raises UnknownActor."""
    version = await _version(sup, order.ref)
    if order.if_version in {None, version}:
        return None
    return m.Refused(
        f"{order.entity_id} is at version {version}, not {order.if_version}: "
        "look again and decide anew"
    )


async def _version(sup: Supervisor, ref: str) -> int:
    """Raises UnknownActor: whoever hands an order on counts on an answer of the one it is for."""
    cell = sup.router.cells.get(ref)
    if cell is not None:
        return cell.version + cell.dirty
    stored = (await sup.store.load_many([ref])).get(ref)
    if stored is None:
        raise UnknownActor(ref)
    return stored.version


async def _reset(sup: Supervisor, order: Order) -> m.Message:
    """The tool is asked first: what it answers goes with the reset, or is why there is none."""
    if not order.reason:
        raise ReasonWanted("breaker reset")
    breaker = await _breaker(sup, order.ref)
    if not breaker.health:
        return m.Refused(
            f"{breaker.tool} has no health command to ask: give it one in the plan, or close the "
            "breaker unasked with `breaker close`"
        )
    found = await health.ask(breaker.health, Path(breaker.base_dir))
    if not found.passed:
        asked = " ".join(breaker.health)
        return m.Refused(
            f"{breaker.tool} is not well ({asked}: {found.said}); `breaker close` skips the check"
        )
    return guard.Reset(order.operator, order.reason, True, found.said)


async def _breaker(sup: Supervisor, ref: str) -> Breaker:
    cell = sup.router.cells.get(ref)
    if cell is not None:
        value = cell.value
    else:
        stored = (await sup.store.load_many([ref])).get(ref)
        if stored is None:
            raise UnknownActor(ref)
        value = stored.value
    assert isinstance(value, Breaker)
    return value


async def _with_evidence(sup: Supervisor, ask: Ask, order: Order) -> Answer:
    keep = (order.args["shown"], sup.store.layout.output, order.entity_id)
    # First the file, then the row that names it: a record never points at nothing.
    kept = await anyio.to_thread.run_sync(evidence.keep, *keep)
    args = {"target": order.args["target"], "evidence": kept.said}
    taken = True  # also where no answer came in time: it may come to pass yet
    try:
        answer = await carry_out(sup, ask, msgspec.structs.replace(order, args=args))
        taken = not isinstance(answer, m.Refused)
    except (UnknownActor, UnknownCommand, ReasonWanted):
        taken = False
        raise
    finally:
        # One that was there before is what an earlier order names.
        if kept.is_new and not taken:
            await anyio.to_thread.run_sync(kept.path.unlink)
    return answer
