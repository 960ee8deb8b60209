"""The bounds of real work, in one place, each with its reason."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds and bytes. The defaults suit a machine that a person works on."""

    # Whole logs of nearly every build; a flood costs 24 MiB of disk, never memory.
    output_head: int = 16 << 20
    output_tail: int = 4 << 20
    # A result goes into a row of the store and from there into every status that shows it.
    result_max: int = 64 << 10
    # A prompt with the files it speaks of; kept in memory while the command runs.
    stdin_max: int = 1 << 20
    # Open files of a command: what servers and builds need. Under the millions that a container may
    # allow, programs that close every descriptor at their start take minutes for it. Core dumps are
    # off, for they are as large as memory and hold secrets. No bound on processes (it counts all of
    # a user's), on address space (JavaScript and Java reserve far more than they use), on the size
    # of files or on processor time (both are a plan's business).
    files_max: int = 65_536
    # What a worker says of its progress: one line of a list.
    details_max: int = 200
    # One line for a person: longer ones hide the next.
    error_max: int = 500
    # What a command left behind may end by itself (`tee` in a pipe) before it is told to.
    settle_s: float = 0.2
    # Time to save and clean up after TERM; a third of the kill timeout where that is shorter.
    grace_s_max: float = 5.0
    # For ends that nobody set a timeout for: leftovers of a command, a gate past its time, a close.
    kill_timeout_s: float = 30.0
    # An interpreter starts in 25 ms; a machine that swaps may need a thousand times that.
    start_timeout_s: float = 30.0
    # An idle child that was told to stop, or one whose kill timeout has passed, answers in
    # milliseconds; one that does not is hung.
    answer_timeout_s: float = 5.0
    # A reply is a result and an error at most; a longer line is no reply.
    reply_max: int = 1 << 20
    # 50,000 files take well under a second; past this, most gates are done before the look is.
    look_timeout_s: float = 10.0
    # Sync callables of inline workers at once; abandoned ones do not count.
    threads_max: int = 64

    def grace_s(self, kill_timeout_s: float) -> float:
        """How long TERM may take before KILL."""
        return min(self.grace_s_max, kill_timeout_s / 3)
