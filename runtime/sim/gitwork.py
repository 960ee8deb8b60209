"""The five works on git that a patch asks for, on the model of a repository.

Invariants:
1. Each looks first whether it was done already, whoever did it: by the trailers of commits, by
   the target's ancestry and reflog. `perhaps_done` alone would not do, for what failed after its
   ref was moved is asked for again under the same key without it.
2. A ref is moved by compare-and-swap, and where a ref of ours leaves a commit, the attic has it
   before.
3. Between any two steps the owner may die.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors import patch_messages as pm
from actors.patch_messages import Verdict, Work
from runtime.sim.git import (
    ATTIC,
    INTEGRATION,
    TARGET,
    Commit,
    Conflict,
    RefLocked,
    Repository,
    Tree,
    merged,
)

if TYPE_CHECKING:
    from runtime.sim.scenario import Sim

PATCH: Final = "Patch"
KEY: Final = "Key"
REVERTS: Final = "Reverts"
USUAL_S: Final = {
    Work.JUDGE: 0.5,
    Work.APPLY: 0.2,
    Work.LAND: 0.1,
    Work.RESTORE: 0.1,
    Work.COMPENSATE: 1.0,
}
REPORT_S: Final = 0.1


class Content(msgspec.Struct, frozen=True):
    """What a patch holds: its change, and what judges find in it."""

    change: dict[str, str | None]
    rejected: tuple[str, ...] = ()
    held: tuple[str, ...] = ()


class GitTorn(Exception):
    """The owner died here: nobody hears of this."""


class GitWork:
    """The performers. `passes` says whether a tree passes a gate: a compensation is gated."""

    def __init__(
        self, sim: Sim, repository: Repository, passes: Callable[[str, Tree], bool]
    ) -> None:
        self._sim = sim
        self.repository = repository
        self.contents: dict[str, Content] = {}
        self._passes = passes

    def register(self) -> None:
        """From now on they are carried out here."""
        works = {
            Work.JUDGE: self.judge,
            Work.APPLY: self.apply,
            Work.LAND: self.land,
            Work.RESTORE: self.restore,
            Work.COMPENSATE: self.compensate,
        }
        for work, do in works.items():
            perform = self._performer(do)
            self._sim.on_effect(work.value, perform, USUAL_S[work], report_s=REPORT_S)

    def _performer(
        self, do: Callable[[str, pm.WorkOrder], pm.Fact]
    ) -> Callable[[str, Any, bool], pm.Fact]:
        def perform(key: str, payload: Any, _perhaps_done: bool) -> pm.Fact:
            fact = do(key, msgspec.convert(payload, pm.WorkOrder))
            if self._sim.fault("git_failed", key):
                raise OSError("git was killed, whatever it had done by then")
            return fact

        return perform

    # --- the works -------------------------------------------------------------------------------

    def judge(self, _key: str, order: pm.WorkOrder) -> pm.Fact:
        """By what the judges find in the content."""
        content = self.contents[order.content]
        if content.rejected:
            return pm.Judged(Verdict.REJECT, content.rejected, pm.Checks("passed", "failed"))
        checks = pm.Checks("passed", "passed", "held" if content.held else "passed")
        return pm.Judged(Verdict.HOLD if content.held else Verdict.ACCEPT, content.held, checks)

    def apply(self, key: str, order: pm.WorkOrder) -> pm.Fact:
        """A commit on the patch's integration ref. One that has this key is what was asked for."""
        git, ref = self.repository, INTEGRATION + order.patch
        there = git.refs.get(ref)
        if there is not None and git.objects[there].trailer(KEY) == key:
            return pm.Applied(git.objects[there].parent or "", there)
        assert order.onto is not None, "what it is applied to is named"
        try:
            tree = merged(
                git.tree(order.base_commit),
                self.contents[order.content].change,
                git.tree(order.onto),
            )
        except Conflict as conflict:
            return pm.Conflicted(conflict.files)
        trailers = ((PATCH, order.patch), (KEY, key))
        made = git.add(Commit(tree, order.onto, trailers))
        self._leave(ref, key)
        self._swap(ref, there, made, key)
        return pm.Applied(order.onto, made)

    def land(self, key: str, order: pm.WorkOrder) -> pm.Fact:
        """The target goes to the very commit that was gated, from the one below it."""
        commit = order.commit_sha
        assert commit is not None, "what lands is named"
        if self.has_landed(commit):
            return pm.Landed(commit)
        below = self.repository.objects[commit].parent
        if not self._swap(TARGET, below, commit, key):
            return pm.NotLanded(f"the target is {self.repository.tip}")
        return pm.Landed(commit)

    def has_landed(self, commit: str) -> bool:
        """Whether the target has it, or has had it, whatever came on top since."""
        return commit in self.repository.landed()

    def restore(self, key: str, order: pm.WorkOrder) -> pm.Fact:
        """The integration ref is gone again; the attic keeps what it led to."""
        ref = INTEGRATION + order.patch
        self._leave(ref, key)
        there = self.repository.refs.get(ref)
        if there is not None:
            self._swap(ref, there, None, key)
        return pm.Restored()

    def compensate(self, key: str, order: pm.WorkOrder) -> pm.Fact:
        """A revert on top of the target, gated; or nothing, where a person takes care of it."""
        plan, git = order.compensation, self.repository
        assert plan is not None, "a plan is named"
        assert order.commit_sha is not None, "what is undone is named"
        if plan.compensation_type != "git_revert":
            return pm.Compensated()
        done = [c for c in git.landed() if git.objects[c].trailer(REVERTS) == order.commit_sha]
        if done:
            return pm.Compensated(done[0])
        tip = git.tip
        try:
            tree = self._without(order.commit_sha, tip)
        except Conflict as conflict:
            return pm.NotCompensated(f"conflicts in {conflict}")
        for gate in plan.required_gates:
            if not self._passes(gate, tree):
                return pm.NotCompensated(f"{gate} failed")
        trailers = ((KEY, key), (REVERTS, order.commit_sha))
        made = git.add(Commit(tree, tip, trailers))
        if not self._swap(TARGET, tip, made, key):
            return pm.NotCompensated("the target moved meanwhile")
        return pm.Compensated(made)

    def _without(self, commit: str, tip: str) -> Tree:
        """The tree of `tip`, what `commit` changed undone. Raises Conflict."""
        git = self.repository
        after, below = git.objects[commit], git.objects[commit].parent
        old, new = dict(git.tree(below)) if below else {}, dict(after.tree)
        changed = {path for path in (*old, *new) if old.get(path) != new.get(path)}
        return merged(after.tree, {path: old.get(path) for path in changed}, git.tree(tip))

    # --- how refs are moved ----------------------------------------------------------------------

    def _leave(self, ref: str, key: str) -> None:
        """What the ref leads to goes into the attic, before the ref leaves it."""
        commit = self.repository.refs.get(ref)
        if commit is not None and ATTIC + commit not in self.repository.refs:
            self._swap(ATTIC + commit, None, commit, key)

    def _swap(self, ref: str, expected: str | None, new: str | None, key: str) -> bool:
        self._may_die(key)
        if self._sim.fault("git_locked", ref):
            raise RefLocked(f"{ref}.lock exists")
        moved = self.repository.swap(ref, expected, new, key)
        self._may_die(key)
        return moved

    def _may_die(self, key: str) -> None:
        if self._sim.view.up and self._sim.fault("git_torn", key):
            self._sim.at(0).crash()
            raise GitTorn(key)
