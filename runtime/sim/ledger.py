"""A ready world: patches of every sort on their way to one target branch.

The patch machine, the run and its gates are the real ones. Modelled are git (`git`, `gitwork`), who
orders the queue (`landing`), people at the ledger, and others who commit to the same branch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from actors import messages as m
from actors import patch, spec
from actors import patch_messages as pm
from runtime.kinds import user_kind
from runtime.sim import landing
from runtime.sim.behaviour import Behaviour, Execution
from runtime.sim.git import TARGET, Commit, RefMove, Repository, Tree, tree_of
from runtime.sim.gitwork import Content, GitWork
from runtime.sim.ledger_promises import Gatings, Ledger

if TYPE_CHECKING:
    from runtime.sim.scenario import Sim

FILES: Final = {"a": "a0", "b": "b0", "c": "c0", "d": "d0"}
_SETTLED: Final = frozenset({"quarantined", "blocked"})
_POISON: Final = "poison"
_GATES: Final = {
    "lint": spec.Gate(type="LINT", command=("lint",), timeout_s=60.0),
    "unit": spec.Gate(command=("unit",), timeout_s=120.0),
    "sign": spec.Gate(type="SECURITY", approval=True),
}

# What patches are like: what each holds, its gates and its time are in `_made`.
_SORTS: Final = (
    "independent",
    "conflicting",
    "clashing",
    "poisoned",
    "hostile",
    "held",
    "expiring",
    "superseding",
    "ungated",
)


def passes(gate: str, tree: Tree) -> bool:
    """Whether the tree passes the gate: what is broken alone, or only together, does not."""
    files = dict(tree)
    if gate == "lint":
        return _POISON not in files.values()
    return not (files.get("c", "c0") != "c0" and files.get("d", "d0") != "d0")


class World:
    """One run's ledger, and all those around it."""

    def __init__(self, sim: Sim) -> None:
        self.sim = sim
        self.git = Repository(FILES, self._ref_moved)
        self.work = GitWork(sim, self.git, passes)
        self.gatings = Gatings(self.git)
        self._run = sim.submit(_plan())
        self._strangers = 0
        self._drawn = 0

    def _ref_moved(self, move: RefMove) -> None:
        self.sim.outside("ref", move.who, f"{move.ref} {move.old} {move.new}")

    def begin(self, patches: int) -> None:
        """Says what there is, and what happens when."""
        sim = self.sim
        self.work.register()
        sim.on_effect(landing.TIP, lambda _key, _payload, _again: self.git.tip)
        sim.register(user_kind("landing", landing.Landing, landing.decide, landing.Inbox))
        sim.spawn("landing", landing.Landing("main", window=sim.choose("window", (1, 2, 3))))
        sim.gate("lint", self._judges("lint"), duration_s=2)
        sim.gate("unit", self._judges("unit"), duration_s=5)
        sim.watch(self.gatings)
        sim.watch(Ledger(self.git, self.gatings, passes))
        for n in range(1, patches + 1):
            sort = sim.choose(f"sort {n}", _SORTS)
            self._announce(f"p{n}", sort, at=1.0 + 3.0 * n)
        for n in range(12):
            sim.at(5.0 + 9.0 * n).do(self._stranger)
        for n in range(10):
            sim.at(7.0 + 11.0 * n).do(self._person)
        for n in range(1, 40):
            sim.at(60.0 * n).do(self._look_after)

    def _judges(self, gate: str) -> Callable[[Execution], Behaviour]:
        """What a gate finds in the tree that stands on the integration ref as it begins."""

        def behave(execution: Execution) -> Behaviour:
            tree = self.gatings.tree_under(execution.id)
            found = tree is None or passes(gate, tree)
            return Behaviour(duration_s=2.0, exit_code=0 if found else 1)

        return behave

    # --- patches are filed -----------------------------------------------------------------------

    def _announce(self, name: str, sort: str, at: float) -> None:
        """The patch is filed then, or as soon as its run is there."""

        def file() -> None:
            if self._run.id is None:
                self.sim.at(1.0).do(file)
                return
            self._file(name, sort, self._run.id)

        self.sim.at(at).do(file)

    def _file(self, name: str, sort: str, run: str) -> None:
        content, gates, ttl_s = _made(name, sort)
        self.work.contents[f"content:{name}"] = content
        base = self.git.tip if self.sim.maybe(f"fresh base {name}", 0.5) else self.git.root
        seed = pm.PatchSeed(
            id=name,
            run_id=run,
            task_id=None,
            base_commit=base,
            content=f"content:{name}",
            patch=spec.Patch(gates=gates, ttl_s=ttl_s),
            told=(landing.QUEUE,),
        )
        value = patch.create(seed, self.sim.clock)
        self.sim.spawn("patch_ledger", value, m.Begin())
        if sort == "superseding" and name != "p1":
            older = f"p{int(name[1:]) - 1}"
            self._tell(older, pm.Supersede(name))

    def _tell(self, name: str, message: Any) -> None:
        if self.sim.view.find("patch_ledger", name):
            self.sim.ask(f"patch_ledger:{name}", message)

    # --- people ----------------------------------------------------------------------------------

    def _person(self) -> None:
        """Somebody at the ledger does something to a patch, at any moment."""
        self._drawn += 1
        known = [entity.value.id for entity in self.sim.view.all("patch_ledger")]
        verbs = (None, None, None, *_verbs())
        verb = self.sim.choose(f"verb {self._drawn}", verbs)
        if known and verb is not None:
            self._tell(self.sim.choose(f"whom {self._drawn}", known), verb)

    def _look_after(self) -> None:
        """Somebody comes by: what waits for a person goes on, and the run may end at last."""
        every = list(self.sim.view.all("patch_ledger"))
        for entity in every:
            waits = entity.paused or entity.troubles
            if waits and self.sim.view.healing and not entity.terminal:
                self._tell(entity.id, m.Resume("ann", "it is over"))
        filed = len(self.work.contents)
        settled = [e for e in every if e.terminal or e.state in _SETTLED]
        if filed and len(every) == filed == len(settled) and self.sim.view.now_s > 600:
            self.sim.at(0).command("approve", "gate:sign~1")

    # --- others who commit -----------------------------------------------------------------------

    def _stranger(self) -> None:
        git, sim = self.git, self.sim
        self._strangers += 1
        often = sim.maybe(f"stranger {self._strangers}", 0.15)
        if sim.fault("git_foreign", "target") or often:
            path = sim.choose(f"touches {self._strangers}", ("z", "a", "b"))
            files = {**dict(git.tree(git.tip)), path: f"foreign{self._strangers}"}
            git.force(TARGET, git.add(Commit(tree_of(files), git.tip)), "a stranger")
        below = git.objects[git.tip].parent
        if below is not None and sim.fault("git_rewound", "target"):
            git.force(TARGET, below, "a stranger")


