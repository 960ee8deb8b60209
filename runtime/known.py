"""Verdicts that are on record: the newest one of a key, from the database beside its owner."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec

from actors.messages import Check, Outcome
from runtime.limits import VERDICTS_LOOKED_AT_MAX
from runtime.store import StoreError
from runtime.store.read import connect, readable

_NEWEST = """
SELECT id, state, exit_code, json_extract(value, '$.check') FROM test_gates
WHERE n > (SELECT max(n) FROM test_gates) - ? AND state IN ('passed', 'failed')
  AND json_extract(value, '$.check.key') = ?
ORDER BY n DESC LIMIT 1
"""


def passed_with(db_path: Path, key: str) -> Outcome | None:
    """How the gate passed whose verdict has this key, if that is the newest that has it: one that
    failed since says that the key does not hold all that matters. Only what is committed counts,
    and what cannot be read is not known."""
    try:
        with closing(connect(db_path)) as db, readable(db_path):
            row = db.execute(_NEWEST, (VERDICTS_LOOKED_AT_MAX, key)).fetchone()
    except StoreError:
        return None
    if row is None or row[1] != "passed":
        return None
    try:
        check = msgspec.json.decode(row[3], type=Check)
    except msgspec.MsgspecError:
        return None  # of another version of this program
    first = check.reused_from or row[0]
    return Outcome(exit_code=row[2], check=msgspec.structs.replace(check, reused_from=first))
