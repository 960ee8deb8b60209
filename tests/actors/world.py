"""A world in memory: delivers messages between the machines, and stands in for shell and clock.

Nothing in it waits. Turns are taken one at a time, in the order of arrival or as `pick` says; what
the shell would report waits in `reports` until it is let in; time moves only to the next timer.
Everything that must hold after every turn is checked after every turn.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from math import inf
from typing import Any

import msgspec

from actors import breaker, gate, run, task, uet_worker, worker, workstream
from actors import effects as fx
from actors import messages as m
from actors.dispatch import Dispatch
from actors.machine import Taken
from actors.run_plan import guarded
from actors.spec import Plan

DISPATCH = "dispatch:main"
MODULES: dict[str, Any] = {
    "run": run,
    "workstream": workstream,
    "task": task,
    "worker": worker,
    "uet_worker": uet_worker,
    "test_gate": gate,
    "circuit_breaker": breaker,
}
VALUES = {
    "run": run.Run,
    "workstream": workstream.Workstream,
    "task": task.Task,
    "worker": worker.Worker,
    "uet_worker": uet_worker.UetWorker,
    "test_gate": gate.Gate,
    "circuit_breaker": breaker.Breaker,
}
MORTAL = [kind for kind, module in MODULES.items() if module.CHART.terminal]
OK = m.Outcome(exit_code=0, duration_s=1.0)
Judge = Callable[[str, int], m.Outcome]


def succeed(_id: str, _attempt: int) -> m.Outcome:
    """The default script: whatever runs, passes."""
    return OK


class World:
    """Everything that would be rows, memory and processes."""

    def __init__(
        self,
        work: Judge = succeed,
        gates: Judge = succeed,
        *,
        gate_places: int = 2,
        pick: Callable[[int], int] | None = None,
    ) -> None:
        """`work` and `gates` say how an execution of a task or gate (its id, the number of its
        attempt) ends; `pick(n)` which of n actors with messages goes next (None: the first)."""
        self.work, self.gates = work, gates
        self.gate_places, self._pick = gate_places, pick
        self.now = 100.0
        self.epoch = 1
        self.dispatch = Dispatch(self.epoch, gate_places)
        self.values: dict[str, Any] = {}
        self.lanes: dict[str, tuple[deque[Any], deque[Any]]] = {}
        self.timers: dict[tuple[str, str], tuple[float, bool]] = {}
        self.history: list[tuple[str, Taken]] = []
        self.watches: dict[str, set[str]] = {}  # by target
        self.notes: list[tuple[str, fx.Note]] = []
        self.replies: list[Any] = []
        self.dead: list[tuple[str, Any]] = []
        self.performed: list[fx.Effect] = []
        self.reports: deque[tuple[str, Any]] = deque()
        self.processes: set[str] = set()  # addresses of uet workers whose process is up
        self.offers: dict[str, fx.Offer] = {}  # by lease: launched, perhaps not released yet
        self.running: dict[str, fx.Offer] = {}  # by lease: really executing
        self.gates_running: dict[str, fx.RunGate] = {}
        self.executions: Counter[str] = Counter()  # of each task
        self.turns = 0

    # --- looking ---------------------------------------------------------------------------------

    def state(self, address: str) -> str:
        """The state of an actor; a bare id means a task."""
        return str(self[address].state)

    def __getitem__(self, address: str) -> Any:
        return self.values[address if ":" in address.split("/", 1)[0] else f"task:{address}"]

    def of(self, kind: str) -> list[Any]:
        """The values of all actors of a kind."""
        return [value for address, value in self.values.items() if address.startswith(f"{kind}:")]

    def moves(self, address: str) -> list[str]:
        """The states that an actor went through, the first included."""
        return [taken.target for who, taken in self.history if who == address]

    @property
    def idle(self) -> bool:
        return not any(control or work for control, work in self.lanes.values())

    # --- doing -----------------------------------------------------------------------------------

    def submit(self, plan: Plan, run_id: str = "r") -> str:
        """Creates a run and the breakers of its tools and gates, and sends it `Begin`."""
        for breaker_id, tool in guarded(plan).items():
            if f"circuit_breaker:{breaker_id}" not in self.values:
                name = breaker_id.rpartition("-")[0]
                value = breaker.create(name, tool.command, tool.breaker, self.now)
                self.spawn("circuit_breaker", value)
        self.spawn("run", run.create(plan, run_id, self.now))
        self.tell(f"run:{run_id}", m.Begin())
        return f"run:{run_id}"

    def spawn(self, kind: str, value: Any) -> str:
        if type(value) is not VALUES[kind]:
            value = MODULES[kind].create(value, self.now)
        address = f"{kind}:{value.id}"
        assert address not in self.values, f"{address} is there already"
        self.values[address] = value
        self.history.append((address, MODULES[kind].CHART.born()))
        return address

    def tell(self, address: str, message: Any, *, control: bool = False) -> None:
        lanes = self.lanes.setdefault(address, (deque(), deque()))
        lanes[0 if control else 1].append(message)

    def ask(self, address: str, message: Any) -> Any:
        """An operator's command, taken at once, and its answer."""
        before = len(self.replies)
        self.tell(address, message, control=True)
        self.deliver()
        assert len(self.replies) > before, f"no answer from {address} to {message}"
        return self.replies[before]

    def deliver(self, turns: int = 100_000) -> None:
        """Takes turns until every inbox is empty."""
        for _ in range(turns):
            if not self.step():
                return
        raise AssertionError("the machines do not come to rest")

    def step(self) -> bool:
        """One turn; False if there was nothing to take."""
        ready = [address for address, (control, work) in self.lanes.items() if control or work]
        if not ready:
            return False
        address = ready[self._pick(len(ready)) if self._pick else 0]
        control, work = self.lanes.pop(address)
        message = (control or work).popleft()
        if control or work:
            self.lanes[address] = (control, work)  # behind all others that wait
        self.take(address, message)
        return True

    def take(self, address: str, message: Any) -> None:
        """One turn of one actor, and what it leads to."""
        self.turns += 1
        message = msgspec.json.decode(msgspec.json.encode(message), type=type(message))
        if address == DISPATCH:
            self._apply(address, self.dispatch.decide(message, self.now))
            return
        if address not in self.values:
            self.dead.append((address, message))
            return
        kind, before = address.partition(":")[0], self.values[address]
        decision = MODULES[kind].decide(before, message, self.now)
        _check_edges(MODULES[kind].CHART, before, decision)
        self.values[address] = decision.state
        self.history += [(address, taken) for taken in decision.edges]
        if decision.edges and decision.state.completed_at is not None:
            for key in [k for k in self.timers if k[0] == address]:
                del self.timers[key]
        self._apply(address, decision.effects)
        self._tell_watchers(address)
        if decision.state is not before:
            self._check(kind, decision.state)

    def _apply(self, address: str, effects: tuple[fx.Effect, ...]) -> None:
        for effect in effects:
            match effect:
                case fx.Send():
                    self.tell(effect.to, effect.message, control=effect.control)
                case fx.Spawn():
                    self.spawn(effect.kind, effect.value)
                case fx.SetTimer():
                    self.timers[address, effect.key] = (effect.due, effect.volatile)
                case fx.CancelTimer():
                    self.timers.pop((address, effect.key), None)
                case fx.Note():
                    self.notes.append((address, effect))
                case fx.Watch():
                    self.watches.setdefault(effect.target, set()).add(address)
                    self._tell_watchers(effect.target)
                case fx.Reply():
                    self.replies.append(effect.value)
                case _:
                    self.performed.append(effect)
                    self._perform(effect)

    def _tell_watchers(self, target: str) -> None:
        value = self.values.get(target)
        if value is not None and value.completed_at is not None:
            for watcher in sorted(self.watches.pop(target, ())):
                self.tell(watcher, m.Ended(target, value.state))

    # --- the shell -------------------------------------------------------------------------------

    def _perform(self, effect: fx.Effect) -> None:
        match effect:
            case fx.StartProcess():
                self.processes.add(effect.uet)
                self.reports.append((effect.uet, m.ProcessStarted(7, 7, "boot")))
            case fx.StopProcess():
                self.end_process(effect.uet, m.ProcessExited(crashed=False))
            case fx.Offer() if effect.uet in self.processes:
                self.offers[effect.lease] = effect
                if effect.command:
                    launched = m.Launched(effect.lease, 8, 8, 8)
                    self.reports.append((effect.uet, launched))
                else:
                    self._execute(effect.lease)
            case fx.Release():
                self._execute(effect.lease)
            case fx.Withdraw():
                if self.offers.pop(effect.lease, None) is not None:
                    self.running.pop(effect.lease, None)
                    outcome = m.Outcome(signal=15, reason=effect.reason)
                    self.reports.append((effect.uet, m.WorkEnded(effect.lease, outcome)))
            case fx.RunGate():
                self.gates_running[effect.gate] = effect
            case fx.KillGate():
                killed = self.gates_running.pop(effect.gate, None)
                if killed is not None:
                    outcome = m.Outcome(signal=15, reason=effect.reason)
                    self.reports.append((effect.gate, m.GateEnded(killed.attempt, outcome)))
            case _:
                pass

    def _execute(self, lease: str) -> None:
        offer = self.offers.get(lease)
        if offer is None:
            return
        overlap = [o for o in self.running.values() if o.task_id == offer.task_id]
        assert not overlap, f"{offer.task_id} is executed twice at a time"
        self.running[lease] = offer
        self.executions[offer.task_id] += 1

    def end_process(self, uet: str, how: m.ProcessExited) -> None:
        """The process of a uet worker is gone, and all it ran. Gone already: said already."""
        if uet not in self.processes:
            return
        for lease in [lease for lease, offer in self.offers.items() if offer.uet == uet]:
            del self.offers[lease]
            self.running.pop(lease, None)
        self.reports = deque(r for r in self.reports if r[0] != uet)
        self.processes.discard(uet)
        self.reports.append((uet, how))

    def crash(self, uet: str) -> None:
        """A worker's process dies by itself."""
        self.end_process(uet, m.ProcessExited(crashed=True, reason="signal 9"))

    def finish(self, lease: str, outcome: m.Outcome | None = None) -> None:
        """The execution of a lease ends."""
        offer = self.running.pop(lease)
        del self.offers[lease]
        ended = self.work(offer.task_id, offer.attempt) if outcome is None else outcome
        self.reports.append((offer.uet, m.WorkEnded(lease, ended)))

    def finish_gate(self, address: str, outcome: m.Outcome | None = None) -> None:
        """The command of a gate ends."""
        ran = self.gates_running.pop(address)
        gate_id = address.partition(":")[2]
        ended = self.gates(gate_id, ran.attempt) if outcome is None else outcome
        self.reports.append((address, m.GateEnded(ran.attempt, ended)))

    def report(self) -> None:
        """Lets the oldest report of the shell in."""
        self.tell(*self.reports.popleft())

    def beat(self, uet: str) -> None:
        self.tell(uet, m.Heartbeat())

    # --- time and owners -------------------------------------------------------------------------

    def fire(self, address: str, key: str, late_s: float = 0.0) -> None:
        """The next timer, wherever it stands, is due now."""
        due, _ = self.timers.pop((address, key))
        self.now = max(self.now, due) if due < inf else self.now
        self.tell(address, m.TimerFired(key, late_s=late_s))

    def advance(self) -> bool:
        """On to the next timer. Processes that are up beat in time."""
        for (address, key), (due, volatile) in sorted(self.timers.items(), key=lambda t: t[1][0]):
            if key == "heartbeat" and f"uet_worker:{self.values[address].uet_id}" in self.processes:
                self.timers[address, key] = (inf, volatile)
            elif due < inf:
                self.fire(address, key)
                return True
        return False

    def drive(self, *, until: Callable[[], bool] | None = None) -> None:
        """Lets everything happen that happens by itself, in a fair order, until nothing does."""
        for _ in range(100_000):
            self.deliver()
            if until is not None and until():
                return
            if self.reports:
                self.report()
            elif self.running:
                self.finish(next(iter(self.running)))
            elif self.gates_running:
                self.finish_gate(next(iter(self.gates_running)))
            elif not self.advance():
                return
        raise AssertionError("the machines never come to rest")

    def restart_owner(self) -> None:
        """kill -9, and a new owner: what is not a row is gone, and so is every process."""
        self.epoch += 1
        self.dispatch = Dispatch(self.epoch, self.gate_places)
        self.lanes.pop(DISPATCH, None)
        self.timers = {k: due for k, due in self.timers.items() if not due[1]}
        self.reports.clear()
        self.processes.clear()
        self.offers.clear()
        self.running.clear()
        self.gates_running.clear()
        waiting, self.lanes = self.lanes, {}
        for address, value in self.values.items():
            if value.completed_at is not None:
                continue
            self.tell(address, m.Recovered(self.epoch), control=True)
            if address.startswith("uet_worker:"):
                gone = m.ProcessExited(crashed=True, reason=m.OWNER_RESTARTED)
                self.tell(address, gone, control=True)
        for address, (control, work) in waiting.items():
            for message in control:
                self.tell(address, message, control=True)
            for message in work:
                self.tell(address, message)

    # --- what always holds -----------------------------------------------------------------------

    def _check(self, kind: str, value: Any) -> None:
        text = msgspec.json.encode(value)
        assert msgspec.json.decode(text, type=type(value)) == value, "it does not survive storage"
        ended = MODULES[kind].CHART.is_terminal(value.state)
        assert ended == (value.completed_at is not None)
        assert value.started_at is None or value.created_at <= value.started_at
        if ended:
            assert value.completed_at >= (value.started_at or value.created_at)
        match value:
            case task.Task():
                self._check_task(value)
            case workstream.Workstream():
                self._check_workstream(value)
            case run.Run() if ended:
                left = [a for a, v in self._below(value.id) if v.completed_at is None]
                assert not left, f"{value.id} ended before {left}"
            case gate.Gate():
                judged = value.exit_code is not None or value.approver is not None
                assert value.state != "passed" or judged
                assert value.state != "failed" or value.reason is not None
            case _:
                pass

    def _check_task(self, value: task.Task) -> None:
        running = value.state is task.State.RUNNING
        assert running == (value.lease is not None) == (value.worker_id is not None)
        assert 0 <= value.retry_count <= value.max_retries
        if running:
            rivals = [t.id for t in self.of("task") if t.worker_id == value.worker_id]
            assert rivals == [value.id], f"{value.worker_id} runs {rivals}"

    def _check_workstream(self, value: workstream.Workstream) -> None:
        assert min(value.unfinished, value.blocked, value.retrying) >= 0
        if value.completed_at is not None:
            left = [t.id for t in self.of("task") if t.workstream_id == value.id]
            left = [i for i in left if self.values[f"task:{i}"].completed_at is None]
            assert not left, f"{value.id} ended before {left}"

    def check_counts(self) -> None:
        """At rest, what is counted is what is there."""
        assert self.idle
        for value in self.of("task"):
            assert value.offered is None, f"{value.id} keeps a slot and has no answer"
            running = value.state is task.State.RUNNING and value.spec.breaker is not None
            assert running == (value.admitted is not None), f"the ticket of {value.id}"
        for value in self.of("circuit_breaker"):
            owner = value.probe.owner if value.probe is not None else None
            held = None if owner is None else self._ticket(owner)
            assert held == value.probe, f"{owner} has no probe"
        for ws in self.of("workstream"):
            tasks = [t for t in self.of("task") if t.workstream_id == ws.id and not t.replaced_by]
            assert ws.unfinished == sum(t.completed_at is None for t in tasks), ws
            assert ws.blocked == sum(t.state == "blocked" for t in tasks), ws
            assert ws.stalled == sum(t.stalled for t in tasks), ws
            assert ws.retrying == 0
            for state in ("completed", "failed", "cancelled"):
                assert getattr(ws, state) == sum(t.state == state for t in tasks), (state, ws)
        for value in (v for v in self.of("run") if v.expanded >= 0):
            below = [w for w in self.of("workstream") if w.run_id == value.id]
            movable = ("ready", "running", "paused", "validating")
            assert value.unfinished == sum(w.completed_at is None for w in below), value
            assert value.blocked == sum(w.state == "blocked" or w.stuck for w in below), value
            assert value.movable == sum(w.state in movable and not w.stuck for w in below), value
            gates = [g for g in self.of("test_gate") if g.run_id == value.id]
            assert value.gates_open == sum(g.completed_at is None for g in gates), value

    def _ticket(self, owner: str) -> Any:
        value = self[owner]
        return value.ticket if owner.startswith("test_gate:") else value.admitted

    def _below(self, run_id: str) -> list[tuple[str, Any]]:
        kinds = ("workstream:", "task:", "test_gate:")
        return [
            (address, value)
            for address, value in self.values.items()
            if address.startswith(kinds) and value.run_id == run_id
        ]


def _check_edges(chart: Any, before: Any, decision: Any) -> None:
    """The edges lead, one after the other and each in the chart, from the old state to the new."""
    state = before.state
    for taken in decision.edges:
        assert taken.source == state, f"{taken} does not start from {state}"
        chart.edge(taken.source, taken.target, taken.trigger)
        msgspec.json.encode(taken.metadata)
        state = taken.target
    assert decision.state.state == state, f"moved to {decision.state.state} without an edge"
