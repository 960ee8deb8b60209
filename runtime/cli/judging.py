"""approve, reject, gate: a person's verdict, and a gate that runs once more."""

from __future__ import annotations

from typing import Any

import click

from runtime.cli.calling import Call, shared
from runtime.cli.operating import carry_out, operator_options


@click.command("approve")
@click.argument("target", metavar="GATE")
@operator_options
@shared
def approve_command(call: Call, target: str, **said: Any) -> None:
    """Let a GATE pass that waits for a person; what needs it goes on."""
    carry_out(call, "approve", target, ("test_gate",), said)


@click.command("reject")
@click.argument("target", metavar="GATE")
@operator_options
@shared
def reject_command(call: Call, target: str, **said: Any) -> None:
    """Let a GATE fail that waits for a person; what needs it is blocked."""
    carry_out(call, "reject", target, ("test_gate",), said)


@click.group("gate")
def gate_command() -> None:
    """Run a gate once more."""


@gate_command.command("rerun")
@click.argument("target", metavar="GATE")
@operator_options
@shared
def _rerun(call: Call, target: str, **said: Any) -> None:
    """Run an ended GATE again, as a new one; what it blocked goes on if that passes."""
    carry_out(call, "rerun", target, ("test_gate",), said)
