"""What the supervisor orders: one lease of work, as it comes off the wire.

Paths, words and values are bytes to the system. They travel in JSON as latin-1 text, one character
a byte, so that a folder or a value that is no UTF-8 arrives as it left.
"""

from __future__ import annotations


class Order:
    """`payload` not None: descriptor 3 of the command holds it, and 4 takes its result. `stdin` is
    what it reads; None: nothing. `rate_limit`: a pattern with a group `seconds`. `fence`: the words
    before the command that confine it, none: it is not confined."""

    def __init__(
        self,
        *,
        lease: str,
        argv: list[str],
        cwd: str,
        env: dict[str, str],
        output: str,
        head: int,
        tail: int,
        settle_s: float,
        grace_s: float,
        kill_timeout_s: float,
        payload: str | None,
        stdin: str | None,
        rate_limit: str | None,
        fence: list[str],
        files_max: int,
    ) -> None:
        self.lease = lease
        self.argv = [_bytes(word) for word in argv]
        self.cwd = _bytes(cwd)
        self.env = {_bytes(name): _bytes(value) for name, value in env.items()}
        self.output = _bytes(output)
        self.head = head
        self.tail = tail
        self.settle_s = settle_s
        self.grace_s = grace_s
        self.kill_timeout_s = kill_timeout_s
        self.payload = payload
        self.stdin = stdin
        self.rate_limit = rate_limit
        self.fence = [_bytes(word) for word in fence]
        self.files_max = files_max


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")
