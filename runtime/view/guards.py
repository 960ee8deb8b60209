"""The guards as they stand: breakers with what they keep back, gates that wait for a person."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from runtime.view.rows import Row, common


class BreakerRow(Row, frozen=True, kw_only=True):
    """`since` is when its state, or its present cooldown, began; `due` when that ends (None: not by
    itself). `parked` counts the QUEUED tasks, and the gates without a place, that it keeps back;
    `probe` is who holds the probe."""

    tool: str
    mode: str
    since: float
    due: float | None
    parked: int
    probe: str | None
    probe_until: float | None
    openings: int
    ramp: int | None
    health: tuple[str, ...]


class Approval(msgspec.Struct, frozen=True):
    """A gate that only a person can decide, asked for since `since`."""

    gate: str
    run_id: str
    name: str
    since: float


class Spent(msgspec.Struct, frozen=True):
    """What a run has used of its budget since that was last granted; a bound of None is none."""

    run_id: str
    attempts: int
    attempts_max: int | None
    seconds: float
    seconds_max: float | None


class Guards(msgspec.Struct, frozen=True):
    """What keeps work back just now: breakers that are not closed, gates that wait for a person,
    and the budgets of runs."""

    shut: tuple[BreakerRow, ...] = ()
    wanted: tuple[Approval, ...] = ()
    budgets: tuple[Spent, ...] = ()

    @property
    def parked(self) -> int:
        """Tasks behind breakers."""
        return sum(breaker.parked for breaker in self.shut)


def guards(db: sqlite3.Connection, run_ids: Sequence[str]) -> Guards:
    """As they stand for these runs; a breaker is nobody's alone."""
    # One that waits for its probe, and nobody for it, keeps nothing back.
    found = breakers(db, closed=False)
    shut = tuple(b for b in found if b.parked or b.state == "open" or b.mode != "auto")
    return Guards(shut, tuple(approvals(db, run_ids)), tuple(budgets(db, run_ids)))


def budgets(db: sqlite3.Connection, run_ids: Sequence[str]) -> list[Spent]:
    """The budgets of those of the runs that have one."""
    rows = db.execute(
        "SELECT id, value, json_extract(spec, '$.run.budget') AS budget FROM runs"
        f" WHERE budget IS NOT NULL AND id IN ({', '.join('?' * len(run_ids))})",
        list(run_ids),
    ).fetchall()
    found = []
    for run_id, value, budget in rows:
        spent, bounds = msgspec.json.decode(value), msgspec.json.decode(budget)
        attempts, seconds = spent.get("granted", (0, 0.0))
        found.append(
            Spent(
                run_id,
                spent.get("attempts_spent", 0) - attempts,
                bounds.get("attempts"),
                max(0.0, spent.get("seconds_spent", 0.0) - seconds),
                bounds.get("seconds"),
            )
        )
    return found


def breakers(
    db: sqlite3.Connection, ids: Sequence[str] = (), *, closed: bool = True
) -> list[BreakerRow]:
    """Those that are not closed first; `closed` false: these alone."""
    among = f"id IN ({', '.join('?' * len(ids))})" if ids else "1"
    shut = "1" if closed else "(state <> 'closed' OR mode <> 'auto')"
    rows = db.execute(
        f"SELECT * FROM circuit_breakers WHERE {among} AND {shut} ORDER BY state = 'closed', n",
        list(ids),
    ).fetchall()
    waiting = _waiting(db) if any(row["state"] != "closed" for row in rows) else {}
    return [_breaker(row, waiting.get(row["id"], 0)) for row in rows]


def parked(db: sqlite3.Connection, breaker_id: str, limit: int) -> list[str]:
    """Tasks that the breaker keeps back, those that have waited longest first."""
    rows = db.execute(
        "SELECT id FROM tasks WHERE state = 'queued' AND json_extract(spec, '$.breaker') = ?"
        " ORDER BY n LIMIT ?",
        (breaker_id, limit),
    )
    return [row[0] for row in rows]


def parked_gates(db: sqlite3.Connection, breaker_id: str, limit: int) -> list[str]:
    """Gates that the breaker keeps back, those that have waited longest first."""
    rows = db.execute(
        f"SELECT id FROM test_gates WHERE {WITHOUT_PLACE} AND json_extract(spec, '$.breaker') = ?"
        " ORDER BY n LIMIT ?",
        (breaker_id, limit),
    )
    return [row[0] for row in rows]


def approvals(db: sqlite3.Connection, run_ids: Sequence[str] = ()) -> list[Approval]:
    """Gates that wait for a person's word, the oldest first."""
    among = f"run_id IN ({', '.join('?' * len(run_ids))})" if run_ids else "1"
    rows = db.execute(
        "SELECT id, run_id, name, json_extract(value, '$.asked_at') AS since FROM test_gates"
        f" WHERE state = 'pending' AND since IS NOT NULL AND {among} ORDER BY n",
        list(run_ids),
    )
    return [Approval(*row) for row in rows]


WITHOUT_PLACE = "state = 'pending' AND json_extract(value, '$.queued')"


def _waiting(db: sqlite3.Connection) -> dict[str, int]:
    return dict(
        db.execute(
            "SELECT breaker, count(*) FROM ("
            " SELECT json_extract(spec, '$.breaker') AS breaker FROM tasks WHERE state = 'queued'"
            " UNION ALL"
            f" SELECT json_extract(spec, '$.breaker') FROM test_gates WHERE {WITHOUT_PLACE}"
            ") WHERE breaker IS NOT NULL GROUP BY 1"
        ).fetchall()
    )


def _breaker(row: sqlite3.Row, waiting: int) -> BreakerRow:
    value: dict[str, Any] = msgspec.json.decode(row["value"])
    probe: dict[str, Any] = value.get("probe") or {}
    shut = row["state"] != "closed" and row["mode"] != "shadow"
    return BreakerRow(
        **common(row),
        tool=row["tool"],
        mode=row["mode"],
        since=value["since"],
        due=value.get("due"),
        parked=waiting if shut else 0,
        probe=probe.get("owner"),
        probe_until=probe.get("deadline"),
        openings=value.get("streak", 0),
        ramp=value.get("ramp"),
        health=tuple(value.get("health", ())),
    )
