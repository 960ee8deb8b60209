"""The life of an owner: it recovers, commits its epochs, dies, and another one comes.

Everything of the kernel that is a coroutine is driven here by hand: it stops where it waits for the
disk or for time, and the engine says when, and how, it goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from runtime import recovery
from runtime.errors import RuntimeStopped
from runtime.kernel import Kernel
from runtime.seed import creator_kind, furnish
from runtime.sim.store import PATH, Step
from runtime.store.errors import CommitUnknown, ConstraintFailed, StoreError, StoreFull

if TYPE_CHECKING:
    from runtime.sim.engine import Engine
    from runtime.store.rows import Batch

GATE_PLACES: Final = 2
RESTART_S: Final = 1.0
SIMULATED: Final = "a simulated fault"


class Crashed(BaseException):
    """The owner is dead, at this point. Nothing of the kernel may catch it."""

    def __init__(self, point: str) -> None:
        super().__init__(point)
        self.point = point


class SimKernel(Kernel):
    """The kernel under virtual time."""

    async def pause(self, seconds: float) -> None:
        """Time passes when the engine says so."""
        await Step("pause", seconds)


class _Clock:
    """The engine's clock as the kernel asks for it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def now(self) -> float:
        return self._engine.now

    def start(self, not_before: float) -> None:
        pass  # virtual time never goes back

    def wake_at(self, due: float, wake: Callable[[], None]) -> Callable[[], None]:
        raise AssertionError("the engine looks at the timers itself")

    def idle(self) -> bool:
        return False


class _Log:
    """Nobody reads the log of a simulated owner."""

    def info(self, *_words: Any, **_facts: Any) -> None:
        pass

    warning = error = info


