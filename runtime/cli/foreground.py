"""A foreground owner: opens the directory, serves it, carries its runs, and closes it whole.

Invariants:
1. The first signal drains, the second kills what runs; either way the directory is closed as it
   always is, and further signals change nothing.
2. Nothing here waits for the reader of stdout.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
from anyio.abc import TaskStatus

from actors.spec import Plan
from runtime.cli.banner import recovered, titled
from runtime.cli.place import connected
from runtime.cli.scene import Scene, Screen, some
from runtime.control.engine import Engine
from runtime.control.gapless import gapless
from runtime.limits import RUN_DRAIN_S_MAX
from runtime.opening import COMMAND_POOLS, open_runtime
from runtime.view.board import Board, load
from runtime.view.guards import Guards, guards
from runtime.view.said import told_by

_DRAW_S = 0.1
GUARDS_S = 1.0  # how often breakers, approvals and budgets are looked at
_ASK_S = 0.5  # how often it is asked whether only a person can go on
_LAST_EVENTS_S = 5.0
# `timeout`, and what runs us for somebody, hand on a signal that we got ourselves: it is one.
_BURST_S = 0.05


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner is to carry: a plan, or every unfinished run. `waits`: for a person, where
    only one can go on."""

    state_dir: Path
    command: str
    durability: str
    plan: Plan | None = None
    waits: bool = True


class Outcome(msgspec.Struct, frozen=True):
    """How it ended: the state of each run that was carried ("" while it is unfinished)."""

    states: dict[str, str]
    interrupted: bool = False
    waiting: tuple[str, ...] = ()


class _Stopping:
    """The signals that have come."""

    def __init__(self) -> None:
        self.asked = anyio.Event()
        self.kill: Callable[[], None] = lambda: None
        self.trouble: str | None = None  # what keeps the record from being written


async def carry(order: Order, screen: Screen) -> Outcome:
    """Owns the directory until the order is done, a person is wanted, or a signal came twice."""
    carrying = _Carrying(order, screen)
    outcome: Outcome | None = None
    async with anyio.create_task_group() as outer:
        await outer.start(_listen, carrying.stopping, screen)
        with anyio.CancelScope() as body:
            carrying.stopping.kill = body.cancel
            outcome = await carrying.own()
        outer.cancel_scope.cancel()
    return outcome or Outcome(carrying.states, interrupted=True)


