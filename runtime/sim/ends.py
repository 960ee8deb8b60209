"""When a run is over, and whether it may be: liveness, deadlock, and what waits for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from runtime.sim.people import waits_for_a_person

if TYPE_CHECKING:
    from runtime.cell import Cell
    from runtime.sim.engine import Engine

DEADLOCK: Final = "no deadlock"
TERMINATION: Final = "every run ends"
BOUND_S: Final = 14 * 86_400.0
"""Once faults have stopped, everything must be at its end, or wait for a person, within so long."""

_BOUND_US: Final = int(BOUND_S * 1e6)
_IDLE_S: Final = 6 * 3_600.0  # nothing durable changes and nothing is under way: it stands still
_SAID_MAX: Final = 12
_WORKERS: Final = frozenset({"worker", "uet_worker", "circuit_breaker"})


class Ends:
    """Watches for the end of one run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.healed_us = 0
        self._seq = 0
        self._moved_us = 0  # when something durable last changed
        self.waits: str | None = None  # the person that the run ended with waiting for

    def owner_died(self) -> None:
        """Whatever stood still may move again."""
        self._moved_us = self._engine.us

    def asked(self) -> None:
        """Somebody outside wants something: what must happen has its time from here on."""
        self.healed_us = max(self.healed_us, self._engine.us)

    def reached(self) -> bool:
        """Nothing is ready. Whether the run is over; raises Broken where it should be."""
        engine = self._engine
        if engine.kernel is None:
            return False
        bound_us = self.healed_us + _BOUND_US
        if engine.pending and not (engine.healing and engine.us > bound_us):
            return False  # something is under way outside
        seq = engine.store.book.seq
        if seq != self._seq:
            self._seq, self._moved_us = seq, engine.us
        if not engine.owner_life.idle or engine.sim.unsettled():
            return False
        open_runs = self._open_runs()
        if not open_runs and not engine.pending and not engine.sim.expects():
            return not self._users_timers()
        if engine.us > engine.config.horizon_s * 1e6 and not open_runs and not engine.pending:
            return True  # only timers of users' actors, which may be for ever
        idle_us = engine.us - self._moved_us
        if not engine.pending and (idle_us > _IDLE_S * 1e6 or not self._timed()):
            return self._at_a_stand(open_runs)
        if engine.healing and engine.us > bound_us:
            self._not_ended(open_runs)
        return False

    def _at_a_stand(self, open_runs: list[Cell]) -> bool:
        engine = self._engine
        if not engine.healing:
            engine.heal(None)
            self._moved_us = engine.us
            return False
        stuck = [run for run in open_runs if self._waits(run) is None]
        if stuck:
            text = f"{_kinds(stuck)} stand still, and nothing is under way"
            engine.fail(DEADLOCK, text, *self._who())
        return True

    def stuck(self) -> None:
        """Nothing is ready, nothing is due, and the run is not over."""
        engine = self._engine
        if engine.kernel is None:
            raise AssertionError("no owner, and none to come")
        if self._at_a_stand(self._open_runs()):
            engine.over = True

    def out_of_events(self) -> None:
        """The run has had more events than it may have. Faults stop first; then it must end."""
        engine = self._engine
        if not engine.healing:
            engine.heal(None)
            engine.events_max = engine.n + engine.config.events_max
            return
        self._not_ended(self._open_runs())

    def _not_ended(self, open_runs: list[Cell]) -> None:
        text = f"{_kinds(open_runs)} go on and on after faults have stopped"
        self._engine.fail(TERMINATION, text, *self._who())

    def _open_runs(self) -> list[Cell]:
        return [c for c in self._engine.cells.values() if c.kind.name == "run" and not c.ended]

    def _waits(self, run: Cell) -> str | None:
        of = run.value.id
        below = [
            (cell.kind.name, cell.value)
            for cell in self._engine.cells.values()
            if cell.kind.chart is not None and getattr(cell.value, "run_id", of) in {of, None}
        ]
        suspended = [c for c in self._engine.cells.values() if c.suspended is not None]
        if suspended:
            return f"{suspended[0].address} is suspended"
        slots = [value for kind, value in below if kind == "worker"]
        if not any(slot.state != "shutdown" for slot in slots):
            return f"every slot of {of} was drained"
        found = waits_for_a_person(run.value, below)
        self.waits = found or self.waits
        return found

    def _timed(self) -> bool:
        """Whether a clock runs for anything but the workers' beats."""
        for cell in self._engine.cells.values():
            if cell.timers and (cell.kind.name not in _WORKERS or cell.due_times()):
                return True
        return False

    def _users_timers(self) -> bool:
        ours = self._engine.ours
        return not self._engine.sim.had_runs and any(
            cell.due_times() for cell in self._engine.cells.values() if cell.kind.name not in ours
        )

    def _who(self) -> list[str]:
        """Who is not at its end, and what it waits for, as far as its value says."""
        said = []
        for cell in self._engine.cells.values():
            if cell.kind.chart is None or cell.ended or cell.kind.name in _WORKERS:
                continue
            said.append(f"{cell.address} is {cell.state}: {_waiting_for(cell.value)}")
        workers = [c for c in self._engine.cells.values() if c.kind.name == "worker"]
        said += [f"{c.address} is {c.state}, lease {c.value.lease}" for c in workers]
        if len(said) > _SAID_MAX:
            said[_SAID_MAX:] = [f"... and {len(said) - _SAID_MAX} more"]
        return said


def _waiting_for(value: Any) -> str:
    names = ("waiting", "waits", "open", "missing", "lease", "reason", "paused", "held", "blocked")
    facts = ((name, getattr(value, name, None)) for name in names)
    said = ", ".join(f"{name} {fact}" for name, fact in facts if fact not in (None, False, ()))
    return said or "for nothing that its value names"


def _kinds(cells: list[Cell]) -> str:
    return f"{len(cells)} unfinished run{'s' if len(cells) != 1 else ''}"
