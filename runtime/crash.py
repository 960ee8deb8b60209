"""Named crash points: the process kills itself, as `kill -9` would, at the Nth pass of a boundary.

`BANKSMAN_CRASH_AT=after_commit:17` in the environment. For tests of crash safety, ours and users'.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Final

POINTS: Final = (
    "before_commit",  # the epoch is sealed, nothing of it is written
    "in_commit",  # every row is written, COMMIT is not yet said
    "after_commit_before_jsonl",  # durable, transitions.jsonl does not have it yet
    "after_commit",  # durable, nothing has left the kernel yet
    "after_effects",  # replies, processes and events of the epoch have left
)


def crash_points(environ: dict[str, str] | os._Environ[str]) -> Callable[[str], None]:
    """The hook that the kernel calls at each boundary. Raises ValueError on a malformed value."""
    wanted = environ.get("BANKSMAN_CRASH_AT")
    if not wanted:
        return lambda _point: None
    name, _, count = wanted.partition(":")
    if name not in POINTS or not count.isdigit():
        raise ValueError(
            f"BANKSMAN_CRASH_AT={wanted}: want POINT:N, POINT one of {', '.join(POINTS)}"
        )
    left = int(count)

    def pass_by(point: str) -> None:
        nonlocal left
        if point == name:
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return pass_by
