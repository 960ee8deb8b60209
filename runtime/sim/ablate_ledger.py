"""The safeguards of the ledger, each to be switched off: of its machine, and of its work on git.

The latter are those of the model in `gitwork`. What carries a patch's work out on real git has to
have the same, and these say which promise each of them keeps.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from actors import patch, patch_record
from actors import patch_messages as pm
from actors.patch_record import PatchTurn
from runtime.sim.ablate import CRASHES, Ablation, off
from runtime.sim.git import TARGET, Commit, Repository
from runtime.sim.gitwork import PATCH, GitWork
from runtime.sim.ledger import ledger


def _moved_anyway(swap: Any) -> Any:
    def reckless(git: Repository, ref: str, expected: str | None, new: Any, who: str) -> bool:
        if ref == TARGET and new is not None:
            git.force(ref, new, who)
            return True
        moved: bool = swap(git, ref, expected, new, who)
        return moved

    return reckless


def _never_landed(_has_landed: Any) -> Any:
    return lambda _work, _commit: False


def _another_commit(land: Any) -> Any:
    def rebased(work: GitWork, key: str, order: pm.WorkOrder) -> Any:
        """Puts the change on whatever the target is now, as a merge queue without a gate would."""
        git, commit = work.repository, order.commit_sha
        assert commit is not None
        was = git.objects[commit]
        if work.has_landed(commit) or was.parent == git.tip:
            return land(work, key, order)
        files = {**dict(git.tree(git.tip)), **dict(was.tree)}
        tree = tuple(sorted(files.items()))
        made = git.add(Commit(tree, git.tip, ((PATCH, order.patch), ("Key", key))))
        git.swap(TARGET, git.tip, made, key)
        return pm.Landed(commit)

    return rebased


def _not_in_the_attic(_leave: Any) -> Any:
    return lambda _work, _ref, _key: None


def _any_attempt(verdict: Any) -> Any:
    def believing(turn: PatchTurn, message: Any) -> None:
        verdict(turn, replace(message, ticket=str(turn.value.attempt)))

    return believing


def _gates_go_on(_lapse_gates: Any) -> Any:
    return lambda _turn: None


def _without_gates(answers: Any) -> Any:
    def hasty(turn: PatchTurn, fact: pm.Applied) -> None:
        turn.move(patch.State.APPLIED, "patch_applied", commit_sha=fact.commit_sha)
        patch._verify(turn)

    return {**answers, (pm.Work.APPLY, pm.Applied): hasty}


def _ended_at_once(_end: Any) -> Any:
    def hasty(turn: PatchTurn, ending: Any) -> None:
        if turn.value.state in patch_record.TERMINAL:
            turn.refuse(f"it is {turn.value.state} already")
            return
        patch._finish(turn, ending)
        turn.reply("ended")

    return hasty


_GIT: Final = {"git_torn": 0.05, "git_failed": 0.05, "git_foreign": 0.3}

LEDGER: Final = (
    Ablation(
        "compare-and-swap of the target",
        "the target moves only from the commit that was gated against",
        off((Repository, "swap", _moved_anyway)),
        ledger(),
        _GIT,
    ),
    Ablation(
        "landings are looked up",
        "whether a patch has landed is looked up in the target's ancestry and reflog",
        off((GitWork, "has_landed", _never_landed)),
        ledger(),
        {**CRASHES, **_GIT, "effect_lost": 0.2},
    ),
    Ablation(
        "the very commit lands",
        "what lands is the commit that was gated",
        off((GitWork, "land", _another_commit)),
        ledger(),
        _GIT,
        known=5,
    ),
    Ablation(
        "attic refs",
        "what a ref of ours leaves can be brought back",
        off((GitWork, "_leave", _not_in_the_attic)),
        ledger(),
        _GIT,
        known=2,
    ),
    Ablation(
        "gates before landing",
        "nothing lands that its gates have not passed",
        off((patch, "_ANSWERS", _without_gates)),
        ledger(),
    ),
    Ablation(
        "verdicts of an attempt",
        "a gate's verdict counts for the attempt that it was asked for",
        off((patch, "_gate_verdict", _any_attempt), (PatchTurn, "lapse_gates", _gates_go_on)),
        ledger(),
        _GIT,
        known=2,
    ),
    Ablation(
        "ends wait for refs",
        "while a ref may be moving no end is taken",
        off((patch, "_end", _ended_at_once)),
        ledger(),
        _GIT,
        known=7,
    ),
)
