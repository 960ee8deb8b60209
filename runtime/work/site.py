"""Where work is done, and within which bounds: what every kind of executor here needs to know."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from actors.effects import Offer, RunGate
from runtime.work.environment import environment
from runtime.work.fence import WRITE_FENCE, fence, tmp_dir
from runtime.work.limits import Limits
from runtime.work.wire import OfferOrder, packed


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A state directory, its folder for output, the bounds, the interpreter for children."""

    state_dir: Path
    output_dir: Path
    limits: Limits = Limits()
    python: str = sys.executable

    def marks(self, **more: str) -> dict[str, str]:
        """What everything that runs here carries in its environment, so that it is found again."""
        return {"BANKSMAN_STATE": str(self.state_dir), **more}

    def order(
        self,
        effect: Offer | RunGate,
        lease: str,
        entity_id: str,
        argv: list[str],
        marks: Mapping[str, str],
        payload: str | None = None,
        sandbox: str = "none",
    ) -> OfferOrder:
        """What a worker child is told of an effect's command. Raises ValueError where that is
        more than it takes."""
        limits = self.limits
        offered = effect if isinstance(effect, Offer) else None
        stdin = offered.stdin if offered is not None else None
        if stdin is not None and len(stdin) > limits.stdin_max:
            raise ValueError(f"stdin is longer than {limits.stdin_max} characters; use a file")
        base_dir = os.path.abspath(effect.base_dir)
        cwd = os.path.join(base_dir, effect.cwd)
        env = environment(os.environ, effect.env_pass, effect.env, marks)
        words: list[str] = []
        if sandbox == WRITE_FENCE:
            words = fence(self.state_dir, _writable(base_dir, cwd))
            env["TMPDIR"] = str(tmp_dir(self.state_dir))
        output = output_path(self.output_dir, entity_id, effect.attempt)
        return OfferOrder(
            lease=lease,
            argv=[packed(word) for word in argv],
            cwd=packed(cwd),
            env={packed(name): packed(value) for name, value in env.items()},
            output=packed(str(output)),
            head=limits.output_head,
            tail=limits.output_tail,
            settle_s=limits.settle_s,
            grace_s=limits.grace_s(limits.kill_timeout_s),
            kill_timeout_s=limits.kill_timeout_s,
            payload=payload,
            stdin=stdin,
            rate_limit=offered.rate_limit if offered is not None else None,
            fence=[packed(word) for word in words],
            files_max=limits.files_max,
        )


def _writable(base_dir: str, cwd: str) -> list[str]:
    """The folders that the plan names. What lies within its own can be written there already, and
    by now be a link that a command behind the fence has made to anywhere."""
    named = os.path.normpath(cwd)
    inside = os.path.commonpath((named, os.path.normpath(base_dir))) == os.path.normpath(base_dir)
    return [base_dir] if inside else [base_dir, cwd]


def output_path(output_dir: Path, entity_id: str, attempt: int) -> Path:
    """The file with the output of one attempt of a task or gate: stdout and stderr as they came,
    while they come.

    It may get shorter while it is followed: once a flood has passed the bounds, its middle is cut
    out again and again. A follower then goes on from the end.
    """
    return output_dir / f"{entity_id.replace('/', '__')}.{attempt}.log"
