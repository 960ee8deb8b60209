"""What an exception of our packages means for the one who typed the command."""

from __future__ import annotations

import sqlite3

from runtime.cli.exits import Exit, Stop
from runtime.cli.text import counted, one_line
from runtime.control.client import NoOwner, OwnerLost, OwnerRefused
from runtime.errors import BanksmanError
from runtime.plan import PlanError, told_once

_CODES = {
    "refused": Exit.REFUSED,
    "bad_plan": Exit.USAGE,
    "bad_args": Exit.USAGE,
    "unknown_command": Exit.UNUSABLE,
    "busy": Exit.UNUSABLE,
    "too_long": Exit.USAGE,
}


def as_stop(error: Exception) -> Stop:
    """The line and the exit code for an error that no command answered itself."""
    match error:
        case ExceptionGroup():
            return as_stop(_first(error))
        case PlanError():
            return _faulty(error)
        case OwnerRefused():
            exit_code = _CODES.get(error.code, Exit.INTERNAL)
            return Stop(exit_code, error.text, error.cure, error.code)
        case NoOwner():
            cure = "start one with `banksman resume` or `banksman run PLAN`"
            return Stop(Exit.UNUSABLE, str(error), cure, "no_owner")
        case OwnerLost():
            cure = "`banksman status` shows what became of it"
            return Stop(Exit.UNUSABLE, str(error), cure, "owner_lost")
        case BanksmanError():
            return Stop(Exit.UNUSABLE, str(error))
        case sqlite3.OperationalError() if "locked" in str(error):
            text = f"the database is locked by another process ({error})"
            return Stop(Exit.UNUSABLE, text, "try again", "locked")
        case sqlite3.Error():
            cure = "`banksman db check` says more; `banksman db restore FILE` brings a backup back"
            return Stop(Exit.UNUSABLE, f"the database cannot be read: {error}", cure, "damaged")
        case OSError() if error.filename is not None:
            text = f"{error.filename}: {error.strerror}"
            return Stop(Exit.UNUSABLE, text, "check the path and its permissions")
        case OSError():
            return Stop(
                Exit.OUTPUT, f"cannot go on: {error.strerror or error}", "check the disk and stdout"
            )
        case _:
            text = f"this is a bug of banksman: {type(error).__name__}: {error}"
            return Stop(Exit.INTERNAL, text, "run it again with --debug and report the traceback")


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """What went wrong first in a group of tasks: ours before others', for it names the cure."""
    ours = group.subgroup(BanksmanError)
    error: Exception = group if ours is None else ours
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _faulty(error: PlanError) -> Stop:
    faults = [one_line(told) for _, told in told_once(error.faults)]
    count = counted(len(error.faults) + sum(fault.more for fault in error.faults), "fault")
    return Stop(
        Exit.USAGE,
        f"the plan has {count}, so nothing was started" if len(faults) > 1 else faults[0],
        "mend them and check again with `banksman check`" if len(faults) > 1 else "",
        "bad_plan",
        lines=faults if len(faults) > 1 else [],
        facts={"faults": [fault.as_json() for fault in error.faults]},
    )
