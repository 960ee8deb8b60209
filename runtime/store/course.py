"""The course of the record: what rows of different entities must say, one after the other.

One pass over the audit, in its order, beside the check of its chain. It remembers what is so of
each slot, each breaker and each process that lives, and of tasks only which gates they need.
Of what an archive has taken away nothing is known, and nothing is said.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from runtime.kinds import KINDS
from runtime.store.findings import Finding

_HOLDING = frozenset({"busy", "unresponsive"})


class _Said(msgspec.Struct, frozen=True):
    """What is read of a row's metadata."""

    worker_id: str | None = None
    task_id: str | None = None
    lease: str | None = None
    serial: int = 0


_decode = msgspec.json.Decoder(_Said).decode


class Course:
    """Told of every row; says which of them cannot follow those before it."""

    def __init__(self, db: sqlite3.Connection, anchor: int) -> None:
        self._whole = anchor == 0
        self._gates = _Gates(db)
        self._leases: dict[str, tuple[int, int]] = {}  # the last one of each slot
        self._held: dict[str, str] = {}  # by slot: the task that it was last assigned
        self._running: dict[str, str] = {}  # by slot
        self._living: dict[str, str] = {}  # by slot: its process
        self._breakers: dict[str, tuple[str, int]] = {}  # state, serial of the last probe

    def row(self, row: Sequence[Any]) -> Iterator[Finding]:
        """What is wrong with this row, given those before it."""
        event_type, kind, entity, source, target = row[2:7]
        for text in self._wrong(event_type, kind, entity, source, target, row[10]):
            yield Finding("course", f"audit row {row[0]} ({kind} {entity})", text)

    def _wrong(
        self,
        event_type: str,
        kind: str,
        entity: str,
        source: str | None,
        target: str,
        metadata: str,
    ) -> Iterator[str]:
        if kind == "task":
            yield from self._task(entity, source, target, metadata)
        elif kind == "worker":
            yield from self._worker(entity, target, metadata)
        elif kind == "uet_worker":
            yield from self._process(entity, source, target, metadata)
        elif kind == "circuit_breaker":
            yield from self._breaker(entity, event_type, target, metadata)
        elif kind == "test_gate":
            self._gates.moved(entity, target)

    def _task(self, task: str, source: str | None, target: str, metadata: str) -> Iterator[str]:
        if source == "running" and target != "running":
            for left in [slot for slot, who in self._running.items() if who == task]:
                del self._running[left]
        if target != "running" or source == "running":
            return
        slot = _read(metadata).worker_id
        if slot is None:
            return
        if slot in self._running:
            yield f"it runs on {slot}, which runs {self._running[slot]}"
        if (self._whole or slot in self._held) and self._held.get(slot) != task:
            yield f"it runs on {slot}, which was not assigned to it"
        self._running[slot] = task
        for gate in self._gates.missing(task) if self._whole else ():
            yield f"it runs, and {gate}, which it needs, has not passed"

    def _worker(self, slot: str, target: str, metadata: str) -> Iterator[str]:
        if target in _HOLDING:
            task = _read(metadata).task_id
            if task is not None:
                self._held[slot] = task
        elif target != "failed":
            # (A failed slot holds its lease until the task has given it back.)
            if slot in self._running:
                task = self._running[slot]
                yield from self._freed_too_early(slot, task, target)
            self._held.pop(slot, None)

    def _freed_too_early(self, slot: str, task: str, target: str) -> Iterator[str]:
        if target != "shutdown":  # a slot that is retired leaves its task to end by itself
            yield f"it is {target}, and {task} runs on it"

    def _process(
        self, process: str, source: str | None, target: str, metadata: str
    ) -> Iterator[str]:
        slot = process.rpartition("@")[0]
        if source is None:
            if slot in self._living:
                yield f"it is the process of {slot}, whose {self._living[slot]} has not ended"
            self._living[slot] = process
        elif target == "terminated" and source != target:
            self._living.pop(slot, None)
        elif target == "busy" and source == "idle":
            lease = _read(metadata).lease
            number = _number(lease)
            if number is None:
                yield f"it takes on the lease {lease}, which is none"
            elif number <= self._leases.get(slot, (0, 0)):
                yield f"it takes on the lease {lease}, which is not later than the last of {slot}"
            else:
                self._leases[slot] = number

    def _breaker(self, breaker: str, event_type: str, target: str, metadata: str) -> Iterator[str]:
        _, last = self._breakers.get(breaker, (target, 0))
        if event_type == "breaker_probe_lent":
            serial = _read(metadata).serial
            if target != "half_open":
                yield f"it lends a probe, and is {target}"
            if serial <= last:
                yield f"it lends the probe {serial} after the probe {last}"
            last = serial
        self._breakers[breaker] = (target, last)


