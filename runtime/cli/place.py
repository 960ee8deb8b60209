"""Where the state directory is, and what opens there."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from runtime.cli.exits import Exit, Stop
from runtime.store.layout import NAME, Layout, discover
from runtime.store.read import connect


def existing(asked: Path | None) -> Path:
    """`asked`, else the nearest .state upward from the working directory.

    Raises Stop where it does not exist or holds no database.
    """
    layout = Layout(asked if asked is not None else discover(Path.cwd() / "plan"))
    if layout.db.is_file():
        return layout.dir
    cure = "`banksman run PLAN` makes one, --state-dir DIR names one"
    if asked is None:
        raise Stop(Exit.USAGE, f"there is no {NAME} in {Path.cwd()} or above it", cure)
    raise Stop(Exit.USAGE, f"{layout.dir} holds no {layout.db.name}", cure)


def for_plan(asked: Path | None, plan: Path) -> Path:
    """Where a run of `plan` keeps its state: `asked`, else the nearest .state upward from the
    plan, else a new one beside it. It need not exist."""
    return Layout(asked if asked is not None else discover(plan)).dir


def at(state_dir: Path) -> str:
    """What the next command must be told to find this directory from here; often nothing."""
    if discover(Path.cwd() / "plan") == state_dir:
        return ""
    near = os.path.relpath(state_dir)
    return f" --state-dir {near if len(near) < len(str(state_dir)) else state_dir}"


def connected(state_dir: Path) -> sqlite3.Connection:
    """A read-only connection to the database, rows by name."""
    db = connect(Layout(state_dir).db)
    db.row_factory = sqlite3.Row
    return db
