"""How many tests a gate's command executed, as the closing lines of its test runner say.

Understood: pytest, unittest, go test, cargo test and node's runner. What none of them wrote is
judged by its exit code alone. Skipped tests were not executed; errors and expected failures were.

The text is whatever the command wrote: only its end is looked at, each line once, and a line that
is longer than any closing line is passed over, so that no output costs more than its length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath

import msgspec

# The closing lines of a large run, and the list of its failures before them.
TAIL_BYTES = 64 << 10
# A closing line is as wide as a terminal at most; a runner's own never needs more.
LINE_CHARS_MAX = 500
# What pytest exits with when it has collected nothing.
PYTEST_NONE = 5


class Told(msgspec.Struct, frozen=True):
    """What a runner said. `tests` None: it executed some, and does not say how many."""

    runner: str
    tests: int | None


def told(tail: bytes, *, cut: bool) -> Told | None:
    """What the runners in the end of an output said, all together; None where none is known.

    `cut`: there is more output before `tail`.
    """
    lines = list(_lines(tail))
    found = []
    for name, look in _RUNNERS.items():
        tests = look(lines)
        # These write a line for each package, most of them about none: what was cut may have some.
        if tests == 0 and cut and name in {"go test", "cargo test"}:
            tests = _SOME
        if tests is not None:
            found.append((name, tests))
    if not found:
        return None
    counts = [tests for _, tests in found if tests != _SOME]
    counted = None if len(counts) < len(found) else sum(counts)
    return Told(" + ".join(name for name, _ in found), counted)


def says_none(command: Iterable[str], exit_code: int | None) -> bool:
    """Whether a pytest that wrote no closing line (`-qq`) says by its exit code that it found no
    test."""
    return exit_code == PYTEST_NONE and any(
        PurePath(word).name in {"pytest", "py.test"} for word in command
    )


# --- lines ----------------------------------------------------------------------------------------

_COLOURS = re.compile(r"\x1b\[[0-?]{0,40}[ -/]{0,4}[@-~]")


def _lines(tail: bytes) -> Iterator[str]:
    for raw in tail.split(b"\n"):
        # What a progress bar wrote before its last return was overwritten on the screen, too.
        shown = raw.rstrip(b"\r").rpartition(b"\r")[2]
        if 0 < len(shown) <= 4 * LINE_CHARS_MAX:
            line = _COLOURS.sub("", shown.decode(errors="replace"))
            if len(line) <= LINE_CHARS_MAX:
                yield line.rstrip()


# --- the runners: None where it did not run, else how many tests it executed ----------------------

_SOME = -1  # more than none, but nobody says how many

_PYTEST = re.compile(
    r"(?P<said>no tests ran|\d+(?:/\d+)? tests? collected.{0,40}|\d+ [a-z]+(?: [a-z]+)?"
    r"(?:, \d+ [a-z]+(?: [a-z]+)?){0,15}) in \d+\.\d+s(?: \([\w,: ]{1,40}\))?"
)
_PYTEST_EXECUTED = re.compile(r"(\d+) (?:passed|failed|errors?|xfailed|xpassed)\b")


def _pytest(lines: list[str]) -> int | None:
    total = None
    for line in lines:
        if line.endswith(("s", "=", ")")) and " in " in line:
            closing = _PYTEST.fullmatch(line.strip("= "))
            if closing is not None:
                executed = _PYTEST_EXECUTED.findall(closing["said"])
                total = (total or 0) + sum(map(_number, executed))
    return total


_UNITTEST = re.compile(r"Ran (\d+) tests? in \d+\.\d+s")
_UNITTEST_END = re.compile(r"(?:OK|FAILED|NO TESTS RAN)(?: \((?P<said>.*)\))?")
_UNITTEST_SKIPPED = re.compile(r"\bskipped=(\d+)")


def _unittest(lines: list[str]) -> int | None:
    total = ran = None
    for line in lines:
        if line.startswith("Ran "):
            closing = _UNITTEST.fullmatch(line)
            ran = None if closing is None else _number(closing[1])
        elif ran is not None and line:
            ended = _UNITTEST_END.fullmatch(line)
            if ended is not None:
                skipped = _UNITTEST_SKIPPED.search(ended["said"] or "")
                executed = ran - (0 if skipped is None else _number(skipped[1]))
                total = (total or 0) + max(0, executed)
            ran = None
    return total


_GO_PACKAGE = re.compile(r"(ok  |FAIL|\?   )\t\S+(?:\t| )(\[no test files\]|.*)")


def _go(lines: list[str]) -> int | None:
    packages = with_tests = failed = executed = skipped = 0
    verbose = False
    for line in lines:
        if line.startswith("=== RUN "):
            verbose = True
        elif line.startswith(("--- PASS: ", "--- FAIL: ")):
            executed += 1
        elif line.startswith("--- SKIP: "):
            skipped += 1
        elif line.startswith(("ok  \t", "FAIL\t", "?   \t")):
            package = _GO_PACKAGE.fullmatch(line)
            packages += package is not None
            # One that does not build counts: it is the work's fault, not a gate without tests.
            with_tests += package is not None and "[no test" not in package[2]
            failed += package is not None and package[1] == "FAIL"
    if not packages:
        return None
    if verbose and (executed or (skipped and not failed)):
        return executed
    return _SOME if with_tests else 0


_CARGO = re.compile(
    r"test result: (?:ok|FAILED)\. (\d+) passed; (\d+) failed; \d+ ignored; (\d+) measured; .{1,60}"
)


def _cargo(lines: list[str]) -> int | None:
    total = None
    for line in lines:
        if line.startswith("test result: "):
            closing = _CARGO.fullmatch(line)
            if closing is not None:
                total = (total or 0) + sum(map(_number, closing.groups()))
    return total


_NODE = re.compile(r"[#\u2139] (tests|pass|fail|cancelled|skipped|todo|duration_ms) ([\d.]{1,20})")


def _node(lines: list[str]) -> int | None:
    total = None
    block: dict[str, str] = {}
    for line in lines:
        count = _NODE.fullmatch(line) if line.startswith(("#", "\u2139")) else None
        if count is None:
            continue
        name, number = count.groups()
        if name == "tests":
            block = {}
        block[name] = number
        if name == "duration_ms" and block.keys() >= {"tests", "pass", "fail"}:
            executed = ("pass", "fail", "cancelled", "todo")
            total = (total or 0) + sum(_number(block.get(each, "0")) for each in executed)
            block = {}
    return total


_RUNNERS: dict[str, Callable[[list[str]], int | None]] = {
    "pytest": _pytest,
    "unittest": _unittest,
    "go test": _go,
    "cargo test": _cargo,
    "node --test": _node,
}


def _number(digits: str) -> int:
    """Bounded: nobody executes more tests, and Python refuses to read thousands of digits."""
    whole = digits.partition(".")[0]
    return min(int(whole[:18] or "0"), 10**12)
