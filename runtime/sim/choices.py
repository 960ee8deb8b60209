"""Chance by name: every choice of a run has a key, and its value is a mix of the seed and that key.

There is no shared stream that could shift: a choice that is overridden, or is no longer made, moves
no other. Keys are text, but are only written out where somebody reads them: a choice works on the
CRC of its key, which grows part by part.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

_MASK: Final = (1 << 64) - 1
_FULL: Final = float(1 << 64)


def mix(seed: int, key: int) -> int:
    """64 bits that depend on every bit of both; the same everywhere, for ever."""
    x = (seed * 0x9E3779B97F4A7C15 + key * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) & _MASK
    x = ((x ^ (x >> 32)) * 0xD6E8FEB86659FD93) & _MASK
    x = ((x ^ (x >> 32)) * 0xD6E8FEB86659FD93) & _MASK
    return x ^ (x >> 32)


REST: Final = "*"
"""An override for every choice that no other override names: {"*": 0} and the choices of a recorded
run make the same run again, with nothing left to chance."""


class Choices:
    """The choices of one run. `log` is None where nobody will ask which were not calm."""

    __slots__ = ("_at", "_rest", "_seed", "log", "overrides", "unused")

    def __init__(self, seed: int, overrides: dict[str, int], *, record: bool = False) -> None:
        self._seed = mix(seed, len("seed"))
        self.overrides = overrides
        self.unused = set(overrides) - {REST}  # whose key did not come up: the case is stale
        self._rest = overrides.get(REST)
        self.log: dict[str, int] | None = {} if record else None
        self._at = {crc32(key.encode()) for key in overrides}

    def draw(self, prefix: int, text: str, n: int) -> int:
        """64 bits for the occurrence `n` of the choice whose key begins with `text`; `prefix` is
        the CRC of `text` and a slash. For `settle`."""
        return mix(self._seed, crc32(b"%d" % n, prefix))

    def settle(self, prefix: int, text: str, n: int, value: int) -> int:
        """The value that counts: the drawn one, or what overrides it. Logged unless calm."""
        if self._at:
            if self._rest is not None:
                value = self._rest
            if crc32(b"%d" % n, prefix) in self._at:
                key = f"{text}/{n}"
                if key in self.overrides:
                    self.unused.discard(key)
                    value = self.overrides[key]
        if value and self.log is not None:
            self.log[f"{text}/{n}"] = value
        return value

    def below(self, key: str, n: int) -> int:
        """A choice among 0..n-1, all alike likely."""
        return self.among(key, n, 0.0)

    def among(self, key: str, n: int, calm: float) -> int:
        """A choice among 0..n-1: 0 with probability `calm`, the rest alike likely; with `calm` 0
        all of them."""
        drawn = mix(self._seed, crc32(key.encode()))
        if calm:
            share = drawn / _FULL
            value = 0 if share < calm else 1 + int((share - calm) / (1.0 - calm) * (n - 1))
        else:
            value = drawn % n
        value = min(value, n - 1)
        if self._rest is not None:
            value = self._rest
        if key in self.overrides:
            self.unused.discard(key)
            value = self.overrides[key]
        if value and self.log is not None:
            self.log[key] = value
        return value

    def chance(self, key: str, rate: float) -> bool:
        """Whether something happens that happens at this rate; not happening is the calm choice."""
        if rate <= 0.0 and key not in self.overrides:
            return False
        return self.among(key, 2, 1.0 - rate if rate > 0.0 else 1.0) != 0

    def uniform(self, key: str) -> float:
        """A number in [0, 1) that is no choice: it cannot be overridden, and is not logged. What
        shapes the whole run, such as the rates of its faults."""
        return mix(self._seed, crc32(key.encode())) / _FULL
