"""The `banksman` command: which commands there are, and the one place where their errors end.

A command's module is imported when it is asked for, so that `--help` costs click alone.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, NoReturn

import click

from runtime.cli.exits import Exit, Stop
from runtime.cli.streams import abandon_stdout, make_standard_streams
from runtime.version import VERSION

# section -> command -> (module, what the list of commands says)
_SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Run": {
        "run": ("running", "Run a plan to its end."),
        "resume": ("running", "Go on with what was interrupted or paused."),
        "check": ("planning", "Find every fault of a plan before it runs."),
        "init": ("planning", "Write a first plan from what is in this repository."),
    },
    "Look": {
        "status": ("looking", "The runs, or one run with its workstreams."),
        "tasks": ("looking", "Tasks, their state and attempts."),
        "workers": ("looking", "Worker slots and what they execute."),
        "gates": ("looking", "Test gates and their verdicts."),
        "breakers": ("guarding", "Circuit breakers, and what they keep back."),
        "stuck": ("stalling", "What takes longer than it should, and what to do."),
        "why": ("explaining", "Why something is not moving, and what would move it."),
        "logs": ("printing", "What a task or a gate printed."),
        "history": ("recounting", "Every transition of one entity."),
        "events": ("recounting", "The record of all events, filtered or followed."),
        "report": ("reporting", "What landed, failed and waits in a run."),
        "stats": ("reporting", "Failures, or overrides, counted by cause."),
    },
    "Act": {
        "pause": ("operating", "Start nothing more; what runs, finishes."),
        "cancel": ("operating", "End a run, workstream, task or gate."),
        "skip": ("operating", "Count a workstream as done without doing it."),
        "retry": ("operating", "Do a task, or the rest of a run, once more."),
        "unblock": ("operating", "Waive what blocks a task or workstream."),
        "approve": ("judging", "Let a gate pass that waits for a person."),
        "reject": ("judging", "Let a gate fail that waits for a person."),
        "gate": ("judging", "Run a gate once more."),
        "worker": ("steering", "Pause, resume, drain or replace a slot."),
        "breaker": ("steering", "Open, close, reset, hold, shadow or disable a breaker."),
        "override": ("overriding", "Take an entity to a state, whatever guards say."),
        "release": ("steering", "Let a suspended entity take turns again."),
    },
    "Prove and keep": {
        "verify": ("proving", "Prove that the record is whole and lawful."),
        "patch": ("patching", "Judge patches before they touch anything."),
        "selftest": ("patching", "Try this machine's git with hostile patches."),
        "charts": ("proving", "The state machines, as they are compiled."),
        "db": ("keeping", "Status, migration, backup and repair of the database."),
        "bench": ("proving", "Measure this machine."),
        "simulate": ("simulating", "Look for bugs in pipelines and actors under virtual time."),
    },
}

_COMMANDS = {name: entry for section in _SECTIONS.values() for name, entry in section.items()}


class _Lazy(click.Group):
    """A group whose commands are imported one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"runtime.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            import difflib  # noqa: PLC0415 - only a slip of the finger needs it

            near = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            cure = f"did you mean `banksman {near[0]}`?" if near else "see `banksman --help`"
            raise Stop(Exit.USAGE, f"there is no command {args[0]!r}", cure)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in _SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, says) for name, (_, says) in commands.items()])


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every command takes --json and --state-dir DIR, and works from a second terminal.",
)
@click.version_option(VERSION, message="banksman %(version)s")
def banksman() -> None:
    """Gated lines of work on your own machine: run them, watch them, prove what happened."""


def main() -> NoReturn:
    """The entry point of the installed command."""
    make_standard_streams()
    code = _run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or Exit.PIPE
        abandon_stdout()
    except OSError as error:
        code = _told(Stop(Exit.OUTPUT, f"cannot write to stdout: {error.strerror}"), as_json=False)
        abandon_stdout()
    sys.exit(int(code))


def _run(args: list[str]) -> int:
    as_json = "--json" in args
    try:
        result: Any = banksman.main(args, prog_name="banksman", standalone_mode=False)
        return result if isinstance(result, int) else Exit.OK
    except Stop as stop:
        return _told(stop, as_json)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as nothing:
        print(nothing.ctx.get_help() if nothing.ctx is not None else nothing)
        return Exit.USAGE
    except click.ClickException as wrong:
        return _told(_usage(wrong), as_json)
    except (KeyboardInterrupt, click.Abort):
        return Exit.INTERRUPTED
    except Exception as error:
        # The one error boundary: what nobody answered becomes one line and an exit code.
        if "--debug" in args:
            raise
        from runtime.cli.failures import as_stop  # noqa: PLC0415 - knows every package's errors

        return _told(as_stop(error), as_json)


def _usage(wrong: click.ClickException) -> Stop:
    text = " ".join(wrong.format_message().split()).rstrip(".")
    context = wrong.ctx if isinstance(wrong, click.UsageError) else None
    path = context.command_path if context is not None else "banksman"
    return Stop(Exit.USAGE, text[:1].lower() + text[1:], f"see `{path} --help`")


def _told(stop: Stop, as_json: bool) -> int:
    if stop.exit_code is Exit.PIPE:
        abandon_stdout()
        return stop.exit_code
    line = f"{stop.text}; {stop.cure}" if stop.cure else stop.text
    try:
        for each in (*stop.lines, line):
            print(f"banksman: {' '.join(each.split())}", file=sys.stderr)
        if as_json:
            import json  # noqa: PLC0415 - only here

            error = {"code": stop.code, "text": stop.text, "cure": stop.cure, **stop.facts}
            print(json.dumps({"error": error}), flush=True)
    except OSError:
        abandon_stdout()  # nobody reads either stream; the exit code still tells
    return stop.exit_code
