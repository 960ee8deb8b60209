"""What tasks and gates printed: one capped file for each attempt, read from its end."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import msgspec

# The end of a file is looked for in steps of this size, and no further back than this many lines
# of the longest sensible kind: a tail of hostile output stays cheap.
_STEP_BYTES = 64 * 1024
_TAIL_BYTES_MAX = 4 * 1024 * 1024


class Printed(msgspec.Struct, frozen=True):
    """The output file of one attempt."""

    attempt: int
    path: str
    size: int


def attempts(state_dir: Path, entity_id: str, newest: int) -> list[Printed]:
    """The output files of a task or gate up to attempt `newest`, by attempt. Looked up by name: a
    state directory may hold a million of them."""
    found = []
    for number in range(newest + 1):
        path = output_path(state_dir, entity_id, number)
        try:
            found.append(Printed(number, str(path), path.stat().st_size))
        except FileNotFoundError:
            continue
    return found


def why_silent(db: sqlite3.Connection, kind: str, entity_id: str) -> str:
    """Why there is no output of an entity, after its name."""
    if kind == "test_gate":
        reused, person = db.execute(
            "SELECT json_extract(value, '$.check.reused_from'),"
            " json_extract(spec, '$.gate.approval') FROM test_gates WHERE id = ?",
            (entity_id,),
        ).fetchone()
        if person:
            return "is judged by a person: nothing is run"
        if reused:
            return f"was not run: nothing had changed; `banksman logs {reused}` shows what was"
    return "has printed nothing yet"


def output_path(state_dir: Path, entity_id: str, attempt: int) -> Path:
    """Where one attempt's output goes: stdout and stderr as they came, while they come."""
    return state_dir / "output" / f"{entity_id.replace('/', '__')}.{attempt}.log"


def tail(path: Path, lines: int) -> bytes:
    """The last so many lines of the file, at most 4 MiB of them. A line cut short counts."""
    if lines <= 0:
        return b""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        start, data = end, b""
        while start > 0 and len(data) < _TAIL_BYTES_MAX:
            step = min(_STEP_BYTES, start)
            start -= step
            file.seek(start)
            data = file.read(step) + data
            if data.count(b"\n", 0, len(data) - 1) >= lines:
                break
    kept = data.splitlines(keepends=True)[-lines:]
    return b"".join(kept)


def last_line(path: Path, width: int) -> str:
    """The last line with anything on it, at most `width` characters; "" where there is none."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 2048))
            data = file.read(2048)
    except OSError:
        return ""
    for line in reversed(data.decode(errors="replace").splitlines()):
        if line.strip():
            return line.strip()[:width]
    return ""
