"""What a breaker counts, when that is too much, and how long it then stays open.

Deliberately absent: states. Here is arithmetic over one spec; `actors.breaker` decides by it.
"""

from __future__ import annotations

import math
import zlib

import msgspec
from msgspec.structs import replace

from actors.guard_messages import CallOutcome, Settle, Weight
from actors.spec import Breaker as BreakerSpec
from actors.window import EMPTY, WINDOW_CALLS_MAX, Window, booked, tally

# Probes in a row that were cancelled, or never reached the tool, before it is left alone again:
# two may be bad luck, the third says that probing now leads nowhere.
INCONCLUSIVE_MAX = 3

# 10 ** 64 openings in a row are past every cap, and still a finite float.
GROWTH_MAX = 10.0
_RUNGS_MAX = 64

# What says that the tool is there and works, whatever the caller thinks of its answer.
ANSWERS = frozenset({CallOutcome.OK, CallOutcome.CALLER_FAULT})

# After closing, calls at a time are doubled up to here; who bore so many bears any number.
RAMP_MAX = 64

# Of a tool's error line; the whole of it is in the log of the call.
ERROR_CHARS_MAX = 200


class Counts(msgspec.Struct, frozen=True):
    """What stands against the tool while its breaker is CLOSED."""

    failures: int = 0  # in a row
    window: Window = EMPTY


NOTHING_COUNTED = Counts()


def classified(spec: BreakerSpec, settle: Settle) -> CallOutcome:
    """The outcome as reported, but that a success which took too long is SLOW."""
    if settle.outcome is CallOutcome.OK and _took_long(spec, settle):
        return CallOutcome.SLOW
    return settle.outcome


def counted(
    counts: Counts, spec: BreakerSpec, settle: Settle, weight: Weight, now: float
) -> tuple[Counts, str | None]:
    """The counts with one more result, and, if that is too much, what there is too much of.

    A result that changes nothing returns the very same counts.
    """
    if spec.window == "consecutive":
        if weight is not Weight.FAILURE:
            return (counts if counts.failures == 0 else NOTHING_COUNTED), None
        failures = counts.failures + 1
        in_a_row = "1 failure" if failures == 1 else f"{failures} failures in a row"
        too_many = in_a_row if failures >= spec.failure_threshold else None
        return replace(counts, failures=failures), too_many
    failed, slow = weight is Weight.FAILURE, weight is Weight.SLOW or _took_long(spec, settle)
    began = settle.ticket.admitted_at
    window = booked(counts.window, spec, began, now, failed=failed, slow=slow)
    if window is counts.window:
        return counts, None
    return replace(counts, window=window), _too_much(window, spec, now)


def _too_much(window: Window, spec: BreakerSpec, now: float) -> str | None:
    calls, failures, slow = tally(window, spec, now)
    if calls < spec.minimum_calls:
        return None
    if failures >= spec.failure_rate * calls:
        return f"{failures} of {calls} calls failed"
    if slow >= spec.slow_rate * calls:
        return f"{slow} of {calls} calls were slow"
    return None


def _took_long(spec: BreakerSpec, settle: Settle) -> bool:
    return spec.slow_call_s is not None and settle.duration_s > spec.slow_call_s


def cooldown_s(spec: BreakerSpec, name: str, epoch: int, streak: int) -> float:
    """Seconds that the breaker `name` stays open in `epoch`, its `streak`-th opening in a row.

    The jitter is drawn from name and epoch: the same in every replay, another in every breaker.
    """
    rungs = min(max(streak - 1, 0), _RUNGS_MAX)
    length = min(spec.cooldown_s * spec.growth**rungs, spec.cooldown_s_max)
    chance = zlib.crc32(f"{name}:{epoch}".encode()) / 2**32
    return length * (1.0 + spec.jitter * chance)


def because(what: str, settle: Settle) -> str:
    """`what` happened, with the caller's error line where it gave one."""
    return f"{what}: {settle.error[:ERROR_CHARS_MAX]}" if settle.error else what


def remembered(spec: BreakerSpec, streak: int, healthy_s: float) -> int:
    """The openings in a row that still count after `healthy_s` of being closed."""
    forgotten = int(healthy_s / spec.decay_s) if spec.decay_s > 0 else 0
    return max(0, streak - forgotten)


def faults(spec: BreakerSpec) -> tuple[str, ...]:
    """Every fault of the spec, each with its cure. NaN and infinity are faults too."""
    s = spec
    rules = (
        (s.window in {"consecutive", "count", "time"}, 'window: "consecutive", "count" or "time"'),
        (s.failure_threshold >= 1, "failure_threshold: at least 1"),
        (s.success_threshold >= 1, "success_threshold: at least 1"),
        (s.size >= 1, "size: at least 1"),
        (s.window != "count" or s.size <= WINDOW_CALLS_MAX, f"size: at most {WINDOW_CALLS_MAX}"),
        (s.minimum_calls >= 1, "minimum_calls: at least 1"),
        (
            s.window != "count" or s.minimum_calls <= s.size,
            "minimum_calls: at most size, or it never opens",
        ),
        (0 < s.failure_rate <= 1, "failure_rate: above 0, at most 1"),
        (0 < s.slow_rate <= 1, "slow_rate: above 0, at most 1"),
        (s.slow_call_s is None or 0 < s.slow_call_s < math.inf, "slow_call_s: above 0, finite"),
        (
            s.slow_call_s is None or s.window != "consecutive",
            'slow_call_s: needs window = "count" or "time"',
        ),
        (0 < s.cooldown_s < math.inf, "cooldown_s: above 0, finite"),
        (s.cooldown_s <= s.cooldown_s_max < math.inf, "cooldown_s_max: cooldown_s or more, finite"),
        (1 <= s.growth <= GROWTH_MAX, f"growth: from 1 to {GROWTH_MAX:g}"),
        (0 <= s.jitter <= 1, "jitter: from 0 to 1"),
        (0 <= s.decay_s < math.inf, "decay_s: 0 or more, finite"),
    )
    return tuple(text for good, text in rules if not good)
