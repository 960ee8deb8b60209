"""Digests the sources that the wheel must hold, and keeps them; the step that shows a retry.

A cold cache (there is none yet, or the sources changed since) is filled and reported with exit code
75, "temporary failure, try again", as a mirror does that has to fetch first. The plan retries this
step for that code alone. So the first run on a fresh clone shows one retry, the next one none.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build" / "on_itself"
CACHE = BUILD / "sources.json"
TEMPORARY_FAILURE = 75  # EX_TEMPFAIL of sysexits.h


def digests() -> dict[str, str]:
    """The SHA-256 of every source file of the packages, by its path in the wheel."""
    files = sorted(p for name in ("actors", "runtime") for p in (ROOT / name).rglob("*"))
    return {
        str(file.relative_to(ROOT)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.is_file() and "__pycache__" not in file.parts
    }


def main() -> int:
    found = digests()
    cached = json.loads(CACHE.read_text()) if CACHE.exists() else None
    if cached == found:
        print(f"the cache is warm: {len(found)} digests in {CACHE.relative_to(ROOT)}")
        return 0
    BUILD.mkdir(parents=True, exist_ok=True)
    fresh = CACHE.with_suffix(".new")
    fresh.write_text(json.dumps(found, indent=1))
    fresh.replace(CACHE)
    print(f"the cache was cold: {len(found)} digests written; try again")
    return TEMPORARY_FAILURE


if __name__ == "__main__":
    sys.exit(main())
