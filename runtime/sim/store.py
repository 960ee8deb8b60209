"""A model of the store: what is durable, as values in memory, with the real store's promises.

A batch is written whole or not at all, when the engine says so: `commit` stops in the middle and
waits for the word of the disk. What is read back goes through the JSON that would be stored, as
after a real crash. The engine keeps the store when it takes the owner away.

Invariants, as the real store's triggers hold them:
1. An actor is born once; its audit rows are chained, each from where the last one led to.
2. An actor's version grows by one with each batch that writes it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from actors.machine import Taken
from runtime.cell import SUSPENDED
from runtime.store.audit import NOT_JSON, Head
from runtime.store.errors import ConstraintFailed
from runtime.store.rows import Batch, Change, Stored

if TYPE_CHECKING:
    from runtime.kinds import Kind

_encode = msgspec.json.Encoder().encode
# Parents before children, as the real store's pages come.
_ORDER = {
    name: place
    for place, name in enumerate(
        (
            *("run", "workstream", "test_gate", "task", "worker", "uet_worker"),
            *("circuit_breaker", "patch_ledger"),
        )
    )
}
PATH = Path("simulated.db")


class Row(msgspec.Struct, frozen=True, gc=False):
    """One audit row: what the chain proves in the real store. `prev` is the seq of the entity's
    row before it, 0 at creation."""

    seq: int
    kind: str
    id: str
    source: str | None
    target: str
    trigger: str
    at: float
    event_type: str | None
    prev: int


class Step:
    """Where a coroutine of the kernel stands and waits for the engine: at the disk ("commit", its
    batch) or for time to pass ("pause", seconds)."""

    __slots__ = ("detail", "what")

    def __init__(self, what: str, detail: Any) -> None:
        self.what = what
        self.detail = detail

    def __await__(self) -> Generator[Step, None, None]:
        yield self


class ModelBook:
    """Numbers the audit rows of one owner, as the real book does, without their hashes: nobody
    tampers with memory."""

    def __init__(self, seq: int, at: float) -> None:
        self.seq = seq
        self._at = at
        self.rows: list[Row] = []

    def enter(
        self,
        kind: str,
        id: str,
        _run_id: str | None,
        taken: Taken,
        now: float,
        prev: int,
        _phase_of: Callable[[str], str | None],
    ) -> tuple[int, str]:
        """As `Book.enter`. Only the metadata that recovery reads is encoded."""
        self._at = now = max(now, self._at)
        self.seq = seq = self.seq + 1
        event_type = taken.event_type
        row = Row(seq, kind, id, taken.source, taken.target, taken.trigger, now, event_type, prev)
        self.rows.append(row)
        if event_type == SUSPENDED:
            return seq, _encode(taken.metadata).decode()
        return seq, "{}"


class ModelStore:
    """What one state directory holds. It outlives its owners; `take_over` begins a new one."""

    def __init__(self, kinds: dict[str, Kind]) -> None:
        self.kinds = kinds
        self.owner_epoch = 0
        self.rows: dict[str, Change] = {}  # by address
        self.audit: list[Row] = []
        self.undelivered: dict[int, tuple[int, str, str, bool]] = {}
        self.effects: dict[int, tuple[int, str, str, str, Any]] = {}
        self.watching: dict[str, list[str]] = {}
        self.keys: dict[str, str] = {}  # idempotency key -> run id
        self.commits = 0
        self.refused: str | None = None  # why the last epoch that it refused was refused
        self._followed: set[int] = set()  # rows that are not their entity's last: as UNIQUE has it
        self.head = Head(0, "", 0.0)
        self.next_message = 1
        self._next_n: dict[str, int] = {}
        self._effects_max = self._messages_max = 0
        self.book = ModelBook(0, 0.0)

    def take_over(self) -> None:
        """A new owner: its leases begin with its epoch; what the last one booked is forgotten."""
        self.owner_epoch += 1
        self.next_message = self._messages_max + 1
        self.discard()

    # --- writing ---------------------------------------------------------------------------------

    async def commit(self, batch: Batch) -> None:
        """Written when the engine lets it go on; it throws in what the disk had to say instead."""
        try:
            await Step("commit", batch)
            self.write(batch)
        except ConstraintFailed as error:
            self.refused = str(error)
            self.discard()
            raise

    def lay_out(self, batch: Batch) -> None:
        """As the real store's: what was booked since the last batch is this one's, once."""
        if batch.head is None:
            rows, self.book.rows = self.book.rows, []
            batch.audit = rows
            batch.head = Head(rows[-1].seq, "", rows[-1].at) if rows else self.head

    def write(self, batch: Batch) -> None:
        """Makes the batch durable. Raises ConstraintFailed, having changed nothing."""
        rows: list[Row] = batch.audit
        changed = {f"{c.kind.name}:{c.value.id}": c for c in batch.changes}
        for address, change in changed.items():
            self._check_change(address, change)
        self._check_rows(rows)
        self.audit += rows
        if rows:
            self.head = Head(rows[-1].seq, "", rows[-1].at)
        for change in batch.changes:
            if change.is_new:
                self._born(change)
        self.rows.update(changed)
        for row, target, body, control in batch.messages_new:
            self.undelivered[row] = (row, target, body, bool(control))
            self._messages_max = max(self._messages_max, row)
        for row in batch.messages_gone:
            self.undelivered.pop(row, None)
        for effect in batch.outbox_new:
            self.effects[effect[0]] = effect
            self._effects_max = max(self._effects_max, effect[0])
        for row in batch.outbox_gone:
            self.effects.pop(row, None)
        for target, watcher in batch.watches_new:
            known = self.watching.setdefault(target, [])
            if watcher not in known:
                known.append(watcher)
        for target in batch.watches_gone:
            self.watching.pop(target, None)
        self.commits += 1

    def _born(self, change: Change) -> None:
        table = change.kind.table or ""
        self._next_n[table] = max(self._next_n.get(table, 1), change.n + 1)
        if change.kind.name == "run" and change.value.idempotency_key is not None:
            self.keys[change.value.idempotency_key] = change.value.id

    def _check_change(self, address: str, change: Change) -> None:
        before = self.rows.get(address)
        table = change.kind.table or ""
        if (before is None) is not change.is_new:
            why = "exists already" if change.is_new else "was never made"
            raise ConstraintFailed(why, table=table, entity_id=address)
        if before is not None and change.version != before.version + 1:
            why = f"version {change.version} after {before.version}"
            raise ConstraintFailed(why, table=table, entity_id=address)
        if change.is_new and change.kind.name == "run":
            key = change.value.idempotency_key
            if key is not None and key in self.keys:
                raise ConstraintFailed(f"the key {key!r} is taken", table=table, entity_id=address)

    def _check_rows(self, rows: list[Row]) -> None:
        last: dict[int, Row] = {}
        here: set[int] = set()
        audit = self.audit
        for row in rows:
            prev = row.prev
            if prev:
                before = last.get(prev) or audit[prev - 1]
                taken = prev in self._followed or prev in here
                if row.source != before.target or row.id != before.id or taken:
                    why = f"{row.trigger} leaves {row.source}, and it stands in {before.target}"
                    raise ConstraintFailed(why, table="state_transitions", entity_id=row.id)
            elif row.source is not None:
                raise ConstraintFailed("its first row is no birth", entity_id=row.id)
            here.add(prev)
            last[row.seq] = row
        self._followed |= here

    def discard(self) -> None:
        """As the real store's: the book is back at the durable head."""
        self.book = ModelBook(self.head.seq, self.head.at)

    async def reopen(self) -> int:
        """The seq of the durable head."""
        return self.head.seq

    # --- reading ---------------------------------------------------------------------------------

    def stored(self, change: Change) -> Stored:
        """The actor as it is read back from its row."""
        value = self._read_back(change)
        kind = change.kind
        return Stored(
            kind.name,
            change.n,
            value.id,
            value,
            change.version,
            change.audit_seq,
            change.metadata,
            change.timers,
        )

    def _read_back(self, change: Change) -> Any:
        kind = self.kinds[change.kind.name]
        try:
            return kind.decode(_encode(change.value).decode(), None)
        except NOT_JSON as error:  # the real store would have refused it
            why = f"does not come back from JSON: {error}"
            raise AssertionError(f"{kind.name} {change.value.id} {why}") from error

    async def load(self, kind: Kind, id: str) -> Stored | None:
        change = self.rows.get(f"{kind.name}:{id}")
        return None if change is None else self.stored(change)

    async def load_many(self, addresses: Iterable[str]) -> dict[str, Stored]:
        found = {}
        for address in addresses:
            change = self.rows.get(address)
            if change is not None:
                found[address] = self.stored(change)
        return found

    async def unfinished(self) -> AsyncIterator[list[Stored]]:
        page = [c for c in self.rows.values() if not c.kind.is_ended(c.value)]
        page.sort(key=lambda c: (_ORDER.get(c.kind.name, len(_ORDER)), c.kind.table or "", c.n))
        if page:
            yield [self.stored(change) for change in page]

    async def find_run(self, key: str) -> str | None:
        return self.keys.get(key)

    async def messages(self) -> list[tuple[int, str, str, bool]]:
        return [self.undelivered[row] for row in sorted(self.undelivered)]

    async def outbox(self) -> list[tuple[int, str, str, str, Any]]:
        """Payloads come back from JSON, as they would."""
        return [
            (*self.effects[row][:4], msgspec.json.decode(_encode(self.effects[row][4])))
            for row in sorted(self.effects)
        ]

    async def watches(self) -> dict[str, list[str]]:
        return {target: list(watchers) for target, watchers in self.watching.items()}

    async def next_rows(self) -> dict[str, int]:
        return dict(self._next_n)

    async def next_outbox(self) -> int:
        return self._effects_max + 1
