"""The model of the store refuses what the real one refuses, and gives back what was committed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.machine import Taken
from runtime.sim.store import ModelStore, Step
from runtime.store.errors import ConstraintFailed
from runtime.store.rows import Batch, Change
from tests.sim.test_scenario import KIND, Tally


def _finished(coroutine: Any) -> Any:
    """The result of a coroutine that stops at the disk at most."""
    try:
        while True:
            assert isinstance(coroutine.send(None), Step)
    except StopIteration as done:
        return done.value


def _batch(
    store: ModelStore, value: Tally, version: int, *, new: bool = False, at: float = 1.0
) -> Batch:
    change_prev = store.rows.get(f"tally:{value.id}")
    prev = change_prev.audit_seq if change_prev is not None else 0
    source = None if new else "active"
    taken = Taken(source, "active", "created" if new else "changed")
    seq, metadata = store.book.enter("tally", value.id, None, taken, at, prev, lambda _run: None)
    batch = Batch()
    batch.changes.append(Change(KIND, 1, value, None, version, seq, metadata, new))
    store.lay_out(batch)
    return batch


@pytest.fixture
def store() -> ModelStore:
    made = ModelStore({"tally": KIND})
    made.take_over()
    _finished(made.commit(_batch(made, Tally("a", 1), 1, new=True)))
    return made


def test_what_was_committed_is_read_back_as_it_was(store: ModelStore) -> None:
    stored = _finished(store.load(KIND, "a"))
    assert (stored.value, stored.version, stored.address) == (Tally("a", 1), 1, "tally:a")


def test_nothing_is_there_before_the_disk_has_answered(store: ModelStore) -> None:
    commit = store.commit(_batch(store, Tally("a", 2), 2))
    commit.send(None)
    assert _finished(store.load(KIND, "a")).value.count == 1
    commit.close()


def test_an_actor_is_born_once(store: ModelStore) -> None:
    with pytest.raises(ConstraintFailed, match="exists already"):
        _finished(store.commit(_batch(store, Tally("a", 5), 1, new=True)))


def test_a_version_that_skips_one_is_refused(store: ModelStore) -> None:
    with pytest.raises(ConstraintFailed, match="version 3 after 1"):
        _finished(store.commit(_batch(store, Tally("a", 5), 3)))


def test_a_row_that_does_not_follow_its_last_one_is_refused(store: ModelStore) -> None:
    batch = _batch(store, Tally("a", 5), 2)
    batch.audit[0] = msgspec.structs.replace(batch.audit[0], source="elsewhere")
    with pytest.raises(ConstraintFailed, match="leaves elsewhere"):
        _finished(store.commit(batch))


def test_what_was_refused_left_nothing_and_gives_its_numbers_back(store: ModelStore) -> None:
    with pytest.raises(ConstraintFailed):
        _finished(store.commit(_batch(store, Tally("a", 5), 7)))
    assert (store.book.seq, len(store.audit)) == (1, 1)
    _finished(store.commit(_batch(store, Tally("a", 2), 2)))
    assert store.head.seq == 2


def test_the_next_owner_has_a_new_epoch_and_forgets_what_was_booked(store: ModelStore) -> None:
    _batch(store, Tally("a", 2), 2)
    store.take_over()
    assert (store.owner_epoch, store.book.seq) == (2, 1)


def test_a_time_that_goes_back_is_recorded_as_standing_still(store: ModelStore) -> None:
    _finished(store.commit(_batch(store, Tally("a", 2), 2, at=0.5)))
    assert [row.at for row in store.audit] == [1.0, 1.0]


def test_a_value_that_does_not_come_back_from_json_is_told(store: ModelStore) -> None:
    class Odd(msgspec.Struct, frozen=True):
        id: str
        count: complex

    _finished(store.commit(_batch(store, Odd("b", 1j), 1, new=True)))  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="does not come back"):
        _finished(store.load(KIND, "b"))
