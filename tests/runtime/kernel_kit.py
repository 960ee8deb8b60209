"""A kernel with accounts on a real store, and hands on its store, its writer and its rows."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from runtime import Runtime, VirtualClock, open_runtime, user_kind
from tests.runtime.ledger_actor import CHART, Account, Inbox, Sum, decide

ACCOUNTS = user_kind("account", Account, decide, Inbox, CHART)


@asynccontextmanager
async def opened(folder: Path, **options: Any) -> AsyncIterator[Runtime]:
    options.setdefault("clock", VirtualClock())
    options.setdefault("kinds", [ACCOUNTS])
    async with open_runtime(folder / ".state", **options) as rt:
        yield rt


async def account(rt: Runtime, name: str) -> str:
    return await rt.spawn("account", Account(name))


async def total(rt: Runtime, ref: str) -> int:
    return int((await rt.ask(ref, Sum()))[0])


async def seen(rt: Runtime, ref: str) -> list[str]:
    return list((await rt.ask(ref, Sum()))[1])


def rows(folder: Path, query: str) -> list[Any]:
    db = sqlite3.connect(f"file:{folder / '.state' / 'banksman.db'}?mode=ro", uri=True)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def execute(folder: Path, statement: str, *parameters: Any) -> None:
    """Changes the database behind the back of its owner, or without one."""
    db = sqlite3.connect(folder / ".state" / "banksman.db", isolation_level=None)
    try:
        db.execute(statement, parameters)
    finally:
        db.close()


async def until(holds: Callable[[], object]) -> None:
    """Returns once it holds: the loop goes on meanwhile."""
    with anyio.fail_after(30):
        while not holds():
            await anyio.lowlevel.checkpoint()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The writer waits: somebody else holds the database locked."""
    db = sqlite3.connect(folder / ".state" / "banksman.db", isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")
    finally:
        db.close()


class Boundary:
    """Stands at the named boundaries of an epoch; raises there, or holds the writing thread."""

    def __init__(self) -> None:
        self.fail: list[str] = []
        self.hold: str | None = None
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, point: str) -> None:
        if point in self.fail:
            self.fail.remove(point)
            raise OSError(f"as if the disk had failed {point}")
        if point == self.hold:
            self.reached.set()
            assert self.go_on.wait(30)


@pytest.fixture
def boundary(monkeypatch: pytest.MonkeyPatch) -> Boundary:
    """Of the runtimes that the test opens."""
    stands = Boundary()
    monkeypatch.setattr("runtime.opening.crash_points", lambda _environ: stands)
    return stands
