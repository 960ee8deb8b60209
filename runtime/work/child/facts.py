"""What the last lines of a command's output say: which error it was, and how long to leave a tool
alone.

Output is hostile: every look at it is bounded. A user's pattern runs in a fork that is killed when
it takes too long, for no care on our side keeps `(a+)+b` from taking for ever.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import select
import signal

TAIL_MAX = 16 << 10  # bytes of output that are looked at: what an error leaves on two screens
_LINES_MAX = 20
_LINE_MAX = 400
_PATTERN_LINES_MAX = 50
_PATTERN_LINE_MAX = 1000
_PATTERN_S_MAX = 0.5
_SECONDS_MAX = 86_400.0  # a tool that asks for more than a day has misspoken
_SECONDS_CHARS_MAX = 32

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[@-_])")
_TEMPORARY = re.compile(
    r"((?:/private)?(?:/tmp|/var/tmp|/dev/shm|/var/folders|/proc)/)[^\s'\":,)]+"
)
_HEX = re.compile(
    r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|0x[0-9a-fA-F]+"
    r"|\b(?=[a-fA-F]*\d)[0-9a-fA-F]{7,}\b"
)
_NAMED = re.compile(
    r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|AM|PM|UTC)\b"
)
_NUMBER = re.compile(
    r"\d+(?:[.,:]\d+)*(?:[TZ](?=[\d\s,;)\]]|$))?(?:\s?(?:ns|us|µs|ms|s|[kKMG]i?B|B)(?!\w))?"
)


def signature(how: str, tail: bytes) -> str:
    """The same for the same error: a digest of `how` it ended and of the last lines of its output
    without what differs from one time to the next: numbers, times, addresses, temporary paths."""
    lines = [_plain(line) for line in _last(tail, _LINES_MAX, _LINE_MAX)]
    text = "\n".join([how, *lines]).encode(errors="surrogatepass")
    return hashlib.sha256(text).hexdigest()[:16]


def _plain(line: str) -> str:
    line = _ESCAPES.sub("", line).rpartition("\r")[2]  # of a progress bar, what stays on the screen
    line = _TEMPORARY.sub(r"\1#", line)
    line = _NUMBER.sub("#", _NAMED.sub("#", _HEX.sub("#", line)))
    return " ".join(line.split())


def last_line(tail: bytes, chars_max: int) -> str | None:
    """The last line that says something, as a person can read it in a list."""
    lines = _last(tail[-2 * _LINE_MAX :], 1, _LINE_MAX)
    if not lines:
        return None
    line = _ESCAPES.sub("", lines[0]).rpartition("\r")[2]
    return "".join(c if c.isprintable() else " " for c in line).strip()[:chars_max] or None


def _last(tail: bytes, lines_max: int, line_max: int) -> list[str]:
    """The last lines that hold anything, each with its last characters only."""
    lines = tail[-TAIL_MAX:].decode(errors="replace").replace("\r\n", "\n").split("\n")
    kept = [line.rstrip()[-line_max:] for line in lines if line.strip()]
    return kept[-lines_max:]


def retry_after(pattern: str, tail: bytes) -> float | None:
    """The group `seconds` of the newest line that matches, from 0 to a day; None where none does,
    where it is no number, or where the pattern takes too long."""
    lines = _last(tail, _PATTERN_LINES_MAX, _PATTERN_LINE_MAX)
    said = _bounded(pattern, lines[::-1])
    try:
        seconds = float(said or "")
    except ValueError:
        return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _SECONDS_MAX)


def _bounded(pattern: str, lines: list[str]) -> str | None:
    """What `_searched` finds, in a fork that lives for `_PATTERN_S_MAX` at most."""
    answer, its_answer = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = 0
    try:
        pid = os.fork()
        if pid == 0:
            try:
                os.write(its_answer, (_searched(pattern, lines) or "").encode())
            finally:
                os._exit(0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(its_answer)
    ready, _, _ = select.select([answer], [], [], _PATTERN_S_MAX)
    said = os.read(answer, 4 * _SECONDS_CHARS_MAX).decode() if ready else ""
    os.close(answer)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return said


def _searched(pattern: str, lines: list[str]) -> str | None:
    try:
        compiled = re.compile(pattern)
        for line in lines:
            found = compiled.search(line)
            if found is not None:
                return str(found["seconds"])[:_SECONDS_CHARS_MAX]
    except (re.error, IndexError, RecursionError, OverflowError, MemoryError):
        pass  # Checked with the plan; whatever slips through says nothing.
    return None
