"""charts: the state machines as they are compiled."""

from __future__ import annotations

from collections.abc import Iterator

import click

from runtime.charts import as_json, as_mermaid
from runtime.cli.calling import Call, shared
from runtime.cli.exits import Exit, Stop
from runtime.cli.text import columns, paint


@click.command("charts")
@click.argument("machine", required=False)
@click.option("--mermaid", is_flag=True, help="As a Mermaid state diagram.")
@shared
def charts_command(call: Call, machine: str | None, mermaid: bool) -> None:
    """Show the eight state machines, or one MACHINE: states, and every legal edge."""
    charts = as_json()
    if machine is not None:
        if machine not in charts:
            known = ", ".join(charts)
            text = f"there is no machine {machine!r}"
            raise Stop(Exit.USAGE, text, f"there are: {known}", "unknown_machine")
        charts = {machine: charts[machine]}
    if mermaid and not call.as_json:
        print(as_mermaid(machine), end="")
        return
    call.show(charts, lambda: _chart_lines(charts))


def _chart_lines(charts: dict[str, dict[str, object]]) -> Iterator[str]:
    for name, chart in charts.items():
        states, edges = chart["states"], chart["edges"]
        assert isinstance(states, list)
        assert isinstance(edges, list)
        yield f"{paint(name, 'bold')}  {len(states)} states, {len(edges)} edges"
        yield f"begins {chart['initial']}, ends {', '.join(_words(chart['terminal'])) or 'never'}"
        yield from columns(("from", "to", "trigger", "severity"), (_words(edge) for edge in edges))
        yield ""


def _words(found: object) -> list[str]:
    assert isinstance(found, list | tuple)
    return [str(each) for each in found]
