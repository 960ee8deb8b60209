"""What can go wrong: kinds, how often, and which go wrong together.

A run draws a swarm of them: each kind is there with probability 1/2, at a rate of its own, and a
few times at most. So one run is all about crashes, another about a sick disk, and a third about
both; a run in which everything goes wrong at once finds less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

from runtime.sim.choices import mix

if TYPE_CHECKING:
    from runtime.sim.case import Config

KINDS: Final[dict[str, str]] = {
    "crash": "the owner dies at any moment",
    "crash_before_commit": "the owner dies with an epoch sealed and not written",
    "crash_in_commit": "the owner dies while an epoch is written: it is there, or it is not",
    "crash_after_commit": "the owner dies with an epoch durable and nothing of it carried out",
    "crash_between_effects": "the owner dies between two effects of an epoch",
    "crash_after_effects": "the owner dies with all effects of an epoch carried out",
    "crash_in_recovery": "the owner dies while it recovers",
    "orphan": "a worker does not notice that its owner has died",
    "spawn_failed": "a worker's process cannot be started",
    "spawn_lost": "a worker's process never comes up",
    "worker_crash": "a worker's process dies with the work it runs",
    "worker_hang": "work never ends",
    "worker_silent": "a worker says nothing any more, and its work never ends",
    "worker_pause": "a worker stands still for three heartbeats",
    "ignores_term": "work does not end when it is told to, only when it is killed",
    "undead": "something survives KILL",
    "result_twice": "the end of work is told twice",
    "result_late": "work ends by itself just as it is told to end",
    "heartbeat_lost": "a heartbeat does not arrive",
    "heartbeat_late": "a heartbeat arrives two and a half beats late",
    "tool_failed": "a command ends with exit code 1",
    "gate_flaps": "a gate's command fails though nothing is wrong",
    "gate_lost": "a gate's command hangs until its timeout",
    "gate_infra": "a gate's command cannot be started",
    "disk_slow": "a commit takes seconds",
    "disk_full": "there is no room for a commit, for a while",
    "commit_unknown": "whether a commit was written is not known, and it was",
    "commit_lost": "whether a commit was written is not known, and it was not",
    "constraint": "the store refuses an epoch",
    "clock_jump": "the wall clock jumps ahead by up to an hour",
    "timers_late": "the owner stands still for seconds, and its timers are late",
    "effect_lost": "a user's effect is done, and its outcome is lost with the owner",
    "effect_failed": "a user's effect fails",
    "command": "an operator does something, at any moment",
    "git_torn": "the owner dies between two steps of its work on git",
    "git_failed": "work on git fails after all it had to do was done",
    "git_locked": "somebody else holds the lock of a ref",
    "git_foreign": "somebody else commits on top of the target branch",
    "git_rewound": "somebody else moves the target branch back by a commit",
}
"""Every kind, and what it does."""

COMPOUND: Final[dict[str, tuple[str, ...]]] = {
    "crash_loop": ("crash", "crash_in_recovery", "orphan"),
    "full_then_crash": ("disk_full", "crash_before_commit", "crash_in_commit"),
    "jump_in_recovery": ("clock_jump", "crash_in_recovery", "heartbeat_lost"),
    "zombies": ("worker_pause", "result_late", "result_twice", "heartbeat_late"),
}
"""Faults that find more together than each alone."""

SWARM: Final = "swarm"
default: Final[dict[str, float]] = {SWARM: 1.0}
"""For `Config.faults`: a swarm drawn from the seed."""

crashes: Final[dict[str, float]] = {
    **{kind: 0.02 for kind in KINDS if kind.startswith("crash_")},
    "crash": 0.005,
    "orphan": 0.5,
}
none: Final[dict[str, float]] = {}

_RATE_MIN: Final = 0.002
_RATE_SPAN: Final = 7  # doublings: 0.002 to 0.25


def rates_of(config: Config, seed: int) -> dict[str, float]:
    """What can go wrong in this run, and at which rate. Raises ValueError for an unknown kind."""
    rates: dict[str, float] = {}
    for kind, rate in config.faults.items():
        if kind == SWARM:
            rates.update(_swarm(seed))
        elif kind in COMPOUND:
            rates.update(dict.fromkeys(COMPOUND[kind], rate))
        elif kind in KINDS:
            rates[kind] = rate
        else:
            known = ", ".join((SWARM, *COMPOUND, *KINDS))
            raise ValueError(f"fault {kind!r}: want one of {known}")
    return rates


def _swarm(seed: int) -> dict[str, float]:
    rates: dict[str, float] = {}
    for kind in KINDS:
        drawn = mix(seed, crc32(f"swarm/{kind}".encode()))
        if drawn & 1:
            rates[kind] = _RATE_MIN * 2.0 ** ((drawn >> 8 & 1023) / 1024 * _RATE_SPAN)
    for name, kinds in COMPOUND.items():
        if mix(seed, crc32(f"compound/{name}".encode())) % 8 == 0:
            rates.update(dict.fromkeys(kinds, 0.1))
    return rates
