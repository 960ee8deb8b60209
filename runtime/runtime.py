"""The public runtime: submit plans, tell and ask actors, follow events.

async with open_runtime(Path(".state")) as rt:
    run = await rt.submit(plan)
    print(await run.wait())
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec

from actors import messages as m
from actors import run as run_machine
from actors import run_plan, spec
from actors.effects import Send, Spawn
from runtime import hand
from runtime.cell import Cell
from runtime.commands import Order, UnknownCommand
from runtime.epoch import Epoch
from runtime.errors import ActorSuspended, OutcomeUnknown, TurnFailed, UnknownActor, storable
from runtime.events import Events
from runtime.guarding import breakers
from runtime.identity import new_run_id
from runtime.inbox import Envelope, Reply
from runtime.limits import COMMAND_TIMEOUT_S
from runtime.plan import PlanError, absent_tools, validate
from runtime.recovery import RecoveryReport
from runtime.rerun import completed_of, rest_of
from runtime.router import DeadLetter
from runtime.seed import CREATOR, Create, Lift, Release
from runtime.store import Batch
from runtime.submission import creation, missing_workers, vacant
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
        self._ends: dict[str, set[asyncio.Event]] = {}
        self._keys: dict[str, tuple[asyncio.Lock, int]] = {}
        self._creating = asyncio.Lock()
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
            "suspended": len(self.suspended()),
            "seq": self._sup.store.head.seq,
            "trouble": self._sup.trouble,
        }

    def progress(self) -> Mapping[str, str]:
        """How far running work says it has come, a line each, by lease: the last line of a
        command's output as of its last heartbeat, and what a callable told `progress`. In memory
        only; no row is written for it."""
        return {} if self._work is None else self._work.progress

    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """What nobody could take since this owner began, the latest last, each with its reason. At
        most `DEAD_LETTERS_KEPT_MAX`; `statistics` counts them all."""
        return tuple(self._sup.router.dead_letters)

    def suspended(self) -> dict[str, str]:
        """The actors that take no turns until `release`, each with the reason."""
        cells = self._sup.router.cells.values()
        return {cell.address: cell.suspended for cell in cells if cell.suspended is not None}

    # --- actors ----------------------------------------------------------------------------------

    async def tell(self, ref: str, message: Any) -> None:
        """Puts the message into the inbox of `ref` ("kind:id") and returns.

        It is kept until the epoch that takes it is durable; what still waits when the runtime is
        closed is stored for the next owner. Only `kill -9` loses what nobody has answered for: use
        `ask` where you must know. Raises InboxFull with the message, RuntimeStopped; an actor that
        does not exist makes it a dead letter.
        """
        self._sup.router.tell(ref, message)

    def tell_nowait(self, ref: str, message: Any) -> None:
        """As `tell`, for code on the event loop's thread that cannot await."""
        self._sup.router.tell(ref, message)

    async def ask(
        self,
        ref: str,
        message: Any,
        *,
        timeout_s: float = COMMAND_TIMEOUT_S,
        control: bool = False,
    ) -> Any:
        """The `Reply` of the turn that takes the message, once what it says is durable.

        It is taken after what was told before it; `control` overtakes that. Raises OutcomeUnknown
        after `timeout_s` (also where the turn gives no reply), UnknownActor, TurnFailed,
        ActorSuspended or RuntimeStopped.
        """
        return await self._ask(ref, message, timeout_s, control=control)

    async def _ask(
        self,
        ref: str,
        message: Any,
        timeout_s: float,
        *,
        control: bool,
        if_version: int | None = None,
    ) -> Any:
        self._sup.raise_if_stopped()
        cell = self._sup.router.cells.get(ref)
        if cell is not None and cell.suspended is not None:
            raise ActorSuspended(ref, cell.suspended)
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
                Envelope(
                    ref, message, control=control, kept=True, reply=reply, if_version=if_version
                )
            )
            with anyio.move_on_after(timeout_s):
                return await answer
        finally:
            self._sup.waiting.discard(fail)
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # looked at, also where the caller was cancelled meanwhile
        raise OutcomeUnknown(ref, timeout_s)

    async def spawn(self, kind: str, value: Any, *first: Any) -> str:
        """Creates an actor of a registered kind; `first` are its first messages. Returns its ref,
        durable. Raises TurnFailed where the address exists already."""
        ref = f"{kind}:{value.id}"
        sends = tuple(Send(ref, message) for message in first)
        await self.ask(CREATOR, Create((Spawn(kind, value),), sends, ref))
        return ref

    async def release(
        self, ref: str, *, operator: str | None = None, reason: str | None = None
    ) -> m.Accepted | m.Refused:
        """Lets a suspended actor take turns again, durable and on record when it returns; what
        waits for it comes first. Refused where it is not suspended."""
        if ref not in self.suspended():
            return m.Refused(f"{ref} is not suspended")
        answer: m.Accepted = await self.ask(CREATOR, Release(Lift(ref, operator, reason)))
        return answer

    async def exists(self, ref: str) -> bool:
        """Whether there is an actor of this ref, in memory or in the store."""
        return ref in self._sup.router.cells or bool(await self._sup.store.load_many([ref]))

    async def wait_idle(self) -> None:
        """Returns once every message was taken and everything decided is durable."""
        await self._sup.wait_idle()

    async def wait_ended(self, ref: str) -> str:
        """The terminal state of the actor, once it is durable. Raises UnknownActor, and
        RuntimeStopped where the runtime closes before."""
        ended = asyncio.Event()
        try:
            return await self._wait_ended(ref, ended)
        finally:
            waiting = self._ends.get(ref, set())
            waiting.discard(ended)
            if not waiting:
                self._ends.pop(ref, None)

    async def _wait_ended(self, ref: str, ended: asyncio.Event) -> str:
        while True:
            self._sup.raise_if_stopped()
            ended.clear()
            self._ends.setdefault(ref, set()).add(ended)
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
                if cell.address in self._ends and cell.ended:
                    for ended in self._ends[cell.address]:
                        ended.set()

    def stopped(self) -> None:
        """Called by the supervisor when it cannot go on: whoever waits learns so."""
        self._moved.set()
        for waiting in self._ends.values():
            for ended in waiting:
                ended.set()

    def close(self) -> None:
        """Called when the directory is given up: subscriptions end."""
        self._events.close()

    def events(self, since: int | None = None) -> AsyncGenerator[dict[str, Any], None]:
        """Committed events as canonical dicts with their `seq`, each once and in order, after
        `since` (None: from this call on), until the runtime closes.

        Raises Lagged in a subscriber that falls behind by more than `EVENTS_QUEUE_MAX`.
        """
        return self._events.subscribe(since, self._sup.store.head.seq)

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
        if key is None:
            return Run(self, await self._create_run(plan, None))
        async with self._one_by_one(key):
            known = await self._sup.store.find_run(key)
            if known is None:
                known = await self._create_keyed(plan, key)
        return Run(self, known)

    @asynccontextmanager
    async def _one_by_one(self, key: str) -> AsyncIterator[None]:
        lock, waiting = self._keys.get(key, (asyncio.Lock(), 0))
        self._keys[key] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._keys.pop(key)
            if waiting > 1:
                self._keys[key] = (lock, waiting - 1)

    async def _create_keyed(self, plan: spec.Plan, key: str) -> str:
        try:
            return await self._create_run(plan, key)
        except TurnFailed:
            # One whose caller did not wait for its end may have been first.
            known = await self._sup.store.find_run(key)
            if known is None:
                raise
            return known

    async def _create_run(self, plan: spec.Plan, key: str | None) -> str:
        calls = self._work.calls if self._work is not None else frozenset()
        lacking = absent_tools(plan, Path(plan.run.base_dir), calls)
        faults = (*validate(plan, calls, self._pools), *lacking)
        if faults:
            raise PlanError(faults)
        plan = _settled_here(_with_slots(plan))
        now = self._sup.clock.now()
        run_id = new_run_id(plan.run.name, now)
        run = Spawn("run", run_machine.create(plan, run_id, now, key))
        if not (self._missing_workers(plan, now) or run_plan.guarded(plan)):
            await self._create((run,), (), run_id)
            return run_id
        # Two submissions at once must not both bring the same workers or breakers.
        async with self._creating:
            workers = await vacant(self._missing_workers(plan, now), self._sup, now)
            guards, told = breakers(plan, self._sup.router.cells, run_id, now)
            await self._create((*guards, *workers, run), told, run_id)
        return run_id

    async def _create(
        self, spawns: tuple[Spawn, ...], told: tuple[Send, ...], entity_id: str
    ) -> None:
        await self.ask(CREATOR, creation(spawns, told, entity_id))

    def _missing_workers(self, plan: spec.Plan, now: float) -> tuple[Spawn, ...]:
        return missing_workers(plan, self._sup.router.cells, self._pools, now)

    async def drain(self, timeout_s: float) -> None:
        """Nothing new starts from here on; returns when nothing runs, or after `timeout_s`."""
        self._sup.hold_starts()
        with anyio.move_on_after(timeout_s):
            while self._work is not None and self._work.busy:
                self._sup.raise_if_stopped()
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
        unfinished = self.unfinished_runs()
        if self._sup.asleep and not movable.issuperset(unfinished):
            # Queued tasks may be in the store alone: the dispatcher knows of every one.
            for queued in self._sup.queued():
                if queued.run_id not in movable:
                    stream = f"{queued.run_id}/{queued.workstream}"
                    if self._is_let_go(queued.run_id, stream, queued.tool):
                        movable.add(queued.run_id)
        return [run_id for run_id in unfinished if run_id not in movable]

    def _moves(self, cell: Cell) -> bool:
        if cell.kind.name == "task" and cell.state == "queued":
            task = cell.value
            if not self._is_let_go(task.run_id, task.workstream_id, task.spec.breaker):
                return False
        if cell.kind.name == "test_gate" and cell.state == "pending":
            return self._starts(cell.value)
        return _moves(cell)

    def _is_let_go(self, run_id: str, workstream_id: str, breaker_id: str | None) -> bool:
        """Whether nobody has paused what is above a queued task, or holds its breaker."""
        cells = self._sup.router.cells
        above = (f"run:{run_id}", f"workstream:{workstream_id}")
        paused = any(ref in cells and cells[ref].value.paused for ref in above)
        return not (paused or self._is_held(breaker_id))

    def _starts(self, gate: Any) -> bool:
        """Whether a PENDING gate goes on by itself: a place will be free, or its breaker tries
        again. A timeout only ends the wait for a person."""
        run = self._sup.router.cells.get(f"run:{gate.run_id}")
        paused = run is not None and run.value.paused
        held = self._is_held(gate.spec.breaker)
        return (gate.queued or gate.admitting) and not (paused or held)

    def _is_held(self, breaker_id: str | None) -> bool:
        """Whether a person keeps this breaker open."""
        found = self._sup.router.cells.get(f"circuit_breaker:{breaker_id}")
        return found is not None and found.value.mode == "held"

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
        if entity_id is None:
            raise UnknownCommand(name)
        # From a command line that may hold any bytes: the store takes text alone.
        operator, reason = storable(operator), reason and storable(reason)
        said: dict[str, Any] = {"operator": operator, "reason": reason, "if_version": if_version}
        kind = args.pop("kind", None)
        order = Order(name=name, entity_id=entity_id, kind=kind, args=args, **said)
        suspended = order.ref in self.suspended()
        if name == "release" or (name == "resume" and suspended):
            return await self.release(order.ref, operator=operator, reason=reason)
        if name == "retry" and order.ref.startswith("run:"):
            stale = await hand.stale_version(self._sup, order)
            return stale or await self._retry_run(entity_id, operator, reason)
        return await hand.carry_out(self._sup, self._ask, order)


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


def _settled_here(plan: spec.Plan) -> spec.Plan:
    """A tool may be told its folder, and its health may be asked for by another owner: neither
    should depend on where this process stands."""
    if not plan.tools or os.path.isabs(plan.run.base_dir):
        return plan
    run = msgspec.structs.replace(plan.run, base_dir=os.path.abspath(plan.run.base_dir))
    return msgspec.structs.replace(plan, run=run)


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
