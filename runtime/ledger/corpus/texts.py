"""The text of a patch: what is none, what can be read in two ways, what does not fit its base."""

from __future__ import annotations

from runtime.ledger.corpus.kit import (
    EDIT,
    FIXTURE,
    PICTURE,
    Case,
    binary,
    blob_id,
    changed,
    created,
    deleted,
    header,
    held,
    literal,
    mail,
    refused,
    whole,
)
from runtime.ledger.policy import Limits

_SECOND = "--- a/docs/a.md\n+++ b/docs/a.md\n@@ -1,3 +1,3 @@\n a one\n-a two\n+a 2\n a three\n"
_PLAIN = EDIT.split("\n", 1)[1]
_HEAD = "diff --git a/readme.txt b/readme.txt\n--- a/readme.txt\n+++ b/readme.txt\n"
_NAMES = "--- a/readme.txt\n+++ b/readme.txt\n"
_MODE = header("readme.txt") + b"old mode 100644\n"
_ID = f"index {blob_id(PICTURE)}..{blob_id(b'x')} 100644\nGIT binary patch\n".encode()
_PIC = header("assets/pic.bin")


def _hunk(text: str) -> str:
    return _HEAD + text


_TEXT: tuple[tuple[str, str, str | bytes], ...] = (
    ("no_diff", "nothing", b""),
    ("no_diff", "prose", "I changed the file as you asked.\n"),
    ("no_diff", "zeros", b"\0" * 64),
    (
        "no_diff",
        "search and replace",
        "readme.txt\n<<<<<<< SEARCH\nbeta\n=======\nB\n>>>>>>> REPLACE\n",
    ),
    (
        "no_diff",
        "apply_patch",
        "*** Begin Patch\n*** Update File: readme.txt\n-beta\n+B\n*** End Patch\n",
    ),
    ("no_diff", "ed script", "2c\nBETA\n.\n"),
    ("no_diff", "context diff", "*** readme.txt\n***************\n*** 1,3 ****\n"),
    ("no_diff", "UTF-16", EDIT.encode("utf-16")),
    ("text_outside_diff", "fenced", f"```diff\n{EDIT}```\n"),
    ("text_outside_diff", "prose before", f"Here it is:\n\n{EDIT}"),
    ("text_outside_diff", "prose after", f"{EDIT}Done.\n"),
    ("text_outside_diff", "prose between", f"{EDIT}And now:\n{_SECOND}"),
    ("text_outside_diff", "Index line", f"Index: readme.txt\n=======\n{_PLAIN}"),
    ("text_outside_diff", "hunk without a file", "@@ -1,3 +1,3 @@\n alpha\n-beta\n+B\n gamma\n"),
    ("text_outside_diff", "mail with text in its tail", mail("") + b"Regards\n"),
    ("mixed_diff", "second without its line", EDIT + _SECOND),
    ("diff_in_message", "diff in the message", mail(f"Not so:\n\n{_SECOND}\n")),
    ("diff_in_message", "git diff in the message", mail(f"Not so:\n\n{EDIT}\n")),
    (
        "combined_diff",
        "merge",
        "diff --cc readme.txt\nindex 1,2..3\n--- a/readme.txt\n+++ b/readme.txt\n",
    ),
    ("truncated", "in a line", EDIT[:-3]),
    ("truncated", "in a hunk", EDIT[: EDIT.index(" gamma")]),
    ("truncated", "before the hunks", _HEAD),
    ("truncated", "after the old name", "diff --git a/readme.txt b/readme.txt\n--- a/readme.txt\n"),
    ("no_hunks", "no hunks", _HEAD + EDIT),
    ("no_change", "only its line", header("readme.txt")),
    ("no_change", "only an index", header("readme.txt") + b"index 1111111..2222222 100644\n"),
    ("header_control", "CRLF headers", EDIT.replace("\n", "\r\n")),
    ("header_control", "CR in a name", created("lib/x").replace(b"lib/x", b"lib/x\r")),
    ("header_control", "NUL in a name", EDIT.replace("readme", "read\0me")),
    ("header_duplicate", "mode twice", _MODE + b"old mode 100644\nnew mode 100755\n"),
    ("header_invalid", "old mode alone", _MODE),
    (
        "header_invalid",
        "new and deleted",
        header("x") + b"new file mode 100644\ndeleted file mode 100644\n",
    ),
    ("header_invalid", "rename without its end", header("a", "b") + b"rename from a\n"),
    ("header_invalid", "index", EDIT.replace("--- a", "index zz..yy\n--- a")),
    ("mode_invalid", "letters", created("lib/x", mode="10064x")),
    ("mode_invalid", "setuid", created("lib/x", mode=0o104755)),
    ("mode_invalid", "sticky", created("lib/x", mode=0o101644)),
    ("mode_invalid", "fifo", created("lib/x", mode=0o010644)),
    ("mode_invalid", "device", created("lib/x", mode=0o060644)),
    ("mode_invalid", "folder", created("lib/x", mode=0o040000)),
    ("mode_invalid", "none", created("lib/x", mode=0)),
    ("prefix_invalid", "none", EDIT.replace("a/", "").replace("b/", "")),
    ("prefix_invalid", "mnemonic", EDIT.replace("a/", "i/").replace("b/", "w/")),
    ("prefix_invalid", "absolute", EDIT.replace("a/", "/tmp/").replace("b/", "/tmp/")),
    ("prefix_invalid", "exchanged", EDIT.replace("a/r", "b/r").replace(" b/r", " a/r", 1)),
    ("quoting_invalid", "octal letters", created("lib/x").replace(b"b/lib/x", b'"b/\\154ib/x"')),
    ("quoting_invalid", "octal dots", created("x").replace(b"+++ b/x", b'+++ "b/\\056\\056/x"')),
    ("quoting_invalid", "never closed", created("lib/x").replace(b"+++ b/lib/x", b'+++ "b/lib/x')),
    ("quoting_invalid", "NUL", created("lib/x").replace(b"+++ b/lib/x", b'+++ "b/lib/x\\0"')),
    (
        "names_disagree",
        "header and lines",
        EDIT.replace("--git a/readme.txt b/readme.txt", "--git a/docs/a.md b/docs/a.md"),
    ),
    ("names_disagree", "old and new", EDIT.replace("--- a/readme.txt", "--- a/docs/a.md")),
    ("names_disagree", "both /dev/null", "--- /dev/null\n+++ /dev/null\n@@ -0,0 +1 @@\n+x\n"),
    (
        "names_disagree",
        "new without its mode",
        created("lib/x").replace(b"new file mode 100644\n", b""),
    ),
    (
        "names_disagree",
        "rename of another",
        header("docs/a.md", "docs/z.md") + b"rename from docs/b.md\nrename to docs/z.md\n",
    ),
    (
        "names_disagree",
        "copy of another",
        header("docs/a.md", "docs/z.md") + b"copy from .env\ncopy to docs/z.md\n",
    ),
    (
        "names_disagree",
        "rename to itself",
        header("docs/a.md") + b"rename from docs/a.md\nrename to docs/a.md\n",
    ),
    ("hunk_header", "overflow", _hunk("@@ -18446744073709551615,3 +1,3 @@\n")),
    ("hunk_header", "too far", _hunk("@@ -99999999,3 +99999999,3 @@\n alpha\n-beta\n+B\n gamma\n")),
    ("hunk_header", "negative", _hunk("@@ --1,3 +1,3 @@\n")),
    ("hunk_header", "letters", _hunk("@@ -1,x +1,3 @@\n")),
    ("hunk_header", "line zero", _hunk("@@ -0,3 +0,3 @@\n alpha\n-beta\n+B\n gamma\n")),
    ("hunk_header", "three at-signs", _hunk("@@@ -1,3 -1,3 +1,3 @@@\n")),
    ("hunk_counts", "too short", _hunk("@@ -1,4 +1,4 @@\n alpha\n-beta\n+B\n gamma\n") + EDIT),
    ("hunk_counts", "unknown sign", _hunk("@@ -1,3 +1,3 @@\n alpha\n*beta\n gamma\n")),
    ("text_outside_diff", "too long", _hunk("@@ -1,2 +1,2 @@\n alpha\n-beta\n+B\n gamma\n")),
    (
        "hunk_counts",
        "new file with old lines",
        created("lib/x").replace(b"-0,0 +1 @@\n", b"-1 +1 @@\n-y\n"),
    ),
    ("hunk_order", "backwards", _hunk("@@ -3 +3 @@\n-gamma\n+G\n@@ -1 +1 @@\n-alpha\n+A\n")),
    (
        "hunk_order",
        "overlapping",
        _hunk("@@ -1,2 +1,2 @@\n-alpha\n+A\n beta\n@@ -2,2 +2,2 @@\n beta\n-gamma\n+G\n"),
    ),
    ("hunk_order", "new side elsewhere", _hunk("@@ -1,3 +7,3 @@\n alpha\n-beta\n+B\n gamma\n")),
    ("hunk_empty", "only context", _hunk("@@ -1,2 +1,2 @@\n alpha\n beta\n")),
    ("end_marker", "another text", EDIT + "\\ Kein Zeilenumbruch am Dateiende.\n"),
    (
        "end_marker",
        "in the middle",
        EDIT.replace(" alpha\n", " alpha\n\\ No newline at end of file\n"),
    ),
    (
        "binary_without_content",
        "differ",
        _PIC + b"Binary files a/assets/pic.bin and b/assets/pic.bin differ\n",
    ),
    (
        "binary_short_index",
        "short index",
        _PIC + b"index 1234567..7654321 100644\nGIT binary patch\n" + literal(b"x"),
    ),
    ("binary_short_index", "no index", _PIC + b"GIT binary patch\n" + literal(b"x")),
    ("binary_invalid", "wrong size", _PIC + _ID + literal(b"x", 2)),
    ("binary_invalid", "no base 85", _PIC + _ID + b"literal 1\nA     \n\n"),
    ("binary_invalid", "no deflate", _PIC + _ID + b"literal 1\nD00000\n\n"),
    (
        "binary_invalid",
        "delta cut off",
        _PIC + _ID + literal(b"\x80\x80").replace(b"literal", b"delta"),
    ),
    ("binary_too_large", "bomb", _PIC + _ID + literal(b"\0" * (9 << 20))),
    (
        "binary_too_large",
        "delta that grows",
        _PIC + _ID + literal(b"\x01\xff\xff\xff\xff\x0f\x90").replace(b"literal", b"delta"),
    ),
    ("does_not_apply", "binary made for another", binary("assets/pic.bin", b"\0x", old=b"\0y")),
    (
        "does_not_apply",
        "binary of another name",
        binary("lib/n.bin", b"\0x").replace(blob_id(b"\0x").encode(), b"a" * 40),
    ),
    (
        "does_not_apply",
        "applied already",
        changed("readme.txt", "alpha\nBETA\ngamma\n", "alpha\nbeta\ngamma\n"),
    ),
    ("does_not_apply", "file that is not there", EDIT.replace("readme", "absent")),
    ("does_not_apply", "creation of one that is there", created("readme.txt")),
    ("does_not_apply", "deletion of a part", deleted("docs/a.md", b"a one\na two\n")),
    (
        "does_not_apply",
        "copy of an untracked file",
        header(".env", "lib/e.txt") + b"similarity index 100%\ncopy from .env\ncopy to lib/e.txt\n",
    ),
    ("does_not_apply", "file below a file", created("readme.txt/x")),
    (
        "does_not_apply",
        "white space differs",
        changed("lib/extra.py", "def extra():\n\treturn 1\n", "def extra():\n\treturn 2\n"),
    ),
    (
        "hunk_moved",
        "moved",
        changed(
            "lib/core.py",
            "step_9 = 9\nstep_10 = 10\nstep_11 = 11\n",
            "step_9 = 9\nstep_10 = 0\nstep_11 = 11\n",
            5,
        ),
    ),
    ("hunk_unanchored", "inserted without context", _hunk("@@ -1,0 +2 @@\n+inserted\n")),
    ("no_effect", "line for itself", _hunk("@@ -1,3 +1,3 @@\n alpha\n-beta\n+beta\n gamma\n")),
    (
        "no_effect",
        "back and forth",
        EDIT.encode() + changed("readme.txt", "alpha\nBETA\ngamma\n", "alpha\nbeta\ngamma\n"),
    ),
    (
        "create_then_delete",
        "created and deleted",
        created("lib/x")
        + header("lib/x")
        + b"deleted file mode 100644\n--- a/lib/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n",
    ),
)

