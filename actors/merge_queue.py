"""The order in which staged patches land: a plan of which to gate ahead of their turn.

    committed ──> p1 ──> p2 ──> p4 ──> p5     every patch is gated on the tree that it would land on
    tree           │      └ p3 (failing)      if all ahead of it pass, but for those known to fail
                   └ the head: its end is final, and it alone may land

`plan` is a function of one snapshot and remembers nothing: a lost, late or repeated event is
harmless, the next plan is made from what is known by then. Its caller carries the steps out.

Invariants:
1. What lands, and every final end, is what one patch after another would come to.
2. An end is final only when everything ahead has left the queue, on the committed tree.
3. At most one patch lands at a time: the head, as the very tree that its gates passed on.
4. No gate starts while `window` attempts hold a slot. One that was told to stop holds it until it
   is dead. A smaller window stops nothing: what runs and is still of use runs out.
5. A question (what the gate reads, the gate) that has a verdict is never asked again.
6. Infrastructure's trouble is no verdict: the patch is held, and those behind it go past it.
7. A queue that is not empty has a step to take, or waits for one that was taken.

Deliberately absent: the order itself, git, processes, and who tries again when (the gate does).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from enum import StrEnum

import msgspec

# (what the gate reads: its declared inputs' digest, or the tree; the digest of its definition)
Question = tuple[str, str]

# A slow head must not let those behind run on for ever on an assumption: one wrong assumption costs
# the gates of at most so many positions for each place in the window.
POSITIONS_PER_PLACE = 4


class GateOutcome(StrEnum):
    """What came of a gate's attempt."""

    PASSED = "passed"
    FAILED = "failed"
    INFRASTRUCTURE = "infrastructure"  # nothing was found out: neither pass nor fail


class End(StrEnum):
    """How a patch leaves the queue without landing."""

    QUARANTINED = "quarantined"
    BLOCKED = "blocked"


class Standing(StrEnum):
    """What is known of a position, on the assumption that it stands on."""

    UNBUILT = "unbuilt"
    OPEN = "open"  # some of its gates have no verdict yet
    PASSING = "passing"
    FAILING = "failing"  # it will not land on this base: those behind go past it


class Staged(msgspec.Struct, frozen=True):
    """A patch in the queue. `attempt` is the ledger's: one that was released is asked anew.

    `gates` are digests of definitions; the first in this order that does not pass names the end.
    `odds` is how likely it is to pass them (`actors.merge_odds`).
    """

    id: str
    attempt: int = 1
    gates: tuple[str, ...] = ()
    odds: float = 1.0


class Built(msgspec.Struct, frozen=True):
    """The tree of a patch on its base, and for gates with declared inputs the digest of those."""

    tree: str
    inputs: dict[str, str] = {}


class Unfit(msgspec.Struct, frozen=True):
    """It does not merge with that base, or judged again on it is not accepted."""

    end: End
    reasons: tuple[str, ...]


class Attempt(msgspec.Struct, frozen=True):
    """A gate that holds a slot, on behalf of a patch in one of its attempts."""

    id: str
    patch: str
    patch_attempt: int
    question: Question
    stopping: bool = False


