"""Cases on disk: what was found is kept, and run first the next time.

`<folder>/failures/` holds what this machine found, as it comes: case and timeline; it ignores
itself in git. `<folder>/cases/<scenario>/` holds one shrunk case for each bug, to be committed.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from runtime.sim.case import FORMAT, Case, Failure, Happening, Result
from runtime.sim.choices import REST
from runtime.sim.tally import same_bug
from runtime.version import VERSION

FOLDER: Final = ".sim"
_LINES_MAX: Final = 1_000  # of a trace in its case: strict replay names the first that differs
_BYTES_MAX: Final = 32 * 1024 * 1024  # of a case that is read: more is no case of ours


class BadCase(ValueError):
    """A file that is no case, or none that can be replayed here; its text has the cure."""


class Saved(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A case as it is kept: what to run, what came of it, and with which versions."""

    format: int
    case: Case
    failure: Failure | None
    trace_hash: str
    events: int
    choices: dict[str, int] = {}
    lines: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    note: str = ""


def line_of(happening: Happening) -> str:
    """An event on one line, complete enough that a different event has a different line."""
    more = msgspec.json.encode((happening.key, happening.edges, happening.effects))
    digest = hashlib.sha256(more).hexdigest()[:8]
    detail = f" {happening.detail}" if happening.detail else ""
    return f"{happening.at:.6f} {happening.actor} {happening.what}{detail} [{digest}]"


def saved(result: Result, note: str = "") -> Saved:
    """A recorded run as a case to keep."""
    return Saved(
        format=FORMAT,
        case=result.case,
        failure=result.failure,
        trace_hash=result.trace_hash,
        events=result.events,
        choices=result.choices,
        lines=tuple(line_of(h) for h in result.happenings[:_LINES_MAX]),
        versions={"banksman": VERSION, "python": platform.python_version()},
        note=note,
    )


def write(path: Path, case: Saved) -> Path:
    """The case in a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(case), indent=1)
    part = path.with_suffix(".part")
    part.write_bytes(text + b"\n")
    part.replace(path)
    return path


def read(path: Path) -> Saved:
    """The case in a file.

    Raises BadCase where it cannot be read, is none, or is of a newer format.
    """
    try:
        if path.stat().st_size > _BYTES_MAX:
            raise BadCase(f"{path} is too large for a case: want a file that simulate wrote")
        raw = path.read_bytes()
        found = msgspec.json.decode(raw)
        if isinstance(found, dict) and isinstance(found.get("format"), int):
            if found["format"] > FORMAT:
                raise BadCase(f"{path} is of format {found['format']}, newer than {FORMAT}: update")
            if found["format"] < FORMAT:
                raise BadCase(f"{path} is of format {found['format']}: find it anew by its seed")
        return msgspec.convert(found, Saved)
    except OSError as error:
        raise BadCase(f"{path}: {error.strerror}: want a case that simulate wrote") from None
    except msgspec.MsgspecError as error:
        raise BadCase(f"{path} is no case ({error}): want a file that simulate wrote") from None


def slug(text: str) -> str:
    """A name that is a file's name too."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "scenario"


class Folder:
    """Where cases are kept, and how they are named."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def known(self, name: str) -> list[Path]:
        """The saved cases of a scenario, in the order of their names."""
        return sorted((self.path / "cases" / slug(name)).glob("*.json"))

    def keep(self, name: str, case: Saved) -> Path:
        """Keeps the case of a bug; a newer one of the same bug takes its place."""
        assert case.failure is not None
        bug = hashlib.sha256("\n".join(same_bug(case.failure)).encode()).hexdigest()[:8]
        file = f"{slug(case.failure.invariant)}-{bug}.json"
        return write(self.path / "cases" / slug(name) / file, case)

    def report(self, name: str, case: Saved) -> Path:
        """Puts what was just found where it is looked for."""
        return write(self.failures() / f"{slug(name)}-{case.case.seed}.json", case)

    def failures(self) -> Path:
        """Where they are; it is there, and git does not see it."""
        failures = self.path / "failures"
        failures.mkdir(parents=True, exist_ok=True)
        ignore = failures / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
        return failures


# --- replay -----------------------------------------------------------------------------------


class Unlike(msgspec.Struct, frozen=True):
    """The first event of a strict replay that is not what it was; empty where a side has ended."""

    n: int
    was: str
    now: str


def unlike(case: Saved, happenings: Iterable[Happening]) -> Unlike | None:
    """Where a replay leaves the run that was saved; None as far as its events are known."""
    lines = [line_of(happening) for happening in happenings]
    for k, was in enumerate(case.lines):
        now = lines[k] if k < len(lines) else ""
        if was != now:
            return Unlike(k + 1, was, now)
    if len(lines) > len(case.lines) == case.events:
        return Unlike(case.events + 1, "", lines[case.events])
    return None


def told_unlike(case: Saved, happenings: Iterable[Happening]) -> str:
    """The same in words, for a replay that is known to be another run."""
    versions = ", ".join(f"{each} {version}" for each, version in case.versions.items())
    found = unlike(case, happenings)
    if found is None:
        return f"its events are not those of the saved run ({versions})"
    return (
        f"event {found.n} is the first that differs: it was {found.was or 'nothing'}, "
        f"it is {found.now or 'nothing'} (saved with {versions})"
    )


def steers(case: Case) -> dict[str, int]:
    """What the case makes happen: its overrides that are not calm."""
    return {key: value for key, value in case.overrides.items() if value and key != REST}


def aligned(case: Saved, now: Result) -> bool:
    """Whether a run of the case still comes by what the case steers. One that steers nothing (all
    calm, or only a seed) is aligned if it makes the very choices it made."""
    wanted = steers(case.case) or case.choices
    return all(key in now.choices for key in wanted)
