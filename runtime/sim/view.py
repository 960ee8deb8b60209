"""What a promise may look at in one searched state, and what always holds there.

The built-in promises look only at actors that the last turn has changed, so that a state costs the
same in a world of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from runtime.sim.people import waits_for_a_person

if TYPE_CHECKING:
    from runtime.sim.space import After, Local
    from runtime.sim.states import Node, States

Broken: TypeAlias = tuple[str, str]  # the promise, how it was broken


class View:
    """One state, to be read. `quiescent`: nothing more happens in it by itself."""

    __slots__ = ("_node", "_states", "quiescent")

    def __init__(self, states: States, node: Node, *, quiescent: bool = False) -> None:
        self._states = states
        self._node = node
        self.quiescent = quiescent

    def __getitem__(self, address: str) -> Any:
        """The value of an actor. KeyError where there is none (yet)."""
        actor = self._states.actor(self._node, address)
        if actor is None:
            raise KeyError(address)
        return actor.value

    def get(self, address: str) -> Any:
        """The value of an actor, or None."""
        actor = self._states.actor(self._node, address)
        return None if actor is None else actor.value

    def of(self, kind: str) -> list[Any]:
        """The values of all actors of a kind."""
        return [actor.value for actor in self.actors() if actor.kind == kind]

    def actors(self) -> Iterator[Local]:
        """All actors, those outside the kernel included."""
        return (actor for actor in self._node.actors if actor is not None)

    def under_way(self) -> list[tuple[str, str, Any]]:
        """Sender, receiver and message of all that is under way."""
        return [
            (sender, receiver, message.item)
            for (sender, receiver), messages in self._node.lanes.items()
            for message in messages
        ]

    def left(self, budget: str) -> int:
        """What is left of a budget."""
        at = self._states.budgets.index(budget)
        return self._node.left[at]


Promise: TypeAlias = Callable[[View], "str | None"]


def always(states: States, node: Node, after: After | None) -> Broken | None:
    """What the last turn has broken of what always holds."""
    if after is None:
        return None
    if after.error is not None:
        return after.error
    check = _CHECKS.get(after.local.kind)
    return check(View(states, node), after) if check is not None else None


def _process(view: View, after: After) -> Broken | None:
    process = after.local.value
    running = {held.task_id for held in process.held if held.running}
    if not running:
        return None
    for other in view.of("process"):
        if other.id != process.id and any(h.running and h.task_id in running for h in other.held):
            text = f"{process.id} and {other.id} execute {', '.join(sorted(running))} at a time"
            return "one execution at a time", text
    return None


def _task(view: View, after: After) -> Broken | None:
    task = after.local.value
    if task.state != "running" or not any(target == "running" for _, target, _ in after.edges):
        return None
    for other in view.of("task"):
        if other.id != task.id and other.state == "running" and other.worker_id == task.worker_id:
            return "a slot runs one task", f"{task.worker_id} runs {task.id} and {other.id}"
    for gate in task.spec.gates:
        if gate not in task.gates.waived and not _has_passed(view, gate):
            return "gates before starts", f"{task.id} runs, and {gate} has not passed"
    return None


def _has_passed(view: View, gate: str) -> bool:
    value = view.get(gate)
    while value is not None and value.state != "passed" and value.replaced_by is not None:
        value = view.get(f"test_gate:{value.replaced_by}")
    return value is not None and value.state == "passed"


def _workstream(view: View, after: After) -> Broken | None:
    if not after.local.ended:
        return None
    ended = after.local.value.id
    for task in view.of("task"):
        if task.workstream_id == ended and task.completed_at is None:
            return "ends are bottom-up", f"{ended} has ended, and its {task.id} has not"
    return None


def _run(view: View, after: After) -> Broken | None:
    if not after.local.ended:
        return None
    ended = after.local.value.id
    for kind in ("workstream", "task", "test_gate"):
        for value in view.of(kind):
            if value.run_id == ended and value.completed_at is None:
                return "ends are bottom-up", f"{ended} has ended, and its {value.id} has not"
    return None


_CHECKS: dict[str, Callable[[View, After], Broken | None]] = {
    "process": _process,
    "task": _task,
    "workstream": _workstream,
    "run": _run,
}


def at_rest(view: View) -> Broken | None:
    """Where nothing more happens by itself: every run has ended, or waits for a person."""
    below = [(actor.kind, actor.value) for actor in view.actors() if actor.kind in _BELOW]
    for run in view.of("run"):
        if run.completed_at is None and waits_for_a_person(run, below) is None:
            unfinished = [
                f"{value.id} is {value.state}"
                for kind, value in below
                if kind != "circuit_breaker" and value.completed_at is None
            ]
            text = f"nothing moves, and {run.id} is {run.state}: {'; '.join(unfinished)}"
            return "no deadlock", text
    return None


_BELOW = frozenset({"workstream", "task", "test_gate", "circuit_breaker"})
