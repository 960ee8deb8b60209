"""`banksman patch check` and `banksman selftest patches`, as they are installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.ledger.corpus.kit import EDIT, created
from tests.runtime.git_kit import everything, repository


def banksman(*args: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    words = [sys.executable, "-m", "runtime", *map(str, args)]
    env = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(words, input=given, capture_output=True, check=False, env=env)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "repo", readme__txt="alpha\nbeta\ngamma\n")


def test_patches_are_judged_one_line_of_json_each_and_the_repository_stays(
    repo: Path, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.patch", tmp_path / "bad.patch"
    good.write_text(EDIT)
    bad.write_bytes(created(".git/hooks/pre-commit"))
    before = everything(repo)
    done = banksman("patch", "check", "--repo", repo, "--json", good, bad)
    first, second = map(json.loads, done.stdout.splitlines())
    assert first == {
        "patch": str(good),
        "verdict": "ACCEPT",
        "reasons": [],
        "files": ["readme.txt"],
    }
    assert (second["verdict"], second["files"]) == ("REJECT", [".git/hooks/pre-commit"])
    assert second["reasons"][0]["code"] == "path_git_dir"
    assert done.returncode == 1
    assert everything(repo) == before


def test_accepted_patches_exit_0_and_stdin_is_a_patch(repo: Path) -> None:
    done = banksman("patch", "check", "--repo", repo, "-", given=EDIT.encode())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"ACCEPT  -  1 file")


def test_a_person_reads_why_a_patch_is_held(repo: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('protected_too = ["readme.txt"]\n')
    done = banksman("patch", "check", "--repo", repo, "--policy", policy, "-", given=EDIT.encode())
    assert done.returncode == 1
    assert b"hold protected_path readme.txt: a file that decides" in done.stdout


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--base", "none"), b"there is no revision 'none'"),
        (("--policy", "absent.toml"), b"absent.toml"),
        (("--repo", "absent"), b"absent"),
    ],
)
def test_what_cannot_be_used_exits_2(repo: Path, args: tuple[str, ...], says: bytes) -> None:
    done = banksman("patch", "check", "--repo", repo, *args, "-", given=EDIT.encode())
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == b""


def test_the_selftest_grades_this_machines_git() -> None:
    done = banksman("selftest", "patches", "--json")
    said = json.loads(done.stdout)
    assert done.returncode == 0
    assert said["right"] == said["cases"] >= 150
    assert said["wrong"] == []
    assert said["git_alone"]["refused"] < said["git_alone"]["refusable"]
    assert said["git"]
