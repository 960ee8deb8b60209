"""Quantities in words, for explanations and for columns."""

from __future__ import annotations

import time


def length(seconds: float | None) -> str:
    """A duration in at most two units: 0.42s, 17s, 3m04s, 2h05m, 4d01h."""
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.2f}s" if seconds < 1 else f"{seconds:.1f}s"
    return whole_length(round(seconds))


def whole_length(whole: int) -> str:
    """The same of whole seconds: 7s."""
    if whole < 60:
        return f"{whole}s"
    if whole < 3_600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3_600}h{whole % 3_600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3_600:02d}h"


def instant(at: float | None) -> str:
    """Local time; with its date unless that is today's."""
    if at is None:
        return ""
    local = time.localtime(at)
    today = time.localtime()
    same_day = (local.tm_year, local.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S", local)
