"""What `banksman db` does: the store looked at and looked after, without the kernel.

Whatever changes something takes the owner's lock first, and so refuses while an owner lives.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from runtime.store.backup import backup as copy
from runtime.store.connection import PAGE_SIZE
from runtime.store.errors import Damaged, StateDirUnusable
from runtime.store.journal import Journal
from runtime.store.layout import Layout, make, sync_directory, unusable
from runtime.store.loading import TABLES
from runtime.store.lock import acquire, holder, is_owned
from runtime.store.migrate import Migrated, applied, downgrade, migrate, migrations, transaction
from runtime.store.read import connect, readable
from runtime.store.verify import verify_copy

_BUSY_S = 5.0


class Status(msgspec.Struct, frozen=True):
    """A database, at a glance. Sizes in bytes."""

    path: Path
    schema: int
    schema_known: int
    size: int
    wal_size: int
    free: int  # what `vacuum` would give back
    jsonl_size: int
    head_seq: int
    head_hash: str
    owner_epoch: int
    clean: bool  # the last owner closed the store
    holder: dict[str, Any] | None  # the owner that lives
    rows: dict[str, int]  # by table
    backups: tuple[Path, ...]  # the oldest first


def status(state_dir: Path) -> Status:
    """Raises StateDirUnusable, NewerDatabase, MigrationChanged, Damaged, StoreBusy."""
    layout = Layout(state_dir)
    with closing(connect(layout.db)) as db, readable(layout.db):
        meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
        pages = {
            p: db.execute(f"PRAGMA {p}").fetchone()[0] for p in ("page_size", "freelist_count")
        }
        tables = ("state_transitions", *TABLES, "messages", "outbox", "watches")
        return Status(
            path=layout.db,
            schema=db.execute("PRAGMA user_version").fetchone()[0],
            schema_known=migrations()[-1].number,
            size=_size(layout.db),
            wal_size=_size(layout.db.with_name(layout.db.name + "-wal")),
            free=pages["page_size"] * pages["freelist_count"],
            jsonl_size=_size(layout.jsonl),
            head_seq=int(meta["head_seq"]),
            head_hash=meta["head_hash"],
            owner_epoch=int(meta["owner_epoch"]),
            clean=meta["clean"] == "1",
            holder=holder(layout.lock) if is_owned(layout) else None,
            rows={t: db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables},
            backups=tuple(sorted(layout.archive.glob("*.db"), key=lambda p: p.stat().st_mtime)),
        )


def migrate_now(state_dir: Path) -> Migrated:
    """Brings the schema forward, as opening does. Raises OwnerBusy and what opening raises."""
    with owned(state_dir, "banksman db migrate") as (layout, db):
        return migrate(db, layout.db, layout.archive, time.time())


def rollback(state_dir: Path) -> Migrated:
    """Undoes the last migration, after a backup. Raises NoWayBack, OwnerBusy."""
    with owned(state_dir, "banksman db rollback") as (layout, db):
        return downgrade(db, layout.db, layout.archive, time.time())


def backup(state_dir: Path, target: Path | None = None) -> Path:
    """A verified copy, beside a live owner too: `target`, or one in archive/. Returns its path.

    Raises StateDirUnusable where the target exists or cannot be written, and Damaged, with nothing
    left behind, where the record itself does not verify.
    """
    layout = Layout(state_dir)
    if target is None:
        target = layout.archive / f"banksman-{_stamp()}.db"
    if target.exists():
        raise StateDirUnusable(target, "it is there already", "name another file")
    try:
        with closing(connect(layout.db)) as db, readable(layout.db):
            copy(db, target)
    except OSError as error:
        raise unusable(target, error) from error
    try:
        _believe(target)
    except BaseException:
        target.unlink()
        raise
    return target


def restore(state_dir: Path, source: Path) -> Path | None:
    """Puts a backup in the place of the database, which goes to archive/ (its path is returned,
    None where there was none), as does transitions.jsonl, which is made anew.

    The owner epoch goes on from the larger one, so that no lease is given twice.
    Raises OwnerBusy while an owner lives, and Damaged where the backup does not verify.
    """
    _believe(source)
    layout = make(state_dir)
    lock = acquire(layout, "banksman db restore")
    part = layout.db.with_name(layout.db.name + ".part")
    try:
        with readable(layout.db):
            epoch = _epoch(layout.db)
            shutil.copyfile(source, part)
            os.chmod(part, 0o600)
            _go_on_from(part, epoch)
            kept = _set_aside(layout)
            part.rename(layout.db)
            sync_directory(layout.dir)
            with closing(connect(layout.db)) as db, closing(Journal(layout.jsonl)) as journal:
                journal.repair(db, "0:0", 0, layout.archive)
    except OSError as error:
        raise unusable(layout.dir, error) from error
    finally:
        part.unlink(missing_ok=True)
        lock.release()
    return kept


def vacuum(state_dir: Path) -> tuple[int, int]:
    """Rewrites the database without its free pages. Returns its size before and after."""
    with owned(state_dir, "banksman db vacuum") as (layout, db):
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = _size(layout.db)
        db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return before, _size(layout.db)


def check(state_dir: Path) -> list[str]:
    """What SQLite's own check of its pages finds; empty where the file is whole."""
    layout = Layout(state_dir)
    try:
        with closing(connect(layout.db)) as db, readable(layout.db):
            found = [text for (text,) in db.execute("PRAGMA integrity_check(100)")]
    except Damaged as damaged:
        return [damaged.what]
    return [] if found == ["ok"] else found


@contextmanager
def owned(state_dir: Path, command: str) -> Iterator[tuple[Layout, sqlite3.Connection]]:
    """The database, owned and open for writing. Raises OwnerBusy and what opening raises."""
    with closing(connect(Layout(state_dir).db)):
        pass  # it is there, and ours
    layout = make(state_dir)
    lock = acquire(layout, command)
    try:
        with (
            closing(sqlite3.connect(layout.db, isolation_level=None, timeout=_BUSY_S)) as db,
            readable(layout.db),
        ):
            applied(db, layout.db, migrations())
            db.execute("PRAGMA synchronous = FULL")
            yield layout, db
    finally:
        lock.release()


def _believe(path: Path) -> None:
    verified = verify_copy(path)
    if not verified.whole:
        first = verified.findings[0]
        raise Damaged(path, f"{first.where}: {first.text}")


def _epoch(path: Path) -> int:
    """The owner epoch of what is to be replaced, as far as it can be read."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            sql = "SELECT value FROM meta WHERE key = 'owner_epoch'"
            return int(db.execute(sql).fetchone()[0])
    except (sqlite3.Error, TypeError, ValueError):
        return 0


def _go_on_from(path: Path, epoch: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db, transaction(db):
        sql = "SELECT value FROM meta WHERE key = 'owner_epoch'"
        if epoch > int(db.execute(sql).fetchone()[0]):
            db.execute("UPDATE meta SET value = ? WHERE key = 'owner_epoch'", (str(epoch),))
        db.execute("UPDATE meta SET value = '0:0' WHERE key = 'jsonl'")
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _set_aside(layout: Layout) -> Path | None:
    """Moves the database, with its WAL if it has one, and the JSONL into archive/."""
    kept = layout.archive / f"replaced-{_stamp()}.db"
    for path, suffix in ((layout.db, ".db"), (layout.jsonl, ".jsonl")):
        for tail in ("", "-wal", "-shm"):
            if (file := path.with_name(path.name + tail)).exists():
                file.rename(kept.with_name(kept.stem + suffix + tail))
    return kept if kept.exists() else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
