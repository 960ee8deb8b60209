"""Every kind of actor the runtime knows: its table, its columns, and how its values are stored.

Invariants:
1. `value` in the store is the JSON of every field but `spec`; `spec` is written once.
2. A column's name is the attribute's name, so a row can be read without decoding its value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.machine import Chart, Decision


class Kind:
    """How actors of one kind decide, and how they are kept. Made once, never changed."""

    __slots__ = (
        "chart",
        "columns",
        "decide",
        "fixed",
        "inbox",
        "name",
        "table",
        "value_type",
    )

    def __init__(
        self,
        name: str,
        table: str | None,
        value_type: type[Any],
        decide: Callable[[Any, Any, float], Decision[Any]],
        inbox: Any,
        chart: Chart | None,
        columns: tuple[str, ...] = (),
        fixed: tuple[str, ...] = (),
    ) -> None:
        """`columns`: attributes kept in columns of their own beside the common ones; `fixed`:
        those of them that are written at creation only. `table` None: kept in memory only."""
        self.name = name
        self.table = table
        self.value_type = value_type
        self.decide = decide
        self.inbox = inbox
        self.chart = chart
        self.columns = columns
        self.fixed = fixed

    def id_of(self, value: Any) -> str:
        """The actor's id."""
        raise NotImplementedError

    def run_id_of(self, value: Any) -> str | None:
        """The run it belongs to; a run's own id for a run."""
        raise NotImplementedError

    def state_of(self, value: Any) -> str:
        """Its state, a plain str. Without a chart: "active", or "ended" if `value.ended`."""
        raise NotImplementedError

    def is_ended(self, value: Any) -> bool:
        """Whether the actor is over: its state is terminal, or, without a chart, `value.ended`."""
        raise NotImplementedError

    def decode(self, value: str, spec: str | None) -> Any:
        """The value back from its stored texts, typed."""
        raise NotImplementedError

    def decode_message(self, body: str) -> Any:
        """A stored message of this kind's inbox back, typed."""
        raise NotImplementedError


KINDS: dict[str, Kind] = {}


def user_kind(
    name: str,
    value_type: type[Any],
    decide: Callable[[Any, Any, float], Decision[Any]],
    inbox: Any,
    chart: Chart | None = None,
) -> Kind:
    """A user's own kind of actor, kept in the table `actors`.

    `value_type` is a frozen msgspec.Struct with an `id`; with a chart also a `state`. `inbox` is
    the union of its messages: tagged msgspec structs (subclasses of `actors.messages.Message`
    are). TimerFired, Recovered, Ended and Performed can be stored for every kind besides.
    """
    raise NotImplementedError


def memory_kind(name: str, decide: Callable[[Any, Any, float], Decision[Any]]) -> Kind:
    """A kind that is never stored: no table, no audit, no state."""
    raise NotImplementedError
