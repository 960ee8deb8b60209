"""The patch grammar reads all that git writes, survives all else, and reads each byte once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.ledger.corpus import CASES
from runtime.ledger.grammar import Said, parse
from runtime.ledger.lines import Malformed
from runtime.ledger.names import quoted, shown, unquoted
from runtime.ledger.scratch import empty_scratch

Tree = dict[bytes, tuple[bytes, bytes]]
BLOB_MAX = 1 << 20

_LINES = st.sampled_from(
    [b"", b"a", b"b", b"c\r", b"-- x", b"--- a/x", b"+++ b/x", b"@@ -1 +1 @@", b"\\ No", b"\xff"]
)
_TEXTS = st.builds(
    lambda lines, end: b"\n".join(lines) + end,
    st.lists(_LINES, max_size=12),
    st.just(b"\n") | st.just(b""),
)
_BLOBS = _TEXTS | st.binary(max_size=80).map(lambda tail: b"\0" + tail)
_PARTS = st.text('ab "\\\té\u202e-', min_size=1, max_size=6).map(str.encode) | st.binary(
    min_size=1, max_size=4
).map(lambda part: b"n" + part.replace(b"\0", b"").replace(b"/", b""))
_PATHS = st.builds(
    lambda folder, part: folder + part, st.sampled_from([b"", b"d1/", b"d 2/"]), _PARTS
)
_ENTRIES = st.tuples(st.sampled_from([b"100644", b"100755"]), _BLOBS) | st.tuples(
    st.just(b"120000"), st.just(b"target")
)
_TREES = st.dictionaries(_PATHS, _ENTRIES, max_size=5)
_OPTIONS = st.lists(
    st.sampled_from(["-M", "-C", "--find-copies-harder", "--full-index", "-U1", "--patience"]),
    max_size=3,
)


def read(patch: bytes) -> Said:
    return parse(patch, BLOB_MAX)


def code_of(patch: bytes) -> str:
    with pytest.raises(Malformed) as raised:
        read(patch)
    return raised.value.code


async def _differing(old: Tree, new: Tree, options: list[str], quote: str) -> None:
    """What git writes for two trees is read, names what differs, and applies to the second."""
    async with empty_scratch() as scratch:
        trees = []
        for tree in (old, new):
            stream = b"commit refs/heads/x\ncommitter - <-> 0 +0000\ndata 0\ndeleteall\n"
            for path, (mode, text) in tree.items():
                stream += b"M %s inline %s\ndata %d\n%s\n" % (mode, quoted(path), len(text), text)
            await scratch.must("fast-import", "--quiet", "--force", given=stream)
            trees.append((await scratch.must("rev-parse", "x^{tree}")).decode().strip())
        await scratch.load(trees[0])
        words = ("-c", f"core.quotePath={quote}", "diff-tree", "-p", "--binary", *options)
        patch = await scratch.must(*words, *trees)
        changes = await scratch.changes(trees[1])
        if not changes:
            return
        said = read(patch)
        assert {name for file in said.files for name in file.touched} == {c.path for c in changes}
        applied = await scratch.apply(patch)
        # A file that is swapped for a copy of another is beyond git's own apply now and then.
        assert applied.tree in {trees[1], None} if options else applied.tree == trees[1]


@settings(max_examples=40, deadline=None)
@given(_TREES, _TREES, _OPTIONS, st.sampled_from(["true", "false"]))
def test_all_that_git_writes_for_random_trees_is_read_and_names_what_differs(
    old: Tree, new: Tree, options: list[str], quote: str
) -> None:
    anyio.run(_differing, old, new, options, quote)


_PATCHES = [case.patch for case in CASES if len(case.patch) < 4096]


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_mutated_patches_are_read_or_malformed_and_nothing_else(data: st.DataObject) -> None:
    patch = bytearray(data.draw(st.sampled_from(_PATCHES)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(patch)))
        cut = data.draw(st.integers(0, 8))
        put = data.draw(st.sampled_from([b"", b"\n", b"@@", b'"', b"\\", b"a/", b"\0", b"-1,0"]))
        patch[at : at + cut] = put
    try:
        read(bytes(patch))
    except Malformed:
        return


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_malformed(patch: bytes) -> None:
    try:
        read(patch)
    except Malformed:
        return


@given(st.binary(min_size=1, max_size=40).map(lambda name: name.replace(b"\0", b"")))
def test_a_name_survives_being_quoted_as_git_quotes(name: bytes) -> None:
    for high in (True, False):
        token = quoted(name, high=high)
        assert (unquoted(token) if token.startswith(b'"') else token) == name


@given(st.binary(max_size=40))
def test_a_shown_name_holds_nothing_that_moves_a_cursor(name: bytes) -> None:
    assert shown(name).isprintable()


def _work(patch: bytes) -> int:
    """How many lines of Python it takes to read it."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.endswith(
            ("grammar.py", "lines.py", "binary.py", "names.py")
        ):
            return None
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        read(patch)
    except Malformed:
        pass
    finally:
        sys.settrace(before)
    return count


_HEAD = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n"
_MAIL = b"From " + b"1" * 40 + b" Mon Sep 17 00:00:00 2001\n"
_SHAPES: dict[str, Callable[[int], bytes]] = {
    "many hunks": lambda n: (
        _HEAD + b"".join(b"@@ -%d +%d @@\n-a\n+b\n" % (i, i) for i in range(1, n))
    ),
    "one long hunk": lambda n: _HEAD + b"@@ -1,%d +0,0 @@\n" % n + b"-a\n" * n,
    "many files": lambda n: b"".join(_HEAD + b"@@ -1 +1 @@\n-a\n+b\n" for _ in range(n)),
    "blank lines behind": lambda n: _HEAD + b"@@ -1 +1 @@\n-a\n+b\n" + b"\n" * n + b"x\n",
    "a long message": lambda n: _MAIL + b"---\n" * n,
    "many mails": lambda n: (_MAIL + b"\n") * n,
    "prose": lambda n: b"word\n" * n,
    "binary": lambda n: (
        b"diff --git a/x b/x\nindex %s..%s\nGIT binary patch\nliteral 9\n" % (b"1" * 40, b"2" * 40)
        + b"A00000\n" * n
    ),
    "escapes in a name": lambda n: (
        b'diff --git "a/' + b"\\303" * n + b'" "b/' + b"\\303" * n + b'"\n'
    ),
    "slashes": lambda n: (
        b"--- a/" + b"x/" * n + b"\n+++ b/" + b"x/" * n + b"\n@@ -1 +1 @@\n-a\n+b\n"
    ),
}


@pytest.mark.parametrize("shape", _SHAPES)
def test_twice_the_patch_is_at_most_twice_the_work(shape: str) -> None:
    small, large = (_work(_SHAPES[shape](n)) for n in (400, 1600))
    assert large <= 4.2 * small


def test_a_file_that_becomes_a_link_is_read_as_git_writes_it() -> None:
    case = next(case for case in CASES if case.name == "file becomes a link")
    assert [file.names for file in read(case.patch).files] == [(b"readme.txt",)] * 2


def test_malformed_tells_the_line() -> None:
    with pytest.raises(Malformed) as raised:
        read(_HEAD + b"@@ -1 +1 @@\n-a\n*b\n")
    assert (raised.value.code, raised.value.line) == ("hunk_counts", 6)


def test_no_more_is_unpacked_than_is_declared() -> None:
    case = next(case for case in CASES if case.name == "binary_too_large: bomb")
    assert code_of(case.patch) == "binary_too_large"
    assert code_of(case.patch.replace(b"literal 9437184", b"literal 9")) == "binary_invalid"
