"""The engine: one run of the real kernel and the real actors, as a function of its case.

         Pool (whose turn)          times (what is due when)
               │                            │
    real Turns.activate ──> real Epoch ──> real seal ──> ModelStore      a crash takes all of it
               ^                                │                        but the store and what
               └── reports <── Processes <── effects, once durable       runs outside

Invariants:
1. Nothing here draws but by name (`Luck`, `Pool`), and nothing looks at a real clock, at the order
   of a set or at an address in memory: the same case gives the same run, everywhere.
2. Time moves on by what turns cost, and to the next thing due once nothing is ready.
3. A crash is an exception through the kernel's own stack: whatever it had not handed to the store
   or to the outside is gone.
"""

from __future__ import annotations

import gc
import traceback
from array import array
from collections.abc import Callable, Coroutine, Mapping
from hashlib import blake2b
from heapq import heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from msgspec.structs import replace

from runtime.inbox import Envelope
from runtime.kinds import KINDS
from runtime.sim import faults
from runtime.sim.case import Coverage, Failure, Result
from runtime.sim.choices import Choices
from runtime.sim.effects import Effects
from runtime.sim.ends import Ends
from runtime.sim.luck import Luck
from runtime.sim.observing import Broken, Observer
from runtime.sim.operator import Operator
from runtime.sim.owner import Crashed, Owner, SimKernel
from runtime.sim.processes import Processes
from runtime.sim.recording import Recorder
from runtime.sim.signature import signature
from runtime.sim.store import ModelStore
from runtime.sim.strategies import Line, Pool, needs_calibration, pool_of

if TYPE_CHECKING:
    from runtime.cell import Cell
    from runtime.sim.behaviour import Tools
    from runtime.sim.case import Case
    from runtime.sim.monitors import Monitor
    from runtime.sim.scenario import Scenario, Sim

KERNEL_RAISES: Final = "the kernel never fails"
SCENARIO_RAISES: Final = "the scenario's own functions never fail"
_OURS: Final = (Path(__file__).parents[1], Path(__file__).parents[2] / "actors")
START_S: Final = 1_700_000_000.0
_TURN_US: Final = 20  # what a turn costs: some fifty thousand a second
_STALL_TURNS: Final = 32  # between two chances that the owner stands still

Due = tuple[int, int, Callable[[Any], None], Any, bool]


