"""What a plan needs and this machine does not have: programs, folders, functions, a sandbox.

`check` shows these as warnings, since a plan may be checked on another machine than it runs on; a
submission is refused for them, now and not after an hour. Nothing of the user's is executed or
imported for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Set
from pathlib import Path as FilePath

from actors import template
from actors.spec import Plan
from runtime.plan.calls import why_not_callable
from runtime.plan.fault import Fault, Path, Severity, errors_of, quoted
from runtime.plan.rules import needed_gates


class _Need:
    """A program or folder, with every place of the plan that needs it."""

    __slots__ = ("at", "may_be_made", "uses")

    def __init__(self, at: Path) -> None:
        self.at = at
        self.uses = 0
        self.may_be_made = True


def absent_tools(
    plan: Plan, base_dir: FilePath | str, calls: Set[str] = frozenset()
) -> tuple[Fault, ...]:
    """Why this machine cannot run the plan, for a submission; empty: it can.

    `calls` are callables known by name, as for `validate`.
    """
    return errors_of(absent(plan, base_dir, calls))


def absent(
    plan: Plan,
    base_dir: FilePath | str,
    calls: Set[str] = frozenset(),
    environ: Mapping[str, str] | None = None,
) -> tuple[Fault, ...]:
    """One fault for each program, folder or function that is not there, however many tasks need it,
    and for each pool that cannot be confined as it asks.

    Errors, but for a path that something running earlier in the plan may make: a warning then.
    `environ` is the environment of the owner (None: of this process).
    """
    path = (os.environ if environ is None else environ).get("PATH", os.defpath)
    base = FilePath(base_dir)
    found: dict[tuple[str, str, str], _Need] = {}
    for at, command, cwd, env, has_before in _commands(plan):
        program = command[0] if command else ""
        need = found.setdefault((cwd, program, env.get("PATH", path)), _Need(at))
        need.uses += 1
        need.may_be_made = need.may_be_made and has_before
    faults: list[Fault] = []
    folders: set[str] = set()
    for (cwd, program, search), need in found.items():
        folder = base / cwd
        if not folder.is_dir():
            if cwd not in folders:
                folders.add(cwd)
                faults.append(_no_folder(folder, need))
        elif program and (why := _why_not(program, folder, search)) is not None:
            faults.append(_no_program(program, why, need))
    faults.extend(_absent_functions(plan, base, calls))
    faults.extend(_absent_fences(plan))
    return tuple(faults)


def _absent_fences(plan: Plan) -> Iterator[Fault]:
    for name, pool in plan.workers.items():
        if pool.sandbox != "none":
            from runtime.work.fence import fence_refusal  # noqa: PLC0415 (few plans need it)

            if (refusal := fence_refusal()) is not None:
                text, cure = refusal
                yield Fault(f"no write fence here: {text}", cure, ("workers", name, "sandbox"))


def _commands(
    plan: Plan,
) -> Iterator[tuple[Path, tuple[str, ...], str, Mapping[str, str], bool]]:
    """What will run: place, argv, cwd, environment, and whether anything runs before it."""
    for name, workstream in plan.workstreams.items():
        if workstream.skip:
            continue
        for task_name, task in workstream.tasks.items():
            at: Path = ("workstreams", name, "tasks", task_name)
            has_before = bool(workstream.depends_on or task.depends_on)
            # Of a tool the folder is the task's to name, and the program the tool's.
            yield at, task.command, task.cwd, task.env, has_before
            if (tool := plan.tools.get(task.tool or "")) is not None:
                argv = template.expanded(tool.command[:1], workdir=".")
                yield ("tools", task.tool or ""), argv, task.cwd, task.env, has_before
    needed = needed_gates(plan)
    for name, gate in plan.gates.items():
        if name in needed:
            yield ("gates", name), gate.command, gate.cwd, gate.env, True


def _why_not(program: str, folder: FilePath, search: str) -> str | None:
    """Why the program cannot be started from `folder`; None where it can."""
    if "/" in program:
        return _why_not_file(folder / program)
    present = None
    for entry in search.split(os.pathsep):
        why = _why_not_file(folder / entry / program)
        if why is None:
            return None
        if "not there" not in why:
            present = why
    return present or "is not on the PATH"


def _why_not_file(file: FilePath) -> str | None:
    try:
        if not file.exists():
            return "is not there"
        if not file.is_file():
            return "is not a file"
    except (OSError, ValueError) as error:
        return f"cannot be looked up ({error})"
    return None if os.access(file, os.X_OK) else "may not be executed"


def _no_folder(folder: FilePath, need: _Need) -> Fault:
    what = "is not a folder" if folder.exists() else "does not exist"
    text = f"the folder {quoted(str(folder), 200)} {what}{_others(need)}"
    cure = "make it, or mend `cwd`: it is relative to the plan's folder"
    return _fault((*need.at, "cwd"), text, cure, need)


def _no_program(program: str, why: str, need: _Need) -> Fault:
    at = (*need.at, "command", 0)
    text = f"{quoted(program)} {why}{_others(need)}"
    if why == "may not be executed":
        return _fault(at, text, "allow it with chmod +x, or name its interpreter", need)
    if "/" in program:
        return _fault(at, text, "make it first, or mend the path: it is relative to `cwd`", need)
    cure = "install it, or mend the name"
    if " " in program:
        cure = "write each word of a command apart"
    elif program.startswith(("~", "$")):
        cure = "write the path out: no shell reads a command"
    return Fault(text, cure, at)


def _fault(at: Path, text: str, cure: str, need: _Need) -> Fault:
    if not need.may_be_made:
        return Fault(text, cure, at)
    return Fault(f"{text} yet", f"{cure}; what runs before may make it", at, Severity.WARNING)


def _others(need: _Need) -> str:
    return f" (needed in {need.uses} places)" if need.uses > 1 else ""


def _absent_functions(plan: Plan, base: FilePath, calls: Set[str]) -> Iterator[Fault]:
    looked_up: set[str] = set(calls)
    for name, workstream in plan.workstreams.items():
        for task_name, task in workstream.tasks.items():
            if task.call is None or task.call in looked_up or workstream.skip:
                continue
            looked_up.add(task.call)
            at = ("workstreams", name, "tasks", task_name, "call")
            if (found := why_not_callable(task.call, base)) is not None:
                yield Fault(found.text, found.cure, at)
