"""The work port of a simulated world: worker processes, the commands they run, and gates.

It stands where `runtime.work` stands, and keeps its promises, unless a fault of the case breaks
one: a lease that was offered ends in one `WorkEnded`, or in the `ProcessExited` of its process;
that is the process's last word. What one process says arrives in order, of different ones in any.

A process outlives its owner: it notices the end of its pipe a little later, or never (an orphan),
and is dead for certain only once a new owner has reaped it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.effects import (
    KillGate,
    Offer,
    Release,
    RunGate,
    StartProcess,
    StopProcess,
    Withdraw,
)
from actors.messages import (
    GateEnded,
    Heartbeat,
    Launched,
    Outcome,
    ProcessExited,
    ProcessStarted,
    WorkEnded,
)
from runtime.sim.behaviour import Execution

if TYPE_CHECKING:
    from runtime.sim.engine import Engine

BOOT_ID: Final = "simulated"
# As the real port's usual limits are: how long a process may take to come up, to answer, and to end
# by itself once it was told to.
START_TIMEOUT_S: Final = 30.0
ANSWER_TIMEOUT_S: Final = 5.0
GRACE_S_MAX: Final = 5.0


class Process:
    """One worker process, or the place of an inline one. `life` goes up whenever what was planned
    for it no longer holds."""

    __slots__ = (
        "asked",
        "beats",
        "command",
        "deaf",
        "effect",
        "ending",
        "inline",
        "killed",
        "life",
        "owner",
        "pid",
        "said",
        "silent",
        "since",
        "started",
        "uet",
        "up",
    )

    def __init__(self, effect: StartProcess, pid: int, owner: int) -> None:
        self.uet = effect.uet
        self.inline = effect.kind == "inline"
        self.beats = effect.heartbeat_s
        self.pid = pid
        self.owner = owner  # the epoch of the owner at the other end of its pipe
        self.effect: Offer | None = None  # the lease that it holds
        self.command = ""  # of that lease: "" none, "waits" for its release, "runs"
        self.since = 0.0
        self.ending: str | None = None  # why its lease must end
        self.asked = self.killed = self.up = self.silent = self.deaf = self.started = False
        self.life = 0
        self.said = 0  # when its last word arrives, in microseconds


class GateRun:
    """One attempt of a gate's command."""

    __slots__ = ("effect", "ending", "owner", "since")

    def __init__(self, effect: RunGate, owner: int, since: float) -> None:
        self.effect = effect
        self.owner = owner
        self.since = since
        self.ending: str | None = None


