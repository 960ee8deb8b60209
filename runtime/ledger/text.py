"""What the added lines of a patch hold, and what kind of change a file's lines are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from runtime.ledger.grammar import File
from runtime.ledger.names import shown
from runtime.ledger.policy import Policy
from runtime.ledger.reasons import Reason

_MARKER = re.compile(rb"(<{7}|>{7}|\|{7})(?: |\r?\Z)")
_ESCAPES = re.compile(rb"[\x1b\x08]|\xc2\x9b")
# Bidirectional controls, what has no width (joiners of scripts and emoji apart), tags.
_HIDDEN = re.compile(
    "[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\U000e0000-\U000e007f]"
)
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_SKIPS = re.compile(
    rb"@(?:pytest\.mark\.|mark\.)?(?:skip|skipif|xfail)\b|@unittest\.(?:skip|expectedFailure)"
    rb"|\bpytest\.(?:skip|xfail|importorskip)\b|\bpytestmark\b|\bself\.skipTest\("
    rb"|\bunittest\.SkipTest\b|\braise SkipTest\b"
    rb"|\b(?:it|test|describe|suite|context)\.(?:skip|only|todo)\b|\bx(?:it|test|describe)\("
    rb"|\bf(?:it|describe)\(|\bt\.Skip(?:Now|f)?\(|#\[ignore\b|@(?:Disabled|Ignore)\b"
    rb"|\bcollect_ignore|\bGTEST_SKIP\b"
)
_LFS = b"version https://git-lfs.github.com/spec/v1"


def text_findings(file: File, policy: Policy) -> Iterator[Reason]:
    """What stands in the lines that this file of a canonical patch adds; each code once."""
    path = shown(file.names[-1])
    added = [line for hunk in file.hunks for line in hunk.added]
    for code in _lines_codes(added, policy):
        yield policy.reason(code, path)
    if file.new is not None and policy.is_test(path) and any(map(_SKIPS.search, added)):
        yield policy.reason("test_skipped", path)
    if file.old is not None and file.new is not None:
        removed = [line for hunk in file.hunks for line in hunk.removed]
        if code := _only(removed, added, file):
            yield policy.reason(code, path)


def _lines_codes(added: list[bytes], policy: Policy) -> Iterator[str]:
    markers = {found[1][:1] for line in added if (found := _MARKER.match(line))}
    if {b"<", b">"} <= markers:
        yield "conflict_markers"
    if any(map(_ESCAPES.search, added)):
        yield "terminal_escapes"
    if any(_hides(line) for line in added):
        yield "hidden_characters"
    if any(len(line) > policy.limits.line_bytes for line in added):
        yield "line_too_long"
    if any(pattern.search(line) for line in added for pattern in policy.secret_patterns):
        yield "secret"
    if any(line.startswith(_LFS) for line in added):
        yield "lfs_pointer"


def _hides(line: bytes) -> bool:
    if not _NOT_ASCII.search(line):
        return False
    return _HIDDEN.search(line.decode("utf-8", "ignore")) is not None


def _only(removed: list[bytes], added: list[bytes], file: File) -> str:
    """The code of a change that a person would not see."""
    if not removed or not added:
        return ""
    if [line.rstrip(b"\r") for line in removed] == [line.rstrip(b"\r") for line in added]:
        same = removed == added
        ends = any(hunk.old_unended != hunk.new_unended for hunk in file.hunks)
        return "line_ends_only" if ends or not same else ""
    if b"".join(b"".join(removed).split()) == b"".join(b"".join(added).split()):
        return "whitespace_only"
    return ""
