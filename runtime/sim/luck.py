"""The luck of one run: how long things take, and what goes wrong, each by the name of its place."""

from __future__ import annotations

from collections import Counter
from math import log
from statistics import NormalDist
from typing import TYPE_CHECKING, Final
from zlib import crc32

from runtime.sim.choices import Choices, mix

if TYPE_CHECKING:
    from runtime.sim.case import Config

_MASK: Final = (1 << 64) - 1
_STEP: Final = 1.35
_LEAST_S: Final = 1e-5
WAITS: Final = (0.0, *(round(_LEAST_S * _STEP**n, 6) for n in range(1, 64)))
"""What a latency's value stands for, in seconds: from none over 1 ms (15) to half an hour (63)."""

# Offsets of a log-normal wait from its centre, by ten bits of chance: a standard deviation is three
# steps, a factor of two and a half.
_NORMAL: Final = tuple(round(3.0 * NormalDist().inv_cdf((n + 0.5) / 1024)) for n in range(1024))
_STALL: Final = 26  # a stall takes about 2,500 times as long as usual
_BUDGET_MAX: Final = 8


class Luck:
    """Latencies and faults of one run. `wide`: latencies of every size are alike likely, so that
    rare orders of events from outside become frequent."""

    def __init__(self, choices: Choices, config: Config, seed: int) -> None:
        self._choices = choices
        self._still = config.strategy == "fifo" and not choices.overrides
        self._wide = config.strategy not in {"timed", "fifo"}
        self._calm = config.strategy == "fifo"
        self._centres: dict[float, int] = {}
        self._sites: dict[tuple[str, str], list[int]] = {}
        self._faults: dict[tuple[str, str], list[int]] = {}
        self._texts: dict[tuple[str, str], str] = {}
        self._asked = bool(choices.overrides) or choices.log is not None
        self._seed = mix(seed, len("luck"))
        self.rates: dict[str, float] = {}
        self._below: dict[str, float] = {}
        self.left: dict[str, int] = {}  # how many more of a kind this run may have
        self.happened: Counter[str] = Counter()
        self.last = ""  # the key of the last choice that was not calm

    def set_rates(self, rates: dict[str, float]) -> None:
        """What can go wrong, and how often where it can. At most a few of each kind in a run."""
        self.rates = rates
        self._below = {kind: rate * (1 << 32) for kind, rate in rates.items()}
        uniform = self._choices.uniform
        self.left = {
            kind: 1 + int(uniform(f"budget/{kind}") ** 2 * _BUDGET_MAX) if rate < 1.0 else 1 << 30
            for kind, rate in rates.items()
        }

    def latency(self, site: str, actor: str, usual_s: float) -> float:
        """How much longer than at the least something takes, in seconds."""
        if self._still:
            return 0.0
        place = self._sites.get((site, actor)) or self._place("latency", site, actor)
        place[1] = n = place[1] + 1
        value = 0
        if not self._calm:
            drawn = _draw(self._seed, crc32(b"%d" % n, place[0]))
            centre = self._centres.get(usual_s) or self._centre(usual_s)
            if self._wide:
                value = drawn % (centre + 14)
            else:
                value = centre + _NORMAL[drawn & 1023]
                if drawn >> 32 & 511 == 0:
                    value += _STALL
            value = 0 if value < 0 else min(value, 63)
        if self._asked:
            value = self._choices.settle(place[0], self._texts[site, actor], n, value)
        return WAITS[value] if value < 64 else WAITS[63]

    def fault(self, kind: str, actor: str) -> bool:
        """Whether this goes wrong here, now."""
        below = self._below.get(kind)
        if below is None or not (self.left[kind] > 0 or self._asked):
            return False
        place = self._faults.get((kind, actor)) or self._place("fault", kind, actor)
        place[1] = n = place[1] + 1
        value = 0
        if self.left[kind] > 0:
            value = int(_draw(self._seed, crc32(b"%d" % n, place[0])) & 0xFFFFFFFF < below)
        if not value and not self._asked:
            return False
        text = f"fault.{kind}/{actor}"
        if not self._choices.settle(place[0], text, n, value):
            return False
        self.left[kind] -= 1
        self.happened[kind] += 1
        self.last = f"{text}/{n}"
        return True

    def _place(self, sort: str, site: str, actor: str) -> list[int]:
        text = f"{sort}.{site}/{actor}"
        place = [crc32(f"{text}/".encode()), 0]
        if sort == "fault":
            self._faults[site, actor] = place
        else:
            self._sites[site, actor] = place
            self._texts[site, actor] = text
        return place

    def _centre(self, usual_s: float) -> int:
        centre = max(1, round(log(max(usual_s, _LEAST_S * 2) / _LEAST_S) / log(_STEP)))
        self._centres[usual_s] = centre
        return centre


def _draw(seed: int, key: int) -> int:
    """64 bits, as `mix` gives them, in half the time: both are well mixed already."""
    x = (seed ^ key * 0xD1B54A32D192ED03) & _MASK
    x = ((x ^ (x >> 29)) * 0xD6E8FEB86659FD93) & _MASK
    return x ^ (x >> 32)
