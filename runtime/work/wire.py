"""The talk with a worker child: orders to it, replies from it, one JSON value a line."""

from __future__ import annotations

import os

import msgspec


class _Line(msgspec.Struct, frozen=True, tag_field="t"):
    """The common root: the key `t` tells which."""


class OfferOrder(_Line, frozen=True, tag="offer", kw_only=True):
    """Fork a launcher for this and say `launched`. Text that is bytes to the system is `packed`."""

    lease: str
    argv: list[str]
    cwd: str
    env: dict[str, str]
    output: str
    head: int
    tail: int
    settle_s: float
    grace_s: float
    kill_timeout_s: float
    payload: str | None
    stdin: str | None
    rate_limit: str | None
    fence: list[str]
    files_max: int


class ReleaseOrder(_Line, frozen=True, tag="release"):
    lease: str


class WithdrawOrder(_Line, frozen=True, tag="withdraw"):
    lease: str
    reason: str
    grace_s: float
    kill_timeout_s: float


class StopOrder(_Line, frozen=True, tag="stop"):
    """Exit once nothing runs."""


Order = OfferOrder | ReleaseOrder | WithdrawOrder | StopOrder


class Hello(_Line, frozen=True, tag="hello"):
    """The child is up. `pid` is the worker's own, below its keeper, which is what was started."""

    pid: int
    ticks: int


class Beat(_Line, frozen=True, tag="beat"):
    lease: str | None
    details: str | None = None  # the last line of its output so far


class LaunchedReply(_Line, frozen=True, tag="launched"):
    """The launcher stands in a session of its own, so that pid, pgid and session are one number."""

    lease: str
    pid: int
    ticks: int


class EndedReply(_Line, frozen=True, tag="ended"):
    """As `messages.Outcome`; `result` is what a callable left, itself JSON."""

    lease: str
    reason: str | None
    error: str | None
    exit_code: int | None = None
    signal: int | None = None
    infrastructure: bool = False
    alive: bool = False
    duration_s: float = 0.0
    output_bytes: int = 0
    output_digest: str | None = None
    truncated: bool = False
    result: str | None = None
    signature: str | None = None
    retry_after_s: float | None = None
    confinement: str = "none"


Reply = Hello | Beat | LaunchedReply | EndedReply

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Reply).decode


def packed(text: str) -> str:
    """`text` as the system's bytes, one character a byte (see `child.order`)."""
    return os.fsencode(text).decode("latin-1")
