"""What a patch says, read strictly: git's extended unified diff, byte by byte, each line once.

Everything that `git diff` and `git format-patch` write is read; nothing is that could mean two
things, or that git and a person would read differently. Whether git also applies it is another
question: this answers only what the patch claims. Time and memory are linear in its size.
"""

from __future__ import annotations

import re

import msgspec

from runtime.ledger.binary import read_binary
from runtime.ledger.lines import Lines, Malformed
from runtime.ledger.names import quoted, unquoted

NUMBER_MAX = 10_000_000  # of a line: beyond it lie overflows, not files

_DIGITS = rb"(0|[1-9][0-9]{0,7})"
_HUNK = re.compile(
    rb"@@ -" + _DIGITS + rb"(?:," + _DIGITS + rb")? \+" + _DIGITS + rb"(?:," + _DIGITS + rb")? @@"
)
_INDEX = re.compile(rb"([0-9a-f]{4,64})\.\.([0-9a-f]{4,64})(?: ([0-7]{6}))?")
_MAIL = re.compile(rb"From [0-9a-f]{40,64} Mon Sep 17 00:00:00 2001")
_PERCENT = re.compile(rb"(?:100|[0-9]{1,2})%")
_MAIL_TAIL = re.compile(rb"(?:base-commit|prerequisite-patch-id): [0-9a-f]{40,64}")
_VERSION = re.compile(rb"[0-9A-Za-z][0-9A-Za-z.() _+-]{0,99}")
_MARKER = b"\\ No newline at end of file"
_NULL = b"/dev/null"
_BOM = b"\xef\xbb\xbf"
_EXTENDED = (
    *(b"old mode ", b"new mode ", b"deleted file mode ", b"new file mode ", b"copy from "),
    *(b"copy to ", b"rename from ", b"rename to ", b"similarity index ", b"dissimilarity index "),
    b"index ",
)
_MODES = (b"old mode ", b"new mode ", b"deleted file mode ", b"new file mode ")
# Where git or a person would see the beginning of a diff.
_DIFF_LIKE = (b"diff --", b"--- a/", b"+++ ", b"GIT binary patch", b"Index: ")


class Hunk(msgspec.Struct, frozen=True):
    """Lines are without their end; `line` is that of the header in the patch. Of a side that is
    `*_unended` the last line has no newline, and is the last of its file."""

    old_start: int
    old_count: int
    new_start: int
    new_count: int
    removed: tuple[bytes, ...]
    added: tuple[bytes, ...]
    context: int
    old_unended: bool
    new_unended: bool
    line: int


class File(msgspec.Struct, frozen=True):
    """One file of a patch. `old` is None of one that is created, `new` of one that is deleted."""

    old: bytes | None
    new: bytes | None
    line: int
    hunks: tuple[Hunk, ...] = ()
    modes: tuple[int, ...] = ()  # those that the headers name
    copied: bool = False
    binary: bool = False
    traditional: bool = False

    @property
    def names(self) -> tuple[bytes, ...]:
        return tuple(dict.fromkeys(n for n in (self.old, self.new) if n is not None))

    @property
    def touched(self) -> tuple[bytes, ...]:
        """The names that change when it is applied."""
        return (self.new,) if self.copied and self.new is not None else self.names


class Said(msgspec.Struct, frozen=True):
    """A whole patch, as it is written."""

    files: tuple[File, ...]
    byte_order_mark: bool = False


def parse(patch: bytes, blob_bytes_max: int) -> Said:
    """What the patch says. Raises Malformed, and nothing else whatever the bytes are."""
    marked = patch.startswith(_BOM)
    lines = Lines(patch[len(_BOM) :] if marked else patch)
    files: list[File] = []
    mail = False
    while not lines.done:
        line = lines.line
        if _MAIL.fullmatch(line) and (mail or not files):
            mail = True
            _skip_message(lines)
        elif line.startswith(b"diff --git "):
            files.append(_file(lines, blob_bytes_max))
        elif line.startswith(b"--- ") and not mail:
            files.append(_traditional(lines))
        elif mail and files and _skip_tail(lines):
            continue
        elif files and lines.only_blank_follows():
            break
        else:
            raise _no_diff(lines)
    if not files:
        raise Malformed("no_diff", lines.number)
    if len({file.traditional for file in files}) == 2:
        raise Malformed("mixed_diff", next(f.line for f in files if f.traditional))
    return Said(tuple(files), marked)


