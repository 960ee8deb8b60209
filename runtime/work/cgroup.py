"""A control group for each worker, where this user may make one: nothing that a worker starts can
leave it, whatever it forks, closes or clears, and one write kills all of it.

That closes the gap which subreapers and marks leave open: a worker and its keeper killed at once.
Where no group can be made (a container without a writable cgroup tree, version 1 alone, a session
that was not delegated) everything works without.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

import anyio

_PROBE_S_MAX = 10.0
_PAUSE_S = 0.002
_PAUSE_MAX_S = 0.05
_numbers = itertools.count(1)


@cache
def home() -> Path | None:
    """The group of this process, where others can be made below it; found out once, by trying."""
    own = _own()
    if own is None:
        return None
    tried = own / f"banksman-probe-{os.getpid()}"
    try:
        tried.mkdir()
    except OSError:
        return None
    joins = False
    if (tried / "cgroup.kill").exists():  # Linux 5.14
        command = ["sh", "-c", 'echo 0 >"$0"/cgroup.procs', str(tried)]
        with suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(command, capture_output=True, timeout=_PROBE_S_MAX, check=False)
            joins = done.returncode == 0
    _remove(tried)
    return own if joins else None


def _own() -> Path | None:
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    name = next((line[3:] for line in groups if line.startswith("0::/")), None)
    for line in mounts:
        fields = line.split()
        if name is not None and fields[fields.index("-") + 1] == "cgroup2" and fields[3] == "/":
            return Path(fields[4]) / name.lstrip("/")
    return None


def make(state_dir: Path) -> Path | None:
    """A new group for one worker of this state directory; None where there can be none."""
    own = home()
    if own is None:
        return None
    group = own / f"{_prefix(state_dir)}{os.getpid()}-{next(_numbers)}"
    try:
        group.mkdir()
    except OSError:
        return None
    return group


def _prefix(state_dir: Path) -> str:
    return f"banksman-{hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:12]}-"


async def end(group: Path, bound_s: float) -> tuple[int, ...]:
    """KILL to all that is in the group, until it is empty and gone, or the bound is over: then the
    pids of what lives."""
    until = anyio.current_time() + bound_s
    pause = _PAUSE_S
    while _populated(group):
        _kill(group)
        if anyio.current_time() >= until:
            return _pids(group)
        await anyio.sleep(pause)  # nobody tells of the death of a stranger
        pause = min(2 * pause, _PAUSE_MAX_S)
    _remove(group)
    return ()


async def end_former(state_dir: Path, bound_s: float) -> tuple[int, ...]:
    """Ends the groups that a former owner of this state directory left beside our own."""
    own = home()
    if own is None:
        return ()
    alive: tuple[int, ...] = ()
    for group in _groups(own, state_dir):
        alive += await end(group, bound_s)
    return alive


def _groups(own: Path, state_dir: Path) -> list[Path]:
    return sorted(own.glob(f"{_prefix(state_dir)}*"))


def _kill(group: Path) -> None:
    with suppress(OSError):
        (group / "cgroup.kill").write_text("1")


def _remove(group: Path) -> None:
    with suppress(OSError):
        group.rmdir()


def _populated(group: Path) -> bool:
    with suppress(OSError):
        return "populated 1" in (group / "cgroup.events").read_text()
    return False


def _pids(group: Path) -> tuple[int, ...]:
    with suppress(OSError, ValueError):
        return tuple(int(pid) for pid in (group / "cgroup.procs").read_text().split())
    return ()
