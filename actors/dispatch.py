"""The dispatcher: matches queued tasks with idle slots, and gates with places to run."""

from __future__ import annotations

from actors.effects import Effect
from actors.messages import Message


class Dispatch:
    """An index in memory over what its clients announce; built anew by every owner."""

    def __init__(self, epoch: int, gate_places: int, counter: int = 0) -> None:
        self.epoch = epoch
        self.gate_places = gate_places
        self.counter = counter

    def decide(self, message: Message, now: float) -> tuple[Effect, ...]:
        """One turn; the index changes in place."""
        raise NotImplementedError

    def explain(self, task: str) -> str:
        """Why the queued `task` (an address) has no slot yet, in one line."""
        raise NotImplementedError
