"""Which entity a person means: a full id, or any unambiguous end of one."""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Iterable

import msgspec

from runtime.limits import NAMES_COMPARED_MAX

TABLES = {
    "run": "runs",
    "workstream": "workstreams",
    "task": "tasks",
    "test_gate": "test_gates",
    "worker": "workers",
    "uet_worker": "uet_workers",
    "circuit_breaker": "circuit_breakers",
    "patch_ledger": "patch_ledger",
}

_CANDIDATES_SHOWN = 10


class Entity(msgspec.Struct, frozen=True):
    """An entity of the store, by its kind (a chart's name, or a user's own) and its full id.
    `others`: how many of other runs, or older ones of its gate, the text could have meant too."""

    kind: str
    id: str
    others: int = 0


class NotFound(Exception):
    """No id ends so. `near` holds ids that look alike."""

    def __init__(self, text: str, kinds: Iterable[str], near: list[str]) -> None:
        what = " or ".join(k.replace("_", " ") for k in kinds) or "entity"
        super().__init__(f"there is no {what} {text!r}")
        self.near = near


class Ambiguous(Exception):
    """Several ids end so; `candidates` holds the newest of them."""

    def __init__(self, text: str, candidates: list[str], count: int) -> None:
        super().__init__(f"{text!r} means any of {count}")
        self.candidates = candidates
        self.count = count


def find(
    db: sqlite3.Connection, text: str, kinds: Iterable[str] = (), *, to_change: bool = False
) -> Entity:
    """The one entity of `kinds` (none given: of any) whose id is `text`, or ends with it.

    `to_change`: no end that cuts a name in two will do. Who mistypes a name that is not there
    should not cancel another that ends so.

    An end that begins at a "/" (or is a run's short part) goes before one that cuts a name in two;
    a gate goes by its name too, and where no whole name ends so, a run by its own (which may begin
    a path), a breaker by its tool's. Of several runs the newest unfinished one is meant, else the
    newest; of the entities of one gate the last. Raises NotFound, Ambiguous.
    """
    wanted = tuple(kinds)
    head, _, rest = text.partition(":")
    if rest and head in TABLES and (not wanted or head in wanted):
        found = _exact(db, rest, (head,))
        if found is not None:
            return found
    found = _exact(db, text, wanted)
    if found is not None:
        return found
    ending = _ending(db, text, wanted) if text else []
    whole = [e for e in ending if e.id[-len(text) - 1] in "/-:" or text[0] in "/-~:"]
    if to_change:
        ending = []
    gates = _gates(db, text) if text and (not wanted or "test_gate" in wanted) else []
    if choice := whole or gates or _named(db, text, wanted):
        return _meant(db, text, choice)
    if len(ending) > 1:
        raise Ambiguous(text, [e.id for e in ending[:_CANDIDATES_SHOWN]], len(ending))
    if ending:
        return ending[0]
    raise NotFound(text, wanted, _near(db, text, wanted))


def _meant(db: sqlite3.Connection, text: str, choice: list[Entity]) -> Entity:
    """The one of the run that a person has in mind."""
    runs = _ranked(db)
    best = min(runs.get(e.id.partition("/")[0], 0) for e in choice)
    meant = [e for e in choice if runs.get(e.id.partition("/")[0], 0) == best]
    lasts = {e.id.rpartition("~")[0] for e in meant}
    if all(e.kind == "test_gate" for e in meant) and len(lasts) == 1:
        meant = [max(meant, key=lambda e: int(e.id.rpartition("~")[2]))]
    if len(meant) > 1:
        shown = [e.id for e in meant[:_CANDIDATES_SHOWN]]
        raise Ambiguous(text, shown, len(meant))
    return msgspec.structs.replace(meant[0], others=len(choice) - 1)


def _ranked(db: sqlite3.Connection) -> dict[str, int]:
    """The place of each run: the newest unfinished one first, then the newest. What belongs to no
    run is as near as the first."""
    rows = db.execute("SELECT id FROM runs ORDER BY completed_at IS NOT NULL, n DESC")
    return {row[0]: place for place, row in enumerate(rows)}


def _gates(db: sqlite3.Connection, text: str) -> list[Entity]:
    """Gates by their name in the plan: unit, gate:unit, or RUN/gate:unit."""
    run, _, name = text.rpartition("/")
    name = name.removeprefix("gate:")
    rows = db.execute("SELECT id, run_id FROM test_gates WHERE name = ? ORDER BY n DESC", (name,))
    of_run = (row for row in rows if row[1].endswith(run) or row[1].rpartition("-")[0] == run)
    return [Entity("test_gate", row[0]) for row in of_run]


def _selects(wanted: tuple[str, ...], condition: str) -> str:
    parts = [
        f"SELECT '{kind}' AS kind, id, created_at FROM {table} WHERE {condition}"
        for kind, table in TABLES.items()
        if not wanted or kind in wanted
    ]
    if not wanted:
        parts.append(f"SELECT kind, id, 0.0 AS created_at FROM actors WHERE {condition}")
    return " UNION ALL ".join(parts)


def _exact(db: sqlite3.Connection, text: str, wanted: tuple[str, ...]) -> Entity | None:
    rows = db.execute(_selects(wanted, "id = :text"), {"text": text}).fetchall()
    return Entity(rows[0][0], rows[0][1]) if rows else None


def _ending(db: sqlite3.Connection, text: str, wanted: tuple[str, ...]) -> list[Entity]:
    query = _selects(wanted, "substr(id, -length(:text)) = :text") + " ORDER BY created_at DESC"
    return [Entity(row[0], row[1]) for row in db.execute(query, {"text": text})]


def _named(db: sqlite3.Connection, name: str, wanted: tuple[str, ...]) -> list[Entity]:
    """Runs by their name in the plan, breakers by their tool's."""
    found = []
    for kind, column in (("run", "name"), ("circuit_breaker", "tool")):
        if not wanted or kind in wanted:
            query = f"SELECT id FROM {TABLES[kind]} WHERE {column} = ? ORDER BY n DESC"
            found += [Entity(kind, row[0]) for row in db.execute(query, (name,))]
    run, _, rest = name.partition("/")
    if rest:
        for row in db.execute("SELECT id FROM runs WHERE name = ? ORDER BY n DESC", (run,)):
            if (below := _exact(db, f"{row[0]}/{rest}", wanted)) is not None:
                found.append(below)
    return found


def _near(db: sqlite3.Connection, text: str, wanted: tuple[str, ...]) -> list[str]:
    parts = text.count("/") + 1
    by_end: dict[str, str] = {}
    query = _selects(wanted, "1") + " ORDER BY created_at DESC LIMIT ?"
    for row in db.execute(query, (NAMES_COMPARED_MAX,)):
        by_end.setdefault("/".join(row[1].split("/")[-parts:]), row[1])
    return [by_end[end] for end in difflib.get_close_matches(text, by_end, n=3, cutoff=0.5)]
