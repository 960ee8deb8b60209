"""Reading actors and what waits back from their rows, in the thread of a connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from runtime.kinds import KINDS
from runtime.store.errors import Damaged
from runtime.store.rows import Stored

if TYPE_CHECKING:
    from runtime.kinds import Kind

PAGE = 1000
# Parents before children, and what works before what it works on.
TABLES = (
    *("runs", "workstreams", "test_gates", "tasks", "workers", "uet_workers"),
    *("circuit_breakers", "patch_ledger", "actors"),
)

_KIND_OF = {kind.table: kind.name for kind in KINDS.values()}
_encode = msgspec.json.Encoder().encode
_marks = msgspec.json.Decoder(dict[str, int])
_timers = msgspec.json.Decoder(dict[str, float])


def select(table: str) -> str:
    """The columns that `stored` takes, from one table."""
    kind, spec = ("kind", "NULL") if table == "actors" else (f"'{_KIND_OF[table]}'", "spec")
    return f"SELECT {kind}, n, id, version, audit_seq, metadata, timers, value, {spec} FROM {table}"


def living(table: str) -> str:
    """The condition of the actors that have not ended."""
    return "ended = 0" if table == "actors" else "completed_at IS NULL"


def stored(row: tuple[Any, ...], kinds: Mapping[str, Kind], path: Path) -> Stored:
    """The actor of a row. Its value is None where its kind is not among `kinds`.

    Raises Damaged where it does not decode.
    """
    name, n, actor_id, version, audit_seq, metadata, timers, value, spec = row
    kind = kinds.get(name)
    try:
        decoded = None if kind is None else kind.decode(value, spec)
        due = None if timers is None else _timers.decode(timers)
    except msgspec.MsgspecError as error:
        raise Damaged(path, f"the {name} {actor_id} cannot be read back: {error}") from error
    return Stored(name, n, actor_id, decoded, version, audit_seq, metadata, due)


def by_address(
    db: sqlite3.Connection, addresses: Iterable[str], kinds: Mapping[str, Kind], path: Path
) -> dict[str, Stored]:
    """Those of the addresses that exist, of the kinds that are known."""
    ids: dict[str, list[str]] = {}
    for address in addresses:
        name, _, actor_id = address.partition(":")
        if name in kinds and kinds[name].table is not None:
            ids.setdefault(name, []).append(actor_id)
    found = {}
    for name, wanted in ids.items():
        table = kinds[name].table or ""
        own = f"kind = '{name}' AND " if table == "actors" else ""
        sql = f"{select(table)} WHERE {own}id IN (SELECT value FROM json_each(?))"
        for row in db.execute(sql, (_encode(wanted).decode(),)):
            actor = stored(row, kinds, path)
            found[f"{name}:{actor.id}"] = actor
    return found


def unfinished_page(
    db: sqlite3.Connection, table: str, after: int, kinds: Mapping[str, Kind], path: Path
) -> list[Stored]:
    """The next actors of a table that have not ended, in the order of their creation."""
    sql = f"{select(table)} WHERE n > ? AND {living(table)} ORDER BY n LIMIT {PAGE}"
    return [stored(row, kinds, path) for row in db.execute(sql, (after,))]


def marks(db: sqlite3.Connection) -> dict[str, int]:
    """By table: below this n every actor has ended."""
    row = db.execute("SELECT value FROM meta WHERE key = 'unfinished'").fetchone()
    return _marks.decode(row[0])


def mark(db: sqlite3.Connection) -> None:
    """Moves the marks on, so that the next owner looks from there on. In a transaction."""
    found = {}
    for table, start in {**dict.fromkeys(TABLES, 1), **marks(db)}.items():
        row = db.execute(
            f"SELECT n FROM {table} WHERE n >= ? AND {living(table)} ORDER BY n LIMIT 1", (start,)
        ).fetchone()
        found[table] = row[0] if row is not None else _next(db, table, "n")
    value = _encode(found).decode()
    db.execute("UPDATE meta SET value = ? WHERE key = 'unfinished'", (value,))


def find_run(db: sqlite3.Connection, key: str) -> str | None:
    row = db.execute("SELECT id FROM runs WHERE idempotency_key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def messages(db: sqlite3.Connection) -> list[tuple[int, str, str, bool]]:
    rows = db.execute("SELECT id, target, body, control FROM messages ORDER BY id")
    return [(number, target, body, bool(control)) for number, target, body, control in rows]


def outbox(db: sqlite3.Connection, path: Path) -> list[tuple[int, str, str, str, Any]]:
    rows = db.execute("SELECT id, actor, name, key, payload FROM outbox ORDER BY id")
    return [(*row[:4], _payload(row, path)) for row in rows]


def _payload(row: tuple[Any, ...], path: Path) -> Any:
    try:
        return msgspec.json.decode(row[4])
    except msgspec.MsgspecError as error:
        raise Damaged(
            path, f"the effect {row[0]} of {row[1]} cannot be read back: {error}"
        ) from error


def watches(db: sqlite3.Connection) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for target, watcher in db.execute("SELECT target, watcher FROM watches"):
        found.setdefault(target, []).append(watcher)
    return found


def next_rows(db: sqlite3.Connection) -> dict[str, int]:
    return {table: _next(db, table, "n") for table in TABLES}


def next_outbox(db: sqlite3.Connection) -> int:
    return _next(db, "outbox", "id")


def next_message(db: sqlite3.Connection) -> int:
    return _next(db, "messages", "id")


def _next(db: sqlite3.Connection, table: str, key: str) -> int:
    last: int | None = db.execute(f"SELECT max({key}) FROM {table}").fetchone()[0]
    return (last or 0) + 1
