"""What stands in a work tree: every change is seen, and nothing of the user's is touched or run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from runtime.work import tree as tree_module
from runtime.work.keys import key_of, secret_of
from runtime.work.tree import NoTree, Tree, Trees
from tests.runtime.git_kit import everything, git, repository


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "repo")


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    return Trees(tmp_path / "state", {})


async def test_a_clean_checkout_has_the_tree_of_its_commit(repo: Path, trees: Trees) -> None:
    found = await trees.look(str(repo))
    assert found.tree == git(repo, "rev-parse", "HEAD^{tree}")
    assert found.top == str(repo)
    assert await trees.look(str(repo)) == found


async def test_a_folder_within_is_of_the_same_tree(repo: Path, trees: Trees) -> None:
    before = await trees.look(str(repo))
    (repo / "src").mkdir()
    assert await trees.look(str(repo / "src")) == before


def _edit(repo: Path) -> None:
    (repo / "code.py").write_text("x = 2\n")


def _edit_unseen(repo: Path) -> None:
    """Of the same size and time, as far as they can be set."""
    path = repo / "code.py"
    found = path.stat()
    path.write_text("x = 3\n")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def _hide(flag: str) -> Callable[[Path], None]:
    def change(repo: Path) -> None:
        git(repo, "update-index", flag, "code.py")
        _edit(repo)

    return change


def _add(repo: Path) -> None:
    (repo / "new file\n.py").write_text("")


def _remove(repo: Path) -> None:
    (repo / "code.py").unlink()


def _allow(repo: Path) -> None:
    (repo / "code.py").chmod(0o755)


def _line_ends(repo: Path) -> None:
    (repo / "code.py").write_bytes(b"x = 1\r\n")


def _link(repo: Path) -> None:
    (repo / "code.py").unlink()
    (repo / "code.py").symlink_to(".gitignore")


def _folder(repo: Path) -> None:
    (repo / "code.py").unlink()
    (repo / "code.py").mkdir()
    (repo / "code.py" / "x").write_text("")


def _tracked_and_ignored(repo: Path) -> None:
    (repo / "a.o").write_text("other")


@pytest.mark.parametrize(
    "change",
    [
        *(_edit, _edit_unseen, _hide("--assume-unchanged"), _hide("--skip-worktree"), _add),
        *(_remove, _allow, _line_ends, _link, _folder, _tracked_and_ignored),
    ],
    ids=[
        *("edited", "edited unseen", "assumed unchanged", "skipped", "added", "removed"),
        *("executable", "line ends", "a link", "a folder", "tracked and ignored"),
    ],
)
async def test_every_change_of_what_git_sees_is_another_tree(
    repo: Path, trees: Trees, change: Callable[[Path], None]
) -> None:
    (repo / ".gitattributes").write_text("* text=auto\n")
    (repo / "a.o").write_text("one")
    git(repo, "add", "-f", "a.o")
    before = await trees.look(str(repo))
    change(repo)
    after = await trees.look(str(repo))
    assert after.tree != before.tree
    assert (await Trees(repo.parent / "another", {}).look(str(repo))).tree == after.tree


async def test_what_is_changed_back_has_the_tree_of_before(repo: Path, trees: Trees) -> None:
    before = await trees.look(str(repo))
    _folder(repo)
    await trees.look(str(repo))
    (repo / "code.py" / "x").unlink()
    (repo / "code.py").rmdir()
    (repo / "code.py").write_text("x = 1\n")
    assert (await trees.look(str(repo))).tree == before.tree


async def test_the_users_repository_is_the_same_byte_for_byte(repo: Path, trees: Trees) -> None:
    _edit(repo)
    _add(repo)
    git(repo, "add", "code.py")
    before = everything(repo)
    await trees.look(str(repo))
    _remove(repo)
    await trees.look(str(repo))
    del before["code.py"]
    assert everything(repo) == before


async def test_nothing_that_the_repository_names_is_run(repo: Path, trees: Trees) -> None:
    canary = repo.parent / "ran"
    script = repo.parent / "script"
    script.write_text(f"#!/bin/sh\necho $0 >>{canary}\ncat\n")
    script.chmod(0o755)
    for name in ("pre-commit", "post-index-change", "post-checkout"):
        (repo / ".git/hooks" / name).write_text(script.read_text())
        (repo / ".git/hooks" / name).chmod(0o755)
    for key in ("core.fsmonitor", "filter.x.clean", "filter.x.process", "diff.x.textconv"):
        git(repo, "config", key, str(script))
    git(repo, "config", "core.hooksPath", str(repo / ".git/hooks"))
    (repo / ".gitattributes").write_text("* filter=x diff=x\n")
    _edit(repo)
    await trees.look(str(repo))
    assert not canary.exists()


@pytest.mark.parametrize("how", ["nested", "submodule", "ignored"])
async def test_a_repository_within_the_tree_is_not_looked_into_so_there_is_no_tree(
    repo: Path, trees: Trees, how: str
) -> None:
    inner = repository(repo / ("x.o" if how == "ignored" else "inner"))
    if how == "submodule":
        git(repo, "add", str(inner))
    with pytest.raises(NoTree):
        await trees.look(str(repo))


async def test_outside_of_a_repository_there_is_no_tree(tmp_path: Path, trees: Trees) -> None:
    with pytest.raises(NoTree, match="no git work tree"):
        await trees.look(str(tmp_path))


async def test_without_git_there_is_no_tree(
    repo: Path, trees: Trees, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(repo))
    with pytest.raises(NoTree, match="not installed"):
        await trees.look(str(repo))


async def test_a_tree_of_too_many_names_is_none(
    repo: Path, trees: Trees, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(20):
        (repo / f"{n:0>100}.py").touch()
    monkeypatch.setattr(tree_module, "NAMES_BYTES_MAX", 1000)
    with pytest.raises(NoTree, match="too many files"):
        await trees.look(str(repo))


async def test_looks_at_once_are_one_after_the_other_and_each_has_its_own_time(
    repo: Path, trees: Trees
) -> None:
    found: list[str] = []

    async def look() -> None:
        found.append((await trees.look(str(repo), 5.0)).tree)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(look)
    assert len(found) == 5
    assert len(set(found)) == 1
    with pytest.raises(TimeoutError):
        await trees.look(str(repo), 0.0)


async def test_a_look_that_was_killed_does_not_stand_in_the_way_of_the_next(
    repo: Path, trees: Trees
) -> None:
    before = await trees.look(str(repo))
    (index,) = trees.dir.glob("*.index")
    index.with_name(f"{index.name}.lock").touch()
    assert await trees.look(str(repo)) == before
    index.write_bytes(b"DIRC broken")
    assert await trees.look(str(repo)) == before


async def test_a_change_of_what_is_ignored_is_seen_by_its_size_and_time(
    repo: Path, trees: Trees
) -> None:
    package = repo / ".venv/lib/site-packages/p.py"
    package.parent.mkdir(parents=True)
    package.write_text("1")
    first = await trees.look(str(repo))
    os.utime(package, (1, 1))
    second = await trees.look(str(repo))
    package.unlink()
    third = await trees.look(str(repo))
    assert first.tree == second.tree == third.tree
    assert len({first.ignored, second.ignored, third.ignored}) == 3


async def test_what_caches_hold_and_what_we_write_says_nothing_of_the_tree(repo: Path) -> None:
    (repo / ".gitignore").write_text("*.pyc\n.state/\n.pytest_cache/\n.coverage\n")
    trees = Trees(repo / ".state", {})
    before = await trees.look(str(repo))
    for name in ("__pycache__/x.pyc", ".state/output/x.log", ".pytest_cache/v", ".coverage"):
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text("1")
    assert await trees.look(str(repo)) == before


async def test_a_state_directory_that_is_not_ignored_says_nothing_either(repo: Path) -> None:
    trees = Trees(repo / "state", {})
    before = await trees.look(str(repo))
    (repo / "state" / "more").write_text("1")
    assert await trees.look(str(repo)) == before


# --- keys ----------------------------------------------------------------------------------------


def tool(folder: Path, name: str = "check", text: str = "#!/bin/sh\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def key(folder: Path, *command: str, tree: str = "t", ignored: str = "i", **env: str) -> str:
    known = {"PATH": str(folder / "bin"), **env}
    return key_of(b"secret", Tree(str(folder), tree, ignored), str(folder), command, known)


def test_a_key_is_another_for_another_tree_command_or_value(tmp_path: Path) -> None:
    tool(tmp_path / "bin")
    keys = {
        key(tmp_path, "check"),
        key(tmp_path, "check", "-q"),
        key(tmp_path, "check", tree="u"),
        key(tmp_path, "check", ignored="j"),
        key(tmp_path, "check", TOKEN="1"),
        key(tmp_path, "check", TOKEN="2"),
    }
    assert len(keys) == 6
    assert key(tmp_path, "check") in keys


def test_a_key_is_another_once_the_program_or_a_file_of_the_command_is(tmp_path: Path) -> None:
    program = tool(tmp_path / "bin")
    script = tool(tmp_path, "script.sh")
    keys = [key(tmp_path, "check", str(script))]
    os.utime(program, (5, 5))
    keys.append(key(tmp_path, "check", str(script)))
    script.write_text("#!/bin/sh\nfalse\n")
    keys.append(key(tmp_path, "check", str(script)))
    assert len(set(keys)) == 3


def test_a_key_is_another_once_a_package_of_the_programs_environment_is(tmp_path: Path) -> None:
    tool(tmp_path / "bin")
    packages = tmp_path / "lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    (tmp_path / "pyvenv.cfg").touch()
    before = key(tmp_path, "check")
    (packages / "demo-1.0.dist-info").mkdir()
    assert key(tmp_path, "check") != before


def test_a_key_is_another_under_another_secret_which_is_private(tmp_path: Path) -> None:
    secret = secret_of(tmp_path / "git")
    assert len(secret) == 32
    assert secret_of(tmp_path / "git") == secret
    assert (tmp_path / "git" / "secret").stat().st_mode & 0o777 == 0o600
    tree = Tree("/", "t", "i")
    assert key_of(secret, tree, "/", ("x",), {}) != key_of(b"other", tree, "/", ("x",), {})


def test_a_secret_that_a_crash_left_empty_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    secret = secret_of(tmp_path)
    assert len(secret) == 32
    assert secret_of(tmp_path) == secret
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_names_that_are_no_text_have_a_key(tmp_path: Path) -> None:
    assert key(tmp_path, "check", "\udcff", NAME="\udcfe") != key(tmp_path, "check", "\udcfd")
