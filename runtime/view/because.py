"""The parts of an explanation: causes, and the commands that would remove them."""

from __future__ import annotations

import sqlite3

import msgspec

from runtime.view.standing import Standing, hand


class Cause(msgspec.Struct, frozen=True):
    """One thing that is waited for. `entity`: whom to look at next, where there is one."""

    text: str
    reason: str | None = None
    entity: str | None = None


class Move(msgspec.Struct, frozen=True):
    """A command that a person could type, and what it does."""

    command: str
    effect: str


class Explanation:
    """Collects causes and moves, each once, in the order of finding."""

    def __init__(self, summary: str) -> None:
        self.summary = summary
        self.causes: list[Cause] = []
        self.moves: list[Move] = []

    def cause(self, cause: Cause) -> None:
        if cause not in self.causes:
            self.causes.append(cause)

    def because(self, text: str, reason: str | None = None, entity: str | None = None) -> None:
        self.cause(Cause(text, reason, entity))

    def move(self, command: str, effect: str) -> None:
        found = Move(command, effect)
        if found not in self.moves:
            self.moves.append(found)


def paused_by(db: sqlite3.Connection, found: Standing) -> Cause:
    """Who paused it, as far as that is on record."""
    who = hand(db, found, "paus")
    if who is None:
        return Cause("it was paused", found.reason)
    return Cause(f"paused by {who.operator}", who.reason)
