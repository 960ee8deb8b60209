"""Every kind of actor the runtime knows: its table, its columns, and how its values are stored.

Invariants:
1. `value` in the store is the JSON of every field but `spec`; `spec` is written once, at creation.
2. A column's name is the attribute's name, so a row can be read without decoding its value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from functools import cache, cached_property, reduce
from operator import attrgetter, or_
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from actors import breaker, gate, messages, patch, run, task, uet_worker, worker, workstream
from actors.machine import Chart, Decision

if TYPE_CHECKING:
    from runtime.store.rows import Change

Decide = Callable[[Any, Any, float], Decision[Any]]

_encode = msgspec.json.Encoder().encode
_without = msgspec.structs.replace

# What the kernel itself sends to any actor.
_EVERYONES = (messages.TimerFired, messages.Recovered, messages.Ended, messages.Performed)

# Its own actors, which live in memory.
_KERNELS_KINDS = frozenset({"creator", "dispatch"})

# Written by the kernel and not by `decide`; then what the actor's value is stored as.
_KERNELS = ("n", "version", "audit_seq", "timers", "metadata", "value")
_MOVING = ("state", "started_at", "completed_at", "reason")


class Kind:
    """How actors of one kind decide, and how they are kept. Made once, never changed."""

    table: str | None
    """None: kept in memory only, without an audit."""
    chart: Chart | None
    new_columns: tuple[str, ...]
    """The columns of a new row, in the order of `new_row`."""
    changed_columns: tuple[str, ...]
    """Those that are written again at each change, in the order of `changed_row`."""
    own_columns: tuple[str, ...]
    """Attributes of the value in columns of their own, beside those that every machine has."""

    def __init__(
        self,
        name: str,
        table: str | None,
        value_type: type[Any],
        decide: Decide,
        inbox: Any,
        chart: Chart | None,
    ) -> None:
        self.name = name
        self.table = table
        self.value_type = value_type
        self.decide = decide
        self.inbox = inbox
        self.chart = chart
        self.new_columns = self.changed_columns = self.own_columns = ()
        self.terminal = chart.terminal if chart is not None else frozenset[str]()
        self.recovers = table is not None
        """Whether it is sent `Recovered` by a new owner."""

    def id_of(self, value: Any) -> str:
        """The actor's id."""
        found: str = value.id
        return found

    def run_id_of(self, value: Any) -> str | None:
        """The run that it belongs to; of a run its own id; of a user's actor None."""
        return None

    def state_of(self, value: Any) -> str:
        """Its state, a plain str; "active" for an actor without a chart."""
        if self.chart is None:
            return "active"
        return str(value.state)

    def is_ended(self, value: Any) -> bool:
        """Whether its state is terminal. Without a chart an actor never ends."""
        return bool(self.terminal) and self.state_of(value) in self.terminal

    def new_row(self, change: Change) -> tuple[Any, ...]:
        """The row of a new actor. Raises what msgspec raises where the value does not encode."""
        raise AssertionError(f"{self.name} is kept in memory only")

    def changed_row(self, change: Change) -> tuple[Any, ...]:
        """What is written again of an actor that changed. Raises as `new_row` does."""
        raise AssertionError(f"{self.name} is kept in memory only")

    def decode(self, value: str, spec: str | None) -> Any:
        """The value back from its stored texts, typed."""
        if spec is not None:
            value = f'{value[:-1]},"spec":{spec}}}'
        return self._value_decoder.decode(value)

    def decode_message(self, body: str) -> Any:
        """A stored message of this kind's inbox back, typed."""
        return self._message_decoder.decode(body)

    @cached_property
    def _value_decoder(self) -> msgspec.json.Decoder[Any]:
        return msgspec.json.Decoder(self.value_type)

    @cached_property
    def _message_decoder(self) -> msgspec.json.Decoder[Any]:
        return msgspec.json.Decoder(self.inbox)


class _OwnKind(Kind):
    """One of our eight machines, in a table of its own."""

    def __init__(
        self,
        table: str,
        value_type: type[Any],
        decide: Decide,
        chart: Chart,
        fixed: tuple[str, ...] = (),
        moving: tuple[str, ...] = (),
    ) -> None:
        super().__init__(chart.name, table, value_type, decide, None, chart)
        new = ("id", "run_id", "created_at", *_MOVING, *fixed, *moving)
        self.own_columns = (*fixed, *moving)
        self.new_columns = (*_KERNELS, "spec", *new)
        self.changed_columns = (*_KERNELS, *_MOVING, *moving)
        enums = {f.name for f in msgspec.structs.fields(value_type) if _is_enum(f.type)}
        self._new = attrgetter(*(f"{c}._value_" if c in enums else c for c in new))
        self._changed = attrgetter(
            *(f"{c}._value_" if c in enums else c for c in (*_MOVING, *moving))
        )

    @cached_property
    def _message_decoder(self) -> msgspec.json.Decoder[Any]:
        return _our_messages()

    def run_id_of(self, value: Any) -> str | None:
        found: str | None = value.run_id
        return found

    def state_of(self, value: Any) -> str:
        found: str = value.state._value_
        return found

    def is_ended(self, value: Any) -> bool:
        return value.state in self.terminal

    def new_row(self, change: Change) -> tuple[Any, ...]:
        value = change.value
        spec = _encode(value.spec).decode()
        return (*_kernels(change), _without_spec(value), spec, *self._new(value))

    def changed_row(self, change: Change) -> tuple[Any, ...]:
        value = change.value
        return (*_kernels(change), _without_spec(value), *self._changed(value))


