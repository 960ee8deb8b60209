"""Compares the wheel just built with the sources: every file in it, byte for byte, and no other."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile

from warm_cache import BUILD, CACHE


def main() -> int:
    wheel = max(BUILD.glob("banksman-*.whl"), key=lambda file: file.stat().st_mtime_ns)
    with zipfile.ZipFile(wheel) as archive:
        held = {
            name: hashlib.sha256(archive.read(name)).hexdigest()
            for name in archive.namelist()
            if ".dist-info/" not in name
        }
    wanted = json.loads(CACHE.read_text())
    wrong = sorted(
        name for name in held.keys() | wanted.keys() if held.get(name) != wanted.get(name)
    )
    for name in wrong:
        what = "missing" if name not in held else "not a source" if name not in wanted else "other"
        print(f"{what}: {name}")
    print(f"{wheel.name}: {len(held)} files, {len(wrong)} of them wrong or missing")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
