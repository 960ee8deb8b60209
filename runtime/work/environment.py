"""What a command finds in its environment: little, so that a run does not depend on a shell's day.

From the supervisor's own environment only the names in `PASSED` and those that begin with `LC_`;
then what the plan names in `env_pass` (values are read when the work is offered, and stored
nowhere); then the plan's `env`; then our own marks:

BANKSMAN_STATE     the state directory; by it a later owner finds what this one left
BANKSMAN_UET       the worker process that runs the task (its slot before the `@`)
BANKSMAN_LEASE     the lease: unique for ever, so evidence that carries it says which attempt it was
BANKSMAN_TASK_ID, BANKSMAN_ATTEMPT
BANKSMAN_RETRY_REASON  why the attempt before this one failed, where there was one
BANKSMAN_GATE      instead of UET, LEASE and TASK_ID, for a gate's command
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

PASSED = frozenset(
    {
        "HOME",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "PATH",
        "SHELL",
        "TERM",
        "TMPDIR",
        "TZ",
        "USER",
        "VIRTUAL_ENV",
    }
)


def environment(
    own: Mapping[str, str],
    env_pass: Iterable[str],
    env: Mapping[str, str],
    marks: Mapping[str, str],
) -> dict[str, str]:
    """The whole environment of a command. A name in `env_pass` that is not set is left out."""
    named = frozenset(env_pass)
    passed = {
        name: value
        for name, value in own.items()
        if name in PASSED or name.startswith("LC_") or name in named
    }
    return {**passed, **env, **marks}


def loader_environment(own: Mapping[str, str]) -> dict[str, str]:
    """What an interpreter built outside the system's folders may need to start at all."""
    return {name: own[name] for name in ("LD_LIBRARY_PATH",) if name in own}


def state_mark(state_dir: str) -> bytes:
    """As it stands in /proc/<pid>/environ."""
    return b"BANKSMAN_STATE=" + os.fsencode(state_dir)


def lease_mark(lease: str) -> bytes:
    """As it stands in /proc/<pid>/environ."""
    return b"BANKSMAN_LEASE=" + os.fsencode(lease)
