"""Checks plans without running them: what `banksman check` shows, for files and folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import msgspec

from runtime.limits import PLAN_FILES_MAX
from runtime.plan.absent import absent
from runtime.plan.fault import Fault, PlanError, Severity, errors_of
from runtime.plan.parse import Loaded, load

# TOML files that lie beside plans and are none.
_NO_PLANS = frozenset({"banksman.toml", "Cargo.toml", "pyproject.toml"})


class Checked(NamedTuple):
    """What was found in all the files: `ok` when no fault is an error."""

    plans: tuple[Loaded, ...]
    faults: tuple[Fault, ...]

    @property
    def ok(self) -> bool:
        """Whether every plan may be submitted, on a machine that has its tools."""
        return not errors_of(self.faults)

    def as_json(self) -> dict[str, Any]:
        """The stable shape of `check --json`."""
        return {
            "ok": self.ok,
            "faults": [fault.as_json() for fault in self.faults],
            "plans": [_summary(loaded) for loaded in self.plans],
        }


def check(paths: Iterable[FilePath | str]) -> Checked:
    """Every fault of every plan; what this machine lacks is a warning here.

    A folder stands for the TOML and JSON files directly in it, but for `pyproject.toml` and its
    like.
    """
    plans: list[Loaded] = []
    faults: list[Fault] = []
    for path in paths:
        for found in _files(FilePath(path)):
            if isinstance(found, Fault):
                faults.append(found)
                continue
            try:
                loaded = load(found)
            except PlanError as error:
                faults.extend(error.faults)
                continue
            plans.append(loaded)
            faults.extend(loaded.warnings)
            lacking = absent(loaded.plan, loaded.base_dir)
            faults.extend(loaded.placed(tuple(map(_warning, lacking))))
    return Checked(tuple(plans), tuple(faults))


def _files(path: FilePath) -> Iterator[FilePath | Fault]:
    if not path.is_dir():
        yield path
        return
    try:
        entries = sorted(entry for entry in path.iterdir() if entry.suffix in {".toml", ".json"})
    except OSError as error:
        yield Fault(f"cannot be read: {error.strerror}", "name a readable folder", file=str(path))
        return
    plans = [entry for entry in entries if entry.name not in _NO_PLANS and entry.is_file()]
    if not plans:
        yield Fault("no plan lies in this folder", "name a plan or its folder", file=str(path))
    if len(plans) > PLAN_FILES_MAX:
        text = f"{len(plans)} plans, more than {PLAN_FILES_MAX}"
        yield Fault(text, "check them in parts", file=str(path))
    yield from plans[:PLAN_FILES_MAX]


def _warning(fault: Fault) -> Fault:
    return msgspec.structs.replace(fault, severity=Severity.WARNING)


def _summary(loaded: Loaded) -> dict[str, Any]:
    plan = loaded.plan
    return {
        "file": loaded.file,
        "name": plan.run.name,
        "workstreams": len(plan.workstreams),
        "tasks": sum(len(workstream.tasks) for workstream in plan.workstreams.values()),
        "gates": len(plan.gates),
    }
