"""One batch as one transaction: laid out on the event loop's thread, written in the store's own.

The last statement before COMMIT moves the head and finds out whether the owner epoch is still
ours; a batch of an owner that lost the directory changes nothing.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import msgspec

from runtime.store import sql
from runtime.store.audit import COLUMNS, NOT_JSON
from runtime.store.errors import ConstraintFailed, OwnerLost

if TYPE_CHECKING:
    from runtime.kinds import Kind
    from runtime.store.rows import Batch, Change

_AUDIT = sql.insert("state_transitions", COLUMNS)
_MESSAGES = sql.insert("messages", ("id", "target", "body", "control"))
_OUTBOX = sql.insert("outbox", ("id", "actor", "name", "key", "payload"))
_WATCHES = sql.insert("watches", ("target", "watcher"), ignore=True)

_LEAVE = "DELETE FROM watches WHERE target = ? AND watcher = ?"

_MOVE_HEAD = (
    "UPDATE meta SET value = CASE key WHEN 'head_seq' THEN ? WHEN 'head_hash' THEN ? ELSE ? END"
    " WHERE key IN ('head_seq', 'head_hash', 'jsonl')"
    " AND (SELECT value FROM meta WHERE key = 'owner_epoch') = ?"
)
_EPOCH = "SELECT value FROM meta WHERE key = 'owner_epoch'"

_encode = msgspec.json.Encoder().encode
_new_statements: dict[str, sql.Statement] = {}
_changed_statements: dict[str, sql.Statement] = {}

Rows = list[tuple[sql.Statement, list[Any]]]


def lay_out(batch: Batch) -> Rows:
    """The rows to be written beside the audit, by statement, each flat.

    Raises ConstraintFailed where a value does not encode to JSON.
    """
    rows: dict[sql.Statement, list[Any]] = {}
    for change in batch.changes:
        kind = change.kind
        try:
            if change.is_new:
                rows.setdefault(_new_statement(kind), []).extend(kind.new_row(change))
            else:
                rows.setdefault(_changed_statement(kind), []).extend(kind.changed_row(change))
        except NOT_JSON as error:
            raise _not_json(change, error) from error
    for statement, new in ((_MESSAGES, batch.messages_new), (_WATCHES, batch.watches_new)):
        if new:
            rows[statement] = [column for row in new for column in row]
    if batch.outbox_new:
        rows[_OUTBOX] = [c for row in batch.outbox_new for c in _outgoing(row)]
    return list(rows.items())


def write(db: sqlite3.Connection, batch: Batch, epoch: int, synced: str) -> None:
    """Every row of a batch that was laid out, within an open transaction."""
    head = batch.head
    assert head is not None
    if batch.audit:
        sql.write(db, _AUDIT, batch.audit)
    for statement, parameters in batch.rows:
        written = sql.write(db, statement, parameters)
        wanted = len(parameters) // statement.width
        if written != wanted and statement is not _WATCHES:
            raise ConstraintFailed(f"{wanted - written} rows are not there", table=statement.table)
    if batch.messages_gone:
        sql.delete(db, "messages", "id", batch.messages_gone)
    if batch.outbox_gone:
        sql.delete(db, "outbox", "id", batch.outbox_gone)
    if batch.watches_gone:
        sql.delete(db, "watches", "target", batch.watches_gone)
    if batch.watches_left:
        db.executemany(_LEAVE, batch.watches_left)
    moved = db.execute(_MOVE_HEAD, (str(head.seq), head.hash, synced, str(epoch))).rowcount
    if moved != 3:
        raise OwnerLost(epoch)


def check_epoch(db: sqlite3.Connection, epoch: int) -> None:
    """Raises OwnerLost where another owner has taken the directory over."""
    if db.execute(_EPOCH).fetchone()[0] != str(epoch):
        raise OwnerLost(epoch)


def culprit(db: sqlite3.Connection, batch: Batch) -> tuple[str, str]:
    """(table, entity id) of the first row that is refused, or ("", "").

    Writes the batch again row by row in a transaction of its own, which it rolls back.
    """
    try:
        db.execute("BEGIN IMMEDIATE")
        for statement, parameters in ((_AUDIT, batch.audit), *batch.rows):
            for start in range(0, len(parameters), statement.width):
                row = parameters[start : start + statement.width]
                if not _is_written(db, statement, row):
                    return statement.table, _id_in(db, statement, row)
    except sqlite3.OperationalError:
        return "", ""  # locked or full just now: the refusal stands, without a name
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    return "", ""


def _is_written(db: sqlite3.Connection, statement: sql.Statement, row: list[Any]) -> bool:
    try:
        return bool(sql.write(db, statement, row)) or statement is _WATCHES
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, ValueError, OverflowError):
        return False


def _id_in(db: sqlite3.Connection, statement: sql.Statement, row: list[Any]) -> str:
    named = dict(zip(statement.columns, row, strict=True))
    for column in ("entity_id", "id"):
        if column in named:
            return str(named[column])
    if "n" in named:
        query = f"SELECT id FROM {statement.table} WHERE n = ?"
        found = db.execute(query, (named["n"],)).fetchone()
        return str(found[0]) if found else f"n {named['n']}"
    return str(row[0])


def _new_statement(kind: Kind) -> sql.Statement:
    table = kind.table or ""
    found = _new_statements.get(table)
    if found is None:
        found = _new_statements[table] = sql.insert(table, kind.new_columns)
    return found


def _changed_statement(kind: Kind) -> sql.Statement:
    table = kind.table or ""
    found = _changed_statements.get(table)
    if found is None:
        found = _changed_statements[table] = sql.update(table, kind.changed_columns)
    return found


def _not_json(change: Change, error: Exception) -> ConstraintFailed:
    kind = change.kind
    return ConstraintFailed(
        f"its value does not encode to JSON: {error}",
        table=kind.table or "",
        entity_id=kind.id_of(change.value),
    )


def _outgoing(row: tuple[int, str, str, str, Any]) -> tuple[int, str, str, str, str]:
    number, actor, name, key, payload = row
    try:
        return number, actor, name, key, _encode(payload).decode()
    except NOT_JSON as error:
        text = f"the payload of {name} does not encode to JSON: {error}"
        raise ConstraintFailed(text, table="outbox", entity_id=actor) from error
