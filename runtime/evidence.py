"""What an operator showed for an override: kept beside the outputs, its digest on record."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from runtime.errors import storable
from runtime.limits import EVIDENCE_EDGE_BYTES_MAX, EVIDENCE_QUOTED_CHARS_MAX


class Evidence(msgspec.Struct, frozen=True):
    """A file as it was when it was shown: the size and digest of all of it, and `kept`, the whole
    or, of a large one, its beginning and its end."""

    path: str
    size: int
    sha256: str
    kept: bytes


def read(path: Path) -> Evidence:
    """Raises OSError where it cannot be read."""
    digest = hashlib.sha256()
    first, last, size = b"", b"", 0
    edge = EVIDENCE_EDGE_BYTES_MAX
    with path.open("rb") as file:
        while chunk := file.read(edge):
            digest.update(chunk)
            size += len(chunk)
            if len(first) < edge:
                taken = edge - len(first)
                first, chunk = first + chunk[:taken], chunk[taken:]
            last = (last + chunk)[-edge:]
    left_out = size - len(first) - len(last)
    gap = f"\n[... {left_out} bytes are left out here ...]\n".encode() if left_out else b""
    return Evidence(str(path), size, digest.hexdigest(), first + gap + last)


class Kept(msgspec.Struct, frozen=True):
    """The file in the folder of outputs, whether it was not there before, and what of it goes on
    record."""

    path: Path
    is_new: bool
    said: str


def keep(evidence: Evidence, output: Path, entity_id: str) -> Kept:
    """Writes it into the folder of outputs, under a name that is the same for the same."""
    # Of what is written here, and not what somebody says that it is: it becomes part of a path.
    digest = hashlib.sha256(evidence.kept).hexdigest()
    name = f"{entity_id.replace('/', '__')}.override-{digest[:12]}.txt"
    path = output / name
    is_new = not path.exists()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(evidence.kept)
        file.flush()
        os.fsync(file.fileno())
    end = evidence.kept.decode(errors="replace").strip()[-EVIDENCE_QUOTED_CHARS_MAX:]
    said = f"{storable(evidence.path)}, {evidence.size} bytes, sha256 {evidence.sha256}"
    return Kept(path, is_new, f"{said}, kept as {output.name}/{name}:\n{end}")
