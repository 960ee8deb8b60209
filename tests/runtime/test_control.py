"""control.sock on real sockets: who may speak, what is answered, what hostile input does."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.to_thread
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.messages import Accepted, Refused
from actors.spec import Plan
from runtime.control import server
from runtime.control.client import Client, NoOwner, OwnerLost, OwnerRefused
from runtime.control.server import Owner, serving
from runtime.errors import RuntimeStopped

OWNER = Owner(
    pid=os.getpid(),
    role="run",
    command="run nightly.toml",
    since=1.0,
    version="0",
    epoch=1,
    durability="power",
)
PLAN = {"run": {"name": "n"}, "workstreams": {"w": {"tasks": {"t": {"command": ["true"]}}}}}


def event(seq: int, entity_id: str = "n-1/w/t", severity: str = "info") -> dict[str, Any]:
    return {
        "seq": seq,
        "event_type": "task_state_transition",
        "severity": severity,
        "entity_type": "task",
        "entity_id": entity_id,
        "operator": None,
        "context": {"run_id": "n-1"},
    }


class ScriptedEngine:
    """Answers as a test tells it to, and keeps what it was asked."""

    owner_epoch = 1
    durability = "power"
    db_path = Path("banksman.db")
    recovery = SimpleNamespace(lines=(), seconds=0.0)

    def __init__(self) -> None:
        self.submitted: list[Plan] = []
        self.commands: list[tuple[str, str | None, dict[str, Any]]] = []
        self.reply: Accepted | Refused = Accepted("paused")
        self.published: list[dict[str, Any]] = []
        self.subscribed = 0
        self.failure: Exception | None = None

    async def submit(self, plan: Plan, key: str | None = None) -> Any:
        if self.failure is not None:
            raise self.failure
        self.submitted.append(plan)
        return SimpleNamespace(id="n-1")

    async def command(self, name: str, entity_id: str | None, **args: Any) -> Accepted | Refused:
        self.commands.append((name, entity_id, args))
        return self.reply

    async def events(self, since: int | None = None) -> AsyncGenerator[dict[str, Any], None]:
        self.subscribed += 1
        try:
            for each in self.published:
                if since is None or each["seq"] > since:
                    yield each
            await anyio.sleep_forever()
        finally:
            self.subscribed -= 1

    def unfinished_runs(self) -> list[str]:
        return ["n-1"]

    def waits_for_person(self) -> list[str]:
        return []

    def progress(self) -> dict[str, str]:
        return {"1.1": "half way \x1b]0;owned\x07 \ud800"}

    def statistics(self) -> dict[str, Any]:
        return {"turns": 7}

    async def drain(self, timeout_s: float) -> None:
        raise NotImplementedError


@asynccontextmanager
async def owned(directory: Path, engine: ScriptedEngine | None = None) -> AsyncIterator[Path]:
    async with serving(engine or ScriptedEngine(), directory, OWNER):
        yield directory


async def aside(function: Callable[[], Any]) -> Any:
    """The client is synchronous: it runs in a thread while the server's loop goes on."""
    return await anyio.to_thread.run_sync(function)


def ask(directory: Path, command: str, **args: Any) -> Any:
    with Client(directory, timeout_s=10) as client:
        return client.ask(command, **args)


