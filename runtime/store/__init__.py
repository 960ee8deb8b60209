"""The durable store: one SQLite database, one writer, one audit chain, one derived JSONL file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.store.audit import Head as Head
    from runtime.store.book import Book as Book
    from runtime.store.errors import CommitUnknown as CommitUnknown
    from runtime.store.errors import ConstraintFailed as ConstraintFailed
    from runtime.store.errors import Damaged as Damaged
    from runtime.store.errors import OwnerBusy as OwnerBusy
    from runtime.store.errors import OwnerLost as OwnerLost
    from runtime.store.errors import StateDirUnusable as StateDirUnusable
    from runtime.store.errors import StoreBusy as StoreBusy
    from runtime.store.errors import StoreError as StoreError
    from runtime.store.errors import StoreFull as StoreFull
    from runtime.store.errors import TryAgain as TryAgain
    from runtime.store.opening import Opened as Opened
    from runtime.store.rows import Batch as Batch
    from runtime.store.rows import Change as Change
    from runtime.store.rows import Stored as Stored
    from runtime.store.store import Store as Store

_PLACES = {
    "audit": ("Head",),
    "book": ("Book",),
    "errors": (
        "CommitUnknown",
        "ConstraintFailed",
        "Damaged",
        "OwnerBusy",
        "OwnerLost",
        "StateDirUnusable",
        "StoreBusy",
        "StoreError",
        "StoreFull",
        "TryAgain",
    ),
    "opening": ("Opened",),
    "rows": ("Batch", "Change", "Stored"),
    "store": ("Store",),
}

__all__ = [
    "Batch",
    "Book",
    "Change",
    "CommitUnknown",
    "ConstraintFailed",
    "Damaged",
    "Head",
    "Opened",
    "OwnerBusy",
    "OwnerLost",
    "StateDirUnusable",
    "Store",
    "StoreBusy",
    "StoreError",
    "StoreFull",
    "Stored",
    "TryAgain",
]


def __getattr__(name: str) -> Any:
    # Imported when used: a command that only reads must not pay for an event loop and its writer.
    from importlib import import_module  # noqa: PLC0415 (as above)

    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f"runtime.store.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
