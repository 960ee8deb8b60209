"""A hand that drives a store as the kernel does, and a database to break by hand."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from actors import run, spec, task, worker, workstream
from actors.machine import Taken
from runtime import VirtualClock
from runtime.kinds import KINDS, Kind
from runtime.store import Batch, Change, Store
from runtime.store.migrate import APPLICATION_ID, migrations, statements

NODE = b"\x01\x02\x03\x04\x05\x06"
RUN = "nightly-1a2b"
WORKSTREAM = f"{RUN}/build"


async def open_store(state_dir: Path, **options: Any) -> Store:
    """A store in virtual time, with event ids that do not change."""
    options.setdefault("clock", VirtualClock())
    options.setdefault("node", NODE)
    return await Store.open(state_dir, **options)


class Hand:
    """Books edges and changes, and commits them."""

    def __init__(self, store: Store, kinds: tuple[Kind, ...] = ()) -> None:
        self.store = store
        self.kinds = {**KINDS, **{k.name: k for k in kinds}}
        self.now = 1_000_000.0
        self.batch = Batch()
        self._phases: dict[str, str] = {}
        self._n: dict[str, tuple[Kind, int]] = {}
        self._seq: dict[str, int] = {}
        self._version: dict[str, int] = {}

    def born(self, kind_name: str, value: Any) -> None:
        """The value is created."""
        kind = self.kinds[kind_name]
        address = f"{kind_name}:{value.id}"
        if isinstance(value, run.Run) and value.phase is not None:
            self._phases[value.id] = value.phase
        self._n[address] = (kind, 1 + sum(k.table == kind.table for k, _ in self._n.values()))
        self._change(address, value, Taken(None, kind.state_of(value), "created"), new=True)

    def move(self, kind_name: str, before: Any, after: Any, trigger: str, **taken: Any) -> None:
        """An edge is taken."""
        kind = self.kinds[kind_name]
        states = (kind.state_of(before), kind.state_of(after))
        self._change(f"{kind_name}:{after.id}", after, Taken(*states, trigger, **taken))

    def note(self, kind_name: str, value: Any, event: str) -> None:
        """A row that is no transition."""
        state = self.kinds[kind_name].state_of(value)
        taken = Taken(state, state, event, event_type=event)
        self._change(f"{kind_name}:{value.id}", value, taken)

    def _change(self, address: str, value: Any, taken: Taken, *, new: bool = False) -> None:
        kind, n = self._n[address]
        run_id = kind.run_id_of(value)
        previous = self._seq.get(address, 0)
        seq, metadata = self.store.book.enter(
            kind.name, value.id, run_id, taken, self.now, previous, self._phases.get
        )
        self._seq[address] = seq
        self._version[address] = self._version.get(address, 0) + 1
        version = self._version[address]
        self.batch.changes = [
            c for c in self.batch.changes if (c.kind.table, c.n) != (kind.table, n) or c.is_new
        ]
        for change in self.batch.changes:
            if (change.kind.table, change.n) == (kind.table, n):
                change.value, change.version = value, version
                change.audit_seq, change.metadata = seq, metadata
                return
        change = Change(kind, n, value, None, version, seq, metadata, new)
        self.batch.changes.append(change)

    async def commit(self) -> Batch:
        batch, self.batch = self.batch, Batch()
        await self.store.commit(batch)
        return batch


def a_run(**changes: Any) -> run.Run:
    plan = spec.Plan(run=spec.Run(name="nightly", phase="PH-002"))
    return msgspec.structs.replace(run.create(plan, RUN, 1_000_000.0), **changes)


def a_workstream(name: str = "build") -> workstream.Workstream:
    return workstream.create(spec.WorkstreamSeed(run_id=RUN, name=name), 1_000_000.0)


def a_task(name: str, **changes: Any) -> task.Task:
    seed = spec.TaskSeed(
        run_id=RUN, workstream="build", name=name, task=spec.Task(command=("true",), max_retries=3)
    )
    return msgspec.structs.replace(task.create(seed, 1_000_000.0), **changes)


def a_worker(number: int = 1) -> worker.Worker:
    name = f"worker:local.{number}"
    seed = spec.WorkerSeed(id=name, run_id=None, pool="local", slot=spec.Pool())
    return worker.create(seed, 1_000_000.0)


def queued(value: task.Task) -> task.Task:
    return msgspec.structs.replace(value, state=task.State.QUEUED)


async def three_tasks(state_dir: Path) -> None:
    """A closed store: a run, a workstream and three tasks, of which one is QUEUED; seven rows."""
    async with await open_store(state_dir) as store:
        hand = Hand(store)
        hand.born("run", a_run())
        hand.born("workstream", a_workstream())
        for name in ("fetch", "compile", "link"):
            hand.born("task", a_task(name))
        await hand.commit()
        fetch = a_task("fetch")
        hand.now += 1.5
        hand.move("task", fetch, queued(fetch), "dependencies_met", reason="none to wait for")
        hand.note("task", queued(fetch), "looked_at")
        await hand.commit()


def plain(state_dir: Path) -> sqlite3.Connection:
    """The database as the sqlite3 shell has it."""
    return sqlite3.connect(state_dir / "banksman.db", isolation_level=None)


def without_refusals(db: sqlite3.Connection) -> None:
    """Drops every trigger, as somebody would who means to forge."""
    names = db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for (name,) in names:
        db.execute(f"DROP TRIGGER {name}")


def empty_database() -> sqlite3.Connection:
    """A database of the shipped schema, in memory, in the hands of a plain connection."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    for migration in migrations():
        for statement in statements(migration.up):
            db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    return db
