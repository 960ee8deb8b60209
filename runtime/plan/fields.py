"""Reads one value of a plan: a checker for every kind of field, each naming what it expected.

A checker takes the value, its place and the collector of faults, and gives the value as the spec
wants it, or BAD after a fault. None of them knows any other field: the rules between fields are in
`runtime.plan.rules`.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time
from typing import Any, Final, TypeAlias

import msgspec

from runtime.limits import (
    ARGV_BYTES_MAX,
    ENV_BYTES_MAX,
    KWARGS_BYTES_MAX,
    KWARGS_DEPTH_MAX,
    LABEL_CHARS_MAX,
    LIST_ITEMS_MAX,
    NAME_CHARS_MAX,
    PATH_BYTES_MAX,
    PLAN_BYTES_MAX,
    SECONDS_MAX,
    SECONDS_MIN,
)
from runtime.plan.fault import Faults, Path, quoted

BAD: Final[Any] = object()
"""What a checker gives where nothing of the value can be used."""

Checker: TypeAlias = Callable[[Any, Path, Faults], Any]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_NAME_CURE = (
    "use letters, digits, `_`, `.` and `-`; begin with a letter or digit; no `..`;"
    f" at most {NAME_CHARS_MAX} characters"
)
_VARIABLE = re.compile(r"[^=\0]+")


def is_name(text: str) -> bool:
    """Whether `text` may be an id: `[A-Za-z0-9_.-]`, alphanumeric first, no `..`, bounded."""
    return len(text) <= NAME_CHARS_MAX and _NAME.fullmatch(text) is not None and ".." not in text


def name(value: Any, path: Path, faults: Faults) -> Any:
    """An id, as the value of a key."""
    if not isinstance(value, str):
        return _wrong(value, path, faults, "a string", 'write it in quotes: "nightly"')
    if not is_name(value):
        faults.error(path, f"{quoted(value)} cannot be a name", _NAME_CURE)
        return BAD
    return value


def key_name(key: Any, path: Path, faults: Faults) -> bool:
    """An id, as the key of a table."""
    if isinstance(key, str) and is_name(key):
        return True
    faults.error(path, f"{quoted(str(key))} cannot be a name", _NAME_CURE)
    return False


def flag(value: Any, path: Path, faults: Faults) -> Any:
    """true or false."""
    if isinstance(value, bool):
        return value
    return _wrong(value, path, faults, "true or false", "write true or false, without quotes")


def whole(low: int, high: int) -> Checker:
    """A whole number from `low` to `high`."""

    def check(value: Any, path: Path, faults: Faults) -> Any:
        if isinstance(value, bool) or not isinstance(value, int):
            return _wrong(value, path, faults, "a whole number", _unquoted(value, str(low + 1)))
        if low <= value <= high:
            return value
        faults.error(path, f"{_shown(value)} is out of range", f"use {low} to {high}")
        return BAD

    return check


def seconds(value: Any, path: Path, faults: Faults) -> Any:
    """A length of time above zero, as a float."""
    return _seconds(value, path, faults, SECONDS_MIN)


def seconds_or_none(value: Any, path: Path, faults: Faults) -> Any:
    """A length of time that may be zero: at once."""
    return _seconds(value, path, faults, 0.0)


def _seconds(value: Any, path: Path, faults: Faults, low: float) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _wrong(value, path, faults, "a number of seconds", _unquoted(value, "60"))
    if low <= value <= SECONDS_MAX:  # false for nan too
        return float(value)
    cure = f"use {low:g} to {SECONDS_MAX:.0f} seconds, or leave it out for the default"
    faults.error(path, f"{_shown(value)} is no usable number of seconds", cure)
    return BAD


def one_of(*choices: str) -> Checker:
    """One of a few words."""
    listed = " or ".join(filter(None, (", ".join(map(quoted, choices[:-1])), quoted(choices[-1]))))

    def check(value: Any, path: Path, faults: Faults) -> Any:
        if not isinstance(value, str):
            return _wrong(value, path, faults, listed, f"use {listed}")
        if value in choices:
            return value
        found = faults.nearest(value, choices)
        cure = f"did you mean {quoted(found)}?" if found else f"use {listed}"
        faults.error(path, f"{quoted(value)} is not {listed}", cure)
        return BAD

    return check


def label(value: Any, path: Path, faults: Faults) -> Any:
    """A short text on one line, for people."""
    if not isinstance(value, str):
        return _wrong(value, path, faults, "a string", "write it in quotes")
    if 0 < len(value) <= LABEL_CHARS_MAX and value.isprintable():
        return value
    cure = f"use 1 to {LABEL_CHARS_MAX} printable characters, on one line"
    faults.error(path, f"{quoted(value)} cannot be shown as a label", cure)
    return BAD


def folder(value: Any, path: Path, faults: Faults) -> Any:
    """A path, relative to the plan or absolute. Whether it exists is not looked up here."""
    if not isinstance(value, str):
        return _wrong(value, path, faults, "a string", 'write the path in quotes: "."')
    if not value:
        faults.error(path, "an empty path", 'use "." for the folder of the plan')
        return BAD
    return value if _can_be_passed(value, PATH_BYTES_MAX, path, faults) else BAD


def text(value: Any, path: Path, faults: Faults) -> Any:
    """Any string that a program may be given."""
    if not isinstance(value, str):
        return _wrong(value, path, faults, "a string", "write it in quotes")
    return value if _can_be_passed(value, ARGV_BYTES_MAX, path, faults) else BAD


def argv(value: Any, path: Path, faults: Faults) -> Any:
    """A command as a list of its words; it never meets a shell."""
    if isinstance(value, str):
        return _wrong(value, path, faults, "a list of strings (argv)", _as_argv(value))
    if not isinstance(value, list | tuple):
        cure = 'write each word apart: ["make", "all"]'
        return _wrong(value, path, faults, "a list of strings (argv)", cure)
    if not value:
        faults.error(path, "an empty command", 'name the program and its arguments: ["make"]')
        return BAD
    if not _all_texts(value, path, faults):
        return BAD
    if not value[0]:
        faults.error((*path, 0), "the program's name is empty", "name a program")
        return BAD
    if not _can_be_passed(" ".join(value), ARGV_BYTES_MAX, path, faults):
        return BAD
    return tuple(value)


def arguments(value: Any, path: Path, faults: Faults) -> Any:
    """What a task gives its tool: a list of words, perhaps none. It never meets a shell."""
    if not isinstance(value, list | tuple):
        cure = f"put it into a list: [{quoted(value)}]" if isinstance(value, str) else "write [...]"
        return _wrong(value, path, faults, "a list of strings", cure)
    if not _all_texts(value, path, faults):
        return BAD
    if not _can_be_passed(" ".join(value), ARGV_BYTES_MAX, path, faults):
        return BAD
    return tuple(value)


def prose(value: Any, path: Path, faults: Faults) -> Any:
    """Text of several lines for a tool; how long it may be depends on how the tool takes it."""
    if not isinstance(value, str):
        return _wrong(value, path, faults, "a string", "write it in quotes")
    return value if _can_be_passed(value, PLAN_BYTES_MAX, path, faults) else BAD


def labels(value: Any, path: Path, faults: Faults) -> Any:
    """A list of labels, none of them twice."""
    return _each_once(value, path, faults, label)


def references(value: Any, path: Path, faults: Faults) -> Any:
    """A list of names of other things, none of them twice; whether they exist is a rule's."""
    return _each_once(value, path, faults, _reference)


