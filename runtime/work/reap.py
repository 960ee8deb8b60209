"""Finds and kills what lives of workers that cannot tell any more, until none is left.

A process belongs to a trace when it is the recorded worker or command (pid and start ticks), when
it stands below one of these or in that command's session, or when it carries the trace's marks in
the environment it was started with. This process, and whatever it runs under, is never a target:
a supervisor may itself have been started from within a task.

Deliberately absent: killing by process group. A group's number alone does not say whose it is.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

import anyio
import anyio.to_thread
import msgspec

from runtime.work.child.proc import Process, boot_id, carried, descendants, processes, send
from runtime.work.environment import lease_mark, state_mark

_PAUSE_S = 0.005  # nobody tells us of the death of a process that is not our child
_PAUSE_MAX_S = 0.1
# One look may miss what was forked while it lasted by a process that was gone when it was reached.
_CALM = 2

Named = tuple[int, int]  # pid, start ticks
_Target = tuple[str | None, Process, int]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A uet worker that a former owner did not see end; columns of `uet_workers`."""

    boot_id: str | None = None
    pid: int | None = None
    start_ticks: int | None = None
    lease: str | None = None
    child_pid: int | None = None
    child_pgid: int | None = None  # the same number as child_pid: a launcher leads its session
    child_ticks: int | None = None


class Reaped(msgspec.Struct, frozen=True):
    """Processes that were found of one lease, or (None) of none that is known: an idle worker, a
    gate's command. `alive` survived KILL until the bound was over."""

    lease: str | None
    killed: tuple[int, ...]
    alive: tuple[int, ...]


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one worker. `fresh`: seen alive a moment ago by this very process, so that
    the number of its command's session cannot have been given to another."""

    owner: str | None
    marks: frozenset[bytes]
    worker: Named | None = None
    command: Named | None = None
    fresh: bool = False


async def reap(state_dir: str, records: Iterable[Record], bound_s: float) -> list[Reaped]:
    """Kills what a former owner of `state_dir` left: all that carries its mark, for nothing of the
    present owner runs yet, and all that is on record and of this boot."""
    marks = frozenset({state_mark(state_dir)})
    here = boot_id()
    traces = [
        Trace(
            owner=record.lease,
            marks=marks | {lease_mark(record.lease)} if record.lease else frozenset(),
            worker=_named(record.pid, record.start_ticks),
            command=_named(record.child_pid, record.child_ticks),
        )
        for record in records
        if record.boot_id in {None, here}
    ]
    return await kill_all([*traces, Trace(owner=None, marks=marks)], bound_s)


def _named(pid: int | None, ticks: int | None) -> Named | None:
    return (pid, ticks) if pid and ticks else None


async def kill_all(traces: list[Trace], bound_s: float) -> list[Reaped]:
    """KILL to all that `traces` lead to, until none is left or the bound is over."""
    until = anyio.current_time() + bound_s
    pause = _PAUSE_S
    seen: dict[str | None, set[int]] = {}
    calm = 0
    thread = anyio.CapacityLimiter(1)  # a program that has used up its threads can still kill
    while True:
        found, sure = await anyio.to_thread.run_sync(_targets, traces, limiter=thread)
        calm = calm + 1 if sure and not found else 0
        over = anyio.current_time() >= until
        left: dict[str | None, set[int]] = {}
        for owner, process, number in found:
            # At the last, a root is no longer spared for descendants that KILL does not reach.
            send(process, signal.SIGKILL if over else number)
            seen.setdefault(owner, set()).add(process.pid)
            if number == signal.SIGKILL:
                left.setdefault(owner, set()).add(process.pid)
        if over or calm >= _CALM:
            return [_reaped(owner, pids, left.get(owner, set())) for owner, pids in seen.items()]
        await anyio.sleep(pause)
        pause = min(2 * pause, _PAUSE_MAX_S)


def _reaped(owner: str | None, seen: set[int], left: set[int]) -> Reaped:
    return Reaped(owner, tuple(sorted(seen - left)), tuple(sorted(left)))


def _targets(traces: list[Trace]) -> tuple[list[_Target], bool]:
    """Who belongs to which owner, with the signal that is due, and whether all could be judged.

    A root that still has somebody below it is stopped first: killed, it would hand them to
    strangers and lose their trail.
    """
    everyone = processes()
    known = {(process.pid, process.ticks): process for process in everyone}
    spared = _ourselves({process.pid: process for process in everyone})
    targets: dict[int, _Target] = {}
    for trace in traces:
        roots = [known[name] for name in (trace.worker, trace.command) if name in known]
        for root in roots:
            below = descendants(root.pid, everyone)
            number = signal.SIGSTOP if below else signal.SIGKILL
            for process in below:
                targets.setdefault(process.pid, (trace.owner, process, signal.SIGKILL))
            if root.alive:
                targets[root.pid] = (trace.owner, root, number)
    sure = True
    for process in everyone:
        if process.alive and process.pid not in spared and process.pid not in targets:
            environment = carried(process.pid)
            sure = sure and environment is not None
            claimed = _claimed(process, environment or frozenset(), traces, known)
            if claimed is not None:
                targets[process.pid] = (claimed.owner, process, signal.SIGKILL)
    return [target for pid, target in targets.items() if pid not in spared], sure


def _ourselves(everyone: dict[int, Process]) -> set[int]:
    line, pid = {0}, os.getpid()
    while pid not in line:
        line.add(pid)
        pid = everyone[pid].parent if pid in everyone else 0
    return line


def _claimed(
    process: Process,
    environment: frozenset[bytes],
    traces: list[Trace],
    known: dict[Named, Process],
) -> Trace | None:
    for trace in traces:
        if trace.marks and trace.marks <= environment:
            return trace
        if trace.command is not None and process.session == trace.command[0]:
            pid, ticks = trace.command
            if (pid, ticks) in known or (trace.fresh and process.ticks >= ticks):
                return trace
    return None
