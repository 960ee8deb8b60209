"""Where a message goes: into the inbox of its actor, which then stands in the run queue.

Invariants:
1. Messages of one lane between the same two actors are taken in the order sent.
2. A full inbox is an answer to the outside (`InboxFull`), never silence; a send inside the kernel
   never waits and never fails, for a turn cannot be half done.
3. While `held` is a list, everything from outside waits there (an epoch is being offered again).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from runtime.errors import InboxFull, RuntimeStopped
from runtime.inbox import Envelope
from runtime.limits import DEAD_LETTERS_KEPT_MAX, INBOX_SIZE_MAX

if TYPE_CHECKING:
    from runtime.cell import Cell


class DeadLetter:
    """A message nobody could take, and why."""

    __slots__ = ("message", "reason", "to")

    def __init__(self, to: str, message: Any, reason: str) -> None:
        self.to = to
        self.message = message
        self.reason = reason


class Router:
    """The cells in memory, the run queue, and what waits for an actor to be read from the store."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.cells: dict[str, Cell] = {}
        self.ready: deque[Cell] = deque()  # the chain: what the turns of now have made ready
        self.backlog: deque[Cell] = deque()  # what came from outside, or has had its quantum
        self.taking = False  # turns are being taken
        self.absent: dict[str, list[Envelope]] = {}
        self.held: list[Envelope | tuple[str, Any]] | None = None
        # What an actor takes before anything else that is posted to it, while an epoch of a new
        # owner is being offered again.
        self.unspoken: dict[str, Envelope] = {}
        self.dead_letters: deque[DeadLetter] = deque(maxlen=DEAD_LETTERS_KEPT_MAX)
        self.dead_letters_total = 0
        self._stopped: RuntimeStopped | None = None
        self._wake = wake

    @property
    def has_ready(self) -> bool:
        return bool(self.ready or self.backlog)

    def schedule(self, cell: Cell) -> None:
        if not cell.scheduled and cell.suspended is None:
            cell.scheduled = True
            if self.taking:
                self.ready.append(cell)
            else:
                if not self.backlog:
                    self._wake()  # the driver rests only while nothing is ready
                self.backlog.append(cell)

    def tell(self, address: str, message: Any) -> None:
        """A plain message from outside, without an envelope: the hot path.

        Raises InboxFull, with the message, when the actor has too many waiting already.
        """
        cell = self.cells.get(address)
        if cell is None or self.held is not None:
            self._tell_later(address, message)
            return
        inbox = cell.inbox
        if inbox is None:
            inbox = cell.inbox = deque()
        elif len(inbox) >= INBOX_SIZE_MAX:
            raise InboxFull(address, message, len(inbox))
        inbox.append(message)
        if not cell.scheduled and cell.suspended is None:
            cell.scheduled = True
            if self.taking:
                self.ready.append(cell)
            else:
                if not self.backlog:
                    self._wake()  # the driver rests only while nothing is ready
                self.backlog.append(cell)

    def _tell_later(self, address: str, message: Any) -> None:
        if self._stopped is not None:
            raise self._stopped
        waiting = self.held if self.held is not None else self.absent.get(address, ())
        if len(waiting) >= INBOX_SIZE_MAX:
            raise InboxFull(address, message, len(waiting))
        self.offer(Envelope(address, message, kept=True))

    def refuse(self, stopped: RuntimeStopped) -> None:
        """From here on nothing is told: whoever tries learns why."""
        self._stopped = stopped
        self.held = []

    def offer(self, envelope: Envelope) -> None:
        """An input from outside that is kept until durable. Never refused: it is a fact."""
        if self.held is not None:
            self.held.append(envelope)
        else:
            self.post(envelope)

    def post(self, envelope: Envelope) -> None:
        """Puts the envelope into its actor's lane, or beside others that wait for the actor."""
        cell = self.cells.get(envelope.to)
        if cell is None:
            self.absent.setdefault(envelope.to, []).append(envelope)
            self._wake()
            return
        if self.unspoken and (first := self.unspoken.pop(envelope.to, None)) is not None:
            if cell.control is None:
                cell.control = deque()
            cell.control.appendleft(first)
            if first is envelope:
                self.schedule(cell)
                return
        if envelope.control:
            if cell.control is None:
                cell.control = deque()
            cell.control.append(envelope)
        else:
            if cell.inbox is None:
                cell.inbox = deque()
            cell.inbox.append(envelope)
        if not cell.scheduled and cell.suspended is None:
            cell.scheduled = True
            if self.taking:
                self.ready.append(cell)
            else:
                if not self.backlog:
                    self._wake()  # the driver rests only while nothing is ready
                self.backlog.append(cell)

    def postpone_ready(self) -> None:
        """The chain of now has lasted long enough: it goes on behind the backlog. The dispatcher
        stays: what waits for it would grow with the backlog."""
        stay = [cell for cell in self.ready if not cell.kind.table]
        self.backlog.extend(cell for cell in self.ready if cell.kind.table)
        self.ready.clear()
        self.ready.extend(stay)

    def bury(self, to: str, message: Any, reason: str) -> None:
        """Records a dead letter."""
        self.dead_letters_total += 1
        self.dead_letters.append(DeadLetter(to, message, reason))

    def take_back(self) -> list[Envelope | tuple[str, Any]]:
        """Empties every inbox: what waits there, actor by actor in order, void ones left out."""
        waiting: list[Envelope | tuple[str, Any]] = []
        for cell in self.cells.values():
            for lane in (cell.control, cell.inbox):
                for item in lane or ():
                    if type(item) is not Envelope:
                        waiting.append((cell.address, item))
                    elif not item.taken:
                        waiting.append(item)
            cell.control = cell.inbox = None
            cell.scheduled = False
        self.ready.clear()
        self.backlog.clear()
        for envelopes in self.absent.values():
            waiting.extend(e for e in envelopes if not e.taken)
        self.absent.clear()
        return waiting
