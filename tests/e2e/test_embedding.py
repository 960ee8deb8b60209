"""The library in a program outside of this repository: it runs as shown, its types are known."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.store.verify import verify

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = ROOT / "examples" / "embedded.py"


def snippet() -> str:
    """The program in the README."""
    found = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def python(*argv: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *argv],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_program_in_the_readme_runs(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(snippet())
    done = python("program.py", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("completed\n", "")


def test_the_embedded_example_does_nothing_twice_that_has_completed(tmp_path: Path) -> None:
    for _ in range(2):
        done = python(str(EMBEDDED), str(tmp_path / "state"), cwd=tmp_path)
        assert "completed: 36 words" in done.stdout, done.stderr
    assert verify(tmp_path / "state").whole


@pytest.mark.parametrize("nth", [2, 5, 8])
def test_the_embedded_example_goes_on_after_a_kill(tmp_path: Path, nth: int) -> None:
    crash = f"after_commit:{nth}"
    killed = python(str(EMBEDDED), str(tmp_path / "s"), cwd=tmp_path, BANKSMAN_CRASH_AT=crash)
    assert killed.returncode == -signal.SIGKILL
    done = python(str(EMBEDDED), str(tmp_path / "s"), cwd=tmp_path)
    assert "completed: 36 words" in done.stdout, done.stderr
    assert verify(tmp_path / "s").whole


TYPED = """
from __future__ import annotations

from typing import Any

import msgspec

from actors.effects import Reply
from actors.machine import Decision
from actors.messages import Message, TimerFired
from runtime import (
    ActorSuspended, InboxFull, Lagged, OutcomeUnknown, RuntimeStopped, VirtualClock, open_runtime,
    spec, user_kind, withdrawn,
)


class Count(Message, frozen=True):
    by: int


class Counter(msgspec.Struct, frozen=True):
    id: str
    sum: int = 0


def decide(counter: Counter, message: Count | TimerFired, now: float) -> Decision[Counter]:
    match message:
        case Count(by):
            more = msgspec.structs.replace(counter, sum=counter.sum + by)
            return Decision(more, (), (Reply(more.sum),))
        case TimerFired():
            return Decision(counter)


async def mail(key: str, payload: Any, perhaps_done: bool) -> None:
    print(key, payload, perhaps_done, withdrawn())


async def main() -> None:
    kind = user_kind("counter", Counter, decide, Count | TimerFired)
    async with open_runtime(
        ".state", kinds=[kind], performers={"mail": mail}, clock=VirtualClock(),
        pools={"own": spec.Pool(kind="inline", count=2)},
    ) as rt:
        ref: str = await rt.spawn("counter", Counter("c"))
        try:
            await rt.tell(ref, Count(1))
            print(await rt.ask(ref, Count(1), timeout_s=5.0))
        except (InboxFull, OutcomeUnknown, ActorSuspended, RuntimeStopped) as error:
            print(error)
        try:
            async for event in rt.events(since=0):
                print(event["seq"])
                break
        except Lagged as lagged:
            print(lagged.seq)
        run = await rt.submit(spec.Plan(run=spec.Run(name="x")), key="k")
        state: str = await run.wait()
        print(state, [letter.reason for letter in rt.dead_letters()], rt.recovery.lines)
"""


@pytest.mark.slow
def test_a_strictly_typed_program_finds_the_types_of_the_installed_packages(tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(TYPED)
    (tmp_path / "readme.py").write_text(snippet())
    cache = str(tmp_path / "cache")
    arguments = ("--strict", "--cache-dir", cache, "typed.py", "readme.py", str(EMBEDDED))
    done = python("-m", "mypy", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = TYPED.replace("state: str = await", "state: int = await")
    (tmp_path / "typed.py").write_text(wrong)
    done = python("-m", "mypy", *arguments, cwd=tmp_path)
    assert "Incompatible types in assignment" in done.stdout
