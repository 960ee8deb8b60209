"""The statements that write, few and constant, so that each is prepared once.

One statement writes many rows, as `VALUES (..), (..), ...`: each statement gives the interpreter
away twice, and beside a busy event loop that may cost five milliseconds a time. To keep the texts
few, the number of rows is rounded up to 1, 2, 3, 4, 6, 8, 12, 16, ... and the rest filled with rows
of NULL, which are skipped.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

# 1,024 rows of 31 columns stay below the 32,766 parameters that every SQLite since 3.32 takes.
ROWS_MAX = 1024

_encode = msgspec.json.Encoder().encode


class Statement:
    """Writes rows of one table. The first column is never NULL."""

    def __init__(self, table: str, columns: Sequence[str], head: str, tail: str) -> None:
        self.table = table
        self.columns = tuple(columns)
        self.width = len(columns)
        self._head = head
        self._tail = tail
        self._texts: dict[int, str] = {}

    def text(self, rows: int) -> str:
        """The SQL for so many rows: always the same object, so that its statement stays cached."""
        found = self._texts.get(rows)
        if found is None:
            row = f"({','.join('?' * self.width)})"
            found = f"{self._head}(VALUES {','.join([row] * rows)}){self._tail}"
            self._texts[rows] = found
        return found


def insert(table: str, columns: Sequence[str], *, ignore: bool = False) -> Statement:
    """Adds rows; with `ignore` none whose key exists."""
    verb = "INSERT OR IGNORE INTO" if ignore else "INSERT INTO"
    head = f"{verb} {table} ({', '.join(columns)}) SELECT * FROM "
    return Statement(table, columns, head, " WHERE column1 IS NOT NULL")


def update(table: str, columns: Sequence[str]) -> Statement:
    """Writes the columns after the first again, in the rows that the first names."""
    assignments = ", ".join(f"{c} = v.column{i}" for i, c in enumerate(columns, 1) if i > 1)
    head = f"UPDATE {table} SET {assignments} FROM "
    return Statement(table, columns, head, f" AS v WHERE {table}.{columns[0]} = v.column1")


def write(db: sqlite3.Connection, statement: Statement, parameters: list[Any]) -> int:
    """Writes rows, given as the columns of all, flat. Returns how many were written."""
    return sum(
        db.execute(statement.text(rows), part).rowcount
        for rows, part in _parts(statement.width, parameters)
    )


def delete(db: sqlite3.Connection, table: str, column: str, keys: Sequence[int | str]) -> None:
    """Deletes the rows whose `column` is one of `keys`."""
    listed = _encode(keys).decode()
    db.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))", (listed,))


def _parts(width: int, parameters: list[Any]) -> Iterator[tuple[int, list[Any]]]:
    size = ROWS_MAX * width
    for start in range(0, len(parameters), size):
        part = parameters[start : start + size] if len(parameters) > size else parameters
        count = len(part) // width
        rows = _rounded(count)
        yield rows, part + [None] * ((rows - count) * width) if rows > count else part


def _rounded(count: int) -> int:
    power = 1 << (count - 1).bit_length()
    return power * 3 // 4 if count <= power * 3 // 4 else power
