"""Who speaks to the owner from outside: submissions, questions, tells and an operator's commands.

A client knows only what it was answered. A submission carries a key, so it is made again until it
is answered; a question whose owner died meanwhile has an unknown outcome, and stays so.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors import run as run_machine
from actors import spec
from actors.effects import Send, Spawn
from runtime.commands import Order, UnknownCommand, command_for
from runtime.guarding import breakers
from runtime.inbox import Envelope, Reply
from runtime.plan import PlanError, validate
from runtime.seed import CREATOR, Create
from runtime.submission import creation, missing_workers, vacant

if TYPE_CHECKING:
    from runtime.sim.engine import Engine

_AGAIN_S: Final = 1.0


class Operation(msgspec.Struct):
    """One question and its answer: an entry of the history. `returned` None: the outcome is
    unknown; `error` is set where it was told that it failed."""

    client: str
    ref: str
    message: Any
    invoked: int  # the happening at which it was asked
    returned: int | None = None
    answer: Any = None
    error: str | None = None

    @property
    def done(self) -> bool:
        return self.returned is not None


class Submission:
    """A run that a client wants. `id` is there once it was acknowledged."""

    def __init__(self, plan: spec.Plan, key: str, name: str) -> None:
        self.plan = plan
        self.key = key
        self.name = name
        self.id: str | None = None
        self.attempts = 0
        self.waiting = False

    def __str__(self) -> str:
        return self.id or self.name


class Clients:
    """All clients of one run's owners."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.submissions: list[Submission] = []
        self.operations: list[Operation] = []
        self.pools: dict[str, spec.Pool] = {"local": spec.Pool(count=2)}
        self._making: dict[str, tuple[str, Any, tuple[Any, ...]]] = {}
        self._later: list[tuple[Any, Any]] = []  # made while no owner lived: tells and questions

    def unsettled(self) -> bool:
        """Whether a client is still to speak, or waits for an answer that will come."""
        return bool(self._making or any(s.id is None for s in self.submissions))

    # --- submissions -----------------------------------------------------------------------------

    def submit(self, submission: Submission) -> None:
        """Makes it, again and again, until it is answered."""
        engine = self._engine
        if submission.id is not None or submission.waiting:
            return
        if engine.kernel is None:
            engine.later(_AGAIN_S, self.submit, submission)
            return
        known = engine.store.keys.get(submission.key)
        if known is not None:
            self._acknowledge(submission, known)
            return
        submission.attempts += 1
        engine.ends.asked()
        again = f"r{submission.attempts}" if submission.attempts > 1 else ""
        run_id = f"{submission.name}{again}"
        plan, kernel, now = submission.plan, engine.kernel, engine.now
        there = kernel.router.cells
        slots = missing_workers(plan, there, self.pools, now)
        slots = engine.now_of(vacant(slots, kernel, now))
        guards, told = breakers(plan, there, run_id, now)
        run = Spawn("run", run_machine.create(plan, run_id, now, submission.key))
        create = creation((*guards, *slots, run), told, run_id)
        submission.waiting = True
        reply = Reply(
            lambda _answer: self._acknowledge(submission, run_id),
            lambda _error: self._failed(submission),
        )
        engine.tell(
            Envelope(CREATOR, create, kept=True, reply=reply),
        )

    def _acknowledge(self, submission: Submission, run_id: str) -> None:
        submission.id, submission.waiting = run_id, False
        self._engine.outside("acknowledged", f"run:{run_id}", submission.key)

    def _failed(self, submission: Submission) -> None:
        submission.waiting = False
        self._engine.later(_AGAIN_S, self.submit, submission)

    def spawn(self, what: tuple[str, Any, tuple[Any, ...]]) -> None:
        """Makes a user's actor, again and again, until it is there."""
        engine = self._engine
        kind, value, first = what
        ref = f"{kind}:{value.id}"
        if ref in engine.store.rows:
            return
        if engine.kernel is None:
            engine.later(_AGAIN_S, self.spawn, what)
            return
        self._making[ref] = what
        sends = tuple(Send(ref, message) for message in first)
        reply = Reply(lambda _answer: self._making.pop(ref, None), lambda _error: None)
        create = Create((Spawn(kind, value),), sends, ref)
        engine.tell(Envelope(CREATOR, create, kept=True, reply=reply))

    # --- questions and tells ---------------------------------------------------------------------

    def ask(self, operation: Operation, *, control: bool = False) -> None:
        """Asks; where no owner lives, nobody was asked."""
        engine = self._engine
        if engine.kernel is None:
            operation.error, operation.returned = "no owner", engine.n
            return
        operation.invoked = engine.n
        engine.ends.asked()
        self.operations.append(operation)
        reply = Reply(partial(self._answered, operation), partial(self._refused, operation))
        engine.tell(
            Envelope(operation.ref, operation.message, control=control, kept=True, reply=reply)
        )

    def _answered(self, operation: Operation, answer: Any) -> None:
        operation.answer, operation.returned = answer, self._engine.n
        self._engine.outside("answered", operation.ref, type(operation.message).__name__)

    def _refused(self, operation: Operation, error: BaseException) -> None:
        operation.error, operation.returned = str(error), self._engine.n

    def tell(self, ref: str, message: Any) -> None:
        """Tells; it waits for an owner where none lives."""
        if self._engine.kernel is None:
            self._later.append((ref, message))
        else:
            self._engine.tell(Envelope(ref, message, kept=True))

    def command(
        self, name: str, entity_id: str, *, operator: str = "sim", reason: str = "sim", **args: Any
    ) -> Operation | None:
        """An operator's command. None where there is none of the name for such an entity."""
        order = Order(
            name=name, entity_id=entity_id, operator=operator, reason=reason, args=dict(args)
        )
        try:
            ref, message = command_for(order)
        except UnknownCommand:
            return None
        operation = Operation(operator, ref, message, self._engine.n)
        self.ask(operation, control=True)
        return operation

    def lose_owner(self) -> None:
        """Whoever waited for an answer of that owner gets none."""
        for submission in self.submissions:
            if submission.waiting:
                submission.waiting = False
                self._engine.later(_AGAIN_S, self.submit, submission)
        making, self._making = self._making, {}
        for what in making.values():
            self._engine.later(_AGAIN_S, self.spawn, what)

    def owner_came(self) -> None:
        """What waited for an owner is told now."""
        later, self._later = self._later, []
        for ref, message in later:
            self.tell(ref, message)


def checked(plan: spec.Plan, pools: dict[str, spec.Pool]) -> spec.Plan:
    """The plan, with a number of slots in every pool. Raises PlanError with every fault."""
    workers = {
        name: pool if pool.count else msgspec.structs.replace(pool, count=2)
        for name, pool in plan.workers.items()
    }
    plan = msgspec.structs.replace(plan, workers=workers)
    calls = frozenset(
        task.call for w in plan.workstreams.values() for task in w.tasks.values() if task.call
    )
    faults = tuple(validate(plan, calls, pools))
    if faults:
        raise PlanError(faults)
    return plan
