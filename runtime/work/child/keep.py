"""The keeper: the worker child's parent, which does nothing but outlive it.

A worker child that is killed hands what it ran to the next subreaper above it. That is the keeper,
and it kills all of it, also what left its session and cleared its environment, before it ends the
way the worker did. When the keeper is the one that is killed, the worker is told by SIGTERM and
does the same. Only who kills both at once leaves it to the supervisor to find the rest by marks.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from time import monotonic

from .proc import PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG, descendants, prctl, send

LAST_S = 30.0  # how long a process without anybody above it goes on killing before it gives up
_PAUSE_S = 0.002
_PAUSE_MAX_S = 0.1


def keep(group: str | None = None) -> None:
    """Forks. Returns in the worker child only; the keeper stays until all is over. `group`: the
    folder of a control group that both join, and with them all that they start."""
    if group is not None:
        with suppress(OSError), open(f"{group}/cgroup.procs", "w", encoding="ascii") as procs:
            procs.write("0")
    # An embedding program may ignore SIGCHLD, or block signals: both would be inherited.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    keeper = os.getpid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    worker = os.fork()
    if worker == 0:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != keeper:
            os._exit(1)
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        return
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # A copy of the worker's pipes would hide the end of one from the other.
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    _, status = os.waitpid(worker, 0)
    none_left = end_all()
    if os.WIFSIGNALED(status):
        died_of = os.WTERMSIG(status)
        if died_of != signal.SIGKILL:
            signal.signal(died_of, signal.SIG_DFL)
        os.kill(keeper, died_of)
    os._exit(os.waitstatus_to_exitcode(status) if none_left else 1)


def end_all() -> bool:
    """KILL to all below, until none is left or the bound is over; whether none is left."""
    until = monotonic() + LAST_S
    pause = _PAUSE_S
    while not reap():
        if monotonic() >= until:
            return False
        kill_all()
        select.select([], [], [], pause)
        pause = min(2 * pause, _PAUSE_MAX_S)
    return True


def reap() -> bool:
    """Buries the dead below; true when none, living or dead, is left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            return False


def kill_all() -> None:
    """KILL to each process below this one."""
    for process in descendants(os.getpid()):
        send(process, signal.SIGKILL)
