"""The bounded places for gate commands: first come, first served, past what holds a gate back.

Invariants:
1. A gate is in one place only: it waits, is set aside for its run or for its breaker, or runs.
2. What is held back by a run's pause or a breaker takes no place, and is looked at again only when
   that changes.
"""

from __future__ import annotations

from collections.abc import Container

from actors.dispatch_queue import Limit
from actors.effects import Address, Effect, Send
from actors.messages import GateAdmitted, GateQueue


class Places:
    """Who runs, and who waits. `held` are the scopes that are paused, `limits` what breakers let
    through; both are the dispatcher's."""

    def __init__(
        self,
        places: int,
        held: Container[tuple[str, str | None]],
        limits: dict[tuple[str, str], Limit],
    ) -> None:
        self._free = places
        self._held = held
        self._limits = limits
        self._running: dict[Address, str | None] = {}  # with the breaker of each
        self._waiting: dict[Address, GateQueue] = {}  # in order of arrival
        self._aside: dict[Address, GateQueue] = {}  # of runs that are held
        self._behind: dict[str, dict[Address, GateQueue]] = {}  # by the breaker that is shut

    def queue(self, message: GateQueue) -> list[Effect]:
        """A gate asks for a place, or has one that a new dispatcher must know of."""
        gate = message.gate
        if message.running:
            self._forget(gate, message.tool)
            if gate not in self._running:
                self._take(gate, message.tool)
            return []
        behind = self._behind.get(message.tool or "", ())
        if gate not in self._running and gate not in self._aside and gate not in behind:
            self._waiting.setdefault(gate, message)
        return self._admit()

    def done(self, gate: Address) -> list[Effect]:
        """A gate gives its place back, or asks for none any more."""
        tool = self._running.get(gate)
        if gate in self._running:
            del self._running[gate]
            self._free += 1
            limit = self._limits.get(("", tool)) if tool is not None else None
            if limit is not None:
                limit.free(gate)
                if limit.unused:
                    del self._limits[limit.name]
        else:
            self._forget(gate, None)
        return self._admit() if tool is None else self.come_forward(tool)

    def released(self) -> list[Effect]:
        """A hold is over: what was set aside is looked at again, before what came later."""
        if self._aside:
            self._waiting = self._aside | self._waiting
            self._aside = {}
        return self._admit()

    def come_forward(self, tool: str) -> list[Effect]:
        """The breaker may let some through: as many as it does go before what came later."""
        behind = self._behind.get(tool, {})
        limit = self._limits.get(("", tool))
        room = len(behind) if limit is None else min(len(behind), limit.room)
        forward = {gate: behind.pop(gate) for gate in list(behind)[: max(0, int(room))]}
        if not behind:
            self._behind.pop(tool, None)
        if forward:
            self._waiting = forward | self._waiting
        return self._admit()

    def _forget(self, gate: Address, tool: str | None) -> None:
        found = self._waiting.pop(gate, None) or self._aside.pop(gate, None)
        # Whoever leaves says only who it is: breakers that are shut are few.
        for name in () if found is not None else (tool,) if tool else tuple(self._behind):
            behind = self._behind.get(name, {})
            if behind.pop(gate, None) is not None and not behind:
                del self._behind[name]

    def _take(self, gate: Address, tool: str | None) -> None:
        self._running[gate] = tool
        self._free -= 1
        limit = self._limits.get(("", tool)) if tool is not None else None
        if limit is not None:
            limit.take(gate)

    def _admit(self) -> list[Effect]:
        effects: list[Effect] = []
        while self._free > 0 and self._waiting:
            gate = next(iter(self._waiting))
            asked = self._waiting.pop(gate)
            limit = self._limits.get(("", asked.tool)) if asked.tool is not None else None
            if (asked.run_id, None) in self._held:
                self._aside[gate] = asked
            elif asked.tool is not None and limit is not None and limit.room <= 0:
                self._behind.setdefault(asked.tool, {})[gate] = asked
            else:
                self._take(gate, asked.tool)
                effects.append(Send(gate, GateAdmitted()))
        return effects
