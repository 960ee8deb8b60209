"""Moments that a person types: "10m", "2h", "2026-11-22", "2026-11-22T17:00"."""

from __future__ import annotations

import re
from datetime import datetime

from runtime.cli.exits import Exit, Stop

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def moment(text: str, now: float, option: str = "--since") -> float:
    """Seconds since the Unix epoch; without a zone the local one is meant.

    Raises Stop(USAGE) where it is no moment.
    """
    ago = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if ago is not None:
        return now - float(ago[1]) * _UNITS[ago[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        cure = "say 90s, 10m, 2h, 1d or 2026-11-22T17:00"
        raise Stop(Exit.USAGE, f"{option} {text!r} is no moment", cure) from None
