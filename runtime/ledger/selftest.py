"""The corpus, judged with this machine's git: whether every verdict is the one that is owed, and
how many of what is to be refused git alone would have refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import anyio
import msgspec

from runtime.ledger.check import check_patch
from runtime.ledger.corpus import CASES, FIXTURE, Case
from runtime.ledger.corpus.kit import GITLINK
from runtime.ledger.reasons import Verdict
from runtime.ledger.scratch import Scratch, empty_scratch, git_version

_AT_ONCE = 4  # each is a chain of short processes
_ALONE_BYTES_MAX = 1 << 20  # beyond it what unpacks is left to those who can bound it


class Wrong(msgspec.Struct, frozen=True):
    """A case with another verdict, or for another reason, than it is owed."""

    case: str
    owed: Verdict
    code: str
    given: Verdict
    codes: tuple[str, ...]


class Grade(msgspec.Struct, frozen=True):
    """`hazards`: the cases of each class. Of the `refusable`, git alone `refused` so many."""

    git: str
    cases: int
    hazards: Mapping[str, int]
    wrong: tuple[Wrong, ...]
    refusable: int
    refused: int


async def grade(cases: tuple[Case, ...] = CASES) -> Grade:
    """Judges every case. Raises GitTrouble, BaseMissing where there is no git that can be used."""
    wrong: list[Wrong] = []
    alone: list[bool] = []
    limiter = anyio.CapacityLimiter(_AT_ONCE)
    async with empty_scratch() as scratch:
        await scratch.load(await fixture_tree(scratch))

        async def judge(case: Case) -> None:
            async with limiter:
                found = await _wrong(scratch, case)
                if found is not None:
                    wrong.append(found)
                if case.verdict is Verdict.REJECT:
                    alone.append(await _refused_alone(scratch, case))

        async with anyio.create_task_group() as group:
            for case in cases:
                group.start_soon(judge, case)
    hazards = dict(sorted(Counter(case.hazard for case in cases).items()))
    found = tuple(sorted(wrong, key=lambda each: each.case))
    version = await git_version()
    return Grade(version, len(cases), hazards, found, len(alone), sum(alone))


async def fixture_tree(scratch: Scratch) -> str:
    """The corpus's tree, written there."""
    stream = b"commit refs/heads/corpus\ncommitter - <-> 0 +0000\ndata 0\n"
    for path, (mode, content) in FIXTURE.items():
        name = path.encode()
        if mode == GITLINK:
            stream += b"M 160000 %s %s\n" % (content, name)
        else:
            stream += b"M %o inline %s\ndata %d\n%s\n" % (mode, name, len(content), content)
    await scratch.must("fast-import", "--quiet", given=stream)
    return (await scratch.must("rev-parse", "refs/heads/corpus^{tree}")).decode().strip()


async def _wrong(scratch: Scratch, case: Case) -> Wrong | None:
    checked = await check_patch(scratch, case.patch, case.policy)
    codes = tuple(dict.fromkeys(reason.code for reason in checked.reasons))
    right = case.code in codes if case.code else not codes
    if right and checked.verdict is case.verdict:
        return None
    name = f"{case.hazard}: {case.name}"
    return Wrong(name, case.verdict, case.code, checked.verdict, codes)


async def _refused_alone(scratch: Scratch, case: Case) -> bool:
    """Whether git refuses it without our reading it first."""
    if "large" in case.code or len(case.patch) > _ALONE_BYTES_MAX:
        return False
    applied = await scratch.apply(case.patch)
    return applied.tree is None
