"""What an owner says first: who it is, where it keeps its state, and what it found there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runtime.cli.text import counted, length, paint, size
from runtime.control.engine import Engine
from runtime.recovery import RecoveryReport
from runtime.version import VERSION

_SPELLED_OUT_MAX = 12
# What every owner finds where nothing was interrupted.
_AT_REST = frozenset(
    {
        *("worker idle", "worker initializing", "worker paused"),
        *("uet_worker idle", "uet_worker spawning", "circuit_breaker closed"),
    }
)

_SURVIVES = {
    "power": "an acknowledged step survives power loss",
    "process": "an acknowledged step survives kill -9, not power loss",
}


def titled(rt: Engine, state_dir: Path) -> Iterator[str]:
    """Version, durability, database, owner epoch."""
    yield (
        f"{paint('banksman', 'bold')} {VERSION}  durability {rt.durability}"
        f" ({_SURVIVES[rt.durability]})"
    )
    database = rt.db_path
    yield (
        f"{paint('state', 'dim')}  {state_dir}  ({database.name} {size(database.stat().st_size)},"
        f" owner epoch {rt.owner_epoch})"
    )


def recovered(report: RecoveryReport) -> Iterator[str]:
    """Every entity that was found unfinished: spelled out where they are few, else counted."""
    total = sum(report.totals.values())
    for note in report.notes:
        yield f"{paint('note', 'yellow')}   {note}"
    if all(name in _AT_REST for name in report.totals) and not report.messages:
        return
    extra = []
    if report.messages:
        extra.append(f"{counted(report.messages, 'message')} delivered again")
    if report.effects:
        extra.append(f"{counted(report.effects, 'effect')} offered again")
    found = counted(total, "unfinished entity", "unfinished entities")
    yield (
        f"{paint('recovered', 'bold')}  {found} in {length(report.seconds)}"
        + "".join(f", {text}" for text in extra)
    )
    lines = [line for line in report.lines if not _of_a_slot(line.entity)]
    slots = {name: n for name, n in report.totals.items() if _of_a_slot(name)}
    if total - sum(slots.values()) == len(lines) <= _SPELLED_OUT_MAX:
        for line in lines:
            kind, _, entity_id = line.entity.partition(":")
            yield f"  {kind} {entity_id}  {line.state}: {line.action}"
        told = slots
    else:
        told = report.totals
    actions = {_class(line.entity, line.state): line.action for line in report.lines}
    for name, count in told.items():
        action = actions.get(name)
        yield f"  {count:>6} {name}" + (f": {action}" if action else "")


def _class(entity: str, state: str) -> str:
    return f"{entity.partition(':')[0]} {state}"


def _of_a_slot(entity: str) -> bool:
    # Slots, their processes and closed breakers come back with every owner: not worth a line each.
    return entity.startswith(("worker", "uet_worker")) or entity == "circuit_breaker closed"