class _UserKind(Kind):
    """A user's own kind, in the table `actors`."""

    def __init__(
        self, name: str, value_type: type[Any], decide: Decide, inbox: Any, chart: Chart | None
    ) -> None:
        everything = reduce(or_, _EVERYONES, inbox)
        super().__init__(name, "actors", value_type, decide, everything, chart)
        self.recovers = messages.Recovered in (get_args(inbox) or (inbox,))
        self.changed_columns = (*_KERNELS, "state", "ended")
        self.new_columns = (*self.changed_columns, "kind", "id")

    def new_row(self, change: Change) -> tuple[Any, ...]:
        return (*self.changed_row(change), self.name, change.value.id)

    def changed_row(self, change: Change) -> tuple[Any, ...]:
        value = change.value
        state = self.state_of(value)
        ended = 1 if state in self.terminal else 0
        return (*_kernels(change), _encode(value).decode(), state, ended)


def _kernels(change: Change) -> tuple[Any, ...]:
    timers = change.timers
    timed = None if timers is None else _encode(timers).decode()
    return (change.n, change.version, change.audit_seq, timed, change.metadata)


def _is_enum(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Enum)


def _without_spec(value: Any) -> str:
    # `id` is the first field and always there. Within a JSON string no quote is bare, so the first
    # `,"spec":null` is the field's own.
    text = _encode(_without(value, spec=None)).decode()
    return text.replace(',"spec":null', "", 1)


def user_kind(
    name: str,
    value_type: type[Any],
    decide: Decide,
    inbox: Any,
    chart: Chart | None = None,
) -> Kind:
    """A user's own kind of actor, kept in the table `actors`.

    `value_type` is a frozen msgspec.Struct with an `id`; with a chart also a `state`. `inbox` is
    the union of its messages: tagged msgspec structs (subclasses of `actors.messages.Message`
    are). TimerFired, Recovered, Ended and Performed can be stored for every kind besides.
    Where `Recovered` is one of `inbox`, a new owner sends it before anything else: volatile timers
    are gone then, and the actor may set them anew.
    Raises ValueError where the name is one of ours, or these cannot be read back from JSON.
    """
    if name in KINDS or name in _KERNELS_KINDS or not name.isidentifier():
        raise ValueError(f"{name!r} cannot name a kind: one of ours, or not an identifier")
    if chart is not None and chart.name != name:
        raise ValueError(f"the chart of the kind {name!r} is named {chart.name!r}; name it alike")
    kind = _UserKind(name, value_type, decide, inbox, chart)
    try:
        kind.decode_message('{"type":"Recovered","epoch":1}')
        msgspec.json.Decoder(value_type)
    except (TypeError, msgspec.MsgspecError) as error:
        raise ValueError(
            f"the kind {name!r} cannot be read back from JSON: {error}; its value and each of its "
            "messages must be msgspec structs, the messages tagged (tag=True)"
        ) from error
    return kind


def memory_kind(name: str, decide: Decide) -> Kind:
    """A kind that is never stored: no table, no audit, no state."""
    return Kind(name, None, object, decide, None, None)


def _subclasses(root: type[Any]) -> Iterator[type[Any]]:
    for found in root.__subclasses__():
        # A user's message may have the name of one of ours: it belongs to the user's own kind.
        if found.__module__.startswith("actors."):
            yield found
            yield from _subclasses(found)


@cache
def _our_messages() -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(reduce(or_, _subclasses(messages.Message)))


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _OwnKind(
            "runs", run.Run, run.decide, run.CHART, fixed=("name", "phase", "idempotency_key")
        ),
        _OwnKind("workstreams", workstream.Workstream, workstream.decide, workstream.CHART),
        _OwnKind(
            "tasks",
            task.Task,
            task.decide,
            task.CHART,
            fixed=("workstream_id", "max_retries", "retry_of"),
            moving=("worker_id", "lease", "retry_count", "exit_code"),
        ),
        _OwnKind(
            "workers",
            worker.Worker,
            worker.decide,
            worker.CHART,
            fixed=("pool", "kind"),
            moving=("lease", "task_id", "uet_id"),
        ),
        _OwnKind(
            "uet_workers",
            uet_worker.UetWorker,
            uet_worker.decide,
            uet_worker.CHART,
            fixed=("worker_id",),
            moving=(
                *("pid", "start_ticks", "boot_id"),
                *("lease", "child_pid", "child_pgid", "child_ticks"),
            ),
        ),
        _OwnKind(
            "test_gates",
            gate.Gate,
            gate.decide,
            gate.CHART,
            fixed=("name", "subject", "retry_of"),
            moving=("attempt", "exit_code", "approver"),
        ),
        _OwnKind(
            "circuit_breakers",
            breaker.Breaker,
            breaker.decide,
            breaker.CHART,
            fixed=("tool",),
            moving=("mode",),
        ),
        _OwnKind(
            "patch_ledger",
            patch.Patch,
            patch.decide,
            patch.CHART,
            fixed=("task_id",),
            moving=("commit_sha", "quarantine_reason", "rollback_reason"),
        ),
    )
}
