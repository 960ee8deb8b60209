"""simulate: looks for bugs in somebody's scenarios, and tells of one that was found."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.calling import Call, shared
from runtime.cli.exits import Exit, Stop
from runtime.cli.retelling import diff_command, trace_command, why_command
from runtime.cli.text import paint

if TYPE_CHECKING:
    from runtime.sim.declare import Simulation
    from runtime.sim.proof import Proof
    from runtime.sim.report import Report
    from runtime.sim.settings import Settings

_FURTHER = {"diff": diff_command, "why": why_command, "trace": trace_command}


class _Simulate(click.Command):
    """`simulate SCRIPT`, and `simulate diff|why|trace` beside it. A script of such a name is given
    as ./diff."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        if args and args[0] in _FURTHER:
            name = f"{info_name} {args[0]}"
            return _FURTHER[args[0]].make_context(name, args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(
    "simulate",
    cls=_Simulate,
    epilog="`simulate diff A B`: where two runs part. `simulate why CASE [EVENT]`: what led to it."
    " `simulate trace CASE --format text|mermaid|html|json`: the whole run.",
)
@click.argument("script", required=False)
@click.option("--seeds", help="Which: 200, 100..199, commit:50 (this commit's own), or several.")
@click.option("--seed", metavar="N", help="This seed only.")
@click.option("--case", metavar="FILE", help="Replay this saved case only.")
@click.option("--strategy", metavar="NAME", help="portfolio, fifo, timed, random, pct, pos, ...")
@click.option("--faults", metavar="KINDS", help="none, default, or crash=0.01,disk_full, ...")
@click.option("--jobs", metavar="N", help="Processes; default: one.")
@click.option("--failures", metavar="N", help="How many different bugs end it; default: one.")
@click.option("--budget", metavar="TIME", help="How long it may look: 30s, 10m, 2h.")
@click.option("--no-shrink", is_flag=True, default=None, help="Tell failures as they were found.")
@click.option(
    "--check-determinism", is_flag=True, default=None, help="Run each seed twice and compare."
)
@click.option("--coverage", metavar="OUT", help="Write what was covered, as JSON.")
@click.option("--html", metavar="DIR", help="Where timelines go.")
@click.option("--ablate", is_flag=True, help="Switch off our own safeguards instead.")
@click.option("--folder", metavar="DIR", help="Where cases are kept; default: .sim")
@shared
def simulate_command(call: Call, script: str | None, ablate: bool, **given: Any) -> int:
    """Look for bugs in the scenarios of SCRIPT: whole runs under virtual time, chance and faults.

    SCRIPT is a Python file with functions under @simulate, or one of them as FILE.py::NAME.
    Exits 1 if something is broken; with --ablate, if a safeguard is not missed.
    """
    if ablate:
        return _ablate(call, script or "")
    if script is None:
        cure = "banksman simulate FILE.py, or FILE.py::NAME"
        raise Stop(Exit.USAGE, "there is no script to simulate", cure)
    with told_as_stops():
        settings = _settings(given)
        found = _chosen(script, settings)
        return _run(call, found, settings)


@contextmanager
def told_as_stops() -> Iterator[None]:
    """What a script, a case or an option can do wrong, as a line and an exit code."""
    from runtime.sim.cases import BadCase  # noqa: PLC0415 - `--help` needs no engine
    from runtime.sim.pool import PoolBroke, ScenarioRaised  # noqa: PLC0415 - likewise
    from runtime.sim.script import BadScript  # noqa: PLC0415 - likewise

    try:
        yield
    except BadScript as error:
        raise Stop(Exit.USAGE, error.text, error.cure, "bad_script") from None
    except ScenarioRaised as error:
        raise Stop(Exit.USAGE, error.text, "mend the scenario", "bad_script") from error
    except (BadCase, PoolBroke) as error:
        raise Stop(Exit.USAGE, str(error)) from None


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """What was typed and what the environment says, by option's name; read once, to refuse what
    cannot be read before a script is imported."""
    from runtime.sim import settings  # noqa: PLC0415 - `--help` needs no engine

    typed = {name.replace("_", "-"): value for name, value in given.items() if value is not None}
    try:
        asked = {**settings.from_environ(os.environ), **typed}
        settings.read(asked, settings.Settings())
    except ValueError as error:  # BadSetting and BadSeeds: each has its cure
        raise Stop(Exit.USAGE, str(error)) from None
    return asked


def _chosen(script: str, asked: dict[str, Any]) -> list[Simulation | Proof]:
    """What is to be run; of a file with several, a case chooses its own."""
    from runtime.sim import cases  # noqa: PLC0415 - as above
    from runtime.sim.script import find  # noqa: PLC0415 - as above

    found = find(script)
    if asked.get("case") is not None and len(found) > 1:
        name = cases.read(Path(asked["case"])).case.scenario.rpartition("::")[2]
        own = [each for each in found if each.name == name]
        if not own:
            names = ", ".join(each.name for each in found)
            raise Stop(Exit.USAGE, f"the case is of {name!r}", f"{script} has: {names}")
        return own
    return found


def _run(call: Call, found: Sequence[Simulation | Proof], asked: dict[str, Any]) -> int:
    from runtime.cli.simlive import Live  # noqa: PLC0415 - as above
    from runtime.sim.declare import Simulation  # noqa: PLC0415 - as above
    from runtime.sim.report import Ended  # noqa: PLC0415 - as above
    from runtime.sim.settings import read  # noqa: PLC0415 - as above

    told: list[dict[str, Any]] = []
    reports: list[Report] = []
    ok, interrupted = True, False
    for each in found:
        if isinstance(each, Simulation):
            settings: Settings = read(asked, each.settings)
            with Live(sys.stderr) as live:
                report = each.explore(settings, live.say)
            reports.append(report)
            ok &= report.ok
            interrupted = report.ended is Ended.INTERRUPTED
            told.append(report.to_json())
            _print(call, report.lines())
        else:
            proven, lines = _prove(each)
            ok &= proven["complete"]
            told.append(proven)
            _print(call, lines)
        if interrupted:
            break
    if asked.get("coverage") is not None:
        from runtime.sim.covering import write  # noqa: PLC0415 - as above

        write(Path(asked["coverage"]), reports)
    if call.as_json:
        call.emit({"ok": ok, "reports": told})
    if not ok:
        return Exit.FAILED
    return Exit.INTERRUPTED if interrupted else Exit.OK


def _prove(proof: Proof) -> tuple[dict[str, Any], list[str]]:
    import msgspec  # noqa: PLC0415 - as above

    from runtime.sim.case import Coverage  # noqa: PLC0415 - as above
    from runtime.sim.proof import story  # noqa: PLC0415 - as above

    result = proof.search()
    plain = msgspec.to_builtins(msgspec.structs.replace(result, coverage=Coverage()))
    del plain["coverage"]
    return {"name": proof.name, "ok": result.complete, **plain}, story(proof.name, result)


def _print(call: Call, lines: Iterator[str] | list[str]) -> None:
    if not call.as_json:
        for line in lines:
            print(line)


# --- ablations ------------------------------------------------------------------------------------


def _ablate(call: Call, named: str) -> int:
    """Switches every safeguard off in turn, or those with `named` in their name; each must be
    noticed."""
    import msgspec  # noqa: PLC0415 - as above

    from runtime.sim.ablate import ablations, run  # noqa: PLC0415 - as above

    chosen = [ablation for ablation in ablations() if named in ablation.name]
    if not chosen:
        known = ", ".join(ablation.name for ablation in ablations())
        raise Stop(Exit.USAGE, f"there is no safeguard {named!r}", f"there are: {known}")
    verdicts = []
    for ablation in chosen:
        verdict = run(ablation)
        verdicts.append(verdict)
        if not call.as_json:
            style = "red" if verdict.survived else None
            print(paint(str(verdict), style), flush=True)
    survived = [verdict.name for verdict in verdicts if verdict.survived]
    if call.as_json:
        call.emit({"ok": not survived, "ablations": msgspec.to_builtins(verdicts)})
    else:
        ended = f"{len(survived)} survived" if survived else "each was noticed"
        print(f"{len(verdicts)} safeguards switched off in turn, {ended}")
    return Exit.FAILED if survived else Exit.OK
