"""What an entity waits for, as counts: who is waited for tells every change, with what it was.

Invariants:
1. Counts follow from messages alone, in whatever order those of different sources come.
2. A source that was waived counts as done for ever, also as the retry that replaced it.
3. Nothing here grows with what is waited for: causes are kept by name up to a bound, and counted.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from actors.effects import Address
from actors.messages import GateVerdict, Standing
from actors.override import BY_HAND

# Enough to name what an operator can decide about; what fails beyond it is only counted.
CAUSES_MAX = 64


class Cause(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A source that does not let its dependents go on, and the root cause in one line."""

    source: Address
    standing: Standing
    reason: str


class Waits(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How many sources are not done: `open` counts all of them, the rest those that block."""

    open: int = 0
    failed: int = 0
    withdrawn: int = 0
    stalled: int = 0
    causes: tuple[Cause, ...] = ()
    waived: tuple[Address, ...] = ()

    @property
    def standing(self) -> Standing:
        """What all of them together mean to whoever waits: the worst that any of them says."""
        if self.failed:
            return Standing.FAILED
        if self.withdrawn:
            return Standing.WITHDRAWN
        if self.stalled:
            return Standing.STALLED
        return Standing.WAITING if self.open else Standing.DONE

    @property
    def blocked(self) -> bool:
        return bool(self.failed or self.withdrawn or self.stalled)

    def root(self) -> str | None:
        """The first cause of the worst kind."""
        worst = self.standing
        return next((c.reason for c in self.causes if c.standing is worst), None)


def moved(
    waits: Waits, source: Address, was: Standing, standing: Standing, reason: str | None
) -> Waits:
    """After `source` went from `was` to `standing`."""
    if source in waits.waived:
        return waits
    causes = waits.causes
    if causes:
        causes = tuple(c for c in causes if c.source != source)
    if standing in _BLOCKING and len(causes) < CAUSES_MAX:
        causes = (*causes, Cause(source, standing, reason or f"{source}: {standing}"))
    return Waits(
        waits.open + (was is Standing.DONE) - (standing is Standing.DONE),
        waits.failed + (standing is Standing.FAILED) - (was is Standing.FAILED),
        waits.withdrawn + (standing is Standing.WITHDRAWN) - (was is Standing.WITHDRAWN),
        waits.stalled + (standing is Standing.STALLED) - (was is Standing.STALLED),
        causes,
        waits.waived,
    )


_RANK = {
    Standing.DONE: 0,
    Standing.WAITING: 1,
    Standing.STALLED: 2,
    Standing.WITHDRAWN: 3,
    Standing.FAILED: 4,
}
_BLOCKING = frozenset({Standing.FAILED, Standing.WITHDRAWN, Standing.STALLED})


def replaced(waits: Waits, old: Address, new: Address, was: Standing) -> Waits:
    """After `new`, which is waited for, took the place of `old`."""
    if old in waits.waived:
        waived = tuple(new if source == old else source for source in waits.waived)
        return replace(waits, waived=waived)
    return moved(waits, old, was, Standing.WAITING, None)


def judged(waits: Waits, verdict: GateVerdict) -> Waits:
    """After what a gate said."""
    if verdict.replaces is not None:
        return replaced(waits, verdict.replaces, verdict.gate, verdict.was)
    return moved(waits, verdict.gate, verdict.was, verdict.standing, verdict.reason)


def worst(one: Waits, other: Waits) -> Waits:
    """The one that says worse; the first where they agree."""
    return one if _RANK[one.standing] >= _RANK[other.standing] else other


def waive(waits: Waits, names: tuple[str, ...]) -> tuple[Waits, tuple[Address, ...]]:
    """Counts the causes with these names as done (no names: all of them), and which those were."""
    chosen = tuple(
        c for c in waits.causes if not names or any(_is_called(c.source, n) for n in names)
    )
    for cause in chosen:
        waits = moved(waits, cause.source, cause.standing, Standing.DONE, None)
    sources = tuple(cause.source for cause in chosen)
    # A hand says nothing later, and is no source: it may block the same again.
    lasting = (source for source in sources if not source.startswith(BY_HAND))
    return replace(waits, waived=(*waits.waived, *lasting)), sources


def _is_called(source: Address, name: str) -> bool:
    """By its address, its id or an end of it, or the name that the plan gives it."""
    path = source.partition(":")[2]
    last = path.rpartition("/")[2].removeprefix("gate:")
    return name in {source, path, last, last.partition("~")[0]} or path.endswith(f"/{name}")
