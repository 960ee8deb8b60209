"""Questions and answers of many clients, held against a model that answers one at a time.

    history = sim.history()                     # of every `sim.ask`
    checked = check_linearizable(history, Register())
    sim.check(checked.ok, checked.text)

A history is linearizable if every answer is what the model would have said, had each question been
answered at one instant between being asked and being answered. A question without an answer may
have been taken at any later moment, or never. What is asked of different actors is checked apart:
linearizability of each is that of all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import msgspec

from runtime.sim.monitors import Monitor

if TYPE_CHECKING:
    from runtime.sim.monitors import World

S = TypeVar("S")

STEPS_MAX: Final = 200_000
"""Of one search: histories that need more are rare, and cost exponential time."""


class Asked(Protocol):
    """One entry: a question, and the answer where there is one. `returned` None: nobody knows what
    came of it. `error`: it was told that it failed, which it may have done after its effect."""

    @property
    def client(self) -> str: ...
    @property
    def ref(self) -> str: ...
    @property
    def message(self) -> Any: ...
    @property
    def invoked(self) -> int: ...
    @property
    def returned(self) -> int | None: ...
    @property
    def answer(self) -> Any: ...
    @property
    def error(self) -> str | None: ...


class Model(Protocol[S]):
    """What one actor should be: pure, like the actor itself."""

    def initial(self, ref: str) -> S:
        """The state before the first question."""

    def step(self, state: S, message: Any) -> tuple[S, Any]:
        """The state after a question, and the answer to it."""


class Checked(msgspec.Struct, frozen=True):
    """What a check came to. `ok` None: it took more than its steps, so nothing is known.

    `order`: the questions of the actor `ref` in an order that explains them; where there is none,
    the longest part that could be explained. `culprit`: what could not follow it.
    """

    ok: bool | None
    ref: str | None = None
    order: tuple[Any, ...] = ()
    culprit: Any = None
    steps: int = 0

    @property
    def text(self) -> str:
        """One line for a person."""
        if self.ok:
            return "linearizable"
        if self.ok is None:
            return f"not known within {self.steps} steps: ask {self.ref} less, or of more actors"
        said = f"{self.culprit.client} asked {self.culprit.message!r}"
        explained = f"{len(self.order)} answers of {self.ref} have an order"
        return f"{explained}, and none explains that {said} and was told {self.culprit.answer!r}"


def check_linearizable(
    history: Iterable[Asked], model: Model[Any], *, steps_max: int = STEPS_MAX
) -> Checked:
    """Whether an order of all questions explains all answers; actor by actor, the first that has
    none decides."""
    steps = 0
    unknown: Checked | None = None
    for ref, asked in _by_actor(history).items():
        found = _Search(asked, model, ref, steps_max).run()
        steps += found.steps
        if found.ok is False:
            return found
        if found.ok is None:
            unknown = unknown or found
    return unknown or Checked(True, steps=steps)


def _by_actor(history: Iterable[Asked]) -> dict[str, list[Asked]]:
    found: dict[str, list[Asked]] = {}
    for asked in history:
        found.setdefault(asked.ref, []).append(asked)
    return found


class _Search(Generic[S]):
    """Depth first through the orders of one actor's questions, never twice from the same place: the
    same questions taken, and the model in the same state."""

    def __init__(self, asked: list[Asked], model: Model[S], ref: str, steps_max: int) -> None:
        self._asked = sorted(asked, key=lambda a: (a.invoked, _end_of(a)))
        self._model = model
        self._ref = ref
        self._steps_max = steps_max
        self._must = 0  # those with an answer: all of them are to be explained
        for n, each in enumerate(self._asked):
            if _is_answered(each):
                self._must |= 1 << n
        self._longest: tuple[int, ...] = ()
        self._stuck = 0  # what had been taken where it went no further

    def run(self) -> Checked:
        state = self._model.initial(self._ref)
        seen: set[tuple[int, Hashable]] = {(0, _key(state))}
        way: list[int] = []
        stack: list[Iterator[tuple[int, S]]] = [self._next(0, state)]
        taken, steps = [0], 0
        while stack:
            if taken[-1] & self._must == self._must:
                return Checked(True, self._ref, self._named(way), steps=steps)
            for n, after in stack[-1]:
                steps += 1
                if steps > self._steps_max:
                    return Checked(None, self._ref, steps=steps)
                place = (taken[-1] | 1 << n, _key(after))
                if place not in seen:
                    seen.add(place)
                    way.append(n)
                    taken.append(place[0])
                    stack.append(self._next(place[0], after))
                    self._remember(way, place[0])
                    break
            else:
                stack.pop()
                taken.pop()
                if way:
                    way.pop()
        return self._failed(steps)

    def _next(self, taken: int, state: S) -> Iterator[tuple[int, S]]:
        """What may come next: what was asked before any answer that is still to be explained came;
        the answered first, for what nobody answered need not have happened."""
        asked = self._asked
        open_ = [n for n in range(len(asked)) if not taken >> n & 1]
        first = min((_end_of(asked[n]) for n in open_), default=0)
        may = [n for n in open_ if asked[n].invoked <= first]
        for n in sorted(may, key=lambda n: not self._must >> n & 1):
            after, answer = self._model.step(state, asked[n].message)
            if not self._must >> n & 1 or answer == asked[n].answer:
                yield n, after

    def _remember(self, way: Sequence[int], taken: int) -> None:
        explained = sum(1 for n in way if self._must >> n & 1)
        if explained > sum(1 for n in self._longest if self._must >> n & 1):
            self._longest, self._stuck = tuple(way), taken

    def _named(self, way: Iterable[int]) -> tuple[Any, ...]:
        return tuple(self._asked[n] for n in way)

    def _failed(self, steps: int) -> Checked:
        left = [n for n in range(len(self._asked)) if (self._must & ~self._stuck) >> n & 1]
        culprit = min(left, key=lambda n: _end_of(self._asked[n]))
        order = self._named(n for n in self._longest if self._must >> n & 1)
        return Checked(False, self._ref, order, self._asked[culprit], steps)


_NEVER: Final = 1 << 62


def _is_answered(asked: Asked) -> bool:
    return asked.returned is not None and asked.error is None


def _end_of(asked: Asked) -> int:
    return asked.returned if asked.returned is not None and asked.error is None else _NEVER


def _key(state: Any) -> Hashable:
    try:
        hash(state)
    except TypeError:
        return msgspec.msgpack.encode(state, order="deterministic")
    key: Hashable = state
    return key


class Reference(Monitor):
    """Compares every answer with a reference model, from the first to the last.

    `chosen`: the actors that it stands for, by their address; by default whoever was asked.
    """

    name = "the reference model agrees"

    def __init__(
        self, model: Model[Any], history: Callable[[], Sequence[Asked]], chosen: str = ""
    ) -> None:
        """`history`: of the run that is watched; `chosen`: how the addresses begin."""
        self._model = model
        self._history = history
        self._chosen = chosen
        self._look_at = 1

    def on_outside(self, world: World, what: str, actor: str, detail: Any) -> None:
        # Each look costs as much as there are answers: so after 1, 2, 4, 8 of them, and at the end.
        if what == "answered" and actor.startswith(self._chosen):
            asked = [each for each in self._history() if each.ref == actor]
            if len(asked) >= self._look_at:
                self._look_at = 2 * len(asked)
                self._look(world, asked)

    def on_end(self, world: World) -> None:
        asked = [each for each in self._history() if each.ref.startswith(self._chosen)]
        self._look(world, asked)
        counted = world.coverage.always
        counted[self.name] = counted.get(self.name, 0) + len(asked)

    def _look(self, world: World, asked: Sequence[Asked]) -> None:
        checked = check_linearizable(asked, self._model)
        if checked.ok is False:
            world.fail(self.name, checked.text, *(f"{a.message!r}" for a in checked.order))
