"""The durable store: one SQLite database, one writer, one audit chain, one derived JSONL file."""

from runtime.store.audit import Head
from runtime.store.book import Book
from runtime.store.errors import (
    CommitUnknown,
    ConstraintFailed,
    Damaged,
    OwnerBusy,
    OwnerLost,
    StateDirUnusable,
    StoreBusy,
    StoreError,
    StoreFull,
    TryAgain,
)
from runtime.store.opening import Opened
from runtime.store.rows import Batch, Change, Stored
from runtime.store.store import Store

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
