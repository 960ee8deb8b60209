"""Git driven as a program, so that nobody's configuration has a say: the environment and the
settings that every call of ours has, and what a call gives back.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import anyio
import msgspec

HARMLESS = (
    *("core.fsmonitor=false", "core.untrackedCache=false", "core.hooksPath=/dev/null"),
    *("core.protectNTFS=true", "core.protectHFS=true"),
)
# Wins over every .gitattributes of a tree: contents are bytes, whatever it says of them.
PLAIN_ATTRIBUTES = "* -text -eol -ident -filter -working-tree-encoding {diff} -merge\n"


class Overflow(Exception):
    """The command wrote more than it may; it was killed."""


class Said(msgspec.Struct, frozen=True):
    """What a command that ended gave back."""

    code: int
    out: bytes
    err: bytes


def settings(config: Iterable[str]) -> list[str]:
    """As options, that win over every file."""
    return [word for setting in config for word in ("-c", setting)]


def environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Nothing of ours but the path: no file of the user's or the system's is read, no replacement
    of objects is followed, nobody is asked for a password, no missing object is fetched."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
        **more,
    }


def prepare_bare(folder: Path, *, diff: str = "-diff", config: str = "") -> None:
    """The least that git takes for a repository; nothing happens where it is one. `diff` is the
    attribute that says whether files are compared as text."""
    if not (folder / "HEAD").exists():
        (folder / "info").mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("objects", "refs"):
            (folder / name).mkdir(exist_ok=True)
        (folder / "info" / "attributes").write_text(PLAIN_ATTRIBUTES.format(diff=diff))
        if config:
            (folder / "config").write_text(config)
        (folder / "HEAD").write_text("ref: refs/heads/none\n")


async def run_git(
    argv: list[str],
    cwd: str,
    env: dict[str, str],
    given: bytes = b"",
    *,
    bytes_max: int,
    errors: bool = False,
) -> Said:
    """What a command writes, in full, and its exit code; `err` only where `errors` are wanted.
    `given` comes from a file, so that neither waits for the other. Raises Overflow, OSError."""
    source, told = os.memfd_create("given"), os.memfd_create("errors")
    try:
        view = memoryview(given)
        while view:
            view = view[os.write(source, view) :]
        os.lseek(source, 0, os.SEEK_SET)
        process = await anyio.open_process(
            argv,
            stdin=source,
            stderr=told if errors else subprocess.DEVNULL,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )
        parts: list[bytes] = []
        size = 0
        async with process:
            assert process.stdout is not None
            async for part in process.stdout:
                parts.append(part)
                size += len(part)
                if size > bytes_max:
                    process.kill()
                    raise Overflow
            code = await process.wait()
        return Said(code, b"".join(parts), os.pread(told, bytes_max, 0))
    finally:
        os.close(source)
        os.close(told)
