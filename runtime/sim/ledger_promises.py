"""What a ledger promises, watched in a simulated world with a model of git.

| promise                       | looked at                                                       |
|-------------------------------|-----------------------------------------------------------------|
| what was gated lands          | each move of the target by us: verified, that commit, its gates |
| the target is swapped         | each move of the target by us: from the commit's own parent     |
| a patch lands once            | each COMMITTED; the end: exactly those that git has             |
| what is aside moves no ref    | each move of a ref for a quarantined or ended patch             |
| rolled back is undone         | each ROLLED_BACK; the end                                       |
| nothing of ours is lost       | the end: every commit of ours is still reachable                |
| patches do not stand still    | the end: each is at an end, or waits for a person               |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from actors.patch_record import TROUBLES_MAX
from runtime.sim.git import INTEGRATION, OURS, TARGET, RefMove, Repository, Tree
from runtime.sim.gitwork import PATCH, REVERTS
from runtime.sim.monitors import Monitor

if TYPE_CHECKING:
    from actors.machine import Decision
    from actors.patch import Patch
    from runtime.cell import Cell
    from runtime.sim.monitors import World

GATED: Final = "what was gated lands"
SWAPPED: Final = "the target is swapped"
ONCE: Final = "a patch lands once"
ASIDE: Final = "what is aside moves no ref"
UNDONE: Final = "rolled back is undone"
KEPT: Final = "nothing of ours is lost"
GO_ON: Final = "patches do not stand still"

_LEDGER: Final = "patch_ledger"
_ASIDE: Final = frozenset({"quarantined", "expired", "superseded", "dropped"})
_RESTING: Final = _ASIDE | {"committed", "rolled_back", "blocked"}


class Gatings(Monitor):
    """Which tree each gate has really looked at, and what it found there."""

    name = "gatings"
    kinds: frozenset[str] | None = frozenset({"test_gate"})

    def __init__(self, git: Repository) -> None:
        self._git = git
        self._under: dict[str, tuple[str, str]] = {}  # by gate: the patch, the commit
        self.passed: set[tuple[str, str, Tree]] = set()  # patch, gate's name, tree

    def tree_under(self, gate: str) -> Tree | None:
        """What the gate of this id looks at; None for one that judges no patch."""
        found = self._under.get(f"test_gate:{gate}")
        return None if found is None else self._git.tree(found[1])

    def on_outside(self, world: World, what: str, actor: str, detail: Any) -> None:
        cell = world.cells.get(actor) if what == "began" else None
        if cell is None or cell.kind.name != "test_gate":
            return
        self._under.pop(actor, None)
        for asker in cell.value.spec.askers:
            kind, _, name = asker.partition(":")
            there = self._git.refs.get(INTEGRATION + name)
            if kind == _LEDGER and there is not None:
                self._under[actor] = (name, there)

    def on_turn(
        self, world: World, cell: Cell, before: Any, message: Any, decision: Decision[Any]
    ) -> None:
        found = self._under.get(cell.address)
        if decision.edges and cell.state == "passed" and found is not None:
            patch, commit = found
            self.passed.add((patch, cell.value.spec.name, self._git.tree(commit)))


class Ledger(Monitor):
    """Holds what the ledger says against what git has."""

    name = "ledger and git agree"
    kinds: frozenset[str] | None = frozenset({_LEDGER})

    def __init__(
        self, git: Repository, gatings: Gatings, passes: Callable[[str, Tree], bool]
    ) -> None:
        self._git = git
        self._gatings = gatings
        self._passes = passes
        self._looked = dict.fromkeys((GATED, SWAPPED, ONCE, ASIDE, UNDONE, KEPT, GO_ON), 0)

    def _look(self, promise: str) -> None:
        self._looked[promise] += 1

    # --- refs ------------------------------------------------------------------------------------

    def on_outside(self, world: World, what: str, actor: str, detail: Any) -> None:
        if what != "ref":
            return
        move = self._git.log[-1]
        patch = self._stored(world, move.who.partition(".")[0])
        if patch is None:
            return  # a stranger's
        if move.ref == TARGET:
            self._moved(world, move, patch)
        self._look(ASIDE)
        if patch.state in _ASIDE:
            world.fail(ASIDE, f"{patch.id} is {patch.state}, and {move.ref} is moved for it")

    def _moved(self, world: World, move: RefMove, patch: Patch) -> None:
        git, new = self._git, move.new
        assert new is not None, "a branch is not deleted"
        self._look(SWAPPED)
        if move.old != move.expected or git.objects[new].parent != move.old:
            world.fail(SWAPPED, f"{patch.id} moves the target from {move.old} to what is not on it")
        if git.objects[new].trailer(REVERTS) is not None:
            return
        self._look(GATED)
        if patch.state != "verified" or patch.commit_sha != new:
            known = f"it is {patch.state} as {patch.commit_sha}"
            world.fail(GATED, f"{patch.id} lands as {new}: {known}")
        for gate in patch.spec.patch.gates:
            if (patch.id, gate, git.tree(new)) not in self._gatings.passed:
                world.fail(GATED, f"{patch.id} lands, and {gate} has not passed in its tree")
            if not self._passes(gate, git.tree(new)):
                world.fail(GATED, f"{patch.id} lands, and the target fails {gate} now")

    @staticmethod
    def _stored(world: World, name: str) -> Any:
        row = world.store.rows.get(f"{_LEDGER}:{name}")
        return None if row is None else row.value

    # --- the ledger's own words ------------------------------------------------------------------

    def on_turn(
        self, world: World, cell: Cell, before: Any, message: Any, decision: Decision[Any]
    ) -> None:
        if not decision.edges:
            return
        patch = cell.value
        if patch.state == "committed":
            self._look(ONCE)
            if patch.commit_sha not in self._git.landed():
                world.fail(ONCE, f"{patch.id} is committed, and the target never had its commit")
        elif patch.state == "rolled_back":
            self._undone(world, patch, before)

    def _undone(self, world: World, patch: Patch, before: Patch) -> None:
        self._look(UNDONE)
        if before.state != "committed":
            if INTEGRATION + patch.id in self._git.refs:
                world.fail(UNDONE, f"{patch.id} is rolled back, and its integration ref stands")
            if self._landings(patch):
                world.fail(UNDONE, f"{patch.id} is rolled back as one that never landed: it has")

    def _landings(self, patch: Patch) -> list[str]:
        git = self._git
        return [c for c in git.landed() if git.objects[c].trailer(PATCH) == patch.id]

    def _reverts(self, patch: Patch) -> int:
        reverted = [self._git.objects[c].trailer(REVERTS) for c in self._git.landed()]
        return 0 if patch.commit_sha is None else reverted.count(patch.commit_sha)

    # --- at rest ---------------------------------------------------------------------------------

    def on_end(self, world: World) -> None:
        self._all_kept(world)
        for row in world.store.rows.values():
            if row.kind.name == _LEDGER and not _in_doubt(row.value):
                self._agrees(world, row.value)
                self._at_rest(world, row.value)
        for promise, times in self._looked.items():
            world.coverage.always[promise] = world.coverage.always.get(promise, 0) + times

    def _all_kept(self, world: World) -> None:
        reachable = self._git.reachable()
        for move in self._git.log:
            for commit in (move.old, move.new):
                self._look(KEPT)
                if move.ref.startswith(OURS) and commit is not None and commit not in reachable:
                    world.fail(KEPT, f"{commit}, where {move.ref} was, cannot be brought back")

    def _agrees(self, world: World, patch: Patch) -> None:
        self._look(ONCE)
        landed, reverts = self._landings(patch), self._reverts(patch)
        stood = patch.state == "committed" or (patch.state == "rolled_back" and bool(landed))
        expected = [patch.commit_sha] if stood else []
        if landed != expected:
            text = f"{patch.id} is {patch.state}, and git has landed {len(landed)} commits of it"
            world.fail(ONCE, text, f"{landed} instead of {expected}")
        self._look(UNDONE)
        if reverts > 1:
            world.fail(UNDONE, f"{patch.id} is reverted {reverts} times")
        if patch.state == "committed" and reverts:
            world.fail(UNDONE, f"{patch.id} is committed, and git has its revert")

    def _at_rest(self, world: World, patch: Patch) -> None:
        self._look(GO_ON)
        if patch.state in _RESTING or patch.paused or patch.troubles >= TROUBLES_MAX:
            return
        run = world.store.rows.get(f"run:{patch.run_id}")
        if run is not None and run.value.completed_at is not None:
            return  # nobody makes its gates any more
        world.fail(GO_ON, f"{patch.id} is {patch.state}, and nothing moves it", repr(patch))


def _in_doubt(patch: Patch) -> bool:
    """Whether git has failed so often that nobody knows what became of a move of a ref."""
    return patch.moving is not None and patch.troubles >= TROUBLES_MAX
