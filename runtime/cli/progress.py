"""How far running work has come: asked of the owner, and in words for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime.cli.text import columns, length, tame
from runtime.control.client import Client, NoOwner, OwnerLost, OwnerRefused
from runtime.view.said import AtWork, Said
from runtime.view.told import whole_length

# Of whom it is known that it lives, and not more.
OWNED: Mapping[str, Any] = {"role": "daemon"}
_ASK_S = 2.0
_SHOWN_MAX = 8
_CELL_MAX = 60  # of a table: a line that wraps hides the next one


def told(state_dir: Path, owner: Mapping[str, Any] | None) -> dict[str, str]:
    """What the live owner knows of running work, a line each, by lease; nothing where nobody
    answers."""
    if owner is None or owner["role"] == "silent":
        return {}
    try:
        with Client(state_dir, timeout_s=_ASK_S) as client:
            found: dict[str, str] = client.ask("progress")
            return found
    except (NoOwner, OwnerLost, OwnerRefused):  # refused: an owner of an older version
        return {}


def in_words(said: Said | None, now: float, *, whole: bool = False) -> str:
    """Its text, safe to show, and how long ago it was said; `whole`: not cut to a cell."""
    if said is None:
        return ""
    ago = ""
    if said.at is not None:
        past = int(now - said.at)
        ago = f", {whole_length(past)} ago" if past > 0 else ", just now"
    text = tame(said.text)
    if len(text) > _CELL_MAX and not whole:
        text = f"{text[: _CELL_MAX - 3]}..."
    return f"{text}{ago}"


def at_work_lines(working: list[AtWork], cut: str, now: float) -> Iterator[str]:
    """What runs, for how long, and its last word; a screen shows no more than a few."""
    rows = (
        (
            each.id.removeprefix(cut),
            "" if each.since is None else length(now - each.since),
            (each.worker_id or "").removeprefix(cut),
            in_words(each.said, now),
        )
        for each in working[:_SHOWN_MAX]
    )
    yield from columns(("at work", "for", "worker", "last said"), rows)
    if (more := len(working) - _SHOWN_MAX) > 0:
        yield f"and {more:,} more: `banksman tasks --state running`"
