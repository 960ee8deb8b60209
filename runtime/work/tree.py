"""What stands in a git work tree now, in two words: the tree of all that git does not ignore, and a
digest of what it ignores. Nothing of the user's repository is written to, nothing of it is run.

Everything is done with a git directory, an index and attributes of our own below the state
directory. Of the user's repository only the index is read, for the names of tracked files. So no
hook, filter, textconv, fsmonitor or include of anybody's configuration can run, line ends are not
converted, and bits that hide a change (assume-unchanged, skip-worktree) hide nothing from us. No
file's content is stored: git only tells its name.

A repository within the tree (a submodule, too) is not looked into, and a file that is ignored is
known by its size and time only; where that is not enough to tell, there is no tree.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import anyio
import msgspec

from runtime.git import HARMLESS, Overflow, environment, prepare_bare, run_git, settings

# Above this, looking costs more than most gates: 50,000 files are 5 MiB of names.
NAMES_BYTES_MAX = 64 << 20
IGNORED_MAX = 200_000
# What tools write beside sources at every run, and check for themselves before they use it.
CACHES = frozenset({"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"})

_OURS = (
    *("core.bare=false", "core.fileMode=true", "core.symlinks=true", "core.ignoreCase=false"),
    *("core.autocrlf=false", "core.checkStat=default", "core.trustctime=true"),
    *("core.splitIndex=false", "core.sparseCheckout=false", "core.attributesFile=/dev/null"),
)
_GITLINK = b"160000 "


class NoTree(Exception):
    """There is none, and in one line why."""


class Tree(msgspec.Struct, frozen=True):
    """A work tree at one moment. `top` is where it lies; `ignored` says what git does not see."""

    top: str
    tree: str
    ignored: str


class Trees:
    """Looks at work trees for one state directory, one look at a time."""

    def __init__(self, state_dir: Path, marks: Mapping[str, str]) -> None:
        """`marks`: what all that runs here carries in its environment."""
        self._state_dir = os.path.realpath(state_dir)
        self._dir = Path(self._state_dir) / "git" / "trees"
        self._marks = dict(marks)
        self._lock = anyio.Lock()
        self._slow: set[str] = set()  # folders whose tree took too long once: not asked again
        self._git: str | None = None

    async def look(self, cwd: str, within_s: float = math.inf) -> Tree:
        """The work tree that `cwd` lies in. Raises NoTree, and TimeoutError where the look itself
        takes longer than `within_s`, or took longer before. It may be cancelled at any moment."""
        if cwd in self._slow:
            raise TimeoutError
        self._git = self._git or shutil.which("git")
        if self._git is None:
            raise NoTree("git is not installed")
        async with self._lock:
            if cwd in self._slow:
                raise TimeoutError  # somebody found that out while this one waited
            try:
                with anyio.fail_after(within_s):
                    return await self._look(cwd)
            except TimeoutError:
                self._slow.add(cwd)
                raise
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                raise NoTree(f"git could not be used: {error}") from error

    async def _look(self, cwd: str) -> Tree:
        asked = ("rev-parse", "--path-format=absolute", "--show-toplevel", "--absolute-git-dir")
        try:
            said = await self._run(cwd, HARMLESS, *asked, "--git-path", "info/exclude")
        except NoTree:
            # Git also says so of a repository that belongs to somebody else.
            raise NoTree("the folder is in no git work tree of this user") from None
        top, git_dir, exclude = map(os.fsdecode, said.split(b"\n")[:3])
        await anyio.to_thread.run_sync(prepare_bare, self._dir)
        digest = hashlib.sha256(os.fsencode(top)).hexdigest()[:16]
        own = _Own(self, top, exclude, self._dir / f"{digest}.index")
        tracked = await self._run(
            top, HARMLESS, f"--git-dir={git_dir}", f"--work-tree={top}", "ls-files", "-z"
        )
        try:
            tree = await own.tree(_names(tracked))
        except NoTree:
            # Whatever it knew of an earlier state may be in the way: once more from nothing.
            own.index.unlink(missing_ok=True)
            tree = await own.tree(_names(tracked))
        ignored = _names(await own.run(*_OTHERS, "--ignored"))
        digest = await anyio.to_thread.run_sync(_digest, top, self.ours(top), ignored)
        return Tree(top, tree, digest)

    def ours(self, top: str) -> bytes | None:
        """The state directory, as a path within the tree: what we write says nothing of the work.
        None where it is elsewhere."""
        inside = os.path.relpath(self._state_dir, top)
        return None if inside.startswith("..") else os.fsencode(inside) + b"/"

    @property
    def dir(self) -> Path:
        return self._dir

    async def _run(
        self,
        cwd: str,
        config: Iterable[str],
        *args: str,
        given: bytes = b"",
        index: Path | None = None,
    ) -> bytes:
        assert self._git is not None
        own = {"GIT_INDEX_FILE": str(index)} if index is not None else {}
        env = environment(self._dir, {**own, **self._marks})
        argv = [self._git, *settings(config), *args]
        try:
            said = await run_git(argv, cwd, env, given, bytes_max=NAMES_BYTES_MAX)
        except Overflow:
            raise NoTree("it has too many files") from None
        if said.code:
            verb = next(word for word in argv[1:] if not word.startswith("-") and "=" not in word)
            raise NoTree(f"git {verb} failed with {said.code}")
        return said.out

    async def run_own(self, own: _Own, *args: str, given: bytes = b"") -> bytes:
        """A git command on the user's files with everything else ours."""
        where = (f"--git-dir={self._dir}", f"--work-tree={own.top}")
        excludes = f"core.excludesFile={own.exclude}"
        config = (*HARMLESS, *_OURS, excludes)
        return await self._run(own.top, config, *where, *args, given=given, index=own.index)