def _no_diff(lines: Lines) -> Malformed:
    number = lines.number
    if lines.line.startswith((b"diff --cc ", b"diff --combined ")):
        return Malformed("combined_diff", number)
    if number > 1:
        return Malformed("text_outside_diff", number)
    begun = lines.any_begins((b"diff --git ", b"--- ", b"+++ ", b"@@ -"))
    return Malformed("text_outside_diff" if begun else "no_diff", number)


# --- mails ------------------------------------------------------------------------------------


def _skip_message(lines: Lines) -> None:
    """To the first diff of a mail, or the next mail. After `---` a summary stands before it."""
    lines.take()
    summary = False
    while not lines.done and not _MAIL.fullmatch(lines.line):
        line = lines.line
        if summary and line.startswith(b"diff --git "):
            return
        if line.startswith(_DIFF_LIKE) or _HUNK.match(line):
            raise Malformed("diff_in_message", lines.number)
        if line == b"---":
            summary = True
        elif summary and line and not line.startswith((b" ", b"Notes")):
            summary = False
        lines.take()


def _skip_tail(lines: Lines) -> bool:
    """Whether what follows the last file of a mail was its tail; then it is behind us."""
    began = lines.number
    while not lines.done and (not lines.line or _MAIL_TAIL.fullmatch(lines.line)):
        lines.take()
    if not lines.done and lines.line == b"-- ":
        lines.take()
        if lines.done or not _VERSION.fullmatch(lines.line):
            raise Malformed("text_outside_diff", lines.number)
        lines.take()
        while not lines.done and not lines.line:
            lines.take()
        if not lines.done and not _MAIL.fullmatch(lines.line):
            raise Malformed("text_outside_diff", lines.number)
    return lines.number > began


# --- one file ---------------------------------------------------------------------------------


def _file(lines: Lines, blob_bytes_max: int) -> File:
    number = lines.number
    header = lines.take()[len(b"diff --git ") :]
    if any(byte < 0x20 or byte == 0x7F for byte in header):
        raise Malformed("header_control", number)
    said = _extended(lines)
    old, new, has_names = _ends(lines, header, said, number)
    _agree(header, old, new, said, number)
    modes = tuple(_mode(said[key], number) for key in _MODES if key in said)
    if index := _INDEX.fullmatch(said.get(b"index ", b"")):
        modes += (_mode(index[3], number),) if index[3] else ()
    binary = False
    hunks: tuple[Hunk, ...] = ()
    is_new, is_gone = b"new file mode " in said, b"deleted file mode " in said
    if has_names:
        hunks = _hunks(lines, None if is_new else old, None if is_gone else new)
    elif not lines.done and lines.line == b"GIT binary patch":
        whole = index is not None and {len(index[1]), len(index[2])} in ({40}, {64})
        if not whole:
            raise Malformed("binary_short_index", number)
        binary = True
        read_binary(lines, blob_bytes_max)
    elif not lines.done and lines.line.startswith(b"Binary files "):
        raise Malformed("binary_without_content", lines.number)
    elif not said.keys() - {b"index ", b"similarity index ", b"dissimilarity index "}:
        raise Malformed("no_change", number)
    copied = b"copy from " in said
    return File(
        None if is_new else old, None if is_gone else new, number, hunks, modes, copied, binary
    )


def _extended(lines: Lines) -> dict[bytes, bytes]:
    """The extended header lines by their key, each at most once and none against another."""
    said: dict[bytes, bytes] = {}
    while not lines.done:
        line = lines.line
        key = next((key for key in _EXTENDED if line.startswith(key)), None)
        if key is None:
            break
        if key in said:
            raise Malformed("header_duplicate", lines.number)
        if any(byte < 0x20 or byte == 0x7F for byte in line):
            raise Malformed("header_control", lines.number)
        value = line[len(key) :]
        if key == b"index " and not _INDEX.fullmatch(value):
            raise Malformed("header_invalid", lines.number)
        if key.endswith(b"similarity index ") and not _PERCENT.fullmatch(value):
            raise Malformed("header_invalid", lines.number)
        said[key] = value
        lines.take()
    kinds = [
        b"new file mode " in said,
        b"deleted file mode " in said,
        b"rename from " in said,
        b"copy from " in said,
    ]
    pairs = (
        (b"old mode ", b"new mode "),
        (b"rename from ", b"rename to "),
        (b"copy from ", b"copy to "),
    )
    if sum(kinds) > 1 or any((one in said) != (other in said) for one, other in pairs):
        raise Malformed("header_invalid", lines.number)
    if (kinds[0] or kinds[1]) and b"old mode " in said:
        raise Malformed("header_invalid", lines.number)
    return said


