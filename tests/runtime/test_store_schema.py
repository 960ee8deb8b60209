"""The schema says what the compiled charts and the kinds say, so that none of them can drift."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

import pytest

from runtime.kinds import KINDS
from runtime.store.audit import COLUMNS
from tests.runtime.store_kit import empty_database

TABLES = [pytest.param(kind.name, kind.table, id=kind.name) for kind in KINDS.values()]


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    found = empty_database()
    yield found
    found.close()


def constraint(db: sqlite3.Connection, table: str, name: str) -> str:
    sql = db.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0]
    found = re.search(
        rf"CONSTRAINT {name} CHECK \((.*?)\)(?=,\n  CONSTRAINT|\n\) STRICT)", sql, re.DOTALL
    )
    assert found is not None
    return found[1]


def test_the_legal_edges_are_those_of_the_charts(db: sqlite3.Connection) -> None:
    compiled = {
        (kind.name, str(e.source), str(e.target), e.trigger, e.severity)
        for kind in KINDS.values()
        if kind.chart is not None
        for e in kind.chart.edges
    }
    assert set(db.execute("SELECT * FROM legal_edges")) == compiled


@pytest.mark.parametrize(("machine", "table"), TABLES)
def test_the_states_are_those_of_the_chart(
    db: sqlite3.Connection, machine: str, table: str
) -> None:
    chart = KINDS[machine].chart
    assert chart is not None
    named = re.findall(r"state = '(\w+)'", constraint(db, table, "state_in_chart"))
    assert named == list(chart.states)


@pytest.mark.parametrize(("machine", "table"), TABLES)
def test_the_ends_are_those_of_the_chart(db: sqlite3.Connection, machine: str, table: str) -> None:
    chart = KINDS[machine].chart
    assert chart is not None
    named = re.findall(r"state = '(\w+)'", constraint(db, table, "ended_has_completed_at"))
    assert set(named) == chart.terminal


@pytest.mark.parametrize(("machine", "table"), TABLES)
def test_an_entity_is_born_as_the_chart_says(
    db: sqlite3.Connection, machine: str, table: str
) -> None:
    chart = KINDS[machine].chart
    assert chart is not None
    trigger = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'audit_follows'").fetchone()[0]
    assert f"WHEN '{machine}' THEN NEW.to_state = '{chart.initial}'" in trigger


@pytest.mark.parametrize(("machine", "table"), TABLES)
def test_a_table_has_the_columns_of_its_kind(
    db: sqlite3.Connection, machine: str, table: str
) -> None:
    present = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
    assert present == set(KINDS[machine].new_columns)


@pytest.mark.parametrize(("machine", "table"), TABLES)
def test_what_changes_and_what_is_fixed_are_all_columns_of_a_table(
    db: sqlite3.Connection, machine: str, table: str
) -> None:
    kind = KINDS[machine]
    sql = f"SELECT sql FROM sqlite_schema WHERE name = '{table}_fixed'"
    trigger = db.execute(sql).fetchone()[0]
    fixed = set(re.split(r",\s*", re.search(r"UPDATE OF\s+(.*?) ON", trigger, re.DOTALL)[1]))  # type: ignore[index]
    changed = set(kind.changed_columns) - {"n"}
    assert fixed | changed == set(kind.new_columns)
    assert not fixed & changed


def test_the_audit_has_the_columns_that_are_written_and_hashed(db: sqlite3.Connection) -> None:
    assert tuple(row[1] for row in db.execute("PRAGMA table_info(state_transitions)")) == COLUMNS


def test_every_table_is_strict(db: sqlite3.Connection) -> None:
    tables = db.execute("PRAGMA table_list").fetchall()
    assert [t[1] for t in tables if not t[5] and not t[1].startswith("sqlite_")] == []