_OTHERS = ("ls-files", "-z", "--others", "--exclude-standard")


class _Own:
    """A work tree with an index of our own. `exclude`: the user's list of what to ignore there."""

    def __init__(self, trees: Trees, top: str, exclude: str, index: Path) -> None:
        self._trees = trees
        self.top = top
        self.exclude = exclude
        self.index = index
        # One look at a time, so a lock is that of one that was killed.
        index.with_name(f"{index.name}.lock").unlink(missing_ok=True)

    async def run(self, *args: str, given: bytes = b"") -> bytes:
        return await self._trees.run_own(self, *args, given=given)

    async def tree(self, tracked: list[bytes]) -> str:
        """The name of the tree of all that is not ignored, or tracked all the same."""
        names = set(_names(await self.run(*_OTHERS, "--cached")))
        names.update(name for name in tracked if name not in names and self._is_file(name))
        ours = self._trees.ours(self.top)
        found = sorted(n for n in names if ours is None or not n.startswith(ours))
        within = next((name for name in found if name.endswith(b"/")), None)
        if within is not None:
            raise NoTree(f"another repository lies in it: {os.fsdecode(within)}")
        update = ("update-index", "-z", "--info-only", "--add", "--remove", "--replace", "--stdin")
        await self.run(*update, given=b"".join(name + b"\0" for name in found))
        entries = await self.run("ls-files", "-z", "--stage")
        if entries.startswith(_GITLINK) or b"\0" + _GITLINK in entries:
            raise NoTree("it has submodules")
        return os.fsdecode(await self.run("write-tree", "--missing-ok")).strip()

    def _is_file(self, name: bytes) -> bool:
        """Where the user's index has a file there may be a folder now: its files are seen anyway.
        What is gone counts as a file, that is to be taken out."""
        path = os.fsencode(self.top) + b"/" + name
        if os.path.lexists(path + b"/.git"):
            raise NoTree("it has submodules")
        return not os.path.isdir(path) or os.path.islink(path)


def _names(listed: bytes) -> list[bytes]:
    return listed.split(b"\0")[:-1]


def _digest(top: str, ours: bytes | None, ignored: list[bytes]) -> str:
    """Of the names, kinds, sizes and times of files that are ignored, but for what is ours and for
    caches."""
    if len(ignored) > IGNORED_MAX:
        raise NoTree(f"it has more than {IGNORED_MAX} ignored files")
    digest = hashlib.sha256()
    root = os.fsencode(top) + b"/"
    caches = {os.fsencode(name) for name in CACHES}
    for name in sorted(ignored):
        parts = name.split(b"/")
        if (ours is not None and name.startswith(ours)) or not caches.isdisjoint(parts):
            continue
        if parts[-1].startswith(b".coverage"):
            continue
        try:
            found = os.lstat(root + name)
        except OSError:
            raise NoTree("its ignored files are changing") from None
        if name.endswith(b"/"):
            raise NoTree(f"another repository lies in it: {os.fsdecode(name)}")
        kind = stat.S_IFMT(found.st_mode) | (found.st_mode & stat.S_IXUSR)
        digest.update(b"%s\0%d %d %d\n" % (name, kind, found.st_size, found.st_mtime_ns))
    return digest.hexdigest()
