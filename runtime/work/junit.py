"""The JUnit XML report that a gate's command was told to write: how many tests it executed.

The report is the command's own, so it is read as anybody's: a plain file, written after the command
began, of bounded size, without a document type (and so without entities), and never as a tree.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from xml.parsers import expat

# A test case with its output is seldom above a kilobyte; past this the closing lines have to do.
REPORT_BYTES_MAX = 16 << 20
_OPTIONS = ("--junitxml", "--junit-xml", "--junitfile", "--junit")


def report_path(command: Sequence[str], cwd: str) -> str | None:
    """The file that the command names for a report; None where it names none."""
    for word, following in zip(command, (*command[1:], ""), strict=True):
        option, equals, value = word.partition("=")
        if option in _OPTIONS:
            path = value if equals else following
            return os.path.join(cwd, path) if path and not path.startswith("-") else None
    return None


def executed_in(path: str, since_ns: int) -> int | None:
    """The tests that the report says were executed, skipped ones not counted.

    None where it is no report that can be believed: not there, not a plain file, older than
    `since_ns`, too large, or no well-formed XML of plain elements.
    """
    content = _content(path, since_ns)
    if content is None:
        return None
    counted = _Cases()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = counted.opened
    parser.EndElementHandler = counted.closed
    try:
        parser.Parse(content, True)
    # An encoding that expat leaves to Python may be none, or one that takes several bytes.
    except (expat.ExpatError, _Refused, LookupError, ValueError):
        return None
    return counted.executed if counted.is_report else None


def _content(path: str, since_ns: int) -> bytes | None:
    try:
        # Neither a pipe that nobody writes to nor a terminal may keep us waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        found = os.fstat(descriptor)
        sound = stat.S_ISREG(found.st_mode) and found.st_size <= REPORT_BYTES_MAX
        if not sound or found.st_mtime_ns < since_ns:
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(REPORT_BYTES_MAX)
    finally:
        os.close(descriptor)


class _Refused(Exception):
    """A document type: only there for entities, which no report needs."""


def _refuse_doctype(*_: object) -> None:
    raise _Refused


class _Cases:
    """Counts `testcase` elements as they pass."""

    def __init__(self) -> None:
        self.executed = 0
        self.is_report = False
        self._depth = 0
        self._skipped = False

    def opened(self, name: str, _attributes: object) -> None:
        self._depth += 1
        if self._depth == 1:
            self.is_report = name in {"testsuites", "testsuite"}
        elif name == "testcase":
            self._skipped = False
        elif name == "skipped":
            self._skipped = True

    def closed(self, name: str) -> None:
        self._depth -= 1
        if name == "testcase" and not self._skipped:
            self.executed += 1
