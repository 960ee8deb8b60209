"""Taking a state directory over: every actor not at its end is read back and accounted for.

Order: what a former owner's processes left is killed and proven dead; every actor takes
`Recovered` first, a worker's process then its own end; undelivered messages come before overdue
timers; unfinished effects of users are offered again with the same key, marked as perhaps done.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from actors.messages import OWNER_RESTARTED, Outcome, ProcessExited, Recovered, WorkEnded
from runtime.inbox import Envelope
from runtime.store import Damaged
from runtime.watches import Watches

if TYPE_CHECKING:
    from runtime.cell import Cell
    from runtime.kernel import Kernel
    from runtime.perform import Performers
    from runtime.store import Stored
    from runtime.work.reap import Record


class RecoveredEntity(msgspec.Struct, frozen=True):
    """One actor that was found unfinished, and what becomes of it."""

    entity: str
    state: str
    action: str


class RecoveryReport(msgspec.Struct, frozen=True):
    """Every actor that was not terminal when this owner took over. `lines` is a sample of at most
    `LINES_MAX`, the rest is counted in `totals` by (kind, state)."""

    lines: tuple[RecoveredEntity, ...] = ()
    totals: dict[str, int] = {}
    messages: int = 0
    effects: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


_ACTIONS: dict[tuple[str, str], str] = {
    ("run", "initializing"): "goes on creating its tasks",
    ("run", "paused"): "stays paused until resumed",
    ("task", "running"): "its process is gone: tries again under a new lease, no attempt burned",
    ("task", "retrying"): "its backoff goes on",
    ("test_gate", "running"): "its command is run again",
    ("worker", "busy"): "gets a new process",
    ("worker", "idle"): "gets a new process",
    ("uet_worker", "spawning"): "its process is gone: ends",
    ("uet_worker", "idle"): "its process is gone: ends",
    ("uet_worker", "busy"): "its process is gone: ends",
    ("uet_worker", "draining"): "its process is gone: ends",
}


async def read_back(sup: Kernel) -> tuple[list[Cell], list[Stored]]:
    """Makes a cell of every unfinished actor, and learns the next keys of every table. Also what
    cannot be one: the actors whose kind this program has not registered; they wait as they are."""
    turns, store = sup.turns, sup.store
    turns.next_n = await store.next_rows()
    turns.next_effect = await store.next_outbox()
    turns.watches = Watches(await store.watches())
    cells: list[Cell] = []
    unknown: list[Stored] = []
    async for page in store.unfinished():
        for stored in page:
            if stored.kind in turns.kinds:
                cells.append(sup.adopt(stored))
            else:
                unknown.append(stored)
    for target in turns.watches:
        if target not in sup.router.cells:
            sup.router.absent.setdefault(target, [])  # perhaps it has ended: look
    return cells, unknown


def without_kind(unknown: list[Stored]) -> tuple[str, ...]:
    """A note for each kind that has actors here and is not registered."""
    counts = Counter(stored.kind for stored in unknown)
    return tuple(
        f"{count} actor{'s' if count > 1 else ''} of the kind {kind!r} wait: pass it to "
        "open_runtime(kinds=...)"
        for kind, count in counts.items()
    )


def processes(cells: list[Cell]) -> list[Record]:
    """What a former owner may have left running."""
    from runtime.work.reap import Record  # noqa: PLC0415 (only a take-over needs it)

    return [
        Record(
            pid=c.value.pid,
            start_ticks=c.value.start_ticks,
            boot_id=c.value.boot_id,
            child_pid=c.value.child_pid,
            child_pgid=c.value.child_pgid,
            child_ticks=c.value.child_ticks,
            lease=c.value.lease,
        )
        for c in cells
        if c.kind.name == "uet_worker"
    ]


async def announce(
    sup: Kernel, cells: list[Cell], performers: Performers | None, undead: frozenset[str]
) -> tuple[int, int]:
    """Tells everyone, in the order of the header. Returns how many messages and effects waited."""
    epoch = sup.store.owner_epoch
    for cell in cells:
        if cell.kind.recovers:
            recovered = Recovered(epoch)
            sup.router.post(Envelope(cell.address, recovered, control=True, kept=True))
        if cell.kind.name == "uet_worker":
            if (lease := cell.value.lease) in undead:
                left = Outcome(reason="lost", alive=True, infrastructure=True)
                ended = WorkEnded(lease, left)
                sup.router.post(Envelope(cell.address, ended, control=True, kept=True))
            gone = ProcessExited(crashed=True, reason=OWNER_RESTARTED)
            sup.router.post(Envelope(cell.address, gone, control=True, kept=True))
    messages = 0
    for row, target, body, control in await sup.store.messages():
        kind = sup.turns.kinds.get(target.partition(":")[0])
        if kind is not None:
            messages += 1
            try:
                item = kind.decode_message(body)
            except msgspec.MsgspecError as error:
                what = f"the message {row} to {target} cannot be read back: {error}"
                raise Damaged(sup.store.layout.db, what) from error
            sup.router.post(Envelope(target, item, control=control, row=row))
    effects = 0
    for row, actor, name, key, payload in await sup.store.outbox():
        if performers is not None and actor.partition(":")[0] in sup.turns.kinds:
            effects += 1
            performers.perform(row, actor, name, key, payload, perhaps_done=True)
    return messages, effects


LINES_MAX = 200


def found(cells: list[Cell], unknown: list[Stored]) -> list[RecoveredEntity]:
    """Each as it was found, before it takes a turn."""
    entities = []
    for cell in cells:
        state = cell.state
        action = _ACTIONS.get((cell.kind.name, state), "goes on")
        if cell.suspended is not None:
            action = f"stays suspended: {cell.suspended}"
        entities.append(RecoveredEntity(cell.address, state, action))
    waits = "waits: its kind is not registered"
    entities += [RecoveredEntity(stored.address, "unknown", waits) for stored in unknown]
    return entities


def report(
    entities: list[RecoveredEntity],
    began: float,
    messages: int,
    effects: int,
    notes: tuple[str, ...],
) -> RecoveryReport:
    """What the new owner prints. `began` is a reading of `time.perf_counter`."""
    totals = Counter(f"{each.entity.partition(':')[0]} {each.state}" for each in entities)
    seconds = round(time.perf_counter() - began, 3)
    lines = tuple(entities[:LINES_MAX])
    return RecoveryReport(lines, dict(totals), messages, effects, seconds, notes)
