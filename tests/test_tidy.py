"""The architecture, as a test: who may import whom, what is pure, how long, and how clean."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests import tidy

ROOT = Path(__file__).parents[1]
ACTORS = sorted((ROOT / "actors").rglob("*.py"))
RUNTIME = sorted((ROOT / "runtime").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))
SOURCES = [*ACTORS, *RUNTIME]
EVERYTHING = [*SOURCES, *TESTS, *EXAMPLES]
TEXTS = [
    *EVERYTHING,
    *sorted(p for kind in ("*.md", "*.toml", "*.sql") for p in ROOT.glob(f"[!.]*/**/{kind}")),
    *sorted(p for kind in ("*.md", "*.toml", "LICENSE", ".ci/run") for p in ROOT.glob(kind)),
]

# Where anything at all may be raised and is answered on the spot: file and function. A new place
# needs an entry here, and beside its `except` the reason.
BROAD_EXCEPTS = {
    ("runtime/cli/app.py", "_run"),  # the command's one error boundary
    ("runtime/cli/joining.py", "_read"),  # handed to the thread that waits for it
    ("runtime/control/server.py", "_answer"),  # one request must not end the owner's run
    ("runtime/errors.py", "cause_of"),  # a user's __str__
    ("runtime/opening.py", "_running"),  # raised again, outside of the group
    ("runtime/perform.py", "_once"),  # a user's performer
    ("runtime/sim/effects.py", "_once"),  # a user's performer
    ("runtime/sim/engine.py", "run"),  # whatever raises in a run is its failure
    ("runtime/sim/expectations.py", "_holds"),  # a user's promise
    ("runtime/sim/space.py", "_take"),  # what a search is looking for
    ("runtime/turns.py", "activate"),  # a bug in one actor must not end the others
    ("runtime/turns.py", "take_envelope"),  # a bug in one actor must not end the others
    ("runtime/work/callee.py", "main"),  # a user's callable, and the import of its module
    ("runtime/work/child/launch.py", "_become"),  # a fork that must end there
    ("runtime/work/inline.py", "_call"),  # a user's callable
    ("runtime/work/inline.py", "_call_here"),  # likewise
}


SOURCE = {path: path.read_text(encoding="utf-8") for path in TEXTS}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def package_of(path: Path) -> str:
    """The package that a file counts to; `python -m runtime` is the command line's other door."""
    if path.name == "__main__.py":
        return "runtime.cli"
    return ".".join(path.relative_to(ROOT).parent.parts)


def found_in(paths: list[Path], check: Callable[[str], list[str]]) -> dict[str, list[str]]:
    """By file, what the checker found: nothing, if all is well."""
    found = {name_of(path): check(SOURCE[path]) for path in paths}
    return {name: wrong for name, wrong in found.items() if wrong}


def actor_modules() -> frozenset[str]:
    return frozenset(f"actors.{p.stem}" for p in ACTORS if tidy.is_actor(SOURCE[p]))


# --- imports --------------------------------------------------------------------------------


def test_the_eight_machines_are_actor_modules() -> None:
    machines = ("run", "workstream", "task", "worker", "uet_worker", "gate", "breaker", "patch")
    assert actor_modules() >= {f"actors.{machine}" for machine in machines}


def test_actors_import_values_and_their_vocabulary_but_never_each_other() -> None:
    check = partial(tidy.wrong_imports_of_actors, actor_modules=actor_modules())
    assert found_in(ACTORS, check) == {}


def test_runtime_imports_actors_and_nothing_imports_the_command_line() -> None:
    wrong = {
        name_of(path): found
        for path in RUNTIME
        if (found := tidy.wrong_imports_of_runtime(SOURCE[path], package_of(path)))
    }
    assert wrong == {}


def test_a_workers_child_imports_the_standard_library_alone() -> None:
    child = [path for path in RUNTIME if path.parent.name == "child"]
    assert child
    assert found_in(child, tidy.wrong_imports_of_child) == {}


# --- purity, lengths, names -----------------------------------------------------------------


def test_actors_are_pure() -> None:
    assert found_in(ACTORS, tidy.impurities) == {}


def test_files_and_functions_are_short() -> None:
    assert found_in(SOURCES, tidy.too_long) == {}


def test_a_file_opens_with_a_sentence() -> None:
    assert found_in(SOURCES, tidy.no_opening) == {}


def test_no_class_has_a_name_that_says_nothing() -> None:
    assert found_in(EVERYTHING, tidy.empty_names) == {}


def test_the_word_is_cancelled() -> None:
    american = re.compile(r"\bcancel(?:ed|ing)\b", re.IGNORECASE)
    assert found_in(TEXTS, american.findall) == {}


