"""Where the state directory is, and what opens there."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from runtime.cli.exits import Exit, Stop

_DIRECTORY = ".state"
_DATABASE = "banksman.db"


def existing(asked: Path | None) -> Path:
    """`asked`, else the nearest .state upward from the working directory.

    Raises Stop where it does not exist or holds no database.
    """
    found = asked.absolute() if asked is not None else nearest(Path.cwd())
    if found is None:
        cure = "`banksman run PLAN` makes one, --state-dir DIR names one"
        raise Stop(Exit.USAGE, f"there is no {_DIRECTORY} in {Path.cwd()} or above it", cure)
    if not (found / _DATABASE).is_file():
        cure = "`banksman run PLAN --state-dir DIR` makes one"
        raise Stop(Exit.USAGE, f"{found} holds no {_DATABASE}", cure)
    return found


def nearest(start: Path) -> Path | None:
    """The nearest state directory in `start` or above it."""
    for folder in (start, *start.parents):
        if (folder / _DIRECTORY / _DATABASE).is_file():
            return folder / _DIRECTORY
    return None


def for_plan(asked: Path | None, plan: Path) -> Path:
    """Where a run of `plan` keeps its state: `asked`, else the nearest .state upward from the
    plan, else a new one beside it. It need not exist."""
    if asked is not None:
        return asked.absolute()
    folder = plan.absolute().parent
    return nearest(folder) or folder / _DIRECTORY


def connected(state_dir: Path) -> sqlite3.Connection:
    """A read-only connection to the database, rows by name."""
    from runtime.store.read import connect  # noqa: PLC0415 - the store is not needed to find it

    db = connect(state_dir / _DATABASE)
    db.row_factory = sqlite3.Row
    return db
