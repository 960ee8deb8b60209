"""A patch is judged by its effect: read strictly, applied where it can do no harm, and what it did
is held against the policy.

1. Format: the text is one that means one thing; git applies it to the very base, nowhere else than
   it says, with an effect on no other files than it names; and written anew it does the same.
2. Scope: the names it touches, and whether it may touch them.
3. Constraints: kinds, modes, sizes, links and contents of what is there afterwards.

Once the text is refused nothing is applied; once it does not apply there is no effect to judge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from runtime.ledger.effect import (
    collision_findings,
    content_findings,
    count_findings,
    lines_findings,
    mode_findings,
    name_findings,
    said_findings,
    scope_findings,
)
from runtime.ledger.grammar import File, Said, parse
from runtime.ledger.lines import Malformed
from runtime.ledger.names import shown
from runtime.ledger.policy import Policy
from runtime.ledger.reasons import Reason, Stage, Verdict, worst
from runtime.ledger.scratch import Applied, Change, Entry, Scratch

# The name of a file without content, in both object formats of git.
EMPTY_BLOBS = frozenset(
    {
        hashlib.new(kind, b"blob 0\0", usedforsecurity=False).hexdigest()
        for kind in ("sha1", "sha256")
    }
)
REASONS_MAX = 100  # of one patch; a hostile one could have a thousand


class Checked(msgspec.Struct, frozen=True):
    """The judgement of one patch. `files` are the names that it touches, or claims to where it was
    not applied. `tree` is what it makes of `base`, `canonical` the patch as git writes it: both
    only where it was applied. `stages` has each stage that was reached."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    files: tuple[str, ...]
    stages: Mapping[str, Verdict]
    base: str
    tree: str | None = None
    canonical: bytes | None = None


async def check_patch(scratch: Scratch, patch: bytes, policy: Policy) -> Checked:
    """The verdict on the patch against the scratch's base, with every reason for it. Raises
    GitTrouble where git itself fails: then there is none."""
    if len(patch) > policy.limits.patch_bytes:
        return _checked(scratch, [policy.reason("patch_too_large")], ())
    try:
        said = parse(patch, policy.limits.blob_bytes)
    except Malformed as wrong:
        return _checked(scratch, [policy.reason(wrong.code, line=wrong.line)], ())
    claimed = dict.fromkeys(name for file in said.files for name in file.touched)
    reasons = [*said_findings(said, policy), *name_findings(said, scratch.entries, policy)]
    reasons += _unanchored_findings(said, scratch.entries, policy)
    if worst([reason.verdict for reason in reasons]) is Verdict.REJECT:
        return _checked(scratch, reasons, claimed)
    if await _source_bytes(scratch, said) > policy.limits.source_bytes:
        return _checked(scratch, [*reasons, policy.reason("source_too_large")], claimed)
    await scratch.bring(name for file in said.files for name in file.names)
    content = patch.removeprefix(b"\xef\xbb\xbf")
    applied = await scratch.apply(content, loose=_is_loose(said))
    changes = await scratch.changes(applied.tree) if applied.tree is not None else []
    reasons += _applied_findings(said, applied, changes, policy)
    if applied.tree is None or worst([r.verdict for r in reasons]) is Verdict.REJECT:
        return _checked(scratch, reasons, claimed)
    return await _judged(scratch, said, changes, applied.tree, reasons, policy)


async def _source_bytes(scratch: Scratch, said: Said) -> int:
    """How much git loads to apply it: the file that each section starts from, every time."""
    names = [file.old for file in said.files if file.old is not None]
    olds = [scratch.entries[name].id for name in names if name in scratch.entries]
    sizes = await scratch.sizes(sorted(set(olds)))
    return sum(sizes.get(old, 0) for old in olds)


