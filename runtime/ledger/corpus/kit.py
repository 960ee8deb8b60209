"""The tree that the corpus is made against, and how its patches are written: our own writer, so
that what git would never write can be written too.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import NamedTuple

from runtime.ledger.names import quoted
from runtime.ledger.policy import Policy
from runtime.ledger.reasons import Verdict

FILE, EXECUTABLE, LINK, GITLINK = 0o100644, 0o100755, 0o120000, 0o160000

PICTURE = bytes(range(256)) * 2
FIXTURE: dict[str, tuple[int, bytes]] = {
    "readme.txt": (FILE, b"alpha\nbeta\ngamma\n"),
    "lib/core.py": (FILE, b"".join(b"step_%d = %d\n" % (n, n) for n in range(1, 31))),
    "lib/extra.py": (FILE, b"def extra():\n    return 1\n"),
    "lib/dos.txt": (FILE, b"one\r\ntwo\r\nthree\r\n"),
    "lib/latin.txt": (FILE, b"gr\xfc\xdfe\nan\nalle\n"),
    "lib/end.txt": (FILE, b"x\ny\nz"),
    "lib/empty.txt": (FILE, b""),
    "lib/single.txt": (FILE, b"only\n"),
    "lib/odd:name.txt": (FILE, b"odd\nname\nhere\n"),
    "lib/Twin.txt": (FILE, b"upper\n"),
    "lib/twin.txt": (FILE, b"lower\n"),
    "bin/tool.sh": (EXECUTABLE, b"#!/bin/sh\nexit 0\n"),
    "tests/test_core.py": (FILE, b"def test_core():\n    assert 1 + 1 == 2\n"),
    "assets/pic.bin": (FILE, PICTURE),
    "docs/a.md": (FILE, b"a one\na two\na three\n"),
    "docs/b.md": (FILE, b"b one\nb two\nb three\n"),
    "docs/c.md": (FILE, b"c one\nc two\nc three\n"),
    ".gitignore": (FILE, b"*.o\n"),
    "here": (LINK, b"readme.txt"),
    "libs": (LINK, b"lib"),
    "deep/er/up": (LINK, b"../.."),
    "third/mod": (GITLINK, b"1" * 40),
}

EDIT = (
    "diff --git a/readme.txt b/readme.txt\n--- a/readme.txt\n+++ b/readme.txt\n"
    "@@ -1,3 +1,3 @@\n alpha\n-beta\n+BETA\n gamma\n"
)


class Case(NamedTuple):
    """A patch, what it is to be called, and why: `code` is among the reasons, "" of none."""

    hazard: str
    name: str
    verdict: Verdict
    code: str
    patch: bytes
    policy: Policy = Policy()


def accepted(hazard: str, name: str, patch: str | bytes, policy: Policy | None = None) -> Case:
    return Case(hazard, name, Verdict.ACCEPT, "", _bytes(patch), policy or Policy())


def held(hazard: str, name: str, code: str, patch: str | bytes, **policy: object) -> Case:
    return Case(hazard, name, Verdict.HOLD, code, _bytes(patch), Policy(**policy))  # type: ignore[arg-type] # each caller names fields of it


def refused(hazard: str, name: str, code: str, patch: str | bytes, **policy: object) -> Case:
    return Case(hazard, name, Verdict.REJECT, code, _bytes(patch), Policy(**policy))  # type: ignore[arg-type] # each caller names fields of it


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def header(old: str | bytes, new: str | bytes | None = None) -> bytes:
    """The first line of a file's section."""
    before, after = _bytes(old), _bytes(new if new is not None else old)
    return b"diff --git " + quoted(b"a/" + before) + b" " + quoted(b"b/" + after) + b"\n"


def created(path: str | bytes, text: str | bytes = b"x\n", mode: int | str = FILE) -> bytes:
    """A file that was not there."""
    name, content = _bytes(path), _bytes(text)
    shown = mode if isinstance(mode, str) else f"{mode:06o}"
    out = header(name) + f"new file mode {shown}\n".encode()
    if not content:
        return out + b"index 0000000..e69de29\n"
    plus = quoted(b"b/" + name)
    tab = b"\t" if b" " in name and not plus.startswith(b'"') else b""
    return out + b"--- /dev/null\n+++ " + plus + tab + b"\n" + _whole(b"+", content)


