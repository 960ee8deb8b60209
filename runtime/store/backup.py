"""A copy of the database in one file, made while its owner writes."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from runtime.store.errors import Damaged
from runtime.store.layout import sync_directory


def backup(db: sqlite3.Connection, target: Path) -> None:
    """Copies what `db` sees to `target`, checked and synced; `target` appears whole or not at all.

    In one step: a copy in several is begun anew whenever the owner writes between them.
    Raises Damaged where the copy does not pass SQLite's own check.
    """
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(part, isolation_level=None)) as copy:
            db.backup(copy, pages=-1)
            # Out of WAL mode, so that the copy is one file.
            copy.execute("PRAGMA journal_mode = DELETE")
            answer = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
            if answer != "ok":
                raise Damaged(target, f"its copy is not whole: {answer}")
        os.chmod(part, 0o600)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    sync_directory(target.parent)
