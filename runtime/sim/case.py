"""What a simulated run is made of, and what comes out of it: plain values, no engine.

A run is a pure function of its `Case`. Every choice in it has a key made from stable names (site,
actor, message identity, occurrence, joined by "/") and a value from 0 on, where 0 is the calm one:
no fault, first come first served, least latency. An override replaces the value of its key.
"""

from __future__ import annotations

from collections import Counter

import msgspec

FORMAT = 1
"""Of a saved case: counted on when the meaning of its keys or values changes."""


class Config(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run is made of beside its seed."""

    strategy: str = "timed"  # fifo timed random pct pos urw delay, or "portfolio": by the seed
    depth: int = 3  # of pct; deviations of delay
    faults: dict[str, float] = {}  # kind -> rate (0..1]; absent: off; {"swarm": 1}: by the seed
    sizes: dict[str, int] = {}  # what the scenario scales by (tasks, workers, ...)
    horizon_s: float = 86400.0  # of virtual time, for the phase in which faults happen
    events_max: int = 200_000


class Case(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that a run is a pure function of."""

    scenario: str  # "path.py::name" or "module:name"
    seed: int
    config: Config = Config()
    overrides: dict[str, int] = {}  # choice key -> value


class Happening(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event of a trace. `causes` are the `n` of the happenings that led to it."""

    n: int
    at: float  # seconds since the beginning of the run
    actor: str
    what: str  # a message's type, or "commit", "crash", "restart", "launch", ...
    key: str
    detail: str = ""
    edges: tuple[tuple[str, str, str], ...] = ()  # from, to, trigger
    effects: tuple[str, ...] = ()
    causes: tuple[int, ...] = ()
    fault: bool = False


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first broken promise of a run. `signature` is the same for the same bug: its text without
    numbers and ids."""

    invariant: str
    text: str
    signature: str
    at: float  # seconds since the beginning of the run
    n: int  # of the happening after which it was seen
    detail: tuple[str, ...] = ()


class Coverage(msgspec.Struct):
    """What a run, or a campaign, has been through."""

    pairs: set[tuple[str, str, str]] = msgspec.field(default_factory=set)  # kind, state, message
    edges: set[tuple[str, str, str, str]] = msgspec.field(default_factory=set)  # kind, from, to, by
    states: set[int] = msgspec.field(default_factory=set)  # hashes of abstract states
    faults: Counter[str] = msgspec.field(default_factory=Counter)
    sometimes: dict[str, int] = msgspec.field(default_factory=dict)
    always: dict[str, int] = msgspec.field(default_factory=dict)  # label -> times it was evaluated


class Result(msgspec.Struct):
    """What one run came to. `choices` holds every choice that was not the calm one: what shrinking
    works on. It and `happenings` are there where the run was recorded; of a run that failed,
    `choices` always."""

    case: Case
    failure: Failure | None
    trace_hash: str
    events: int
    simulated_s: float
    choices: dict[str, int] = {}
    coverage: Coverage = msgspec.field(default_factory=Coverage)
    happenings: tuple[Happening, ...] = ()
    steps: int = 0
    """Turns, and things that came due: what speed is counted in. `events` are the numbers in the
    trace, where what a thing that came due led to (a commit, a fault) has one of its own."""
