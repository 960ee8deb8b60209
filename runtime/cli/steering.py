"""worker, breaker, release: what stands between a task and its execution, by hand."""

from __future__ import annotations

from typing import Any

import click

from runtime.cli.calling import Call, shared
from runtime.cli.operating import bending_options, carry_out, operator_options


@click.group("worker")
def worker_command() -> None:
    """Pause, resume, drain or replace a worker's slot."""


@worker_command.command("pause")
@click.argument("target", metavar="WORKER")
@operator_options
@shared
def _pause(call: Call, target: str, **said: Any) -> None:
    """Give WORKER nothing more; what it executes, finishes."""
    carry_out(call, "pause", target, ("worker",), said)


@worker_command.command("resume")
@click.argument("target", metavar="WORKER")
@operator_options
@shared
def _resume(call: Call, target: str, **said: Any) -> None:
    """Let a paused WORKER take tasks again."""
    carry_out(call, "resume", target, ("worker",), said)


@worker_command.command("drain")
@click.argument("target", metavar="WORKER")
@operator_options
@shared
def _drain(call: Call, target: str, **said: Any) -> None:
    """Let WORKER finish what it executes, then remove it from its pool."""
    carry_out(call, "drain", target, ("worker",), said)


@worker_command.command("replace")
@click.argument("target", metavar="WORKER")
@operator_options
@shared
def _replace(call: Call, target: str, **said: Any) -> None:
    """Give WORKER a new process, once what it executes has ended."""
    carry_out(call, "replace", target, ("worker",), said)


@click.group("breaker")
def breaker_command() -> None:
    """Open, close, reset, hold, shadow or disable a tool's circuit breaker.

    BREAKER is its id, or the name of its tool where only one has it.
    """


def _breaker_verb(verb: str, says: str) -> None:
    @breaker_command.command(verb, help=says)
    @click.argument("target", metavar="BREAKER")
    @bending_options
    @shared
    def _carry_out(call: Call, target: str, **said: Any) -> None:
        carry_out(call, "breaker", target, ("circuit_breaker",), {"verb": verb, **said})


for _verb, _says in (
    ("open", "Keep work away from the tool for one cooldown; then a probe asks."),
    ("close", "Let work through again, whatever is known of the tool; ends a hold or a shadow."),
    ("reset", "Close and forget, once the tool's health command has passed."),
    ("hold", "Keep work away from the tool until somebody says otherwise."),
    ("shadow", "Let everything through, and record what would have been refused."),
    ("disable", "Let everything through and count nothing, until somebody says otherwise."),
):
    _breaker_verb(_verb, _says)


@click.command("release")
@click.argument("target", metavar="ENTITY")
@operator_options
@shared
def release_command(call: Call, target: str, **said: Any) -> None:
    """Let an ENTITY take turns again that was suspended because its turns failed."""
    carry_out(call, "release", target, (), said)
