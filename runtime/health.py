"""A tool's health command: whether the tool works, asked before its breaker is reset.

An argv, never a shell; stdin closed, a session of its own, the little environment that any command
gets. What it started is killed with it at the end of its time.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from runtime.limits import HEALTH_OUTPUT_BYTES_MAX, HEALTH_TIMEOUT_S
from runtime.work.environment import environment

# What left the group may hold the pipe open: it is not waited for.
_LAST_WORDS_S = 1.0


class Health(msgspec.Struct, frozen=True):
    """What became of it. `said`: its last lines, or why there are none."""

    passed: bool
    said: str


async def ask(
    command: Sequence[str], base_dir: Path, timeout_s: float = HEALTH_TIMEOUT_S
) -> Health:
    """Runs the command in `base_dir`; it passes with exit code 0 in time."""
    # A pipe of our own: one of asyncio's would be waited for as long as a daemon holds it.
    theirs, ours = os.pipe()[::-1]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            cwd=base_dir,
            env=environment(os.environ, (), {}, {}),
            start_new_session=True,
        )
    except OSError as error:
        os.close(ours)
        return Health(False, f"{command[0]} cannot be started: {error.strerror or error}")
    finally:
        os.close(theirs)
    printed = bytearray()
    reading = asyncio.create_task(_read(ours, printed))
    try:
        async with asyncio.timeout(timeout_s):
            code = await process.wait()
    except TimeoutError:
        code = None
    finally:
        # Also what it left behind on purpose: nothing of it outlives its answer.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await asyncio.wait([reading], timeout=_LAST_WORDS_S)
        reading.cancel()
    if code is None:
        return Health(False, f"no end within {timeout_s:g} s; {_text(printed)}")
    return Health(code == 0, f"exit code {code}; {_text(printed)}")


async def _read(pipe: int, into: bytearray) -> None:
    """To its end. The last of it is kept: there a failure says what it is."""
    stream = asyncio.StreamReader(HEALTH_OUTPUT_BYTES_MAX)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(pipe, "rb", buffering=0)
    )
    try:
        while chunk := await stream.read(HEALTH_OUTPUT_BYTES_MAX):
            into += chunk
            del into[:-HEALTH_OUTPUT_BYTES_MAX]
    finally:
        transport.close()


def _text(printed: bytearray) -> str:
    return bytes(printed).decode(errors="replace").strip() or "it printed nothing"
