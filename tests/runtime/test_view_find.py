"""Which entity a person means by an end of an id."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from runtime.store.read import connect
from runtime.view.find import Ambiguous, Entity, NotFound, find
from tests.runtime.view_kit import (
    DONE,
    NOW,
    QUEUED,
    RUN,
    STARTED,
    Record,
    a_gate,
    a_run,
    a_task,
    a_workstream,
)

OTHER = "weekly-23bcdfh"


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    record = Record(tmp_path_factory.mktemp("find") / ".state")
    for run_id in (RUN, OTHER):
        record.add("run", a_run(run_id))
        record.add("workstream", a_workstream("build", run_id))
        record.add("task", a_task("compile", "build", run_id))
    record.add("run", msgspec.structs.replace(a_run("solo-2222223"), name="solo"))
    record.add("task", a_task("recompile"))
    record.add("task", a_task("compile_all"))
    record.add("task", a_task("link"), *QUEUED)
    record.add("task", a_task("link~2"), *DONE, completed_at=record.at + 9, exit_code=0)
    record.add("test_gate", a_gate("lint"))
    second = msgspec.structs.replace(a_gate("lint"), id=f"{RUN}/gate:lint~2", attempt=2)
    record.add("test_gate", second)
    record.write()
    with closing(connect(record.state_dir / "banksman.db")) as found:
        found.row_factory = sqlite3.Row
        yield found


def test_a_full_id_names_its_entity(db: sqlite3.Connection) -> None:
    assert find(db, f"{RUN}/build") == Entity("workstream", f"{RUN}/build")


def test_an_end_that_no_other_id_has_names_its_entity(db: sqlite3.Connection) -> None:
    assert find(db, "compile_all") == Entity("task", f"{RUN}/build/compile_all")


def test_a_runs_short_part_names_it(db: sqlite3.Connection) -> None:
    assert find(db, "23bcdfg") == Entity("run", RUN)


def test_a_gates_name_and_number_name_it(db: sqlite3.Connection) -> None:
    assert find(db, "lint~1") == Entity("test_gate", f"{RUN}/gate:lint~1")


def test_an_address_names_its_entity(db: sqlite3.Connection) -> None:
    assert find(db, f"task:{RUN}/build/compile") == Entity("task", f"{RUN}/build/compile")


def test_a_whole_name_goes_before_the_end_of_a_longer_one(db: sqlite3.Connection) -> None:
    found = find(db, "23bcdfg/build/compile")
    assert found.id == f"{RUN}/build/compile"


def test_the_end_of_a_name_is_enough_where_nothing_is_called_so(db: sqlite3.Connection) -> None:
    assert find(db, "ecompile").id == f"{RUN}/build/recompile"


def test_a_retry_is_named_by_its_suffix(db: sqlite3.Connection) -> None:
    assert find(db, "link~2").id == f"{RUN}/build/link~2"


def test_a_task_is_not_confused_with_its_retry(db: sqlite3.Connection) -> None:
    assert find(db, "link").id == f"{RUN}/build/link"


def test_the_kinds_asked_for_narrow_the_search(db: sqlite3.Connection) -> None:
    with pytest.raises(NotFound):
        find(db, "build/compile", ["run"])
    assert find(db, "23bcdfg/build", ["workstream"]).kind == "workstream"


def test_of_several_runs_the_newest_is_meant_and_the_others_are_counted(
    db: sqlite3.Connection,
) -> None:
    assert find(db, "build") == Entity("workstream", f"{OTHER}/build", others=1)
    assert find(db, "build/compile", ["task"]) == Entity("task", f"{OTHER}/build/compile", others=1)


def test_an_unfinished_run_is_meant_before_a_newer_one_that_has_ended(tmp_path: Path) -> None:
    record = Record(tmp_path / ".state")
    record.add("run", a_run(RUN), *STARTED)
    record.add("run", a_run(OTHER), *STARTED, ("completed", "run_completed"), completed_at=NOW + 9)
    for run_id in (RUN, OTHER):
        record.add("workstream", a_workstream("build", run_id))
    record.write()
    with closing(connect(record.state_dir / "banksman.db")) as found:
        found.row_factory = sqlite3.Row
        assert find(found, "build").id == f"{RUN}/build"


def test_several_meanings_within_a_run_are_listed(tmp_path: Path) -> None:
    record = Record(tmp_path / ".state")
    record.add("run", a_run(RUN))
    for stream in ("build", "ship"):
        record.add("workstream", a_workstream(stream))
        record.add("task", a_task("compile", stream))
    record.write()
    with closing(connect(record.state_dir / "banksman.db")) as found:
        found.row_factory = sqlite3.Row
        with pytest.raises(Ambiguous) as several:
            find(found, "compile")
    assert several.value.count == 2
    assert set(several.value.candidates) == {f"{RUN}/build/compile", f"{RUN}/ship/compile"}


@pytest.mark.parametrize("text", ["lint", "gate:lint", f"{RUN}/gate:lint", "23bcdfg/gate:lint"])
def test_a_gate_goes_by_its_name_and_the_last_entity_of_it_is_meant(
    db: sqlite3.Connection, text: str
) -> None:
    assert find(db, text) == Entity("test_gate", f"{RUN}/gate:lint~2", others=1)


def test_a_like_pattern_is_no_pattern(db: sqlite3.Connection) -> None:
    with pytest.raises(NotFound):
        find(db, "compile%")
    with pytest.raises(NotFound):
        find(db, "_ompile")


def test_a_slip_of_the_finger_finds_what_was_meant(db: sqlite3.Connection) -> None:
    with pytest.raises(NotFound) as missing:
        find(db, "build/conpile")
    assert f"{RUN}/build/compile" in missing.value.near


def test_an_unknown_kind_of_entity_is_said(db: sqlite3.Connection) -> None:
    with pytest.raises(NotFound, match="no task or test gate 'nothing-like-it'"):
        find(db, "nothing-like-it", ["task", "test_gate"])


def test_an_empty_text_names_nothing(db: sqlite3.Connection) -> None:
    with pytest.raises(NotFound):
        find(db, "")


def test_a_run_goes_by_its_name_where_only_one_has_it(db: sqlite3.Connection) -> None:
    assert find(db, "solo") == Entity("run", "solo-2222223")
    with pytest.raises(NotFound):
        find(db, "solo", ["task"])


def test_a_name_that_several_runs_have_means_the_newest_unfinished_one(
    db: sqlite3.Connection,
) -> None:
    assert find(db, "nightly") == Entity("run", OTHER, others=1)


@pytest.mark.parametrize("text", ["nightly/build/link", "nightly/gate:lint"])
def test_a_runs_name_may_begin_a_path(db: sqlite3.Connection, text: str) -> None:
    assert find(db, text).id.startswith(f"{RUN}/{text.partition('/')[2]}")


def test_a_runs_own_name_goes_before_an_end_that_cuts_another_name_in_two(tmp_path: Path) -> None:
    record = Record(tmp_path / ".state")
    record.add("run", msgspec.structs.replace(a_run("t-2222223"), name="t"))
    record.add("task", a_task("wait", run_id="t-2222223"))
    record.write()
    with closing(connect(record.state_dir / "banksman.db")) as found:
        found.row_factory = sqlite3.Row
        assert find(found, "t").id == "t-2222223"


def test_an_end_that_cuts_a_name_in_two_is_enough_to_look_and_not_to_change(tmp_path: Path) -> None:
    record = Record(tmp_path / ".state")
    record.add("run", a_run(RUN))
    record.add("workstream", a_workstream("a", RUN))
    record.add("task", a_task("wait", "a", RUN))
    record.write()
    with closing(connect(record.state_dir / "banksman.db")) as db:
        db.row_factory = sqlite3.Row
        assert find(db, "t", ("task",)).id == f"{RUN}/a/wait"
        assert find(db, "wait", ("task",), to_change=True).id == f"{RUN}/a/wait"
        with pytest.raises(NotFound):
            find(db, "t", ("task",), to_change=True)
