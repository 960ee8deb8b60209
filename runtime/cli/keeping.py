"""db: the database looked at and looked after. What changes it refuses while an owner lives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import click

from runtime.cli.calling import Call, shared
from runtime.cli.exits import Exit, Stop
from runtime.cli.moments import moment
from runtime.cli.text import columns, counted, one_line, size
from runtime.store import admin
from runtime.store.archive import Archived, archive
from runtime.store.errors import Damaged
from runtime.store.layout import discover
from runtime.store.migrate import Migrated


@click.group("db")
def db_command() -> None:
    """Look at the database and look after it: status, migration, backup, repair."""


@db_command.command("status")
@shared
def status_command(call: Call) -> None:
    """Show the schema, sizes, rows, the head of the chain, and the backups."""
    found = admin.status(call.state_dir)
    call.show(found, lambda: _status_lines(found))


@db_command.command("migrate")
@shared
def migrate_command(call: Call) -> None:
    """Bring the schema forward, after a backup; opening a directory does so too."""
    done = admin.migrate_now(call.state_dir)
    call.show(_as_json(done), lambda: _migrated(done, "applied", "the schema is the newest"))


@db_command.command("rollback")
@shared
def rollback_command(call: Call) -> None:
    """Undo the last migration, after a backup; for going back to an older banksman."""
    done = admin.rollback(call.state_dir)
    call.show(_as_json(done), lambda: _migrated(done, "undone", "nothing to undo"))


@db_command.command("backup")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@shared
def backup_command(call: Call, file: Path | None) -> None:
    """Write a verified copy to FILE (default: into archive/), beside a live owner too."""
    path = admin.backup(call.state_dir, file)
    written = path.stat().st_size
    value = {"backup": str(path), "bytes": written}
    call.show(value, lambda: [f"backup  {path}  ({size(written)}, verified)"])


@db_command.command("restore")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@shared
def restore_command(call: Call, file: Path) -> None:
    """Put the backup FILE in the place of the database, which is kept in archive/."""
    # Here it may be missing, or past reading: that is what a backup is for.
    state_dir = call.asked_dir or discover(Path.cwd() / "plan")
    kept = admin.restore(state_dir, file)
    value = {"restored": str(file), "replaced": None if kept is None else str(kept)}
    was = "" if kept is None else f"; what was there is kept as {kept}"
    call.show(value, lambda: [f"restored {file}{was}"])


@db_command.command("vacuum")
@shared
def vacuum_command(call: Call) -> None:
    """Rewrite the database without its free pages."""
    before, after = admin.vacuum(call.state_dir)
    value = {"bytes_before": before, "bytes_after": after}
    call.show(value, lambda: [f"{size(before)} -> {size(after)}"])


@db_command.command("archive")
@click.option(
    "--before",
    required=True,
    metavar="TIME",
    help="What is older goes: 90d (ago), 2026-11-22, 2026-11-22T17:00.",
)
@shared
def archive_command(call: Call, before: str) -> None:
    """Move the oldest events out of the database, into archive/; the chain stays whole."""
    found = archive(call.state_dir, moment(before, time.time(), "--before"))
    call.show(found, lambda: _archived_lines(found))


def _archived_lines(found: Archived) -> Iterator[str]:
    if found.path is None:
        yield "nothing is that old"
    else:
        yield f"rows {found.first} to {found.last} are in {found.path}"
        yield "`banksman db vacuum` gives their space back"


@db_command.command("check")
@shared
def check_command(call: Call) -> int:
    """Have SQLite check the file itself; `banksman verify` checks what is in it."""
    try:
        found = admin.check(call.state_dir)
    except Damaged as damaged:
        raise Stop(Exit.UNSOUND, str(damaged), code="damaged") from None
    call.show({"ok": not found, "findings": found}, lambda: map(one_line, found or ["ok"]))
    return Exit.UNSOUND if found else Exit.OK


def _status_lines(found: admin.Status) -> Iterator[str]:
    holder = found.holder
    rows = sum(found.rows.values())
    closed = "" if found.clean or holder else ", not closed cleanly"
    facts = [
        ("database", str(found.path)),
        ("schema", f"{found.schema} of {found.schema_known}"),
        ("size", f"{size(found.size)}, WAL {size(found.wal_size)}, free {size(found.free)}"),
        ("events", f"{size(found.jsonl_size)} of transitions.jsonl"),
        ("head", f"#{found.head_seq} {found.head_hash[:16]}"),
        ("owner", f"pid {holder.get('pid')} ({holder.get('command')})" if holder else "nobody"),
        (
            "epoch",
            f"{found.owner_epoch}{closed}",
        ),
        ("rows", f"{rows:,}"),
        ("backups", counted(len(found.backups), "file")),
    ]
    yield from (f"{name:<9} {value}" for name, value in facts)
    yield ""
    yield from columns(("table", "rows"), ((name, str(n)) for name, n in found.rows.items() if n))


def _as_json(done: Migrated) -> dict[str, object]:
    return {
        "migrations": list(done.applied),
        "backup": None if done.backup is None else str(done.backup),
    }


def _migrated(done: Migrated, verb: str, otherwise: str) -> Iterator[str]:
    if not done.applied:
        yield otherwise
    for name in done.applied:
        yield f"{verb}  {name}"
    if done.backup is not None:
        yield f"backup   {done.backup}"
