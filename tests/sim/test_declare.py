"""`simulate` as a decorator and as a library, and scripts that are found by name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors import spec
from actors.effects import Reply
from actors.machine import Decision
from actors.messages import Message
from runtime import user_kind
from runtime.sim import Sim, SimulationFailed, SmallWorld, simulate, worlds
from runtime.sim.cases import BadCase
from runtime.sim.declare import of
from runtime.sim.pool import ScenarioRaised
from runtime.sim.proof import ProofFailed
from runtime.sim.script import BadScript, find, load

ROOT = Path(__file__).parents[2]


def one_task() -> spec.Plan:
    stream = spec.Workstream(tasks={"t": spec.Task(command=("true",))})
    return spec.Plan(run=spec.Run(name="r"), workstreams={"w": stream})


@simulate(seeds=5, faults={}, folder=None)
def it_ends(sim: Sim) -> None:
    run = sim.submit(one_task())
    sim.eventually("ended", lambda v: (r := v.run(run)) is not None and r.terminal)


@simulate(seeds=5, folder=None)
def it_never_begins(sim: Sim) -> None:
    sim.submit(one_task())
    sim.always("nothing runs", lambda v: not v.executing())


def undecorated(sim: Sim) -> None:
    sim.submit(one_task())


# --- the decorator --------------------------------------------------------------------------------


def test_a_decorated_function_is_called_without_arguments_and_passes() -> None:
    it_ends()


def test_one_that_fails_raises_the_whole_story() -> None:
    with pytest.raises(SimulationFailed) as failed:
        it_never_begins()
    assert "it_never_begins: always is broken at " in str(failed.value)
    assert "  nothing runs" in str(failed.value)
    assert failed.value.report.failures[0].failure.text == "nothing runs"


def test_it_keeps_its_name_and_its_words_but_not_its_argument() -> None:
    assert it_ends.__name__ == "it_ends"
    assert it_ends.__annotations__ == {"return": None}


def test_it_is_found_again_by_its_file_and_name() -> None:
    found = of(it_ends)
    assert found is not None
    assert found.locator == "tests/sim/test_declare.py::it_ends"


def test_a_world_is_set_up_before_the_function() -> None:
    order: list[str] = []

    @simulate(seeds=1, folder=None, world=lambda _sim: order.append("world"))
    def scenario(_sim: Sim) -> None:
        order.append("function")

    scenario()
    assert order[:2] == ["world", "function"]


def test_sizes_and_horizon_reach_the_run() -> None:
    seen: list[int] = []

    @simulate(seeds=1, folder=None, sizes={"tasks": 3}, horizon="1h")
    def scenario(sim: Sim) -> None:
        seen.append(sim.size("tasks", 99))

    scenario()
    assert set(seen) == {3}


@pytest.mark.parametrize("name", ["seed_count", "job"])
def test_an_option_that_does_not_exist_is_refused_with_those_that_do(name: str) -> None:
    with pytest.raises(TypeError, match=f"no '{name}'; it knows .*seeds"):
        simulate(**{name: 1})(undecorated)


def test_an_async_function_and_one_of_other_arguments_are_refused() -> None:
    async def later(sim: Sim) -> None: ...

    def more(sim: Sim, other: int) -> None: ...

    with pytest.raises(TypeError, match="async"):
        simulate(later)
    with pytest.raises(TypeError, match="must take one argument"):
        simulate(more)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="plain function"):
        simulate(3)  # type: ignore[call-overload]


class Count(Message, frozen=True):
    """Replies with how often it was asked."""


class Counter(msgspec.Struct, frozen=True):
    id: str
    count: int = 0


def count_on(counter: Counter, message: Count, _now: float) -> Decision[Counter]:
    more = msgspec.structs.replace(counter, count=counter.count + 1)
    return Decision(more, (), (Reply(min(more.count, 3)),))  # it cannot count further than 3


class Counting:
    """What a counter should be."""

    def initial(self, ref: str) -> int:
        return 0

    def step(self, state: int, message: Any) -> tuple[int, int]:
        return state + 1, state + 1


def counter_asked(times: int) -> Callable[[], None]:
    @simulate.model(Counting(), seeds=3, folder=None, faults={})
    def scenario(sim: Sim) -> None:
        sim.register(user_kind("counter", Counter, count_on, Count))
        ref = sim.spawn("counter", Counter("c"))
        for n in range(times):
            sim.ask(ref, Count(), at=2.0 + n)

    return scenario


def test_answers_are_held_against_a_reference_model() -> None:
    counter_asked(3)()
    with pytest.raises(SimulationFailed, match="reference model agrees is broken"):
        counter_asked(4)()


# --- the library ----------------------------------------------------------------------------------


def test_a_plain_function_is_explored_without_pytest_and_without_a_decorator() -> None:
    report = simulate.explore(undecorated, seeds=range(4), faults={}, folder=None)
    assert report.ok
    assert report.explored.runs == 4


def test_what_is_asked_of_a_call_is_asked_of_that_call_only() -> None:
    assert simulate.explore(it_ends, seeds=[7, 9]).explored.runs == 2
    found = of(it_ends)
    assert found is not None
    assert simulate.explore(it_ends).explored.runs == 5


def test_a_scenario_is_named_by_its_locator_too() -> None:
    report = simulate.explore("tests/sim/test_declare.py::it_ends", seeds="2")
    assert report.explored.runs == 2


def test_two_processes_come_to_what_one_comes_to() -> None:
    one = simulate.explore(it_ends, seeds=40)
    two = simulate.explore(it_ends, seeds=40, jobs=2)
    assert one.coverage == two.coverage
    assert one.explored.events == two.explored.events


def test_a_function_inside_another_runs_in_one_process_and_says_so() -> None:
    def inside(sim: Sim) -> None:
        sim.submit(one_task())

    report = simulate.explore(inside, seeds=3, jobs=2, folder=None, faults={})
    assert report.explored.runs == 3
    assert report.notes == ("one process only: another would not find a function inside another",)


def test_a_scenario_that_raises_is_told_with_its_line() -> None:
    def scenario(_sim: Sim) -> None:
        raise ValueError("no such plan")

    line = scenario.__code__.co_firstlineno + 1
    with pytest.raises(ScenarioRaised, match=rf"test_declare.py:{line}: ValueError: no such plan"):
        simulate.explore(scenario, seeds=1, folder=None)


def test_a_case_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadCase):
        simulate.explore(it_ends, case="nowhere.json")


def test_nothing_but_the_plugin_imports_pytest() -> None:
    found = [
        path.name
        for path in (ROOT / "runtime").rglob("*.py")
        if "import pytest" in path.read_text(encoding="utf-8")
    ]
    assert found == ["plugin.py"]


def test_the_package_is_imported_without_its_engine() -> None:
    program = "import runtime.sim.plugin, sys; print([m for m in sys.modules if 'sim.' in m])"
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "['runtime.sim.plugin']"


# --- proofs ---------------------------------------------------------------------------------------


def small() -> SmallWorld:
    world = SmallWorld()
    world.slots(1)
    world.submit(one_task_called())
    return world


def one_task_called() -> spec.Plan:
    stream = spec.Workstream(tasks={"t": spec.Task(call="f")})
    return spec.Plan(run=spec.Run(name="r"), workstreams={"w": stream})


def test_a_small_world_is_searched_whole() -> None:
    assert simulate.exhaustive(small()).complete


def test_a_decorated_proof_is_called_like_a_test() -> None:
    @simulate.exhaustive(crashes=1)
    def proven() -> SmallWorld:
        return small()

    proven()


def test_a_broken_promise_is_told_with_the_shortest_way_to_it() -> None:
    def never_completes(view: object) -> str | None:
        run = view.get("run:r")  # type: ignore[attr-defined]
        return "it has completed" if run is not None and run.state == "completed" else None

    @simulate.exhaustive()
    def proven() -> tuple[object, object]:
        return small(), never_completes

    with pytest.raises(ProofFailed, match="it has completed") as failed:
        proven()
    assert "#     1" in str(failed.value)


def test_a_search_that_a_bound_cut_off_proves_nothing() -> None:
    @simulate.exhaustive(depth_max=2)
    def proven() -> SmallWorld:
        return small()

    with pytest.raises(ProofFailed, match="not complete"):
        proven()


# --- scripts --------------------------------------------------------------------------------------


def script(folder: Path, text: str, name: str = "script.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


TWO = """
from runtime.sim import simulate

