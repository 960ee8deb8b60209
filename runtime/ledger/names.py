"""Names of files in a patch: how git quotes them, and what is dangerous or unportable in one."""

from __future__ import annotations

import re
import unicodedata

_ESCAPES = {7: b"a", 8: b"b", 9: b"t", 10: b"n", 11: b"v", 12: b"f", 13: b"r", 34: b'"', 92: b"\\"}
_UNESCAPES = {escape[0]: value for value, escape in _ESCAPES.items()}
_MUST_QUOTE = re.compile(rb'[\x00-\x1f\x7f"\\]')
_MAY_QUOTE = re.compile(rb'[\x00-\x1f\x7f-\xff"\\]')
_OCTAL = re.compile(rb"[0-3][0-7]{2}")

_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])\s*(?:[.:].*)?",
    re.IGNORECASE | re.DOTALL,
)
_SHORT_GIT = re.compile(r"(?:git~[0-9]+|gi[0-9a-f]{4}~[0-9]+)", re.IGNORECASE)
# What HFS+ leaves out when it compares names.
_HFS_IGNORED = dict.fromkeys(
    [*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF]
)


def quoted(name: bytes, *, high: bool = True) -> bytes:
    """The name as git writes it in a header; `high` is `core.quotePath`, git's default."""
    special = _MAY_QUOTE if high else _MUST_QUOTE
    if not special.search(name):
        return name
    return b'"' + special.sub(lambda found: _escaped(found.group()[0]), name) + b'"'


def _escaped(value: int) -> bytes:
    return b"\\" + _ESCAPES.get(value, b"%03o" % value)


def unquoted(token: bytes) -> bytes | None:
    """The name in quotes that git wrote; None where git would have written it in another way."""
    parts: list[bytes] = []
    at, end = 1, len(token) - 1
    if end < 1 or token[:1] != b'"' or token[end:] != b'"':
        return None
    while at < end:
        slash = token.find(b"\\", at, end)
        if slash < 0:
            parts.append(token[at:end])
            break
        parts.append(token[at:slash])
        if octal := _OCTAL.match(token, slash + 1, end):
            parts.append(bytes([int(octal.group(), 8)]))
            at = slash + 4
        elif slash + 1 < end and token[slash + 1] in _UNESCAPES:
            parts.append(bytes([_UNESCAPES[token[slash + 1]]]))
            at = slash + 2
        else:
            return None
    name = b"".join(parts)
    return name if token in {quoted(name), quoted(name, high=False)} else None


def shown(name: bytes) -> str:
    """The name for people and JSON: what is not printable UTF-8 is escaped."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def hazards(name: bytes, path_bytes: int, component_bytes: int, depth: int) -> list[str]:
    """The codes of all that is wrong with a name, whatever stands in the file."""
    parts = name.split(b"/")
    found = []
    if name.startswith(b"/") or re.match(rb"[A-Za-z]:[/\\]", name):
        found.append("path_absolute")
    if any(part in {b"", b".", b".."} for part in re.split(rb"[/\\]", name)):
        found.append("path_traversal")
    if any(byte < 0x20 or byte == 0x7F for byte in name):
        found.append("path_control")
    if b"\\" in name:
        found.append("path_backslash")
    if b":" in name:
        found.append("path_colon")
    if any(part.startswith(b"-") for part in parts):
        found.append("path_leading_dash")
    if any(part[-1:] in {b".", b" "} and part not in {b".", b".."} for part in parts):
        found.append("path_trailing")
    if b" a/" in name or b" b/" in name:
        found.append("path_ambiguous")
    if (
        len(name) > path_bytes
        or len(parts) > depth
        or max(map(len, parts), default=0) > component_bytes
    ):
        found.append("path_too_long")
    try:
        return found + _unicode_hazards(name.decode())
    except UnicodeDecodeError:
        return [*found, "path_not_utf8"]


def _unicode_hazards(name: str) -> list[str]:
    found = []
    if any(is_git_dir(part) for part in re.split(r"[/\\]", name)):
        found.append("path_git_dir")
    if any(_DEVICE.fullmatch(part) for part in name.split("/")):
        found.append("path_device")
    if any(unicodedata.category(c) in {"Cf", "Zl", "Zp", "Co", "Cn"} for c in name):
        found.append("path_hidden_characters")
    if any("\x80" <= c <= "\x9f" for c in name):
        found.append("path_control")
    if not unicodedata.is_normalized("NFC", name):
        found.append("path_not_nfc")
    return found


def is_git_dir(part: str) -> bool:
    """Whether NTFS, HFS+ or any file system takes this component for `.git`."""
    plain = folded(part.translate(_HFS_IGNORED)).split(":", 1)[0].rstrip(". ")
    return plain == ".git" or _SHORT_GIT.fullmatch(plain) is not None


def folded(name: str) -> str:
    """What file systems compare where case and composition do not count."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
