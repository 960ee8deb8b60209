"""A repository of ours that nobody else reaches, where a patch is applied to see what it does.

It is bare, has no ref and lives as long as the judging. Of the user's repository only objects are
read: the base's folders at first, then those files that a patch names, each copied here before
anything is written. Nothing of its configuration, hooks, attributes, index, refs or replacements
reaches us. Git marks an object that it would write, and finds elsewhere, as used, by its file's
time: so whatever may write does not know of the user's objects at all.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import msgspec

from runtime.errors import BanksmanError
from runtime.git import HARMLESS, Overflow, Said, environment, prepare_bare, run_git, settings

GIT_S_MAX = 120  # for one call; a patch within the limits needs a fraction of a second
OUT_BYTES_MAX = 512 << 20
GITLINK = 0o160000  # the mode of a submodule: a commit that is not here

_SETTINGS = (
    *HARMLESS,
    *("core.bare=true", "core.symlinks=true", "core.ignoreCase=false", "core.autocrlf=false"),
    *("core.attributesFile=/dev/null", "core.precomposeUnicode=false", "core.fileMode=true"),
    *("apply.ignoreWhitespace=no", "apply.whitespace=nowarn", "diff.noprefix=false"),
    *("diff.mnemonicPrefix=false", "diff.suppressBlankEmpty=false", "core.quotePath=true"),
    *("gc.auto=0", "maintenance.auto=false", "core.splitIndex=false", "index.threads=1"),
)
_MOVED = re.compile(rb"^Hunk #\d+ succeeded at \d+", re.MULTILINE)
_CANONICAL = (
    *("diff-tree", "-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff"),
    *("--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/", "--unified=3"),
    *("--diff-algorithm=myers", "--no-indent-heuristic", "--inter-hunk-context=0", "-O/dev/null"),
    *("--submodule=short", "--ignore-submodules=none"),
)


class BaseMissing(BanksmanError):
    """The repository or the revision that patches are checked against cannot be used."""


class GitTrouble(BanksmanError):
    """Git did not do what it does on every machine that is well: no verdict on the patch."""


class Change(msgspec.Struct, frozen=True):
    """One name whose content differs between base and result; modes and ids are zero where it is
    not there."""

    path: bytes
    old_mode: int
    new_mode: int
    old_id: str
    new_id: str


class Entry(msgspec.Struct, frozen=True):
    mode: int
    id: str


class Applied(msgspec.Struct, frozen=True):
    """What git did with a patch: the tree, or why there is none. `moved`: not where it said."""

    tree: str | None
    said: str
    moved: bool


class Scratch:
    """One base tree, and what patches make of it. May be used by several tasks at once."""

    def __init__(self, folder: Path, git: str, objects: str) -> None:
        self._dir = folder
        self._git = git
        self._objects = objects
        self._count = 0
        self._brought: set[str] = set()
        self.base = ""
        self.entries: Mapping[bytes, Entry] = {}

    async def git(
        self, *args: str, given: bytes = b"", index: Path | None = None, beyond: bool = False
    ) -> Said:
        """A command within our repository; one that only reads may look `beyond` it, at the user's
        objects. Raises GitTrouble where it does not end by itself."""
        more = {"GIT_DIR": str(self._dir), "GIT_CEILING_DIRECTORIES": str(self._dir.parent)}
        if beyond and self._objects:
            more["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = self._objects
        if index is not None:
            more["GIT_INDEX_FILE"] = str(index)
        env = environment(self._dir, more)
        argv = [self._git, *settings(_SETTINGS), *args]
        return await _ended(argv, str(self._dir), env, given)

    async def must(
        self, *args: str, given: bytes = b"", index: Path | None = None, beyond: bool = False
    ) -> bytes:
        """As `git`, for what always works. Raises GitTrouble where it does not."""
        said = await self.git(*args, given=given, index=index, beyond=beyond)
        if said.code:
            raise GitTrouble(f"git {args[0]} failed with {said.code}: {_line(said.err)}")
        return said.out

    async def load(self, tree: str) -> None:
        """Makes the tree the base."""
        if self._objects:
            listed = await self.must("ls-tree", "-r", "-d", "-z", "--full-tree", tree, beyond=True)
            folders = (line.split(b"\t", 1)[0].split(b" ") for line in listed.split(b"\0")[:-1])
            names = [words[2].decode() for words in folders if words[1] == b"tree"]
            await self._copy([tree, *names])
        self.base = tree
        self.entries = await self.tree_entries(tree)

    async def bring(self, names: Iterable[bytes]) -> None:
        """Copies what stands under these names in the base: a patch needs nothing else of it."""
        found = (self.entries[name] for name in names if name in self.entries)
        new = {entry.id for entry in found if entry.mode != GITLINK} - self._brought
        if self._objects and new:
            await self._copy(sorted(new))
            self._brought |= new

    async def _copy(self, ids: list[str]) -> None:
        given = "".join(f"{name}\n" for name in ids).encode()
        pack = str(self._dir / "objects" / "pack" / "pack")
        await self.must("pack-objects", "-q", "--window=0", pack, given=given, beyond=True)

    async def tree_entries(self, tree: str) -> dict[bytes, Entry]:
        """All files of a tree by their name."""
        listed = await self.must("ls-tree", "-r", "-z", "--full-tree", tree)
        entries = {}
        for line in listed.split(b"\0")[:-1]:
            facts, _, name = line.partition(b"\t")
            mode, _, object_id = facts.split(b" ")
            entries[name] = Entry(int(mode, 8), object_id.decode())
        return entries

    async def apply(self, patch: bytes, *, loose: bool = False) -> Applied:
        """What the patch makes of the base, in an index of its own. `loose`: hunks without context
        are tried too. They are found by what they remove; that they say where still counts."""
        self._count += 1
        index = self._dir / f"index-{self._count}"
        try:
            await self.must("read-tree", self.base, index=index)
            words = ["apply", "--cached", "--whitespace=nowarn", "-p1", "-v"]
            words += ["--unidiff-zero"] if loose else []
            done = await self.git(*words, "-", given=patch, index=index)
            if done.code < 0:
                raise GitTrouble(f"git apply was killed by signal {-done.code}")
            if done.code:
                return Applied(None, _line(done.err), moved=False)
            written = await self.git("write-tree", "--missing-ok", index=index)
            if written.code:
                return Applied(None, _line(written.err), moved=False)
            return Applied(written.out.decode().strip(), "", bool(_MOVED.search(done.err)))
        finally:
            index.unlink(missing_ok=True)
            index.with_name(f"{index.name}.lock").unlink(missing_ok=True)

    async def changes(self, tree: str) -> list[Change]:
        """The effect: all names whose mode or content differ from the base."""
        words = ("diff-tree", "--raw", "-z", "-r", "--no-renames", "--full-index", "--no-abbrev")
        raw = await self.must(*words, self.base, tree)
        fields = raw.split(b"\0")[:-1]
        found = []
        for facts, path in zip(fields[::2], fields[1::2], strict=True):
            old_mode, new_mode, old_id, new_id, _ = facts.decode().lstrip(":").split(" ")
            found.append(Change(path, int(old_mode, 8), int(new_mode, 8), old_id, new_id))
        return found

    async def canonical(self, tree: str) -> bytes:
        """The patch from base to `tree` as we would write it."""
        return await self.must(*_CANONICAL, self.base, tree)

    async def sizes(self, ids: list[str]) -> dict[str, int]:
        """Of those objects that are here."""
        given = "".join(f"{name}\n" for name in ids).encode()
        said = await self.must("cat-file", "--batch-check", given=given, beyond=True)
        lines = (line.decode().split(" ") for line in said.splitlines())
        return {words[0]: int(words[2]) for words in lines if len(words) == 3}

    async def blobs(self, ids: list[str]) -> dict[str, bytes]:
        """Contents of those objects that are here. The caller knows that they are small."""
        given = "".join(f"{name}\n" for name in ids).encode()
        said = await self.must("cat-file", "--batch", given=given, beyond=True)
        found: dict[str, bytes] = {}
        at = 0
        while at < len(said):
            end = said.index(b"\n", at)
            words = said[at:end].decode().split(" ")
            at = end + 1
            if len(words) == 3:
                size = int(words[2])
                found[words[0]] = said[at : at + size]
                at += size + 1
        return found


async def git_version(git: str | None = None) -> str:
    """Of the git that is found first, as it says it. Raises BaseMissing where there is none."""
    program = git or _program()
    said = await _ended([program, "version"], os.sep, environment(Path(os.devnull), {}), b"")
    return said.out.decode(errors="replace").strip().removeprefix("git version ")


@asynccontextmanager
async def scratch_for(repository: Path, revision: str | None) -> AsyncIterator[Scratch]:
    """Ours, with the tree of `revision` (default: what HEAD names; the empty tree where it names
    nothing yet) of the user's repository as its base. Raises BaseMissing, GitTrouble."""
    git = _program()
    folder = str(repository)
    env = environment(Path(os.devnull), {})
    asked = ("rev-parse", "--path-format=absolute", "--git-path", "objects")
    ask = [git, *settings(HARMLESS)]
    said = await _ended([*ask, *asked, "--show-object-format"], folder, env, b"")
    if said.code:
        raise BaseMissing(f"{repository} is no git repository of this user: {_line(said.err)}")
    objects, form = os.fsdecode(said.out).strip().rsplit("\n", 1)
    name = revision or "HEAD"
    if name.startswith("-"):
        raise BaseMissing(f"{name!r} is no revision")
    named = await _ended([*ask, "rev-parse", "--verify", "--quiet", name], folder, env, b"")
    async with empty_scratch(form, _quoted(objects)) as scratch:
        if named.code == 0:
            commit = named.out.decode().strip()
            tree = await scratch.git(
                *("rev-parse", "--verify", "--quiet", f"{commit}^{{tree}}"), beyond=True
            )
            if tree.code:
                raise BaseMissing(f"{name} names no commit whose tree is in {repository}")
            await scratch.load(tree.out.decode().strip())
        elif revision is not None or not await _unborn(ask, folder, env):
            raise BaseMissing(f"there is no revision {name!r} in {repository}{_cut(objects)}")
        yield scratch