class Owner:
    """The owner that lives, or the next one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._commit: Coroutine[Any, Any, None] | None = None
        self._batch: Batch | None = None
        self._rising: SimKernel | None = None
        self._full_until = 0
        self._life = 0
        self.commit_at = 0  # the happening at which the open epoch is committed; 0: once it is calm

    @property
    def idle(self) -> bool:
        """Whether nothing is being committed."""
        return self._commit is None

    # --- birth -----------------------------------------------------------------------------------

    def boot(self, _: None) -> None:
        """A new owner reads the store back; it is there once what was left is reaped."""
        engine = self._engine
        store = engine.store
        store.take_over()
        self._life += 1
        engine.mark("boot", f"owner {store.owner_epoch}")
        if engine.recorder is not None:
            engine.recorder.outside("boot", "owner", "", f"epoch {store.owner_epoch}")
        kinds = {**engine.kinds, "creator": creator_kind()}
        kernel: Any = SimKernel(
            store,  # type: ignore[arg-type]  # the model has what the kernel asks of a store
            _Clock(engine),
            kinds,
            self._pass_by,
            _Log(),  # type: ignore[arg-type]  # likewise
        )
        kernel.router.ready = engine.pool
        kernel.router.taking = True
        furnish(kernel, GATE_PLACES, execute=True)
        kernel.turns.perform = self._perform
        kernel.turns.perform_user = engine.effects.perform
        self._rising = kernel
        if engine.fault("crash_in_recovery", "owner"):
            raise Crashed("crash_in_recovery")
        wait = engine.latency("recovery", "owner", 0.05) if store.owner_epoch > 1 else 0.0
        if wait:
            engine.later(wait, self._rise, self._life)
        else:
            self._rise(self._life)

    def _rise(self, life: int) -> None:
        if life != self._life:
            return
        engine, kernel = self._engine, self._rising
        assert kernel is not None
        cells, _unknown = engine.now_of(recovery.read_back(kernel))
        on_record = frozenset(cell.address for cell in cells if cell.kind.name == "uet_worker")
        undead = engine.processes.reap(on_record)
        if engine.fault("crash_in_recovery", "owner"):
            raise Crashed("crash_in_recovery")
        effects: Any = engine.effects
        engine.kernel, engine.owner = kernel, engine.store.owner_epoch
        engine.now_of(recovery.announce(kernel, cells, effects, undead))
        engine.observer.recovered()
        engine.scenario_began()

    # --- death -----------------------------------------------------------------------------------

    def die(self, point: str) -> None:
        """All that the owner had in memory is gone; another one comes."""
        engine = self._engine
        engine.mark("crash", point)
        if engine.recorder is not None:
            engine.recorder.outside("crash", "owner", engine.luck.last, point, fault=True)
        commit, self._commit = self._commit, None
        engine.kernel, engine.owner, self._rising = None, 0, None
        self._life += 1
        self.commit_at = 0
        engine.pool.clear()
        if commit is not None:
            commit.close()
        engine.processes.lose_owner()
        engine.effects.lose_owner()
        engine.sim.clients.lose_owner()
        engine.observer.crashed()
        engine.ends.owner_died()
        engine.later(RESTART_S + engine.latency("restart", "owner", 1.0), self.boot, None)

    def _pass_by(self, point: str) -> None:
        if point == "after_commit":
            self._engine.observer.committed()
        if self._engine.rates and self._engine.fault(f"crash_{point}", "owner"):
            raise Crashed(f"crash_{point}")

    # --- what there is to do ---------------------------------------------------------------------

    def go_on(self) -> bool:
        """Nothing is ready: what the driver would do next. False if there is nothing for now."""
        engine = self._engine
        kernel = engine.kernel
        if kernel is None:
            return False
        if kernel.router.absent:
            engine.now_of(kernel.read_absent())
            return True
        if self._commit is not None:
            kernel.book_ahead()
            return False
        if kernel.turns.open.dirty:
            self.begin_commit()
            return True
        kernel.turns.open.forget()
        if kernel.rollback.pending:
            kernel.rollback.offer_again()
            return True
        kernel.rest()
        if engine.observer.on_quiescent:
            engine.observer.quiescent()
        return False

    def begin_commit(self) -> None:
        """Seals the open epoch and gives it to the disk."""
        self.commit_at = 0
        kernel = self._engine.kernel
        if kernel is None or self._commit is not None or not kernel.turns.open.dirty:
            return
        self._commit = kernel.commit_open()
        self._resume(None)

    def _resume(self, trouble: StoreError | None) -> None:
        """The commit goes on until it waits again, or is over."""
        engine, commit = self._engine, self._commit
        assert commit is not None
        try:
            step = commit.send(None) if trouble is None else commit.throw(trouble)
        except StopIteration:
            self._commit = None
            self._plan_next()
            self._look_at_refusal()
            return
        except (RuntimeStopped, StoreError) as error:
            self._look_at_refusal()
            raise Crashed(f"stopped: {error}") from error
        if step.what == "pause":
            engine.later(step.detail, self._paused, self._life)
            return
        self._batch = step.detail
        wait = engine.latency("commit", "store", 0.002)
        if engine.fault("disk_slow", "store"):
            wait += 5.0
        engine.later(wait, self._written, self._life)

    def _look_at_refusal(self) -> None:
        """A store that refuses, and no fault made it: an actor decided what must not be."""
        engine = self._engine
        why, engine.store.refused = engine.store.refused, None
        if why is not None and SIMULATED not in why and not engine.observer.forgiving:
            engine.fail("the store takes what actors decide", why)

    def _plan_next(self) -> None:
        """The next epoch is committed once nothing is ready, or earlier."""
        engine = self._engine
        if engine.orders:
            value = engine.choices.among(f"order.commit/owner/{engine.store.commits}", 64, 0.5)
            self.commit_at = engine.n + value if value else 0

    def _paused(self, life: int) -> None:
        if life == self._life:
            self._resume(None)

    def _written(self, life: int) -> None:
        """The disk has answered."""
        if life != self._life:
            return
        engine, batch = self._engine, self._batch
        assert batch is not None
        assert engine.kernel is not None
        engine.mark("commit", "store")
        if engine.recorder is not None:
            engine.recorder.commit()
        if engine.rates and engine.fault("crash_in_commit", "store"):
            if engine.choices.below(f"written/store/{engine.store.commits}", 2):
                engine.store.write(batch)
            raise Crashed("crash_in_commit")
        self._resume(self._trouble(batch) if engine.rates else None)

    def _trouble(self, batch: Batch) -> StoreError | None:
        engine = self._engine
        if engine.fault("disk_full", "store"):
            self._full_until = engine.us + int((1.0 + engine.latency("full", "store", 30.0)) * 1e6)
        if engine.us < self._full_until:
            return StoreFull(PATH)
        if engine.fault("commit_lost", "store"):
            return CommitUnknown(PATH, SIMULATED)
        if engine.fault("commit_unknown", "store"):
            engine.store.write(batch)
            return CommitUnknown(PATH, SIMULATED)
        epoch = engine.kernel.in_flight if engine.kernel is not None else None
        # One that consumed a single input would make that input a dead letter: a loss on purpose.
        many = epoch is not None and len(epoch.consumed) > 1
        if many and engine.fault("constraint", "store"):
            return ConstraintFailed(SIMULATED, table="simulated")
        return None

    # --- what leaves the kernel ------------------------------------------------------------------

    def _perform(self, effect: Any) -> None:
        engine = self._engine
        if engine.rates and engine.fault("crash_between_effects", "owner"):
            raise Crashed("crash_between_effects")
        for watch in engine.observer.on_effect:
            watch(engine, effect)
        engine.processes.perform(effect)
