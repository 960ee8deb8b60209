"""patch, selftest: patches are judged by what they do, and so is this machine's git."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.calling import Call, shared
from runtime.cli.exits import Exit, Stop
from runtime.cli.text import counted, one_line, paint

if TYPE_CHECKING:
    from runtime.ledger import Checked, Policy
    from runtime.ledger.selftest import Grade

_STYLES = {"ACCEPT": "green", "HOLD": "yellow", "REJECT": "red"}
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_PATCH = click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True)


@click.group("patch")
def patch_command() -> None:
    """Judge patches before they touch anything."""


@patch_command.command("check")
@click.argument("patches", metavar="PATCH...", nargs=-1, required=True, type=_PATCH)
@click.option(
    "--repo",
    required=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The git repository that they are for. Nothing in it is changed.",
)
@click.option("--base", metavar="REV", help="What they are made against; default: HEAD.")
@click.option("--policy", type=_FILE, help="What they may do, in TOML (docs/patches.md).")
@shared
def _check(
    call: Call, patches: tuple[Path, ...], repo: Path, base: str | None, policy: Path | None
) -> int:
    """Judge each PATCH (- is stdin) by what it does to the tree: ACCEPT, HOLD or REJECT.

    Exits 0 if all are accepted, 1 otherwise. The repository is only read.
    """
    import anyio  # noqa: PLC0415 - the list of commands needs no event loop

    from runtime.ledger import BadPolicy, BaseMissing, GitTrouble, Policy, read_policy  # noqa: PLC0415 - likewise

    try:
        rules = read_policy(policy) if policy is not None else Policy()
    except BadPolicy as bad:
        raise Stop(Exit.USAGE, str(bad), "docs/patches.md has the format", "bad_policy") from None

    async def judge() -> bool:
        accepted = True
        async for patch, checked in _judged(patches, repo, base, rules):
            _show(call, patch, checked)
            accepted &= checked.verdict == "ACCEPT"
        return accepted

    try:
        return Exit.OK if anyio.run(judge) else Exit.FAILED
    except BaseMissing as none:
        cure = "give a git repository with --repo, and a commit that is in it with --base"
        raise Stop(Exit.USAGE, str(none), cure, "no_base") from None
    except GitTrouble as trouble:
        cure = "no verdict: this says nothing of the patch"
        raise Stop(Exit.UNUSABLE, str(trouble), cure, "git") from None


async def _judged(
    patches: tuple[Path, ...], repo: Path, base: str | None, policy: Policy
) -> AsyncIterator[tuple[Path, Checked]]:
    from runtime.ledger import check_patch, scratch_for  # noqa: PLC0415 - as above

    async with scratch_for(repo, base) as scratch:
        for patch in patches:
            content = _read(patch, policy.limits.patch_bytes)
            yield patch, await check_patch(scratch, content, policy)


def _read(patch: Path, bytes_max: int) -> bytes:
    """The patch, or enough of it to see that it is too large."""
    if str(patch) == "-":
        return sys.stdin.buffer.read(bytes_max + 1)
    try:
        with patch.open("rb") as file:
            return file.read(bytes_max + 1)
    except OSError as error:
        text = f"{patch}: {error.strerror}"
        raise Stop(Exit.USAGE, text, "give files that can be read") from None


def _show(call: Call, patch: Path, checked: Checked) -> None:
    value = {
        "patch": str(patch),
        "verdict": checked.verdict,
        "reasons": checked.reasons,
        "files": checked.files,
    }
    call.show(value, lambda: _lines(patch, checked))


def _lines(patch: Path, checked: Checked) -> Iterator[str]:
    verdict = checked.verdict.value
    files = counted(len(checked.files), "file")
    yield f"{paint(verdict, _STYLES[verdict])}  {one_line(str(patch))}  {files}"
    for reason in checked.reasons:
        where = f" {one_line(reason.path)}" if reason.path else ""
        line = f" (line {reason.line})" if reason.line else ""
        yield f"  {reason.verdict.lower()} {reason.code}{where}{line}: {one_line(reason.text)}"


@click.group("selftest")
def selftest_command() -> None:
    """Try what this machine brings along."""


@selftest_command.command("patches")
@shared
def _patches(call: Call) -> int:
    """Judge a corpus of hostile and of honest patches with this machine's git.

    Exits 6 if a verdict is not the one that is owed.
    """
    import anyio  # noqa: PLC0415 - as above

    from runtime.ledger import BaseMissing, GitTrouble  # noqa: PLC0415 - as above
    from runtime.ledger.selftest import grade  # noqa: PLC0415 - as above

    try:
        found = anyio.run(grade)
    except (GitTrouble, BaseMissing) as trouble:
        raise Stop(Exit.UNUSABLE, str(trouble), "install git 2.39 or newer", "git") from None
    value: dict[str, Any] = {
        "git": found.git,
        "cases": found.cases,
        "right": found.cases - len(found.wrong),
        "hazards": found.hazards,
        "git_alone": {"refusable": found.refusable, "refused": found.refused},
        "wrong": found.wrong,
    }
    call.show(value, lambda: _grade_lines(found))
    return Exit.UNSOUND if found.wrong else Exit.OK


def _grade_lines(found: Grade) -> Iterator[str]:
    yield f"git {found.git}: {found.cases - len(found.wrong)} of {found.cases} verdicts as owed"
    for hazard, count in found.hazards.items():
        yield f"  {count:4} {hazard}"
    yield (
        f"of {found.refusable} patches that are to be refused, git alone refuses {found.refused}"
    )
    for wrong in found.wrong:
        yield (
            f"  {paint('wrong', 'red')} {wrong.case}: owed {wrong.owed} {wrong.code}, "
            f"given {wrong.given} {' '.join(wrong.codes)}"
        )