async def _listen(
    stopping: _Stopping,
    screen: Screen,
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    ends = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup asked to outlive the terminal
        ends.append(signal.SIGHUP)
    with anyio.open_signal_receiver(*ends) as signals:
        task_status.started()
        await anext(signals)
        with anyio.move_on_after(_BURST_S):
            async for _ in signals:
                pass
        stopping.asked.set()
        await anext(signals)
        held = stopping.trouble
        said = "killing what runs ..."
        screen.say(f"{said} the record gets a few more tries: {held}" if held else said)
        stopping.kill()
        async for _ in signals:
            pass


class _Carrying:
    """One owner's life in the foreground: what it carries, and how far it has got."""

    def __init__(self, order: Order, screen: Screen) -> None:
        self.order = order
        self.screen = screen
        self.scene = Scene()
        self.stopping = _Stopping()
        self.states: dict[str, str] = {}
        self._last_seq = 0  # once set: the event with which the scene is complete
        self._complete = anyio.Event()
        self._trouble: str | None = None  # what keeps the record from being written, as last told

    async def own(self) -> Outcome:
        """Opens the directory, serves it, carries the runs."""
        order = self.order
        async with open_runtime(
            order.state_dir,
            durability=order.durability,
            command=order.command,
            pools=COMMAND_POOLS,
        ) as rt:
            self.screen.say(*titled(rt, order.state_dir), *recovered(rt.recovery))
            since = await self._cast(rt)
            self.screen.open(self.scene)
            return await self._perform(rt, since)

    async def _cast(self, rt: Engine) -> int:
        """Puts the runs that are carried on their boards. Returns the seq to move them on from."""
        order = self.order
        since = int(rt.statistics()["seq"])
        if order.plan is not None:
            if others := rt.unfinished_runs():
                self.screen.say(f"beside it goes on what was unfinished here: {some(others)}")
            run = await rt.submit(order.plan)
            self.states[run.id] = ""
            self.scene.watch(Board(run.id))
            return since
        wanted = rt.unfinished_runs()
        for board in await anyio.to_thread.run_sync(_load, order.state_dir, wanted):
            self.states[board.run_id] = ""
            self.scene.watch(board)
            since = min(since, board.seq)
        return since

    async def _perform(self, rt: Engine, since: int) -> Outcome:
        async with anyio.create_task_group() as group:
            group.start_soon(self._feed, rt, since)
            group.start_soon(self._draw)
            group.start_soon(self._watch_guards, rt)
            outcome = await self._until_over(rt)
            await self._catch_up(rt)
            group.cancel_scope.cancel()
        return outcome

    async def _feed(self, rt: Engine, since: int) -> None:
        async for event in gapless(rt, since):
            self.scene.apply(event)
            self.screen.event(event)
            if 0 < self._last_seq <= event["seq"]:
                self._complete.set()

    async def _catch_up(self, rt: Engine) -> None:
        """Returns once the scene has everything that is durable now: a matter of milliseconds."""
        self._last_seq = rt.statistics()["seq"]
        if self.scene.seq < self._last_seq:
            with anyio.move_on_after(_LAST_EVENTS_S):
                await self._complete.wait()

    async def _draw(self) -> None:
        while True:
            self.screen.draw(time.time())
            await anyio.sleep(_DRAW_S)

    async def _watch_guards(self, rt: Engine) -> None:
        while True:
            await anyio.sleep(GUARDS_S)
            runs = [run_id for run_id, state in self.states.items() if not state]
            looking = partial(look, self.order.state_dir, runs, rt.progress())
            self.scene.guards, self.scene.said = await anyio.to_thread.run_sync(looking)

    async def _until_over(self, rt: Engine) -> Outcome:
        waiting: list[str] = []
        async with anyio.create_task_group() as group:
            for run_id in self.states:
                group.start_soon(self._wait, rt, run_id, group.cancel_scope)
            group.start_soon(self._watch_for_person, rt, waiting, group.cancel_scope)
            group.start_soon(self._stop_when_asked, group.cancel_scope)
            if not self.states:
                group.cancel_scope.cancel()
        if self.stopping.asked.is_set():
            return await self._drain(rt)
        return Outcome(self.states, waiting=tuple(waiting))

    async def _wait(self, rt: Engine, run_id: str, scope: anyio.CancelScope) -> None:
        self.states[run_id] = await rt.wait_ended(f"run:{run_id}")
        if all(self.states.values()):
            scope.cancel()

    async def _stop_when_asked(self, scope: anyio.CancelScope) -> None:
        await self.stopping.asked.wait()
        scope.cancel()

    async def _watch_for_person(
        self, rt: Engine, waiting: list[str], scope: anyio.CancelScope
    ) -> None:
        while True:
            await anyio.sleep(_ASK_S)
            stuck = set(rt.waits_for_person())
            unfinished = [run_id for run_id, state in self.states.items() if not state]
            found = [run_id for run_id in unfinished if run_id in stuck]
            if self._told_trouble(rt):
                self.scene.notice = self._trouble
            elif found:
                say = f"only a person can move {some(found)}: `banksman why {found[0]}`"
                self.scene.notice = say
            else:
                self.scene.notice = None
            if found and found == unfinished and not self.order.waits:
                waiting.extend(found)
                scope.cancel()

    def _told_trouble(self, rt: Engine) -> bool:
        """Whether the record cannot be written, so that nothing moves. Says so when it changes."""
        trouble = rt.statistics()["trouble"]
        if trouble != self._trouble:
            self.screen.say(f"nothing moves: {trouble}" if trouble else "the work goes on")
        self._trouble = self.stopping.trouble = trouble
        return trouble is not None

    async def _drain(self, rt: Engine) -> Outcome:
        at_work = [name.partition("/")[2] for name in self.scene.at_work()]
        text = "draining: nothing more starts; Ctrl-C again kills what runs"
        if self._trouble is not None:
            why = f"it ends once the record can be written ({self._trouble})"
            text = f"draining: {why}; Ctrl-C again ends it"
        self.scene.notice = text
        self.screen.say(f"{text} ({some(at_work)})" if at_work else text)
        await rt.drain(RUN_DRAIN_S_MAX)
        # What was the last to run may have been the last of all.
        unfinished = set(rt.unfinished_runs())
        for run_id in self.states:
            if run_id not in unfinished:
                self.states[run_id] = await rt.wait_ended(f"run:{run_id}")
        return Outcome(self.states, interrupted=not all(self.states.values()))


def look(
    state_dir: Path, run_ids: list[str], told: Mapping[str, str]
) -> tuple[Guards, dict[str, str]]:
    """What no event says: what keeps these runs back, and what their tasks have told, of which
    `told` has the lines by lease."""
    with closing(connected(state_dir)) as db:
        return guards(db, run_ids), told_by(db, run_ids, told)


def _load(state_dir: Path, run_ids: list[str]) -> list[Board]:
    with closing(connected(state_dir)) as db:
        return [load(db, run_id) for run_id in run_ids]
