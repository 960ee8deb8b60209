"""What the last lines of output say: the same error by the same signature, how long to wait."""

from __future__ import annotations

import random
import string
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.work.child.facts import TAIL_MAX, last_line, retry_after, signature
from tests.runtime.work_kit import PYTHON, Desk, working

# --- the signature ------------------------------------------------------------------------------

SAME = [
    ("FAILED in 1.23s", "FAILED in 987ms"),
    ("object at 0x7f00deadbeef", "object at 0x55aa10"),
    ("2026-11-22T19:59:27Z lost", "2025-01-02T03:04:05Z lost"),
    ("Sun Nov 22 19:59:27 2026: lost", "Mon Dec  1 01:02:03 2025: lost"),
    ("no such file: /tmp/pytest-1/x7/a.log", "no such file: /tmp/tmpq1w2e3/a.log"),
    ("commit 3f2c1ab9 is bad", "commit 77ab01cdef00 is bad"),
    ("id 123e4567-e89b-12d3-a456-426614174000", "id 00000000-1111-2222-3333-444444444444"),
    ("\x1b[31merror\x1b[0m: x", "error: x"),
    (" 10%\r 99%\rerror: x", "error: x"),
    ("error:   x  ", "error: x"),
    ("a\n\n\nb", "a\nb"),
    ("a\r\nb\r\n", "a\nb\n"),
    ("pid 17 took 3 KiB", "pid 4711 took 12 MiB"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_error_at_another_time_has_the_same_signature(one: str, other: str) -> None:
    assert signature("exit 1", one.encode()) == signature("exit 1", other.encode())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("NameError: name 'a' is not defined", "NameError: name 'b' is not defined"),
        ("src/a.c: error", "src/b.c: error"),
        ("", "error"),
    ],
)
def test_another_error_has_another_signature(one: str, other: str) -> None:
    assert signature("exit 1", one.encode()) != signature("exit 1", other.encode())


def test_another_exit_code_is_another_error() -> None:
    assert signature("exit 1", b"x") != signature("exit 2", b"x")


def test_only_the_last_lines_count() -> None:
    last = b"\n".join(b"line %c" % letter for letter in string.ascii_lowercase.encode()[:20])
    assert signature("exit 1", b"begin one\n" + last) == signature("exit 1", b"other\n" + last)


