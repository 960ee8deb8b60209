"""simulate diff, why, trace: what happened in a saved case, and where it leaves another."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.calling import Call, shared
from runtime.cli.exits import Exit, Stop
from runtime.cli.text import paint

if TYPE_CHECKING:
    from runtime.sim.case import Happening, Result

_AROUND = 3  # events before the first difference that are shown


@click.command("diff")
@click.argument("one", metavar="A")
@click.argument("other", metavar="B")
@shared
def diff_command(call: Call, one: str, other: str) -> int:
    """Show the first event that differs between two runs: saved cases, or traces as JSON lines.

    Exits 1 if one does.
    """
    from runtime.sim.compare import first_difference, in_words  # noqa: PLC0415 - lazy

    a, b = _events(one), _events(other)
    parting = first_difference(a, b)
    if parting is None:
        call.show({"same": True, "events": len(a)}, lambda: [f"the same, {len(a):,} events"])
        return Exit.OK

    def lines() -> Iterator[str]:
        for happening in a[max(0, parting.n - 1 - _AROUND) : parting.n - 1]:
            yield f"    #{happening.n}  {in_words(happening)}"
        yield paint(f"  A #{parting.n}  {in_words(parting.one)}", "red")
        yield paint(f"  B #{parting.n}  {in_words(parting.other)}", "green")
        if parting.differs:
            yield f"differs in: {', '.join(parting.differs)}"

    call.show({"same": False, **_plain(parting)}, lines)
    return Exit.FAILED


@click.command("why")
@click.argument("case", type=click.Path(path_type=Path))
@click.argument("event", type=click.IntRange(min=1), required=False)
@shared
def why_command(call: Call, case: Path, event: int | None) -> int:
    """Show what led to EVENT of a saved case, step by step; default: to the violation."""
    from runtime.sim.compare import ancestry, chain, in_words  # noqa: PLC0415 - lazy

    result = _recorded(case)
    if event is None:
        if result.failure is None:
            raise Stop(Exit.USAGE, f"nothing is broken in {case}", "name an event: why CASE EVENT")
        event = result.failure.n
    led = ancestry(result.happenings, event)
    if event not in led:
        last = result.happenings[-1].n if result.happenings else 0
        raise Stop(Exit.USAGE, f"there is no event {event}", f"they go from 1 to {last}")
    straight = {happening.n for happening in chain(result.happenings, event)}

    def lines() -> Iterator[str]:
        for n, happening in led.items():
            causes = " ".join(f"#{c}" for c in happening.causes)
            mark = "|" if n in straight else " "
            told = f"{mark} #{n:<5} {in_words(happening)}{f'  <- {causes}' if causes else ''}"
            yield paint(told, "yellow" if happening.fault else None)
        if result.failure is not None and result.failure.n == event:
            yield paint(f"  {result.failure.invariant}: {result.failure.text}", "red")

    call.show({"event": event, "led": _plain(list(led.values())), "chain": sorted(straight)}, lines)
    return Exit.OK


@click.command("trace")
@click.argument("case", metavar="CASE or SCRIPT::NAME")
@click.option("--seed", type=click.IntRange(min=0), help="Of a script: the run of this seed.")
@click.option("--strategy", metavar="NAME", help="Of a script: with this strategy.")
@click.option(
    "--format",
    "form",
    type=click.Choice(("text", "mermaid", "html", "json")),
    default="text",
    help="Columns, a sequence diagram, a page, or JSON lines.",
)
@shared
def trace_command(call: Call, case: str, seed: int | None, strategy: str | None, form: str) -> int:
    """Run a saved case again, or a seed of a script, and show every event of it."""
    from runtime.sim import html, story, trace  # noqa: PLC0415 - lazy

    is_case = case.endswith(".json")
    result = _recorded(Path(case)) if is_case else _of_seed(case, seed or 0, strategy)
    if call.as_json or form == "json":
        lines: Iterator[str] | Sequence[str] = trace.json_lines(result)
    elif form == "mermaid":
        lines = trace.mermaid(result)
    elif form == "html":
        steps = story.steps(result) if result.failure is not None else ()
        lines = [html.page(result, steps=steps)]
    else:
        lines = trace.columns(result)
    for line in lines:
        print(line)
    return Exit.OK


def _events(name: str) -> Sequence[Happening]:
    """The events of a trace or, run again, of a case."""
    path = Path(name)
    if path.suffix == ".jsonl":
        from runtime.sim.trace import read_lines  # noqa: PLC0415 - lazy

        try:
            return read_lines(path.read_text(encoding="utf-8").splitlines())
        except ValueError as error:  # msgspec's are, and those of a text that is none
            raise Stop(
                Exit.USAGE, f"{path} is no trace: {error}", "simulate trace makes one"
            ) from None
    return _recorded(path).happenings


def _recorded(path: Path) -> Result:
    """The run of a saved case, with every event."""
    import msgspec  # noqa: PLC0415 - lazy

    from runtime.cli.simulating import told_as_stops  # noqa: PLC0415 - it imports this module
    from runtime.sim import cases  # noqa: PLC0415 - lazy
    from runtime.sim.script import load  # noqa: PLC0415 - lazy

    with told_as_stops():
        saved = cases.read(path)
        found = load(_found(saved.case.scenario, path))
        case = msgspec.structs.replace(saved.case, scenario=found.locator)
        return found.run(case, record=True)


def _of_seed(script: str, seed: int, strategy: str | None) -> Result:
    """The run that a campaign would make of this seed."""
    import msgspec  # noqa: PLC0415 - lazy

    from runtime.cli.simulating import told_as_stops  # noqa: PLC0415 - it imports this module
    from runtime.sim import settings  # noqa: PLC0415 - lazy
    from runtime.sim.pool import Plan  # noqa: PLC0415 - lazy
    from runtime.sim.script import load  # noqa: PLC0415 - lazy

    with told_as_stops():
        found = load(script)
        try:
            asked = settings.read({"strategy": strategy}, found.settings)
        except settings.BadSetting as error:
            raise Stop(Exit.USAGE, str(error)) from None
        base = msgspec.structs.replace(found.base, strategy=asked.strategy, depth=asked.depth)
        return found.run(Plan(found.locator, base).case(seed), record=True)


def _found(locator: str, case: Path) -> str:
    """Where a case's scenario is: as it is named, from here or from where the case was made."""
    place, sign, name = locator.partition("::")
    if not sign or Path(place).is_file():
        return locator
    for folder in case.resolve().parents:
        if (folder / place).is_file():
            return f"{os.path.relpath(folder / place)}::{name}"
    return locator


def _plain(value: Any) -> Any:
    import msgspec  # noqa: PLC0415 - lazy

    return msgspec.to_builtins(value)
