"""The public runtime: submit plans, tell and ask actors, follow events.

async with open_runtime(Path(".state")) as rt:
    run = await rt.submit(plan)
    print(await run.wait())
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import msgspec

from actors import messages as m
from actors import run as run_machine
from actors import spec, worker
from actors.effects import Send, Spawn
from runtime.cell import Cell
from runtime.commands import command_for, kind_of
from runtime.epoch import Epoch
from runtime.errors import OutcomeUnknown, UnknownActor
from runtime.events import Events
from runtime.identity import new_run_id
from runtime.inbox import Envelope, Reply
from runtime.limits import COMMAND_TIMEOUT_S
from runtime.plan import PlanError, absent_tools, validate
from runtime.recovery import RecoveryReport
from runtime.rerun import completed_of, rest_of
from runtime.seed import CREATOR, Create
from runtime.store import Batch
from runtime.supervisor import Supervisor
from runtime.work import Work


class Run:
    """One submitted run."""

    def __init__(self, runtime: Runtime, run_id: str) -> None:
        self._runtime = runtime
        self.id = run_id

    async def wait(self) -> str:
        """The terminal state, "completed", "failed" or "cancelled", once it is durable."""
        return await self._runtime.wait_ended(f"run:{self.id}")


class Runtime:
    """The owner of one state directory. Made by `open_runtime` only."""

    def __init__(
        self, sup: Supervisor, work: Work | None, events: Events, pools: Mapping[str, spec.Pool]
    ) -> None:
        self._sup = sup
        self._work = work
        self._events = events
        self._pools = pools
        self._ends: dict[str, asyncio.Event] = {}
        self._keys: dict[str, asyncio.Future[str]] = {}
        self._moved = asyncio.Event()
        self.recovery = RecoveryReport()

    # --- facts -----------------------------------------------------------------------------------

    @property
    def owner_epoch(self) -> int:
        return self._sup.store.owner_epoch

    @property
    def durability(self) -> str:
        """What an acknowledgement survives: "power" or "process"."""
        return self._sup.store.durability

    @property
    def db_path(self) -> Path:
        return self._sup.store.layout.db

    def statistics(self) -> dict[str, Any]:
        """Counters of the kernel, for people and for tests."""
        turns, router = self._sup.turns, self._sup.router
        return {
            "turns": turns.turns_total,
            "epochs_durable": turns.durable,
            "actors_in_memory": len(router.cells),
            "ready": len(router.ready) + len(router.backlog),
            "timers": len(turns.timers),
            "dead_letters": router.dead_letters_total,
            "seq": self._sup.store.head.seq,
            "trouble": self._sup.trouble,
        }

    # --- actors ----------------------------------------------------------------------------------

    async def tell(self, ref: str, message: Any) -> None:
        """Puts the message into the inbox of `ref` ("kind:id") and returns.

        It is kept until the epoch that takes it is durable, as long as this process lives. Raises
        InboxFull with the message; an actor that does not exist makes it a dead letter.
        """
        self._sup.router.tell(ref, message)

    def tell_nowait(self, ref: str, message: Any) -> None:
        """As `tell`, for code on the event loop's thread that cannot await."""
        self._sup.router.tell(ref, message)

    async def ask(self, ref: str, message: Any, *, timeout_s: float = COMMAND_TIMEOUT_S) -> Any:
        """The `Reply` of the turn that takes the message, once it is durable.

        Raises OutcomeUnknown after `timeout_s`, UnknownActor, TurnFailed or RuntimeStopped.
        """
        return await self._ask(ref, message, timeout_s, None)

    async def _ask(self, ref: str, message: Any, timeout_s: float, if_version: int | None) -> Any:
        self._sup.raise_if_stopped()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def fail(error: BaseException) -> None:
            if not answer.done():
                answer.set_exception(error)

        def settle(value: Any) -> None:
            if not answer.done():
                answer.set_result(value)

        reply = Reply(settle, fail)
        self._sup.waiting.add(fail)
        try:
            self._sup.router.offer(
                Envelope(ref, message, control=True, kept=True, reply=reply, if_version=if_version)
            )
            with anyio.move_on_after(timeout_s):
                return await answer
        finally:
            self._sup.waiting.discard(fail)
            answer.cancel()
        raise OutcomeUnknown(ref, timeout_s)

    async def spawn(self, kind: str, value: Any, *first: Any) -> str:
        """Creates an actor of a registered kind; `first` are its first messages. Returns its ref,
        durable. Raises TurnFailed where the address exists already."""
        ref = f"{kind}:{value.id}"
        sends = tuple(Send(ref, message) for message in first)
        await self.ask(CREATOR, Create((Spawn(kind, value),), sends, ref))
        return ref

    async def exists(self, ref: str) -> bool:
        """Whether there is an actor of this ref, in memory or in the store."""
        return ref in self._sup.router.cells or bool(await self._sup.store.load_many([ref]))

    async def wait_idle(self) -> None:
        """Returns once every message was taken and everything decided is durable."""
        await self._sup.wait_idle()

    async def wait_ended(self, ref: str) -> str:
        """The terminal state of the actor, once it is durable. Raises UnknownActor."""
        while True:
            self._sup.raise_if_stopped()
            ended = self._ends.setdefault(ref, asyncio.Event())
            cell = self._sup.router.cells.get(ref)
            if cell is None or (cell.ended and cell.epoch <= self._sup.turns.durable):
                stored = (await self._sup.store.load_many([ref])).get(ref)
                if stored is None:
                    raise UnknownActor(ref)
                kind = self._sup.turns.kinds[stored.kind]
                if kind.is_ended(stored.value):
                    return kind.state_of(stored.value)
            await ended.wait()

    def committed(self, epoch: Epoch, batch: Batch) -> None:
        """Called by the supervisor for each durable epoch."""
        self._events.publish(batch.lines)
        self._moved.set()
        if self._ends:
            for cell in epoch.cells:
                if cell.ended and (ended := self._ends.pop(cell.address, None)) is not None:
                    ended.set()

    def stopped(self) -> None:
        """Called by the supervisor when it cannot go on: whoever waits learns so."""
        for ended in self._ends.values():
            ended.set()

    def close(self) -> None:
        """Called when the directory is given up: subscriptions end."""
        self._events.close()

    def events(self, since: int | None = None) -> AsyncGenerator[dict[str, Any], None]:
        """Committed events as canonical dicts with their `seq`, after `since` (None: from now)."""
        return self._events.subscribe(since)

    # --- runs ------------------------------------------------------------------------------------

    def register_call(self, call: Callable[..., Any], name: str | None = None) -> str:
        """Makes a callable of this program known; returns what `Task.call` has to say.

        After a restart it must be registered again before its tasks can run.
        """
        assert self._work is not None
        return self._work.register_call(call, name)

    async def submit(self, plan: spec.Plan, key: str | None = None) -> Run:
        """Submits a plan; the run is durable when this returns.

        The same `key` again gives the same run. Raises PlanError with every fault: nothing has
        happened then.
        """
        if key is not None:
            if (known := await self._by_key(key)) is not None:
                return Run(self, known)
            self._keys[key] = asyncio.get_running_loop().create_future()
        try:
            run_id = await self._create_run(plan, key)
        finally:
            if key is not None:
                self._keys.pop(key).cancel()
        return Run(self, run_id)

    async def _by_key(self, key: str) -> str | None:
        while (pending := self._keys.get(key)) is not None:
            await asyncio.wait([pending])
        return await self._sup.store.find_run(key)

    async def _create_run(self, plan: spec.Plan, key: str | None) -> str:
        calls = self._work.calls if self._work is not None else frozenset()
        lacking = absent_tools(plan, Path(plan.run.base_dir), calls)
        faults = (*validate(plan, calls, self._pools), *lacking)
        if faults:
            raise PlanError(faults)
        plan = _with_slots(plan)
        now = self._sup.clock.now()
        run_id = new_run_id(plan.run.name, now)
        run = run_machine.create(plan, run_id, now, key)
        spawns = (*self._missing_workers(plan, now), Spawn("run", run))
        sends = tuple(Send(f"{s.kind}:{s.value.id}", m.Begin()) for s in spawns)
        await self.ask(CREATOR, Create(spawns, sends, run_id))
        return run_id

    def _missing_workers(self, plan: spec.Plan, now: float) -> tuple[Spawn, ...]:
        if plan.workers:
            return ()
        tasks = [t for w in plan.workstreams.values() for t in w.tasks.values()]
        # A callable runs in this process where a pool for that is there, else in a child.
        inline = any(pool.kind == "inline" for pool in self._pools.values())
        wanted = {"inline" if task.call and inline else "process" for task in tasks}
        spawns = []
        for name, pool in self._pools.items():
            if pool.kind not in wanted:
                continue
            for number in range(1, (pool.count or os.cpu_count() or 1) + 1):
                worker_id = f"worker:{name}.{number}"
                if f"worker:{worker_id}" not in self._sup.router.cells:
                    seed = spec.WorkerSeed(id=worker_id, run_id=None, pool=name, slot=pool)
                    spawns.append(Spawn("worker", worker.create(seed, now)))
        return tuple(spawns)

    async def drain(self, timeout_s: float) -> None:
        """Nothing new starts from here on; returns when nothing runs, or after `timeout_s`."""
        self._sup.hold_starts()
        with anyio.move_on_after(timeout_s):
            while self._work is not None and self._work.busy:
                self._moved.clear()
                await self._moved.wait()
            await self._sup.wait_idle()

    def waits_for_person(self) -> list[str]:
        """The ids of the runs that nothing but a person can move, now."""
        if not self._sup.is_calm() or (self._work is not None and self._work.busy):
            return []
        movable: set[str] = set()
        for cell in self._sup.router.cells.values():
            if cell.kind.name in _MOVE_A_RUN and not cell.ended and self._moves(cell):
                movable.add(cell.value.run_id)
        return [run_id for run_id in self.unfinished_runs() if run_id not in movable]

    def _moves(self, cell: Cell) -> bool:
        if cell.kind.name == "task" and cell.state == "queued":
            cells = self._sup.router.cells
            above = (f"run:{cell.value.run_id}", f"workstream:{cell.value.workstream_id}")
            if any(ref in cells and cells[ref].value.paused for ref in above):
                return False
        return _moves(cell)

    def unfinished_runs(self) -> list[str]:
        """The ids of the runs that are not terminal."""
        cells = self._sup.router.cells.values()
        return [c.id for c in cells if c.kind.name == "run" and not c.ended]

    async def _retry_run(
        self, run_id: str, operator: str, reason: str | None
    ) -> m.Accepted | m.Refused:
        ref = f"run:{run_id}"
        stored = (await self._sup.store.load_many([ref])).get(ref)
        if stored is None:
            raise UnknownActor(ref)
        if not self._sup.turns.kinds["run"].is_ended(stored.value):
            return m.Refused(f"{run_id} has not ended; retry its tasks, or cancel it first")
        done, over = await anyio.to_thread.run_sync(completed_of, self.db_path, run_id)
        plan = rest_of(stored.value.spec, done, over)
        if all(stream.skip for stream in plan.workstreams.values()):
            return m.Refused(f"{run_id} has nothing left to do: all of it is completed")
        run = await self.submit(plan)
        why = f"{operator} retried {run_id}" + (f": {reason}" if reason else "")
        return m.Accepted(f"{run.id}: {why}, {len(done)} completed tasks reused", run.id)

    async def command(
        self,
        name: str,
        entity_id: str | None,
        *,
        operator: str,
        reason: str | None = None,
        if_version: int | None = None,
        **args: Any,
    ) -> m.Accepted | m.Refused:
        """Carries out an operator's command; durable when it returns. Raises UnknownActor."""
        if name == "retry" and entity_id is not None and kind_of(entity_id) == "run":
            return await self._retry_run(entity_id, operator, reason)
        ref, message = command_for(name, entity_id, operator=operator, reason=reason, **args)
        answer = await self._ask(ref, message, COMMAND_TIMEOUT_S, if_version)
        assert isinstance(answer, m.Accepted | m.Refused)
        return answer


_MOVE_A_RUN = ("run", "workstream", "task", "test_gate")


def _moves(cell: Cell) -> bool:
    """Whether this actor will take its run further without a person: it works, or a clock runs."""
    if cell.due_times():
        return True
    state, value = cell.state, cell.value
    match cell.kind.name:
        case "task":
            return state == "running" or (state == "queued" and not (value.paused or value.held))
        case "test_gate":
            return state == "running"
        case _:
            return state == "initializing"


def _with_slots(plan: spec.Plan) -> spec.Plan:
    """Pools that ask for as many slots as there are cores get that number."""
    if all(pool.count for pool in plan.workers.values()):
        return plan
    cores = os.cpu_count() or 1
    workers = {
        name: pool if pool.count else msgspec.structs.replace(pool, count=cores)
        for name, pool in plan.workers.items()
    }
    return msgspec.structs.replace(plan, workers=workers)
