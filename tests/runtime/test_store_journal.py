"""transitions.jsonl: never ahead of the database, and complete again after whatever happened."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from runtime.store.journal import Journal
from runtime.store.verify import verify
from tests.runtime.store_kit import Hand, a_task, open_store, plain, three_tasks

JSONL = "transitions.jsonl"


def lines(state_dir: Path) -> list[bytes]:
    return (state_dir / JSONL).read_bytes().splitlines(keepends=True)


def crashed(state_dir: Path) -> None:
    """As if the last owner had not closed the store, nor synced any line."""
    db = plain(state_dir)
    db.execute("UPDATE meta SET value = '0' WHERE key = 'clean'")
    db.execute("UPDATE meta SET value = '0:0' WHERE key = 'jsonl'")
    db.close()


def damage(state_dir: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path = state_dir / JSONL
    path.write_bytes(b"".join(change(lines(state_dir))))


async def test_every_row_has_its_line_in_order(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    events = [json.loads(line) for line in lines(tmp_path)]
    assert [e["seq"] for e in events] == [1, 2, 3, 4, 5, 6, 7]
    assert events[5]["reason"] == "none to wait for"
    assert events[5]["context"]["phase_id"] == "PH-002"
    assert events[6]["event_type"] == "looked_at"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda found: [], id="it is empty"),
        pytest.param(lambda found: found[:4], id="its tail is missing"),
        pytest.param(lambda found: [*found[:6], found[6][:40]], id="its last line is torn"),
        pytest.param(lambda found: [*found[:5], b"\0" * 700], id="its tail is zeros"),
        pytest.param(lambda found: [*found[:5], found[6]], id="a line is missing"),
        pytest.param(lambda found: [*found, found[6]], id="it is ahead of the database"),
        pytest.param(
            lambda found: [*found[:3], b"\xff\xfe{\n", *found[3:]], id="it has a false line"
        ),
    ],
)
async def test_after_a_crash_it_is_whole_again(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    await three_tasks(tmp_path)
    whole = lines(tmp_path)
    damage(tmp_path, change)
    crashed(tmp_path)
    async with await open_store(tmp_path) as store:
        assert store.opened.notes
    assert lines(tmp_path) == whole
    assert verify(tmp_path).whole


async def test_a_file_that_was_taken_away_is_made_anew(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    whole = lines(tmp_path)
    (tmp_path / JSONL).unlink()
    async with await open_store(tmp_path) as store:
        assert store.opened.lines_completed == 7
    assert lines(tmp_path) == whole


async def test_the_record_of_a_database_that_was_lost_goes_to_the_archive(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    whole = lines(tmp_path)
    (tmp_path / "banksman.db").unlink()
    async with await open_store(tmp_path) as store:
        kept = store.opened.lines_kept
        assert kept is not None
        assert store.opened.notes == (
            "transitions.jsonl: what the database does not know of was moved to"
            f" archive/{kept.name}",
        )
    assert kept.read_bytes().splitlines(keepends=True) == whole
    assert lines(tmp_path) == []


async def test_a_false_tail_that_is_rendered_anew_is_not_kept(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    damage(tmp_path, lambda found: [*found[:5], found[6], found[5]])
    crashed(tmp_path)
    async with await open_store(tmp_path) as store:
        assert store.opened.lines_kept is None
    assert not list((tmp_path / "archive").iterdir())


async def test_only_what_was_not_known_to_be_synced_is_compared(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    damage(tmp_path, lambda found: [found[0].replace(b"created", b"CREATED"), *found[1:]])
    async with await open_store(tmp_path) as store:
        assert store.opened.notes == ()
    assert not verify(tmp_path).whole


async def test_what_an_opening_did_is_told(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    torn = len(lines(tmp_path)[4]) + len(lines(tmp_path)[5]) + 9
    damage(tmp_path, lambda found: [*found[:4], *found[4:6], found[6][:9]])
    damage(tmp_path, lambda found: [*found[:4], found[5], found[4], found[6]])
    crashed(tmp_path)
    async with await open_store(tmp_path) as store:
        opened = store.opened
    assert (opened.lines_completed, opened.lines_dropped_bytes) == (3, torn)
    assert opened.notes == (
        "the last owner did not close the store; the database was checked and is whole",
        f"transitions.jsonl: a torn or false tail of {torn} bytes was cut off",
        "transitions.jsonl: 3 lines were completed",
    )


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_lines_that_find_no_room_come_with_the_next_ones(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    whole = [line.removesuffix(b"\n") for line in lines(tmp_path)]
    path = tmp_path / "again.jsonl"
    journal = Journal(path)
    with closing(plain(tmp_path)) as db:
        journal.append(db, whole[:2], 2)
        size = path.stat().st_size
        with no_file_above(size + 50):
            journal.append(db, whole[2:5], 5)
        assert path.read_bytes().splitlines() == whole[:2]
        journal.append(db, whole[5:], 7)
    journal.close()
    assert path.read_bytes().splitlines() == whole


async def test_what_somebody_appended_is_cut_off(tmp_path: Path) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        hand.born("task", a_task("one"))
        await hand.commit()
        append(tmp_path / JSONL, b"a note by hand\n")
        hand.born("task", a_task("two"))
        await hand.commit()
    assert verify(tmp_path).whole


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


async def test_a_file_that_was_emptied_under_the_owner_is_whole_again_with_the_next_one(
    tmp_path: Path,
) -> None:
    async with await open_store(tmp_path) as store:
        hand = Hand(store)
        hand.born("task", a_task("one"))
        await hand.commit()
        damage(tmp_path, lambda _found: [])
        hand.born("task", a_task("two"))
        await hand.commit()
    async with await open_store(tmp_path) as store:
        assert store.opened.lines_completed == 2
    assert verify(tmp_path).whole