# --- excepts, ignores, sleeps, paths -----------------------------------------------------------


def test_actors_catch_nothing_broadly() -> None:
    assert found_in(ACTORS, lambda text: [str(e) for e in tidy.broad_excepts(text)]) == {}


def test_a_broad_except_stands_in_a_named_place() -> None:
    present = {
        (name_of(path), function)
        for path in RUNTIME
        for _, function, _ in tidy.broad_excepts(SOURCE[path])
    }
    assert present == BROAD_EXCEPTS


def test_a_broad_except_has_its_reason_beside_it() -> None:
    unreasoned = [
        f"{name_of(path)}:{line}"
        for path in RUNTIME
        for line, _, reasoned in tidy.broad_excepts(SOURCE[path])
        if not reasoned
    ]
    assert unreasoned == []


def test_nothing_is_suppressed_broadly() -> None:
    assert found_in(SOURCES, tidy.broad_suppressions) == {}


def test_every_ignore_has_a_code_and_a_reason() -> None:
    assert found_in(SOURCES, partial(tidy.bare_ignores, reasoned=True)) == {}


def test_every_ignore_of_a_test_has_a_code() -> None:
    assert found_in([*TESTS, *EXAMPLES], partial(tidy.bare_ignores, reasoned=False)) == {}


def test_no_test_sleeps_to_wait() -> None:
    assert found_in(TESTS, tidy.sleeps) == {}


def test_no_text_names_a_path_of_its_authors_machine() -> None:
    assert found_in(TEXTS, tidy.machine_paths) == {}


def test_ci_runs_the_very_test_command_of_the_readme() -> None:
    readme = SOURCE[ROOT / "README.md"]
    found = re.search(r"## Test it\n+```sh\n(.+)\n```", readme)
    assert found is not None, "the README's Test it holds one command line"
    assert found.group(1) in SOURCE[ROOT / ".ci" / "run"]


# --- the checkers themselves ------------------------------------------------------------------

NAMED = frozenset({"actors.task"})


@pytest.mark.parametrize(
    "bad",
    [
        "import time",
        "import random",
        "from os import path",
        "import runtime.store",
        "def f():\n    import uuid",
        "from actors import task",
        "from actors.task import Task",
        "from . import task",
        "from .task import Task",
    ],
)
def test_a_wrong_import_of_an_actor_is_found(bad: str) -> None:
    assert tidy.wrong_imports_of_actors(bad, NAMED)


def test_a_right_import_of_an_actor_is_let_pass() -> None:
    good = "import msgspec\nfrom enum import StrEnum\nfrom actors import task_rules, messages as m"
    assert tidy.wrong_imports_of_actors(good, NAMED) == []


def test_a_module_that_decides_is_told_from_one_that_does_not() -> None:
    assert tidy.is_actor("def decide(value, message, now): ...")
    assert not tidy.is_actor("class A:\n    def decide(self): ...")


@pytest.mark.parametrize(
    ("bad", "package"),
    [
        ("from tests.kit import x", "runtime"),
        ("import examples.hello", "runtime.store"),
        ("from runtime.cli.text import x", "runtime"),
        ("from runtime import cli", "runtime.view"),
        ("from .cli import text", "runtime"),
    ],
)
def test_a_wrong_import_of_the_runtime_is_found(bad: str, package: str) -> None:
    assert tidy.wrong_imports_of_runtime(bad, package)


def test_the_command_line_may_import_itself() -> None:
    assert tidy.wrong_imports_of_runtime("from runtime.cli import text", "runtime.cli") == []


def test_a_package_in_a_workers_child_is_found_and_its_own_modules_are_not() -> None:
    assert tidy.wrong_imports_of_child("import anyio") == ["1: anyio"]
    assert tidy.wrong_imports_of_child("import os\nfrom .proc import look") == []
    assert tidy.wrong_imports_of_child("from runtime.limits import X")


@pytest.mark.parametrize(
    "bad",
    [
        "async def f(): ...",
        "async def f():\n    await g()",
        "async def f():\n    async with g(): ...",
        "def f():\n    global x",
        "print(1)",
        "open('x')",
        "eval('1')",
    ],
)
def test_an_impurity_is_found(bad: str) -> None:
    assert tidy.impurities(bad)


def test_a_long_file_and_a_long_function_are_found_and_short_ones_are_not() -> None:
    body = "    x = 1\n" * 60
    assert tidy.too_long(f"def f():\n{body}") == ["1: f has 61 lines"]
    assert tidy.too_long(f"async def f():\n{body}") == ["1: f has 61 lines"]
    assert tidy.too_long("x = 1\n" * 501) == ["501 lines, at most 500"]
    assert tidy.too_long("def f():\n" + "    x = 1\n" * 59) == []
    assert tidy.too_long("x = 1\n" * 500) == []