def _made(name: str, sort: str) -> tuple[Content, tuple[str, ...], float | None]:
    """What a patch of this sort holds, its gates, and how long it lives."""
    gates: tuple[str, ...] = ("lint", "unit")
    ttl_s: float | None = 900.0
    content = Content({f"new-{name}": name})
    match sort:
        case "conflicting":
            content = Content({"a": name, f"new-{name}": name})
        case "clashing":
            content = Content({"c" if int(name[1:]) % 2 else "d": name})
        case "poisoned":
            content = Content({f"new-{name}": _POISON})
        case "hostile":
            content = Content({".git/hooks/x": name}, rejected=("unsafe_path",))
        case "held":
            content = Content({f"new-{name}": name}, held=("protected_path",))
        case "expiring":
            ttl_s = 12.0
        case "ungated":
            gates = ()
        case _:
            content = Content({f"new-{name}": name, "b": None} if name == "p3" else content.change)
    return content, gates, ttl_s


def _verbs() -> tuple[Any, ...]:
    by = ("ann", "because")
    undo = pm.Compensation("git_revert", ("lint", "unit"))
    return (
        pm.Rollback(*by),
        pm.Rollback(*by, plan=undo),
        pm.Rollback(*by, plan=undo),
        pm.Rollback(*by, plan=pm.Compensation("skip")),
        pm.Revalidate(*by),
        pm.RejectPatch(*by),
        pm.DropPatch(*by),
        pm.ApprovePatch(*by, names=()),
        m.Pause(*by),
        m.Resume(*by),
        m.Cancel("no longer wanted", "ann"),
        pm.Supersede("another"),
        *(m.Override(state, *by) for state in ("staged", "blocked", "quarantined", "dropped")),
    )


def _plan() -> spec.Plan:
    """A run that has the gates, and lasts until somebody signs."""
    tasks = {"out": spec.Task(call="work", gates=("sign",))}
    return spec.Plan(
        run=spec.Run(name="ledger"),
        workers={"local": spec.Pool(kind="inline", count=1)},
        gates=_GATES,
        workstreams={"main": spec.Workstream(tasks=tasks)},
    )


def ledger(patches: int = 5) -> Callable[[Sim], None]:
    """Patches that are independent, in conflict, bad, held, short of time or superseded, on one
    target that others commit to as well; people who roll back, reject, drop and override."""

    def world(sim: Sim) -> None:
        World(sim).begin(max(1, sim.size("patches", patches)))

    return world
