"""Finding somebody's simulations: a file or a module is imported, and its faults are told with
file and line."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from inspect import isfunction
from pathlib import Path
from types import ModuleType
from typing import Any

from runtime.sim.cases import slug
from runtime.sim.declare import Simulation, of, plain, where
from runtime.sim.proof import Proof

_PREFIX = "banksman_simulation_"


class BadScript(Exception):
    """A script that cannot be simulated. `cure` is what to do about it."""

    def __init__(self, text: str, cure: str) -> None:
        super().__init__(text)
        self.text = text
        self.cure = cure


Found = Simulation | Proof


def find(target: str) -> list[Found]:
    """The simulations that "path.py", "path.py::name", "module" or "module:name" means, in the
    order in which they were written.

    Raises BadScript.
    """
    place, name = _split(target)
    module = _file(Path(place)) if _is_file(place) else _module(place)
    found = {each.name: each for value in vars(module).values() if (each := of(value)) is not None}
    if name and name not in found and isfunction(undecorated := getattr(module, name, None)):
        return [_plain(undecorated, place)]
    if not found:
        cure = "put @simulate on a function: from runtime.sim import simulate"
        raise BadScript(f"{place} has no simulation", cure)
    if not name:
        return list(found.values())
    if name not in found:
        raise BadScript(f"{place} has no simulation {name!r}", f"it has: {', '.join(found)}")
    return [found[name]]


def load(locator: str) -> Simulation:
    """The one simulation of a locator, in whatever process this is."""
    several = find(locator)
    found = several[0]
    if len(several) > 1:
        names = ", ".join(each.name for each in several)
        raise BadScript(
            f"{locator} has several simulations", f"name one: {locator}::NAME of {names}"
        )
    if isinstance(found, Proof):
        raise BadScript(f"{locator} is exhaustive: it has no seeds", "run it without options")
    return found


def _plain(function: Any, place: str) -> Simulation:
    try:
        return plain(function)
    except TypeError as error:
        raise BadScript(f"{place}: {error}", "put @simulate on a function that takes sim") from None


def _split(target: str) -> tuple[str, str]:
    if "::" in target:
        place, _, name = target.partition("::")
        return place, name
    if _is_file(target):
        return target, ""
    place, _, name = target.partition(":")
    return place, name


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place


def _file(path: Path) -> ModuleType:
    """The file as a module, imported once: a second time it is the same."""
    resolved = path.resolve()
    if not resolved.is_file():
        raise BadScript(f"there is no file {path}", "give a Python file, or module:function")
    for module in list(sys.modules.values()):
        if _comes_from(module, resolved):
            return module
    name = f"{_PREFIX}{slug(resolved.stem).replace('-', '_').replace('.', '_')}"
    if name in sys.modules:
        name += f"_{abs(hash(str(resolved))):x}"
    spec = importlib.util.spec_from_file_location(name, resolved)
    if spec is None or spec.loader is None:
        raise BadScript(f"{path} is no Python file", "its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    beside = str(resolved.parent)
    if beside not in sys.path:
        sys.path.insert(0, beside)  # as Python itself does for a script
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        # It is somebody's code, and may raise anything.
        del sys.modules[name]
        raise _faulty(error, resolved) from error
    return module


def _comes_from(module: Any, path: Path) -> bool:
    file = getattr(module, "__file__", None)
    if file is None or getattr(module, "__name__", "") == "__main__":
        return False
    return Path(file).name == path.name and Path(file).resolve() == path


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            cure = "give a file (path.py::function), or a module that can be imported from here"
            raise BadScript(f"there is no module {name!r}", cure) from None
        raise _faulty(error, None) from error
    except Exception as error:
        raise _faulty(error, None) from error


def _faulty(error: Exception, path: Path | None) -> BadScript:
    """What went wrong while it was imported, and in which of its lines."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        at = f"{os.path.relpath(error.filename)}:{error.lineno}"
        return BadScript(f"{at}: {type(error).__name__}: {error.msg}", "mend the script")
    return BadScript(where(error, str(path) if path is not None else None), "mend the script")
