"""The model of git: commits are values, refs are swapped, and each work looks up what was done."""

from __future__ import annotations

from typing import Any

import pytest

from actors import patch_messages as pm
from actors.patch_messages import Verdict
from runtime.sim.git import (
    ATTIC,
    INTEGRATION,
    TARGET,
    Commit,
    Conflict,
    RefLocked,
    RefMove,
    Repository,
    merged,
    tree_of,
)
from runtime.sim.gitwork import Content, GitTorn, GitWork

FILES = {"a": "a0", "b": "b0"}
UNDO = pm.Compensation("git_revert", ("unit",))


class Calm:
    """A simulation in which just these faults happen, each once."""

    def __init__(self, *faults: str) -> None:
        self.faults = list(faults)
        self.crashes = 0
        self.view: Any = self
        self.up = True

    def fault(self, kind: str, _who: str) -> bool:
        if kind in self.faults:
            self.faults.remove(kind)
            return True
        return False

    def at(self, _when: float) -> Calm:
        return self

    def crash(self) -> None:
        self.crashes += 1


class Bench:
    """A repository with one hand that works on it."""

    def __init__(self, *faults: str, green: bool = True) -> None:
        self.moves: list[RefMove] = []
        self.git = Repository(FILES, self.moves.append)
        self.sim: Any = Calm(*faults)
        self.work = GitWork(self.sim, self.git, lambda _gate, _tree: green)
        self.file("p", {"a": "a1"})

    def file(self, name: str, change: dict[str, str | None], **found: Any) -> None:
        self.work.contents[name] = Content(change, **found)

    def order(self, patch: str = "p", **fields: Any) -> pm.WorkOrder:
        given = {"onto": self.git.tip, **fields}
        return pm.WorkOrder(patch, 1, self.git.root, patch, **given)

    def apply(self, patch: str = "p", key: str = "p.1:patch_apply") -> str:
        fact = self.work.apply(key, self.order(patch))
        assert isinstance(fact, pm.Applied)
        return fact.commit_sha

    def land(self, commit: str) -> pm.Fact:
        return self.work.land("p.1:patch_land", self.order(commit_sha=commit))

    def foreign(self, path: str = "z") -> str:
        files = {**dict(self.git.tree(self.git.tip)), path: "foreign"}
        made = self.git.add(Commit(tree_of(files), self.git.tip))
        self.git.force(TARGET, made, "a stranger")
        return made


def test_the_same_commit_made_twice_is_one() -> None:
    git = Bench().git
    commit = Commit(tree_of({"x": "1"}), git.root)
    assert git.add(commit) == git.add(Commit(tree_of({"x": "1"}), git.root))


def test_a_ref_that_is_not_what_was_expected_is_not_moved() -> None:
    git = Bench().git
    assert not git.swap(TARGET, "another", git.root, "me")
    assert git.tip == git.root
    assert git.log == []


def test_each_move_is_in_the_reflog_with_whoever_made_it() -> None:
    bench = Bench()
    made = bench.foreign()
    assert (
        bench.git.log == bench.moves == [RefMove(TARGET, "*", bench.git.root, made, "a stranger")]
    )


def test_a_change_is_merged_with_what_others_changed_elsewhere() -> None:
    onto = tree_of({"a": "a0", "b": "b7"})
    assert merged(tree_of(FILES), {"a": "a1"}, onto) == tree_of({"a": "a1", "b": "b7"})


def test_a_file_that_goes_is_gone_after_the_merge() -> None:
    assert merged(tree_of(FILES), {"a": None}, tree_of(FILES)) == tree_of({"b": "b0"})


def test_a_file_that_both_changed_is_a_conflict_unless_they_did_the_same() -> None:
    with pytest.raises(Conflict, match="a"):
        merged(tree_of(FILES), {"a": "a1"}, tree_of({"a": "a2", "b": "b0"}))
    same = tree_of({"a": "a1", "b": "b0"})
    assert merged(tree_of(FILES), {"a": "a1"}, same) == same


def test_judges_say_what_they_find_in_a_patch() -> None:
    bench = Bench()
    bench.file("bad", {}, rejected=("unsafe_path",))
    bench.file("odd", {}, held=("protected_path",))
    facts = [bench.work.judge("k", bench.order(name)) for name in ("p", "bad", "odd")]
    verdicts = [fact.verdict for fact in facts if isinstance(fact, pm.Judged)]
    assert verdicts == [Verdict.ACCEPT, Verdict.REJECT, Verdict.HOLD]