def variables(value: Any, path: Path, faults: Faults) -> Any:
    """A list of names of environment variables."""
    return _each_once(value, path, faults, _variable)


def exit_codes(low_count: int) -> Checker:
    """A list of exit codes, at least `low_count` of them."""
    code = whole(0, 255)

    def check(value: Any, path: Path, faults: Faults) -> Any:
        codes = _each_once(value, path, faults, code)
        if codes is not BAD and len(codes) < low_count:
            faults.error(path, "no exit code would count as success", "name at least one: [0]")
            return BAD
        return codes

    return check


def environment(value: Any, path: Path, faults: Faults) -> Any:
    """A table of environment variables."""
    if not isinstance(value, Mapping):
        return _wrong(value, path, faults, "a table of strings", 'write { LANG = "C" }')
    sound = {}
    for key, entry in value.items():
        at = (*path, str(key))
        if _variable(key, at, faults) is not BAD and text(entry, at, faults) is not BAD:
            sound[key] = entry
    size = sum(len(k) + len(v.encode()) + 2 for k, v in sound.items())
    if size > ENV_BYTES_MAX:
        _too_long(size, ENV_BYTES_MAX, path, faults)
        return BAD
    return value if len(sound) == len(value) else BAD


def keywords(value: Any, path: Path, faults: Faults) -> Any:
    """The keyword arguments of a call: whatever JSON can carry there and back unchanged."""
    if not isinstance(value, Mapping):
        return _wrong(value, path, faults, "a table", 'write { path = "src" }')
    before = len(faults)
    _plain_json(value, path, faults)
    if len(faults) > before:
        return BAD
    try:
        size = len(msgspec.json.encode(value))
    except (TypeError, ValueError, OverflowError, UnicodeEncodeError) as error:
        faults.error(path, f"cannot be written as JSON: {error}", "use plain values")
        return BAD
    if size > KWARGS_BYTES_MAX:
        faults.error(
            path,
            f"{size} bytes as JSON, more than the {KWARGS_BYTES_MAX} that are stored with a task",
            "put the data into a file and pass its path",
        )
        return BAD
    return value


