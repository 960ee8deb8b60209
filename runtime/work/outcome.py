"""What a child says of an end, as the outcome that the machines judge."""

from __future__ import annotations

import msgspec

from actors.messages import Outcome
from runtime.work.limits import Limits
from runtime.work.wire import EndedReply


def outcome_of(reply: EndedReply, limits: Limits) -> Outcome:
    """The outcome of a command, or of a callable, which left word of itself in `result`."""
    left = msgspec.json.decode(reply.result, type=dict) if reply.result else {}
    return Outcome(
        exit_code=reply.exit_code,
        signal=reply.signal,
        reason=reply.reason or left.get("reason"),
        error=one_line(reply.error or left.get("error"), limits),
        infrastructure=reply.infrastructure,
        alive=reply.alive,
        duration_s=reply.duration_s,
        output_bytes=reply.output_bytes,
        output_digest=reply.output_digest,
        truncated=reply.truncated,
        result=left.get("result"),
        signature=reply.signature,
        retry_after_s=reply.retry_after_s,
        confinement=reply.confinement,
    )


def one_line(text: str | None, limits: Limits) -> str | None:
    """`text` as a person can read it in a list."""
    return None if text is None else " ".join(text.split())[: limits.error_max]