async def _judged(
    scratch: Scratch,
    said: Said,
    changes: list[Change],
    tree: str,
    reasons: list[Reason],
    policy: Policy,
) -> Checked:
    """The rest of the way, for a patch that was applied."""
    after = await scratch.tree_entries(tree)
    content = await content_findings(scratch, changes, after, policy)
    touched = [change.path for change in changes]
    if any(reason.code == "blob_too_large" for reason in content):
        return _checked(scratch, [*reasons, *content], touched)
    canonical = await scratch.canonical(tree)
    again = await scratch.apply(canonical)
    if again.tree != tree or again.moved:
        reasons.append(policy.reason("not_reproducible"))
    # What git writes without an option that we gave, we read: anything else is a bug of ours.
    files = parse(canonical, 1 << 40).files
    reasons += _context_findings(said, files, policy)
    binaries = frozenset(name for file in files if file.binary for name in file.touched)
    reasons += scope_findings(changes, policy)
    reasons += collision_findings(changes, after, policy)
    reasons += count_findings(changes, files, len(scratch.entries), policy)
    reasons += mode_findings(changes, binaries, policy)
    reasons += content
    reasons += lines_findings(files, policy)
    return _checked(scratch, reasons, touched, tree, canonical)


def _unanchored_findings(
    said: Said, base: Mapping[bytes, Entry], policy: Policy
) -> Iterator[Reason]:
    """Hunks that only add, with nothing to find them by, to a file that is not empty."""
    for file in said.files:
        entry = base.get(file.old) if file.old is not None else None
        if file.old is None or entry is None or entry.id in EMPTY_BLOBS:
            continue
        for hunk in file.hunks:
            if not hunk.context and not hunk.removed:
                yield policy.reason("hunk_unanchored", shown(file.old), hunk.line)


def _is_loose(said: Said) -> bool:
    """Whether there are hunks without context, and none of them only adds: such a one has nothing
    that it could be found by."""
    changed = [file for file in said.files if file.old is not None and file.new is not None]
    bare = [hunk for file in changed for hunk in file.hunks if not hunk.context]
    return bool(bare) and all(hunk.removed for hunk in bare)


def _applied_findings(
    said: Said, applied: Applied, changes: list[Change], policy: Policy
) -> list[Reason]:
    """What is to be said of how it was applied."""
    if applied.tree is None:
        text = f"git does not apply it: {shown(applied.said.encode()[:300])}"
        return [policy.reason("does_not_apply", text=text)]
    if applied.moved:
        return [policy.reason("hunk_moved")]
    if not changes:
        return [policy.reason("no_effect")]
    found = {change.path for change in changes}
    claimed = {name for file in said.files for name in file.touched}
    again = len(claimed) < sum(len(file.touched) for file in said.files)
    # Of a name that is changed twice the second change may take the first one back.
    if not found <= claimed or (found != claimed and not again):
        wrong = min(found ^ claimed)
        return [policy.reason("effect_differs", shown(wrong))]
    return []


def _context_findings(said: Said, canonical: tuple[File, ...], policy: Policy) -> Iterator[Reason]:
    """Hunks without a line that ties them to their place, in files that have such lines."""
    whole = {
        file.new: file.hunks[0].context == 0 and len(file.hunks) == 1
        for file in canonical
        if file.old is not None and file.hunks
    }
    for file in said.files:
        if file.old is None or file.new is None or whole.get(file.new, False):
            continue
        for hunk in file.hunks:
            if not hunk.context:
                yield policy.reason("no_context", shown(file.new), hunk.line)


def _checked(
    scratch: Scratch,
    reasons: list[Reason],
    names: Iterable[bytes],
    tree: str | None = None,
    canonical: bytes | None = None,
) -> Checked:
    counted = [reason for reason in reasons if reason.verdict is not Verdict.ACCEPT]
    verdict = worst([reason.verdict for reason in counted])
    stages = {}
    for stage in Stage if tree is not None else [Stage.FORMAT, Stage.SCOPE]:
        stages[stage.value] = worst([r.verdict for r in counted if r.stage is stage])
    if not any(r.stage is Stage.SCOPE for r in counted) and tree is None:
        del stages["scope"]
    # The worst first, so that a bound on their number never hides why.
    order = sorted(counted, key=lambda reason: reason.verdict is not Verdict.REJECT)
    files = tuple(shown(name) for name in names)
    base = scratch.base
    return Checked(verdict, tuple(order[:REASONS_MAX]), files, stages, base, tree, canonical)
