"""What is to be said of a patch's effect: names, kinds, sizes and counts of what changes."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping

from runtime.ledger.grammar import File, Said
from runtime.ledger.links import TARGET_BYTES_MAX, link_fault
from runtime.ledger.names import folded, hazards, shown
from runtime.ledger.policy import Policy
from runtime.ledger.reasons import Reason
from runtime.ledger.scratch import GITLINK, Change, Entry, Scratch
from runtime.ledger.text import text_findings

LINK = 0o120000
_GIT_OWN = frozenset({".gitmodules", ".gitattributes", ".gitignore", ".mailmap"})
_MODULES_BYTES_MAX = 1 << 20
_MODULES_BAD = re.compile(
    rb"""^\s*(?:url|path|update)\s*=\s*"?\s*(?:-|!|ext::|[^\r\n]*(?:\\r|\r.|\r"|%0[aAdD]|::-))"""
    rb"""|^\s*path\s*=[^\n]*\.\.|^\s*path\s*=\s*"?/|^\s*path\s*=[^\n]*\.git\b"""
    rb"""|^\s*\[submodule\s+"(?:[^"\n]*/)?\.\.(?:/[^"\n]*)?"\]|^\s*update\s*=\s*!""",
    re.MULTILINE,
)


def name_findings(said: Said, base: Mapping[bytes, Entry], policy: Policy) -> Iterator[Reason]:
    """Of what the patch names, before git sees it. One that is in the base already can only be
    held for how it is spelled."""
    limits = policy.limits
    for name in dict.fromkeys(name for file in said.files for name in file.names):
        for code in hazards(name, limits.path_bytes, limits.component_bytes, limits.depth):
            reason = policy.reason(code, shown(name[:2048]))
            if name in base:
                reason = policy.spelled(reason)
            yield reason


def scope_findings(changes: list[Change], policy: Policy) -> Iterator[Reason]:
    """Whether it may touch what it touches."""
    for change in changes:
        path = change.path.decode("utf-8", "surrogateescape")
        if not policy.may_touch(path, new=not change.old_mode):
            code = "out_of_scope"
            if not change.old_mode and policy.create:
                code = "create_out_of_scope"
            yield policy.reason(code, shown(change.path))
        if policy.is_protected(path):
            yield policy.reason("protected_path", shown(change.path))


def collision_findings(
    changes: list[Change], after: Mapping[bytes, Entry], policy: Policy
) -> Iterator[Reason]:
    """New names, of files and folders, that are one with others where case does not count. What
    collides in the base already is not the patch's fault."""
    new = {part for c in changes if not c.old_mode for part in _levels(c.path)}
    if not new:
        return
    spelled: dict[str, set[bytes]] = {}
    wanted = {folded(name.decode("utf-8", "replace")) for name in new}
    for path in after:
        for part in _levels(path):
            fold = folded(part.decode("utf-8", "replace"))
            if fold in wanted:
                spelled.setdefault(fold, set()).add(part)
    for fold in sorted(wanted):
        names = spelled.get(fold, set())
        if len(names) > 1 and names & new:
            yield policy.reason("case_collision", " and ".join(map(shown, sorted(names))))


def _levels(path: bytes) -> Iterator[bytes]:
    """The path and every folder above it."""
    yield path
    while (slash := path.rfind(b"/")) > 0:
        path = path[:slash]
        yield path


def mode_findings(
    changes: list[Change], binaries: frozenset[bytes], policy: Policy
) -> Iterator[Reason]:
    """Kinds and bits of what is there afterwards."""
    for change in changes:
        path = shown(change.path)
        old, new = change.old_mode, change.new_mode
        if GITLINK in {old, new}:
            yield policy.reason("submodule", path)
        if old and new and stat.S_IFMT(old) != stat.S_IFMT(new):
            yield policy.reason("type_change", path)
        executable = stat.S_ISREG(new) and bool(new & 0o100)
        if executable and not (stat.S_ISREG(old) and old & 0o100):
            yield policy.reason("executable_gained", path)
        if change.path in binaries and stat.S_ISREG(new):
            yield policy.reason("binary_executable" if executable else "binary", path)
    gone = {c.path for c in changes if not c.new_mode}
    come = {c.path for c in changes if not c.old_mode}
    for one, other in ((gone, come), (come, gone)):
        below = {level for path in other for level in _levels(path) if level != path}
        yield from (policy.reason("type_change", shown(name)) for name in sorted(one & below))