# (base, patch, its attempt) and (patch, its attempt, question)
BuildKey = tuple[str, str, int]
StallKey = tuple[str, int, Question]


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot. A patch that lands leaves `patches` as `tree` becomes its own: in one step."""

    tree: str  # the committed one
    patches: tuple[Staged, ...]  # in the order in which they are to land
    window: int  # attempts at a time
    attempts: Collection[Attempt] = ()
    builds: Mapping[BuildKey, Built | Unfit] = {}
    verdicts: Mapping[Question, GateOutcome] = {}  # PASSED or FAILED: the first that counted
    stalls: Set[StallKey] = frozenset()  # infrastructure's trouble, by attempt of the patch
    landing: str | None = None  # the patch whose landing is on its way
    worth: float = 0.0  # a gate whose result is less likely than this to be of use does not start


# --- the steps ------------------------------------------------------------------------------------


class Build(msgspec.Struct, frozen=True):
    """Merge the patch with `base`, and judge the effect again. Asking twice is harmless."""

    patch: str
    attempt: int
    base: str


class Start(msgspec.Struct, frozen=True):
    """Gate `tree`."""

    patch: str
    attempt: int
    tree: str
    question: Question


class Stop(msgspec.Struct, frozen=True):
    """Kill an attempt: its answer would be of no use, and is evidence only from now on."""

    attempt: str


class Conclude(msgspec.Struct, frozen=True):
    """The patch leaves the queue for good. `gate` is the one that says so, if any."""

    patch: str
    attempt: int
    end: End
    reasons: tuple[str, ...]
    gate: str | None = None


class Land(msgspec.Struct, frozen=True):
    """Move the target from `base` to `tree`, by compare-and-swap."""

    patch: str
    attempt: int
    base: str
    tree: str


class Position(msgspec.Struct, frozen=True):
    """A patch on an assumption. `end` is provisional until a `Conclude` says the same."""

    patch: Staged
    base: str
    standing: Standing
    tree: str | None = None
    open: tuple[Question, ...] = ()
    end: Conclude | None = None


class Plan(msgspec.Struct, frozen=True):
    """The steps to take now, and the positions that they follow from."""

    conclude: tuple[Conclude, ...] = ()
    land: Land | None = None
    stop: tuple[Stop, ...] = ()
    build: Build | None = None
    start: tuple[Start, ...] = ()
    positions: tuple[Position, ...] = ()


def plan(queue: Queue) -> Plan:
    """What to do next. ValueError for a window without a place."""
    if queue.window < 1:
        raise ValueError(f"a window has at least one place, not {queue.window}")
    positions, build = _chain(queue)
    conclude, land = _settled(queue, positions)
    asked = _asked(positions)
    live = {attempt.question for attempt in queue.attempts if not attempt.stopping}
    unknown = _behind_a_build(queue, positions) if build is not None else frozenset()
    stop = tuple(
        Stop(attempt.id)
        for attempt in queue.attempts
        if not attempt.stopping and attempt.question not in asked and attempt.patch not in unknown
    )
    places = max(0, queue.window - len(queue.attempts))
    worthy = (
        Start(position.patch.id, position.patch.attempt, position.tree, question)
        for question, (position, odds) in asked.items()
        if question not in live and odds >= queue.worth and position.tree is not None
    )
    start = tuple(each for _, each in zip(range(places), worthy, strict=False))
    return Plan(conclude, land, stop, build, start, tuple(positions))


# --- the chain of assumptions ---------------------------------------------------------------------


def _chain(queue: Queue) -> tuple[list[Position], Build | None]:
    """Each patch on the nearest one ahead that does not fail, as far as the window reaches.

    It ends at the first tree that nobody has built: what stands behind it has no base yet.
    """
    gates_max = max(queue.window, len(queue.attempts))
    tip, gates, odds = queue.tree, 0, 1.0
    settled, assumed = True, 0
    positions: list[Position] = []
    for patch in _in_order(queue):
        if gates >= gates_max or assumed >= POSITIONS_PER_PLACE * gates_max:
            break
        position = _look(queue, patch, tip)
        if position.standing is Standing.UNBUILT:
            build = Build(patch.id, patch.attempt, tip) if odds >= queue.worth else None
            return [*positions, position], build
        positions.append(position)
        gates += len(position.open)
        if position.tree is not None and position.standing is not Standing.FAILING:
            tip = position.tree
        if position.standing is Standing.OPEN:
            odds *= patch.odds
        settled = settled and position.standing is Standing.FAILING and not position.open
        assumed += not settled
    return positions, None


def _in_order(queue: Queue) -> Iterable[Staged]:
    """What is landing is ahead of everything, wherever it stood."""
    if queue.landing is None:
        return queue.patches
    return sorted(queue.patches, key=lambda patch: patch.id != queue.landing)


def _look(queue: Queue, patch: Staged, base: str) -> Position:
    built = queue.builds.get((base, patch.id, patch.attempt))
    if built is None:
        return Position(patch, base, Standing.UNBUILT)
    if isinstance(built, Unfit):
        end = Conclude(patch.id, patch.attempt, built.end, built.reasons)
        return Position(patch, base, Standing.FAILING, end=end)
    unanswered: list[Question] = []
    for gate in patch.gates:
        question = (built.inputs.get(gate, built.tree), gate)
        verdict = queue.verdicts.get(question)
        if verdict is GateOutcome.PASSED:
            continue
        stalled = (patch.id, patch.attempt, question) in queue.stalls
        if verdict is None and not stalled:
            unanswered.append(question)
            continue
        # The gates before it are still asked: the first that does not pass names the end.
        end = _end_of(patch, gate, failed=verdict is GateOutcome.FAILED)
        return Position(patch, base, Standing.FAILING, built.tree, tuple(unanswered), end)
    standing = Standing.OPEN if unanswered else Standing.PASSING
    return Position(patch, base, standing, built.tree, tuple(unanswered))


def _end_of(patch: Staged, gate: str, *, failed: bool) -> Conclude:
    end = End.QUARANTINED if failed else End.BLOCKED
    reason = "gate_failed" if failed else "infrastructure"
    return Conclude(patch.id, patch.attempt, end, (f"{reason}:{gate}",), gate)


# --- what follows from it -------------------------------------------------------------------------


def _settled(
    queue: Queue, positions: Iterable[Position]
) -> tuple[tuple[Conclude, ...], Land | None]:
    """The ends at the head that are final, and what may land behind them."""
    conclude: list[Conclude] = []
    for position in positions:
        patch = position.patch
        if patch.id == queue.landing or position.open:
            break
        if position.standing is Standing.PASSING:
            assert position.tree is not None, "what passes was built"
            assert position.base == queue.tree, "the head stands on the committed tree"
            # While another landing is on its way this one is not ahead of everything.
            land = Land(patch.id, patch.attempt, queue.tree, position.tree)
            return tuple(conclude), land
        if position.end is None:
            break
        conclude.append(position.end)
    return tuple(conclude), None


def _behind_a_build(queue: Queue, positions: list[Position]) -> frozenset[str]:
    """The patches whose trees are not known yet: what a gate reads of them may not have changed."""
    built = {p.patch.id for p in positions if p.standing is not Standing.UNBUILT}
    return frozenset(patch.id for patch in queue.patches if patch.id not in built)


def _asked(positions: Iterable[Position]) -> dict[Question, tuple[Position, float]]:
    """The questions that the chain needs answered, the most useful first, each with the odds that
    its answer will be of use: that everything undecided ahead of it passes."""
    asked: dict[Question, tuple[Position, float]] = {}
    odds = 1.0
    for position in positions:
        for question in position.open:
            asked.setdefault(question, (position, odds))
        if position.standing is Standing.OPEN:
            odds *= position.patch.odds
    return asked
