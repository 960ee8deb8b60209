"""Sealing an epoch: its turns become one batch of rows, in order, on the event loop's thread.

Invariants:
1. Audit entries are numbered and chained here and nowhere else, so that their order is total.
2. A message that is still in an inbox becomes a row in the very commit of the turn that sent it.
3. An actor that changed several times in one epoch is written once, as it is now.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from runtime.store import Batch, Change, ConstraintFailed
from runtime.store.audit import NOT_JSON

if TYPE_CHECKING:
    from runtime.epoch import Epoch
    from runtime.inbox import Envelope
    from runtime.store import Store

_encode = msgspec.json.Encoder().encode


def seal(epoch: Epoch, store: Store, phase_of: Callable[[str], str | None]) -> Batch:
    """The batch that makes the epoch durable. Raises ConstraintFailed where a value does not
    encode to JSON; the book then has to be discarded."""
    batch = Batch()
    book(epoch, store, phase_of)
    epoch.head = store.book.seq
    changes = batch.changes
    for cell in epoch.cells:
        cell.dirty = False
        cell.version += 1
        changes.append(
            Change(
                cell.kind,
                cell.n,
                cell.value,
                cell.due_times() if cell.timers else None,
                cell.version,
                cell.audit_seq,
                cell.metadata,
                cell.is_new,
            )
        )
        cell.is_new = False
    for envelope in epoch.sent:
        # The dispatcher is an index, built anew from what its clients announce: nothing to store.
        if not envelope.taken and not envelope.to.startswith("dispatch:"):
            envelope.row = store.next_message
            store.next_message += 1
            body = _body(envelope)
            batch.messages_new.append((envelope.row, envelope.to, body, int(envelope.control)))
    batch.messages_gone = epoch.rows_gone
    batch.outbox_new = epoch.outbox_new
    batch.outbox_gone = epoch.outbox_gone
    batch.watches_new = epoch.watches_new
    batch.watches_gone = epoch.watches_gone
    batch.watches_left = epoch.watches_left
    # Now, and not when the write begins: the next epoch may be booked ahead in between.
    store.lay_out(batch)
    return batch


def book(epoch: Epoch, store: Store, phase_of: Callable[[str], str | None]) -> None:
    """Numbers and chains what the epoch has decided so far. Also before it is sealed, while the one
    before it is written: what is booked in vain is given up with it, by `store.discard`. Raises
    ConstraintFailed at an entry that does not encode to JSON, and then at the same one again."""
    enter = store.book.enter
    entries = epoch.entries
    for index in range(epoch.booked, len(entries)):
        cell, taken, now = entries[index]
        kind = cell.kind
        cell.audit_seq, cell.metadata = enter(
            kind.name,
            cell.value.id,
            kind.run_id_of(cell.value),
            taken,
            now,
            cell.audit_seq,
            phase_of,
        )
        epoch.booked = index + 1


def is_json(message: object) -> bool:
    """Whether the message can be stored until it is taken."""
    try:
        _encode(message).decode()
    except NOT_JSON:
        return False
    return True


def _body(envelope: Envelope) -> str:
    try:
        return _encode(envelope.item).decode()
    except NOT_JSON as error:
        name = type(envelope.item).__name__
        why = f"the message {name} to {envelope.to} does not encode to JSON: {error}"
        raise ConstraintFailed(why, table="messages", entity_id=envelope.to) from error
