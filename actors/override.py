"""An operator's word against the guards: the way through the chart, and what no word can replace.

Guards are skipped, edges never: an override takes the shortest path of the chart, and where two are
as short the one whose edges stand first there.
"""

from __future__ import annotations

from collections import deque

import msgspec

from actors.effects import Address, Note
from actors.machine import Chart, Edge
from actors.messages import Override, Refused

# What only the work itself can show: that it runs, that it passed, that a commit stands.
EVIDENCE: dict[str, frozenset[str]] = {
    "task": frozenset({"running"}),
    "test_gate": frozenset({"running", "passed"}),
    "worker": frozenset({"busy"}),
    # A process is free, or at work, when it says so.
    "uet_worker": frozenset({"idle", "busy"}),
    "patch_ledger": frozenset({"applied", "verified", "committed"}),
}

EVENT = "manual_override"
BY_HAND = "operator:"


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An override that waits until what must die first is dead."""

    target: str
    operator: str
    reason: str


def wanted(order: Override) -> Wanted:
    """What is left to do of an override once it is on record."""
    return Wanted(order.target, order.operator, order.reason)


def way(chart: Chart, source: str, target: str) -> tuple[Edge, ...] | Refused:
    """The edges to take, at least one; or why not."""
    kind = chart.name.replace("_", " ")
    if target not in chart.states:
        return Refused(f"no {kind} is ever {target!r}; there are: {', '.join(chart.states)}")
    if source in chart.terminal:
        return Refused(f"it is {source} already: nothing leads out of that")
    if source == target:
        return Refused(f"it is {source} already")
    edges = _shortest(chart, source, target)
    if not edges:
        return Refused(f"no way of the chart leads a {kind} from {source} to {target}")
    path = " -> ".join((source, *(edge.target for edge in edges)))
    for edge in edges:
        if edge.target in EVIDENCE.get(chart.name, frozenset()):
            return Refused(
                f"the way is {path}, and {edge.target} needs evidence that only the work can give"
            )
    return edges


def _shortest(chart: Chart, source: str, target: str) -> tuple[Edge, ...]:
    paths: dict[str, tuple[Edge, ...]] = {source: ()}
    left = deque([source])
    while left and target not in paths:
        state = left.popleft()
        for edge in chart.edges:
            if edge.source == state and edge.target not in paths:
                paths[edge.target] = (*paths[state], _by_hand(chart, edge))
                left.append(edge.target)
    return paths.get(target, ())


def _by_hand(chart: Chart, edge: Edge) -> Edge:
    """The same step by the trigger that says who took it, where the chart has one."""
    same = (e for e in chart.edges if (e.source, e.target) == (edge.source, edge.target))
    return next((e for e in same if e.trigger == EVENT), edge)


def on_record(order: Override, source: str, edges: tuple[Edge, ...]) -> Note:
    """The audit's row of the order itself, beside those of the edges that it leads to."""
    known = {"from": source, "to": order.target, "path": [edge.target for edge in edges]}
    if order.evidence is not None:
        known["evidence"] = order.evidence
    return Note(EVENT, "warning", order.reason, known, order.operator)


def source_of(operator: str) -> Address:
    """Stands among the causes of BLOCKED for an operator who blocked it, until that is waived."""
    return f"{BY_HAND}{operator}"
