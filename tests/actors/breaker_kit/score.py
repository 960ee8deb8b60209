"""The score card: every case of the kit against implementations of the port, counted three ways.

A case is passed, failed, or not applicable: it asks for something that the implementation does not
have at all, so that nothing can be right or wrong about it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from tests.actors.breaker_kit import closed, durable, opened, operated, probing
from tests.actors.breaker_kit.ours import Ours
from tests.actors.breaker_kit.port import CASES, Absent, Make

CHAPTERS = (closed, opened, probing, operated, durable)
PEERS = {"pybreaker": "Pybreaker", "aiobreaker": "Aiobreaker", "purgatory": "Purgatory"}


class Score(NamedTuple):
    """What one implementation makes of the cases, by their numbers."""

    name: str
    passed: tuple[int, ...]
    failed: tuple[int, ...]
    absent: dict[int, str]  # what it does not have


def grade(name: str, make: Make) -> Score:
    """Runs every case."""
    passed, failed, absent = [], [], {}
    for number, case in sorted(CASES.items()):
        try:
            case(make)
        except Absent as missing:
            absent[number] = str(missing)
        except Exception:  # noqa: BLE001 (whatever a peer raises, it did not keep the case)
            failed.append(number)
        else:
            passed.append(number)
    return Score(name, tuple(passed), tuple(failed), absent)


def installed() -> dict[str, Make]:
    """The peers that are installed, by name and version."""
    found: dict[str, Make] = {}
    for name, adapter in PEERS.items():
        try:
            number = version(name)
        except PackageNotFoundError:
            continue
        module = importlib.import_module(f"tests.actors.breaker_kit.peers.of_{name}")
        found[f"{name} {number}"] = getattr(module, adapter)
    return found


def card(scores: list[Score]) -> Iterator[str]:
    """The table, as it stands in docs/breakers.md."""
    yield "| implementation | passed | failed | not applicable | the cases it fails |"
    yield "|---|--:|--:|--:|---|"
    for s in scores:
        numbers = ", ".join(str(n) for n in s.failed) or "none"
        yield f"| {s.name} | {len(s.passed)} | {len(s.failed)} | {len(s.absent)} | {numbers} |"


def sentence(number: int) -> str:
    """What the case says."""
    return CASES[number].__name__.replace("_", " ")


def all_scores() -> list[Score]:
    return [grade("banksman", Ours), *(grade(name, make) for name, make in installed().items())]
