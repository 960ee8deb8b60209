"""The open epoch: everything that turns did since the last one was sealed, to be committed as one.

Order of what it holds is order of what happened: audit entries, consumed inputs, and the effects
that leave the kernel once it is durable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors.machine import Taken
    from runtime.cell import Cell
    from runtime.inbox import Envelope
    from runtime.timers import Timer


class Epoch:
    """Mutable while open; after `seal` nothing is added."""

    __slots__ = (
        "after",
        "booked",
        "cells",
        "consumed",
        "entries",
        "head",
        "number",
        "outbox_gone",
        "outbox_new",
        "rows_gone",
        "sent",
        "volatile_gone",
        "volatile_new",
        "watches_gone",
        "watches_left",
        "watches_new",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.entries: list[tuple[Cell, Taken, float]] = []
        self.cells: list[Cell] = []
        self.sent: list[Envelope] = []
        # Kept inputs and stored messages in the order in which turns took them: what is offered
        # again if this epoch rolls back. A bare tell stands here as (address, message).
        self.consumed: list[Envelope | tuple[str, Any]] = []
        self.rows_gone: list[int] = []
        self.after: list[Callable[[], None]] = []
        self.outbox_new: list[tuple[int, str, str, str, Any]] = []
        self.outbox_gone: list[int] = []
        self.watches_new: list[tuple[str, str]] = []
        self.watches_gone: list[str] = []  # targets
        self.watches_left: list[tuple[str, str]] = []  # (target, watcher that has ended)
        # Volatile timers have no row to come back from: what a rollback has to undo of them.
        self.volatile_new: list[Timer] = []
        self.volatile_gone: list[Timer] = []
        self.booked = 0  # how many of its entries the book has already
        self.head = 0  # seq of its last audit row, once sealed

    @property
    def dirty(self) -> bool:
        """Whether there is anything to commit, or anything that waits for a commit."""
        return bool(
            self.cells
            or self.entries
            or self.after
            or self.rows_gone
            or self.outbox_new
            or self.outbox_gone
            or self.watches_new
            or self.watches_gone
            or self.watches_left
            # A message that is still under way must become a row, though nothing else changed.
            or any(not envelope.taken for envelope in self.sent)
        )

    @property
    def inputs(self) -> int:
        """How many messages it remembers."""
        return len(self.consumed) + len(self.sent)

    def forget(self) -> None:
        """Nothing is to be committed and nothing before this epoch is in flight: what it consumed
        came to nothing, and need not be offered again."""
        self.consumed.clear()
        self.sent.clear()
        self.volatile_new.clear()
        self.volatile_gone.clear()