def _ends(
    lines: Lines, header: bytes, said: dict[bytes, bytes], number: int
) -> tuple[bytes, bytes, bool]:
    """The file's name before and after, and whether `---` and `+++` stand there. A file that is
    created or deleted has one name for both."""
    old = new = None
    for key in (b"rename ", b"copy "):
        if key + b"from " in said:
            old = _name(said[key + b"from "], number)
            new = _name(said[key + b"to "], number)
    if lines.done or not lines.line.startswith(b"--- "):
        if old is None or new is None:
            old = new = _halved(header, number)
        return old, new, False
    from_name, to_name = _pair(lines)
    is_new, is_gone = b"new file mode " in said, b"deleted file mode " in said
    if (from_name is None) != is_new or (to_name is None) != is_gone:
        raise Malformed("names_disagree", number)
    named_old = to_name if from_name is None else from_name
    named_new = from_name if to_name is None else to_name
    assert named_old is not None
    assert named_new is not None
    if (old, new) not in ((None, None), (named_old, named_new)):
        raise Malformed("names_disagree", number)
    if old is None and named_old != named_new:
        raise Malformed("names_disagree", number)
    return named_old, named_new, True


def _pair(lines: Lines) -> tuple[bytes | None, bytes | None]:
    """The names of `---` and `+++`, without their prefixes; None of /dev/null."""
    number = lines.number
    old = _side(lines.take()[4:], b"a/", number)
    if lines.done or not lines.line.startswith(b"+++ "):
        raise Malformed("truncated" if lines.done else "header_invalid", lines.number)
    new = _side(lines.take()[4:], b"b/", number + 1)
    if old is None and new is None:
        raise Malformed("names_disagree", number)
    return old, new


def _side(token: bytes, prefix: bytes, number: int) -> bytes | None:
    if token == _NULL:
        return None
    if token.endswith(b"\t") and b" " in token:
        token = token[:-1]  # git marks the end of a name that holds a space
    name = _name(token, number)
    if not name.startswith(prefix):
        raise Malformed("prefix_invalid", number)
    return name[len(prefix) :]


def _name(token: bytes, number: int) -> bytes:
    if token.startswith(b'"'):
        name = unquoted(token)
        if name is None:
            raise Malformed("quoting_invalid", number)
        return name
    if any(byte < 0x20 or byte == 0x7F for byte in token):
        raise Malformed("header_control", number)
    if not token or b'"' in token or b"\\" in token:
        raise Malformed("quoting_invalid", number)
    return token


def _halved(header: bytes, number: int) -> bytes:
    """The one name of a header whose halves are the same but for the prefix."""
    middle = len(header) // 2
    left, right = header[:middle], header[middle + 1 :]
    old, new = _name(left, number), _name(right, number)
    if not (old.startswith(b"a/") and new.startswith(b"b/")):
        raise Malformed("prefix_invalid", number)
    if old[2:] != new[2:]:
        raise Malformed("names_disagree", number)
    return old[2:]


def _agree(header: bytes, old: bytes, new: bytes, said: dict[bytes, bytes], number: int) -> None:
    """The `diff --git` line is exactly what git writes for these names."""
    owed = {
        quoted(b"a/" + old, high=high) + b" " + quoted(b"b/" + new, high=high)
        for high in (True, False)
    }
    if header not in owed:
        prefixed = header.startswith((b"a/", b'"a/')) and (b" b/" in header or b' "b/' in header)
        raise Malformed("names_disagree" if prefixed else "prefix_invalid", number)
    if (old == new) == (b"rename from " in said or b"copy from " in said):
        raise Malformed("names_disagree", number)


