"""Can the record be believed: the whole chain, the charts, the entities, the JSONL.

Streaming, in constant memory, on one read transaction: it may run beside a live owner.
What it compares with is compiled or recomputed here, never read from the database under test.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from runtime.kinds import KINDS
from runtime.store.archived import broken_archives
from runtime.store.audit import COLUMNS, SELECT, hash_of, line_of
from runtime.store.course import Course
from runtime.store.entities import broken_entities
from runtime.store.findings import Finding
from runtime.store.layout import Layout
from runtime.store.lines import Lines
from runtime.store.lock import is_owned
from runtime.store.migrate import migrations, statements
from runtime.store.read import connect, readable

# Of each check; the rest is counted only.
FINDINGS_MAX = 100

_CHAIN = (
    f"{SELECT.replace(' FROM ', ', p.to_state, p.entity_type, p.entity_id, r.phase FROM ')}"
    " LEFT JOIN state_transitions p ON p.seq = a.entity_prev"
    " LEFT JOIN runs r ON r.id = a.run_id ORDER BY a.seq"
)


class Verified(msgspec.Struct, frozen=True):
    """What was looked at and found. `whole`: nothing contradicts anything."""

    rows: int
    entities: int
    lines: int
    head_seq: int
    findings: tuple[Finding, ...]
    more: int  # findings beyond those listed
    notes: tuple[str, ...]  # true, and no damage

    @property
    def whole(self) -> bool:
        return not self.findings


def verify(state_dir: Path) -> Verified:
    """Everything that the state directory says about itself.

    Raises StateDirUnusable, NewerDatabase, MigrationChanged, StoreBusy, and Damaged where SQLite
    itself cannot read the file.
    """
    layout = Layout(state_dir)
    with closing(connect(layout.db)) as db, readable(layout.db):
        return _verify(db, layout)


def verify_copy(path: Path) -> Verified:
    """A backup: all but the JSONL."""
    with closing(connect(path)) as db, readable(path):
        return _verify(db, None)


def _verify(db: sqlite3.Connection, layout: Layout | None) -> Verified:
    db.execute("BEGIN")
    meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
    lines = None
    if layout is not None:
        lines = Lines(layout.jsonl, owned=lambda: is_owned(layout), clean=meta["clean"] == "1")
    chain = _Chain(db, meta, lines)
    checks = (
        _integrity(db),
        _schema(db),
        _edges(db),
        chain.findings(),
        broken_entities(db, chain.born if int(meta["anchor"].partition(":")[0]) == 0 else None),
        broken_archives(layout, meta["anchor"]) if layout is not None else iter(()),
    )
    found: list[Finding] = []
    more = 0
    for check in checks:
        found.extend(itertools.islice(check, FINDINGS_MAX))
        more += sum(1 for _ in check)
    if lines is not None:
        lines.close()
    return Verified(
        rows=chain.rows,
        entities=sum(_count(db, kind.table) for kind in KINDS.values()) + _count(db, "actors"),
        lines=lines.read if lines is not None else 0,
        head_seq=chain.seq,
        findings=tuple(found),
        more=more,
        notes=lines.notes if lines is not None else (),
    )


def _integrity(db: sqlite3.Connection) -> Iterator[Finding]:
    for (text,) in db.execute(f"PRAGMA integrity_check({FINDINGS_MAX})"):
        if text != "ok":
            yield Finding("integrity", "banksman.db", text)


def _schema(db: sqlite3.Connection) -> Iterator[Finding]:
    """The tables and triggers are those of the migrations: a dropped trigger refuses nothing."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as shipped:
        for migration in migrations()[:version]:
            for statement in statements(migration.up):
                shipped.execute(statement)
        wanted = _objects(shipped)
    present = _objects(db)
    for name in sorted(wanted.keys() | present.keys()):
        if name not in present:
            yield Finding("schema", name, "it is missing from the database")
        elif name not in wanted:
            yield Finding("schema", name, "it is not part of the schema")
        elif wanted[name] != present[name]:
            yield Finding("schema", name, "it differs from the schema")


def _objects(db: sqlite3.Connection) -> dict[str, str]:
    sql = "SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_schema"
    return dict(db.execute(f"{sql} WHERE name NOT LIKE 'sqlite\\_stat%' ESCAPE '\\'").fetchall())