def test_applied_twice_under_one_key_it_is_one_commit_and_one_move() -> None:
    bench = Bench()
    assert bench.apply() == bench.apply() == bench.git.refs[INTEGRATION + "p"]
    assert len(bench.moves) == 1


def test_what_is_applied_again_leaves_its_former_commit_in_the_attic() -> None:
    bench = Bench()
    first = bench.apply()
    bench.foreign()
    second = bench.apply(key="p.2:patch_apply")
    assert bench.git.refs[ATTIC + first] == first != second
    assert {first, second} <= bench.git.reachable()


def test_a_patch_that_does_not_merge_is_a_conflict_and_moves_nothing() -> None:
    bench = Bench()
    bench.foreign("a")
    before = len(bench.moves)
    assert bench.work.apply("k", bench.order()) == pm.Conflicted(("a",))
    assert len(bench.moves) == before


def test_what_lands_is_the_very_commit_that_was_applied() -> None:
    bench = Bench()
    commit = bench.apply()
    assert bench.land(commit) == pm.Landed(commit)
    assert bench.git.tip == commit


def test_a_target_that_moved_is_not_moved_again() -> None:
    bench = Bench()
    commit = bench.apply()
    stranger = bench.foreign()
    assert bench.land(commit) == pm.NotLanded(f"the target is {stranger}")
    assert bench.git.tip == stranger


def test_what_has_landed_is_found_though_somebody_committed_on_top() -> None:
    bench = Bench()
    commit = bench.apply()
    bench.land(commit)
    stranger = bench.foreign()
    assert bench.land(commit) == pm.Landed(commit)
    assert bench.git.tip == stranger


def test_what_has_landed_is_found_though_the_target_was_moved_back() -> None:
    bench = Bench()
    commit = bench.apply()
    bench.land(commit)
    bench.git.force(TARGET, bench.git.root, "a stranger")
    assert bench.land(commit) == pm.Landed(commit)
    assert bench.git.tip == bench.git.root


def test_a_locked_ref_is_an_error_and_nothing_is_moved() -> None:
    bench = Bench()
    commit = bench.apply()
    bench.sim.faults.append("git_locked")
    with pytest.raises(RefLocked):
        bench.land(commit)
    assert bench.git.tip == bench.git.root
    assert bench.land(commit) == pm.Landed(commit)


def test_an_owner_that_dies_before_the_move_has_moved_nothing() -> None:
    bench = Bench()
    commit = bench.apply()
    bench.sim.faults.append("git_torn")
    with pytest.raises(GitTorn):
        bench.land(commit)
    assert bench.sim.crashes == 1
    assert bench.git.tip == bench.git.root


def test_a_restored_patch_has_no_integration_ref_and_is_in_the_attic() -> None:
    bench = Bench()
    commit = bench.apply()
    for _ in range(2):
        assert bench.work.restore("k", bench.order(commit_sha=commit)) == pm.Restored()
    assert INTEGRATION + "p" not in bench.git.refs
    assert commit in bench.git.reachable()


def test_a_revert_takes_back_the_change_and_nothing_else_once() -> None:
    bench = Bench()
    commit = bench.apply()
    bench.land(commit)
    bench.foreign()
    order = bench.order(commit_sha=commit, compensation=UNDO)
    first, second = (bench.work.compensate(f"p.{n}:patch_compensate", order) for n in (2, 3))
    assert first == second == pm.Compensated(bench.git.tip)
    assert dict(bench.git.tree(bench.git.tip)) == {**FILES, "z": "foreign"}


def test_a_revert_that_fails_its_gate_is_none() -> None:
    bench = Bench(green=False)
    commit = bench.apply()
    bench.land(commit)
    order = bench.order(commit_sha=commit, compensation=UNDO)
    assert bench.work.compensate("k", order) == pm.NotCompensated("unit failed")
    assert bench.git.tip == commit


def test_a_revert_of_what_was_changed_again_since_is_a_conflict() -> None:
    bench = Bench()
    commit = bench.apply()
    bench.land(commit)
    bench.foreign("a")
    order = bench.order(commit_sha=commit, compensation=UNDO)
    assert bench.work.compensate("k", order) == pm.NotCompensated("conflicts in a")


def test_a_person_who_takes_care_of_it_needs_no_commit() -> None:
    bench = Bench()
    commit = bench.apply()
    bench.land(commit)
    order = bench.order(commit_sha=commit, compensation=pm.Compensation("skip"))
    assert bench.work.compensate("k", order) == pm.Compensated()
