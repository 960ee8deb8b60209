"""Opening a state directory: lock it, read it back, start the kernel; and closing it again.

Closing is crash-only: what still runs is killed and proven dead, the open epoch is committed, and
the next owner recovers from the rows as after a crash. There is no second way to come back.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskStatus

from actors import spec
from runtime import recovery
from runtime.clock import Clock, SystemClock
from runtime.control.server import Owner, serving
from runtime.crash import crash_points
from runtime.errors import RuntimeStopped
from runtime.events import Events
from runtime.kinds import KINDS, Kind
from runtime.known import passed_with
from runtime.limits import CLOSE_TIMEOUT_S, INLINE_SLOTS
from runtime.log import Log
from runtime.perform import Performer, Performers
from runtime.recovery import RecoveryReport
from runtime.runtime import Runtime
from runtime.seed import creator_kind, furnish
from runtime.slots import refuse_unconfined
from runtime.store import Store
from runtime.supervisor import Supervisor
from runtime.version import VERSION
from runtime.work import Work

# What a command line owns: a plan's callables run in a child, never inside the supervisor.
COMMAND_POOLS: Mapping[str, spec.Pool] = {"local": spec.Pool(kind="process")}

DEFAULT_POOLS: Mapping[str, spec.Pool] = {
    "local": spec.Pool(kind="process"),
    "inline": spec.Pool(kind="inline", count=INLINE_SLOTS),
}


@asynccontextmanager
async def open_runtime(
    state_dir: str | os.PathLike[str],
    *,
    durability: str = "power",
    command: str = "",
    role: str = "run",
    pools: Mapping[str, spec.Pool] | None = None,
    kinds: Iterable[Kind] = (),
    performers: Mapping[str, Performer] | None = None,
    calls: Mapping[str, Callable[..., Any]] | None = None,
    clock: Clock | None = None,
    execute: bool = True,
) -> AsyncIterator[Runtime]:
    """Takes the state directory over and yields its runtime; made if it is not there.

    `pools`: the owner's own worker slots, for plans that define none (default: as many processes
    as cores, and `INLINE_SLOTS` for Python callables). `kinds`: your own actors (`user_kind`).
    `role`: what a second process is told: "run" takes no further plans from others, "daemon" does.
    `performers`: what carries out their `Perform` effects, by name. `calls`: callables by name,
    for `Task.call`. `execute=False`: only commands are taken, nothing is started.
    Raises OwnerBusy where another process owns the directory, NotConfined where a pool of `pools`
    cannot have its sandbox, and the store's other errors.
    """
    began = time.perf_counter()
    refuse_unconfined(pools or {})
    clock = clock or SystemClock()
    crash_point = crash_points(os.environ)
    own = tuple(kinds)
    async with await Store.open(
        Path(state_dir),
        clock=clock,
        durability=durability,
        kinds=own,
        command=command,
        crash_point=crash_point,
    ) as store:
        clock.start(store.head.at)
        layout = store.layout
        work = Work(layout.dir, layout.output, calls, clock=clock) if execute else None
        if work is not None:
            work.look_up(partial(passed_with, layout.db))
        all_kinds = {**KINDS, **{kind.name: kind for kind in own}}
        sup = _assemble(store, clock, all_kinds, crash_point, execute)
        users = Performers(performers or {}, sup.router.offer)
        rt = Runtime(sup, work, Events(layout.db), DEFAULT_POOLS if pools is None else pools)
        _connect(sup, work, users, rt)
        owner = Owner(
            pid=os.getpid(),
            role=role,
            command=command,
            since=clock.now(),
            version=VERSION,
            epoch=store.owner_epoch,
            durability=durability,
        )
        async with _running(sup, work, users, rt, began), serving(rt, layout.dir, owner):
            yield rt


@asynccontextmanager
async def _running(
    sup: Supervisor, work: Work | None, users: Performers, rt: Runtime, began: float
) -> AsyncIterator[None]:
    own: Exception | None = None
    failed: BaseException | None = None
    try:
        async with anyio.create_task_group() as group:
            kernel = await group.start(_kernel, sup, work, users, rt, began)
            try:
                yield
            except Exception as error:
                own = error
                raise
            finally:
                await _close(sup, work, users)
                rt.close()
                kernel.cancel()
    except BaseExceptionGroup as error:  # (raised again below)
        failed = _only(own or error)
    finally:
        sup.log.close()
    if failed is not None:
        raise failed  # here, so that what the caller's own block raised is as it was raised
    if sup.trouble is not None:
        raise RuntimeStopped(f"it closed before its last epoch could be committed: {sup.trouble}")


async def _kernel(
    sup: Supervisor,
    work: Work | None,
    users: Performers,
    rt: Runtime,
    began: float,
    *,
    task_status: TaskStatus[anyio.CancelScope],
) -> None:
    # A cancel of the caller's block must not reach the kernel before it has closed in order.
    with anyio.CancelScope(shield=True) as scope:
        async with anyio.create_task_group() as group:
            users.start(group)
            if work is not None:
                await group.start(work.run)
            rt.recovery = await _take_over(sup, work, users, began)
            task_status.started(scope)
            await sup.run()


def _only(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _connect(sup: Supervisor, work: Work | None, users: Performers, rt: Runtime) -> None:
    sup.committed = rt.committed
    sup.on_stop = rt.stopped
    sup.busy = lambda: users.busy
    if work is not None:
        sup.turns.perform_user = users.perform
        sup.turns.perform = work.perform
        work.report = sup.report
        sup.busy = lambda: work.busy or users.busy


async def _take_over(
    sup: Supervisor, work: Work | None, users: Performers, began: float
) -> RecoveryReport:
    cells, unknown = await recovery.read_back(sup)
    notes = (*sup.store.opened.notes, *recovery.without_kind(unknown))
    # Also an owner that starts nothing reaps first: what it announces as dead has to be.
    reaper = work or Work(sup.store.layout.dir, sup.store.layout.output)
    notes = (*notes, *await reaper.reap(recovery.processes(cells)))
    found = recovery.found(cells, unknown)
    performers = users if work is not None else None
    counted = await recovery.announce(sup, cells, performers, reaper.undead)
    report = recovery.report(found, began, *counted, notes)
    if report.lines or notes:
        sup.log.info("recovered", totals=report.totals, notes=notes)
    return report


def _assemble(
    store: Store,
    clock: Clock,
    kinds: dict[str, Kind],
    crash_point: Callable[[str], None],
    execute: bool,
) -> Supervisor:
    creator = creator_kind()
    log = Log(store.layout.log)
    sup = Supervisor(store, clock, {**kinds, creator.name: creator}, crash_point, log)
    furnish(sup, os.cpu_count() or 1, execute=execute)
    return sup


async def _close(sup: Supervisor, work: Work | None, users: Performers) -> None:
    users.close()
    with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_TIMEOUT_S):
        if work is not None:
            await work.close()
        if sup.stopped is None:
            await sup.flush()
    if sup.stopped is None:
        sup.stop("it was closed", orderly=True)
