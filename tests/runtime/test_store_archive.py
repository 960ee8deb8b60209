"""Retention: old audit rows go to archive/, whoever lives goes on, and the chain holds."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors import spec
from actors.messages import Accepted
from runtime import VirtualClock, open_runtime
from runtime.store import OwnerBusy
from runtime.store import archive as archiving
from runtime.store.archive import Archived, archive
from runtime.store.errors import StateDirUnusable
from runtime.store.migrate import transaction
from runtime.store.verify import verify
from tests.runtime.kernel_kit import account, opened, rows, seen, total, until
from tests.runtime.ledger_actor import Add, Begin, Close, Finish, Raise, Wake
from tests.runtime.store_kit import open_store, plain, three_tasks

LATER = 4e9  # after everything


async def a_past(folder: Path) -> None:
    """An account that has lived and ended, one that lives, and one that is suspended."""
    async with opened(folder, clock=VirtualClock(1e9, autojump=False)) as rt:
        ended, lives, broken = [await account(rt, name) for name in ("ended", "lives", "broken")]
        await rt.tell(ended, Close())
        await rt.tell(lives, Add(7))
        await rt.tell(lives, Wake("nap", 1e9 + 100.0))
        for _ in range(3):
            await rt.tell(broken, Raise())
            await rt.wait_idle()
        await account(rt, "last")


async def test_what_is_old_leaves_the_database_and_everything_still_verifies(
    tmp_path: Path,
) -> None:
    await a_past(tmp_path)
    state = tmp_path / ".state"
    events = (state / "transitions.jsonl").read_text().splitlines()
    done = archive(state, LATER)
    assert (done.first, done.last) == (1, len(events) - 1)
    assert rows(tmp_path, "SELECT min(seq) FROM state_transitions") == [(done.last + 1,)]
    assert done.path is not None
    kept = [json.loads(line) for line in done.path.read_text().splitlines()]
    assert [{k: v for k, v in e.items() if k != "entity_prev"} for e in kept] == [
        json.loads(line) for line in events[:-1]
    ]
    proof = verify(state)
    assert proof.whole, proof.findings
    lines = (state / "transitions.jsonl").read_text().splitlines()
    left = [json.loads(line)["seq"] for line in lines]
    assert left == list(range(done.last + 1, proof.head_seq + 1))


async def test_who_lives_goes_on_where_it_was(tmp_path: Path) -> None:
    await a_past(tmp_path)
    assert archive(tmp_path / ".state", LATER).carried == 2
    clock = VirtualClock(1e9, autojump=False)
    async with opened(tmp_path, clock=clock) as rt:
        assert rt.recovery.notes == ()
        assert await total(rt, "account:lives") == 7
        assert list(rt.suspended()) == ["account:broken"]
        await rt.tell("account:lives", Begin())
        await rt.tell("account:lives", Finish())
        await rt.wait_idle()
        clock.advance(100.0)
        await rt.wait_idle()
        assert await seen(rt, "account:lives") == ["timer nap"]
        assert await rt.wait_ended("account:ended") == "closed"
    assert verify(tmp_path / ".state").whole


async def test_one_archive_follows_another_and_the_joint_is_verified(tmp_path: Path) -> None:
    await a_past(tmp_path)
    first = archive(tmp_path / ".state", LATER)
    async with opened(tmp_path) as rt:
        await rt.tell("account:lives", Begin())
        await rt.wait_idle()
    second = archive(tmp_path / ".state", LATER)
    assert second.first == first.last + 1
    assert verify(tmp_path / ".state").whole
    assert first.path is not None
    first.path.write_bytes(first.path.read_bytes().replace(b'"created"', b'"CREATED"', 1))
    (finding, *_more) = verify(tmp_path / ".state").findings
    assert (finding.code, finding.where) == ("archive", first.path.name)


async def test_an_archive_that_was_taken_away_is_no_damage(tmp_path: Path) -> None:
    await a_past(tmp_path)
    done = archive(tmp_path / ".state", LATER)
    assert done.path is not None
    done.path.unlink()
    assert verify(tmp_path / ".state").whole


async def test_a_file_of_somebody_else_in_the_archive_is_passed_by(tmp_path: Path) -> None:
    await a_past(tmp_path)
    archive(tmp_path / ".state", LATER)
    (tmp_path / ".state" / "archive" / "audit-old-copy.jsonl").write_text("not ours\n")
    assert verify(tmp_path / ".state").whole


async def test_a_last_row_that_was_changed_in_the_archive_is_found_by_the_anchor(
    tmp_path: Path,
) -> None:
    await a_past(tmp_path)
    done = archive(tmp_path / ".state", LATER)
    assert done.path is not None
    *lines, _last = done.path.read_bytes().splitlines(keepends=True)
    done.path.write_bytes(b"".join(lines))
    (finding,) = verify(tmp_path / ".state").findings
    assert (finding.code, finding.where) == ("archive", done.path.name)


async def test_a_run_under_way_ends_well_after_its_past_was_archived(tmp_path: Path) -> None:
    tries: list[int] = []

    async def work() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("once")

    async def well() -> None:
        pass

    calls = {"work": work, "well": well}
    tasks = {
        "done": spec.Task(call="well"),
        "tried": spec.Task(call="work", max_retries=1, backoff_s=30.0),
    }
    plan = spec.Plan(
        run=spec.Run(name="late", phase="PH-1"),
        workstreams={"w": spec.Workstream(tasks=tasks)},
    )
    state = tmp_path / ".state"
    async with open_runtime(state, clock=VirtualClock(1e9, autojump=False), calls=calls) as rt:
        run = await rt.submit(plan)
        assert await rt.wait_ended(f"task:{run.id}/w/done") == "completed"
        await until(lambda: tries)
        await rt.wait_idle()
    archive(state, LATER)
    assert verify(state).whole
    clock = VirtualClock(1e9, autojump=False)
    async with open_runtime(state, clock=clock, calls=calls) as rt:
        again = await rt.command("retry", f"{run.id}/w/done", operator="ann")
        assert isinstance(again, Accepted), again
        clock.advance(60.0)
        assert await rt.wait_ended(f"run:{run.id}") == "completed"
    proof = verify(state)
    assert proof.whole, proof.findings


async def test_where_nobody_knows_whether_the_rows_have_left_the_archive_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_past(tmp_path)

    @contextmanager
    def committed_unheard(db: sqlite3.Connection) -> Iterator[None]:
        with transaction(db):
            yield
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(archiving, "transaction", committed_unheard)
        with pytest.raises(StateDirUnusable):
            archive(tmp_path / ".state", LATER)
    (kept,) = (tmp_path / ".state" / "archive").glob("audit-*")
    assert kept.stat().st_size > 0
    async with opened(tmp_path, clock=VirtualClock(1e9, autojump=False)):
        pass
    assert verify(tmp_path / ".state").whole


async def test_what_is_not_old_stays_and_nothing_old_is_nothing_to_do(tmp_path: Path) -> None:
    await a_past(tmp_path)
    assert archive(tmp_path / ".state", 1e9) == Archived()
    assert list((tmp_path / ".state" / "archive").glob("audit-*")) == []


async def test_beside_a_live_owner_nothing_is_archived(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(OwnerBusy):
            archive(tmp_path / ".state", LATER)


async def test_a_prefix_goes_only_under_an_anchor_that_names_its_end(tmp_path: Path) -> None:
    await three_tasks(tmp_path)
    db = plain(tmp_path)
    with pytest.raises(sqlite3.IntegrityError, match="only as a prefix, under an anchor"):
        db.execute("DELETE FROM state_transitions WHERE seq <= 3")
    db.close()


async def test_one_that_fails_half_way_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await three_tasks(tmp_path)
    before = (tmp_path / "transitions.jsonl").read_bytes()

    def fails(*_arguments: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("runtime.store.archive._set_jsonl", fails)
    with pytest.raises(OSError, match="no space"):
        archive(tmp_path, LATER)
    assert verify(tmp_path).whole
    assert (tmp_path / "transitions.jsonl").read_bytes() == before
    assert list((tmp_path / "archive").glob("audit-*")) == []


async def test_killed_before_the_jsonl_was_changed_the_next_owner_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await three_tasks(tmp_path)
    before = (tmp_path / "transitions.jsonl").read_bytes()
    archive(tmp_path, LATER)
    (tmp_path / "transitions.jsonl").write_bytes(before)  # as if it had not come to that
    async with await open_store(tmp_path) as store:
        assert store.opened.lines_kept is not None
    assert verify(tmp_path).whole