def count_findings(
    changes: list[Change], files: tuple[File, ...], base_count: int, policy: Policy
) -> Iterator[Reason]:
    """How much it is."""
    limits = policy.limits
    lines = sum(len(hunk.added) + len(hunk.removed) for file in files for hunk in file.hunks)
    if len(changes) > limits.files:
        text = f"{len(changes)} files, above `limits.files` = {limits.files}"
        yield policy.reason("too_many_files", text=text)
    if lines > limits.lines:
        text = f"{lines} changed lines, above `limits.lines` = {limits.lines}"
        yield policy.reason("too_many_lines", text=text)
    gone = [c for c in changes if not c.new_mode]
    moved = {c.new_id for c in changes if not c.old_mode}
    lost = sum(c.old_id not in moved for c in gone)
    if lost >= limits.deleted_files and lost >= limits.deleted_ratio * base_count:
        text = f"{lost} of {base_count} files are deleted"
        yield policy.reason("mass_deletion", text=text)
    for change in gone:
        path = shown(change.path)
        if policy.is_test(path):
            yield policy.reason("test_deleted", path)


async def content_findings(
    scratch: Scratch, changes: list[Change], after: Mapping[bytes, Entry], policy: Policy
) -> list[Reason]:
    """Sizes, links, and the files that are git's own."""
    found: list[Reason] = []
    present = [c for c in changes if c.new_mode not in {0, GITLINK}]
    ids = {c.new_id for c in present} | {
        c.old_id for c in changes if c.old_mode not in {0, GITLINK}
    }
    sizes = await scratch.sizes(sorted(ids))
    bytes_max = policy.limits.blob_bytes
    large = [c for c in changes if max(sizes.get(i, 0) for i in (c.old_id, c.new_id)) > bytes_max]
    found += [policy.reason("blob_too_large", shown(change.path)) for change in large]
    links = [c for c in present if c.new_mode == LINK]
    if links:
        found += await _link_findings(scratch, links, after, policy)
    modules = [c for c in present if c.path.rpartition(b"/")[2].lower() == b".gitmodules"]
    for change in modules:
        if sizes.get(change.new_id, 0) <= _MODULES_BYTES_MAX:
            text = (await scratch.blobs([change.new_id])).get(change.new_id, b"")
            if _MODULES_BAD.search(text):
                found.append(policy.reason("submodule_config", shown(change.path)))
    return found


async def _link_findings(
    scratch: Scratch, changed: list[Change], after: Mapping[bytes, Entry], policy: Policy
) -> list[Reason]:
    entries = {path: entry.id for path, entry in after.items() if entry.mode == LINK}
    sizes = await scratch.sizes(sorted(set(entries.values())))
    short = [name for name, size in sizes.items() if size <= TARGET_BYTES_MAX]
    targets = await scratch.blobs(short)
    links = {path: targets.get(name, b"") for path, name in entries.items()}
    found = []
    for change in changed:
        path = shown(change.path)
        found.append(policy.reason("symlink", path))
        if path.rpartition("/")[2].casefold() in _GIT_OWN:
            found.append(policy.reason("symlink_special", path))
        code, leads_to = link_fault(change.path, links[change.path], links)
        if code:
            found.append(policy.reason(code, path))
        elif policy.is_protected(leads_to.decode("utf-8", "surrogateescape")):
            text = f"a symbolic link to the protected {shown(leads_to)}"
            found.append(policy.reason("protected_path", path, text=text))
    return found


def said_findings(said: Said, policy: Policy) -> Iterator[Reason]:
    """What the text of the patch says that its effect does not show."""
    if said.byte_order_mark:
        yield policy.reason("byte_order_mark", line=1)
    if said.files[0].traditional:
        yield policy.reason("traditional_diff", line=said.files[0].line)
    seen: dict[bytes, File] = {}
    for file in said.files:
        yield from _mode_lines(file, policy)
        for name in file.touched:
            before = seen.get(name)
            if before is not None:
                yield from _again(before, file, name, policy)
            seen[name] = file


def _mode_lines(file: File, policy: Policy) -> Iterator[Reason]:
    path = shown(file.names[-1])
    for mode in sorted(set(file.modes)):
        if mode in {0o100644, 0o100755, LINK, GITLINK}:
            continue
        plain = stat.S_ISREG(mode) and not mode & ~0o100777
        yield policy.reason("mode_unusual" if plain else "mode_invalid", path, file.line)


def _again(before: File, file: File, name: bytes, policy: Policy) -> Iterator[Reason]:
    """A second change of one name. To replace a file by one of another kind git writes two."""
    if before.old is None and file.new is None:
        yield policy.reason("create_then_delete", shown(name), file.line)
    elif not (
        before.new is None
        and file.old is None
        and {stat.S_IFMT(m) for m in before.modes} != {stat.S_IFMT(m) for m in file.modes}
    ):
        yield policy.reason("duplicate_path", shown(name), file.line)


def lines_findings(files: tuple[File, ...], policy: Policy) -> Iterator[Reason]:
    """What stands in the lines that are added."""
    for file in files:
        yield from text_findings(file, policy)
