"""What waits for what, and the rings in it: one graph of workstreams, tasks and gates.

A workstream is two nodes, its start and its end, so that a task that waits for a task of another
workstream is seen together with workstreams that wait for each other:

    task ──▶ start of its workstream ──▶ ends of the workstreams that this one depends on
    end of a workstream ──▶ all its tasks

Gates wait for gates only. That a task waits for a gate closes no ring: what a gate takes from the
tasks that need it is when it may start, and any one of them is enough for that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias

from actors.spec import Plan
from runtime.plan.fault import Path

# ("task", workstream, task); else the last part is empty: ("start" or "end", workstream, ""),
# ("gate", name, "").
Node: TypeAlias = tuple[str, str, str]
Waits: TypeAlias = Mapping[Node, Sequence[Node]]

# A person can mend a few at a time; each costs a search through what is left.
RINGS_MAX = 20
_SHOWN_MAX = 12


class Ring(NamedTuple):
    """Things that wait for each other: `path` is where one of these dependencies is written."""

    path: Path
    text: str


def rings(plan: Plan) -> Iterator[Ring]:
    """Rings of a plan that share nothing with each other, at most RINGS_MAX, each the shortest
    through one of its members. There is none exactly when the plan can be put in order.

    Names that the plan does not define are passed over.
    """
    waits = _waits(plan)
    for ring in _rings(waits):
        yield Ring(_written_at(ring), _shown(ring))


def _waits(plan: Plan) -> dict[Node, list[Node]]:
    """Who waits for whom. What waits for nothing is left out: it is in no ring, and in a plan of a
    million tasks it may be most of them."""
    waits: dict[Node, list[Node]] = {}
    for name, gate in plan.gates.items():
        waits["gate", name, ""] = [("gate", g, "") for g in gate.depends_on if g in plan.gates]
    for name, workstream in plan.workstreams.items():
        known = [other for other in workstream.depends_on if other in plan.workstreams]
        start = [("start", name, "")] if known else []
        waits["end", name, ""] = [*start]
        if known:
            waits["start", name, ""] = [("end", other, "") for other in known]
        for task_name, task in workstream.tasks.items():
            others = [*start, *task_nodes(plan, name, task.depends_on)]
            if others:
                waits["task", name, task_name] = others
                waits["end", name, ""].append(("task", name, task_name))
    return waits


def task_nodes(plan: Plan, workstream: str, depends_on: Sequence[str]) -> Iterator[Node]:
    """The tasks that are meant by the dependencies of a task, where they exist."""
    for reference in depends_on:
        owner, slash, task = reference.partition("/")
        if not slash:
            owner, task = workstream, reference
        found = plan.workstreams.get(owner)
        if found is not None and task in found.tasks:
            yield ("task", owner, task)


def _rings(waits: Waits) -> Iterator[list[Node]]:
    """Takes away what can come to its turn; what stays holds a ring. A ring found is taken away
    too, as if its members had ended, and the rest goes on."""
    waiting_for: dict[Node, int] = {}
    behind: dict[Node, list[Node]] = {}
    for node, others in waits.items():
        waiting_for[node] = 0
        for other in others:
            if other in waits:
                waiting_for[node] += 1
                behind.setdefault(other, []).append(node)
    ready = deque(node for node, count in waiting_for.items() if not count)
    for _ in range(RINGS_MAX):
        while ready:
            node = ready.popleft()
            del waiting_for[node]
            for after in behind.get(node, ()):
                if after in waiting_for:
                    waiting_for[after] -= 1
                    if not waiting_for[after]:
                        ready.append(after)
        if not waiting_for:
            return
        ring = _shortest(_any_member(waits, waiting_for), waits, waiting_for)
        yield ring
        for node in ring:
            if waiting_for[node]:
                waiting_for[node] = 0
                ready.append(node)


def _any_member(waits: Waits, left: Mapping[Node, int]) -> Node:
    """A node of some ring: everything left waits for something left, so a walk must come back."""
    node = next(iter(left))
    seen: set[Node] = set()
    while node not in seen:
        seen.add(node)
        node = next(other for other in waits[node] if other in left)
    return node


def _shortest(member: Node, waits: Waits, left: Mapping[Node, int]) -> list[Node]:
    """The shortest way from `member` back to itself, beginning with it."""
    came_from: dict[Node, Node] = {}
    frontier = deque([member])
    while member not in came_from:
        node = frontier.popleft()
        for other in waits[node]:
            if other in left and other not in came_from:
                came_from[other] = node
                frontier.append(other)
    ring = [came_from[member]]
    while ring[-1] != member:
        ring.append(came_from[ring[-1]])
    return ring[::-1]


def _written_at(ring: list[Node]) -> Path:
    """The place of the first dependency that somebody wrote; the implied ones are nowhere."""
    for (kind, name, task), following in zip(ring, [*ring[1:], ring[0]], strict=True):
        if kind == "gate":
            return ("gates", name, "depends_on")
        if kind == "start":
            return ("workstreams", name, "depends_on")
        if kind == "task" and following[0] == "task":
            return ("workstreams", name, "tasks", task, "depends_on")
    return ("workstreams",)


def _shown(ring: list[Node]) -> str:
    # The end and the start of one workstream follow each other: one name.
    names = [name for name, _ in groupby(map(_name, ring))]
    if len(names) > 1 and names[0] == names[-1]:
        del names[-1]
    if len(names) == 1:
        return f"{names[0]} waits for itself"
    if len(names) > _SHOWN_MAX:
        left_out = len(names) - _SHOWN_MAX
        names[_SHOWN_MAX // 2 : -(_SHOWN_MAX // 2)] = [f"… {left_out} more …"]
    return "these wait for each other: " + " → ".join([*names, names[0]])


def _name(node: Node) -> str:
    kind, name, task = node
    if kind == "task":
        return f"{name}/{task}"
    return f"gate {name}" if kind == "gate" else f"workstream {name}"
