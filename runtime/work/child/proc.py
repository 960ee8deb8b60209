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
_STATE, _PARENT, _SESSION, _FLAGS, _THREADS, _TICKS, _ENV_END = 0, 1, 3, 6, 17, 19, 48
_KERNEL_THREAD = 0x00200000


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
    fields = _stat(pid)
    if fields is None:
        return None
    alive = fields[_STATE] not in {b"Z", b"X"} or int(fields[_THREADS]) > 1
    parent, session, ticks = int(fields[_PARENT]), int(fields[_SESSION]), int(fields[_TICKS])
    return Process(pid, parent, session, ticks, alive)


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


def carried(pid: int) -> frozenset[bytes] | None:
    """The environment that `pid` was started with, as NAME=value; empty if it may not be read.

    None where it cannot be said yet: in the midst of an exec a process has no environment.
    """
    content = _read(f"/proc/{pid}/environ")
    if content:
        return frozenset(content.split(b"\0"))
    fields = None if content is None else _stat(pid)
    if fields is None or int(fields[_FLAGS]) & _KERNEL_THREAD or fields[_ENV_END] != b"0":
        return frozenset()
    return None


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
    return (_read("/proc/sys/kernel/random/boot_id") or b"").decode().strip()


def prctl(option: int, value: int) -> None:
    """Sets an attribute of this process. Raises OSError."""
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_libc = ctypes.CDLL(None, use_errno=True)


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/<pid>/stat from the third on."""
    content = _read(f"/proc/{pid}/stat")
    # The name in brackets may itself hold brackets and spaces: what counts follows the last one.
    return content[content.rindex(b")") + 2 :].split() if content else None


def _read(path: str) -> bytes | None:
    """The whole of a small file of /proc; None when its process is gone, or not ours to read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        content = b""
        while chunk := os.read(descriptor, 65536):
            content += chunk
    except OSError:
        return None
    else:
        return content
    finally:
        os.close(descriptor)
