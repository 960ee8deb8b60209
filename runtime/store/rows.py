"""What the store hands back: rows as plain values."""

from __future__ import annotations

from typing import Any

import msgspec


class Stored(msgspec.Struct, frozen=True, gc=False):
    """One actor as it stands in the store. `timers` are its durable timers, key to due time."""

    kind: str
    n: int
    id: str
    value: Any
    version: int
    audit_seq: int
    metadata: str
    timers: dict[str, float] | None = None


class Undelivered(msgspec.Struct, frozen=True, gc=False):
    """A message that waits for its actor. `body` is JSON: `Kind.decode_message` reads it."""

    id: int
    target: str
    body: str
    control: bool
    operator: str | None


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A `Perform` that is not known to be done. `payload` is JSON, `attempts` how often begun."""

    id: int
    actor: str
    name: str
    key: str
    payload: str
    attempts: int


class Watching(msgspec.Struct, frozen=True, gc=False):
    """`watcher` is to be told when `target` ends."""

    target: str
    watcher: str
