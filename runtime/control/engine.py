"""What the control server and the command line ask of a runtime: the port they stand on.

`runtime.open_runtime` gives an object that satisfies `Engine`; tests give a scripted one.
Everything that is *read* comes from the read-only database, never through here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Protocol

from actors.messages import Accepted, Refused
from actors.spec import Plan
from runtime.recovery import RecoveryReport


class RunHandle(Protocol):
    """One submitted run."""

    id: str

    async def wait(self) -> str:
        """The terminal state of the run, once it is durable."""


class Engine(Protocol):
    """The owner of a state directory."""

    @property
    def owner_epoch(self) -> int: ...

    @property
    def durability(self) -> str:
        """What an acknowledgement survives: "power" or "process"."""

    @property
    def db_path(self) -> Path: ...

    recovery: RecoveryReport

    async def submit(self, plan: Plan, key: str | None = None) -> RunHandle:
        """Durable when it returns; the same `key` again gives the same run.

        Raises a BanksmanError that names the cure where the plan cannot run here (a missing tool
        or capability): nothing has happened then.
        """

    async def command(
        self,
        name: str,
        entity_id: str | None,
        *,
        operator: str,
        reason: str | None = None,
        if_version: int | None = None,
        **args: Any,
    ) -> Accepted | Refused:
        """Carries out a verb of the vocabulary; durable when it returns.

        `entity_id` is a full id of the store, without its kind, which is `kind` in `args` where the
        id does not say it. `if_version` other than the entity's version: `Refused`, with both
        numbers. Further `args`: retry takes `clear_retry_count: bool`, unblock `names: tuple[str,
        ...]`, override `target: str` and `shown: Evidence`, breaker `verb: str`.
        """

    def events(self, since: int | None = None) -> AsyncGenerator[dict[str, Any], None]:
        """Committed events in order, each a canonical event with its `seq`, from `since` (not
        included; None: from now) on without a gap. A subscriber that falls behind is ended with
        `Lagged`, and may begin again from its `seq`: it never makes the kernel wait or grow."""

    async def wait_ended(self, ref: str) -> str:
        """The terminal state of the actor "<kind>:<id>", once it is durable."""

    def unfinished_runs(self) -> list[str]:
        """The ids of all runs that are not terminal."""

    def waits_for_person(self) -> list[str]:
        """The ids of the runs that nothing but a person can move, now."""

    def progress(self) -> Mapping[str, str]:
        """How far running work says it has come, a bounded line each, by lease."""

    def statistics(self) -> dict[str, Any]: ...

    async def drain(self, timeout_s: float) -> None:
        """Nothing new starts; returns when nothing runs, or after `timeout_s`. Leaving the
        context then ends what still runs, dead before the lease, and closes the directory."""