def _edges(db: sqlite3.Connection) -> Iterator[Finding]:
    rows = db.execute("SELECT machine, from_state, to_state, trigger, severity FROM legal_edges")
    stored = {row for row in rows if row[0] in KINDS}
    compiled = _compiled()
    for edge in sorted(stored - compiled):
        yield Finding("legal_edges", " ".join(edge), "the compiled charts have no such edge")
    for edge in sorted(compiled - stored):
        yield Finding("legal_edges", " ".join(edge), "the edge is missing from the database")


def _compiled() -> set[tuple[str, str, str, str, str]]:
    return {
        (kind.name, str(e.source), str(e.target), e.trigger, e.severity)
        for kind in KINDS.values()
        if kind.chart is not None
        for e in kind.chart.edges
    }


class _Chain:
    """The audit rows in order; and, in the same pass, the line of each."""

    def __init__(self, db: sqlite3.Connection, meta: dict[str, str], lines: Lines | None) -> None:
        self._db = db
        self._meta = meta
        self._lines = lines
        anchor, _, self._hash = meta["anchor"].partition(":")
        self._anchor = int(anchor)
        self._at = 0.0
        self._course = Course(db, self._anchor)
        self.seq = self._anchor
        self.rows = 0
        self.born: dict[str, int] = {}
        stored = db.execute("SELECT machine, from_state, to_state, trigger FROM legal_edges")
        self._legal = {edge[:4] for edge in _compiled()} | {e for e in stored if e[0] not in KINDS}

    def findings(self) -> Iterator[Finding]:
        for row in self._db.execute(_CHAIN):
            self.rows += 1
            yield from self._row(row)
            yield from self._course.row(row)
            if self._lines is not None:
                yield from self._lines.expect(row[0], line_of(row, row[19]))
        yield from self._head()
        if self._lines is not None:
            yield from self._lines.end()

    def _row(self, row: tuple[Any, ...]) -> Iterator[Finding]:
        seq, hash_, at = row[0], row[14], row[13]
        where = f"audit row {seq} ({row[3]} {row[4]})"
        if seq != self.seq + 1:
            gone = f"{self.seq + 1} to {seq - 1}" if seq - 1 > self.seq + 1 else f"{seq - 1}"
            yield Finding("gap", where, f"rows {gone} before it are missing")
        elif hash_ != _hash_or_none(row, self._hash):
            text = "its hash does not match its content and the row before it"
            yield Finding("hash", where, text)
        if at < self._at:
            yield Finding("time", where, "it is earlier than the row before it")
        if (wrong := self._illegal(row)) is not None:
            yield Finding("chart", where, wrong)
        self.seq, self._hash, self._at = seq, hash_, at

    def _illegal(self, row: tuple[Any, ...]) -> str | None:
        event_type, machine, entity, source, target, trigger = row[2:8]
        prev, (before, before_type, before_id) = row[15], row[16:19]
        chart = KINDS[machine].chart if machine in KINDS else None
        if prev is None:
            self.born[machine] = self.born.get(machine, 0) + 1
            if source is not None:
                return "it is the first of its entity and has a from_state"
            if chart is not None and target != chart.initial:
                return f"a {machine} is born {chart.initial}, not {target}"
            return None
        if prev > self._anchor and (before, before_type, before_id) != (source, machine, entity):
            return f"its from_state {source} is not where row {prev} left the entity ({before})"
        if source == target and event_type != f"{machine}_state_transition":
            return None
        if (machine, source, target, trigger) in self._legal:
            return None
        return f"no edge {source} -> {target} by {trigger}"

    def _head(self) -> Iterator[Finding]:
        seq, hash_ = self._meta["head_seq"], self._meta["head_hash"]
        if int(seq) > self.seq:
            text = f"the recorded head is row {seq}: {int(seq) - self.seq} rows were cut off"
            yield Finding("head", f"audit row {self.seq + 1}", text)
        elif (int(seq), hash_) != (self.seq, self._hash):
            text = f"the recorded head is row {seq}, another than the last row"
            yield Finding("head", f"audit row {self.seq}", text)


def _hash_or_none(row: tuple[Any, ...], previous: str) -> str | None:
    try:
        return hash_of(row[: len(COLUMNS)], previous)
    except (TypeError, ValueError, msgspec.MsgspecError):
        return None


def _count(db: sqlite3.Connection, table: str | None) -> int:
    found: int = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return found
