"""Patches judged by what they do, in repositories of every kind, which are not touched by it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime.ledger import (
    RULES,
    BadPolicy,
    BaseMissing,
    Checked,
    GitTrouble,
    Policy,
    Verdict,
    check_patch,
    read_policy,
    scratch_for,
)
from runtime.ledger.corpus import CASES
from runtime.ledger.corpus.kit import EDIT, created
from runtime.ledger.policy import matches
from runtime.ledger.selftest import grade
from tests.runtime.git_kit import everything, git, repository

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "patch_cases.json"
NEW = created("new.txt", "x\n")


async def check(
    repo: Path, patch: str | bytes, base: str | None = None, policy: Policy | None = None
) -> Checked:
    text = patch if isinstance(patch, bytes) else patch.encode()
    async with scratch_for(repo, base) as scratch:
        return await check_patch(scratch, text, policy or Policy())


def codes(checked: Checked) -> list[str]:
    return [reason.code for reason in checked.reasons]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "repo", readme__txt="alpha\nbeta\ngamma\n", conf__py="k = 1\n")


# --- the corpus -------------------------------------------------------------------------------


async def test_every_case_of_the_corpus_gets_the_verdict_and_the_reason_it_is_owed() -> None:
    found = await grade()
    assert found.wrong == ()
    assert found.cases == len(CASES) >= 150
    assert found.refused < found.refusable


def test_the_corpus_owes_every_reason_there_is_but_those_that_no_text_can_bring_about() -> None:
    owed = {case.code for case in CASES}
    # Bugs of a git to come: what it does is not what the text says.
    assert set(RULES) - owed == {"effect_differs", "not_reproducible"}


async def test_a_case_that_is_judged_otherwise_is_found() -> None:
    case = CASES[0]._replace(verdict=Verdict.REJECT, code="no_diff")
    found = await grade((case,))
    assert [wrong.given for wrong in found.wrong] == [Verdict.ACCEPT]


async def test_the_sample_of_others_gets_its_verdicts_where_it_is_there(tmp_path: Path) -> None:
    if not SAMPLE.exists():
        pytest.skip("the sample of patches is not beside this project")
    sample: dict[str, Any] = json.loads(SAMPLE.read_bytes())
    folder = repository(tmp_path / "sample")
    for entry in sample["fixture"]:
        path = folder / entry["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry["mode"] == "120000":
            path.symlink_to(entry["target"])
        elif entry["mode"] == "160000":
            git(
                folder,
                "update-index",
                "--add",
                "--cacheinfo",
                f"160000,{entry['commit']},{entry['path']}",
            )
            continue
        else:
            path.write_bytes(base64.b64decode(entry["b64"]))
            path.chmod(int(entry["mode"][-3:], 8))
        if entry.get("tracked", True):
            git(folder, "add", "-f", entry["path"])
    git(folder, "commit", "-q", "-m", "sample")
    wrong = {}
    async with scratch_for(folder, None) as scratch:
        for case in sample["cases"]:
            patch = base64.b64decode(case["patch_b64"]) if "patch_b64" in case else None
            checked = await check_patch(
                scratch, patch or created("src/z.py", "x" * 2_000_000 + "\n"), Policy()
            )
            if checked.verdict != case["expect"]:
                wrong[case["id"]] = (case["expect"], checked.verdict, codes(checked))
    assert wrong == {}


# --- repositories -----------------------------------------------------------------------------


async def test_in_an_empty_repository_a_new_file_is_accepted(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert (await check(tmp_path, NEW)).verdict is Verdict.ACCEPT


async def test_in_an_empty_repository_no_revision_is_there(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(BaseMissing, match="no revision 'main'"):
        await check(tmp_path, NEW, "main")


async def test_a_repository_of_one_commit_is_judged(repo: Path) -> None:
    checked = await check(repo, EDIT)
    assert (checked.verdict, checked.files) == (Verdict.ACCEPT, ("readme.txt",))
    assert checked.stages == {"format": "ACCEPT", "scope": "ACCEPT", "constraints": "ACCEPT"}


async def test_the_base_is_what_a_detached_head_names(repo: Path) -> None:
    git(repo, "checkout", "-q", "--detach")
    assert (await check(repo, EDIT)).verdict is Verdict.ACCEPT


async def test_a_dirty_checkout_and_index_have_no_say(repo: Path) -> None:
    (repo / "readme.txt").write_text("other\n")
    git(repo, "add", "-A")
    (repo / "conf.py").unlink()
    assert (await check(repo, EDIT)).verdict is Verdict.ACCEPT


async def test_the_base_may_be_an_older_commit(repo: Path) -> None:
    (repo / "readme.txt").write_text("other\n")
    git(repo, "commit", "-q", "-a", "-m", "second")
    assert codes(await check(repo, EDIT)) == ["does_not_apply"]
    assert (await check(repo, EDIT, "HEAD~1")).verdict is Verdict.ACCEPT


async def test_a_repository_of_sha256_is_judged(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256")
    (tmp_path / "readme.txt").write_text("alpha\nbeta\ngamma\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "first")
    checked = await check(tmp_path, EDIT)
    assert checked.verdict is Verdict.ACCEPT
    assert len(checked.base) == 64


async def test_a_submodule_in_the_base_is_no_obstacle(repo: Path) -> None:
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
    git(repo, "commit", "-q", "-m", "sub")
    assert (await check(repo, EDIT)).verdict is Verdict.ACCEPT


async def test_lfs_pointers_and_their_filter_in_the_base_are_no_obstacle(repo: Path) -> None:
    (repo / ".gitattributes").write_text("*.txt filter=lfs diff=lfs merge=lfs -text\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "lfs")
    assert (await check(repo, EDIT)).verdict is Verdict.ACCEPT


async def test_names_that_collide_already_are_no_obstacle(repo: Path) -> None:
    (repo / "README.txt").write_text("x\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "twin")
    assert (await check(repo, EDIT)).verdict is Verdict.ACCEPT


async def test_a_shallow_clone_is_judged_and_what_is_cut_off_is_told(
    repo: Path, tmp_path: Path
) -> None:
    git(repo, "commit", "-q", "--allow-empty", "-m", "second")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repo}", "shallow")
    assert (await check(tmp_path / "shallow", EDIT)).verdict is Verdict.ACCEPT
    with pytest.raises(BaseMissing, match="shallow clone"):
        await check(tmp_path / "shallow", EDIT, "HEAD~1")


async def test_a_file_that_a_partial_clone_lacks_is_no_verdict_and_is_not_fetched(
    repo: Path, tmp_path: Path
) -> None:
    git(repo, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "-n", "--filter=blob:none", f"file://{repo}", "partial")
    before = everything(tmp_path / "partial")
    with pytest.raises(GitTrouble, match="unable to read"):
        await check(tmp_path / "partial", EDIT)
    assert (await check(tmp_path / "partial", NEW)).verdict is Verdict.ACCEPT
    assert everything(tmp_path / "partial") == before


async def test_a_linked_worktree_and_a_bare_clone_are_judged(repo: Path, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    git(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    for folder in (tmp_path / "linked", tmp_path / "bare.git"):
        assert (await check(folder, EDIT)).verdict is Verdict.ACCEPT


async def test_objects_in_a_folder_with_a_colon_and_a_quote_are_found(tmp_path: Path) -> None:
    repo = repository(tmp_path / 'a:b "c"', readme__txt="alpha\nbeta\ngamma\n")
    assert (await check(repo, EDIT)).verdict is Verdict.ACCEPT


async def test_a_clone_that_borrows_its_objects_is_judged(repo: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--shared", str(repo), "borrower")
    assert (await check(tmp_path / "borrower", EDIT)).verdict is Verdict.ACCEPT


async def test_what_is_no_repository_is_told(tmp_path: Path) -> None:
    with pytest.raises(BaseMissing, match="no git repository"):
        await check(tmp_path, EDIT)


async def test_a_revision_that_looks_like_an_option_is_none(repo: Path) -> None:
    with pytest.raises(BaseMissing, match="no revision"):
        await check(repo, EDIT, "--all")


# --- out of reach -----------------------------------------------------------------------------


async def test_nothing_of_the_repository_is_changed(repo: Path) -> None:
    (repo / "readme.txt").write_text("dirty\n")
    # What a patch makes again is there already: git would note that it was used once more.
    for folder in ("a", "b"):
        (repo / folder).mkdir()
        (repo / folder / "x").write_text("x\n")
    git(repo, "add", "a", "b")
    git(repo, "commit", "-q", "-m", "second")
    before = everything(repo)
    await check(repo, EDIT)
    await check(repo, created("c/x", "x\n"))
    for case in CASES[::25]:
        await check(repo, case.patch)
    assert everything(repo) == before


async def test_nothing_that_the_repository_configures_is_run(repo: Path, tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    script = tmp_path / "trap.sh"
    script.write_text(f"#!/bin/sh\necho x >> {trap}\n")
    script.chmod(0o755)
    (repo / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "attributes")
    for key in (
        *("filter.evil.clean", "filter.evil.smudge", "diff.evil.command", "diff.evil.textconv"),
        *("diff.external", "merge.evil.driver", "core.fsmonitor", "core.pager", "core.editor"),
    ):
        git(repo, "config", key, str(script))
    git(repo, "config", "core.hooksPath", str(tmp_path))
    for hook in ("post-checkout", "post-index-change", "reference-transaction"):
        (tmp_path / hook).symlink_to(script)
    assert (await check(repo, EDIT)).verdict is Verdict.ACCEPT
    assert not trap.exists()


async def test_a_replaced_object_is_judged_as_what_it_was(repo: Path) -> None:
    tree = git(repo, "rev-parse", "HEAD^{tree}")
    git(repo, "replace", "HEAD^{tree}", git(repo, "mktree", "--missing"))
    checked = await check(repo, EDIT)
    assert (checked.verdict, checked.base) == (Verdict.ACCEPT, tree)


async def test_settings_of_apply_and_diff_have_no_say(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in (
        ("apply.whitespace", "fix"),
        ("diff.noprefix", "true"),
        ("core.bare", "true"),
    ):
        git(repo, "config", key, value)
    monkeypatch.setenv("GIT_DIR", "elsewhere")
    monkeypatch.setenv("GIT_INDEX_FILE", str(repo / "index"))
    checked = await check(repo, EDIT.replace("+BETA\n", "+BETA  \n"))
    assert checked.verdict is Verdict.ACCEPT
    assert checked.canonical is not None
    assert b"+BETA  \n" in checked.canonical


# --- what is written of it --------------------------------------------------------------------


def test_every_reason_stands_in_the_documentation_with_its_verdict() -> None:
    text = (Path(__file__).parents[2] / "docs" / "patches.md").read_text()
    for code, rule in RULES.items():
        fixed = ", fixed" if rule.fixed else ""
        assert f"| `{code}` | {rule.verdict}{fixed} | {rule.text} |" in text
    assert f"a corpus of {len(CASES)} patches" in text


# --- policy -----------------------------------------------------------------------------------


async def test_a_policy_gives_a_reason_another_verdict(repo: Path, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[verdicts]\nprotected_path = "REJECT"\n')
    checked = await check(repo, created("Makefile"), policy=read_policy(file))
    assert (checked.verdict, codes(checked)) == (Verdict.REJECT, ["protected_path"])


async def test_a_policy_that_accepts_a_reason_no_longer_tells_it(repo: Path) -> None:
    policy = Policy(verdicts={"protected_path": Verdict.ACCEPT})
    checked = await check(repo, created("Makefile"), policy=policy)
    assert (checked.verdict, codes(checked)) == (Verdict.ACCEPT, [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("scop = []", "unknown field"),
        ("[limits]\nfiles = -1", "below 0"),
        ('[verdicts]\nodd = "HOLD"', "no reason 'odd'"),
        ('[verdicts]\ndoes_not_apply = "ACCEPT"', "no policy changes"),
        ('[verdicts]\nbinary = "MAYBE"', "Invalid enum value"),
        ('secrets_too = ["("]', "a pattern is wrong"),
        ('scope = ["/"]', "a pattern is wrong"),
        ("scope = [", "policy.toml"),
    ],
)
def test_a_wrong_policy_is_told_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(text)
    with pytest.raises(BadPolicy, match=says):
        read_policy(file)


async def test_a_large_file_of_the_base_is_not_unfolded_to_judge_its_deletion(repo: Path) -> None:
    small = msgspec.structs.replace(Policy().limits, blob_bytes=5)
    patch = EDIT.replace("-beta\n+BETA\n", "-beta\n")
    checked = await check(repo, patch.replace("+1,3", "+1,2"), policy=Policy(limits=small))
    assert (codes(checked), checked.tree) == (["blob_too_large"], None)


@pytest.mark.parametrize(
    ("pattern", "path", "meant"),
    [
        ("src/**", "src/a/b.py", True),
        ("src/**", "source/a.py", False),
        ("src/*.py", "src/a/b.py", False),
        ("src/**/b.py", "src/b.py", True),
        ("**/b.py", "a/b.py", True),
        ("*.py", "a/b.py", True),
        ("docs/", "docs/a.md", True),
        ("docs/", "docs", False),
        ("docs", "a/docs/b.md", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[!a].py", "b.py", True),
        ("[ab].py", "c.py", False),
        ("a.py", "aXpy", False),
    ],
)
def test_a_pattern_names_files_as_in_gitignore(pattern: str, path: str, meant: bool) -> None:
    assert matches((pattern,), path) is meant


async def test_a_secret_is_never_shown(repo: Path) -> None:
    checked = await check(repo, created("k.py", "AKIA" + "IOSFODNN7EXAMPLE\n"))
    assert codes(checked) == ["secret"]
    assert "AKIA" not in str(checked.reasons)


async def test_the_worst_reasons_come_first_and_their_number_is_bounded(repo: Path) -> None:
    many = b"".join(created(f"f{n}/Makefile") for n in range(150)) + created(
        "x", "<<<<<<< a\n>>>>>>> b\n"
    )
    checked = await check(repo, many)
    assert codes(checked)[0] == "conflict_markers"
    assert len(checked.reasons) == 100
