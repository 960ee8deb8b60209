"""The write fence: bubblewrap around a command, which then writes only where its plan works.

Behind it the whole file system is read-only but for the plan's folder, a working directory that
the plan names outside of that, and a TMPDIR of its own, in memory, that vanishes with it; the state
directory is read-only even where it lies in the plan's folder. A process namespace of its own means
that nothing of it outlives its worker, whatever is killed. Without capabilities, root cannot lift
it.

Deliberately absent: the network, which is untouched; secrecy, for what can be read can be read;
and a weaker fence where this one does not work. It is refused there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

WRITE_FENCE = "write-fence"
_PROBE_S_MAX = 20.0
_OF_THE_KERNEL = tuple(
    f"/proc/{name}" for name in ("sys", "sysrq-trigger", "acpi", "asound", "driver", "fs", "mtrr")
)
_CURE = (
    'install it (apt install bubblewrap), or write sandbox = "none"',
    "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1; on Ubuntu an "
    "AppArmor profile for bwrap; in a container more than its default seccomp profile gives), or "
    'write sandbox = "none"',
)


def fence(state_dir: Path, folders: Iterable[str]) -> list[str]:
    """The words before a command that may write below `folders` only."""
    state = os.path.realpath(state_dir)
    writable = list(dict.fromkeys(os.path.realpath(folder) for folder in folders))
    words = [shutil.which("bwrap") or "bwrap", "--die-with-parent", "--unshare-pid"]
    words += ["--cap-drop", "ALL", "--ro-bind", "/", "/"]
    words += _bound(path for path in writable if not _within(path, state))
    # A folder that is mounted cannot be moved, nor the state directory within it.
    words += _bound(path for path in _above(state) if any(_within(path, w) for w in writable))
    words += ["--ro-bind", state, state]
    words += _bound(path for path in writable if _within(path, state) and path != state)
    words += ["--tmpfs", str(tmp_dir(state_dir))]
    socket = os.path.join(state, "control.sock")
    if os.path.exists(socket):  # whoever may command the owner stands outside of any fence
        words += ["--ro-bind", "/dev/null", socket]
    words += ["--dev", "/dev", "--proc", "/proc"]
    for path in _OF_THE_KERNEL:  # what root, even without capabilities, may write
        words += ["--ro-bind-try", path, path]
    return words


def _bound(paths: Iterable[str]) -> list[str]:
    # A folder that is not there is found missing by the launcher, which says so better.
    return [word for path in paths if os.path.isdir(path) for word in ("--bind", path, path)]


def _above(path: str) -> list[str]:
    """The folders that it lies in, the outermost first."""
    return [str(folder) for folder in reversed(Path(path).parents)]


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def tmp_dir(state_dir: Path) -> Path:
    """Where a command behind the fence finds its TMPDIR. Outside the fence it stays empty."""
    return Path(os.path.realpath(state_dir)) / "tmp"


@cache
def fence_refusal() -> tuple[str, str] | None:
    """Why this machine cannot raise the fence, and the cure; None where it can.

    Found out once, by raising it and trying to write on both of its sides.
    """
    if shutil.which("bwrap") is None:
        return "bubblewrap (bwrap) is not installed", _CURE[0]
    with tempfile.TemporaryDirectory() as folder:
        return _tried(Path(folder))


def _tried(folder: Path) -> tuple[str, str] | None:
    inside, state = folder / "inside", folder / "state"
    for made in (inside, state / "tmp"):
        made.mkdir(parents=True)
    script = "test -r /proc/self/stat && : >inside/in && : >state/tmp/in && ! touch state/out"
    command = [*fence(state, [str(inside)]), "sh", "-c", script]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_PROBE_S_MAX, cwd=folder, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not work here: {error}", _CURE[1]
    if done.returncode == 0 and (inside / "in").exists():
        return None
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return f"bubblewrap does not work here: {said[-1] if said else 'its fence holds nothing'}", (
        _CURE[1]
    )