@asynccontextmanager
async def empty_scratch(form: str = "sha1", objects: str = "") -> AsyncIterator[Scratch]:
    """Ours, with the empty tree as its base. `form` is the object format."""
    with TemporaryDirectory(prefix="banksman-patch-") as temporary:
        folder = Path(temporary) / "git"
        prepare_bare(folder, diff="!diff", config=_config(form))
        (folder / "objects" / "pack").mkdir()
        scratch = Scratch(folder, _program(), objects)
        await scratch.load((await scratch.must("mktree")).decode().strip())
        yield scratch


def _config(form: str) -> str:
    core = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n"
    return core + f"[extensions]\n\tobjectFormat = {form}\n"


async def _unborn(ask: list[str], folder: str, env: dict[str, str]) -> bool:
    """Whether HEAD is a branch that no commit is on yet, and not one that is damaged."""
    head = await _ended([*ask, "symbolic-ref", "--quiet", "HEAD"], folder, env, b"")
    if head.code:
        return False
    words = ("for-each-ref", "--format=x", head.out.decode(errors="replace").strip())
    return not (await _ended([*ask, *words], folder, env, b"")).out


def _cut(objects: str) -> str:
    shallow = Path(objects).parent / "shallow"
    return " (it is a shallow clone: what is older is not in it)" if shallow.exists() else ""


def _quoted(path: str) -> str:
    """As the list of object folders wants a path that holds its separator or a quote."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"' if escaped != path or ":" in path else path


def _program() -> str:
    found = shutil.which("git")
    if found is None:
        raise BaseMissing("git is not installed")
    return found


def _line(said: bytes) -> str:
    """The first complaint of git's."""
    lines = said.decode(errors="replace").splitlines()
    told = [line for line in lines if line.startswith(("error: ", "fatal: "))] or lines[-1:]
    told = [line for line in told if line != "error: while searching for:"] or told
    return (
        told[0].removeprefix("error: ").removeprefix("fatal: ") if told else "it does not say why"
    )


async def _ended(argv: list[str], cwd: str, env: dict[str, str], given: bytes) -> Said:
    try:
        with anyio.fail_after(GIT_S_MAX):
            return await run_git(argv, cwd, env, given, bytes_max=OUT_BYTES_MAX, errors=True)
    except TimeoutError:
        raise GitTrouble(f"git took longer than {GIT_S_MAX} s") from None
    except Overflow:
        raise GitTrouble("git wrote more than it may") from None
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise GitTrouble(f"git could not be used: {error}") from error
