"""Python callables on a process worker: a process of their own, their plan's folder first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.work.child.proc import descendants
from tests.runtime.work_kit import Desk, alive, bell, working

JOBS = """
import os, sys

def add(a, b=1):
    print("adding", flush=True)
    return {"sum": a + b}

async def later(value):
    import asyncio
    await asyncio.sleep(0)
    return [value]

def fail(text):
    raise ValueError(text)

def leave(code):
    sys.exit(code)

def odd():
    return object()

def long(size):
    return "x" * size

def absent():
    raise FileNotFoundError(os.fsdecode(b"\\xff"))

def name():
    return os.fsdecode(b"\\xff")

def scribble(text, repeat=1):
    os.write(4, text.encode() * repeat)
    os._exit(0)

def ring(path):
    with open(path, "w") as bell:
        print(os.getpid(), file=bell)
    import time
    time.sleep(60)

def see():
    from pathlib import Path
    line = Path("/proc/self/cmdline").read_bytes().decode()
    fds = sorted(os.listdir("/proc/self/fd"))
    return [line, len(fds), sys.path[0]]

class Tools:
    @staticmethod
    def double(n):
        return 2 * n
"""


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    (tmp_path / "jobs.py").write_text(JOBS)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "json.py").write_text("raise RuntimeError('taken for the real one')\n")
    async with working(tmp_path, result_max=1000) as desk:
        await desk.start()
        yield desk


async def test_a_callable_gets_its_kwargs_and_its_result_comes_back(desk: Desk) -> None:
    outcome = await desk.do(call="jobs:add", kwargs={"a": 2, "b": 3})
    assert (outcome.exit_code, outcome.reason, outcome.result) == (0, None, {"sum": 5})
    assert desk.output().read_text() == "adding\n"


async def test_an_async_callable_is_awaited(desk: Desk) -> None:
    assert (await desk.do(call="jobs:later", kwargs={"value": "ü"})).result == ["ü"]


async def test_a_callable_may_be_an_attribute_of_a_class(desk: Desk) -> None:
    assert (await desk.do(call="jobs:Tools.double", kwargs={"n": 21})).result == 42


async def test_a_callable_that_raises_has_failed_and_its_traceback_is_its_output(
    desk: Desk,
) -> None:
    outcome = await desk.do(call="jobs:fail", kwargs={"text": "no\nway"})
    assert (outcome.exit_code, outcome.reason) == (1, "error")
    assert outcome.error == "ValueError: no"
    printed = desk.output().read_text()
    assert printed.startswith("Traceback")
    assert "raise ValueError(text)" in printed
    assert "callee.py" not in printed


async def test_a_callable_that_exits_has_that_exit_code(desk: Desk) -> None:
    outcome = await desk.do(call="jobs:leave", kwargs={"code": 5})
    assert (outcome.exit_code, outcome.reason) == (5, None)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (
            "nowhere:run",
            "nowhere:run: ModuleNotFoundError: No module named 'nowhere'; fix the plan",
        ),
        ("jobs:gone", "jobs:gone: AttributeError: module 'jobs' has no attribute 'gone'"),
        ("broken:run", "broken:run: ModuleNotFoundError: No module named 'nothing_of_that_name'"),
    ],
)
async def test_a_callable_that_cannot_be_found_was_not_started(
    desk: Desk, call: str, error: str
) -> None:
    outcome = await desk.do(call=call)
    assert (outcome.reason, outcome.infrastructure) == ("not_started", False)
    assert (outcome.error or "").startswith(error)


async def test_wrong_kwargs_are_the_works_fault(desk: Desk) -> None:
    outcome = await desk.do(call="jobs:add", kwargs={"c": 1})
    assert outcome.reason == "error"
    assert (outcome.error or "").startswith("TypeError: add() got an unexpected keyword")


async def test_a_result_that_is_no_json_is_left_out_and_said_so(desk: Desk) -> None:
    outcome = await desk.do(call="jobs:odd")
    assert (outcome.exit_code, outcome.result) == (0, None)
    assert "result left out: Object of type object is not JSON" in desk.output().read_text()


async def test_a_result_that_is_too_long_is_left_out_and_said_so(desk: Desk) -> None:
    outcome = await desk.do(call="jobs:long", kwargs={"size": 1000})
    assert (outcome.exit_code, outcome.result) == (0, None)
    assert desk.output().read_text() == "result left out: longer than 1000 bytes\n"


async def test_large_kwargs_arrive_and_stand_in_nobodys_command_line(
    desk: Desk, tmp_path: Path
) -> None:
    outcome = await desk.do(call="jobs:see", kwargs={})
    line, descriptors, folder = outcome.result
    assert "jobs" not in line
    assert descriptors == 5  # the three, the listing, and the one for the result
    assert folder == str(tmp_path)
    large = await desk.do(call="jobs:add", kwargs={"a": "x" * 200_000, "b": ""})
    assert large.exit_code == 0


async def test_a_callable_ends_when_it_is_withdrawn(desk: Desk, tmp_path: Path) -> None:
    async with bell(tmp_path) as rung:
        begun = await desk.begin(call="jobs:ring", kwargs={"path": rung.path})
        pid = int(await rung.wait())
        desk.withdraw(begun.lease, "timeout")
        outcome = await desk.ended(begun.lease)
    assert (outcome.reason, outcome.signal, outcome.result) == ("timeout", 15, None)
    assert not alive(pid)
    assert len(descendants(_child(desk))) == 0


def _child(desk: Desk) -> int:
    assert desk.uet is not None
    return desk.uet.pid


@pytest.mark.parametrize(
    ("text", "repeat"),
    [
        ("no json", 1),
        ('{"error": 5}', 1),
        ('{"reason": 5, "result": 1}', 1),
        ('{"reason": "lost", "result": 1}', 1),
        ("[", 100_000),
        ("[", 3_000_000),
        ('{"result": "\\ud800"}', 1),
    ],
    ids=["no json", "error", "reason", "another reason", "deep", "long", "half a character"],
)
async def test_what_is_left_in_the_place_of_a_result_and_is_none_is_left_out(
    desk: Desk, text: str, repeat: int
) -> None:
    outcome = await desk.do(call="jobs:scribble", kwargs={"text": text, "repeat": repeat})
    assert (outcome.exit_code, outcome.reason, outcome.result) == (0, None, None)
    assert (await desk.do(call="jobs:add", kwargs={"a": 1})).result == {"sum": 2}


async def test_a_name_that_is_no_text_is_told_in_an_error_and_left_out_as_a_result(
    desk: Desk,
) -> None:
    failed = await desk.do(call="jobs:absent")
    assert (failed.reason, failed.error) == ("error", "FileNotFoundError: \\udcff")
    named = await desk.do(call="jobs:name")
    assert (named.exit_code, named.result) == (0, None)
    assert "result left out" in desk.output("t2").read_text()


async def test_of_an_endless_error_the_beginning_is_told(desk: Desk) -> None:
    failed = await desk.do(call="jobs:fail", kwargs={"text": "x" * 300_000})
    assert failed.error is not None
    assert failed.error.startswith("ValueError: xxx")
