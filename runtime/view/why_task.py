"""Why a task is not moving: dependencies, gates, a slot, a pause, a backoff, or its own end."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from runtime.view import why_guard
from runtime.view.because import Explanation, paused_by
from runtime.view.standing import Standing, at_address, hand, standing, trouble
from runtime.view.told import length

_SLOTS_SHOWN = 4


def explain(db: sqlite3.Connection, task: Standing, now: float) -> Explanation:
    """The explanation for a task in any state."""
    value = task.value
    if task.completed_at is not None:
        return _ended(db, task)
    said = Explanation(_SUMMARY[task.state])
    if value.get("paused"):
        said.cause(paused_by(db, task))
        said.move(f"banksman resume {task.id}", "lets it go on")
    _paused_above(db, said, task)
    match task.state:
        case "pending":
            _pending(db, said, task, now)
        case "queued":
            _queued(db, said, task, now)
        case "blocked":
            _blocked(db, said, task)
        case "running":
            _running(db, said, task, now)
        case "validating":
            if value.get("paused") and not value.get("unverified"):
                said.summary = "its work is done and its gates have passed, but it is paused"
            for address in value.get("judges", ()):
                why_guard.not_passed(db, said, address, now)
        case _:
            said.because(f"attempt {_attempts(task)} ended: {task.reason or 'no reason on record'}")
            at_once = f"banksman override {task.id} queued --reason TEXT"
            said.move(at_once, "tries again at once, without the rest of the pause")
    timers(said, task, now)
    if task.state != "blocked":
        said.move(f"banksman cancel {task.id}", "gives up on it")
    return said


_SUMMARY = {
    "pending": "it waits for what it depends on",
    "queued": "it is ready and waits for a worker's slot",
    "blocked": "what it depends on failed: only a person can move it",
    "running": "it is at work",
    "validating": "its work is done: its gates must pass",
    "retrying": "its last attempt ended badly: it tries again after a pause",
}

IN_WORDS = {
    "infrastructure": "the machine kept it from starting, again and again",
    "poison": "its workers died of it, again and again",
    "loop": "it went round in circles",
}


def _ended(db: sqlite3.Connection, task: Standing) -> Explanation:
    said = Explanation(f"it has ended: {task.state}")
    if task.reason in IN_WORDS:
        said.because(f"{task.reason}: {IN_WORDS[task.reason]}", trouble(db, task))
    elif task.reason:
        said.because(task.reason)
    code = task.row["exit_code"]
    if code is not None and task.state == "failed" and f"exit code {code}" != task.reason:
        said.because(f"its last exit code is {code}")
    for source, root in task.causes:
        said.because(rooted(source, root))
    if who := hand(db, task, "cancel"):
        said.because(f"cancelled by {who.operator}", who.reason)
    if after := task.value.get("replaced_by"):
        retry = after.removeprefix("task:")
        said.because(f"it was retried as {retry}", None, retry)
        return said
    if task.state != "completed":
        said.move(f"banksman logs {task.id}", "what it printed")
        stream = standing(db, "workstream", task.row["workstream_id"])
        if stream is not None and stream.completed_at is None and stream.state != "validating":
            said.move(f"banksman retry {task.id}", "does it once more")
    return said


def _paused_above(db: sqlite3.Connection, said: Explanation, task: Standing) -> None:
    for kind, above in (("run", task.row["run_id"]), ("workstream", task.row["workstream_id"])):
        found = standing(db, kind, above)
        if found is None or found.completed_at is not None:
            continue
        if found.state == "paused" or found.value.get("paused"):
            cause = paused_by(db, found)
            said.because(f"its {kind} is {cause.text}", cause.reason, above)
            said.move(f"banksman resume {above}", f"lets the {kind} go on")


def _pending(db: sqlite3.Connection, said: Explanation, task: Standing, now: float) -> None:
    stream = standing(db, "workstream", task.row["workstream_id"])
    if stream is not None and stream.state in ("pending", "blocked"):
        said.because(f"its workstream is {stream.state}", stream.reason, stream.id)
        said.move(f"banksman why {stream.id}", "looks one step deeper")
    for address in task.spec.get("sources", ()):
        source = at_address(db, address)
        if source is not None and not source.done and address not in task.waived:
            dependency(said, source, now)
    for address in task.spec.get("gates", ()):
        if address not in task.waived:
            why_guard.not_passed(db, said, address, now)


def dependency(said: Explanation, source: Standing, now: float) -> None:
    """One thing that is waited for, as it stands."""
    held_for = length(now - source.since)
    kind = source.kind.replace("_", " ")
    said.because(f"{kind} {source.id} is {source.state} for {held_for}", source.reason, source.id)
    said.move(f"banksman why {source.id}", "looks one step deeper")


def rooted(source: str, root: str) -> str:
    """A cause by its address, and the root cause, which may name it already."""
    kind, _, entity_id = source.partition(":")
    kind = kind.replace("_", " ")
    return f"{kind} {root}" if root.startswith(entity_id) else f"{kind} {entity_id}: {root}"


def _blocked(db: sqlite3.Connection, said: Explanation, task: Standing) -> None:
    for source, root in task.causes:
        said.because(rooted(source, root), None, source.partition(":")[2])
        blocker = at_address(db, source)  # or what replaced it; none where it is a person
        if blocker is not None:
            _remedy(said, blocker)
    if task.causes and all(source.startswith("operator:") for source, _ in task.causes):
        said.summary = "a person blocked it: only a person can move it"
    if not said.causes and task.reason:
        said.because(task.reason)
    said.move(f"banksman unblock {task.id}", "waives what blocks it and goes on without")
    said.move(f"banksman cancel {task.id}", "gives up on it")


def _remedy(said: Explanation, blocker: Standing) -> None:
    """What would make good what blocks a task."""
    if blocker.completed_at is None or blocker.kind == "workstream":
        said.move(f"banksman why {blocker.id}", "looks one step deeper")
        return
    if blocker.kind == "task":
        said.move(f"banksman retry {blocker.id}", "does what failed once more")
    else:
        said.move(f"banksman gate rerun {blocker.id}", "asks again; goes on if that passes")
    if not blocker.spec.get("gate", {}).get("approval"):
        said.move(f"banksman logs {blocker.id}", "what it printed")


def _running(db: sqlite3.Connection, said: Explanation, task: Standing, now: float) -> None:
    if ending := task.value.get("ending"):
        said.summary = f"it is being ended ({ending}), and its processes are not proven dead yet"
    worker = standing(db, "worker", task.row["worker_id"])
    if worker is None:
        return
    on = f"on {worker.id}"
    if pid := _pid(db, worker.row["uet_id"]):
        on += f", pid {pid}"
    said.because(f"attempt {_attempts(task)} for {length(now - task.since)} {on}", None, worker.id)
    if worker.state == "unresponsive":
        said.because(f"its worker is silent since {length(now - worker.since)}", None, worker.id)
    said.move(f"banksman logs -f {task.id}", "what it prints")


def _queued(db: sqlite3.Connection, said: Explanation, task: Standing, now: float) -> None:
    spec: dict[str, Any] = task.spec.get("task", {})
    if why_guard.kept_back(db, said, task.spec.get("breaker"), now):
        return
    if key := spec.get("concurrency_key"):
        holder = db.execute(
            "SELECT id FROM tasks WHERE run_id = ? AND state = 'running'"
            " AND json_extract(spec, '$.task.concurrency_key') = ? LIMIT 1",
            (task.row["run_id"], key),
        ).fetchone()
        if holder is not None:
            said.because(f"task {holder['id']} holds the key {key!r}", None, holder["id"])
    slots = [s for s in _slots(db, task.row["run_id"]) if _fits(s, task, spec)]
    if not slots:
        wanted = ", ".join(spec.get("requires", ())) or "its kind of work"
        said.because(f"no worker may take it: none offers {wanted}")
        said.move("banksman workers", "lists what there is")
        return
    free = [s for s in slots if s["state"] == "idle"]
    if free:
        said.because(f"{len(free)} of {len(slots)} slots it may use are free: it is next in line")
        return
    said.because(f"none of the {len(slots)} slots it may use is free")
    for slot in slots[:_SLOTS_SHOWN]:
        doing = f", executes {slot['task_id']}" if slot["task_id"] else ""
        said.because(f"{slot['id']} is {slot['state']}{doing}", slot["reason"], slot["id"])
    ahead = db.execute(
        "SELECT count(*) FROM tasks WHERE run_id = ? AND state = 'queued' AND id <> ?",
        (task.row["run_id"], task.id),
    ).fetchone()[0]
    if ahead:
        said.because(f"{ahead} more of its run are queued")


def _slots(db: sqlite3.Connection, run_id: str) -> list[sqlite3.Row]:
    own = db.execute(
        "SELECT id, state, reason, task_id, kind, spec FROM workers"
        " WHERE run_id = ? AND state <> 'shutdown' ORDER BY n",
        (run_id,),
    ).fetchall()
    return (
        own
        or db.execute(
            "SELECT id, state, reason, task_id, kind, spec FROM workers"
            " WHERE run_id IS NULL AND state <> 'shutdown' ORDER BY n"
        ).fetchall()
    )


def _fits(slot: sqlite3.Row, task: Standing, spec: dict[str, Any]) -> bool:
    pool = msgspec.json.decode(slot["spec"]).get("slot", {})
    affinity = pool.get("affinity", ())
    return (
        set(spec.get("requires", ())) <= set(pool.get("capabilities", ()))
        and (not affinity or task.spec.get("workstream") in affinity)
        and (slot["kind"] == "process" or bool(spec.get("call")))
    )


def _pid(db: sqlite3.Connection, uet_id: str | None) -> int | None:
    if uet_id is None:
        return None
    row = db.execute("SELECT child_pid, pid FROM uet_workers WHERE id = ?", (uet_id,)).fetchone()
    return (row["child_pid"] or row["pid"] or None) if row else None


def _attempts(task: Standing) -> str:
    return f"{task.row['retry_count'] + 1} of {task.row['max_retries'] + 1}"


def timers(said: Explanation, found: Standing, now: float) -> None:
    """What the clock will do to it."""
    for key, due in sorted(found.timers.items(), key=lambda timer: timer[1]):
        name = key.replace("_", " ").replace(":", " ")
        when = f"in {length(due - now)}" if due > now else "as soon as it has an owner"
        said.because(f"its timer {name!r} is due {when}")
