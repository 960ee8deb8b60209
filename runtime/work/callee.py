"""Calls one Python callable in a process of its own: `call` on a process worker.

Standard library only, run by path: what the callable may import is its plan's folder first, then
what the interpreter has. Descriptor 3 holds the call as JSON, 4 takes its result as JSON.
Exit codes: 0 returned, 1 raised or could not be imported (the traceback is in the output).
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
import traceback
from typing import Any

_CALL, _RESULT = 3, 4
_LINE_MAX = 2_000  # characters of an error: more than anybody is shown


def main() -> int:
    """The exit code."""
    os.set_inheritable(_CALL, False)
    os.set_inheritable(_RESULT, False)
    with os.fdopen(_CALL, encoding="utf-8") as call:
        order = json.load(call)
    sys.path.insert(0, order["base_dir"])
    try:
        function = _resolve(order["call"])
    except Exception as error:  # noqa: BLE001 - a module may raise anything while it is imported
        return _fail("not_started", error, f"{order['call']}: ", "; fix the plan")
    try:
        value = function(**order["kwargs"])
        if inspect.isawaitable(value):
            value = _awaited(value)
    except Exception as error:  # noqa: BLE001 - whatever it raises is its outcome
        return _fail("error", error)
    return _answer(value, order["result_max"])


def _resolve(call: str) -> Any:
    module, _, name = call.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _awaited(value: Any) -> Any:
    import asyncio  # noqa: PLC0415 - a third of the start of a callable that does not need it

    async def wait() -> Any:
        return await value

    return asyncio.run(wait())


def _answer(value: Any, result_max: int) -> int:
    try:
        # Half a character, of a name that is no text, is no JSON to others.
        text = json.dumps({"result": value}, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        text, said = b"", f"result left out: {error}"
    else:
        said = f"result left out: longer than {result_max} bytes"
    if text and len(text) <= result_max:
        os.write(_RESULT, text)
    else:
        sys.stderr.write(f"{said}\n")
    return 0


def _fail(reason: str, error: Exception, before: str = "", after: str = "") -> int:
    ours = error.__traceback__
    traceback.print_exception(error.with_traceback(ours.tb_next if ours else None))
    line = f"{before}{type(error).__name__}: {error}".splitlines()[0][:_LINE_MAX] + after
    line = line.encode(errors="backslashreplace").decode()
    os.write(_RESULT, json.dumps({"reason": reason, "error": line}).encode())
    return 1


if __name__ == "__main__":
    sys.exit(main())