class Processes:
    """All that runs outside the kernel, of all owners."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.live: dict[str, Process] = {}  # by uet address: of the present owner
        self.orphans: list[Process] = []  # of former owners, not known dead
        self.gates: dict[str, GateRun] = {}
        self.executing: dict[str, str] = {}  # by lease: the id of the task that really runs
        self.survivors: dict[str, str] = {}  # of KILL, by lease: the uet that ran it
        self._pids = 1000
        self._does: dict[type, Any] = {
            StartProcess: self._start,
            StopProcess: self._stop,
            Offer: self._offer,
            Release: self._release,
            Withdraw: self._withdraw,
            RunGate: self._run_gate,
            KillGate: self._kill_gate,
        }

    def perform(self, effect: Any) -> None:
        """Begins an effect, as `Executor.perform` does."""
        self._does[type(effect)](effect)

    def kill(self, number: int) -> None:
        """The `number`th process that is up dies, as by `kill -9`."""
        up = [p for p in self.live.values() if p.up and not p.inline]
        if up:
            self._die(up[(number - 1) % len(up)], "exited with code -9")

    # --- processes -------------------------------------------------------------------------------

    def _start(self, effect: StartProcess) -> None:
        engine = self._engine
        self._pids += 1
        process = Process(effect, self._pids, engine.owner)
        assert effect.uet not in self.live, effect.uet
        self.live[effect.uet] = process
        if process.inline:
            process.up = True
            engine.report(process.uet, ProcessStarted(0, 0, BOOT_ID))
            return
        if engine.fault("spawn_failed", effect.uet):
            self._after(engine.latency("spawn", effect.uet, 0.02), process, self._die, "no memory")
            return
        if engine.fault("spawn_lost", effect.uet):
            self._after(START_TIMEOUT_S, process, self._die, "did not start in time")
            return
        self._after(engine.latency("spawn", effect.uet, 0.02), process, self._up, None)

    def _up(self, process: Process, _: None) -> None:
        process.up = True
        if process.asked and process.effect is None:
            self._after(0.001, process, self._die, None)
            return
        self._say(process, ProcessStarted(process.pid, process.pid * 7, BOOT_ID))
        self._engine.beat_later(process.beats, self._beat, process)

    def _beat(self, process: Process) -> None:
        if not process.up or process.owner != self._engine.owner:
            return
        engine = self._engine
        uet = process.uet
        if not process.silent and not engine.fault("heartbeat_lost", uet):
            late = process.beats * 2.5 if engine.fault("heartbeat_late", uet) else 0.0
            lease = process.effect.lease if process.effect is not None else None
            if late:
                engine.later(late, self._late_beat, (process, Heartbeat(lease)))
            else:
                self._say(process, Heartbeat(lease))
        engine.beat_later(process.beats, self._beat, process)

    def _late_beat(self, what: tuple[Process, Heartbeat]) -> None:
        if what[0].up:
            self._say(*what)

    def _stop(self, effect: StopProcess) -> None:
        process = self.live.get(effect.uet)
        if process is None:
            self._engine.report(effect.uet, ProcessExited(crashed=False, reason="was not running"))
            return
        process.asked = True
        if process.inline:
            if process.effect is None:
                self._die(process, None)
            elif effect.kill:
                process.ending = process.ending or "lost"
                self._plan_end(process, 0.0, self._withdrawn)
        elif effect.kill:
            process.killed = True
            wait = self._engine.latency("kill", effect.uet, 0.01)
            if self._engine.fault("undead", effect.uet) and process.command == "runs":
                self._after(effect.kill_timeout_s, process, self._survives, None)
            else:
                self._after(wait, process, self._die, None)
        elif process.effect is None and process.up:
            self._after(self._engine.latency("exit", effect.uet, 0.01), process, self._die, None)

    def _survives(self, process: Process, _: None) -> None:
        assert process.effect is not None
        left = Outcome(reason=process.ending or "lost", error="survived KILL", alive=True)
        self._say(process, WorkEnded(process.effect.lease, left))
        self.survivors[process.effect.lease] = process.uet
        process.effect = None  # what survived goes on, and is told of no more
        self._die(process, None)

    def _die(self, process: Process, complaint: str | None) -> None:
        """The process is gone, and all that it ran; its last word is on its way."""
        effect = process.effect
        withdrawn = process.ending
        if effect is not None:
            self._dead(process)
            if withdrawn:
                self._say(process, WorkEnded(effect.lease, Outcome(reason=withdrawn)))
        process.up = False
        process.life += 1
        crashed = not (process.killed or (process.asked and effect is None))
        reason = (complaint or "exited with code -9") if crashed else None
        self.live.pop(process.uet, None)
        self._say(process, ProcessExited(crashed, reason))

    def _dead(self, process: Process) -> None:
        effect = process.effect
        if effect is not None and self.executing.pop(effect.lease, None) is not None:
            self._engine.outside("dead", effect.task_id, effect.lease)
        process.command = ""

    # --- leases ----------------------------------------------------------------------------------

    def _offer(self, effect: Offer) -> None:
        process = self.live.get(effect.uet)
        if process is None:
            lost = Outcome(reason="lost", error="its worker is gone", infrastructure=True)
            self._engine.report(effect.uet, WorkEnded(effect.lease, lost))
            return
        assert process.effect is None, (process.effect, effect)
        process.effect, process.ending, process.command = effect, None, "waits"
        process.deaf = False
        if process.inline:
            self._exec(process, None)
        else:
            wait = self._engine.latency("launch", effect.uet, 0.005)
            self._after(wait, process, self._launched, None)

    def _launched(self, process: Process, _: None) -> None:
        assert process.effect is not None
        if process.silent:
            return
        pid = process.pid * 1000 + int(process.effect.lease.partition(".")[2])
        self._say(process, Launched(process.effect.lease, pid, pid, pid * 7))

    def _release(self, effect: Release) -> None:
        process = self.live.get(effect.uet)
        if process is None or process.effect is None or process.effect.lease != effect.lease:
            return
        if process.inline or process.command != "waits" or process.ending is not None:
            return
        wait = self._engine.latency("exec", effect.uet, 0.001)
        self._after(wait, process, self._exec, None)

    def _exec(self, process: Process, _: None) -> None:
        """The command runs from here on."""
        engine, effect = self._engine, process.effect
        assert effect is not None
        process.command, process.since = "runs", engine.now
        self.executing[effect.lease] = effect.task_id
        engine.outside("exec", effect.task_id, effect.lease)
        execution = Execution(effect.task_id, effect.attempt, effect.command, effect.call)
        behaviour = engine.tools.behaviour(execution)
        task = effect.task_id
        process.deaf = behaviour.ignores_term or engine.fault("ignores_term", task)
        least = behaviour.duration_s
        length = least + engine.latency("work", task, least / 4)
        if behaviour.hangs:
            return
        if engine.fault("worker_crash", process.uet):
            self._plan_end(process, length / 2, self._crashes)
        elif engine.fault("worker_silent", process.uet):
            process.silent = True
            engine.at_heal(self._kill_silent, process)
        elif engine.fault("worker_hang", task):
            engine.at_heal(self._ends_late, (process, process.life, behaviour))
        else:
            if engine.fault("worker_pause", process.uet):
                length += 3.0 * process.beats
                process.silent = True
            if engine.fault("tool_failed", task):
                behaviour = _failing(behaviour)
            self._plan_end(process, length, self._ends, behaviour)

    def _kill_silent(self, process: Process) -> None:
        """The world heals: what was silent for ever is found dead."""
        if process.up and process.silent:
            self._die(process, "was silent")

    def _ends_late(self, what: tuple[Process, int, Any]) -> None:
        process, life, behaviour = what
        if process.life == life and process.command == "runs":
            self._plan_end(process, 1.0, self._ends, behaviour)

    def _crashes(self, process: Process, _: None) -> None:
        self._die(process, "exited with code -11")

    def _ends(self, process: Process, behaviour: Any) -> None:
        engine, effect = self._engine, process.effect
        assert effect is not None
        process.silent = False
        ended = WorkEnded(effect.lease, behaviour.outcome(engine.now - process.since))
        self._over(process, ended)
        if engine.fault("result_twice", effect.task_id):
            self._say(process, ended)

    def _over(self, process: Process, ended: WorkEnded) -> None:
        """The lease's work is over and all of it dead."""
        self._dead(process)
        process.effect, process.ending = None, None
        process.life += 1
        self._say(process, ended)
        if process.asked:
            self._after(0.0 if process.inline else 0.01, process, self._die, None)

    def _withdraw(self, effect: Withdraw) -> None:
        process = self.live.get(effect.uet)
        if process is None or process.effect is None or process.effect.lease != effect.lease:
            return
        engine = self._engine
        process.ending = process.ending or effect.reason
        if engine.fault("undead", process.effect.task_id) and process.command == "runs":
            self._plan_end(process, effect.kill_timeout_s, self._abandoned)
        elif process.silent:
            within = effect.kill_timeout_s + ANSWER_TIMEOUT_S
            self._after(within, process, self._die, "did not end its work when told to")
        elif engine.fault("result_late", process.effect.task_id):
            self._plan_end(process, 0.0, self._ends, _calm_behaviour(engine, process.effect))
        else:
            wait = engine.latency("term", process.effect.task_id, 0.05)
            if process.deaf:
                wait = max(wait, min(GRACE_S_MAX, effect.kill_timeout_s / 3))
            self._plan_end(process, wait, self._withdrawn)

    def _withdrawn(self, process: Process, _: None) -> None:
        effect = process.effect
        assert effect is not None
        number = 9 if process.deaf else 15
        spent = round(self._engine.now - process.since, 6) if process.command == "runs" else 0.0
        outcome = Outcome(signal=number, reason=process.ending, duration_s=spent)
        self._over(process, WorkEnded(effect.lease, outcome))

    def _abandoned(self, process: Process, _: None) -> None:
        effect = process.effect
        assert effect is not None
        left = Outcome(reason=process.ending, error="survived KILL", alive=True)
        self.survivors[effect.lease] = process.uet
        process.effect, process.ending, process.command = None, None, ""
        process.life += 1
        self._say(process, WorkEnded(effect.lease, left))

    # --- gates -----------------------------------------------------------------------------------

    def _run_gate(self, effect: RunGate) -> None:
        engine = self._engine
        assert effect.gate not in self.gates, effect.gate
        gate = self.gates[effect.gate] = GateRun(effect, engine.owner, engine.now)
        engine.outside("began", effect.gate, effect.attempt)
        execution = Execution(effect.gate.partition(":")[2], effect.attempt, effect.command)
        behaviour = engine.gates.behaviour(execution)
        least = behaviour.duration_s
        length = least + engine.latency("gate", effect.gate, least / 4)
        if engine.fault("gate_infra", effect.gate):
            lost = Outcome(reason="not_started", error="no memory", infrastructure=True)
        elif behaviour.hangs or engine.fault("gate_lost", effect.gate):
            lost, length = Outcome(reason="timeout", signal=15), effect.timeout_s
        elif engine.fault("gate_flaps", effect.gate):
            lost = _failing(behaviour).outcome(length)
        else:
            lost = behaviour.outcome(min(length, effect.timeout_s))
            if length > effect.timeout_s:
                lost, length = Outcome(reason="timeout", signal=15), effect.timeout_s
        engine.later(length, self._gate_ends, (gate, lost))

    def _gate_ends(self, what: tuple[GateRun, Outcome]) -> None:
        gate, outcome = what
        address = gate.effect.gate
        if self.gates.get(address) is not gate:
            return
        del self.gates[address]
        self._engine.outside("ended", address, gate.effect.attempt)
        self._engine.report(address, GateEnded(gate.effect.attempt, outcome))

    def _kill_gate(self, effect: KillGate) -> None:
        gate = self.gates.get(effect.gate)
        if gate is not None:
            gate.ending = gate.ending or effect.reason
            wait = self._engine.latency("term", effect.gate, 0.05)
            killed = Outcome(signal=15, reason=gate.ending)
            self._engine.later(wait, self._gate_ends, (gate, killed))

    # --- the end of an owner ---------------------------------------------------------------------

    def lose_owner(self) -> None:
        """Every pipe breaks. Inline work dies with its owner, a worker once it notices."""
        engine = self._engine
        for gate in self.gates.values():
            engine.outside("ended", gate.effect.gate, gate.effect.attempt)
        self.gates.clear()
        for process in self.live.values():
            if process.inline:
                self._dead(process)
                process.life += 1
                continue
            self.orphans.append(process)
            if not engine.fault("orphan", process.uet):
                wait = engine.latency("eof", process.uet, 0.001)
                engine.later(wait, self._notices, process)
        self.live.clear()

    def _notices(self, process: Process) -> None:
        if process in self.orphans:
            self.orphans.remove(process)
            self._dead(process)
            process.up = False
            process.life += 1

    def reap(self, on_record: frozenset[str]) -> frozenset[str]:
        """Kills what former owners left of the processes on record; those that are not hold no
        lease, and end by themselves. Returns the leases of which something could not be killed."""
        undead = set()
        for process in list(self.orphans):
            if process.uet not in on_record:
                continue
            effect = process.effect
            runs = effect is not None and process.command == "runs"
            if effect is not None and runs and self._engine.fault("undead", process.uet):
                undead.add(effect.lease)
                self.survivors[effect.lease] = process.uet
                self.orphans.remove(process)
            else:
                self._notices(process)
        for lease, uet in list(self.survivors.items()):
            if uet not in on_record or lease in undead:
                continue
            if self._engine.fault("undead", uet):
                undead.add(lease)
            else:
                del self.survivors[lease]
                # Nothing of it, where an orphan of the same lease has been found dead before.
                if (task_id := self.executing.pop(lease, None)) is not None:
                    self._engine.outside("dead", task_id, lease)
        return frozenset(undead)

    # --- how it speaks ---------------------------------------------------------------------------

    def _after(self, seconds: float, process: Process, step: Any, detail: Any) -> None:
        """A step in a process's life, unless it is gone by then."""
        self._engine.later(seconds, self._step, (process, process.life, step, detail))

    def _plan_end(self, process: Process, seconds: float, step: Any, detail: Any = None) -> None:
        """As `_after`, in place of the end that was planned."""
        process.life += 1
        self._after(seconds, process, step, detail)

    @staticmethod
    def _step(planned: tuple[Process, int, Any, Any]) -> None:
        process, life, step, detail = planned
        if process.life == life:
            step(process, detail)

    def _say(self, process: Process, message: Any) -> None:
        """Its word arrives after what it said before."""
        engine = self._engine
        if process.owner != engine.owner:
            return
        if process.inline:
            engine.report(process.uet, message)
            return
        wait = engine.latency("pipe", process.uet, 0.0001)
        process.said = max(process.said, engine.us + int(wait * 1e6))
        engine.at(process.said, self._heard, (process, message))

    def _heard(self, what: tuple[Process, Any]) -> None:
        process, message = what
        if process.owner == self._engine.owner:
            self._engine.report(process.uet, message)


def _failing(behaviour: Any) -> Any:
    return type(behaviour)(duration_s=behaviour.duration_s, exit_code=1)


def _calm_behaviour(engine: Engine, effect: Offer) -> Any:
    execution = Execution(effect.task_id, effect.attempt, effect.command, effect.call)
    return engine.tools.behaviour(execution)
