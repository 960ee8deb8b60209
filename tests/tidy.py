"""The checkers behind `test_tidy.py`: each takes source text and returns what is wrong with it."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from functools import cache

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

# What a pure module may use: values and arithmetic. No clock, chance, identity, I/O or logging.
PURE_STDLIB = frozenset(
    {
        "__future__",
        "bisect",
        "collections",
        "dataclasses",
        "enum",
        "fnmatch",
        "functools",
        "graphlib",
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "string",
        "typing",
        "zlib",
    }
)
IMPURE_CALLS = frozenset(
    {"__import__", "breakpoint", "compile", "eval", "exec", "input", "open", "print"}
)
BROAD = frozenset({"Exception", "BaseException", "ExceptionGroup", "BaseExceptionGroup"})
EMPTY_WORDS = frozenset(
    {"Manager", "Handler", "Helper", "Service", "Util", "Utils", "Base", "Impl", "Data", "Info"}
)

MACHINE_PATHS = re.compile(
    r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)/|/tmp/b[m]\b|\.\./share[d]\b"
)
NO_CODE = re.compile(r"#\s*type:\s*ignore(?!\[[a-z])|#\s*noqa(?!:\s*[A-Z]+\d+)", re.IGNORECASE)
A_CODE = re.compile(
    r"#\s*(?:type:\s*ignore\[[^\]]+\]|noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)", re.IGNORECASE
)


@cache
def parsed(source: str) -> ast.Module:
    """The tree of a source: every checker looks at the same."""
    return ast.parse(source)


# --- imports ----------------------------------------------------------------------------------


def imported(source: str, package: str = "") -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported, wherever it stands; names of a package's
    modules are complete ("from actors import task" is "actors.task")."""
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: -(node.level - 1) or None] if node.level else []
            module = ".".join([*parts, *([node.module] if node.module else [])])
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def is_actor(source: str) -> bool:
    """Whether the module decides, and so may be imported by no other of its kind."""
    return any(isinstance(n, ast.FunctionDef) and n.name == "decide" for n in parsed(source).body)


def wrong_imports_of_actors(source: str, actor_modules: frozenset[str]) -> list[str]:
    """What a module of actors/ imports, and must not."""
    wrong = []
    for line, name in imported(source, "actors"):
        top = name.partition(".")[0]
        if top == "actors":
            if ".".join(name.split(".")[:2]) in actor_modules:
                wrong.append(f"{line}: an actor module, {name}")
        elif top != "msgspec" and top not in PURE_STDLIB:
            wrong.append(f"{line}: {name}")
    return wrong


def wrong_imports_of_runtime(source: str, package: str) -> list[str]:
    """What a module of runtime/ imports, and must not: the arrow goes to actors, and the command
    line stands on everything else, so that an embedding program never loads it."""
    wrong = []
    for line, name in imported(source, package):
        if name.partition(".")[0] in {"tests", "examples"}:
            wrong.append(f"{line}: {name}")
        elif name.startswith("runtime.cli") and not package.startswith("runtime.cli"):
            wrong.append(f"{line}: the command line, {name}")
    return wrong


def wrong_imports_of_child(source: str) -> list[str]:
    """A worker's child starts without anybody's packages: the standard library and its own."""
    own = "runtime.work.child"
    return [
        f"{line}: {name}"
        for line, name in imported(source, own)
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith(own)
    ]


# --- purity, lengths, names -------------------------------------------------------------------


def impurities(source: str) -> list[str]:
    """Whatever in a pure module waits, talks to the outside, or keeps a state of its own."""
    found = []
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await):
            found.append(f"{node.lineno}: waits ({type(node).__name__})")
        elif isinstance(node, ast.Global):
            found.append(f"{node.lineno}: global {', '.join(node.names)}")
        elif isinstance(node, ast.Call) and _called(node) in IMPURE_CALLS:
            found.append(f"{node.lineno}: {_called(node)}()")
    return found


