"""What campaigns covered, told in a line or written as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from runtime.sim import coverage
from runtime.sim.case import Coverage
from runtime.sim.invariants import default_monitors

if TYPE_CHECKING:
    from runtime.sim.report import Report


def told(report: Report) -> str:
    """One line: messages in states, edges and kinds of faults, of those that there are. Empty where
    none of our own machines took part."""
    found = coverage.summary(report.coverage, report.explored.runs)
    if not found.pairs.declared:
        return ""
    return f"messages in states {found.pairs}, edges {found.edges}, kinds of faults {found.faults}"


def never(covered: Coverage) -> tuple[str, ...]:
    """Labels of a scenario's own promises and hopes that no run came by. The runtime's promises are
    left out: a scenario without a gate has nothing to say about gates."""
    ours = {monitor.name for monitor in default_monitors()}
    seen = {**covered.sometimes, **covered.always}
    return tuple(sorted(label for label, times in seen.items() if not times and label not in ours))


def write(path: Path, reports: Sequence[Report]) -> None:
    """The coverage of each campaign and of all together, as JSON: what was seen of what is
    declared, what is missing, what was never put to the test."""
    together = Coverage()
    for report in reports:
        add(together, report.coverage)
    runs = sum(report.explored.runs for report in reports)
    whole = _plain(together, runs, None)
    each = [
        {
            "name": report.name,
            "scenario": report.scenario,
            **_plain(report.coverage, report.explored.runs, report.explored.unseen),
        }
        for report in reports
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.encode({"together": whole, "simulations": each})
    path.write_bytes(msgspec.json.format(text, indent=1) + b"\n")


def _plain(covered: Coverage, runs: int, unseen: float | None) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(coverage.summary(covered, runs))
    del found["growth"]
    found["unseen"] = unseen  # of all together there is no such figure: the worlds differ
    return {
        **found,
        "sometimes": dict(sorted(covered.sometimes.items())),
        "always": dict(sorted(covered.always.items())),
        "faults_that_came": dict(sorted(covered.faults.items())),
    }


def add(into: Coverage, more: Coverage) -> None:
    """Adds one coverage to another."""
    into.pairs |= more.pairs
    into.edges |= more.edges
    into.states |= more.states
    into.faults.update(more.faults)
    for mine, theirs in ((into.sometimes, more.sometimes), (into.always, more.always)):
        for label, count in theirs.items():
            mine[label] = mine.get(label, 0) + count