HOSTILE = [
    b"1" * TAIL_MAX,
    b"a" * TAIL_MAX,
    b"\x1b[" * (TAIL_MAX // 2),
    b"1:" * (TAIL_MAX // 2),
    b"deadbeef" * (TAIL_MAX // 8),
    b"/tmp/" * (TAIL_MAX // 5),
    b"\xff\xfe\x00" * (TAIL_MAX // 3),
    b"\r" * TAIL_MAX,
    b"\n" * TAIL_MAX,
    random.Random(1).randbytes(TAIL_MAX),
]


@pytest.mark.parametrize("tail", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_output_takes_bounded_work(tail: bytes) -> None:
    began = time.process_time()
    assert len(signature("exit 1", tail)) == 16
    last_line(tail, 200)
    assert time.process_time() - began < 1.0


# --- what a tool says of its rate limit -----------------------------------------------------------

PATTERN = r"retry after (?P<seconds>\S+)"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("retry after 30", 30.0),
        ("retry after 1.5", 1.5),
        ("retry after 0", 0.0),
        ("retry after -7", 0.0),
        ("retry after nan", None),
        ("retry after inf", 86_400.0),
        ("retry after 1e999", 86_400.0),
        ("retry after 99999999", 86_400.0),
        ("retry after a while", None),
        ("retry after " + "9" * 900, 86_400.0),
        ("retry after " + "9" * 10_000, None),
        ("nothing of the kind", None),
        ("", None),
        ("retry after 5\nretry after 6\nbye", 6.0),
    ],
)
def test_the_newest_word_counts_and_stays_between_0_and_a_day(
    said: str, seconds: float | None
) -> None:
    assert retry_after(PATTERN, said.encode()) == seconds


@pytest.mark.parametrize("pattern", ["(", "(?P<other>x)", "(?P<seconds>x)?y", "(?P<seconds>)"])
def test_a_pattern_that_is_none_or_says_nothing_gives_nothing(pattern: str) -> None:
    assert retry_after(pattern, b"xy y") is None


def test_a_pattern_that_would_take_for_ever_is_given_up() -> None:
    began = time.monotonic()
    assert retry_after(r"(?P<seconds>(a+)+)b", b"a" * 900) is None
    assert time.monotonic() - began < 10.0


# --- real commands --------------------------------------------------------------------------------


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with working(tmp_path, stdin_max=1 << 20) as desk:
        await desk.start()
        yield desk


async def test_a_command_that_fails_twice_alike_has_one_signature_and_a_success_has_none(
    desk: Desk,
) -> None:
    script = "echo begin $$; echo error at $(date +%s%N) >&2; exit 3"
    first, second = await desk.do("sh", "-c", script), await desk.do("sh", "-c", script)
    assert first.signature == second.signature is not None
    assert (await desk.do("sh", "-c", "exit 4")).signature not in (first.signature, None)
    assert (await desk.do("true")).signature is None


async def test_what_cannot_be_started_or_is_killed_by_us_has_a_signature_of_its_own(
    desk: Desk,
) -> None:
    absent = [await desk.do("no-such-tool") for _ in range(2)]
    other = await desk.do("no-other-tool")
    assert absent[0].signature == absent[1].signature != other.signature
    lease = desk.offer("sleep", "60")
    desk.withdraw(lease, "timeout")
    assert (await desk.ended(lease)).signature == signature("timeout", b"")


async def test_a_rate_limit_that_a_tool_tells_is_in_the_outcome_of_its_failure(desk: Desk) -> None:
    told = ("sh", "-c", "echo 'error: retry after 17 s' >&2; exit 1")
    pattern = r"retry after (?P<seconds>\d+)"
    assert (await desk.do(*told, rate_limit=pattern)).retry_after_s == 17.0
    assert (await desk.do(*told)).retry_after_s is None
    fine = ("sh", "-c", "echo retry after 17")
    assert (await desk.do(*fine, rate_limit=pattern)).retry_after_s is None


async def test_a_hostile_pattern_holds_no_worker_up(desk: Desk) -> None:
    flood = ("sh", "-c", "yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | head -c 100000; exit 1")
    outcome = await desk.do(*flood, rate_limit="(?P<seconds>(a+)+)b")
    assert (outcome.exit_code, outcome.retry_after_s) == (1, None)
    assert (await desk.do("true")).exit_code == 0


async def test_what_is_given_on_stdin_arrives_whole_and_ends(desk: Desk) -> None:
    text = "ü\n" * 200_000
    outcome = await desk.do("sh", "-c", "wc -c", stdin=text)
    assert outcome.exit_code == 0
    assert int(desk.output().read_text()) == len(text.encode())


async def test_who_never_reads_its_stdin_is_not_held_up_and_holds_nobody_up(desk: Desk) -> None:
    large = "x" * (1 << 20)
    assert (await desk.do("true", stdin=large)).exit_code == 0
    assert (await desk.do("sh", "-c", "exec <&-; exit 5", stdin=large)).exit_code == 5
    assert (await desk.do("head", "-c", "1", stdin=large)).exit_code == 0


async def test_stdin_cannot_be_written_and_leads_nowhere_else(desk: Desk) -> None:
    code = "import os\ntry: os.write(0, b'x')\nexcept OSError as e: print(e.errno)"
    await desk.do(PYTHON, "-I", "-S", "-c", code, stdin="text")
    assert desk.output().read_text() == "9\n"


async def test_more_stdin_than_the_bound_is_refused_before_anything_runs(desk: Desk) -> None:
    outcome = await desk.ended(desk.offer("cat", stdin="x" * ((1 << 20) + 1)))
    assert (outcome.reason, outcome.infrastructure) == ("not_started", False)
    assert "use a file" in (outcome.error or "")
    assert (await desk.do("true")).exit_code == 0


# --- the bounds around a command ------------------------------------------------------------------


async def test_a_command_dumps_no_core_and_may_open_a_sane_number_of_files(desk: Desk) -> None:
    await desk.do("sh", "-c", "ulimit -c; ulimit -Hc; ulimit -Hn")
    core, hard_core, files = desk.output().read_text().split()
    assert (core, hard_core) == ("0", "0")
    assert int(files) <= 65_536


DANGEROUS = (
    *("LD_PRELOAD", "LD_AUDIT", "PYTHONSTARTUP", "PYTHONHOME", "PYTHONINSPECT", "GIT_DIR"),
    *("GIT_SSH_COMMAND", "GIT_CONFIG_GLOBAL", "BASH_ENV", "ENV", "NODE_OPTIONS", "PERL5OPT"),
    *("RUBYOPT", "SSH_AUTH_SOCK", "PROMPT_COMMAND"),
)


async def test_names_that_change_what_a_program_does_are_out_unless_the_plan_passes_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in DANGEROUS:
        monkeypatch.setenv(name, "")
    await desk.do("env", "-0")
    found = {entry.split("=")[0] for entry in desk.output().read_text().split("\0")}
    assert not found & set(DANGEROUS)
    await desk.do("env", "-0", env_pass=("GIT_DIR", "NODE_OPTIONS"))
    found = {entry.split("=")[0] for entry in desk.output("t2").read_text().split("\0")}
    assert found & set(DANGEROUS) == {"GIT_DIR", "NODE_OPTIONS"}
