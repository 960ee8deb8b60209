"""What is wrong with a plan: one `Fault` each, collected so that all of them are shown at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from enum import StrEnum
from itertools import islice
from typing import Any, TypeAlias

import msgspec

from runtime.errors import BanksmanError
from runtime.limits import FAULTS_MAX, LABEL_CHARS_MAX, NAMES_COMPARED_MAX

# Where in a plan: keys of tables, and indexes of arrays.
Path: TypeAlias = "tuple[str | int, ...]"

_BARE = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Severity(StrEnum):
    """An error refuses the plan; a warning is shown, and the plan may run."""

    ERROR = "error"
    WARNING = "warning"


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong: the place, what is wrong there, and what to do about it.

    `line` counts from 1 and is None where the plan is no text, or the file as a whole is meant.
    `more`: so many further places of the same fault are beyond the bound, and are only counted.
    """

    text: str
    cure: str
    path: Path = ()
    severity: Severity = Severity.ERROR
    file: str = "the plan"
    line: int | None = None
    more: int = 0

    @property
    def where(self) -> str:
        """The place as a dotted path, as TOML would spell it; empty for the whole plan."""
        return dotted(self.path)

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        where = f" {self.where}:" if self.path else ""
        return f"{place}:{where} {self.text}; {self.cure}"

    def as_json(self) -> dict[str, Any]:
        """The stable shape that `check --json` prints."""
        shape = {
            "file": self.file,
            "line": self.line,
            "where": self.where,
            "text": self.text,
            "cure": self.cure,
            "severity": str(self.severity),
        }
        return {**shape, "more": self.more} if self.more else shape


class PlanError(BanksmanError):
    """The plan cannot run, and nothing has happened. `faults` holds every reason, errors first."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda f: f.severity is Severity.WARNING))
        super().__init__("\n".join(told for _, told in told_once(self.faults)))


def told_once(faults: Iterable[Fault]) -> list[tuple[Fault, str]]:
    """The different faults in their order, each with its line for a person: of those that differ
    in their place alone the first, and how many more there are."""
    groups: dict[tuple[str, ...], list[Fault]] = {}
    for fault in faults:
        likeness = (fault.file, fault.severity, fault.text, fault.cure)
        groups.setdefault(likeness, []).append(fault)
    found = []
    for alike in groups.values():
        more = len(alike) - 1 + sum(fault.more for fault in alike)
        told = f"{alike[0]} (and {more:,} more like it)" if more else str(alike[0])
        found.append((alike[0], told))
    return found


class Faults:
    """Collects faults in the order in which they are found.

    Bounded: past FAULTS_MAX of one severity they are only counted, the equals of one that is kept
    with that one, and `all` ends with the count of the others.
    """

    def __init__(self) -> None:
        self._kept: dict[Severity, list[Fault]] = {severity: [] for severity in Severity}
        self._equals: dict[tuple[Severity, str, str], int] = {}  # of those kept: beyond the bound
        self._beyond = dict.fromkeys(Severity, 0)
        self._comparisons_left = NAMES_COMPARED_MAX

    def __len__(self) -> int:
        """How many were found, those only counted too."""
        beyond = sum(self._equals.values()) + sum(self._beyond.values())
        return sum(map(len, self._kept.values())) + beyond

    def error(self, path: Path, text: str, cure: str) -> None:
        """The plan is refused for this."""
        self._add(path, text, cure, Severity.ERROR)

    def warning(self, path: Path, text: str, cure: str) -> None:
        """Worth a look; the plan may run."""
        self._add(path, text, cure, Severity.WARNING)

    def _add(self, path: Path, text: str, cure: str, severity: Severity) -> None:
        likeness = (severity, text, cure)
        if len(self._kept[severity]) < FAULTS_MAX:
            self._kept[severity].append(Fault(text, cure, path, severity))
            self._equals.setdefault(likeness, 0)
        elif likeness in self._equals:
            self._equals[likeness] += 1
        else:
            self._beyond[severity] += 1

    def nearest(self, name: str, names: Iterable[str]) -> str | None:
        """Which of `names` was probably meant by `name`, if any is near."""
        if len(name) > 2 * LABEL_CHARS_MAX or not self._comparisons_left:
            return None
        candidates = list(islice(names, self._comparisons_left))
        self._comparisons_left -= len(candidates)
        folded = {candidate.casefold(): candidate for candidate in candidates}
        found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
        return folded[found[0]] if found else None

    def all(self) -> tuple[Fault, ...]:
        """What was found: errors, then warnings, each in the order of finding."""
        found: list[Fault] = []
        left = dict(self._equals)
        for severity in Severity:
            for fault in self._kept[severity]:
                more = left.pop((severity, fault.text, fault.cure), 0)
                found.append(msgspec.structs.replace(fault, more=more) if more else fault)
            if beyond := self._beyond[severity]:
                text = f"{beyond} more {severity}s like these are not shown"
                found.append(Fault(text, "mend the first ones and check again", (), severity))
        return tuple(found)


def errors_of(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Those that refuse the plan."""
    return tuple(fault for fault in faults if fault.severity is Severity.ERROR)


def dotted(path: Path) -> str:
    """The path as TOML spells it: `workstreams.build.tasks."a b".command[2]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else quoted(part))
    return text


def quoted(text: str, limit: int = 64) -> str:
    """The text in quotes, on one line, harmless to a terminal, and cut at `limit` characters."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    shown = "".join(c if c.isprintable() and c not in '"\\' else _escape(c) for c in cut)
    return f'"{shown}"'


def _escape(char: str) -> str:
    return f"\\{char}" if char in '"\\' else char.encode("unicode_escape", "replace").decode()


def meant(found: str | None, otherwise: str) -> str:
    """The cure for an unknown name: what was probably meant, else `otherwise`."""
    return otherwise if found is None else f"did you mean `{found}`?"
