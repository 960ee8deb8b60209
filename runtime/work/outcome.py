"""What a child says of an end, as the outcome that the machines judge."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from actors.messages import Outcome
from runtime.work.limits import Limits
from runtime.work.wire import EndedReply


class _Left(msgspec.Struct, frozen=True):
    """What a callable's process says of it, and nothing else that somebody may write there."""

    result: Any = None
    reason: Literal["not_started", "error"] | None = None
    error: str | None = None


_NOTHING = _Left()
_decode = msgspec.json.Decoder(_Left).decode


def outcome_of(reply: EndedReply, limits: Limits) -> Outcome:
    """The outcome of a command, or of a callable, which left word of itself in `result`."""
    left = _left(reply.result)
    return Outcome(
        exit_code=reply.exit_code,
        signal=reply.signal,
        reason=reply.reason or left.reason,
        error=one_line(reply.error or left.error, limits),
        infrastructure=reply.infrastructure,
        alive=reply.alive,
        duration_s=reply.duration_s,
        output_bytes=reply.output_bytes,
        output_digest=reply.output_digest,
        truncated=reply.truncated,
        result=left.result,
        signature=reply.signature,
        retry_after_s=reply.retry_after_s,
        confinement=reply.confinement,
    )


def _left(text: str | None) -> _Left:
    try:
        return _decode(text) if text else _NOTHING
    except (msgspec.DecodeError, RecursionError):
        return _NOTHING  # the callable's own program can write there: how it exited stands


def one_line(text: str | None, limits: Limits) -> str | None:
    """`text` as a person can read it in a list."""
    return None if text is None else " ".join(text.split())[: limits.error_max]
