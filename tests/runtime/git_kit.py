"""A small git repository to look at."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

CLEAN = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_NAME": "ann" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "ann@example.org" for who in ("AUTHOR", "COMMITTER")},
}


def git(folder: Path, *args: str) -> str:
    """What the user's own git says."""
    done = subprocess.run(
        ["git", *args], cwd=folder, env=CLEAN, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def repository(folder: Path, **files: str) -> Path:
    """One with a commit of these files (by default a few); `__` in a name is a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "-b", "main")
    for name, text in (files or {"code__py": "x = 1\n", "__gitignore": "*.o\n.venv/\n"}).items():
        (folder / name.replace("__", ".")).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below the folder, with its content and the time of its last change."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
