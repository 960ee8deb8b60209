"""Coverage-guided fuzzing of the patch grammar, by hand: `pip install atheris`, then
`python tests/fuzz/patch_grammar.py CORPUS_FOLDER -max_total_time=300`.

The folder is filled with the shipped corpus first. Whatever the bytes are, the grammar answers with
what the patch says or with Malformed; and what it reads it also reads when told twice.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["runtime.ledger"]):
    from runtime.ledger.corpus import CASES
    from runtime.ledger.grammar import parse
    from runtime.ledger.lines import Malformed
    from runtime.ledger.names import hazards, shown


def one(patch: bytes) -> None:
    """Raises whatever the grammar must not raise."""
    try:
        said = parse(patch, 1 << 20)
    except Malformed:
        return
    assert parse(patch, 1 << 20) == said
    for file in said.files:
        for name in file.names:
            hazards(name, 1024, 255, 64)
            shown(name)


def main() -> None:
    folders = [Path(word) for word in sys.argv[1:] if not word.startswith("-")]
    if folders:
        folders[0].mkdir(parents=True, exist_ok=True)
        for number, case in enumerate(CASES):
            if len(case.patch) < 4096:
                (folders[0] / f"case-{number}").write_bytes(case.patch)
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
