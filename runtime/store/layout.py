"""Where things lie in a state directory, and making one."""

from __future__ import annotations

import os
from pathlib import Path

from runtime.store.errors import StateDirUnusable

NAME = ".state"


class Layout:
    """The paths of one state directory, made or not."""

    def __init__(self, state_dir: Path) -> None:
        self.dir = state_dir.absolute()
        self.db = self.dir / "banksman.db"
        self.jsonl = self.dir / "transitions.jsonl"
        self.socket = self.dir / "control.sock"
        self.lock = self.dir / "lock"
        self.log = self.dir / "banksman.log"
        self.config = self.dir / "banksman.toml"
        self.output = self.dir / "output"
        self.archive = self.dir / "archive"
        self.git = self.dir / "git"


def discover(plan: Path) -> Path:
    """The state directory for a plan: the nearest `.state` upward from it that is one, else
    `.state` beside it, which need not exist."""
    folder = plan.absolute().parent
    for above in (folder, *folder.parents):
        if (above / NAME / "banksman.db").is_file():
            return above / NAME
    return folder / NAME


def make(state_dir: Path) -> Layout:
    """The directory, made where it is missing: private, and ignored by git by its own word.

    Raises StateDirUnusable where it cannot be made or written.
    """
    layout = Layout(state_dir)
    try:
        if not layout.dir.is_dir():
            layout.dir.mkdir(mode=0o700, parents=True)
            sync_directory(layout.dir.parent)
        for folder in (layout.output, layout.archive):
            folder.mkdir(mode=0o700, exist_ok=True)
        ignore = layout.dir / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
            sync_directory(layout.dir)
    except FileExistsError as error:
        raise StateDirUnusable(
            Path(error.filename), "it is not a directory", "use another --state-dir"
        ) from error
    except OSError as error:
        raise unusable(layout.dir, error) from error
    if not os.access(layout.dir, os.W_OK | os.X_OK):
        raise StateDirUnusable(
            layout.dir, "it cannot be written to", "make it writable, or use another --state-dir"
        )
    return layout


def unusable(path: Path, error: OSError) -> StateDirUnusable:
    """The error for what the operating system refused."""
    cure = "make it writable, or use another --state-dir"
    return StateDirUnusable(path, f"{error.strerror or error}", cure)


def sync_directory(folder: Path) -> None:
    """Makes the names in `folder` survive power loss."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
