"""A search of every state that a small world can come to, the nearest first.

    result = explore(world, crashes=1, drops=0, depth_max=40)
    print(result)        # complete within these bounds: 81,344 states, ...

Breadth first, so that the counterexample is a short one. Of two orders in which turns of different
actors may be taken only one is followed (sleep sets): both lead to the same state, and every state
is still visited. `complete` is said only where no bound has cut anything off.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from actors.messages import Message
from runtime.sim.case import Coverage, Failure, Happening
from runtime.sim.signature import signature
from runtime.sim.small import SmallWorld
from runtime.sim.space import After
from runtime.sim.states import CRASHES, DROPS, Happens, Node, States, taken_next, whose
from runtime.sim.view import Broken, Promise, View, always, at_rest

STATES_MAX = 1_000_000
"""A state takes about a kilobyte."""
SECONDS_MAX = 60.0
LOOK_EVERY = 256
"""States between two looks at the clock."""


class SearchResult(msgspec.Struct):
    """What a search came to. `bounds`: what it was held within. `cut`: which of them cut it off."""

    complete: bool
    failure: Failure | None
    happenings: tuple[Happening, ...]
    states: int
    transitions: int
    turns: int  # decided; all others were looked up
    at_rest: int  # states in which nothing more happens by itself
    depth: int
    seconds: float
    bounds: dict[str, float]
    cut: str | None
    coverage: Coverage

    @property
    def states_per_s(self) -> float:
        return self.states / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        bounds = ", ".join(f"{name} ≤ {value:g}" for name, value in self.bounds.items())
        counted = (
            f"{self.states:,} states, {self.transitions:,} transitions, depth {self.depth}, "
            f"{self.at_rest:,} at rest, {self.seconds:.1f} s ({self.states_per_s:,.0f} states/s)"
        )
        if self.failure is not None:
            found = f"broken after {len(self.happenings)} steps: {self.failure.invariant}"
            return f"{found}: {self.failure.text} ({counted})"
        if self.complete:
            return f"complete within these bounds ({bounds}): {counted}"
        return f"not complete ({self.cut}; {bounds}): nothing broken in {counted}"


def explore(
    world: SmallWorld,
    promises: Iterable[Promise] = (),
    *,
    crashes: int = 0,
    drops: int = 0,
    depth_max: int | None = None,
    states_max: int = STATES_MAX,
    seconds_max: float = SECONDS_MAX,
    reduction: bool = True,
    symmetry: bool = True,
    patient: bool = True,
) -> SearchResult:
    """Visits every state of the world within the bounds, until one breaks a promise.

    `promises`: each is given a `View` of every state, and says what is broken in it, or None; its
    name is the function's. What always holds of our own machines is looked at without asking.
    `crashes`: of the owner, at any moment; `drops`: of messages that may be lost. `patient`: a
    timer waits until nothing is under way between actors of the kernel, as in the kernel, which
    takes what is there first; if not, it may come before any of it.
    """
    budgets = {CRASHES: crashes, DROPS: drops, **world.budgets}
    states = States(world, world.space(symmetry=symmetry), budgets, patient=patient)
    bounds = {name: float(n) for name, n in budgets.items()}
    if depth_max is not None:
        bounds["depth"] = float(depth_max)
    search = _Search(states, tuple(promises), reduction=reduction, depth_max=depth_max)
    return search.run(states_max, seconds_max, bounds)


class _Search:
    """One search under way."""

    def __init__(
        self,
        states: States,
        promises: tuple[Promise, ...],
        *,
        reduction: bool,
        depth_max: int | None,
    ) -> None:
        self.states = states
        self.promises = promises
        self.reduction = reduction
        self.depth_max = depth_max
        self.visited: dict[Any, Node] = {}
        self.queue: deque[Node] = deque()
        self.transitions = self.at_rest = self.depth = 0
        self.cut: str | None = None
        self.broken: tuple[Node, Broken] | None = None

    def run(self, states_max: int, seconds_max: float, bounds: dict[str, float]) -> SearchResult:
        began = time.perf_counter()
        was_on = gc.isenabled()
        gc.disable()  # nothing here is a cycle, and there are millions of it
        try:
            self._visit_all(began, states_max, seconds_max)
        finally:
            if was_on:
                gc.enable()
        seconds = time.perf_counter() - began
        complete = self.broken is None and self.cut is None
        if complete and self.depth_max is not None and self.depth > self.depth_max:
            complete, self.cut = False, f"deeper than {self.depth_max} steps"
        story = _Story(self.states).of(self.broken[0]) if self.broken is not None else ()
        return SearchResult(
            complete=complete,
            failure=self._failure(len(story)),
            happenings=story,
            states=len(self.visited),
            transitions=self.transitions,
            turns=self.states.space.turns,
            at_rest=self.at_rest,
            depth=self.depth,
            seconds=seconds,
            bounds=bounds,
            cut=self.cut,
            coverage=self.states.space.coverage,
        )

    def _visit_all(self, began: float, states_max: int, seconds_max: float) -> None:
        first = self.states.first()
        self.visited[self.states.key(first)] = first
        self._judge(first, None)
        self.queue.append(first)
        looked = 0
        while self.queue and self.broken is None and self.cut is None:
            self._expand(self.queue.popleft())
            looked += 1
            if len(self.visited) > states_max:
                self.cut = f"more than {states_max:,} states"
            elif looked % LOOK_EVERY == 0 and time.perf_counter() - began > seconds_max:
                self.cut = f"more than {seconds_max:g} s"

    def _failure(self, n: int) -> Failure | None:
        if self.broken is None:
            return None
        promise, text = self.broken[1]
        return Failure(promise, text, signature(promise, text), 0.0, n)

    def _expand(self, node: Node) -> None:
        """Follows everything that may happen in the state, or what was left out there before."""
        states, only = self.states, node.todo
        node.todo = frozenset()
        if self.depth_max is not None and node.depth > self.depth_max:
            return
        events = states.enabled(node)
        if only is None and states.is_quiescent(events):
            self.at_rest += 1
            self._judge_rest(node)
        followed = [(event, states.urges(node, event)) for event in node.sleep]
        for event in events:
            if event in node.sleep if only is None else event not in only:
                continue
            new, after = states.do(node, event)
            self.transitions += 1
            if self.reduction:
                urged = after.urges if after is not None else ()
                new.sleep = frozenset(
                    each for each, also in followed if states.commute(each, also, event, urged)
                )
                followed.append((event, urged))
            self._reach(new, after)
            if self.broken is not None:
                return
        if not node.sleep and not node.todo:
            node.actors, node.lanes, node.durable = (), {}, None  # it is not looked at again

    def _reach(self, new: Node, after: After | None) -> None:
        key = self.states.key(new)
        seen = self.visited.get(key)
        if seen is None:
            self.visited[key] = new
            self.depth = max(self.depth, new.depth)
            self._judge(new, after)
            self.queue.append(new)
            return
        if after is not None and after.error is not None:
            self._judge(new, after)
        if not seen.sleep:
            return
        # Reached another way: what was left out there may not be left out here.
        alike = (seen.inner, seen.outer) == (new.inner, new.outer)
        left_out = new.sleep if alike else frozenset()
        missing = seen.sleep - left_out
        if missing:
            seen.sleep &= left_out
            if seen.todo is not None:  # it has been followed already
                if not seen.todo:
                    self.queue.appendleft(seen)
                seen.todo |= missing

    def _judge(self, node: Node, after: After | None) -> None:
        broken = always(self.states, node, after)
        if broken is None and self.promises:
            broken = self._asked(View(self.states, node))
        if broken is not None and self.broken is None:
            self.broken = (node, broken)

    def _judge_rest(self, node: Node) -> None:
        view = View(self.states, node, quiescent=True)
        broken = at_rest(view) or self._asked(view)
        if broken is not None and self.broken is None:
            self.broken = (node, broken)

    def _asked(self, view: View) -> Broken | None:
        for promise in self.promises:
            text = promise(view)
            if text is not None:
                return promise.__name__, text
        return None


class _Story:
    """The way to a state, taken once more, as happenings."""

    def __init__(self, states: States) -> None:
        self._states = states
        self._sent: dict[int, tuple[int, ...]] = {}
        self._last: dict[str, int] = {}

    def of(self, node: Node) -> tuple[Happening, ...]:
        """Every step from the beginning."""
        events: list[Happens] = []
        at: Node | None = node
        while at is not None and at.event is not None:
            events.append(at.event)
            at = at.parent
        here = self._states.first()
        told: list[Happening] = []
        for n, event in enumerate(reversed(events), 1):
            before = here
            here, after = self._states.do(here, event)
            told.append(self._told(n, before, event, after))
        return tuple(told)

    def _told(self, n: int, before: Node, event: Happens, after: After | None) -> Happening:
        actor = whose(event) or "owner"
        what, detail = event[0], ""
        if what in {"deliver", "drop"}:
            messages = before.lanes[event[1]]
            first = messages[0 if what == "drop" else taken_next(messages)]
            what, detail = first.name, f"from {event[1][0]}: {_short(first.item)}"
        elif what == "timer":
            what, detail = "TimerFired", str(event[2])
        elif what == "move":
            what, detail = event[2].name, _short(event[2].item)
        last = self._last.get(actor)
        self._last[actor] = n
        return Happening(
            n=n,
            at=0.0,
            actor=actor,
            what=what,
            key=f"{event[0]}/{actor}/{n}",
            detail=detail,
            edges=after.edges if after is not None else (),
            effects=after.effects if after is not None else (),
            causes=() if last is None else (last,),
            fault=event[0] in {"crash", "drop"} or (event[-1] is not None and len(event) > 1),
        )


def _short(item: Any) -> str:
    return f"{item!r:.120}" if isinstance(item, Message) else f"{type(item).__name__}"
