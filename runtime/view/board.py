"""A run as it goes, in memory: read once from the database, then moved by its events alone.

Invariants:
1. What it holds is bounded by what is under way and what failed, never by the size of the run:
   tasks that wait or have completed are counts.
2. It asks nobody anything: an event carries all that it changes here.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from runtime.view import rows
from runtime.view.audit import head_seq

UNDER_WAY = ("running", "validating", "retrying")
_BAD_ENDS = ("failed", "cancelled")
_RETRY = re.compile(r"^(.*?)(?:~(\d+))?$")


class Underway:
    """A task or gate that is at work, or between two attempts."""

    __slots__ = ("attempt", "id", "paused", "reason", "since", "state", "worker")

    def __init__(self, id: str, state: str, since: float) -> None:
        self.id = id
        self.state = state
        self.since = since
        self.worker: str | None = None
        self.attempt = 1
        self.paused = False
        self.reason: str | None = None


class Line:
    """A workstream: its state and how many of its tasks are in which."""

    __slots__ = ("began", "counts", "ended", "id", "name", "reason", "state")

    def __init__(self, id: str, state: str) -> None:
        self.id = id
        self.name = id.rpartition("/")[2]
        self.state = state
        self.counts: dict[str, int] = {}
        self.began: float | None = None
        self.ended: float | None = None
        self.reason: str | None = None

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def count(self, state: str, by: int) -> None:
        self.counts[state] = self.counts.get(state, 0) + by


class Board:
    """Everything that the live view shows of one run. Made empty for a run that is being submitted,
    or by `load` for one that is on record."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.state = "initializing"
        self.began: float | None = None
        self.ended: float | None = None
        self.reason: str | None = None
        self.lines: dict[str, Line] = {}
        self.tasks: dict[str, Underway] = {}
        self.gates: dict[str, Underway] = {}
        self.gate_counts: dict[str, int] = {}
        self.reused = 0  # verdicts that stood for ones that nothing had changed since
        self.approvals: dict[str, float] = {}  # gates that wait for a person, since when
        self.retries = 0
        self.seq = 0  # of the last event that it holds
        self.changes = 0  # goes up with everything that a person would see
        self._bad_ends: dict[str, str] = {}

    def totals(self) -> dict[str, int]:
        """How many tasks of the run are in which state."""
        found: dict[str, int] = {}
        for line in self.lines.values():
            for state, count in line.counts.items():
                found[state] = found.get(state, 0) + count
        return found

    def apply(self, event: dict[str, Any], at: float) -> None:
        """Takes one committed event; one of another run, or one it holds already, is nothing."""
        if event["context"]["run_id"] != self.run_id or event["seq"] <= self.seq:
            return
        self.seq = event["seq"]
        source, target = event["from_state"], event["to_state"]
        kind = event["entity_type"]
        if source == target:
            self._note(event, at)
            return
        self.changes += 1
        if kind == "run":
            self.state, self.reason = target, event["reason"]
            self.began = at if source is None else self.began
            self.ended = at if target in rows.RUN_ENDS else None
        elif kind == "workstream":
            self._move_workstream(event["entity_id"], source, target, event["reason"], at)
        elif kind == "task":
            self._move_task(event["entity_id"], event, source, target, at)
        elif kind == "test_gate":
            self._move_gate(event["entity_id"], source, target, at)
            self.reused += bool(event["metadata"].get("reused_from"))

    def _note(self, event: dict[str, Any], at: float) -> None:
        """What is no transition, and yet something that a person would see."""
        what, entity_id = event["event_type"], event["entity_id"]
        if what in ("task_paused", "task_resumed") and entity_id in self.tasks:
            self.tasks[entity_id].paused = what == "task_paused"
        elif what == "approval_wanted":
            self.approvals[entity_id] = at
        else:
            return
        self.changes += 1

    def _move_workstream(
        self, id: str, source: str | None, target: str, reason: str | None, at: float
    ) -> None:
        line = self.lines.setdefault(id, Line(id, target))
        line.state, line.reason = target, reason
        if target == "running" and line.began is None:
            line.began = at
        if target in rows.WORKSTREAM_ENDS and source is not None:
            line.ended = at

    def _move_task(
        self, id: str, event: dict[str, Any], source: str | None, target: str, at: float
    ) -> None:
        line_id = id.rpartition("/")[0]
        line = self.lines.setdefault(line_id, Line(line_id, "pending"))
        if source is None:
            self._replace(id, line)
        else:
            line.count(source, -1)
        line.count(target, 1)
        if target in UNDER_WAY:
            self._keep(event, id, target, at)
        else:
            self.tasks.pop(id, None)
            if target in _BAD_ENDS:
                self._bad_ends[id] = target

    def _keep(self, event: dict[str, Any], id: str, target: str, at: float) -> None:
        metadata = event["metadata"]
        task = Underway(id, target, at)
        task.worker = metadata.get("worker_id")
        task.attempt = (metadata.get("retry_count") or 0) + 1
        task.reason = event["reason"]
        before = self.tasks.pop(id, None)  # the one that began last stands last
        task.paused = before is not None and before.paused
        self.tasks[id] = task
        self.retries += target == "retrying"

    def _replace(self, id: str, line: Line) -> None:
        """A retry was made: what it stands for is no longer counted."""
        match = _RETRY.match(id)
        if match is None or match[2] is None:
            return
        number = int(match[2])
        before = match[1] if number == 2 else f"{match[1]}~{number - 1}"
        line.count(self._bad_ends.pop(before, "completed"), -1)

    def _move_gate(self, id: str, source: str | None, target: str, at: float) -> None:
        if source is not None:
            self.gate_counts[source] = self.gate_counts.get(source, 0) - 1
        self.gate_counts[target] = self.gate_counts.get(target, 0) + 1
        self.approvals.pop(id, None)
        if target == "running":
            self.gates[id] = Underway(id, target, at)
        else:
            self.gates.pop(id, None)


def load(db: sqlite3.Connection, run_id: str) -> Board:
    """The run as it is on record."""
    db.execute("BEGIN")  # one snapshot: the rows and the head belong together
    try:
        board = Board(run_id)
        run = rows.runs(db, [run_id])[0]
        board.state, board.reason = run.state, run.reason
        board.began, board.ended = run.created_at, run.completed_at
        for stream in rows.workstreams(db, run_id):
            line = board.lines[stream.id] = Line(stream.id, stream.state)
            line.counts = dict(stream.tasks.by_state)
            line.began, line.ended, line.reason = (
                stream.started_at,
                stream.completed_at,
                stream.reason,
            )
        for task in rows.tasks(db, [run_id], [*UNDER_WAY, *_BAD_ENDS]):
            if task.state in _BAD_ENDS:
                board._bad_ends[task.id] = task.state
                continue
            under_way = board.tasks[task.id] = Underway(
                task.id, task.state, task.started_at or task.created_at
            )
            under_way.worker, under_way.reason = task.worker_id, task.reason
            under_way.attempt = task.retry_count + 1
            under_way.paused = task.paused
        for gate in rows.gates(db, [run_id]):
            board.gate_counts[gate.state] = board.gate_counts.get(gate.state, 0) + 1
            board.reused += gate.reused_from is not None
            if gate.asked_at is not None and gate.state == "pending":
                board.approvals[gate.id] = gate.asked_at
            if gate.state == "running":
                board.gates[gate.id] = Underway(
                    gate.id, gate.state, gate.started_at or gate.created_at
                )
        board.seq = head_seq(db)
        return board
    finally:
        db.execute("COMMIT")
