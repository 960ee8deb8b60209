"""Looks for the function of a `call` without importing any code of the user's.

A module is found as the import system would find it, the plan's folder first; its function is
looked for in the source. Where the source tells nothing (an extension module, a star import), the
function is taken to be there.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import warnings
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec, PathFinder, all_suffixes
from pathlib import Path
from typing import NamedTuple

from runtime.limits import CALL_SOURCE_BYTES_MAX
from runtime.plan.fault import Faults, meant, quoted


class Missing(NamedTuple):
    """Why a call cannot be made, and the cure."""

    text: str
    cure: str


def why_not_callable(call: str, base_dir: Path) -> Missing | None:
    """None where `call` ("package.module:function") seems to be there."""
    module, _, function = call.partition(":")
    try:
        source = _source_of(module, base_dir)
    except LookupError:
        cure = f"install it, or put it below {quoted(str(base_dir), 200)}, the plan's folder"
        return Missing(f"there is no module {quoted(module)}", cure)
    if source is None:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # an odd escape is its author's to see
            names = set(_bound(ast.parse(source.read_bytes())))
    except (SyntaxError, ValueError, RecursionError) as error:
        return Missing(f"{source} is no Python: {error}", "mend it")
    wanted = function.partition(".")[0]
    if wanted in names or {"*", "__getattr__"} & names:
        return None
    cure = meant(Faults().nearest(wanted, sorted(names)), "define it there, or mend the name")
    return Missing(f"{quoted(module)} has no {quoted(wanted)}", cure)


def _source_of(module: str, base_dir: Path) -> Path | None:
    """The module's source; None where it has none to read. Raises LookupError: no such module."""
    top, *rest = module.split(".")
    spec = PathFinder.find_spec(top, [str(base_dir)]) or _installed(top)
    if spec is None:
        raise LookupError(top)
    if not rest:
        return _readable(Path(spec.origin)) if spec.origin else None
    if spec.submodule_search_locations is None and module in sys.modules:
        return None  # a module that puts others below itself, as os does with os.path
    folders = [Path(entry) for entry in spec.submodule_search_locations or ()]
    if any(not folder.is_dir() for folder in folders):
        return None  # a zip file, or something else that only an import could open
    for part in rest[:-1]:
        folders = [folder / part for folder in folders if (folder / part).is_dir()]
    return _below(folders, rest[-1])


def _installed(top: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(top)
    except ValueError:  # in sys.modules without a spec, as __main__ is
        return ModuleSpec(top, None)


def _below(folders: Iterable[Path], part: str) -> Path | None:
    for folder in folders:
        if (package := folder / part / "__init__.py").is_file():
            return _readable(package)
        for suffix in all_suffixes():
            if (file := folder / (part + suffix)).is_file():
                return _readable(file)
    raise LookupError(part)


def _readable(file: Path) -> Path | None:
    try:
        small = file.stat().st_size <= CALL_SOURCE_BYTES_MAX
    except OSError:
        return None
    return file if small and file.suffix == ".py" else None


def _bound(tree: ast.Module) -> Iterator[str]:
    """The names that the statements of a module bind, also below `if` and `try`."""
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif not isinstance(node, ast.Lambda):
            left.extend(ast.iter_child_nodes(node))
