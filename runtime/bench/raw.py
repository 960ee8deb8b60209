"""The limit: the same rows written by the standard library's sqlite3 with nothing around them.

Plain tables without a trigger, a check or an index but the primary keys; `synchronous=FULL`, WAL,
batches of 1,024. One "row" is what one transition writes: its audit row and its entity's row.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

BATCH = 1024
_AUDIT = (
    "seq INTEGER PRIMARY KEY, event_id TEXT, event_type TEXT, entity_type TEXT, entity_id TEXT,"
    " from_state TEXT, to_state TEXT, trigger TEXT, severity TEXT, reason TEXT, metadata TEXT,"
    " operator TEXT, run_id TEXT, transitioned_at REAL, hash TEXT, entity_prev INTEGER"
)
_ENTITY = (
    "n INTEGER PRIMARY KEY, id TEXT, run_id TEXT, state TEXT, version INTEGER, audit_seq INTEGER,"
    " created_at REAL, started_at REAL, completed_at REAL, reason TEXT, workstream_id TEXT,"
    " worker_id TEXT, lease TEXT, retry_count INTEGER, max_retries INTEGER, exit_code INTEGER,"
    " retry_of TEXT, timers TEXT, spec TEXT, value TEXT, metadata TEXT"
)
_METADATA = '{"worker_id":"worker:local.1","duration_seconds":0.5,"retry_count":0,"exit_code":0}'
_VALUE = '{"attempt":1,"dispatches":1,"queued_at":1700000000.25,"unmet":[]}'


def _rows(first: int) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    audit: list[tuple[object, ...]] = []
    entities: list[tuple[object, ...]] = []
    for seq in range(first, first + BATCH):
        task = f"nightly-8k2m4xq/build/task-{seq % BATCH:06d}"
        event = f"evt_0192f0c8-7d3a-7bbb-8ccc-{seq:012d}"
        at = 1_700_000_000.0 + seq / 1000
        edge = ("task_state_transition", "task", task, "queued", "running", "worker_assigned")
        tail = ("info", None, _METADATA, None, "nightly-8k2m4xq", at, "a" * 64)
        audit.append((seq, event, *edge, *tail, seq - BATCH if seq > BATCH else None))
        common = (seq % BATCH, task, "nightly-8k2m4xq", "running", 3, seq, at, at, None, None)
        own = ("build", "worker:local.1", f"1.{seq}", 0, 3, None, None)
        entities.append((*common, *own, None, None, _VALUE, _METADATA))
    return audit, entities


def raw_rows_per_s(folder: Path, seconds: float) -> float:
    """Audit and entity row pairs per second, over at least `seconds`."""
    db = sqlite3.connect(folder / "raw.db", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-16000"):
        db.execute(f"PRAGMA {pragma}")
    db.execute(f"CREATE TABLE audit({_AUDIT})")
    db.execute(f"CREATE TABLE entities({_ENTITY})")
    written, spent, first = 0, 0.0, 1
    while spent < seconds:
        audit, entities = _rows(first)
        first += BATCH
        began = time.perf_counter()
        db.execute("BEGIN IMMEDIATE")
        db.executemany(f"INSERT INTO audit VALUES({','.join('?' * 16)})", audit)
        db.executemany(f"INSERT OR REPLACE INTO entities VALUES({','.join('?' * 21)})", entities)
        db.execute("COMMIT")
        spent += time.perf_counter() - began
        written += BATCH
    db.close()
    return written / spent
