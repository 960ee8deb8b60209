"""Where a symbolic link leads, walked as a file system would, through all links of the tree."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.ledger.names import is_git_dir

HOPS_MAX = 40  # Linux gives up there too
TARGET_BYTES_MAX = 4095


def link_fault(path: bytes, target: bytes, links: Mapping[bytes, bytes]) -> tuple[str, bytes]:
    """The code of what is wrong with the link at `path`, or "" and the name that it leads to.
    `links`: the targets of all links of the tree."""
    if not target or len(target) > TARGET_BYTES_MAX or any(b < 0x20 or b == 0x7F for b in target):
        return "symlink_invalid", b""
    if target.startswith(b"/") or target[1:2] == b":" or b"\\" in target:
        return "symlink_escapes", b""
    at = path.split(b"/")[:-1]
    left = target.split(b"/")[::-1]
    hops = 0
    while left:
        part = left.pop()
        if part in {b"", b"."}:
            continue
        if part == b"..":
            if not at:
                return "symlink_escapes", b""
            at.pop()
            continue
        if is_git_dir(part.decode("utf-8", "replace")):
            return "symlink_git_dir", b""
        at.append(part)
        onward = links.get(b"/".join(at))
        if onward is not None and onward:
            hops += 1
            if hops > HOPS_MAX:
                return "symlink_invalid", b""
            if onward.startswith(b"/"):
                return "symlink_escapes", b""
            at.pop()
            left.extend(onward.split(b"/")[::-1])
    return "", b"/".join(at)