def _plain_json(value: Any, path: Path, faults: Faults) -> None:
    """Names what JSON would lose or change. Without recursion: the depth is the plan's."""
    open_values: list[tuple[Path, Any]] = [(path, value)]
    while open_values:
        at, current = open_values.pop()
        inner: Iterable[tuple[Any, Any]] = ()
        if isinstance(current, Mapping):
            inner = current.items()
        elif isinstance(current, list | tuple):
            inner = enumerate(current)
        elif (why := _not_json(current)) is not None:
            faults.error(at, why, "use text, numbers, true, false, lists and tables")
        for key, entry in inner:
            if isinstance(current, Mapping) and not isinstance(key, str):
                faults.error(at, f"{_shown(key)} is no text", "use text for the keys of a table")
            elif len(at) - len(path) >= KWARGS_DEPTH_MAX:
                cure = "pass the path of a file instead"
                faults.error(at, f"nested deeper than {KWARGS_DEPTH_MAX} levels", cure)
                return
            else:
                open_values.append(((*at, key), entry))


def _not_json(value: Any) -> str | None:
    if value is None or isinstance(value, bool | str):
        return None
    if isinstance(value, int):
        fits = -(2**63) <= value < 2**64
        return None if fits else f"{_shown(value)} is too large a number"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value} cannot be written as JSON"
    return f"{described(value)} cannot be written as JSON"


def _reference(value: Any, path: Path, faults: Faults) -> Any:
    if isinstance(value, str) and value:
        return value
    return _wrong(value, path, faults, "a name", "write the name in quotes")


def _variable(value: Any, path: Path, faults: Faults) -> Any:
    if isinstance(value, str) and _VARIABLE.fullmatch(value):
        return value if _can_be_passed(value, LABEL_CHARS_MAX, path, faults) else BAD
    cure = 'write its name only: "LANG"'
    return _wrong(value, path, faults, "the name of an environment variable", cure)


def _each_once(value: Any, path: Path, faults: Faults, check: Checker) -> Any:
    if not isinstance(value, list | tuple):
        cure = f"put it into a list: [{quoted(value)}]" if isinstance(value, str) else "write [...]"
        return _wrong(value, path, faults, "a list", cure)
    if len(value) > LIST_ITEMS_MAX:
        faults.error(path, f"{len(value)} entries, more than {LIST_ITEMS_MAX}", "name fewer")
        return BAD
    seen: dict[Any, None] = {}
    sound = True
    for index, item in enumerate(value):
        checked = check(item, (*path, index), faults)
        if checked is BAD:
            sound = False
        elif checked in seen:
            faults.error((*path, index), f"{_shown(checked)} is named twice", "remove one of them")
            sound = False
        else:
            seen[checked] = None
    if not sound:
        return BAD
    return value if isinstance(value, tuple) else tuple(seen)


def _all_texts(value: list[Any] | tuple[Any, ...], path: Path, faults: Faults) -> bool:
    sound = True
    for index, word in enumerate(value):
        if not isinstance(word, str):
            _wrong(word, (*path, index), faults, "a string", f'write "{_shown(word)}"')
            sound = False
        elif "\0" in word:
            faults.error((*path, index), "holds a NUL character", "remove it: no program takes it")
            sound = False
    return sound


def _can_be_passed(value: str, bytes_max: int, path: Path, faults: Faults) -> bool:
    """Whether the system lets a program have this string."""
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        faults.error(path, "holds half a character (a lone surrogate)", "use valid text")
        return False
    if "\0" in value:
        faults.error(path, "holds a NUL character", "remove it: no program takes it")
        return False
    if size > bytes_max:
        _too_long(size, bytes_max, path, faults)
        return False
    return True


def _too_long(size: int, bytes_max: int, path: Path, faults: Faults) -> None:
    text_ = f"{size} bytes, more than the {bytes_max} that the system takes"
    faults.error(path, text_, "put the long part into a file")


def _wrong(value: Any, path: Path, faults: Faults, expected: str, cure: str) -> Any:
    faults.error(path, f"expected {expected}, got {described(value)}", cure)
    return BAD


def described(value: Any) -> str:
    """What a value is, in the words of TOML, with the value itself where it is short."""
    if isinstance(value, bool | int | float | str):
        kinds = {bool: "", int: "the number ", float: "the number ", str: "the string "}
        kind = next(word for type_, word in kinds.items() if isinstance(value, type_))
        return kind + _shown(value)
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, datetime | date | time):
        return "a date or time"
    return "nothing" if value is None else f"a Python {type(value).__name__}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        # Python refuses to print a number of more than 4,300 digits.
        return str(value) if value.bit_length() < 200 else f"one of {value.bit_length()} bits"
    if isinstance(value, float):
        return repr(value)
    return quoted(value) if isinstance(value, str) else described(value)


def _unquoted(value: Any, example: str) -> str:
    if isinstance(value, str):
        bare = value.strip()
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", bare):
            return f"write {bare}, without quotes"
    return f"write a number, like {example}"


def _as_argv(command: str) -> str:
    """The list that the author of a command line probably wanted."""
    try:
        words = shlex.split(command[:200]) or ["make"]
    except ValueError:
        words = ["make", "all"]
    return "write each word apart: [" + ", ".join(quoted(word) for word in words[:8]) + "]"
