"""The other end of control.sock: synchronous and stdlib only, for one-shot commands."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from runtime.control.wire import SOCKET_NAME, short_path
from runtime.limits import CONTROL_ANSWER_S_MAX, CONTROL_LINE_BYTES_MAX


class NoOwner(Exception):
    """Nobody answers on the directory's socket: it has no live owner."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(f"nobody owns {state_dir} just now")
        self.state_dir = state_dir


class OwnerLost(Exception):
    """The owner went away, or does not answer. Whether it acted on the request is unknown.

    `ended`: it hung up, rather than falling silent.
    """

    def __init__(self, state_dir: Path, why: str, *, ended: bool = False) -> None:
        super().__init__(f"the owner of {state_dir} {why}")
        self.state_dir = state_dir
        self.why = why
        self.ended = ended


class OwnerRefused(Exception):
    """The owner answered with an error; nothing was done."""

    def __init__(self, code: str, text: str, cure: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.cure = cure


class Client:
    """One connection to the owner of a state directory; requests go one after another.

    Raises NoOwner when made where nobody listens.
    """

    def __init__(self, state_dir: Path, timeout_s: float = CONTROL_ANSWER_S_MAX) -> None:
        self._state_dir = state_dir
        self._asked = 0
        self._socket = _connected(state_dir, timeout_s)
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up; the owner forgets this client."""
        self._lines.close()
        self._socket.close()

    def ask(self, command: str, **args: Any) -> Any:
        """The value of the owner's answer. Raises OwnerRefused, OwnerLost."""
        self._send(command, args)
        return self._answer()["ok"]

    def stream(self, command: str, **args: Any) -> Iterator[Any]:
        """The events as they are committed, until the owner ends. Raises OwnerRefused, OwnerLost.

        Waits without a bound between two events. The connection serves nothing else afterwards.
        """
        self._send(command, args)
        self._socket.settimeout(None)
        while True:
            yield self._answer()["event"]

    def _send(self, command: str, args: dict[str, Any]) -> None:
        self._asked += 1
        request = {"id": self._asked, "command": command, "args": args}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except TimeoutError:
            raise OwnerLost(self._state_dir, "does not read its socket") from None
        except OSError:
            # It may have said why before it hung up: the answer is read all the same.
            return

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._lines.readline(CONTROL_LINE_BYTES_MAX)
        except TimeoutError:
            raise OwnerLost(self._state_dir, "gave no answer in time") from None
        except OSError as error:
            why = f"hung up ({error.strerror})"
            raise OwnerLost(self._state_dir, why, ended=True) from None
        if not line.endswith(b"\n"):
            raise OwnerLost(self._state_dir, "went away", ended=True)
        answer: dict[str, Any] = json.loads(line)
        if (no := answer.get("error")) is not None:
            raise OwnerRefused(no["code"], no["text"], no["cure"])
        return answer


def _connected(state_dir: Path, timeout_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        with short_path(state_dir, SOCKET_NAME) as path:
            connection.connect(path)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        connection.close()
        raise NoOwner(state_dir) from None
    except OSError as error:
        connection.close()
        raise OwnerLost(state_dir, f"cannot be reached ({error.strerror or error})") from None
    return connection
