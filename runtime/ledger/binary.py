"""Binary patches: they decode to exactly what they declare, and no more than that is unpacked."""

from __future__ import annotations

import base64
import re
import zlib

from runtime.ledger.lines import Lines, Malformed

FILES_AT_ONCE = 8  # of the largest size, all binary files of a patch together
_START = re.compile(rb"(literal|delta) (0|[1-9][0-9]{0,18})")


def read_binary(lines: Lines, bytes_max: int) -> None:
    """Takes `GIT binary patch` with one block forward, and one back where it is there."""
    lines.take()
    if lines.done:
        raise Malformed("truncated", lines.number)
    _block(lines, bytes_max)
    if not lines.done and _START.fullmatch(lines.line):
        _block(lines, bytes_max)


def _block(lines: Lines, bytes_max: int) -> None:
    number = lines.number
    start = _START.fullmatch(lines.take())
    if start is None:
        raise Malformed("binary_invalid", number)
    size = int(start[2])
    lines.unpacked += size
    _bounded(size, lines, bytes_max, number)
    packed: list[bytes] = []
    while True:
        if lines.done:
            raise Malformed("truncated", lines.number)
        line = lines.take()
        if not line:
            break
        packed.append(_decoded(line, lines.number - 1))
    unpacked = _inflated(b"".join(packed), size, number)
    if start[1] == b"delta":
        made = _delta_size(unpacked, number)
        lines.unpacked += made
        _bounded(made, lines, bytes_max, number)


def _bounded(size: int, lines: Lines, bytes_max: int, number: int) -> None:
    """Git holds all files of a patch at once: many of them are a bomb, too."""
    if size > bytes_max or lines.unpacked > bytes_max * FILES_AT_ONCE:
        raise Malformed("binary_too_large", number)


def _decoded(line: bytes, number: int) -> bytes:
    """A line is a letter for its count of bytes (A-Z: 1-26, a-z: 27-52) and base 85."""
    letter = line[:1]
    if b"A" <= letter <= b"Z":
        count = line[0] - 64
    elif b"a" <= letter <= b"z":
        count = line[0] - 70
    else:
        raise Malformed("binary_invalid", number)
    text = line[1:]
    if len(text) != (count + 3) // 4 * 5:
        raise Malformed("binary_invalid", number)
    try:
        return base64.b85decode(text)[:count]
    except ValueError:
        raise Malformed("binary_invalid", number) from None


def _inflated(packed: bytes, size: int, number: int) -> bytes:
    inflating = zlib.decompressobj()
    try:
        unpacked = inflating.decompress(packed, size + 1)
    except zlib.error:
        raise Malformed("binary_invalid", number) from None
    if len(unpacked) != size or not inflating.eof or inflating.unused_data:
        raise Malformed("binary_invalid", number)
    return unpacked


def _delta_size(delta: bytes, number: int) -> int:
    """The size of what a delta makes: the second of the two numbers that it begins with."""
    at = size = 0
    for _ in range(2):
        size = shift = 0
        while True:
            if at >= len(delta) or shift > 63:
                raise Malformed("binary_invalid", number)
            byte = delta[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
    return size
