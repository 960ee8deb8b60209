"""Random histories of a merge queue, and the oracle: one patch after another.

A world says what merges and what passes, by the set of patches in a tree. A history drives the
planner through it: builds, gates and landings end in any order, and in between patches arrive and
are withdrawn, the window changes, the owner is killed, somebody else moves the target, and results
come late and twice. Chance is drawn from the seed alone.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from actors.merge_evidence import Evidence, Weight
from actors.merge_queue import (
    Attempt,
    Build,
    Built,
    Conclude,
    End,
    GateOutcome,
    Land,
    Plan,
    Question,
    Queue,
    Staged,
    Start,
    Unfit,
    plan,
)

PASSED, FAILED = GateOutcome.PASSED, GateOutcome.FAILED
INFRASTRUCTURE = GateOutcome.INFRASTRUCTURE
GATES = ("lint", "unit", "long")
LANDED = "landed"


class World:
    """What merging and gating come to. Asked twice it says the same, unless it is `flaky`."""

    def __init__(self, rng: Random, *, flaky: bool) -> None:
        self.rng = rng
        self.drawn: dict[object, float] = {}
        self.conflicts = rng.choice((0.0, 0.0, 0.1, 0.3))
        self.passes = rng.choice((0.3, 0.6, 0.8, 0.9, 1.0))
        self.troubles = rng.choice((0.0, 0.0, 0.1, 0.3))
        self.flaky = flaky
        self.scoped = rng.random() < 0.5
        self.first: dict[Question, GateOutcome] = {}  # what counted: of flaky gates, the first
        self.stalled: set[tuple[str, int, Question]] = set()

    def chance(self, *key: object) -> float:
        if key not in self.drawn:
            self.drawn[key] = self.rng.random()
        return self.drawn[key]

    def build(self, base: str, patch: Staged) -> Built | Unfit:
        inside = base.split("+")
        for other in inside:
            if self.chance("conflict", other, patch.id) < self.conflicts:
                return Unfit(End.BLOCKED, (f"conflict with {other}",))
        if self.chance("judged", base, patch.id) < self.conflicts / 3:
            return Unfit(End.QUARANTINED, ("oversized",))
        tree = "+".join(sorted([*inside, patch.id]))
        if not self.scoped:
            return Built(tree)
        # The linter reads what every second patch changes.
        read = "+".join(name for name in tree.split("+") if name[-1] in "02468")
        return Built(tree, {"lint": f"even:{read}"})

    def gate(self, question: Question) -> GateOutcome:
        """What an attempt finds out now."""
        key = object() if self.flaky else question
        if self.chance("trouble", key) < self.troubles:
            return INFRASTRUCTURE
        return PASSED if self.chance("gate", key) < self.passes else FAILED

    def verdict(self, patch: Staged, question: Question) -> GateOutcome:
        """What one patch after another would be told."""
        if not self.flaky:
            return self.gate(question)
        stalled = (patch.id, patch.attempt, question) in self.stalled
        return self.first.get(question) or (INFRASTRUCTURE if stalled else PASSED)


def serial(world: World, tree: str, patch: Staged) -> tuple[str, str]:
    """The oracle: what the patch comes to on `tree`, and the tree after it."""
    built = world.build(tree, patch)
    if isinstance(built, Unfit):
        return f"{built.end}:{built.reasons}", tree
    for gate in patch.gates:
        match world.verdict(patch, (built.inputs.get(gate, built.tree), gate)):
            case GateOutcome.FAILED:
                return f"quarantined:{gate}", tree
            case GateOutcome.INFRASTRUCTURE:
                return f"blocked:{gate}", tree
            case GateOutcome.PASSED:
                pass
    return LANDED, built.tree


class History:
    """One life of a queue. `run` raises AssertionError where a promise is broken."""

    def __init__(self, seed: int, *, calm: bool = False) -> None:
        self.rng = rng = Random(seed)
        self.calm = calm  # nothing arrives, is withdrawn or moves while it runs; no flaky gates
        self.world = World(rng, flaky=not calm and rng.random() < 0.3)
        self.evidence = Evidence()
        self.tree = "0"
        self.window = rng.randint(1, 5)
        self.worth = rng.choice((0.0, 0.0, 0.5))
        self.serials = 0
        self.queue: list[Staged] = [self.patch() for _ in range(rng.randint(1, 7))]
        self.began = tuple(self.queue)
        self.flight: list[tuple[object, ...]] = []  # what will be heard of
        self.running: dict[str, bool] = {}  # attempts that hold a slot: told to stop?
        self.landing: str | None = None
        self.settled: list[tuple[str, str]] = []
        self.starts = self.changes = self.disturbances = 0
        self.seen: Counter[str] = Counter()
        self.gates_ever = sum(len(patch.gates) for patch in self.queue)

    def patch(self) -> Staged:
        self.serials += 1
        gates = GATES[: self.rng.choice((0, 1, 1, 1, 2, 3))]
        return Staged(f"p{self.serials}", 1, gates, self.rng.choice((1.0, 0.9, 0.6)))

    def run(self) -> None:
        for _ in range(2_000):
            self.plan_until_quiet()
            if not self.queue:
                break
            assert self.flight, f"{[patch.id for patch in self.queue]} wait for ever"
            if not self.calm and self.disturbances < 8 and self.rng.random() < 0.15:
                self.disturb()
            if self.flight:
                at = self.rng.randrange(len(self.flight))
                self.flight[at], self.flight[-1] = self.flight[-1], self.flight[at]
                self.hear(self.flight.pop())
        assert not self.queue, "it does not end"
        assert self.starts <= self.gates_ever * (1 + self.changes)

    # --- the steps of a plan ---------------------------------------------------------------------

    def plan_until_quiet(self) -> None:
        while self.queue:
            found = plan(self.snapshot())
            self.perform(found)
            if not found.conclude:
                return

    def snapshot(self) -> Queue:
        known = self.evidence
        return Queue(
            tree=self.tree,
            patches=tuple(self.queue),
            window=self.window,
            attempts=tuple(known.attempts.values()),
            builds=known.builds,
            verdicts=known.verdicts,
            stalls=known.stalls,
            landing=self.landing,
            worth=self.worth,
        )

    def perform(self, found: Plan) -> None:
        for end in found.conclude:
            self.conclude(end)
        if found.land is not None and self.landing is None:
            self.land(found.land)
        for stop in found.stop:
            assert not self.running[stop.attempt], "it was told to stop already"
            self.running[stop.attempt] = True
            self.seen["stopped"] += 1
            self.evidence.stopping(stop.attempt)
        if found.build is not None and ("build", found.build) not in self.flight:
            self.flight.append(("build", found.build))
        for start in found.start:
            self.start(start)

    def start(self, order: Start) -> None:
        assert order.question not in self.evidence.verdicts, "it has a verdict"
        self.starts += 1
        name = f"a{self.starts}"
        self.running[name] = False
        self.evidence.started(name, order)
        assert len(self.running) <= self.window, "more than the window"
        self.flight.append(("gate", self.evidence.attempts[name]))

    def conclude(self, end: Conclude) -> None:
        patch = self.queue.pop(0)
        assert (patch.id, patch.attempt) == (end.patch, end.attempt), "not in order"
        came_to = f"{end.end}:{end.gate or end.reasons}"
        assert (came_to, self.tree) == serial(self.world, self.tree, patch)
        self.settle(patch, came_to)
        released = not self.calm and end.end is End.BLOCKED and patch.attempt == 1
        if released and self.rng.random() < 0.5:
            again = Staged(patch.id, 2, patch.gates, patch.odds)
            self.arrive(again, len(self.queue))

    def land(self, order: Land) -> None:
        patch = self.queue[0]
        assert (patch.id, patch.attempt) == (order.patch, order.attempt), "not in order"
        assert order.base == self.tree
        self.landing = patch.id
        self.flight.append(("land", order))

    def settle(self, patch: Staged, came_to: str) -> None:
        self.settled.append((patch.id, came_to))
        self.seen[came_to.partition(":")[0]] += 1
        self.evidence.left(patch.id)

    # --- what is heard ---------------------------------------------------------------------------

    def hear(self, event: tuple[object, ...]) -> None:
        match event:
            case ("build", Build() as order):
                self.hear_build(order)
            case ("gate", Attempt() as attempt):
                self.hear_gate(attempt)
            case ("again", Attempt() as attempt):
                self.late(attempt)
            case ("land", Land() as order):
                self.hear_land(order)

    def hear_build(self, order: Build) -> None:
        for patch in self.queue:
            if (patch.id, patch.attempt) == (order.patch, order.attempt):
                result = self.world.build(order.base, patch)
                self.changes += isinstance(result, Unfit)
                self.evidence.built(order, result)

    def hear_gate(self, attempt: Attempt) -> None:
        if self.running.pop(attempt.id):
            # It was told to stop: whatever it says, true or not, is evidence only.
            self.late(attempt)
        else:
            outcome = self.world.gate(attempt.question)
            if outcome is INFRASTRUCTURE:
                stall = (attempt.patch, attempt.patch_attempt, attempt.question)
                self.world.stalled.add(stall)
            else:
                self.world.first.setdefault(attempt.question, outcome)
            self.changes += outcome is not PASSED
            known = attempt.question in self.evidence.verdicts
            weight = self.evidence.ended(attempt.id, attempt.question, outcome)
            assert known or weight is Weight.COUNTS
        if self.rng.random() < 0.1:
            self.flight.append(("again", attempt))

    def late(self, attempt: Attempt) -> None:
        said = self.rng.choice((PASSED, FAILED, INFRASTRUCTURE, None))
        weight = self.evidence.ended(attempt.id, attempt.question, said)
        assert weight is not Weight.COUNTS
        self.seen[weight] += 1

    def hear_land(self, order: Land) -> None:
        assert self.landing == order.patch
        self.landing = None
        if order.base != self.tree or self.rng.random() < 0.05:
            self.seen["not landed"] += 1
            return  # compare-and-swap said no, or nothing came of it
        at = [patch.id for patch in self.queue].index(order.patch)
        patch = self.queue.pop(at)
        assert (LANDED, order.tree) == serial(self.world, self.tree, patch)
        self.tree = order.tree
        self.settle(patch, LANDED)

    # --- what happens besides --------------------------------------------------------------------

    def disturb(self) -> None:
        self.disturbances += 1
        self.changes += 1
        match self.rng.randrange(5):
            case 0:
                self.arrive(self.patch(), self.rng.choice((len(self.queue), 0)))
            case 1:
                gone = self.rng.choice(self.queue)
                if gone.id != self.landing:
                    self.queue.remove(gone)
                    self.evidence.left(gone.id)
            case 2:
                self.window = self.rng.randint(1, 5)
            case 3:
                self.restart()
            case _:
                self.tree = f"{self.tree}+x{self.disturbances}"

    def restart(self) -> None:
        """The owner died: builds and gates with it. Whether a landing came about is looked up."""
        for name in self.running:
            attempt = self.evidence.attempts[name]
            self.evidence.stopping(name)
            assert self.evidence.ended(name, attempt.question, None) is Weight.EVIDENCE
        self.running.clear()
        self.flight = [event for event in self.flight if event[0] in {"land", "again"}]

    def arrive(self, patch: Staged, at: int) -> None:
        self.changes += 1
        self.gates_ever += len(patch.gates)
        self.queue.insert(at, patch)
