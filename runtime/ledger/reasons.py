"""Why a patch is held or refused: stable codes, each with its stage, verdict and what it says.

Scripts and policies name these codes. A code is never given another meaning; new ones may come.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec


class Verdict(StrEnum):
    """What becomes of a patch. HOLD waits for a person; nothing of it is lost."""

    ACCEPT = "ACCEPT"
    HOLD = "HOLD"
    REJECT = "REJECT"


class Stage(StrEnum):
    """The three judgements, in their order: is it a patch, of what, and may it be that."""

    FORMAT = "format"
    SCOPE = "scope"
    CONSTRAINTS = "constraints"


class Rule(NamedTuple):
    stage: Stage
    verdict: Verdict
    text: str
    fixed: bool = False  # no policy changes the verdict


class Reason(msgspec.Struct, frozen=True):
    """One finding. `path` is escaped for display, empty where no file is meant; `line` counts from
    1 in the patch, 0 where none is meant. `text` never holds a secret."""

    code: str
    stage: Stage
    verdict: Verdict
    text: str
    path: str = ""
    line: int = 0


_F, _S, _C = Stage.FORMAT, Stage.SCOPE, Stage.CONSTRAINTS
_HOLD, _REJECT = Verdict.HOLD, Verdict.REJECT


def _bad(text: str) -> Rule:
    return Rule(_F, _REJECT, text, fixed=True)


RULES: dict[str, Rule] = {
    # The text is no patch that means one thing only.
    "patch_too_large": _bad("the patch is larger than `limits.patch_bytes`"),
    "no_diff": _bad("it holds no diff"),
    "text_outside_diff": _bad(
        "something that is no diff stands before, between or after its files"
    ),
    "diff_in_message": _bad("the message of the mail holds a diff, which git would apply too"),
    "combined_diff": _bad("a combined diff (of a merge) cannot be applied"),
    "mixed_diff": _bad("files with and without a `diff --git` line in one patch"),
    "truncated": _bad("it ends in the middle"),
    "header_invalid": _bad("a header line that git does not write"),
    "header_duplicate": _bad("a header line twice in one file"),
    "header_control": _bad("a control character in a header line"),
    "prefix_invalid": _bad("a name without the prefix `a/` or `b/`"),
    "quoting_invalid": _bad("a name quoted as git does not quote it"),
    "names_disagree": _bad("the header lines of one file name different files"),
    "mode_invalid": _bad("a mode that no file in git has"),
    "no_change": _bad("a file of the patch without any change"),
    "no_hunks": _bad("`---` and `+++` without a hunk"),
    "hunk_header": _bad("a hunk header that git does not write"),
    "hunk_counts": _bad("the lines of a hunk are not those that its header counts"),
    "hunk_order": _bad("hunks overlap, go backwards, or their line numbers do not fit together"),
    "hunk_empty": _bad("a hunk that changes nothing"),
    "hunk_unanchored": _bad("lines inserted without any context: git may put them elsewhere"),
    "end_marker": _bad("`\\ No newline at end of file` where no file can end"),
    "binary_invalid": _bad("a binary patch that does not decode to what it declares"),
    "binary_short_index": _bad("a binary patch needs an `index` line with whole object names"),
    "binary_without_content": _bad(
        "it says that binary files differ, not how (`git diff --binary`)"
    ),
    "binary_too_large": _bad("a binary patch unpacks to more than `limits.blob_bytes`"),
    "create_then_delete": _bad("one file is created and deleted in the same patch"),
    "source_too_large": _bad("the files that it starts from exceed `limits.source_bytes`"),
    "does_not_apply": _bad("git does not apply it to this base"),
    "hunk_moved": _bad("it applies only at another line than it says: made for another base"),
    "no_effect": _bad("applied, it changes nothing"),
    "effect_differs": _bad("applied, it touches other files than it names"),
    "not_reproducible": _bad("its canonical form gives another tree"),
    "byte_order_mark": Rule(_F, _HOLD, "a byte order mark stands before the patch"),
    "traditional_diff": Rule(
        _F, _HOLD, "no `diff --git` line: git guesses what is created, deleted"
    ),
    "duplicate_path": Rule(_F, _HOLD, "one file is changed more than once in the patch"),
    "no_context": Rule(_F, _HOLD, "a hunk without a line of context"),
    "mode_unusual": Rule(_F, _HOLD, "a mode that git would store as another"),
    # Names.
    "path_traversal": Rule(_S, _REJECT, "a name with an empty, `.` or `..` component", fixed=True),
    "path_absolute": Rule(_S, _REJECT, "an absolute name", fixed=True),
    "path_git_dir": Rule(_S, _REJECT, "a name that some file system takes for `.git`", fixed=True),
    "path_control": Rule(_S, _REJECT, "a control character in a name"),
    "path_hidden_characters": Rule(_S, _REJECT, "a character in a name that is not seen"),
    "path_not_utf8": Rule(_S, _REJECT, "a name that is not UTF-8"),
    "path_not_nfc": Rule(_S, _REJECT, "a name that is not in Unicode's composed form"),
    "path_leading_dash": Rule(_S, _REJECT, "a name that programs take for an option"),
    "path_backslash": Rule(_S, _REJECT, "a backslash in a name"),
    "path_colon": Rule(_S, _REJECT, "a colon in a name (a stream on NTFS)"),
    "path_trailing": Rule(_S, _REJECT, "a component that ends in a dot or a space"),
    "path_device": Rule(_S, _REJECT, "a name that Windows keeps for a device"),
    "path_ambiguous": Rule(_S, _REJECT, "a name that holds ` a/` or ` b/`"),
    "path_too_long": Rule(_S, _REJECT, "a name longer or deeper than the limits"),
    "out_of_scope": Rule(_S, _REJECT, "a file outside of `scope`"),
    "create_out_of_scope": Rule(_S, _REJECT, "a new file outside of `create`"),
    "protected_path": Rule(_S, _HOLD, "a file that decides what runs, is checked or is trusted"),
    "case_collision": Rule(_S, _REJECT, "two names that are one where case does not count"),
    # What the effect is.
    "too_many_files": Rule(_C, _HOLD, "more files than `limits.files`"),
    "too_many_lines": Rule(_C, _HOLD, "more changed lines than `limits.lines`"),
    "line_too_long": Rule(_C, _HOLD, "an added line longer than `limits.line_bytes`"),
    "blob_too_large": Rule(_C, _REJECT, "a file larger than `limits.blob_bytes`", fixed=True),
    "mass_deletion": Rule(_C, _HOLD, "a large part of all files is deleted"),
    "binary": Rule(_C, _HOLD, "a binary file is added or changed"),
    "binary_executable": Rule(_C, _REJECT, "an executable binary file is added or changed"),
    "executable_gained": Rule(_C, _HOLD, "a file becomes executable"),
    "type_change": Rule(_C, _HOLD, "a file, link, folder or submodule becomes one of another kind"),
    "symlink": Rule(_C, _HOLD, "a symbolic link is added or changed"),
    "symlink_escapes": Rule(_C, _REJECT, "a symbolic link that leads out of the tree"),
    "symlink_git_dir": Rule(_C, _REJECT, "a symbolic link into `.git`"),
    "symlink_invalid": Rule(_C, _REJECT, "a symbolic link whose target no tool writes"),
    "symlink_special": Rule(_C, _REJECT, "a file of git's own that is a symbolic link"),
    "submodule": Rule(_C, _HOLD, "a submodule is added, moved or removed"),
    "submodule_config": Rule(_C, _REJECT, "`.gitmodules` with a url or path that attacks git"),
    "lfs_pointer": Rule(_C, _HOLD, "a pointer of Git LFS: what it stands for is not in the patch"),
    "conflict_markers": Rule(_C, _REJECT, "conflict markers are added"),
    "hidden_characters": Rule(
        _C, _HOLD, "characters are added that are not seen (bidi, zero width)"
    ),
    "terminal_escapes": Rule(_C, _HOLD, "terminal escape sequences are added"),
    "secret": Rule(_C, _HOLD, "something is added that looks like a secret"),
    "test_deleted": Rule(_C, _HOLD, "a test file is deleted or moved away"),
    "test_skipped": Rule(_C, _HOLD, "a test is skipped or expected to fail"),
    "line_ends_only": Rule(_C, _HOLD, "a file in which only line ends change"),
    "whitespace_only": Rule(_C, _HOLD, "a file in which only white space changes"),
}


def worst(verdicts: list[Verdict]) -> Verdict:
    """The verdict of several findings together; ACCEPT of none."""
    if Verdict.REJECT in verdicts:
        return Verdict.REJECT
    return Verdict.HOLD if Verdict.HOLD in verdicts else Verdict.ACCEPT
