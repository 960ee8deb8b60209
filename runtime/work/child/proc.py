"""What /proc says of processes: who lives, who is below whom, what each carries.

A process is named by (pid, start ticks), which the kernel does not give twice in one boot; a
signal goes through a pidfd whose ticks were compared, so that a reused pid is never hit.
"""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class Process:
    """One line of /proc/<pid>/stat. `alive` is false for a zombie none of whose threads runs."""

    __slots__ = ("alive", "parent", "pid", "session", "ticks")

    def __init__(self, pid: int, parent: int, session: int, ticks: int, alive: bool) -> None:
        self.pid = pid
        self.parent = parent
        self.session = session
        self.ticks = ticks
        self.alive = alive


def look(pid: int) -> Process | None:
    """The process `pid`, a zombie too; None when there is none."""
    content = _read(f"/proc/{pid}/stat")
    if not content:
        return None
    # The name in brackets may itself hold brackets and spaces: what counts follows the last one.
    fields = content[content.rindex(b")") + 2 :].split()
    alive = fields[0] not in {b"Z", b"X"} or int(fields[17]) > 1
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[19]), alive)


def processes() -> list[Process]:
    """Every process that can be seen, zombies too."""
    found = (look(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [process for process in found if process is not None]


def descendants(root: int, everyone: list[Process] | None = None) -> list[Process]:
    """The living processes below `root`, parents before their children."""
    below: dict[int, list[Process]] = {}
    for process in processes() if everyone is None else everyone:
        below.setdefault(process.parent, []).append(process)
    order = list(below.get(root, ()))
    for process in order:  # grows while it is walked
        order += below.get(process.pid, ())
    return [process for process in order if process.alive]


def carried(pid: int) -> list[bytes]:
    """The environment that `pid` was started with, as NAME=value; none if it may not be read."""
    return _read(f"/proc/{pid}/environ").split(b"\0")


def send(process: Process, number: int) -> None:
    """Sends a signal to exactly this process. Gone or not ours to signal: nothing."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        found = look(process.pid)
        if found is not None and found.ticks == process.ticks:
            signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, PermissionError):
        pass  # Whoever asked looks again, and sees who is left.
    finally:
        os.close(handle)


def boot_id() -> str:
    """Names this boot of the machine: pids and ticks of another one mean nothing."""
    return _read("/proc/sys/kernel/random/boot_id").decode().strip()


def prctl(option: int, value: int) -> None:
    """Sets an attribute of this process. Raises OSError."""
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_libc = ctypes.CDLL(None, use_errno=True)


def _read(path: str) -> bytes:
    """The whole of a small file of /proc; empty when its process is gone or not ours to read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        content = b""
        while chunk := os.read(descriptor, 65536):
            content += chunk
    except OSError:
        return b""
    else:
        return content
    finally:
        os.close(descriptor)