class _Gates:
    """Which gates have passed so far, of those that stand before tasks; and for which tasks."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._needs: dict[str, tuple[str, ...]] = {}
        gates, waived = _of("spec", "$.gates"), _of("value", "$.gates.waived")
        sql = f"SELECT id, {gates}, {waived} FROM tasks WHERE {gates} IS NOT NULL"
        for task, needs, without in db.execute(sql):
            kept = set(msgspec.json.decode(without)) if without else set()
            needed = tuple(g.partition(":")[2] for g in msgspec.json.decode(needs) if g not in kept)
            if needed:
                self._needs[task] = needed
        self._instead = dict(
            db.execute("SELECT retry_of, id FROM test_gates WHERE retry_of IS NOT NULL").fetchall()
        )
        self._passed: set[str] = set()

    def moved(self, gate: str, target: str) -> None:
        """A gate's row."""
        if target == "passed":
            self._passed.add(gate)

    def missing(self, task: str) -> list[str]:
        """The gates that the task needs and that have not passed, nor any that stand for them."""
        return [gate for gate in self._needs.get(task, ()) if not self._has_passed(gate)]

    def _has_passed(self, gate: str | None) -> bool:
        while gate is not None and gate not in self._passed:
            gate = self._instead.get(gate)
        return gate is not None


def _read(metadata: str) -> _Said:
    try:
        return _decode(metadata)
    except msgspec.MsgspecError:
        return _Said()  # the check of the chain says so


def _number(lease: str | None) -> tuple[int, int] | None:
    """A lease as what it is: the owner's epoch, and a number within it."""
    epoch, _, counter = (lease or "").partition(".")
    return (int(epoch), int(counter)) if epoch.isdigit() and counter.isdigit() else None


def _of(column: str, path: str, what: str = "extract") -> str:
    """What the JSON of a column holds, as SQL; NULL where it is no JSON, which others find."""
    return f"CASE WHEN json_valid({column}) THEN json_{what}({column}, '{path}') END"


_CALLS = (
    " FROM tasks t JOIN circuit_breakers b"
    f" ON b.id = {_of('t.value', '$.admitted.breaker')}"
    f" AND coalesce({_of('b.value', '$.epoch')}, 0) = {_of('t.value', '$.admitted.epoch')}"
    " WHERE b.mode <> 'shadow' AND b.state = "
)
_LAST = " JOIN state_transitions a ON a.seq = e.audit_seq"
_TABLES = {kind.name: kind.table for kind in KINDS.values()}


def _replayed(text: str, column: str, when: str) -> tuple[str, str]:
    """A task's column is what its last transition says of it."""
    said = _of("a.metadata", f"$.{column}")
    return (
        text,
        f"SELECT 'task ' || e.id, coalesce({said}, 'none') FROM tasks e{_LAST}"
        f" WHERE a.event_type = 'task_state_transition' AND {when}"
        f" AND {_of('a.metadata', f'$.{column}', 'type')} IS NOT NULL"
        f" AND {said} IS NOT e.{column}",
    )


PROMISES = (
    (
        "it is open, and {} calls under a ticket of its present epoch",
        f"SELECT 'circuit_breaker ' || b.id, t.id{_CALLS}'open'",
    ),
    (
        "it is half open, and {} calls are made under tickets of its present epoch",
        f"SELECT 'circuit_breaker ' || b.id, count(*){_CALLS}'half_open'"
        # One that was freed with its owner, and has not heard of it yet, has an older number.
        f" AND {_of('t.value', '$.admitted.serial')} = coalesce({_of('b.value', '$.serial')}, 0)"
        " GROUP BY b.id HAVING count(*) > 1",
    ),
    _replayed("the audit says that it was tried again {} times", "retry_count", "1"),
    _replayed("the audit says that its exit code is {}", "exit_code", "e.completed_at NOTNULL"),
    *(
        (
            "the audit says that it ended at {}",
            f"SELECT '{kind} ' || e.id, a.transitioned_at FROM {table} e{_LAST}"
            f" WHERE a.event_type = '{kind}_state_transition' AND a.from_state <> a.to_state"
            " AND e.completed_at <> a.transitioned_at",
        )
        for kind, table in _TABLES.items()
    ),
    *(
        (
            "its version is {}, which no commit gives",
            f"SELECT '{kind} ' || id, version FROM {table} WHERE version < 1",
        )
        for kind, table in _TABLES.items()
    ),
)
"""(what is wrong, the query for whose) of what the last rows of entities say of each other."""
