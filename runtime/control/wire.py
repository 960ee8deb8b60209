"""The lines on control.sock, their bounds, and how to reach a socket whose path is too long.

One request is one line {"id", "command", "args"}. Its answer is one line, {"id", "ok": value} or
{"id", "error": {"code", "text", "cure"}}; a stream sends {"id", "event": ...} lines before it.
Stdlib only: every one-shot command imports this.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOCKET_NAME = "control.sock"

# sockaddr_un holds 108 bytes with the closing zero on Linux, 104 elsewhere.
_PATH_BYTES_MAX = 107 if sys.platform == "linux" else 103


@contextmanager
def short_path(directory: Path, name: str) -> Iterator[str]:
    """A path to `directory/name` that fits into a socket address, valid inside the block.

    Raises OSError where the directory cannot be opened, or the platform has no such path.
    """
    plain = str(directory / name)
    if len(os.fsencode(plain)) <= _PATH_BYTES_MAX:
        yield plain
        return
    if sys.platform != "linux":
        raise OSError(f"{plain} is too long for a socket here; choose a shorter --state-dir")
    handle = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{name}"
    finally:
        os.close(handle)
