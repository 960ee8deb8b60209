"""Which seeds a campaign runs, and with which strategy: ranges, a commit's own, a portfolio."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from runtime.sim.case import Config
from runtime.sim.choices import mix

PORTFOLIO: Final = "portfolio"
"""The strategy that is another one for each seed."""

# Percent of the seeds: each finds what the others miss (random walks miss starvation and rare
# orders, priorities miss shallow races), so no one of them gets them all.
_SHARES: Final = (("timed", 35), ("pos", 25), ("pct", 15), ("random", 15), ("urw", 10))
_DEPTHS: Final = (2, 3, 5)
_COMMIT_SEEDS: Final = 100
_COMMIT_VARIABLES: Final = ("BANKSMAN_SIM_COMMIT", "GITHUB_SHA", "CI_COMMIT_SHA")

_PART: Final = re.compile(r"(?P<first>\d+)\.\.(?P<last>\d+)|=(?P<one>\d+)|(?P<count>\d+)")
_COMMIT: Final = re.compile(r"commit(?::(?P<count>\d+))?")


class BadSeeds(ValueError):
    """What was given for seeds is none of what it can be; its text has the cure."""


class Seeds(msgspec.Struct, frozen=True):
    """The seeds of a campaign, in order."""

    ranges: tuple[range, ...]

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self.ranges)

    def __len__(self) -> int:
        return sum(len(each) for each in self.ranges)

    def blocks(self, size: int) -> Iterator[list[int]]:
        """The same, `size` at a time."""
        seeds = iter(self)
        while block := list(islice(seeds, size)):
            yield block


def parse(text: str, folder: Path | None = None) -> Seeds:
    """Seeds as they are typed: "200" (0 to 199), "100..199", "=7", "commit" or "commit:50" (so many
    of this commit's own), and any of these joined by commas.

    Raises BadSeeds.
    """
    return Seeds(tuple(_ranges(part.strip(), folder) for part in text.split(",")))


def _ranges(part: str, folder: Path | None) -> range:
    commit, found = _COMMIT.fullmatch(part), _PART.fullmatch(part)
    if any(
        each is not None and each["count"] and not int(each["count"]) for each in (commit, found)
    ):
        raise BadSeeds(f"{part!r} is no seed at all, and proves nothing: say 1 or more, or =0")
    if commit is not None:
        first = of_commit(folder)
        return range(first, first + int(commit["count"] or _COMMIT_SEEDS))
    if found is None:
        raise BadSeeds(f"{part!r} is no seeds: say 200, 100..199, =7 or commit:50")
    if found["count"]:
        return range(int(found["count"]))
    if found["one"]:
        return range(int(found["one"]), int(found["one"]) + 1)
    first, last = int(found["first"]), int(found["last"])
    if last < first:
        raise BadSeeds(f"{part!r} goes backwards: say {last}..{first}")
    return range(first, last + 1)


def of_commit(folder: Path | None = None) -> int:
    """The first of the seeds that belong to the commit that is checked out: each commit looks at
    new ground, and everybody can look there again.

    Raises BadSeeds where no commit is to be found.
    """
    for name in _COMMIT_VARIABLES:
        if commit := os.environ.get(name, ""):
            return _of_hash(commit)
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        asked = None
    if asked is None or asked.returncode:
        cure = f"say --seeds 200, or set {_COMMIT_VARIABLES[0]}"
        raise BadSeeds(f"no commit to take seeds from: git knows none here; {cure}")
    return _of_hash(asked.stdout.strip())


def _of_hash(commit: str) -> int:
    if not re.fullmatch(r"[0-9a-fA-F]{7,64}", commit):
        raise BadSeeds(f"{commit!r} is no commit's hash: want hexadecimal digits")
    return int(commit[:12], 16)


def config_of(seed: int, base: Config) -> Config:
    """What this seed runs with: as `base` says, or a strategy of the portfolio. Seed 0 of the
    portfolio is the calm run, which shows that the scenario itself is sound."""
    if base.strategy != PORTFOLIO:
        return base
    if seed == 0:
        return msgspec.structs.replace(base, strategy="fifo", faults={})
    name = _share(mix(seed, crc32(b"portfolio")) % 100)
    depth = _DEPTHS[mix(seed, crc32(b"depth")) % len(_DEPTHS)] if name == "pct" else base.depth
    faults = base.faults
    if name != "timed" and mix(seed, crc32(b"faults")) % 2:
        faults = {}  # orders alone: a fault would end many runs before the rare order comes
    return msgspec.structs.replace(base, strategy=name, depth=depth, faults=faults)


def _share(percent: int) -> str:
    for name, share in _SHARES:
        percent -= share
        if percent < 0:
            return name
    raise AssertionError(f"the shares of the portfolio leave out {percent}")
