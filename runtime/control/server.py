"""control.sock: how a second terminal speaks with the owner of a state directory.

Invariants:
1. The socket is private from birth: its mode is set before it has a name.
2. It is put into place by the owner of the directory's lock alone, over whatever a dead owner left.
3. A client costs one bounded buffer and one task; one that stalls is dropped, never waited for.
4. Whatever a client sends, the others and the owner go on.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
import traceback
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import msgspec
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from runtime.control.engine import Engine
from runtime.control.vocabulary import VOCABULARY, Declined, Verb
from runtime.control.wire import SOCKET_NAME, short_path
from runtime.errors import BanksmanError
from runtime.limits import (
    CONTROL_CLIENTS_MAX,
    CONTROL_IDLE_S_MAX,
    CONTROL_LINE_BYTES_MAX,
    CONTROL_SEND_S_MAX,
)
from runtime.log import Log
from runtime.store.layout import Layout


class Owner(msgspec.Struct, frozen=True):
    """Who holds the directory: the answer to "hello", so that a refusal can name the holder.

    `role` is "run" (a foreground run, which takes no further plans) or "daemon".
    """

    pid: int
    role: str
    command: str
    since: float
    version: str
    epoch: int
    durability: str


class _Request(msgspec.Struct, frozen=True):
    command: str
    id: int | str | None = None
    args: dict[str, Any] = {}


@asynccontextmanager
async def serving(engine: Engine, state_dir: Path, owner: Owner) -> AsyncIterator[None]:
    """Serves `state_dir`/control.sock inside the block. Call it only as the directory's owner.

    Raises OSError where the socket cannot be made there.
    """
    bound = _bind(state_dir)
    log = Log(Layout(state_dir).log)
    try:
        async with (
            await anyio.abc.SocketListener.from_socket(bound) as listener,
            anyio.create_task_group() as tasks,
        ):
            desk = _Desk(engine, owner, log)
            tasks.start_soon(listener.serve, desk.attend)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
    finally:
        log.close()
        with suppress(FileNotFoundError):
            (state_dir / SOCKET_NAME).unlink()


def _bind(state_dir: Path) -> socket.socket:
    # Bound under a name of its own and renamed: there is no instant without a socket, and none in
    # which a half-made one answers to the name.
    making = f".{SOCKET_NAME}.new"
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        os.fchmod(bound.fileno(), 0o600)
        with suppress(FileNotFoundError):
            (state_dir / making).unlink()
        with short_path(state_dir, making) as path:
            bound.bind(path)
        # Some platforms ignore the mode of an unbound socket; the 0700 directory covers this gap.
        (state_dir / making).chmod(0o600)
        bound.listen(CONTROL_CLIENTS_MAX)
        bound.setblocking(False)
        (state_dir / making).rename(state_dir / SOCKET_NAME)
    except BaseException:
        bound.close()
        raise
    return bound


class _Hangup(Exception):
    """This client has left, or must."""


class _Desk:
    """What all clients of one owner share."""

    def __init__(self, engine: Engine, owner: Owner, log: Log) -> None:
        self._engine = engine
        self._owner = owner
        self._log = log
        self._clients = 0

    async def attend(self, stream: SocketStream) -> None:
        """One client, from its connection to its end."""
        async with stream:
            if not _is_same_user(stream):
                return
            self._clients += 1
            try:
                if self._clients > CONTROL_CLIENTS_MAX:
                    text = f"the owner already has {CONTROL_CLIENTS_MAX} clients"
                    await _send(stream, _error(None, "busy", text, "close another one, try again"))
                else:
                    await self._converse(stream)
            except (_Hangup, anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass  # a client may leave at any moment; nobody is waiting for it
            finally:
                self._clients -= 1

    async def _converse(self, stream: SocketStream) -> None:
        buffered = BufferedByteReceiveStream(stream)
        while True:
            try:
                with anyio.fail_after(CONTROL_IDLE_S_MAX):
                    line = await buffered.receive_until(b"\n", CONTROL_LINE_BYTES_MAX)
            except (anyio.EndOfStream, anyio.IncompleteRead, TimeoutError):
                return
            except anyio.DelimiterNotFound:
                text = f"a request is one line of at most {CONTROL_LINE_BYTES_MAX} bytes"
                await _send(stream, _error(None, "too_long", text, "send a smaller plan"))
                return
            await self._answer(stream, line)

    async def _answer(self, stream: SocketStream, line: bytes) -> None:
        request_id = None
        try:
            request = _parsed(line)
            request_id = request.id
            if request.command == "hello":
                await _send(stream, {"id": request_id, "ok": self._owner})
            else:
                await self._fulfil(stream, request)
        except Declined as no:
            await _send(stream, _error(request_id, no.code, no.text, no.cure))
        except BanksmanError as error:
            await _send(stream, _error(request_id, "refused", str(error)))
        except (_Hangup, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise
        except Exception as error:  # noqa: BLE001 - one request must not end the owner's run
            trace = "".join(traceback.format_exception(error))
            self._log.error("control_request_failed", traceback=trace)
            text = f"the owner failed on this request: {type(error).__name__}: {error}"
            await _send(stream, _error(request_id, "internal", text))

    async def _fulfil(self, stream: SocketStream, request: _Request) -> None:
        verb = _verb(request)
        args = _converted(request, verb)
        if verb.answer is not None:
            value = await verb.answer(self._engine, args)
            await _send(stream, {"id": request.id, "ok": value})
        elif verb.stream is not None:
            await _pour(stream, request.id, verb.stream(self._engine, args))
            raise _Hangup


def _parsed(line: bytes) -> _Request:
    try:
        return msgspec.json.decode(line, type=_Request)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        cure = 'send one line: {"id": 1, "command": "hello"}'
        raise Declined("bad_request", f"this is not a request: {error}", cure) from None


def _verb(request: _Request) -> Verb:
    verb = VOCABULARY.get(request.command)
    if verb is None:
        known = ", ".join(["hello", *VOCABULARY])
        raise Declined("unknown_command", f"no command {request.command[:80]!r}", f"known: {known}")
    return verb


def _converted(request: _Request, verb: Verb) -> Any:
    try:
        return msgspec.convert(request.args, verb.args)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Declined("bad_args", f"{request.command}: {error}") from None


async def _pour(
    stream: SocketStream, request_id: int | str | None, events: AsyncGenerator[Any, None]
) -> None:
    """Sends events until the client leaves. What it says meanwhile ends it: there is no answer."""

    async def watch(scope: anyio.CancelScope) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            await stream.receive(1)
        scope.cancel()

    failed: BanksmanError | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch, tasks.cancel_scope)
        try:
            async for event in events:
                await _send(stream, {"id": request_id, "event": event})
        except BanksmanError as error:
            failed = error
        except (_Hangup, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        finally:
            with anyio.CancelScope(shield=True):
                await events.aclose()
        tasks.cancel_scope.cancel()
    if failed is not None:
        raise failed


async def _send(stream: SocketStream, value: Any) -> None:
    try:
        with anyio.fail_after(CONTROL_SEND_S_MAX):
            await stream.send(msgspec.json.encode(value) + b"\n")
    except TimeoutError:
        raise _Hangup from None
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ECONNRESET):
            raise
        raise _Hangup from None


def _error(request_id: Any, code: str, text: str, cure: str = "") -> dict[str, Any]:
    return {"id": request_id, "error": {"code": code, "text": text, "cure": cure}}


def _is_same_user(stream: SocketStream) -> bool:
    if sys.platform != "linux":
        return True  # the socket's mode alone keeps others out
    raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
    credentials = raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return uid in (os.geteuid(), 0)
