"""The line of every key of a TOML text is found, whatever the text holds."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.plan.locate import Lines, TooDeep, find_lines, line_of


def lines(text: str) -> Lines:
    tomllib.loads(text)
    return find_lines(text)


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1\nb = 2", ("b",), 2),
        ("\n# a = 1\n\n[t] # b\n  x = 1", ("t", "x"), 5),
        ("[a.b]\nx = 1\n[a]\ny = 2", ("a", "y"), 4),
        ("[a.b]\nx = 1\n[a]\ny = 2", ("a", "b"), 1),
        ("[a.b]\nx = 1\n[a]\ny = 2", ("a",), 3),
        ("[a.b.c]\nx = 1", ("a", "b"), 1),
        ('["a b".\'c.d\']\n"e\\u0041" = 1', ("a b", "c.d", "eA"), 2),
        ("a.b = 1\na . c = 2", ("a", "c"), 2),
        ('x = """\n[no]\ny = 1\n"""\nz = 2', ("z",), 5),
        ('x = """a\\"""" # "\nz = 2', ("z",), 2),
        ('x = """a"""""\nz = 2', ("z",), 2),
        ("x = '''\n'a'\n'''\nz = 2", ("z",), 4),
        ('x = "a#b\\"]" # c\nz = 2', ("z",), 2),
        ("x = [\n  1, # one\n  [2,\n   3],\n]\nz = 1", ("x", 1, 1), 4),
        ("x = [\n  1, # one\n  [2,\n   3],\n]\nz = 1", ("z",), 6),
        ("x = { a = 1, b = { c = [1,\n2] } }\ny = 1", ("x", "b", "c", 1), 2),
        ("x = { a = 1, b.c = 2 }", ("x", "b", "c"), 1),
        ("x = [ { a = 1 },\n { b.c = 2 } ]", ("x", 1, "b"), 2),
        ("[[t]]\na = 1\n[[t]]\na = 2\n[t.u]\nb = 3\n[[t.v]]\nc = 4", ("t", 1, "u", "b"), 6),
        ("[[t]]\na = 1\n[[t]]\na = 2\n[t.u]\nb = 3\n[[t.v]]\nc = 4", ("t", 1, "v", 0, "c"), 8),
        ("[[t]]\na = 1\n[[t]]\na = 2", ("t", 0), 1),
        ("d = 1979-05-27 07:32:00 # x\nf = +1e3\nt = true", ("t",), 3),
        ("a = 1\r\nb = 2\r\n", ("b",), 2),
    ],
)
def test_a_key_is_found_in_its_line(text: str, path: tuple[str | int, ...], line: int) -> None:
    assert line_of(lines(text), path) == line


def test_what_is_not_there_has_the_line_of_the_nearest_table_around_it() -> None:
    found = lines("[run]\nname = 'x'\n[a.b]\nc = [1]")
    assert line_of(found, ("run", "phase")) == 1
    assert line_of(found, ("a", "b", "c", 7)) == 4
    assert line_of(found, ("workers",)) is None
    assert line_of(found, ()) is None


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("a = 1\nb = 1\na = 2", (("a",), 1, 3)),
        ("[a]\nx = 1\n[b]\n[a]", (("a",), 1, 4)),
        ("[a]\nx.y = 1\nx.y = 2", (("a", "x", "y"), 2, 3)),
    ],
)
def test_what_is_written_twice_is_told_with_both_lines(text: str, again: object) -> None:
    assert find_lines(text).again[0] == again


def test_a_key_of_very_many_parts_is_refused_at_its_line() -> None:
    with pytest.raises(TooDeep) as caught:
        find_lines("a = 1\n" + "a." * 100_000 + "b = 1")
    assert caught.value.line == 2


def test_a_key_and_a_value_may_be_just_as_deep_as_the_bound() -> None:
    assert len(max(find_lines("a." * 63 + "b = 1").written)) == 64
    assert find_lines("a = " + "[" * 64).written
    for deeper in ("a." * 64 + "b = 1", "a = " + "[" * 65):
        with pytest.raises(TooDeep):
            find_lines(deeper)


def test_values_nested_very_deep_are_refused_and_not_recursed_into() -> None:
    with pytest.raises(TooDeep):
        find_lines("a = " + "[" * 100_000)


@given(st.text(alphabet="a.=[]{}\"'\\#,\n\r \t1\0é", max_size=60))
def test_any_text_ends_the_scan(text: str) -> None:
    try:
        found = find_lines(text)
    except TooDeep:
        return
    last = text.count("\n") + 1
    assert all(1 <= line <= last for line in (*found.written.values(), *found.implied.values()))


class Writer:
    """Writes random TOML, and remembers where it put what."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.expected: dict[tuple[str | int, ...], int] = {}

    def line(self) -> int:
        return self.text.count("\n") + 1

    def key(self) -> tuple[str, str]:
        key = self.draw(st.text(alphabet='ab1-_."\\#=[é ', max_size=3))
        if key and key.replace("-", "").replace("_", "").isalnum() and key.isascii():
            return key, key
        if '"' in key or "\\" in key or self.draw(st.booleans()):
            return key, '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return key, f"'{key}'"

    def keys(self, most: int) -> dict[str, str]:
        return dict(self.key() for _ in range(self.draw(st.integers(0, most))))

    def gap(self) -> str:
        return self.draw(st.sampled_from(["", " ", "\n", ' # ]}"\n', "\n\n\t"]))

    def value(self, path: tuple[str | int, ...], depth: int) -> None:
        kinds = ["scalar"] if depth == 0 else ["scalar", "array", "table"]
        match self.draw(st.sampled_from(kinds)):
            case "array":
                self.text += "["
                for index in range(self.draw(st.integers(0, 3))):
                    self.text += self.gap()
                    self.expected[*path, index] = self.line()
                    self.value((*path, index), depth - 1)
                    self.text += self.gap() + ","
                self.text += self.gap() + "]"
            case "table":
                self.text += "{"
                for number, (key, written) in enumerate(self.keys(3).items()):
                    self.text += ", " if number else ""
                    self.expected[*path, key] = self.line()
                    self.text += f"{written} = "
                    self.value((*path, key), depth - 1)
                self.text += "}"
            case _:
                scalars = ["1", "0x1f", "-1.5e3", "true", "1979-05-27 07:32:00", '"a\\"#]}"']
                scalars += ["''", "'a\"#'", '"""\n[x]\n\\""" a"""', "'''\n''b = 1'''", '"""""a"""']
                self.text += self.draw(st.sampled_from(scalars))

    def table(self, path: tuple[str | int, ...], written: str, depth: int) -> None:
        names = self.keys(5)
        tables = set(list(names)[: self.draw(st.integers(0, 3))]) if depth else set()
        for key in names.keys() - tables:
            self.expected[*path, key] = self.line()
            self.text += f"{names[key]} ={' ' * self.draw(st.integers(0, 2))}"
            self.value((*path, key), 2)
            self.text += self.draw(st.sampled_from(["\n", " # x = 1\n", "\r\n", "\n\n  "]))
        for key in tables:
            below = f"{written}.{names[key]}" if written else names[key]
            many = self.draw(st.integers(0, 2))
            self.expected[*path, key] = self.line()
            for index in range(many):
                self.expected[*path, key, index] = self.line()
                self.text += f"[[{below}]]\n"
                self.table((*path, key, index), below, depth - 1)
            if not many:
                self.text += f"[ {below} ] # [x]\n"
                self.table((*path, key), below, depth - 1)


def paths(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = {path} if path else set()
    for key, entry in inner:
        deeper = isinstance(entry, dict | list)
        found |= paths(entry, (*path, key)) if deeper else {(*path, key)}
    return found


@given(st.data())
def test_every_path_that_tomllib_gives_is_found_in_the_line_where_it_was_written(
    data: st.DataObject,
) -> None:
    writer = Writer(data.draw)
    writer.table((), "", 3)
    assert paths(tomllib.loads(writer.text)) == writer.expected.keys()
    found = find_lines(writer.text)
    assert {path: line_of(found, path) for path in writer.expected} == writer.expected
    assert not found.again
