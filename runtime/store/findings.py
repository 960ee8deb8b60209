"""What a check of the record found wrong."""

from __future__ import annotations

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One contradiction. `code` is its class: integrity, schema, legal_edges, gap, hash, time,
    chart, course, head, entity, invariant, relation, jsonl, archive."""

    code: str
    where: str
    text: str
