"""A tool's command with its placeholders, and what a task makes of it: an argv, never a shell's.

    {args}     an element of its own: as many arguments as the task gives
    {files}    likewise: the files that the task's patch may touch
    {prompt}   within an argument: the task's text, one argument whatever is in it
    {workdir}  within an argument: the folder that the task works in

`{{name}}` stands for `{name}` as it is. Any other brace means nothing and stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MANY = frozenset({"args", "files"})
ONE = frozenset({"prompt", "workdir"})
_PLACE = r"\{\{([a-z_]+)\}\}|\{([a-z_]+)\}"


def placeholders(command: tuple[str, ...]) -> Iterator[tuple[int, str, bool]]:
    """Each placeholder: the index of its element, its name, and whether it is all of it."""
    for index, element in enumerate(command):
        for found in re.finditer(_PLACE, element):
            if found[2] is not None:
                yield index, found[2], found[0] == element


def names(command: tuple[str, ...]) -> frozenset[str]:
    """The names of its placeholders."""
    return frozenset(name for _, name, _ in placeholders(command))


def expanded(
    command: tuple[str, ...],
    *,
    args: tuple[str, ...] = (),
    files: tuple[str, ...] = (),
    prompt: str | None = None,
    workdir: str = ".",
) -> tuple[str, ...]:
    """The argv. What was put in is never looked at again for placeholders."""
    many = {"{args}": args, "{files}": files}
    one = {"prompt": prompt or "", "workdir": workdir}
    argv: list[str] = []
    for element in command:
        if element in many:
            argv += many[element]
        else:
            argv.append(re.sub(_PLACE, lambda found: _filled(found, one), element))
    return tuple(argv)


def _filled(found: re.Match[str], values: dict[str, str]) -> str:
    if found[1] is not None:
        return f"{{{found[1]}}}"
    return values.get(found[2], found[0])