@pytest.mark.parametrize("bad", ["TaskManager", "StoreImpl", "StoreBase", "Handler"])
def test_a_name_that_says_nothing_is_found(bad: str) -> None:
    assert tidy.empty_names(f"class {bad}: ...") == [f"1: {bad}"]


def test_a_name_that_only_begins_like_one_is_let_pass() -> None:
    assert tidy.empty_names("class BaseMoved: ...\nclass Database: ...\nclass Informed: ...") == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("try:\n    f()\nexcept:\n    pass", [(3, "<module>", False)]),
        ("try:\n    f()\nexcept Exception:\n    pass", [(3, "<module>", False)]),
        ("try:\n    f()\nexcept (OSError, BaseException):\n    pass", [(3, "<module>", False)]),
        (
            "def g():\n    try:\n        f()\n    except Exception:  # noqa: BLE001\n        pass",
            [(4, "g", False)],
        ),
        (
            "def g():\n    try:\n        f()\n"
            "    except Exception:  # noqa: BLE001 - a user's code may raise\n        pass",
            [(4, "g", True)],
        ),
        (
            "try:\n    f()\nexcept Exception:\n    # A user's code may raise anything.\n    pass",
            [(3, "<module>", True)],
        ),
        ("try:\n    f()\nexcept BaseException:\n    g()\n    raise", []),
        ("try:\n    f()\nexcept Exception as e:\n    raise Wrong from e", []),
        ("try:\n    f()\nexcept OSError:\n    pass", []),
    ],
)
def test_a_broad_except_is_found_with_its_place_and_whether_it_has_a_reason(
    source: str, found: list[tuple[int, str, bool]]
) -> None:
    assert list(tidy.broad_excepts(source)) == found


def test_a_broad_suppression_is_found() -> None:
    assert tidy.broad_suppressions("with suppress(Exception): ...")
    assert tidy.broad_suppressions("with contextlib.suppress(OSError, BaseException): ...")
    assert not tidy.broad_suppressions("with suppress(OSError): ...")


IGNORE, NOQA = "# type: " + "ignore", "# no" + "qa"  # or this file would have them itself


@pytest.mark.parametrize("bad", [IGNORE, NOQA, f"{IGNORE} # because", f"{NOQA}: because"])
def test_an_ignore_without_a_code_is_found(bad: str) -> None:
    assert tidy.bare_ignores(f"x = 1  {bad}", reasoned=False)


@pytest.mark.parametrize("code", [f"{IGNORE}[arg-type]", f"{NOQA}: F401", f"{NOQA}: F401, E501"])
def test_an_ignore_without_a_reason_is_found(code: str) -> None:
    assert tidy.bare_ignores(f"x = 1  {code}", reasoned=True)
    assert not tidy.bare_ignores(f"x = 1  {code}", reasoned=False)
    assert not tidy.bare_ignores(f"x = 1  {code} # the stub is wrong", reasoned=True)
    assert not tidy.bare_ignores(f"x = 1  {code} - the stub is wrong", reasoned=True)
    assert not tidy.bare_ignores(f"# The stub is wrong.\nx = 1  {code}", reasoned=True)
    assert tidy.bare_ignores(f"y = 1  # the stub is wrong\nx = 1  {code}", reasoned=True)
    assert not tidy.bare_ignores(f"x = '{code}'", reasoned=True)


@pytest.mark.parametrize("bad", ["time.sleep(1)", "await anyio.sleep(0.1)", "sleep(x)", "sleep()"])
def test_a_sleep_is_found(bad: str) -> None:
    assert tidy.sleeps(f"async def f():\n    {bad}")


def test_a_sleep_of_zero_is_let_pass() -> None:
    assert tidy.sleeps("time.sleep(0)") == []


@pytest.mark.parametrize(
    "bad", ["work/main/x", "root/x", "home/ann/x", "Users/ann/x", "tmp/" + "bm", "./shared/x"]
)
def test_a_path_of_somebodys_machine_is_found(bad: str) -> None:
    # Without their first letter here, or this file would be found itself.
    first = "." if bad.startswith("./") else "/"
    assert tidy.machine_paths(f"see {first}{bad} there")


def test_a_path_of_the_project_or_of_every_machine_is_let_pass() -> None:
    assert tidy.machine_paths("runtime/work/child /usr/bin/env /proc/self /tmp/x a/root/b") == []
