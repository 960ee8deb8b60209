"""How many gates to run ahead of their turn: from cores, and from what patches came to before.

The k-th place of a window is of use only if the k - 1 patches ahead of it pass, so with pass rate p
its value is p^(k-1), and a window W lands (1 - p^W) / (1 - p) patches in the time of one gate.
"""

from __future__ import annotations

import math

# Before anything was seen: as if four patches had passed and one failed. That speculates on one
# neighbour, and a handful of results outweighs it.
PRIOR_PASSED = 4
PRIOR_FAILED = 1

# Of a normal distribution, a quarter lies below mean - 0.6745 deviations.
_QUARTILE = 0.6745

# A gate that is as likely wasted as not is still worth a core that would be idle.
WORTH = 0.5


def odds(passed: int, failed: int) -> float:
    """A cautious pass rate: about the lower quartile of what the results leave possible."""
    a, b = PRIOR_PASSED + passed, PRIOR_FAILED + failed
    mean = a / (a + b)
    deviation = math.sqrt(mean * (1.0 - mean) / (a + b + 1))
    return max(0.0, mean - _QUARTILE * deviation)


def places(cores: int, cores_per_gate: float = 1.0) -> int:
    """The gates that the machine can run at a time: at least one."""
    return max(1, math.floor(cores / cores_per_gate))


def window(places_max: int, rate: float, worth: float = WORTH) -> int:
    """The places of use where every patch passes with probability `rate`: 1 + ⌊ln worth / ln rate⌋,
    between one and `places_max`."""
    if rate >= 1.0 or worth <= 0.0:
        return places_max
    if rate <= 0.0 or worth >= 1.0:
        return 1
    # 0.5 ** 1 is worth 0.5, whatever the quotient of two logarithms is rounded to.
    of_use = 1 + math.floor(math.log(worth) / math.log(rate) + 1e-9)
    return max(1, min(places_max, of_use))


def speed_up(rate: float, places_of_window: int) -> float:
    """Patches settled in the time of one gate, where all gates take the same time."""
    if rate >= 1.0:
        return float(places_of_window)
    return (1.0 - rate**places_of_window) / (1.0 - rate)
