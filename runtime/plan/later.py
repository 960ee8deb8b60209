"""Keys of the plan format that this version knows and refuses, each with what brings it.

They are refused and not ignored: a plan that asks for a patch and runs without it would do
other than it says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Later(NamedTuple):
    """What a key comes with, and what to do until then."""

    comes_with: str
    cure: str


_LEDGER = "the patch ledger"

PLAN_LATER: Final[Mapping[str, Later]] = {
    "schedule": Later("the daemon", "remove it and start the run from cron or a systemd timer"),
    "notify": Later("the daemon", "remove it and act on the exit code of `banksman run`"),
}
RUN_LATER: Final[Mapping[str, Later]] = {
    "prepare": Later(_LEDGER, "remove it and make it the first task"),
    "prepare_keys": Later(_LEDGER, "remove it"),
}
TASK_LATER: Final[Mapping[str, Later]] = {
    "patch": Later(_LEDGER, "remove it: the task then works in `cwd` itself"),
}
LOOP_LATER: Final[Mapping[str, Later]] = {
    # It compares the trees that a tool leaves behind, and only the ledger takes them.
    "oscillation_threshold": Later(_LEDGER, "remove it; `max_error_repeats` sees most loops"),
}
BUNDLE: Final = Later(_LEDGER, "write the plan as TOML; docs/plans.md shows the format")

# Without patches these two say nothing about a run, so that a plan written for later may hold them.
IDLE_RUN_KEYS: Final = ("repository", "target")
IDLE_RUN_TEXT: Final = f"has no effect without patches, which come with {_LEDGER}"
