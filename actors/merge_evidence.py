"""What is known of the patches in a merge queue: trees built, verdicts, and attempts that run.

Invariants:
1. The first verdict of an attempt that nobody stopped is the verdict of its question, for ever.
2. What an attempt says after it was told to stop, or twice, is evidence: it decides nothing.
3. A result frees its slot once; until it comes, the slot is held.
4. Infrastructure's trouble is kept for the attempt of the patch that met it: released, it is asked
   anew.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from actors.merge_queue import (
    Attempt,
    Build,
    BuildKey,
    Built,
    GateOutcome,
    Question,
    StallKey,
    Start,
    Unfit,
)


class Weight(StrEnum):
    """What a result counts for."""

    COUNTS = "counts"
    EVIDENCE = "evidence only"
    CONTRADICTS = "contradicts the verdict"  # evidence that the gate is flaky


class Evidence:
    """The part of a snapshot that results make up. `attempts`, `builds`, `verdicts` and `stalls`
    are read, and changed only by the methods."""

    __slots__ = ("attempts", "builds", "stalls", "verdicts")

    def __init__(self) -> None:
        self.attempts: dict[str, Attempt] = {}
        self.builds: dict[BuildKey, Built | Unfit] = {}
        self.verdicts: dict[Question, GateOutcome] = {}
        self.stalls: set[StallKey] = set()

    def started(self, attempt: str, order: Start) -> None:
        """`attempt` holds a slot from now on."""
        known = Attempt(attempt, order.patch, order.attempt, order.question)
        self.attempts[attempt] = known

    def stopping(self, attempt: str) -> None:
        """It was told to stop. One that has ended meanwhile is let be."""
        if attempt in self.attempts:
            old = self.attempts[attempt]
            self.attempts[attempt] = msgspec.structs.replace(old, stopping=True)

    def ended(self, attempt: str, question: Question, outcome: GateOutcome | None) -> Weight:
        """An attempt said something, or died without a word (None)."""
        known = self.attempts.pop(attempt, None)
        verdict = self.verdicts.get(question)
        if outcome in {GateOutcome.PASSED, GateOutcome.FAILED} and verdict not in {None, outcome}:
            return Weight.CONTRADICTS
        if known is None or known.stopping or verdict is not None:
            return Weight.EVIDENCE
        if outcome is None or outcome is GateOutcome.INFRASTRUCTURE:
            self.stalls.add((known.patch, known.patch_attempt, question))
        else:
            self.verdicts[question] = outcome
        return Weight.COUNTS

    def built(self, order: Build, result: Built | Unfit) -> None:
        """The same order always comes to the same: the first answer stands."""
        self.builds.setdefault((order.base, order.patch, order.attempt), result)

    def left(self, patch: str) -> None:
        """The patch is in the queue no more: of its trees and troubles nothing is asked again.

        Verdicts are of trees, not of patches, and stay.
        """
        self.builds = {key: built for key, built in self.builds.items() if key[1] != patch}
        self.stalls = {key for key in self.stalls if key[0] != patch}
