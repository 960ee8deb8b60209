"""One owner per state directory: a lock that the operating system frees when its holder dies.

The file is never unlinked: a second file of the same name would be a second lock. Its content says
who holds it, and means nothing once the lock is free.
"""

from __future__ import annotations

import json
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runtime.store.errors import OwnerBusy, StateDirUnusable
from runtime.store.layout import Layout, unusable

try:
    import fcntl
except ImportError:  # not a POSIX system: `acquire` says so
    fcntl = None  # type: ignore[assignment] # its absence is the value

# A reader that asks whether an owner lives holds the lock for some microseconds; an owner that
# comes just then tries again for so long.
_PATIENCE_S = 0.2


class OwnerLock:
    """Held from `acquire` to `release`, or to the end of the process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        """Frees the directory. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def acquire(layout: Layout, command: str) -> OwnerLock:
    """Takes the directory. Raises OwnerBusy with the holder, StateDirUnusable."""
    if fcntl is None:
        raise StateDirUnusable(
            layout.dir, "this system has no flock", "run the owner on Linux or macOS"
        )
    try:
        # Close-on-exec (Python's default), or a child that outlives us would hold the lock.
        fd = os.open(layout.lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise unusable(layout.lock, error) from error
    try:
        _lock(fd, layout.lock)
        os.ftruncate(fd, 0)
        os.pwrite(fd, _description(command), 0)
    except BaseException:
        os.close(fd)
        raise
    return OwnerLock(fd)


def is_owned(layout: Layout) -> bool:
    """Whether an owner lives now. For readers: it may come or go the next moment."""
    if fcntl is None:
        return False
    try:
        fd = os.open(layout.lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def holder(path: Path) -> dict[str, Any]:
    """What the holder wrote about itself; empty where it has not yet."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _lock(fd: int, path: Path) -> None:
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise OwnerBusy(path.parent, holder(path)) from None
            time.sleep(0.01)
            continue
        except OSError as error:
            raise unusable(path, error) from error
        return


def _description(command: str) -> bytes:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    named = {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "command": command}
    return json.dumps(named).encode() + b"\n"
