"""How the store fails. The class says what became of the batch: that is what the kernel acts on."""

from __future__ import annotations

from pathlib import Path

from runtime.errors import BanksmanError


class StoreError(BanksmanError):
    """The common root."""


class StateDirUnusable(StoreError):
    """The state directory cannot be created, written or locked. Nothing was changed."""

    def __init__(self, path: Path, why: str, cure: str) -> None:
        super().__init__(f"{path}: {why}; {cure}")
        self.path = path
        self.why = why
        self.cure = cure


class OwnerBusy(StoreError):
    """Another process owns the state directory. Nothing was changed."""

    def __init__(self, path: Path, holder: dict[str, object]) -> None:
        who = f"pid {holder.get('pid', '?')} on {holder.get('host', '?')}"
        since, command = holder.get("since", "?"), holder.get("command", "?")
        super().__init__(
            f"{path} is held by {who} since {since} ({command}); "
            "let it end, stop it, or use another --state-dir"
        )
        self.path = path
        self.holder = holder


class OwnerLost(StoreError):
    """Another owner took the directory over. The batch was rolled back; stop at once."""

    def __init__(self, mine: int) -> None:
        super().__init__(f"owner epoch {mine} is over: another process took this directory over")
        self.mine = mine


class ConstraintFailed(StoreError):
    """The batch breaks a constraint or does not encode. Rolled back for certain, head unmoved.

    `entity_id` names the first row that was refused ("" where no row can be named), `table` its
    table.
    """

    def __init__(self, text: str, *, table: str = "", entity_id: str = "") -> None:
        where = f"{table} {entity_id}".strip()
        super().__init__(f"{where}: {text}" if where else text)
        self.text = text
        self.table = table
        self.entity_id = entity_id


class TryAgain(StoreError):
    """Rolled back for certain: the same batch may be committed later."""


class StoreBusy(TryAgain):
    """Another process holds the database's write lock. Nothing was written: try again later."""

    def __init__(self, path: Path, waited_s: float) -> None:
        super().__init__(
            f"{path}: another process has held the database locked for {waited_s:g} s; "
            "only its owner may write to it"
        )
        self.path = path


class StoreFull(TryAgain):
    """No space. Rolled back for certain, head unmoved: the same work may be committed later."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: no space left; nothing is lost, free some space to go on")
        self.path = path


class CommitUnknown(StoreError):
    """COMMIT failed: whether the batch is durable is unknown. `await store.reopen()` tells."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"{path}: the outcome of a commit is unknown: {cause}")
        self.path = path
        self.cause = cause


def way_back(db: Path) -> str:
    """What to type where a database cannot be trusted: its newest backup, if there is one."""
    backups = sorted((db.parent / "archive").glob("*.db"), key=lambda file: file.stat().st_mtime)
    if backups:
        return f"`banksman db restore {backups[-1]}` brings the newest backup back"
    return (
        f"there is no backup in archive/ to restore: move {db.parent} aside and begin anew; "
        "its transitions.jsonl still tells what happened"
    )


class Damaged(StoreError):
    """The database contradicts itself or its head. Nothing was changed."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path} is damaged: {what}; {way_back(path)}")
        self.path = path
        self.what = what


class NewerDatabase(StoreError):
    """The database was written by a later version. Nothing was changed."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(
            f"{path} has schema {found}, this banksman knows up to {known}: "
            "install the newer banksman, or restore a backup of the older one from archive/ "
            "with `banksman db restore`"
        )
        self.path = path
        self.found = found
        self.known = known


class MigrationChanged(StoreError):
    """An applied migration differs from the one shipped. Nothing was changed."""

    def __init__(self, path: Path, number: int, name: str) -> None:
        super().__init__(
            f"{path}: migration {number:04d} ({name}) is not the one this banksman ships; "
            "install the version that wrote this database"
        )
        self.path = path
        self.number = number
        self.name = name
