"""The luck of one run: how long things take, and what goes wrong, each by the name of its place."""

from __future__ import annotations

from collections import Counter
from math import log
from typing import TYPE_CHECKING, Final
from zlib import crc32

from runtime.sim.choices import Choices, mix

if TYPE_CHECKING:
    from runtime.sim.case import Config

_STEP: Final = 1.35
_LEAST_S: Final = 1e-5
WAITS: Final = (0.0, *(round(_LEAST_S * _STEP**n, 6) for n in range(1, 64)))
"""What a latency's value stands for, in seconds: from none over 1 ms (15) to half an hour (63)."""

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
        self._texts: dict[tuple[str, str], str] = {}
        self._seed = mix(seed, len("luck"))
        self.rates: dict[str, float] = {}
        self.left: dict[str, int] = {}  # how many more of a kind this run may have
        self.happened: Counter[str] = Counter()
        self.last = ""  # the key of the last choice that was not calm

    def set_rates(self, rates: dict[str, float]) -> None:
        """What can go wrong, and how often where it can. At most a few of each kind in a run."""
        self.rates = rates
        uniform = self._choices.uniform
        self.left = {
            kind: 1 + int(uniform(f"budget/{kind}") ** 2 * _BUDGET_MAX) if rate < 1.0 else 1 << 30
            for kind, rate in rates.items()
        }

    def latency(self, site: str, actor: str, usual_s: float) -> float:
        """How much longer than at the least something takes, in seconds."""
        if self._still:
            return 0.0
        place = self._place("latency", site, actor)
        n = place[1]
        if self._calm:
            value = 0
        else:
            drawn = mix(self._seed, crc32(b"%d" % n, place[0]))
            centre = self._centres.get(usual_s) or self._centre(usual_s)
            value = drawn % (centre + 14) if self._wide else _normal(drawn, centre)
            value = min(max(value, 0), 63)
        value = self._choices.settle(place[0], self._texts[site, actor], n, value)
        return WAITS[min(value, 63)]

    def fault(self, kind: str, actor: str) -> bool:
        """Whether this goes wrong here, now."""
        rate = self.rates.get(kind)
        if rate is None:
            return False
        place = self._place("fault", kind, actor)
        n = place[1]
        value = 0
        if self.left[kind] > 0:
            drawn = mix(self._seed, crc32(b"%d" % n, place[0]))
            value = int(drawn < rate * (1 << 64))
        text = self._texts[kind, actor]
        if not self._choices.settle(place[0], text, n, value):
            return False
        self.left[kind] -= 1
        self.happened[kind] += 1
        self.last = f"{text}/{n}"
        return True

    def _place(self, sort: str, site: str, actor: str) -> list[int]:
        place = self._sites.get((site, actor))
        if place is None:
            text = self._texts[site, actor] = f"{sort}.{site}/{actor}"
            place = self._sites[site, actor] = [crc32(f"{text}/".encode()), 0]
        place[1] += 1
        return place

    def _centre(self, usual_s: float) -> int:
        centre = max(1, round(log(max(usual_s, _LEAST_S * 2) / _LEAST_S) / log(_STEP)))
        self._centres[usual_s] = centre
        return centre


def _normal(drawn: int, centre: int) -> int:
    """Near the centre; rarely far above it: a log-normal wait with stalls."""
    spread = (drawn & 255) + (drawn >> 8 & 255) + (drawn >> 16 & 255) + (drawn >> 24 & 255) - 510
    value = centre + spread // 40
    return value + _STALL if drawn >> 32 & 511 == 0 else value
