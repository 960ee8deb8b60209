"""A stage for scenarios on the real runtime: plans, an operator, processes to kill, and a wait for
what is durable."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec

from actors import spec
from actors.messages import Accepted
from runtime import Runtime, open_runtime

OK = {"command": ["true"]}
BAD = {"command": ["false"]}


class Stage:
    """One owner, many runs; each with flags, files that its commands wait for or look at."""

    def __init__(self, rt: Runtime, folder: Path) -> None:
        self.rt = rt
        self.folder = folder
        self.taken: Counter[tuple[str, str, str, str]] = Counter()  # kind, from, to, trigger
        self._seen: set[tuple[str, str]] = set()  # entity, state
        self._now: dict[str, str] = {}
        self._news = anyio.Event()

    async def follow(self) -> None:
        """Takes note of every durable transition, until cancelled."""
        async with aclosing(self.rt.events(since=0)) as events:
            async for event in events:
                entity, state = event["entity_id"], event["to_state"]
                if event["from_state"] not in {None, state}:
                    edge = (event["entity_type"], event["from_state"], state, event["trigger"])
                    self.taken[edge] += 1
                self._seen.add((entity, state))
                self._now[entity] = state
                self._news.set()
                self._news = anyio.Event()

    # --- plans and flags ---------------------------------------------------------------------

    def flag(self, name: str) -> Path:
        return self.folder / name

    def waits_for(self, flag: str) -> dict[str, Any]:
        """A command that ends well once the flag is there."""
        loop = 'until test -e "$0"; do sleep 0.02; done'
        return {"command": ["sh", "-c", loop, str(self.flag(flag))]}

    def fails_after(self, flag: str) -> dict[str, Any]:
        """A command that fails once the flag is there."""
        loop = 'until test -e "$0"; do sleep 0.02; done; false'
        return {"command": ["sh", "-c", loop, str(self.flag(flag))]}

    def needs(self, flag: str) -> dict[str, Any]:
        """A command that fails unless the flag is there already."""
        return {"command": ["test", "-e", str(self.flag(flag))]}

    def fails_once(self, name: str) -> dict[str, Any]:
        """A command that fails the first time."""
        once = 'test -e "$0" || { touch "$0"; false; }'
        return {"command": ["sh", "-c", once, str(self.flag(name))]}

    def raise_flag(self, name: str) -> None:
        self.flag(name).touch()

    async def submit(self, name: str, streams: dict[str, Any], **more: Any) -> str:
        """A run of such a plan."""
        return (await self.rt.submit(self.plan(name, streams, **more))).id

    def plan(
        self, name: str, streams: dict[str, Any], *, pool: dict[str, Any] | None = None, **more: Any
    ) -> spec.Plan:
        """These workstreams on a pool of their own, of one slot unless told otherwise."""
        slot = {"count": 1, "heartbeat_s": 5.0, "restart": {"backoff_s": 0.05}}
        tables = {key: more.pop(key) for key in ("gates", "tools") if key in more}
        plan = {
            "run": {"name": name, "base_dir": str(self.folder), **more},
            "workers": {"p": slot | (pool or {})},
            "workstreams": {
                key: stream if "tasks" in stream else {"tasks": stream}
                for key, stream in streams.items()
            },
            **tables,
        }
        return msgspec.convert(plan, spec.Plan)

    # --- what happens -------------------------------------------------------------------------

    async def reached(self, entity: str, *states: str) -> None:
        """Returns once the entity was in each of these states, durably."""
        with anyio.fail_after(40):
            while not all((entity, state) in self._seen for state in states):
                await self._news.wait()

    async def stands(self, entity: str, state: str) -> None:
        """Returns once the entity is in this state."""
        with anyio.fail_after(40):
            while self._now.get(entity) != state:
                await self._news.wait()

    async def ended(self, run_id: str, state: str) -> None:
        with anyio.fail_after(40):
            assert await self.rt.wait_ended(f"run:{run_id}") == state

    async def do(self, command: str, entity: str, **args: Any) -> None:
        """An operator's command, which has to be accepted."""
        args = {"operator": "ann", "reason": "drill"} | args
        answer = await self.rt.command(command, entity, **args)
        assert isinstance(answer, Accepted), (command, entity, answer)

    async def process_of(self, uet: str) -> int:
        """The process of this incarnation: the one on record, or else the first that is there."""
        cell = self.rt._sup.router.cells.get(f"uet_worker:{uet}")
        if cell is not None and cell.value.pid is not None:
            return int(cell.value.pid)
        mark = f"BANKSMAN_UET={uet}".encode()
        with anyio.fail_after(40):
            while (pid := _first(mark)) is None:
                await anyio.lowlevel.checkpoint()
        return pid

    async def kill(self, uet: str, number: int = signal.SIGKILL) -> None:
        os.kill(await self.process_of(uet), number)


def _first(mark: bytes) -> int | None:
    """The oldest process with this mark."""
    pids = sorted(int(e.name) for e in Path("/proc").iterdir() if e.name.isdigit())
    return next((pid for pid in pids if _is_marked(Path(f"/proc/{pid}"), mark)), None)


def _is_marked(entry: Path, mark: bytes) -> bool:
    try:
        return (
            mark in (entry / "environ").read_bytes().split(b"\0")
            and b"child.serve" in (entry / "cmdline").read_bytes()
        )
    except OSError:
        return False


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """Real time, real SQLite, real processes."""
    async with open_runtime(folder / "state") as rt:
        stage = Stage(rt, folder)
        async with anyio.create_task_group() as group:
            group.start_soon(stage.follow)
            yield stage
            group.cancel_scope.cancel()
