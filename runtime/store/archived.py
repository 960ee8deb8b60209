"""The archives of the audit, verified without the database: each one's chain, and how they join."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from runtime.store.audit import COLUMNS, hash_of
from runtime.store.findings import Finding
from runtime.store.layout import Layout

_NAME = re.compile(r"audit-([0-9]{1,18})-([0-9]{1,18})\.jsonl")


def broken_archives(layout: Layout, anchor: str) -> Iterator[Finding]:
    """What contradicts the anchor, "seq:hash", or itself. Archives that were taken away are none of
    it: of a row without the one before, only what follows can be proved."""
    wanted_seq, _, wanted_hash = anchor.partition(":")
    after: dict[int, str] = {0: ""}  # the last seq of each archive, and the hash of its chain
    for first, last, path in _archives(layout):
        hash_, wrong = _chain(path, first, after.get(first - 1))
        if wrong is None and last == int(wanted_seq) and hash_ != wanted_hash:
            wrong = "its last row is not the one that the database goes on from"
        if wrong is not None:
            yield Finding("archive", path.name, wrong)
        after[last] = hash_ or ""


def _archives(layout: Layout) -> list[tuple[int, int, Path]]:
    """Ours, in order: (first seq, last seq, path). Files of other names are somebody else's."""
    named = ((_NAME.fullmatch(path.name), path) for path in layout.archive.glob("audit-*.jsonl"))
    return sorted((int(name[1]), int(name[2]), path) for name, path in named if name is not None)


def _chain(path: Path, first: int, before: str | None) -> tuple[str | None, str | None]:
    """The hash of the last row, and what is wrong. `before` None: the first row is believed."""
    previous = before
    with path.open("rb") as lines:
        for seq, line in enumerate(lines, first):
            try:
                row = _row(msgspec.json.decode(line, type=dict[str, msgspec.Raw]))
                told = row[14]
                if row[0] != seq or (previous is not None and hash_of(row, previous) != told):
                    return None, f"row {seq} does not follow the one before it"
            except (KeyError, ValueError, TypeError, msgspec.MsgspecError):
                return None, f"line {seq - first + 1} is no event"
            previous = told
    return previous, None


def _row(event: dict[str, msgspec.Raw]) -> tuple[Any, ...]:
    """An archived event as the row that it was."""
    at = datetime.fromisoformat(msgspec.json.decode(event["timestamp"]))
    special: dict[str, Any] = {
        "metadata": bytes(event["metadata"]).decode(),
        "transitioned_at": at.timestamp(),
        "run_id": msgspec.json.decode(event["context"])["run_id"],
    }
    return tuple(
        special[column] if column in special else msgspec.json.decode(event[column])
        for column in COLUMNS
    )