def raw(directory: Path, data: bytes, answers: int) -> list[Any]:
    """Sends bytes as they are; returns so many answers, fewer where the owner hangs up."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(str(directory / "control.sock"))
        try:
            connection.sendall(data)
        except BrokenPipeError:
            return []
        lines = connection.makefile("rb")
        return [json.loads(line) for line in (lines.readline() for _ in range(answers)) if line]


async def test_an_owner_says_who_it_is(tmp_path: Path) -> None:
    async with owned(tmp_path):
        told = await aside(lambda: ask(tmp_path, "hello"))
    assert (told["pid"], told["role"], told["command"]) == (os.getpid(), "run", "run nightly.toml")


async def test_the_socket_is_for_its_user_alone(tmp_path: Path) -> None:
    async with owned(tmp_path):
        mode = (tmp_path / "control.sock").stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_the_socket_has_its_mode_before_it_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    chmod = Path.chmod

    def look(path: Path, mode: int) -> None:
        seen.append(stat.S_IMODE(path.stat().st_mode))
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", look)
    old = os.umask(0)
    try:
        server._bind(tmp_path).close()
    finally:
        os.umask(old)
    assert seen == [0o600]


async def test_a_dead_owners_socket_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(tmp_path / "control.sock"))
    with pytest.raises(NoOwner):
        ask(tmp_path, "hello")
    async with owned(tmp_path):
        assert (await aside(lambda: ask(tmp_path, "hello")))["epoch"] == 1


async def test_the_socket_is_gone_with_its_owner(tmp_path: Path) -> None:
    async with owned(tmp_path):
        pass
    assert os.listdir(tmp_path) == []
    with pytest.raises(NoOwner, match="nobody owns"):
        ask(tmp_path, "hello")


async def test_a_state_directory_of_any_length_can_be_reached(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    async with owned(deep):
        assert (await aside(lambda: ask(deep, "hello")))["epoch"] == 1


async def test_a_submitted_plan_reaches_the_engine_and_its_run_id_comes_back(
    tmp_path: Path,
) -> None:
    engine = ScriptedEngine()
    async with owned(tmp_path, engine):
        answer = await aside(lambda: ask(tmp_path, "submit", plan=PLAN))
    assert answer == {"run_id": "n-1"}
    assert engine.submitted[0].workstreams["w"].tasks["t"].command == ("true",)


async def test_a_plan_the_engine_refuses_is_answered_with_its_reason(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    engine.failure = RuntimeStopped("it drains")
    async with owned(tmp_path, engine):
        with pytest.raises(OwnerRefused, match="it drains") as no:
            await aside(lambda: ask(tmp_path, "submit", plan=PLAN))
    assert no.value.code == "refused"


async def test_a_fault_of_the_engine_ends_the_request_and_not_the_owner(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    engine.failure = ZeroDivisionError("a bug")
    async with owned(tmp_path, engine):
        with pytest.raises(OwnerRefused, match="ZeroDivisionError: a bug") as no:
            await aside(lambda: ask(tmp_path, "submit", plan=PLAN))
        assert (await aside(lambda: ask(tmp_path, "statistics"))) == {"turns": 7}
    assert no.value.code == "internal"


async def test_an_operators_command_carries_who_and_why(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    async with owned(tmp_path, engine):
        answer = await aside(
            lambda: ask(
                tmp_path, "retry", entity="n-1/w/t", operator="ada", reason="flaky", if_version=4
            )
        )
    assert answer == {"text": "paused", "entity_id": "n-1/w/t"}
    said = {"operator": "ada", "reason": "flaky", "if_version": 4, "clear_retry_count": False}
    assert engine.commands == [("retry", "n-1/w/t", said)]


async def test_a_refused_command_comes_back_as_refused(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    engine.reply = Refused("it is already over")
    async with owned(tmp_path, engine):
        with pytest.raises(OwnerRefused, match="already over") as no:
            await aside(lambda: ask(tmp_path, "cancel", entity="n-1", operator="ada"))
    assert no.value.code == "refused"


async def test_events_are_filtered_by_the_owner_and_begin_where_asked(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    engine.published = [event(1), event(2, severity="error"), event(3), event(4, severity="error")]

    def follow() -> int:
        with Client(tmp_path, timeout_s=10) as client:
            stream = client.stream("events", since=2, where={"severity": "warning"})
            seq: int = next(iter(stream))["seq"]
            return seq

    async with owned(tmp_path, engine):
        assert await aside(follow) == 4


async def test_a_subscriber_that_hangs_up_is_unsubscribed(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    engine.published = [event(1)]

    def follow() -> None:
        with Client(tmp_path, timeout_s=10) as client:
            next(iter(client.stream("events", since=0)))

    async with owned(tmp_path, engine):
        await aside(follow)
        with anyio.fail_after(10):
            while engine.subscribed:
                await anyio.lowlevel.checkpoint()


async def test_a_subscriber_that_never_reads_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONTROL_SEND_S_MAX", 0.05)
    engine = ScriptedEngine()
    engine.published = [event(n, entity_id="x" * 4096) for n in range(2_000)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        async with owned(tmp_path, engine):
            deaf.connect(str(tmp_path / "control.sock"))
            deaf.sendall(b'{"id":1,"command":"events","args":{"since":0}}\n')
            with anyio.fail_after(10):
                while not engine.subscribed:
                    await anyio.lowlevel.checkpoint()
                while engine.subscribed:
                    await anyio.lowlevel.checkpoint()
            assert (await aside(lambda: ask(tmp_path, "statistics"))) == {"turns": 7}


async def test_a_line_beyond_its_bound_is_refused_and_the_client_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONTROL_LINE_BYTES_MAX", 1000)
    async with owned(tmp_path):
        answers = await aside(lambda: raw(tmp_path, b"x" * 5000, answers=2))
    assert [a["error"]["code"] for a in answers] == ["too_long"]


async def test_clients_beyond_their_bound_are_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONTROL_CLIENTS_MAX", 1)

    def crowd() -> Any:
        with Client(tmp_path, timeout_s=10) as first:
            first.ask("hello")
            with pytest.raises(OwnerRefused) as no:
                ask(tmp_path, "hello")
            return no.value.code

    async with owned(tmp_path):
        assert await aside(crowd) == "busy"
        assert (await aside(lambda: ask(tmp_path, "statistics"))) == {"turns": 7}


async def test_a_silent_client_gives_its_place_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONTROL_IDLE_S_MAX", 0.05)
    async with owned(tmp_path):
        assert await aside(lambda: raw(tmp_path, b"", answers=1)) == []


async def test_an_owner_that_vanishes_is_named_as_lost(tmp_path: Path) -> None:
    async with owned(tmp_path):
        client = await aside(lambda: Client(tmp_path, timeout_s=10))
    with client, pytest.raises(OwnerLost, match=r"went away|hung up"):
        client.ask("hello")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", "bad_request"),
        (b"null", "bad_request"),
        (b"[]", "bad_request"),
        (b"{}", "bad_request"),
        (b"{" * 100_000, "bad_request"),
        (b"[" * 100_000, "bad_request"),
        (b'{"command":"hello","id":[]}', "bad_request"),
        (b"\xff\xfe\x00", "bad_request"),
        (b'{"command":"\xff"}', "bad_request"),
        (b'{"command":"__class__"}', "unknown_command"),
        (b'{"command":"cancel"}', "bad_args"),
        (b'{"command":"cancel","args":{"entity":1,"operator":"a"}}', "bad_args"),
        (b'{"command":"statistics","args":{"x":1}}', "bad_args"),
        (b'{"command":"submit","args":{"plan":{}}}', "bad_args"),
    ],
)
async def test_bad_input_is_named_and_the_conversation_goes_on(
    tmp_path: Path, line: bytes, code: str
) -> None:
    following = b'\n{"id":"next","command":"statistics"}\n'
    async with owned(tmp_path):
        answers = await aside(lambda: raw(tmp_path, line + following, answers=2))
    assert answers[0]["error"]["code"] == code
    assert answers[1] == {"id": "next", "ok": {"turns": 7}}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner),
    max_leaves=10,
)
_requests = st.builds(
    lambda command, args, id_: json.dumps({"id": id_, "command": command, "args": args}).encode(),
    st.sampled_from(["hello", "submit", "pause", "retry", "events", "", "waits"]),
    _json,
    _json,
)


@given(lines=st.lists(st.binary(max_size=200) | _requests, max_size=6))
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_no_input_stops_the_owner(tmp_path: Path, lines: list[bytes]) -> None:
    async with owned(tmp_path):
        await aside(lambda: raw(tmp_path, b"\n".join(lines), answers=0))
        assert (await aside(lambda: ask(tmp_path, "statistics"))) == {"turns": 7}


async def test_what_running_work_says_is_told_also_where_it_is_no_text(tmp_path: Path) -> None:
    async with owned(tmp_path):
        told = await aside(lambda: ask(tmp_path, "progress"))
    assert told == {"1.1": "half way \x1b]0;owned\x07 ?"}
