"""The eight state machines as compiled: as JSON for scripts, as Mermaid diagrams, as a document."""

from __future__ import annotations

from typing import Any

from actors import breaker, gate, patch, run, task, uet_worker, worker, workstream
from actors.machine import Chart, Edge

CHARTS: dict[str, Chart] = {
    chart.name: chart
    for chart in (
        run.CHART,
        workstream.CHART,
        task.CHART,
        worker.CHART,
        uet_worker.CHART,
        gate.CHART,
        breaker.CHART,
        patch.CHART,
    )
}

_INTRODUCTION = """\
# The eight state machines

Every state, and every edge that is legal; nothing else is. This page is written by
`runtime.charts.as_markdown()` from the tables that the actors themselves are compiled from, and a
test fails when it is not current. `banksman charts` prints the same as JSON or as a diagram.

An edge that is not in its table raises `InvalidTransition`, one out of a terminal state
`TerminalState`, and nothing has happened. The database refuses such a row by itself, even from
the `sqlite3` shell.
"""


def as_json() -> dict[str, Any]:
    """By machine: its states in order, the initial one, the terminal ones, and its edges, each as
    [from, to, trigger, severity]."""
    return {
        name: {
            "states": list(chart.states),
            "initial": chart.initial,
            "terminal": _terminal(chart),
            "edges": [[e.source, e.target, e.trigger, e.severity] for e in chart.edges],
        }
        for name, chart in CHARTS.items()
    }


def as_mermaid(name: str | None = None) -> str:
    """One machine as a Mermaid state diagram; without a name all eight, each as a composite state.

    Raises KeyError where there is no such machine.
    """
    if name is not None:
        return "\n".join(["stateDiagram-v2", *_diagram(CHARTS[name], "    ", "")]) + "\n"
    lines = ["stateDiagram-v2"]
    for chart in CHARTS.values():
        # The states of one diagram share their names: here each has its machine's before it.
        prefix = f"{chart.name}__"
        lines.append(f"    state {chart.name} {{")
        lines += [f"        {prefix}{state} : {state}" for state in chart.states]
        lines += _diagram(chart, "        ", prefix)
        lines.append("    }")
    return "\n".join(lines) + "\n"


def as_markdown() -> str:
    """All eight as a document: a diagram and a table each."""
    return "\n".join([_INTRODUCTION, *(_chapter(chart) for chart in CHARTS.values())])


def _terminal(chart: Chart) -> list[str]:
    return [state for state in chart.states if state in chart.terminal]


def _diagram(chart: Chart, indent: str, prefix: str) -> list[str]:
    arrows = [f"[*] --> {prefix}{chart.initial}"]
    arrows += [f"{prefix}{e.source} --> {prefix}{e.target} : {e.trigger}" for e in chart.edges]
    arrows += [f"{prefix}{state} --> [*]" for state in _terminal(chart)]
    return [indent + arrow for arrow in arrows]


def _chapter(chart: Chart) -> str:
    terminal = ", ".join(f"`{state}`" for state in _terminal(chart)) or "none"
    return "\n".join(
        [
            f"## {chart.name}",
            "",
            f"{len(chart.states)} states, {len(chart.edges)} edges. "
            f"Initial: `{chart.initial}`. Terminal: {terminal}.",
            "",
            "```mermaid",
            as_mermaid(chart.name).rstrip(),
            "```",
            "",
            "| from | to | trigger | severity |",
            "|---|---|---|---|",
            *(_row(e) for e in chart.edges),
            "",
        ]
    )


def _row(e: Edge) -> str:
    return f"| {e.source} | {e.target} | {e.trigger} | {e.severity} |"