class Engine:
    """The world of one run. Monitors see it as `World`."""

    sim: Sim  # what the scenario made of it
    tools: Tools
    gates: Tools

    def __init__(
        self, scenario: Scenario, case: Case, monitors: list[Monitor], *, record: bool
    ) -> None:
        config = case.config
        self.case = case
        self.scenario = scenario
        self.config = config
        self.coverage = Coverage()
        self.choices = Choices(case.seed, case.overrides, record=record)
        self.luck = Luck(self.choices, config, case.seed)
        self.luck.set_rates(faults.rates_of(config, case.seed))
        self.latency, self.rates = self.luck.latency, self.luck.rates
        self.now = START_S
        self.us = 0
        self.n = self.marks = 0  # numbers given, and those given to what came of something numbered
        self.trace: list[int] = []  # what the hash is taken over: a number for each happening
        self.times: list[Due] = []
        self.pending = 0  # of what is due: all but heartbeats
        self._order = 0
        self.healing = not self.luck.rates
        self._to_heal: list[tuple[Callable[[Any], None], Any]] = []
        self.over = False
        self.sizes: dict[str, int] = {}  # what the scenario asked for
        self.recorder = Recorder(self) if record else None
        self.observer = Observer(self, monitors)
        self.ours = frozenset(KINDS)
        self.kinds = {name: self.observer.watched(kind) for name, kind in KINDS.items()}
        self.store = ModelStore(self.kinds)
        self.pool: Pool | Line = Line()
        self.processes = Processes(self)
        self.effects = Effects(self)
        self.owner_life = Owner(self)
        self.ends = Ends(self)
        self.operator = Operator(self)
        self.kernel: SimKernel | None = None
        self.owner = 0  # the epoch of the owner that lives, 0 while none does
        self.orders = config.strategy not in {"fifo", "timed"} or bool(case.overrides)
        self.events_max = config.events_max
        self._stalls = config.strategy != "fifo" or bool(case.overrides)
        self.turns_of: dict[str, int] | None = None  # counted where a calm run is measured
        self.later(0.0, self.owner_life.boot, None)
        if self.luck.rates:
            self.beat_later(config.horizon_s, self.heal, None)

    # --- for monitors ----------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether an owner lives."""
        return self.owner != 0

    @property
    def cells(self) -> Mapping[str, Cell]:
        """The actors in memory."""
        return self.kernel.router.cells if self.kernel is not None else {}

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning of the run."""
        return self.us / 1e6

    def fail(self, invariant: str, text: str, *detail: str) -> NoReturn:
        """Ends the run: a promise is broken."""
        raise Broken(
            Failure(
                invariant, text, signature(invariant, text), self.us / 1e6, self.n, tuple(detail)
            )
        )

    # --- time ------------------------------------------------------------------------------------

    def at(self, us: int, step: Callable[[Any], None], detail: Any) -> None:
        """Something happens at this microsecond."""
        self._order = order = self._order + 1
        self.pending += 1
        heappush(self.times, (us, order, step, detail, True))

    def later(self, seconds: float, step: Callable[[Any], None], detail: Any) -> None:
        """Something happens after so long."""
        self._order = order = self._order + 1
        self.pending += 1
        heappush(self.times, (self.us + int(seconds * 1e6), order, step, detail, True))

    def beat_later(self, seconds: float, step: Callable[[Any], None], detail: Any) -> None:
        """As `later`, for what goes on for ever and means no progress."""
        self._order = order = self._order + 1
        heappush(self.times, (self.us + int(seconds * 1e6), order, step, detail, False))

    def at_heal(self, step: Callable[[Any], None], detail: Any) -> None:
        """Something that happens once faults have stopped: now, if they have."""
        if self.healing:
            self.later(1.0, step, detail)
        else:
            self._to_heal.append((step, detail))

    def move_to(self, us: int) -> None:
        """The clock goes on; it never goes back."""
        if us > self.us:
            self.us = us
            self.now = START_S + us / 1e6

    # --- what happens ----------------------------------------------------------------------------

    def fault(self, kind: str, actor: str) -> bool:
        """Whether this goes wrong here; then it is on record."""
        if kind not in self.rates or self.healing or not self.luck.fault(kind, actor):
            return False
        self.mark(f"fault {kind}", actor)
        if self.recorder is not None:
            self.recorder.outside(kind, actor, self.luck.last, fault=True)
        return True

    def mark(self, what: str, actor: str) -> None:
        """Counts a happening that is no turn, and adds it to the trace."""
        self.n += 1
        self.marks += 1
        crc, known = self.observer.crc, self.observer.crcs.get
        place = (known(what) or crc(what)) * 3 ^ (known(actor) or crc(actor))
        self.trace.append(place << 31 ^ self.us)

    def outside(self, what: str, actor: str, detail: Any) -> None:
        """Something happened outside the kernel."""
        self.mark(what, actor)
        if self.recorder is not None:
            self.recorder.outside(what, actor, "", str(detail))
        for watch in self.observer.on_outside:
            watch(self, what, actor, detail)

    def report(self, to: str, message: Any) -> None:
        """An outcome comes in; lost where no owner lives."""
        kernel = self.kernel
        if kernel is None:
            return
        envelope = Envelope(to, message, kept=True)
        self.tell(envelope)
        if self.recorder is not None:
            self.recorder.reported(envelope)
        for watch in self.observer.on_report:
            watch(self, to, message)

    def tell(self, envelope: Envelope) -> None:
        """An input from outside, kept until it is durable."""
        assert self.kernel is not None
        if self.recorder is not None:
            self.recorder.told(envelope)
        self.kernel.router.offer(envelope)

    # --- the run ---------------------------------------------------------------------------------

    def calibrated(self, horizon: int, turns: Mapping[str, int]) -> None:
        """Sets the strategy; the numbers are a calm run's."""
        config = self.config
        self.pool = pool_of(config.strategy, config.depth, self.choices, horizon, turns)

    def run(self) -> Failure | None:
        """Runs the case to its end. Returns what it broke."""
        was_on = gc.isenabled()
        gc.disable()
        try:
            self._loop()
            self.observer.end()
        except Broken as broken:
            return broken.failure
        except Exception as error:  # noqa: BLE001 (whatever raises here would have ended an owner)
            return self._raised(error)
        finally:
            if was_on:
                gc.enable()
        return None

    def _raised(self, error: Exception) -> Failure:
        text = f"{type(error).__name__}: {error}"
        last = traceback.extract_tb(error.__traceback__)[-1:-5:-1]
        where = tuple(f"{Path(f.filename).name}:{f.lineno} in {f.name}" for f in last)
        ours = any(Path(last[0].filename).is_relative_to(each) for each in _OURS)
        promise = KERNEL_RAISES if ours else SCENARIO_RAISES
        said = signature(promise, text)
        return Failure(promise, text, said, self.us / 1e6, self.n, where)

    def _loop(self) -> None:
        while not self.over:
            try:
                while self.pool:
                    self._turns()
                    if self.n > self.events_max:
                        self.ends.out_of_events()
                if self.owner_life.go_on():
                    continue
                self._advance()
            except Crashed as crash:
                self.owner_life.die(crash.point)

    def _turns(self) -> None:
        """Takes turns until something is due, a commit is to begin, or nothing is ready."""
        pool, times, kernel, owner = self.pool, self.times, self.kernel, self.owner_life
        assert kernel is not None
        observer, take = self.observer, kernel.turns.take_envelope
        took, recorder, stalls = observer.took, self.recorder, self._stalls
        us, n = self.us, self.n
        while pool:
            if times and times[0][0] <= us:
                self._due()
                return
            cell = pool.pop()
            cell.scheduled = False
            if cell.suspended is not None:
                continue
            self.us = us = us + _TURN_US
            self.now = now = START_S + us / 1e6
            self.n = n = n + 1
            observer.seen = None
            if recorder is not None:
                recorder.before(cell)
            lane: Any = cell.control or cell.inbox
            if lane:
                take(cell, lane.popleft(), now)
            took(cell)
            if cell.inbox or cell.control:
                cell.scheduled = True
                pool.append(cell)
            else:
                cell.inbox = cell.control = None
            if owner.commit_at and n >= owner.commit_at:
                owner.begin_commit()
                return
            if stalls and not n % _STALL_TURNS:
                self._stand_still()
                return

    def _stand_still(self) -> None:
        """The owner may lose some time between two turns; then timers are late, too."""
        waited = self.latency("turn", "owner", 2e-5)
        if self.fault("timers_late", "owner"):
            waited += 5.0
        if waited:
            self.move_to(self.us + int(waited * 1e6))
        if self.kernel is not None:
            self.kernel.fire_due()

    def _due(self) -> None:
        """The next thing that is due happens."""
        at, _, step, detail, counts = heappop(self.times)
        if counts:
            self.pending -= 1
        self.move_to(at)
        self.n += 1
        self.trace.append(self.us)
        step(detail)

    def _advance(self) -> None:
        """Nothing is ready: on to what is due next, a timer of the kernel or something outside."""
        if self.n > self.events_max:
            self.ends.out_of_events()
        if self.ends.reached():
            self.over = True
            return
        kernel = self.kernel
        due = kernel.turns.timers.next_due() if kernel is not None else None
        first = self.times[0][0] if self.times else None
        if due is not None:
            alarm = int((due - START_S) * 1e6) + 1
            if first is None or alarm <= first:
                self._alarm(alarm)
                return
        if first is None:
            self.ends.stuck()
            return
        if self.rates:
            if kernel is not None and self.fault("crash", "owner"):
                raise Crashed("crash")
            if self.fault("clock_jump", "owner"):
                self._jump()
            if self.fault("command", "operator"):
                self.operator.act()
        self._due()

    def _alarm(self, us: int) -> None:
        late = self.latency("alarm", "owner", 1e-4)
        self.move_to(us + int(late * 1e6))
        self.n += 1
        assert self.kernel is not None
        self.kernel.fire_due()

    def _jump(self) -> None:
        """The wall clock jumps ahead: what is due outside keeps its distance, timers do not."""
        by = 1 + int(self.latency("jump", "owner", 600.0) * 1e6)
        self.times = [(at + by, *rest) for at, *rest in self.times]
        self.move_to(self.us + by)

    def heal(self, _: None) -> None:
        """Faults stop; what hung goes on; orders are calm."""
        if self.healing:
            return
        self.healing = True
        self.rates = {}
        self.mark("heal", "world")
        if self.recorder is not None:
            self.recorder.outside("heal", "world", "")
        self.ends.healed_us = self.us
        for step, detail in self._to_heal:
            self.later(1.0, step, detail)
        self._to_heal.clear()

    def scenario_began(self) -> None:
        """A new owner is there: whoever waited for one goes on."""
        self.sim.clients.owner_came()

    # --- coroutines of the kernel ----------------------------------------------------------------

    @staticmethod
    def now_of(work: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine of the kernel that waits for nothing."""
        try:
            step = work.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError(f"it waits for {step}")


def run_engine(engine: Engine, strict: Any = None) -> Result:
    """The result of the engine's one run."""
    failure = engine.run()
    coverage = engine.observer.covered()
    coverage.faults.update(engine.luck.happened)
    recorder = engine.recorder
    if failure is not None and recorder is not None:
        recorder.flush()
    case = engine.case
    if failure is not None and engine.sizes != case.config.sizes:
        # So that whoever makes it smaller knows what there is to make smaller.
        case = replace(case, config=replace(case.config, sizes=engine.sizes))
    return Result(
        case=case,
        failure=failure,
        trace_hash=blake2b(array("Q", engine.trace).tobytes(), digest_size=8).hexdigest(),
        events=engine.n,
        steps=engine.n - engine.marks,
        simulated_s=round(engine.us / 1e6, 6),
        choices=dict(engine.choices.log or {}),
        coverage=coverage,
        happenings=tuple(recorder.happenings) if recorder is not None else (),
    )


_MEASURED: dict[tuple[str, str], tuple[int, dict[str, int]]] = {}


def run_case(
    scenario: Scenario,
    case: Case,
    *,
    record: bool = False,
    monitors: Callable[[], list[Monitor]] | None = None,
) -> Result:
    """Runs the case. A run that fails is run again with its choices on record, if it was not."""
    result = _once(scenario, case, record=record, monitors=monitors)
    if result.failure is not None and not record:
        again = _once(scenario, case, record=True, monitors=monitors)
        if again.trace_hash != result.trace_hash:
            raise AssertionError(
                f"{case.scenario} with seed {case.seed} is not a function of its case: "
                f"{result.trace_hash}, then {again.trace_hash}"
            )
        result.choices = again.choices
    return result


def _once(
    scenario: Scenario,
    case: Case,
    *,
    record: bool,
    monitors: Callable[[], list[Monitor]] | None,
    measure: bool = False,
) -> Result:
    engine = Engine(scenario, case, monitors() if monitors else scenario.monitors(), record=record)
    if measure:
        engine.turns_of = {}
    elif needs_calibration(case.config.strategy):
        engine.calibrated(*_measured(scenario, case, monitors))
    else:
        engine.calibrated(1, {})
    scenario.begin(engine)
    result = run_engine(engine)
    if measure:
        _MEASURED[_key(case)] = (max(1, result.events), engine.turns_of or {})
    return result


def _key(case: Case) -> tuple[str, str]:
    return case.scenario, repr(sorted(case.config.sizes.items()))


def _measured(
    scenario: Scenario, case: Case, monitors: Callable[[], list[Monitor]] | None
) -> tuple[int, dict[str, int]]:
    """How many events a calm run of this scenario takes, and how many turns each actor."""
    found = _MEASURED.get(_key(case))
    if found is None:
        config = type(case.config)(strategy="fifo", sizes=case.config.sizes)
        calm = type(case)(scenario=case.scenario, seed=0, config=config)
        _once(scenario, calm, record=False, monitors=monitors, measure=True)
        found = _MEASURED[_key(case)]
    return found
