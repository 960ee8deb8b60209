"""Output: kept in bounds whatever a command prints, and readable while it does."""

from __future__ import annotations

import hashlib
import re
import resource
import stat
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.messages import Heartbeat
from runtime.work import output_path
from runtime.work.child.sink import Sink
from tests.runtime.work_kit import bell, working

HEAD, TAIL = 100, 60
MARKER = re.compile(rb"\n\[banksman: +(\d+) bytes left out\]\n")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


# --- the file ---------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 400), max_size=12))
def test_whatever_comes_the_file_holds_the_first_and_the_last_of_it_and_the_right_count(
    tmp_path: Path, sizes: list[int]
) -> None:
    path = tmp_path / "log"
    content = bytes(number % 251 for number in range(sum(sizes)))
    sink = Sink(bytes(path), HEAD, TAIL)
    for size, end in zip(sizes, accumulate(sizes), strict=True):
        sink.write(content[end - size : end])
        _check(path.read_bytes(), content[:end], sink)
    assert sink.close() == _digest(path.read_bytes())


def _check(kept: bytes, content: bytes, sink: Sink) -> None:
    assert sink.total == len(content)
    if not sink.truncated:
        assert kept == content
        return
    assert len(content) > HEAD + 2 * TAIL
    assert kept[:HEAD] == content[:HEAD]
    marker = MARKER.match(kept, HEAD)
    assert marker is not None
    newest = kept[marker.end() :]
    assert TAIL <= len(newest) <= 2 * TAIL
    assert content.endswith(newest)
    assert int(marker[1]) == len(content) - HEAD - len(newest)


def test_a_file_that_cannot_be_written_stops_nothing_and_is_named(tmp_path: Path) -> None:
    sink = Sink(bytes(tmp_path / "log"), HEAD, TAIL)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6, before[1]))
    try:
        sink.write(b"something")
        sink.write(b" more")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sink.close() is None
    assert (sink.total, sink.truncated) == (14, True)
    assert sink.error == "output is incomplete: File too large"


def test_an_older_file_of_the_same_attempt_is_replaced_and_made_private(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("older and longer")
    path.chmod(0o644)
    sink = Sink(bytes(path), HEAD, TAIL)
    sink.write(b"new")
    sink.close()
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        Sink(bytes(tmp_path / "log"), HEAD, TAIL)


def test_the_name_of_a_file_is_the_path_of_its_entity_and_the_attempt() -> None:
    path = output_path(Path("out"), "night-1/build/compile~2", 3)
    assert path == Path("out/night-1__build__compile~2.3.log")


# --- real commands ----------------------------------------------------------------------------


async def test_the_digest_and_the_count_are_those_of_the_file(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        await desk.start()
        outcome = await desk.do("seq", "100000")
        kept = desk.output().read_bytes()
    assert (outcome.output_bytes, outcome.truncated) == (len(kept), False)
    assert outcome.output_digest == _digest(kept)


async def test_bytes_that_are_no_text_are_kept_as_they_are(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        await desk.start()
        await desk.do("printf", r"\377\000\200\n")
        assert desk.output().read_bytes() == b"\xff\x00\x80\n"


async def test_output_can_be_read_while_the_command_runs(tmp_path: Path) -> None:
    async with working(tmp_path) as desk, bell(tmp_path) as rung, bell(tmp_path, "go") as go:
        await desk.start(heartbeat_s=0.01)
        script = f"echo early; echo said >{rung.path}; head -n 1 {go.path}"
        begun = await desk.begin("sh", "-c", script)
        await rung.wait()
        desk.reports.clear()
        for _ in range(2):  # the second is surely of a later round of the child, which reads first
            await desk.next(Heartbeat)
        assert desk.output().read_bytes() == b"early\n"
        go.say("late")
        await desk.ended(begun.lease)
        assert desk.output().read_bytes() == b"early\nlate\n"


async def test_a_command_that_prints_nothing_has_an_empty_file(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        await desk.start()
        outcome = await desk.do("true")
        assert desk.output().read_bytes() == b""
        assert (outcome.output_bytes, outcome.output_digest) == (0, _digest(b""))


def _resident_max(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) << 10


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(200 << 20, id="200MiB"),
        pytest.param(1 << 30, marks=pytest.mark.slow, id="1GiB"),
    ],
)
async def test_a_flood_uses_neither_memory_nor_disk_and_is_counted(
    tmp_path: Path, size: int
) -> None:
    async with working(tmp_path) as desk:
        child = await desk.start()
        outcome = await desk.do("sh", "-c", f"yes 0123456 | head -c {size}; echo the end")
        kept = desk.output().read_bytes()
        assert _resident_max(child.pid) < 48 << 20
    assert (outcome.exit_code, outcome.truncated) == (0, True)
    assert outcome.output_bytes == size + 8
    assert len(kept) <= (16 << 20) + (8 << 20) + 100
    assert kept.startswith(b"0123456\n" * 1000)
    assert kept.endswith(b"0123456\nthe end\n")
    assert outcome.output_digest == _digest(kept)
