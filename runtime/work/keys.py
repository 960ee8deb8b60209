"""The key of a verdict: what it holds for, in one digest.

It covers the tree, what git ignores in it, the folder, the command, the values of the environment
that reach it, and the files that the command's words name: the program itself as it is found in
PATH, and the packages of the Python environment that it lies in. No value can be read back from it,
nor tried out without the secret beside it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from runtime.work.tree import Tree

SECRET_BYTES = 32


def key_of(
    secret: bytes, tree: Tree, cwd: str, command: Sequence[str], env: Mapping[str, str]
) -> str:
    """The digest; the same for the same."""
    covered = (
        1,  # of this way to make it
        tree.tree,
        tree.ignored,
        os.path.relpath(cwd, tree.top),
        tuple(command),
        sorted(env.items()),
        list(_files(command, cwd, env)),
    )
    text = msgspec.json.encode(_encodable(covered))
    return hmac.new(secret, text, hashlib.sha256).hexdigest()


def secret_of(folder: Path) -> bytes:
    """The secret of a state directory, made where there is none."""
    path = folder / "secret"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        if len(found := path.read_bytes()) == SECRET_BYTES:
            return found
    # Whole or not at all: with the empty one of a crash or a full disk, values could be tried out.
    made = folder / f"secret.{secrets.token_hex(4)}"
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)
    return path.read_bytes()


def _files(
    command: Sequence[str], cwd: str, env: Mapping[str, str]
) -> Iterator[tuple[object, ...]]:
    program = shutil.which(
        os.path.join(cwd, command[0]) if "/" in command[0] else command[0],
        path=env.get("PATH", os.defpath),
    )
    for path in (program, *(os.path.join(cwd, word) for word in command[1:])):
        try:
            found = os.stat(path) if path is not None else None
        except (OSError, ValueError):
            continue
        if path is not None and found is not None and stat.S_ISREG(found.st_mode):
            yield os.path.realpath(path), found.st_size, found.st_mtime_ns
    if program is not None:
        yield from _packages(Path(program).parent.parent)


def _packages(environment: Path) -> Iterator[tuple[object, ...]]:
    """The packages of a Python environment: to install one changes a name or a time here."""
    if not (environment / "pyvenv.cfg").is_file():
        return
    for folder in sorted(environment.glob("lib/python*/site-packages")):
        for entry in sorted(os.scandir(folder), key=lambda found: found.name):
            if entry.name != "__pycache__":
                yield entry.name, entry.stat(follow_symlinks=False).st_mtime_ns


def _encodable(value: object) -> object:
    """Names of files may be no text: JSON takes them by their bytes."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="surrogatepass").hex()
    if isinstance(value, tuple | list):
        return [_encodable(each) for each in value]
    return value
