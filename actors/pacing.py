"""How long to wait before something is tried again. Chance is drawn from names, so it repeats."""

from __future__ import annotations

import zlib

from actors.spec import Restart

# Past this the growth has long met its cap; it keeps the power a number.
DOUBLINGS_MAX = 30
JITTER = 0.2

# A tool that asks for a longer pause than a week is not waited for on a machine's word.
TOLD_WAIT_S_MAX = 7 * 86_400.0


def backoff(first_s: float, times: int, longest_s: float) -> float:
    """`first_s`, doubled `times` times, up to `longest_s`."""
    return float(min(longest_s, first_s * 2 ** min(times, DOUBLINGS_MAX)))


def jittered(wait_s: float, name: str, attempt: int) -> float:
    """`wait_s` give or take a fifth: what failed together does not come back together."""
    share = zlib.crc32(f"{name}#{attempt}".encode()) / 0xFFFFFFFF
    return wait_s * (1 - JITTER + 2 * JITTER * share)


def told_wait(told_s: float) -> float:
    """The pause a tool asked for, held to a second at least. NaN is a second."""
    # This order of the arguments turns NaN into the lower bound.
    return min(max(1.0, told_s), TOLD_WAIT_S_MAX)


def restart(
    policy: Restart, before: tuple[float, ...], now: float
) -> tuple[float, tuple[float, ...]]:
    """The wait before a process is started again, and the restarts to remember, given those
    `before`. Within the intensity of its window the wait doubles; past it, it is the longest."""
    recent = tuple(at for at in before if at > now - policy.window_s)
    kept = (*recent, now)[-policy.intensity :] if policy.intensity else ()
    if len(recent) >= policy.intensity:
        return policy.backoff_s_max, kept
    return backoff(policy.backoff_s, len(recent), policy.backoff_s_max), kept
