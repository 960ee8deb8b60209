"""What the command's exit code means, and the one exception that ends a command with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """The codes that scripts may rely on."""

    OK = 0
    FAILED = 1  # the run failed
    USAGE = 2  # a wrong argument, an unknown id, a plan with faults
    CANCELLED = 3
    UNUSABLE = 4  # the state directory is held by somebody else, or cannot be used
    REFUSED = 5
    UNSOUND = 6  # the record does not prove itself
    WAITS = 7  # only a person can move the run
    INTERNAL = 70  # a bug of ours (EX_SOFTWARE)
    OUTPUT = 74  # what was asked for could not be written (EX_IOERR)
    INTERRUPTED = 130
    PIPE = 141  # the reader went away, as for any program that SIGPIPE ends


# What a command that carries a run exits with, by the run's end.
ENDS = {"completed": Exit.OK, "failed": Exit.FAILED, "cancelled": Exit.CANCELLED}


class Stop(Exception):
    """Ends the command: one line on stderr, `text` naming the place and `cure` the way out.

    `lines` come before it, one each; `facts` stand beside it in the error's JSON.
    """

    def __init__(
        self,
        exit_code: Exit,
        text: str,
        cure: str = "",
        code: str | None = None,
        *,
        lines: Sequence[str] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.text = text
        self.cure = cure
        self.code = code or exit_code.name.lower()
        self.lines = tuple(lines)
        self.facts = dict(facts or {})