def _mode(text: bytes, number: int) -> int:
    if not re.fullmatch(rb"[0-7]{6}", text):
        raise Malformed("mode_invalid", number)
    return int(text, 8)


def _traditional(lines: Lines) -> File:
    """A file of a diff that git did not write; what stands after a tab is its time."""
    number = lines.number
    names: list[bytes | None] = []
    for mark, prefix in ((b"--- ", b"a/"), (b"+++ ", b"b/")):
        if lines.done or not lines.line.startswith(mark):
            raise Malformed("truncated" if lines.done else "header_invalid", lines.number)
        token = lines.take()[4:].split(b"\t", 1)[0]
        names.append(_side(token, prefix, lines.number - 1))
    old, new = names
    if (old is None and new is None) or (None not in names and old != new):
        raise Malformed("names_disagree", number)
    return File(old, new, number, _hunks(lines, old, new), traditional=True)


# --- hunks ------------------------------------------------------------------------------------


def _hunks(lines: Lines, old: bytes | None, new: bytes | None) -> tuple[Hunk, ...]:
    hunks: list[Hunk] = []
    old_next = new_next = 1
    while not lines.done and lines.line.startswith(b"@@"):
        hunk = _hunk(lines)
        # A side without lines names the line before it.
        old_begin = hunk.old_start + (hunk.old_count == 0)
        new_begin = hunk.new_start + (hunk.new_count == 0)
        if old_begin < old_next or old_begin - old_next != new_begin - new_next:
            raise Malformed("hunk_order", hunk.line)
        if hunks and (hunks[-1].old_unended or hunks[-1].new_unended):
            raise Malformed("end_marker", hunk.line)
        old_next, new_next = old_begin + hunk.old_count, new_begin + hunk.new_count
        hunks.append(hunk)
    if not hunks:
        raise Malformed("truncated" if lines.done else "no_hunks", lines.number)
    if (old is None and old_next > 1) or (new is None and new_next > 1):
        raise Malformed("hunk_counts", hunks[0].line)
    return tuple(hunks)


def _hunk(lines: Lines) -> Hunk:
    number = lines.number
    header = lines.take()
    found = _HUNK.match(header)
    if found is None or header[found.end() : found.end() + 1] not in {b"", b" "}:
        raise Malformed("hunk_header", number)
    old_start, old_count, new_start, new_count = (
        1 if group is None else int(group) for group in found.groups()
    )
    if max(old_start + old_count, new_start + new_count) > NUMBER_MAX:
        raise Malformed("hunk_header", number)
    if (old_start == 0 and old_count > 0) or (new_start == 0 and new_count > 0):
        raise Malformed("hunk_header", number)
    removed: list[bytes] = []
    added: list[bytes] = []
    context = 0
    unended = [False, False]
    while len(removed) + context < old_count or len(added) + context < new_count:
        line = _body_line(lines, unended)
        if line[:1] == b"-":
            removed.append(line[1:])
        elif line[:1] == b"+":
            added.append(line[1:])
        else:
            context += 1
        _marker(lines, line[:1], unended)
    if len(removed) + context != old_count or len(added) + context != new_count:
        raise Malformed("hunk_counts", number)
    if not removed and not added:
        raise Malformed("hunk_empty", number)
    return Hunk(
        old_start,
        old_count,
        new_start,
        new_count,
        tuple(removed),
        tuple(added),
        context,
        unended[0],
        unended[1],
        number,
    )


def _body_line(lines: Lines, unended: list[bool]) -> bytes:
    if lines.done:
        raise Malformed("truncated", lines.number)
    line = lines.line
    # An empty line is one of context: git writes it so with diff.suppressBlankEmpty.
    if line[:1] not in {b" ", b"+", b"-", b""}:
        raise Malformed("hunk_counts", lines.number)
    on_old, on_new = line[:1] != b"+", line[:1] != b"-"
    if (on_old and unended[0]) or (on_new and unended[1]):
        raise Malformed("end_marker", lines.number)
    return lines.take()


def _marker(lines: Lines, kind: bytes, unended: list[bool]) -> None:
    if lines.done or not lines.line.startswith(b"\\"):
        return
    if lines.line != _MARKER:
        raise Malformed("end_marker", lines.number)
    lines.take()
    unended[0] |= kind != b"+"
    unended[1] |= kind != b"-"
