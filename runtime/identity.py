"""Names that are drawn, not decided: the short unique part of a run's id."""

from __future__ import annotations

import os
from typing import Final

# No vowels, so that no word is spelt by chance; no 0, 1 or l, so that it can be read aloud.
_ALPHABET: Final = "23456789bcdfghjkmnpqrstvwxz"


def new_run_id(name: str, now: float) -> str:
    """`<name>-<7 characters>`: ordered by the hour, and 27**4 to choose from within one."""
    hour = int(now // 3600)
    draw = int.from_bytes(os.urandom(8))
    return f"{name}-{_digits(hour, 3)}{_digits(draw, 4)}"


def _digits(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
