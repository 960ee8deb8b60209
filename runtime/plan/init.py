"""Writes a first plan for a repository, from the files that say how it is checked and built.

What is found becomes four workstreams at most: lint, types and test side by side, build after them.
A formatter's check becomes a gate, since it judges and makes nothing. Nothing is executed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from runtime.errors import BanksmanError
from runtime.plan.tooling import Found, Gate, Task, tooling

PLAN_NAME: Final = "plan.toml"

_ORDER = ("lint", "types", "test", "build")


class PlanExists(BanksmanError):
    """A plan is there already; it was left as it is."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists already; --force writes it anew, or name another file")
        self.path = path


def write_first_plan(repo: Path, path: Path | None = None, *, force: bool = False) -> Path:
    """Writes `first_plan(repo)` to `path` (None: PLAN_NAME in the repository), and gives that path.

    Raises PlanExists unless `force`; OSError where it cannot be written. Never leaves half a plan.
    """
    target = repo / PLAN_NAME if path is None else path
    if not force and os.path.lexists(target):
        raise PlanExists(target)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        # What a plan names is taken from its own folder, wherever the repository is.
        cwd = "." if target.parent.resolve() == repo.resolve() else _to(repo, target.parent)
        beside.write_text(first_plan(repo, cwd), encoding="utf-8")
        if force:
            os.replace(beside, target)
        else:
            os.link(beside, target)  # unlike a replace, never over what came there meanwhile
    except FileExistsError:
        raise PlanExists(target) from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
    return target


def _to(repo: Path, folder: Path) -> str:
    """The way from the plan's folder to the repository: short where they lie together."""
    way = os.path.relpath(repo.resolve(), folder.resolve())
    return str(repo.resolve()) if way.count("..") > 2 else way


def first_plan(repo: Path, cwd: str = ".") -> str:
    """The text of a plan that runs what the repository is set up for; it passes `check`. `cwd`: the
    repository, as seen from the plan's folder."""
    found = tooling(repo)
    if not found.tasks:
        found = found._replace(
            tasks=(Task("hello", "greet", ("echo", "the way is clear")),), gates=()
        )
    return "\n".join(_lines(_name(repo), found, cwd)) + "\n"


class _Place(NamedTuple):
    """One workstream as it will be written."""

    name: str
    depends_on: tuple[str, ...]
    gates: tuple[str, ...]
    tasks: tuple[Task, ...]


def _places(found: Found) -> Iterator[_Place]:
    names = [name for name in _ORDER if any(task.workstream == name for task in found.tasks)]
    names = names or list(dict.fromkeys(task.workstream for task in found.tasks))
    for name in names:
        # A gate whose workstream has no tasks judges the first one instead.
        gates = tuple(
            gate.name
            for gate in found.gates
            if (gate.workstream if gate.workstream in names else names[0]) == name
        )
        depends_on = tuple(names[:-1]) if name == "build" else ()
        tasks = tuple(task for task in found.tasks if task.workstream == name)
        yield _Place(name, depends_on, gates, tasks)


def _lines(name: str, found: Found, cwd: str) -> Iterator[str]:
    yield "# A first plan, written by `banksman init`: run it with `banksman run`, and change it."
    if found.seen:
        yield f"# It comes from {', '.join(found.seen)}."
    else:
        yield "# Nothing here says how it is checked or built: put your own commands in."
    yield "# Commands are lists of words and meet no shell; docs/plans.md has the whole format."
    yield ""
    yield "[run]"
    yield f"name = {_text(name)}"
    for gate in found.gates:
        yield from _gate(gate, cwd)
    for place in _places(found):
        yield from _workstream(place, cwd)


def _gate(gate: Gate, cwd: str) -> Iterator[str]:
    yield ""
    yield f"[gates.{gate.name}]"
    yield f"type = {_text(gate.type)}"
    yield f"command = {_list(gate.command)}"
    if cwd != ".":
        yield f"cwd = {_text(cwd)}"


def _workstream(place: _Place, cwd: str) -> Iterator[str]:
    if place.depends_on or place.gates:
        yield ""
        yield f"[workstreams.{place.name}]"
    if place.depends_on:
        yield f"depends_on = {_list(place.depends_on)}"
    if place.gates:
        yield f"gates = {_list(place.gates)}"
    for task in place.tasks:
        yield ""
        yield f"[workstreams.{place.name}.tasks.{task.name}]"
        yield f"command = {_list(task.command)}"
        if cwd != ".":
            yield f"cwd = {_text(cwd)}"
        if task.depends_on:
            yield f"depends_on = {_list(task.depends_on)}"
        if task.concurrency_key is not None:
            yield f"concurrency_key = {_text(task.concurrency_key)}"
        for key, value in task.env:
            yield f"env = {{ {key} = {_text(value)} }}"
        if place.name == "test":
            yield "timeout_s = 1800"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _list(texts: Iterable[str]) -> str:
    return "[" + ", ".join(map(_text, texts)) + "]"


def _name(repo: Path) -> str:
    """The folder's name, as far as it can be an id."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", repo.absolute().name)[:48].strip("-_")
    return plain or "plan"