@simulate(seeds=3)
def first(sim): ...

@simulate
def second(sim): ...

def bare(sim): ...

def two(sim, more): ...
"""


def test_a_file_gives_its_simulations_in_the_order_they_are_written(tmp_path: Path) -> None:
    assert [each.name for each in find(script(tmp_path, TWO))] == ["first", "second"]


def test_one_of_them_is_chosen_by_name_also_an_undecorated_one(tmp_path: Path) -> None:
    path = script(tmp_path, TWO)
    assert load(f"{path}::second").name == "second"
    assert load(f"{path}::bare").name == "bare"


def test_a_file_is_imported_once(tmp_path: Path) -> None:
    path = script(tmp_path, TWO)
    assert find(path) == [find(f"{path}::first")[0], find(f"{path}::second")[0]]


def test_two_files_of_one_name_are_two(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, other = script(tmp_path, TWO), script(tmp_path / "other", TWO.replace("first", "third"))
    assert [each.name for each in find(one)] == ["first", "second"]
    assert [each.name for each in find(other)] == ["third", "second"]


def test_what_lies_beside_a_script_can_be_imported_by_it(tmp_path: Path) -> None:
    script(tmp_path, "PLAN = 3", "beside_the_script.py")
    assert find(script(tmp_path, "from beside_the_script import PLAN\n" + TWO, "near.py"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", "has no simulation"),
        ("def f(:\n  pass", r"bad\.py:1: SyntaxError"),
        ("\nimport nothing_of_this_name", r"bad\.py:2: ModuleNotFoundError"),
        ("\n\n1/0", r"bad\.py:3: ZeroDivisionError: division by zero"),
    ],
)
def test_a_bad_script_is_told_with_its_line(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(BadScript, match=says) as bad:
        find(script(tmp_path, text, "bad.py"))
    assert bad.value.cure


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadScript, match="there is no file"):
        find(str(tmp_path / "none.py"))
    with pytest.raises(BadScript, match="there is no module"):
        find("no_such_module_here:scenario")
    with pytest.raises(BadScript, match="has no simulation 'third'") as bad:
        find(f"{script(tmp_path, TWO)}::third")
    assert bad.value.cure == "it has: first, second"
    with pytest.raises(BadScript, match="must take one argument"):
        find(f"{script(tmp_path, TWO)}::two")


def test_a_ready_world_makes_a_scenario_by_itself() -> None:
    report = simulate.explore(worlds.pipeline(tasks=3, workers=2), seeds=4, folder=None)
    assert report.ok


def test_no_seeds_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="say 1 or more"):
        simulate(seeds=0)(lambda sim: None)
