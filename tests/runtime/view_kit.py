"""Writes a state directory by hand: entities and their histories, through the real store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import msgspec

from actors import gate, run, spec, task, worker, workstream
from actors.machine import Taken
from runtime.clock import VirtualClock
from runtime.kinds import KINDS
from runtime.store import Batch, Change, Store

NOW = 1_000_000.0
RUN = "nightly-23bcdfg"


class Record:
    """Entities in the order in which they are added; `write` makes them durable, once."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.at = NOW
        self._steps: list[tuple[str, Any, Taken, float]] = []
        self._values: dict[str, tuple[str, Any, dict[str, float] | None]] = {}

    def add(
        self,
        kind: str,
        value: Any,
        *moves: tuple[str, str],
        reason: str | None = None,
        operator: str | None = None,
        timers: dict[str, float] | None = None,
        metadata: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """An entity and its transitions (state, trigger), a second apart; `changes` are those of
        its value at the end, `reason` and `operator` those of its last transition. Returns its
        id."""
        state = str(value.state)
        self._steps.append((kind, value.id, Taken(None, state, "created"), self.at))
        for number, (target, trigger) in enumerate(moves, 1):
            self.at += 1.0
            last = number == len(moves)
            taken = Taken(
                state,
                target,
                trigger,
                KINDS[kind].chart.edge(state, target, trigger).severity,  # type: ignore[union-attr]
                reason if last else None,
                metadata,
                operator if last else None,
            )
            self._steps.append((kind, value.id, taken, self.at))
            state = target
        value = msgspec.structs.replace(
            value, state=type(value.state)(state), reason=reason, **changes
        )
        self._values[f"{kind}:{value.id}"] = (kind, value, timers)
        return str(value.id)

    def note(self, kind: str, entity_id: str, event_type: str, **said: Any) -> None:
        """An audit row of the entity that is no transition."""
        state = str(self._values[f"{kind}:{entity_id}"][1].state)
        taken = Taken(state, state, event_type, event_type=event_type, **said)
        self.at += 1.0
        self._steps.append((kind, entity_id, taken, self.at))

    def write(self) -> Path:
        """Makes it durable. Returns the state directory."""
        anyio.run(self._write, backend="asyncio")
        return self.state_dir

    async def _write(self) -> None:
        clock = VirtualClock(NOW)
        async with await Store.open(self.state_dir, clock=clock, command="test") as store:
            heads: dict[str, tuple[int, str]] = {}
            for kind, entity_id, taken, at in self._steps:
                address = f"{kind}:{entity_id}"
                value = self._values[address][1]
                heads[address] = store.book.enter(
                    kind,
                    entity_id,
                    value.run_id,
                    taken,
                    at,
                    heads.get(address, (0, ""))[0],
                    lambda _run: "PH-1",
                )
            batch = Batch()
            rows: dict[str, int] = {}
            for address, (kind, value, timers) in self._values.items():
                table = KINDS[kind].table or ""
                rows[table] = rows.get(table, 0) + 1
                seq, metadata = heads[address]
                batch.changes.append(
                    Change(KINDS[kind], rows[table], value, timers, 3, seq, metadata, True)
                )
            await store.commit(batch)


def plan(tasks: int = 1, **fields: Any) -> spec.Plan:
    return spec.Plan(
        run=spec.Run(name="nightly", phase="PH-1", **fields),
        workstreams={
            "build": spec.Workstream(
                tasks={f"t{n}": spec.Task(command=("true",)) for n in range(1, tasks + 1)}
            )
        },
    )


def a_run(run_id: str = RUN, **fields: Any) -> run.Run:
    return run.create(plan(**fields), run_id, NOW)


def a_workstream(name: str = "build", run_id: str = RUN, **seed: Any) -> workstream.Workstream:
    return workstream.create(spec.WorkstreamSeed(run_id=run_id, name=name, **seed), NOW)


def a_task(
    name: str,
    stream: str = "build",
    run_id: str = RUN,
    seed: dict[str, Any] | None = None,
    **of: Any,
) -> task.Task:
    of.setdefault("command", ("true",))
    return task.create(
        spec.TaskSeed(
            run_id=run_id, workstream=stream, name=name, task=spec.Task(**of), **(seed or {})
        ),
        NOW,
    )


def a_gate(name: str, n: int = 1, run_id: str = RUN, **seed: Any) -> gate.Gate:
    return gate.create(
        spec.GateSeed(run_id=run_id, name=name, n=n, gate=spec.Gate(command=("true",)), **seed), NOW
    )


def a_worker(number: int = 1, run_id: str | None = None, **pool: Any) -> worker.Worker:
    worker_id = f"worker:local.{number}" if run_id is None else f"{run_id}/worker:local.{number}"
    seed = spec.WorkerSeed(id=worker_id, run_id=run_id, pool="local", slot=spec.Pool(**pool))
    return worker.create(seed, NOW)


STARTED = (("running", "run_started"),)
READY = (("ready", "ready"), ("running", "started"))
QUEUED = (("queued", "dependencies_met"),)
RUNNING = (*QUEUED, ("running", "worker_assigned"))
DONE = (*RUNNING, ("validating", "execution_complete"), ("completed", "validation_passed"))
FAILED = (*RUNNING, ("failed", "task_failed"))
