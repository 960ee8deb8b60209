"""Finds how a repository is linted, typed, tested and built, from the files that configure it."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

# Configuration of tools is small; what is larger was not written by hand.
_BYTES_MAX = 1024 * 1024

_NODE_SCRIPTS = {
    "lint": ("lint",),
    "types": ("typecheck", "type-check", "check-types", "types", "tsc"),
    "test": ("test",),
    "build": ("build",),
}
_MAKE_TARGETS = {
    "lint": ("lint",),
    "types": ("typecheck", "type-check", "types", "mypy"),
    "test": ("test", "tests", "check"),
    "build": ("build", "all"),
}
_FORMAT_SCRIPTS = ("format:check", "format-check", "check-format", "fmt-check", "prettier:check")
_NODE_LOCKS = {"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn", "bun.lock": "bun", "bun.lockb": "bun"}


class Task(NamedTuple):
    """A task of the first plan."""

    workstream: str
    name: str
    command: tuple[str, ...]
    depends_on: tuple[str, ...] = ()
    concurrency_key: str | None = None
    env: tuple[tuple[str, str], ...] = ()


class Gate(NamedTuple):
    """A gate of the first plan, which judges a workstream before it is complete."""

    workstream: str
    name: str
    type: str
    command: tuple[str, ...]


class Found(NamedTuple):
    """What a repository is set up for, and the files that said so."""

    tasks: tuple[Task, ...]
    gates: tuple[Gate, ...]
    seen: tuple[str, ...]


def tooling(repo: Path) -> Found:
    """All that was recognised; no tasks where nothing was. Runs nothing."""
    steps: list[Task | Gate] = []
    seen: list[str] = []
    for find, files in (
        (_python, ("pyproject.toml", "setup.py", "setup.cfg", "tox.ini", "noxfile.py", "tests")),
        (_node, ("package.json",)),
        (_rust, ("Cargo.toml",)),
        (_go, ("go.mod",)),
        (_cmake, ("CMakeLists.txt",)),
    ):
        found = list(find(repo))
        steps += found
        seen += [file for file in files if found and (repo / file).exists()]
    covered = {step.workstream for step in steps}
    made = [step for step in _make(repo) if step.workstream not in covered]
    steps += made
    seen += ["the Makefile"] if made else []
    return Found(
        tuple(step for step in steps if isinstance(step, Task)),
        tuple(step for step in steps if isinstance(step, Gate)),
        tuple(seen),
    )


def _python(repo: Path) -> Iterator[Task | Gate]:
    project = _toml(repo / "pyproject.toml")
    tools = _table(project.get("tool"))
    ini = "".join(_read(repo / name) for name in ("setup.cfg", "tox.ini"))
    if "ruff" in tools or _any(repo, "ruff.toml", ".ruff.toml"):
        ruff = _program(repo, "ruff")
        yield Task("lint", "ruff", (ruff, "check", "."))
        yield Gate("lint", "ruff-format", "LINT", (ruff, "format", "--check", "."))
    if "[flake8]" in ini or _any(repo, ".flake8"):
        yield Task("lint", "flake8", (_program(repo, "flake8"),))
    if "mypy" in tools or "[mypy]" in ini or _any(repo, "mypy.ini", ".mypy.ini"):
        told_what = {"files", "packages", "modules"} & _table(tools.get("mypy")).keys()
        yield Task("types", "mypy", (_program(repo, "mypy"), *(() if told_what else (".",))))
    if "pyright" in tools or _any(repo, "pyrightconfig.json"):
        yield Task("types", "pyright", (_program(repo, "pyright"),))
    yield from _python_tests(repo, tools, ini)
    if "build-system" in project or _any(repo, "setup.py"):
        wheel = ("-m", "pip", "wheel", "--no-deps", "--wheel-dir", "dist", ".")
        yield Task("build", "wheel", (_python_program(repo), *wheel))


def _python_tests(repo: Path, tools: Mapping[str, Any], ini: str) -> Iterator[Task]:
    python = _python_program(repo)
    configured = "pytest" in tools or "[pytest]" in ini or "[tool:pytest]" in ini
    if configured or _any(repo, "pytest.ini", "conftest.py", "tests/conftest.py"):
        yield Task("test", "pytest", (python, "-m", "pytest", "-q"))
    elif _any(repo, "noxfile.py"):
        yield Task("test", "nox", (_program(repo, "nox"),))
    elif "[tox]" in _read(repo / "tox.ini"):
        yield Task("test", "tox", (_program(repo, "tox"),))
    elif any((repo / "tests").glob("test_*.py")):
        mentions = "pytest" in _read(repo / "pyproject.toml") + _read(repo / "requirements-dev.txt")
        runner = (
            ("pytest", "-q") if mentions else ("unittest", "discover", "-s", "tests", "-t", ".")
        )
        yield Task("test", runner[0], (python, "-m", *runner))


def _node(repo: Path) -> Iterator[Task | Gate]:
    package = _read(repo / "package.json")
    try:
        scripts = _table(_table(json.loads(package or "{}")).get("scripts"))
    except (ValueError, RecursionError):
        return
    locks = (manager for lock, manager in _NODE_LOCKS.items() if (repo / lock).is_file())
    manager = next(locks, "npm")
    for workstream, names in _NODE_SCRIPTS.items():
        name = _first(names, scripts)
        # What `npm init` writes fails always, and says so.
        if name is not None and "no test specified" not in str(scripts[name]):
            command = (manager, "run", name)
            yield Task(workstream, f"{manager}-{name}", command, env=(("CI", "1"),))
    if (name := _first(_FORMAT_SCRIPTS, scripts)) is not None:
        yield Gate("lint", f"{manager}-format", "LINT", (manager, "run", name))


def _rust(repo: Path) -> Iterator[Task | Gate]:
    if not _any(repo, "Cargo.toml"):
        return
    # cargo locks its target folder: side by side the commands would only wait for each other.
    for workstream, name, words in (
        ("lint", "clippy", ("clippy", "--all-targets")),
        ("types", "cargo-check", ("check", "--all-targets")),
        ("test", "cargo-test", ("test",)),
        ("build", "cargo-build", ("build", "--release")),
    ):
        yield Task(workstream, name, ("cargo", *words), concurrency_key="cargo")
    yield Gate("lint", "cargo-fmt", "LINT", ("cargo", "fmt", "--check"))


def _go(repo: Path) -> Iterator[Task]:
    if _any(repo, "go.mod"):
        yield Task("lint", "go-vet", ("go", "vet", "./..."))
        yield Task("test", "go-test", ("go", "test", "./..."))
        yield Task("build", "go-build", ("go", "build", "./..."))


def _cmake(repo: Path) -> Iterator[Task | Gate]:
    lists = _read(repo / "CMakeLists.txt")
    if not lists:
        return
    yield Task("build", "cmake-configure", ("cmake", "-S", ".", "-B", "build"))
    compile_ = ("cmake", "--build", "build")
    yield Task("build", "cmake-build", compile_, depends_on=("cmake-configure",))
    if re.search(r"enable_testing|include\s*\(\s*CTest", lists, re.IGNORECASE):
        ctest = ("ctest", "--test-dir", "build", "--output-on-failure")
        yield Gate("build", "ctest", "UNIT", ctest)


def _make(repo: Path) -> Iterator[Task]:
    names = ("GNUmakefile", "makefile", "Makefile")
    text = next(filter(None, (_read(repo / name) for name in names)), "")
    targets = set(re.findall(r"^([A-Za-z0-9][A-Za-z0-9_.-]*)[ \t]*::?(?!=)", text, re.MULTILINE))
    for workstream, wanted in _MAKE_TARGETS.items():
        if (target := _first(wanted, targets)) is not None:
            yield Task(workstream, f"make-{target}", ("make", target))


def _python_program(repo: Path) -> str:
    for folder in (".venv", "venv"):
        if (repo / folder / "bin" / "python").exists():
            return f"{folder}/bin/python"
    return "python3"


def _program(repo: Path, name: str) -> str:
    """The program of the repository's own virtual environment, else the one on the PATH."""
    for folder in (".venv", "venv"):
        if (repo / folder / "bin" / name).exists():
            return f"{folder}/bin/{name}"
    return name


def _any(repo: Path, *names: str) -> bool:
    return any((repo / name).is_file() for name in names)


def _first(names: Iterable[str], present: Iterable[str]) -> str | None:
    there = set(present)
    return next((name for name in names if name in there), None)


def _read(file: Path) -> str:
    """The text of a small file; nothing where there is none, or none that can be read."""
    try:
        if not file.is_file() or file.stat().st_size > _BYTES_MAX:
            return ""
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_read(file))
    except (ValueError, RecursionError):
        return {}  # a broken file is its own tool's to report


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
