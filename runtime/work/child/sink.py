"""Where a command's output goes: a file with its first and its last bytes, and a count of all.

Up to `head + 2 * tail` bytes the file is the output. Then it is

    the first `head` bytes | one marker line | the newest bytes, from `tail` to `2 * tail` of them

valid at every moment, so that it can be followed and survives a crash. The newest part is cut back
to `tail` each time it has doubled, which copies every byte at most once more; a follower sees the
file get shorter then, and goes on from its end.
"""

from __future__ import annotations

import hashlib
import os

PIECE = 1 << 20


class Sink:
    """Takes bytes of any kind, as fast as they come, in bounded memory.

    A file that cannot be written (a full disk) does not stop the command: `error` says why the
    rest is missing, and the count goes on.
    """

    def __init__(self, path: bytes, head: int, tail: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(path, flags, 0o600)
        os.fchmod(self._file, 0o600)  # also one that was there before
        self._head = head
        self._tail = tail
        self._tail_at = head
        self._size = 0
        self._hash = hashlib.sha256()
        self.total = 0
        self.truncated = False
        self.error: str | None = None

    def write(self, chunk: bytes) -> None:
        self.total += len(chunk)
        if self.error is not None:
            return
        try:
            self._put(chunk, self._size)
            if self._size < self._head:
                self._hash.update(chunk[: self._head - self._size])
            self._size += len(chunk)
            if self._size - self._tail_at > 2 * self._tail:
                self._cut()
        except OSError as trouble:
            self._fail(trouble)

    def last(self, length: int) -> bytes:
        """The newest bytes; none where the file cannot be read."""
        try:
            return os.pread(self._file, length, max(0, self._size - length))
        except OSError:
            return b""

    def close(self) -> str | None:
        """The digest of the file as it stays; None where it could not be written whole."""
        try:
            at = self._head
            while at < self._size and (piece := os.pread(self._file, PIECE, at)):
                self._hash.update(piece)
                at += len(piece)
        except OSError as trouble:
            self._fail(trouble)
        finally:
            os.close(self._file)
        return None if self.error else f"sha256:{self._hash.hexdigest()}"

    def _cut(self) -> None:
        source = self._size - self._tail
        # The width is fixed, for the line is written again in place.
        marker = b"\n[banksman: %16d bytes left out]\n"
        self._tail_at = self._head + len(marker % 0)
        for start in range(0, self._tail, PIECE):
            length = min(PIECE, self._tail - start)
            self._put(os.pread(self._file, length, source + start), self._tail_at + start)
        self._put(marker % (self.total - self._head - self._tail), self._head)
        self._size = self._tail_at + self._tail
        os.ftruncate(self._file, self._size)
        self.truncated = True

    def _put(self, content: bytes, at: int) -> None:
        view = memoryview(content)
        while view:
            written = os.pwrite(self._file, view, at)
            view = view[written:]
            at += written

    def _fail(self, trouble: OSError) -> None:
        self.error = f"output is incomplete: {trouble.strerror}"
        self.truncated = True
