"""verify, charts, bench: what can be proven of the record, the machines and this computer."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from runtime.charts import as_json, as_mermaid
from runtime.cli.calling import Call, shared
from runtime.cli.exits import Exit, Stop
from runtime.cli.text import columns, length, one_line, paint

if TYPE_CHECKING:
    from runtime.bench.gating import Gating
    from runtime.store.verify import Verified


@click.command("verify")
@shared
def verify_command(call: Call) -> int:
    """Prove the record: the whole chain and its head, charts, invariants, transitions.jsonl.

    Works beside a live owner. Exits 6 with the first broken row.
    """
    from runtime.store.errors import Damaged, way_back  # noqa: PLC0415 - the charts need no store
    from runtime.store.layout import Layout  # noqa: PLC0415 - likewise
    from runtime.store.verify import verify  # noqa: PLC0415 - likewise

    began = time.perf_counter()
    try:
        found = verify(call.state_dir)
    except Damaged as damaged:
        raise Stop(Exit.UNSOUND, str(damaged), code="damaged") from None
    seconds = time.perf_counter() - began
    call.show({"whole": found.whole, **msgspec.to_builtins(found)}, lambda: _proof(found, seconds))
    if found.whole:
        return Exit.OK
    if not call.as_json:
        first = found.findings[0]
        text = f"the record is broken at {first.where}: {first.text}"
        cure = way_back(Layout(call.state_dir).db)
        if all(finding.code == "jsonl" for finding in found.findings):
            cure = "move transitions.jsonl away: the next owner writes it anew from the database"
        raise Stop(Exit.UNSOUND, text, cure, "unsound")
    return Exit.UNSOUND


def _proof(found: Verified, seconds: float) -> Iterator[str]:
    looked = (
        f"{found.rows:,} audit rows, {found.entities:,} entities, {found.lines:,} lines"
        f" in {length(seconds)}"
    )
    if found.whole:
        yield f"{paint('whole', 'green')}  chain verified to #{found.head_seq}: {looked}"
    else:
        yield f"{paint('broken', 'red')}  {looked}"
    for finding in found.findings:
        yield f"  {finding.code}: {one_line(finding.where)}: {one_line(finding.text)}"
    if found.more:
        yield f"  and {found.more} more"
    yield from (f"  note: {one_line(note)}" for note in found.notes)


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


@click.command("bench")
@click.option(
    "--large", type=click.IntRange(min=1), metavar="N", help="One run of N tasks instead."
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="On which disk; default: that of the temporary folder.",
)
@click.option("--sim", is_flag=True, help="The simulation instead: its events per second.")
@click.option(
    "--gating",
    is_flag=True,
    help="The merge queue instead: speculative against serial, in virtual time.",
)
@shared
def bench_command(
    call: Call, large: int | None, folder: Path | None, sim: bool, gating: bool
) -> None:
    """Measure what this computer's disk allows, and how much of it the runtime reaches."""
    if gating:
        if sim or large is not None or folder is not None:
            raise Stop(Exit.USAGE, "--gating measures nothing else: leave the other options out")
        _show_gating(call)
        return
    if sim:
        from runtime.bench import simulated  # noqa: PLC0415 - as below

        _show_figures(call, simulated.measure())
        return
    from runtime.bench import measure  # noqa: PLC0415 - the charts need no event loop

    def say(text: str) -> None:
        if not call.as_json:
            print(text, file=sys.stderr)

    _show_figures(call, measure(tasks_large=large or 0, folder=folder, say=say))


def _show_figures(call: Call, figures: dict[str, float]) -> None:
    rows = [
        (name, f"{value:,.4g}" if value < 100 else f"{value:,.0f}")
        for name, value in figures.items()
    ]
    call.show(figures, lambda: columns(("figure", "value"), rows))


def _show_gating(call: Call) -> None:
    from runtime.bench import gating  # noqa: PLC0415 - the charts need no planner

    table = gating.measure()
    call.show(msgspec.to_builtins(table), lambda: _gating_lines(table))


def _gating_lines(table: Gating) -> Iterator[str]:
    yield (
        f"{table.patches:,} patches a cell, seed {table.seed}, in virtual time:"
        " throughput in patches settled in the time of one gate, work in times of a gate per patch"
    )
    yield f"early: a gate that fails does so after {table.early:g} of its time"
    yield ""
    head = "window", "pass rate", "of use", "serial", "speculative", "formula", "starts", "work"
    early = "serial, early", "speculative, early", "work, early"
    rows = (
        (
            f"{row.window}",
            f"{row.rate:.2f}",
            f"{row.of_use}",
            f"{row.serial.throughput:.2f}",
            f"{row.speculative.throughput:.2f}",
            f"{row.formula:.2f}",
            f"{row.speculative.starts:.2f}",
            f"{row.speculative.work:.2f}",
            f"{row.serial_early.throughput:.2f}",
            f"{row.speculative_early.throughput:.2f}",
            f"{row.speculative_early.work:.2f}",
        )
        for row in table.rows
    )
    yield from columns(head + early, rows)


def _words(found: object) -> list[str]:
    assert isinstance(found, list | tuple)
    return [str(each) for each in found]
