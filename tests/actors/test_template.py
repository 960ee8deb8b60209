"""A tool's command and what a task makes of it."""

from __future__ import annotations

import pytest

from actors.template import expanded, names, placeholders


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        (("ruff", "check"), ("ruff", "check")),
        (("ruff", "{args}"), ("ruff", "-q", "a b")),
        (("ruff", "{args}", "--", "{files}"), ("ruff", "-q", "a b", "--", "x.py", "y.py")),
        (("ai", "{prompt}"), ("ai", 'say "hi"; rm -rf $HOME {args}')),
        (("ai", "--text={prompt}"), ("ai", '--text=say "hi"; rm -rf $HOME {args}')),
        (("{workdir}/run", "-C{workdir}"), ("/src/run", "-C/src")),
        (("jq", "{{name}}", "{a: 1}", "{}", "{A}"), ("jq", "{name}", "{a: 1}", "{}", "{A}")),
    ],
)
def test_placeholders_are_filled_in_and_nothing_else_is_touched(
    command: tuple[str, ...], argv: tuple[str, ...]
) -> None:
    filled = expanded(
        command,
        args=("-q", "a b"),
        files=("x.py", "y.py"),
        prompt='say "hi"; rm -rf $HOME {args}',
        workdir="/src",
    )
    assert filled == argv


def test_without_arguments_nothing_stands_in_their_place() -> None:
    assert expanded(("ruff", "{args}", "{files}", ".")) == ("ruff", ".")


def test_what_is_put_in_is_not_looked_at_again() -> None:
    assert expanded(("t", "{args}"), args=("{prompt}", "{{x}}"), prompt="no") == (
        *("t", "{prompt}", "{{x}}"),
    )


def test_placeholders_are_found_with_their_places() -> None:
    found = list(placeholders(("t", "{args}", "a{prompt}b", "{{not}}")))
    assert found == [(1, "args", True), (2, "prompt", False)]
    assert names(("t", "{nope}")) == {"nope"}
