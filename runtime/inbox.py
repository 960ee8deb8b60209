"""An envelope, and the bounded inbox of one actor: two lanes, control before work.

An idle actor has no inbox allocated: a lane exists while something is in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from runtime.timers import Timer


class Envelope(msgspec.Struct, eq=False):
    """A message with what the kernel must know of its way. Equal to itself only.

    A plain tell from outside travels bare, without an envelope: it is the hot path.
    """

    to: str
    item: Any
    control: bool = False
    kept: bool = False
    """From outside: the shell keeps it until its epoch is durable."""
    reply: Reply | None = None
    row: int = 0
    """Its row in the store, 0 while it has none."""
    timer: Timer | None = None
    outbox: int = 0
    """The row of the Perform that this is the outcome of."""
    if_version: int | None = None
    """Answered `Refused` unless the actor is at this version."""
    taken: bool = False
    """Consumed, or void since the epoch that sent it was discarded."""


class Reply:
    """Where the answer of an `ask` goes. Exactly one of the two is called."""

    __slots__ = ("answer", "fail", "promises")

    def __init__(self, answer: Any, fail: Any) -> None:
        self.answer = answer
        self.fail = fail
        self.promises = False  # a turn before this one has changed something for the asker
