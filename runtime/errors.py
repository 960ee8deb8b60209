"""What a caller of the runtime may have to answer. Each names the thing, its state and the cure."""

from __future__ import annotations

from runtime.limits import CAUSE_CHARS_MAX


class BanksmanError(Exception):
    """The common root."""


class InboxFull(BanksmanError):
    """The inbox refuses; the message is given back and nothing has happened."""

    def __init__(self, address: str, message: object, size: int) -> None:
        super().__init__(f"{address} already holds {size} messages; retry later or shed load")
        self.address = address
        self.message = message
        self.size = size


class UnknownActor(BanksmanError):
    """No actor of this address exists, in memory or in the store."""

    def __init__(self, address: str) -> None:
        super().__init__(f"there is no actor {address}; see `banksman status` for what there is")
        self.address = address


class UnknownKind(BanksmanError):
    """The kind was not registered with this runtime."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"the kind {kind!r} is not registered; pass it to open_runtime(kinds=...)")
        self.kind = kind


class AlreadyExists(BanksmanError):
    """An actor of this address exists; nothing has happened."""

    def __init__(self, address: str) -> None:
        super().__init__(f"{address} exists already; choose another id or tell it a message")
        self.address = address


class TurnFailed(BanksmanError):
    """The actor's decide raised on this message: nothing of the turn remains, the message is a
    dead letter. `cause` is the exception's type and text."""

    def __init__(self, address: str, cause: str) -> None:
        super().__init__(f"{address} could not decide: {cause}; nothing of that turn remains")
        self.address = address
        self.cause = cause


class ActorSuspended(BanksmanError):
    """The actor takes no turns since one of them broke a rule; the message was not sent."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"{address} is suspended: {reason}; once the cause is mended, lift it: "
            f"Runtime.release({address!r})"
        )
        self.address = address
        self.reason = reason


class OutcomeUnknown(BanksmanError):
    """No answer before the deadline. The message may still be taken: ask again before repeating."""

    def __init__(self, address: str, timeout_s: float) -> None:
        super().__init__(
            f"{address} gave no answer within {timeout_s:g} s; whether it acts on it is unknown"
        )
        self.address = address
        self.timeout_s = timeout_s


class RuntimeStopped(BanksmanError):
    """The runtime is closed or broken. What was acknowledged is durable, the rest was not."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the runtime has stopped: {why}")
        self.why = why


class NotConfined(BanksmanError):
    """This machine cannot confine a pool of the owner's as it asks; nothing was opened."""

    def __init__(self, pool: str, why: str, cure: str) -> None:
        super().__init__(f"the pool {pool} cannot be confined here: {why}; {cure}")
        self.pool = pool


def cause_of(error: BaseException) -> str:
    """Its type and text, such that it can be stored, whatever a user's exception has to say."""
    try:
        text = str(error)
    except Exception as second:  # noqa: BLE001 (a user's __str__)
        text = f"and its text raises {type(second).__name__}"
    return f"{type(error).__name__}: {storable(text)[:CAUSE_CHARS_MAX]}"


def storable(text: str) -> str:
    """`text`, where it holds bytes that were no text (as names of files may) with those escaped."""
    return text.encode("utf-8", "backslashreplace").decode()
