"""The audit chain: rows, hashes, event ids and lines, before anything is stored."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import task
from actors.machine import Taken
from runtime.store import Book, ConstraintFailed, Head
from runtime.store.audit import COLUMNS, hash_of, line_of

NODE = b"\x01\x02\x03\x04\x05\x06"
START = Head(0, "", 0.0)
MOVED = Taken("queued", "running", "worker_assigned")


def no_phase(_run_id: str) -> str | None:
    return None


def book(head: Head = START, phases: dict[str, str] | None = None) -> Book:
    return Book(head, NODE, phases or {})


def enter(
    book: Book,
    taken: Taken = MOVED,
    now: float = 1_700_000_000.25,
    *,
    kind: str = "task",
    entity: str = "r/w/t",
    run_id: str | None = "r",
    prev: int = 0,
) -> tuple[int, str]:
    return book.enter(kind, entity, run_id, taken, now, prev, no_phase)


def rows(parameters: list[object]) -> list[tuple[object, ...]]:
    width = len(COLUMNS)
    return [tuple(parameters[n : n + width]) for n in range(0, len(parameters), width)]


def test_a_row_has_every_column_and_the_next_number() -> None:
    b = book(Head(41, "f" * 64, 5.0))
    seq, metadata = enter(b, Taken("queued", "running", "worker_assigned", reason="free"), prev=7)
    (row,) = rows(b.take().parameters)
    named = dict(zip(COLUMNS, row, strict=True))
    assert (seq, metadata) == (42, "{}")
    del named["hash"]
    assert named == {
        "seq": 42,
        "event_id": "evt_018bcfe5-68fa-7000-8000-010203040506",
        "event_type": "task_state_transition",
        "entity_type": "task",
        "entity_id": "r/w/t",
        "from_state": "queued",
        "to_state": "running",
        "trigger": "worker_assigned",
        "severity": "info",
        "reason": "free",
        "metadata": "{}",
        "operator": None,
        "run_id": "r",
        "transitioned_at": 1_700_000_000.25,
        "entity_prev": 7,
    }


def test_a_hash_covers_the_hash_before_and_the_rows_canonical_json() -> None:
    b = book(Head(41, "f" * 64, 5.0))
    enter(b, Taken("a", "b", "t", reason='quo"te\n\x00é', metadata={"z": 1, "a": [None, 2.5]}))
    (row,) = rows(b.take().parameters)
    named = dict(zip(COLUMNS, row, strict=True))
    hash_ = named.pop("hash")
    canonical = json.dumps(named, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hash_ == hashlib.sha256(("f" * 64 + canonical).encode()).hexdigest()


@given(st.text(), st.text(), st.floats(min_value=0, max_value=4e9))
def test_what_is_recomputed_from_a_row_is_what_was_booked(
    reason: str, entity: str, now: float
) -> None:
    b = book()
    now = round(now, 6)
    enter(b, Taken("a", "b", "t", reason=reason, metadata={"m": reason}), now, entity=entity)
    booked = b.take()
    (row,) = rows(booked.parameters)
    assert hash_of(row, "") == booked.head.hash
    assert line_of(row, None) == booked.lines[0]


def test_a_line_is_the_canonical_event() -> None:
    b = book()
    metadata = {"worker_id": "w", "exit_code": None}
    enter(b, Taken("queued", "running", "worker_assigned", "info", None, metadata, "ann"))
    booked = b.take()
    assert json.loads(booked.lines[0]) == {
        "event_id": "evt_018bcfe5-68fa-7000-8000-010203040506",
        "timestamp": "2023-11-14T22:13:20.250000Z",
        "event_type": "task_state_transition",
        "severity": "info",
        "entity_type": "task",
        "entity_id": "r/w/t",
        "from_state": "queued",
        "to_state": "running",
        "trigger": "worker_assigned",
        "reason": None,
        "metadata": metadata,
        "operator": "ann",
        "context": {"run_id": "r", "workstream_id": "r/w", "phase_id": None},
        "seq": 1,
        "hash": booked.head.hash,
    }


@pytest.mark.parametrize(
    ("kind", "entity", "run_id", "workstream"),
    [
        ("run", "r", "r", None),
        ("workstream", "r/w", "r", "r/w"),
        ("task", "r/w/t~2", "r", "r/w"),
        ("test_gate", "r/gate:unit~1", "r", None),
        ("worker", "worker:local.1", None, None),
    ],
)
def test_the_context_names_the_run_its_phase_and_the_workstream(
    kind: str, entity: str, run_id: str | None, workstream: str | None
) -> None:
    b = book(phases={"r": "PH-002"})
    for _ in range(2):
        enter(b, kind=kind, entity=entity, run_id=run_id)
    for line in b.take().lines:
        assert json.loads(line)["context"] == {
            "run_id": run_id,
            "workstream_id": workstream,
            "phase_id": "PH-002" if run_id else None,
        }


def test_a_phase_that_was_told_once_is_kept_when_its_run_is_no_longer_in_memory() -> None:
    b = book()
    b.enter("run", "r", "r", MOVED, 1.0, 0, lambda _run: "PH-1")
    enter(b, kind="workstream", entity="r/w")
    assert [json.loads(line)["context"]["phase_id"] for line in b.take().lines] == ["PH-1"] * 2


@given(st.floats(min_value=0, max_value=4e9), st.floats(min_value=0, max_value=4e9))
def test_a_timestamp_is_the_instant_to_the_microsecond(first: float, second: float) -> None:
    b = book()
    for now in sorted((round(first, 6), round(second, 6))):
        enter(b, now=now)
    booked = b.take()
    for row, line in zip(rows(booked.parameters), booked.lines, strict=True):
        at = row[COLUMNS.index("transitioned_at")]
        assert isinstance(at, float)
        shown = datetime.fromisoformat(json.loads(line)["timestamp"])
        assert abs((shown - datetime.fromtimestamp(at, UTC)).total_seconds()) <= 1e-6


def test_an_instant_that_goes_back_is_held_at_the_last_one() -> None:
    b = book(Head(1, "f" * 64, 100.5))
    for now in (99.0, 101.0, 100.0):
        enter(b, now=now)
    at = COLUMNS.index("transitioned_at")
    assert [row[at] for row in rows(b.take().parameters)] == [100.5, 101.0, 101.0]


def test_event_ids_are_unique_and_in_order() -> None:
    b = book()
    for n in range(10_000):
        enter(b, now=1.0 + n // 5000 / 1000)
    ids = [row[1] for row in rows(b.take().parameters)]
    assert ids == sorted(set(map(str, ids)))
    assert len(ids) == 10_000


def test_states_of_a_str_enum_are_stored_as_plain_text() -> None:
    b = book()
    enter(b, Taken(task.State.QUEUED, task.State.RUNNING, "worker_assigned"))
    (row,) = rows(b.take().parameters)
    assert [type(value) for value in row[5:7]] == [str, str]


def test_a_typed_metadata_is_stored_as_its_json() -> None:
    class Metadata(msgspec.Struct):
        worker_id: str
        exit_code: int | None

    _, metadata = enter(book(), Taken("a", "b", "t", metadata=Metadata("w", None)))
    assert metadata == '{"worker_id":"w","exit_code":null}'


@pytest.mark.parametrize(
    "metadata", [["a list"], "text", object(), {"x": object()}, {"x": "\ud800"}]
)
def test_metadata_that_is_no_json_object_is_refused_and_nothing_is_booked(metadata: object) -> None:
    b = book()
    with pytest.raises(ConstraintFailed, match="does not encode to JSON") as caught:
        enter(b, Taken("a", "b", "t", metadata=metadata))
    assert caught.value.entity_id == "r/w/t"
    assert (b.seq, b.take().parameters) == (0, [])


def test_a_reset_forgets_what_was_booked_since() -> None:
    b = book()
    enter(b)
    durable = b.take().head
    enter(b)
    enter(b)
    b.reset(durable)
    enter(b)
    (row,) = rows(b.take().parameters)
    assert row[0] == 2
    assert hash_of(row, durable.hash) == row[COLUMNS.index("hash")]
