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


class Epoch:
    """Mutable while open; after `seal` nothing is added."""

    __slots__ = (
        "after",
        "cells",
        "consumed",
        "entries",
        "head",
        "number",
        "outbox_gone",
        "outbox_new",
        "rows_gone",
        "sent",
        "watches_gone",
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
        )
