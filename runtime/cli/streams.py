"""The three standard streams, whatever state the caller left them in."""

from __future__ import annotations

import os
import sys


def make_standard_streams() -> None:
    """Fills in those that the caller closed, and makes the others take any character.

    With a hole at 1 or 2 the next file that is opened, the database say, would be printed into.
    """
    for wanted in range(3):
        try:
            os.fstat(wanted)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: the one that is wanted
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # Under an ASCII locale a character that cannot be shown must not end the command.
            stream.reconfigure(errors="backslashreplace")


def abandon_stdout() -> None:
    """Nobody reads it any more. Python flushes it once more at its exit, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
