"""A runtime with real worker processes, short heartbeats, and a story of its events to wait on."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc

from actors import spec
from runtime import Runtime, open_runtime
from runtime.work.child.proc import descendants
from tests.runtime.work_kit import alive

PATIENCE_S = 30.0
Event = dict[str, Any]


class Story:
    """The committed events of a runtime, in order; waiting for one is waiting for what happens."""

    def __init__(self, rt: Runtime, folder: Path) -> None:
        self.rt = rt
        self.folder = folder
        self.events: list[Event] = []
        self._news = anyio.Event()

    async def follow(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        events = self.rt.events(since=self.rt.statistics()["seq"])
        task_status.started()
        async for event in events:
            self.events.append(event)
            self._news.set()

    async def until(
        self, kind: str, trigger: str, *, after: Event | None = None, of: str = ""
    ) -> Event:
        """The first event of this kind with this trigger or type, `after` another one, `of` an
        entity whose id ends so."""
        since = 0 if after is None else after["seq"]
        with anyio.move_on_after(PATIENCE_S):
            while True:
                for event in self.events:
                    if (
                        event["seq"] > since
                        and event["entity_type"] == kind
                        and event["entity_id"].endswith(of)
                        and trigger in (event["trigger"], event["event_type"])
                    ):
                        return event
                self._news = anyio.Event()
                await self._news.wait()
        told = "\n".join(" ".join(map(str, self.short(event))) for event in self.events)
        raise AssertionError(f"{kind} never {trigger}, but:\n{told}")

    @staticmethod
    def short(event: Event) -> tuple[str, str, str]:
        name = event["entity_id"].rpartition("/")[2]
        return event["entity_type"], name, event["trigger"] or event["event_type"]

    def triggers(self, kind: str) -> list[str]:
        """What happened to all of a kind, in order."""
        return [self.short(event)[2] for event in self.events if event["entity_type"] == kind]

    def column(self, query: str) -> list[Any]:
        """The first column of a query on the committed rows."""
        db = sqlite3.connect(f"file:{self.rt.db_path}?mode=ro", uri=True)
        try:
            return [row[0] for row in db.execute(query)]
        finally:
            db.close()

    async def workers(self, number: int = 1, without: Iterable[int] = ()) -> list[int]:
        """The pids of the workers that are up, once there are so many `without` these."""
        with anyio.move_on_after(PATIENCE_S):
            while True:
                self._news = anyio.Event()
                query = "SELECT pid FROM uet_workers WHERE state IN ('idle', 'busy') ORDER BY n"
                found = [pid for pid in self.column(query) if pid not in without and alive(pid)]
                if len(found) == number:
                    return found
                await self._news.wait()
        raise AssertionError(f"not {number} workers without {without}, but {found}")


@asynccontextmanager
async def living(folder: Path, slots: spec.Pool | None = None) -> AsyncIterator[Story]:
    """A runtime of a state directory in `folder`, with `slots` for its pool; in the end nothing
    below this process is left."""
    async with open_runtime(folder / ".state", pools={"local": slots or pool()}) as rt:
        story = Story(rt, folder)
        async with anyio.create_task_group() as group:
            await group.start(_follow, story)
            yield story
            group.cancel_scope.cancel()
    assert descendants(os.getpid()) == []


async def _follow(story: Story, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    await story.follow(task_status=task_status)


def pool(**more: Any) -> spec.Pool:
    """One slot that is doubted after 0.2 s, given up 0.3 s later, and restarted at once."""
    restart = spec.Restart(intensity=20, window_s=60.0, backoff_s=0.01, backoff_s_max=0.05)
    fields: dict[str, Any] = {
        "count": 1,
        "heartbeat_s": 0.1,
        "recovery_window_s": 0.3,
        "kill_timeout_s": 5.0,
        "restart": restart,
    }
    return spec.Pool(**{**fields, **more})


def plan(folder: Path, **tasks: spec.Task) -> spec.Plan:
    """Tasks of one workstream, for the owner's pool."""
    return spec.Plan(
        run=spec.Run(name="live", base_dir=str(folder)),
        workstreams={"w": spec.Workstream(tasks=tasks)},
    )


def shell(script: str, **more: Any) -> spec.Task:
    return spec.Task(command=("sh", "-c", script), **{"backoff_s": 0.01, **more})