CASES: tuple[Case, ...] = (
    *(refused("text", f"{code}: {name}", code, patch) for code, name, patch in _TEXT),
    refused(
        "text",
        "many bombs in one",
        "binary_too_large",
        b"".join(binary(f"lib/{n}.bin", b"\0" * 1000) for n in range(9)),
        limits=Limits(blob_bytes=1000),
    ),
    refused("text", "too large", "patch_too_large", EDIT, limits=Limits(patch_bytes=10)),
    held("text", "byte order mark", "byte_order_mark", b"\xef\xbb\xbf" + EDIT.encode()),
    held("text", "traditional", "traditional_diff", _PLAIN),
    held(
        "text",
        "deleted by its time",
        "traditional_diff",
        "--- a/docs/a.md\t2026-01-01 00:00:00 +0000\n+++ b/docs/a.md\t1970-01-01 00:00:00 +0000\n"
        "@@ -1,3 +0,0 @@\n-a one\n-a two\n-a three\n",
    ),
    held(
        "text",
        "twice in sequence",
        "duplicate_path",
        EDIT.encode() + changed("readme.txt", "alpha\nBETA\ngamma\n", "alpha\nBe\ngamma\n"),
    ),
    held("text", "replaced without context", "no_context", _hunk("@@ -2 +2 @@\n-beta\n+BETA\n")),
    held("text", "mode for the group", "mode_unusual", created("lib/x", mode=0o100664)),
    held("text", "mode for the world", "mode_unusual", created("lib/x", mode=0o100666)),
    held(
        "text",
        "white space only",
        "whitespace_only",
        whole("lib/extra.py", "def extra():\n  return 1\n"),
    ),
    held(
        "text",
        "line ends only",
        "line_ends_only",
        whole("lib/dos.txt", FIXTURE["lib/dos.txt"][1].replace(b"\r", b"")),
    ),
    held("text", "final newline only", "line_ends_only", whole("lib/end.txt", "x\ny\nz\n")),
)