def too_long(source: str) -> list[str]:
    """Files and functions past the bound."""
    found = []
    lines = len(source.splitlines())
    if lines > FILE_LINES_MAX:
        found.append(f"{lines} lines, at most {FILE_LINES_MAX}")
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                found.append(f"{node.lineno}: {node.name} has {length} lines")
    return found


def no_opening(source: str) -> list[str]:
    """A file without a docstring whose first line is a sentence. An empty one needs none."""
    opening = (ast.get_docstring(parsed(source)) or "").split("\n")[0]
    return [] if not source.strip() or opening else ["1: it does not say what it is"]


def empty_names(source: str) -> list[str]:
    """Classes whose name ends in a word that says nothing of what they are."""
    return [
        f"{node.lineno}: {node.name}"
        for node in ast.walk(parsed(source))
        if isinstance(node, ast.ClassDef) and _last_word(node.name) in EMPTY_WORDS
    ]


def _last_word(name: str) -> str:
    words = re.findall(r"[A-Z][a-z]*", name)
    return words[-1] if words else ""


# --- excepts, ignores, sleeps -----------------------------------------------------------------


def broad_excepts(source: str) -> Iterator[tuple[int, str, bool]]:
    """Line, function and whether a reason stands beside it, of each handler that catches anything
    and does not raise again as its last act."""
    comments = _comments(source)
    for function, handler in _handlers(parsed(source)):
        if _is_broad(handler.type) and not isinstance(handler.body[-1], ast.Raise):
            beside = range(handler.lineno - 1, handler.body[0].lineno + 1)
            reasons = [_reason(comments[line]) for line in beside if line in comments]
            yield handler.lineno, function, any(reasons)


def broad_suppressions(source: str) -> list[str]:
    """`suppress(Exception)` hides what a handler would at least have to name."""
    return [
        f"{node.lineno}: suppress"
        for node in ast.walk(parsed(source))
        if isinstance(node, ast.Call)
        and _called(node) == "suppress"
        and any(_is_broad(argument) for argument in node.args)
    ]


def bare_ignores(source: str, *, reasoned: bool) -> list[str]:
    """Every ignore without a code; where `reasoned`, also those without a reason after it or in a
    comment of its own right above."""
    found = []
    comments = _comments(source)
    lines = source.splitlines()
    for line, comment in comments.items():
        above = comments.get(line - 1, "") if lines[line - 2].lstrip().startswith("#") else ""
        if NO_CODE.search(comment):
            found.append(f"{line}: {comment} has no code")
        elif reasoned and A_CODE.search(comment) and not (_reason(comment) or _reason(above)):
            found.append(f"{line}: {comment} has no reason")
    return found


def sleeps(source: str) -> list[str]:
    """Calls of a sleep, but for the zero that only lets others run."""
    found = []
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Call) and _called(node) == "sleep":
            zero = node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
            if not zero:
                found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


def machine_paths(text: str) -> list[str]:
    """Paths that exist on the machine of whoever wrote this."""
    return [
        f"{number}: {found.group()}"
        for number, line in enumerate(text.splitlines(), 1)
        for found in MACHINE_PATHS.finditer(line)
    ]


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _is_broad(expression: ast.expr | None) -> bool:
    if expression is None:
        return True
    parts = expression.elts if isinstance(expression, ast.Tuple) else [expression]
    return any(isinstance(part, ast.Name) and part.id in BROAD for part in parts)


def _handlers(node: ast.AST, function: str = "<module>") -> Iterator[tuple[str, ast.ExceptHandler]]:
    for child in ast.iter_child_nodes(node):
        inside = function
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = child.name
        elif isinstance(child, ast.ExceptHandler):
            yield function, child
        yield from _handlers(child, inside)


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string for t in tokens if t.type == tokenize.COMMENT}


def _reason(comment: str) -> str:
    """The words of a comment that are no code of a checker."""
    return A_CODE.sub("", comment).strip(" #-()")