def deleted(path: str, text: bytes | None = None, mode: int | None = None) -> bytes:
    """A file of the fixture that is gone; `text` and `mode` where the patch says something else."""
    kept, content = FIXTURE[path]
    out = header(path) + f"deleted file mode {mode or kept:06o}\n".encode()
    body = content if text is None else text
    if not body:
        return out + b"index e69de29..0000000\n"
    return out + b"--- " + quoted(b"a/" + path.encode()) + b"\n+++ /dev/null\n" + _whole(b"-", body)


def changed(path: str, old: str | bytes, new: str | bytes, at: int = 1) -> bytes:
    """One hunk: all lines of `old` from line `at` become those of `new`; equal lines at both ends
    are its context."""
    before, after = _split(_bytes(old)), _split(_bytes(new))
    head = 0
    while head < min(len(before), len(after)) and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < min(len(before), len(after)) - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    body = b"".join(b" " + line for line in before[:head])
    body += b"".join(b"-" + line for line in before[head : len(before) - tail])
    body += b"".join(b"+" + line for line in after[head : len(after) - tail])
    body += b"".join(b" " + line for line in before[len(before) - tail :])
    name = path.encode()
    names = b"--- " + quoted(b"a/" + name) + b"\n+++ " + quoted(b"b/" + name) + b"\n"
    counts = b"@@ -%d,%d +%d,%d @@\n" % (at, len(before), at, len(after))
    return header(path) + names + counts + body


def whole(path: str, new: str | bytes) -> bytes:
    """All of a fixture's file becomes something else."""
    return changed(path, FIXTURE[path][1], new)


def _split(text: bytes) -> list[bytes]:
    lines = text.split(b"\n")
    last = lines.pop()
    ended = [line + b"\n" for line in lines]
    return [*ended, last + b"\n\\ No newline at end of file\n"] if last else ended


def _whole(sign: bytes, text: bytes) -> bytes:
    lines = _split(text)
    span = b"1" if len(lines) == 1 else b"1,%d" % len(lines)
    counts = (b"0,0", span) if sign == b"+" else (span, b"0,0")
    return b"@@ -%s +%s @@\n" % counts + b"".join(sign + line for line in lines)


def binary(path: str, content: bytes, mode: int = FILE, *, old: bytes | None = None) -> bytes:
    """A binary file that is new, or changed from `old`."""
    out = header(path)
    if old is None:
        out += f"new file mode {mode:06o}\nindex {'0' * 40}..{blob_id(content)}\n".encode()
    else:
        out += f"index {blob_id(old)}..{blob_id(content)} {mode:06o}\n".encode()
    return out + b"GIT binary patch\n" + literal(content) + literal(old or b"")


def literal(content: bytes, size: int | None = None) -> bytes:
    """A block of a binary patch; `size` where it declares another than it has."""
    packed = zlib.compress(content, 9)
    out = b"literal %d\n" % (len(content) if size is None else size)
    for at in range(0, len(packed), 52):
        part = packed[at : at + 52]
        letter = bytes([len(part) + (64 if len(part) <= 26 else 70)])
        padded = part + b"\0" * (-len(part) % 4)
        out += letter + base64.b85encode(padded) + b"\n"
    return out + b"\n"


def blob_id(content: bytes) -> str:
    named = b"blob %d\0" % len(content) + content
    return hashlib.sha1(named, usedforsecurity=False).hexdigest()


def mail(body: str, diff: str | bytes = EDIT) -> bytes:
    """As `git format-patch` writes it."""
    head = f"From {'1' * 40} Mon Sep 17 00:00:00 2001\nFrom: Ann <ann@example.org>\n"
    head += f"Date: Thu, 1 Jan 2026 00:00:00 +0000\nSubject: [PATCH] change\n\n{body}---\n"
    return head.encode() + b" readme.txt | 2 +-\n\n" + _bytes(diff) + b"-- \n2.39.5\n\n"
