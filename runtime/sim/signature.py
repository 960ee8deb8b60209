"""What two failures of one bug share: the promise and its text, without numbers and ids."""

from __future__ import annotations

import re

_NAMES = re.compile(r"[A-Za-z_.-]*[0-9/:@~][\w./:@~-]*")


def signature(promise: str, text: str) -> str:
    """The same for the same bug, whatever the seed called those concerned."""
    return f"{promise}: {_NAMES.sub('#', text)}"
