"""Reads a plan from a TOML file: the whole of it, or every fault of it at once."""

from __future__ import annotations

import difflib
import gc
import hashlib
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import msgspec

from actors.spec import Plan, Pool
from runtime.limits import KEY_PARTS_MAX, PLAN_BYTES_MAX
from runtime.plan.absent import absent
from runtime.plan.fault import Fault, Faults, Path, PlanError, dotted, errors_of, quoted
from runtime.plan.later import BUNDLE
from runtime.plan.locate import TooDeep, find_lines, line_of
from runtime.plan.read import read
from runtime.plan.rules import DEFAULT_POOLS, apply_rules

_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_MANY_DOTS = re.compile(rf"^(?:[^.\n]*\.){{{KEY_PARTS_MAX}}}", re.MULTILINE)
_JSON = re.compile(r"\s*(?:\{|\[\s*\{)")


class Loaded(NamedTuple):
    """A plan that keeps every rule. `base_dir` is the absolute folder of its file, `text_digest`
    the SHA-256 of the file's bytes in hex; `text` is kept to find the lines of later faults."""

    plan: Plan
    warnings: tuple[Fault, ...]
    base_dir: FilePath
    text_digest: str
    file: str
    text: str

    def placed(self, faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
        """The same faults with this plan's file and their lines: errors first, each by line."""
        return _placed(faults, self.file, self.text)


def load(path: FilePath | str, owner_pools: Mapping[str, Pool] = DEFAULT_POOLS) -> Loaded:
    """The plan in the file. Raises PlanError with every fault, the warnings among them.

    `owner_pools` are what a plan without [workers] runs on. What this machine lacks is not looked
    for: that is `load_to_run`.
    """
    content = _content(path)
    file = str(path)
    text = _text(content, file)
    faults = Faults()
    with _collector_paused():
        plan = read(_tables(text, file), faults)
        apply_rules(plan, faults, frozenset(), owner_pools)
    found = _placed(faults.all(), file, text)
    _raise_errors(found)
    base_dir = FilePath(os.path.abspath(path)).parent
    plan = msgspec.structs.replace(
        plan, run=msgspec.structs.replace(plan.run, base_dir=str(base_dir))
    )
    digest = hashlib.sha256(content).hexdigest()
    return Loaded(plan, found, base_dir, digest, file, text)


def load_to_run(path: FilePath | str) -> Loaded:
    """As `load`, and refuses too what this machine lacks: for a submission."""
    loaded = load(path)
    lacking = loaded.placed(absent(loaded.plan, loaded.base_dir))
    _raise_errors(lacking)
    return loaded._replace(warnings=(*loaded.warnings, *lacking))


def validate(
    plan: Plan,
    calls: Set[str] = frozenset(),
    owner_pools: Mapping[str, Pool] | None = None,
) -> tuple[Fault, ...]:
    """Why a plan that a program built is refused, by the rules that hold for a file; empty: it is
    not.

    `calls` are the names of callables of this program that tasks may `call`. `owner_pools` are what
    a plan without [workers] runs on; None: not known, so that its capabilities are not checked.
    """
    faults = Faults()
    with _collector_paused():
        apply_rules(read(plan, faults), faults, calls, owner_pools)
    return errors_of(faults.all())


def _raise_errors(faults: tuple[Fault, ...]) -> None:
    if errors_of(faults):
        raise PlanError(faults)


def _placed(faults: tuple[Fault, ...], file: str, text: str) -> tuple[Fault, ...]:
    if not faults:
        return ()
    lines = find_lines(text)
    placed = [
        msgspec.structs.replace(fault, file=file, line=line_of(lines, fault.path))
        for fault in faults
    ]
    return tuple(sorted(placed, key=lambda fault: (fault.severity, fault.line or 0)))


def _refuse(file: str, text: str, cure: str, line: int | None = None, path: Path = ()) -> PlanError:
    return PlanError([Fault(text, cure, path, file=file, line=line)])


def _content(path: FilePath | str) -> bytes:
    """The bytes of a regular file within the bound. Never waits, as the open of a pipe would."""
    file = str(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _refuse(file, "there is no such file", _file_meant(FilePath(path))) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise _refuse(file, f"cannot be read: {why}", "name a plan that you may read") from None
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise _refuse(file, "is a folder, not a plan", "name a plan in it")
        if not stat.S_ISREG(found.st_mode):
            raise _refuse(file, "is not a regular file", "put the plan into a file")
        with open(descriptor, "rb", closefd=False) as stream:
            content = stream.read(PLAN_BYTES_MAX + 1)
    except OSError as error:
        cure = "check the disk, or copy the plan elsewhere"
        raise _refuse(file, f"cannot be read: {error.strerror}", cure) from None
    finally:
        os.close(descriptor)
    if len(content) > PLAN_BYTES_MAX:
        size = max(found.st_size, len(content))
        text = f"{size} bytes, more than the {PLAN_BYTES_MAX} of a plan"
        raise _refuse(file, text, "split the plan, or build it in Python")
    return content


def _file_meant(path: FilePath) -> str:
    try:
        names = [entry.name for entry in os.scandir(path.parent) if entry.name.endswith(".toml")]
    except (OSError, ValueError):
        return "name a file that is there; `banksman init` writes a first plan"
    found = difflib.get_close_matches(path.name, names[:1_000], n=1)
    if found:
        return f"did you mean {path.parent / found[0]}?"
    return "`banksman init` writes a first plan"


def _text(content: bytes, file: str) -> str:
    if file.endswith(".json"):
        raise _bundle(file)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        text = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise _refuse(file, text, "save the file as UTF-8", line) from None
    if _JSON.match(text):
        raise _bundle(file)
    return text


def _bundle(file: str) -> PlanError:
    text = f"bundles in JSON come with {BUNDLE.comes_with}; this version does not run them"
    return _refuse(file, text, BUNDLE.cure)


def _tables(text: str, file: str) -> dict[str, Any]:
    """What tomllib reads, with what it may raise told as a fault."""
    try:
        if _MANY_DOTS.search(text) is not None:
            find_lines(text)  # tomllib would take quadratic time over a key of so many parts
        return tomllib.loads(text)
    except (TooDeep, RecursionError) as error:
        told = f"keys or values nested deeper than {KEY_PARTS_MAX} levels"
        raise _refuse(file, told, "write it flatter", getattr(error, "line", None)) from None
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(str(error), text, file) from None
    except ValueError as error:
        # A whole number of more digits than Python converts; tomllib lets that error through.
        raise _refuse(file, f"not TOML: {error}", "write a shorter number") from None


@contextmanager
def _collector_paused() -> Iterator[None]:
    """A large plan makes only objects that stay: walking them over and over takes half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _not_toml(message: str, text: str, file: str) -> PlanError:
    at = _AT.search(message)
    what = _AT.sub("", message)
    if "twice" in what or "overwrite" in what or "immutable" in what:
        try:
            again = find_lines(text).again
        except TooDeep:
            again = []
        if again:
            path, first, line = again[0]
            cure = "rename or remove one of them"
            told = f"`{dotted(path)}` is written twice, first in line {first}"
            return _refuse(file, told, cure, line, path)
    lines = text.split("\n")
    line = int(at[1]) if at and at[1] else len(lines)
    place = f"column {at[2]}" if at and at[2] else "the end of the file"
    written = lines[line - 1].strip()
    near = f", at {quoted(written)}" if written else ""
    return _refuse(file, f"not TOML: {what} ({place}){near}", _toml_cure(what), line)


def _toml_cure(what: str) -> str:
    if what.startswith("Invalid value"):
        return 'strings need quotes: name = "nightly"'
    if what.startswith("Expected '='"):
        return "write key = value, and quote a key with blanks in it"
    return "docs/plans.md shows the format"
