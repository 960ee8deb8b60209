"""An envelope, and the bounded inbox of one actor: two lanes, control before work.

An idle actor has no inbox allocated: a lane exists while something is in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.timers import Timer


class Envelope:
    """A message with what the kernel must know of its way.

    A plain tell from outside travels bare, without an envelope: it is the hot path.
    """

    __slots__ = (
        "control",
        "if_version",
        "item",
        "kept",
        "outbox",
        "reply",
        "row",
        "taken",
        "timer",
        "to",
    )

    def __init__(
        self,
        to: str,
        item: Any,
        *,
        control: bool = False,
        kept: bool = False,
        reply: Reply | None = None,
        row: int = 0,
        timer: Timer | None = None,
        outbox: int = 0,
        if_version: int | None = None,
    ) -> None:
        self.to = to
        self.item = item
        self.control = control
        self.kept = kept  # from outside: the shell keeps it until its epoch is durable
        self.reply = reply
        self.row = row  # its row in the store, 0 while it has none
        self.timer = timer
        self.outbox = outbox  # the row of the Perform that this is the outcome of
        self.if_version = if_version  # answered `Refused` unless the actor is at this version
        self.taken = False  # consumed, or void since the epoch that sent it was discarded


class Reply:
    """Where the answer of an `ask` goes. Exactly one of the two is called."""

    __slots__ = ("answer", "fail", "promises")

    def __init__(self, answer: Any, fail: Any) -> None:
        self.answer = answer
        self.fail = fail
        self.promises = False  # a turn before this one has changed something for the asker
