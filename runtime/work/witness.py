"""What is known of a gate's verdict beside its exit code: what its test runner says, what tree it
holds for, and whether it is known already."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import anyio
from msgspec.structs import replace

from actors.effects import RunGate
from actors.messages import Check, Outcome
from runtime.work.environment import environment
from runtime.work.junit import executed_in, report_path
from runtime.work.keys import key_of, secret_of
from runtime.work.site import Site, output_path
from runtime.work.tree import NoTree, Tree, Trees
from runtime.work.verdicts import TAIL_BYTES, Told, says_none, told

# The outcome with which a gate passed under a key, the newest that it has; None: none is known.
Lookup = Callable[[str], Outcome | None]

# A file's time comes from a clock that the system moves on only at each of its ticks.
_TICK_NS = 20_000_000


class Bench:
    """Where witnesses sit: the looks at trees of one state directory. `lookup` is set by whoever
    can read the record."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.trees = Trees(site.state_dir, site.marks())
        self.lookup: Lookup = _nothing_known

    def witness(self, effect: RunGate) -> Witness:
        """The witness of one execution."""
        return Witness(self, effect)


class Witness:
    """Of one execution of a gate's command. `before` comes first, `after` once it has ended."""

    def __init__(self, bench: Bench, effect: RunGate) -> None:
        self._bench = bench
        self._effect = effect
        self._cwd = os.path.join(os.path.abspath(effect.base_dir), effect.cwd)
        self._key: str | None = None
        self._unkeyed: str | None = None
        self._since_ns = 0

    async def before(self) -> Outcome | None:
        """The outcome that is known already; None: the command has to run."""
        self._key, self._unkeyed = await self._look()
        self._since_ns = time.time_ns() - _TICK_NS
        if self._key is None or self._effect.fresh:
            return None
        known = await anyio.to_thread.run_sync(self._bench.lookup, self._key)
        if known is None or known.check is None:
            return None
        return replace(known, check=replace(known.check, key=self._key))

    async def after(self, outcome: Outcome) -> Outcome:
        """The outcome with all that is known of the verdict, if it can be one."""
        if outcome.exit_code is None or outcome.reason is not None or outcome.infrastructure:
            return outcome
        said = await anyio.to_thread.run_sync(self._said, outcome.exit_code)
        check = Check("exit_code") if said is None else Check(said.runner, said.tests)
        if check.tests == 0:
            return replace(outcome, check=check)  # no verdict, so there is nothing to reuse
        key, unkeyed = self._key, self._unkeyed
        if key is not None:
            now, unkeyed = await self._look()
            if now != key:
                key = None
                unkeyed = unkeyed or "the tree changed while it ran"
        return replace(outcome, check=replace(check, key=key, unkeyed=unkeyed))

    async def _look(self) -> tuple[str | None, str | None]:
        bench, within_s = self._bench, self._bench.site.limits.look_timeout_s
        try:
            tree = await bench.trees.look(self._cwd, within_s)
            return await anyio.to_thread.run_sync(self._make_key, tree), None
        except NoTree as error:
            return None, f"there is no tree: {error}"
        except TimeoutError:
            return None, f"its tree takes longer than {within_s:g} s to look at"
        except (OSError, ValueError) as error:
            return None, f"its files could not be looked at: {error}"

    def _make_key(self, tree: Tree) -> str:
        effect, state_dir = self._effect, self._bench.site.state_dir
        env = environment(os.environ, effect.env_pass, effect.env, {})
        secret = secret_of(Path(state_dir) / "git")
        return key_of(secret, tree, self._cwd, effect.command, env)

    def _said(self, exit_code: int) -> Told | None:
        effect = self._effect
        report = report_path(effect.command, self._cwd)
        executed = executed_in(report, self._since_ns) if report is not None else None
        if executed is not None:
            return Told("junit xml", executed)
        if says_none(effect.command, exit_code):
            return Told("pytest", 0)
        gate_id = effect.gate.partition(":")[2]
        output = output_path(self._bench.site.output_dir, gate_id, effect.attempt)
        try:
            with output.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - TAIL_BYTES))
                return told(file.read(TAIL_BYTES), cut=size > TAIL_BYTES)
        except OSError:
            return None  # judged by its exit code: what it printed is not there to be read


def _nothing_known(_key: str) -> Outcome | None:
    return None
