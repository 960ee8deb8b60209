"""A model of a git repository, as far as a ledger needs one: commits are values, refs are moved.

Whoever works on it is named with each move, so that a promise can tell the ledger's hand from a
foreign one. Nothing is ever collected: what no ref leads to is lost to git's users all the same,
and `reachable` does not have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Final

import msgspec

Tree = tuple[tuple[str, str], ...]
"""Path and id of the content, sorted by path."""

TARGET: Final = "refs/heads/main"
OURS: Final = "refs/banksman/"
INTEGRATION: Final = OURS + "patch/"
ATTIC: Final = OURS + "attic/"


class Commit(msgspec.Struct, frozen=True):
    """An immutable commit. Its id is a digest of all of it: the same commit made twice is one."""

    tree: Tree
    parent: str | None = None
    trailers: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        return blake2b(
            repr((self.tree, self.parent, self.trailers)).encode(), digest_size=6
        ).hexdigest()

    def trailer(self, name: str) -> str | None:
        """What its message says under this name."""
        return dict(self.trailers).get(name)


class RefMove(msgspec.Struct, frozen=True):
    """One line of all reflogs. `expected`: what the mover took the ref for; a mover that did not
    ask has "*" there."""

    ref: str
    expected: str | None
    old: str | None
    new: str | None
    who: str


class RefLocked(Exception):
    """Somebody else holds the lock of the ref: nothing was moved."""


class Conflict(Exception):
    """Both sides changed these files, to different contents."""

    def __init__(self, files: tuple[str, ...]) -> None:
        super().__init__(", ".join(files))
        self.files = files


Change = Mapping[str, str | None]
"""By path: the id of its new content, None where the file goes."""


def tree_of(files: Mapping[str, str]) -> Tree:
    """The tree with these files."""
    return tuple(sorted(files.items()))


def merged(base: Tree, change: Change, onto: Tree) -> Tree:
    """`change`, made against `base`, on top of `onto`, file by file. Raises Conflict."""
    before, files = dict(base), dict(onto)
    clashing = []
    for path, new in sorted(change.items()):
        there = files.get(path)
        if there not in {before.get(path), new}:
            clashing.append(path)
        elif new is None:
            files.pop(path, None)
        else:
            files[path] = new
    if clashing:
        raise Conflict(tuple(clashing))
    return tree_of(files)


class Repository:
    """Objects, refs and reflogs. `told` hears of each move of a ref, once it is done."""

    def __init__(self, files: Mapping[str, str], told: Callable[[RefMove], None]) -> None:
        self.objects: dict[str, Commit] = {}
        self.refs: dict[str, str] = {}
        self.log: list[RefMove] = []
        self._told = told
        self.root = self.add(Commit(tree_of(files)))
        self.refs[TARGET] = self.root

    def add(self, commit: Commit) -> str:
        """Writes the object. Returns its id."""
        made = commit.id
        self.objects[made] = commit
        return made

    def tree(self, commit: str) -> Tree:
        return self.objects[commit].tree

    @property
    def tip(self) -> str:
        """Where the target branch is."""
        return self.refs[TARGET]

    def swap(self, ref: str, expected: str | None, new: str | None, who: str) -> bool:
        """Compare-and-swap: False, and nothing is moved, where the ref is not what was expected.
        None: it does not exist."""
        if self.refs.get(ref) != expected:
            return False
        self._move(RefMove(ref, expected, expected, new, who))
        return True

    def force(self, ref: str, new: str, who: str) -> None:
        """Moves the ref from wherever it is: only a foreign hand does that."""
        self._move(RefMove(ref, "*", self.refs.get(ref), new, who))

    def _move(self, move: RefMove) -> None:
        if move.new is None:
            self.refs.pop(move.ref, None)
        else:
            self.refs[move.ref] = move.new
        self.log.append(move)
        self._told(move)

    def ancestry(self, commit: str | None) -> Iterator[str]:
        """The commit, and all before it."""
        while commit is not None:
            yield commit
            commit = self.objects[commit].parent

    def landed(self) -> list[str]:
        """Every commit that the target has, or has had: its ancestry and its reflog's."""
        found = dict.fromkeys(self.ancestry(self.tip))
        for move in self.log:
            if move.ref == TARGET:
                found.update(dict.fromkeys(self.ancestry(move.new)))
        return list(found)

    def reachable(self) -> set[str]:
        """What can be brought back: all that a ref, or the target's reflog, leads to."""
        found = set(self.landed())
        for commit in self.refs.values():
            found.update(self.ancestry(commit))
        return found
