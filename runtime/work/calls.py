"""Python callables for inline workers: registered by name, or named "package.module:function"."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from importlib.machinery import PathFinder
from typing import Any

import anyio.to_thread
import msgspec

Function = Callable[..., Any]


class Manner(StrEnum):
    """How a callable is run."""

    AWAITED = "awaited"
    THREAD = "thread"
    HERE = "here"


class Call(msgspec.Struct, frozen=True):
    """A callable, and how an inline worker runs it."""

    function: Function
    manner: Manner


def call_of(function: Function, *, inline: bool = False) -> Call:
    """Async callables are awaited, sync ones get a thread; `inline`: a sync one is called right on
    the event loop, which it must not hold up."""
    own = getattr(function, "__call__", None)  # noqa: B004 - it may be an object with an async one
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(own):
        return Call(function, Manner.AWAITED)
    return Call(function, Manner.HERE if inline else Manner.THREAD)


class CallNotFound(Exception):
    """No such callable; the text says where it was looked for, and the cure."""


async def imported(call: str, base_dir: str) -> Call:
    """The function that `call` names, found in `base_dir` first, then as any import finds it.

    A module runs when it is imported, so that happens in a thread. The search path is changed for
    the import only. Raises CallNotFound.
    """
    return await anyio.to_thread.run_sync(_import, call, base_dir)


def _import(call: str, base_dir: str) -> Call:
    base_dir = os.path.abspath(base_dir)
    module, _, name = call.partition(":")
    _refuse_namesake(module.partition(".")[0], base_dir)
    sys.path.insert(0, base_dir)
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise CallNotFound(f"{call}: {type(error).__name__}: {error}; fix the plan") from error
    finally:
        sys.path.remove(base_dir)
    if not callable(found):
        raise CallNotFound(f"{call}: is no function; fix the plan")
    return call_of(found)


def _refuse_namesake(top: str, base_dir: str) -> None:
    """One process has one module of a name: another one of that name would silently be taken."""
    here = PathFinder.find_spec(top, [base_dir])
    loaded = sys.modules.get(top)
    if here is None or loaded is None or loaded.__spec__ is None:
        return
    if here.origin != loaded.__spec__.origin:
        raise CallNotFound(
            f"{top}: this program has already loaded {loaded.__spec__.origin}; rename the module in"
            f" {base_dir}, or run it on a process worker"
        )
