"""The rules between the fields of a plan, and the rings in what waits for what."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.spec import Gate, Plan, Pool, Restart, Run, Task, Workstream
from runtime.plan import Fault, Severity, validate
from runtime.plan.fault import Faults
from runtime.plan.graph import RINGS_MAX, rings
from runtime.plan.read import read
from runtime.plan.rules import DEFAULT_POOLS, apply_rules


def task(*depends_on: str, **more: object) -> Task:
    return Task(command=("true",), depends_on=depends_on, **more)  # type: ignore[arg-type]


def plan(workstreams: dict[str, Workstream | dict[str, Task]], **more: object) -> Plan:
    full = {
        name: w if isinstance(w, Workstream) else Workstream(tasks=w)
        for name, w in workstreams.items()
    }
    return Plan(run=Run(name="r"), workstreams=full, **more)  # type: ignore[arg-type]


def faults(given_plan: Plan, calls: Iterable[str] = ()) -> tuple[Fault, ...]:
    found = Faults()
    apply_rules(read(given_plan, found), found, frozenset(calls), DEFAULT_POOLS)
    return found.all()


def only(given_plan: Plan) -> tuple[str, str, str]:
    found = faults(given_plan)
    assert len(found) == 1, found
    return found[0].where, found[0].text, found[0].cure


# --- rings ------------------------------------------------------------------------------------


def test_tasks_that_wait_for_each_other_are_shown_as_a_ring() -> None:
    where, text, cure = only(plan({"w": {"a": task("b"), "b": task("c"), "c": task("a")}}))
    assert where == "workstreams.w.tasks.a.depends_on"
    assert text == "these wait for each other: w/a → w/b → w/c → w/a"
    assert cure == "remove one of these dependencies"


def test_a_task_that_waits_for_itself_is_refused() -> None:
    assert only(plan({"w": {"a": task("a")}}))[1] == "w/a waits for itself"
    assert only(plan({"w": {"a": task("w/a")}}))[1] == "w/a waits for itself"


def test_workstreams_that_wait_for_each_other_are_shown_as_a_ring() -> None:
    one = Workstream(depends_on=("two",), tasks={"t": task()})
    two = Workstream(depends_on=("one",), tasks={"t": task()})
    where, text, _ = only(plan({"one": one, "two": two}))
    assert where == "workstreams.one.depends_on"
    assert text.startswith("these wait for each other: workstream one → ")
    assert "workstream two" in text


def test_a_workstream_that_waits_for_itself_is_refused() -> None:
    itself = Workstream(depends_on=("one",), tasks={"t": task()})
    where, text, _ = only(plan({"one": itself}))
    assert where == "workstreams.one.depends_on"
    assert text == "workstream one waits for itself"


def test_a_task_that_waits_for_one_of_a_workstream_behind_its_own_is_refused() -> None:
    after = Workstream(depends_on=("first",), tasks={"late": task()})
    where, text, _ = only(plan({"first": {"early": task("after/late")}, "after": after}))
    assert where in {"workstreams.first.tasks.early.depends_on", "workstreams.after.depends_on"}
    names = text.removeprefix("these wait for each other: ").split(" → ")
    assert set(names) == {"first/early", "after/late", "workstream after", "workstream first"}
    assert names[0] == names[-1]


def test_a_task_may_wait_for_one_of_a_workstream_before_its_own() -> None:
    after = Workstream(depends_on=("first",), tasks={"late": task("first/early")})
    assert faults(plan({"first": {"early": task()}, "after": after})) == ()


def test_tasks_of_two_workstreams_may_wait_for_each_others_others() -> None:
    two_ways = plan({"a": {"x": task("b/x"), "y": task()}, "b": {"x": task(), "y": task("a/y")}})
    assert faults(two_ways) == ()


def test_gates_that_wait_for_each_other_are_shown_as_a_ring() -> None:
    gates = {
        "g": Gate(command=("x",), depends_on=("h",)),
        "h": Gate(command=("x",), depends_on=("g",)),
    }
    where, text, _ = only(plan({"w": {"t": task(gates=("g",))}}, gates=gates))
    assert where == "gates.g.depends_on"
    assert text == "these wait for each other: gate g → gate h → gate g"


def test_rings_that_share_nothing_are_all_found() -> None:
    tasks = {f"{side}{i}": task(f"{'ba'[side == 'b']}{i}") for i in range(5) for side in "ab"}
    assert len(faults(plan({"w": tasks}))) == 5


def test_what_only_waits_for_a_ring_is_not_part_of_it() -> None:
    tasks = {"a": task("b"), "b": task("a"), "c": task("a"), "d": task(), "e": task("d", "c")}
    assert only(plan({"w": tasks}))[1] == "these wait for each other: w/a → w/b → w/a"


def test_a_detour_is_left_out_of_a_ring() -> None:
    tasks = {f"t{i}": task(f"t{(i + 1) % 50}") for i in range(50)}
    tasks["t0"] = task("t1", "t49")
    assert only(plan({"w": tasks}))[1].count("→") == 2


def test_a_long_ring_is_cut_in_the_middle() -> None:
    tasks = {f"t{i}": task(f"t{(i + 1) % 500}") for i in range(500)}
    text = only(plan({"w": tasks}))[1]
    assert "… 488 more …" in text
    assert len(text) < 200


def test_a_plan_of_rings_alone_names_a_bounded_number() -> None:
    tasks = {f"t{i}": task(f"t{i}") for i in range(300)}
    assert len(list(rings(plan({"w": tasks})))) == RINGS_MAX


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=14))
def test_a_ring_is_told_exactly_when_no_order_of_the_tasks_exists(
    edges: list[tuple[int, int]],
) -> None:
    depends: dict[int, set[int]] = {i: set() for i in range(8)}
    for one, other in edges:
        depends[one].add(other)
    tasks = {f"t{i}": task(*(f"t{j}" for j in others)) for i, others in depends.items()}
    found = list(rings(plan({"w": tasks})))
    left = dict(depends)
    while free := [i for i, others in left.items() if not others & left.keys()]:
        for i in free:
            del left[i]
    assert bool(found) == bool(left)
    for ring in found:
        names = ring.text.removeprefix("these wait for each other: ").split(" → ")
        if "waits for itself" not in ring.text:
            numbers = [int(name.removeprefix("w/t")) for name in names]
            assert all(b in depends[a] for a, b in pairwise(numbers))


# --- names of other things --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "text", "cure"),
    [
        ("fetc", 'there is no task "fetc" in workstream "w"', "did you mean `fetch`?"),
        ("tool", 'there is no task "tool" in workstream "w"', "did you mean `prepare/tool`?"),
        ("prepare", 'there is no task "prepare" in workstream "w"', "that is a workstream:"),
        ("unit", 'there is no task "unit" in workstream "w"', "that is a gate: name it in `gates`"),
        ("zzz", 'there is no task "zzz" in workstream "w"', "name a task of this plan"),
        ("prepar/tool", 'there is no workstream "prepar"', "did you mean `prepare/tool`?"),
        ("prepare/tol", 'there is no task "tol" in workstream "prepare"', "`prepare/tool`?"),
        ("prepare/tool/x", 'there is no task "tool/x" in workstream "prepare"', "`prepare/tool`"),
        ("/", 'there is no workstream ""', "write workstream/task"),
        ("\x1b[2J", 'there is no task "\\x1b[2J" in', "name a task"),
    ],
)
def test_a_dependency_that_dangles_is_named_with_what_was_meant(
    reference: str, text: str, cure: str
) -> None:
    found = faults(
        plan(
            {"w": {"fetch": task(), "t": task(reference)}, "prepare": {"tool": task()}},
            gates={"unit": Gate(command=("x",))},
        )
    )[0]
    assert found.where == "workstreams.w.tasks.t.depends_on[0]"
    assert text in found.text
    assert cure in found.cure


@pytest.mark.parametrize(
    ("reference", "cure"),
    [
        ("prepar", "did you mean `prepare`?"),
        ("prepare/tool", 'write "prepare"'),
        ("own", "that is a task of this workstream"),
        ("zzz", "name a workstream of this plan"),
    ],
)
def test_a_workstream_that_waits_for_nothing_known_is_named(reference: str, cure: str) -> None:
    waiting = Workstream(depends_on=(reference,), tasks={"own": task()})
    where, text, told = only(plan({"w": waiting, "prepare": {"tool": task()}}))
    assert (where, text) == (
        "workstreams.w.depends_on[0]",
        f'there is no workstream "{reference}"',
    )
    assert cure in told


def test_a_task_named_twice_in_two_spellings_is_refused() -> None:
    where, text, _ = only(plan({"w": {"a": task(), "b": task("a", "w/a")}}))
    assert where == "workstreams.w.tasks.b.depends_on[1]"
    assert "with and without its workstream" in text


@pytest.mark.parametrize("key", ["gates", "validate"])
def test_a_gate_that_a_task_needs_and_nobody_defines_is_named(key: str) -> None:
    gates = {"unit": Gate(command=("x",))}
    found = faults(plan({"w": {"t": task(**{key: ("unti",)})}}, gates=gates))[0]
    assert found.where == f"workstreams.w.tasks.t.{key}[0]"
    assert (found.text, found.cure) == ('there is no gate "unti"', "did you mean `unit`?")


def test_gates_of_workstreams_and_of_gates_must_be_known_too() -> None:
    gates = {"g": Gate(command=("x",), depends_on=("nothing",))}
    found = faults(plan({"w": Workstream(gates=("g", "none"), tasks={"t": task()})}, gates=gates))
    assert {f.where for f in found} == {"gates.g.depends_on[0]", "workstreams.w.gates[1]"}


def test_a_gate_that_nothing_needs_is_a_warning() -> None:
    gates = {name: Gate(command=("x",)) for name in ("a", "b", "c", "d")}
    gates["c"] = Gate(command=("x",), depends_on=("d",))
    workstream = Workstream(gates=("c",), tasks={"t": task(validate=("a",))})
    found = faults(plan({"w": workstream}, gates=gates))
    assert [(f.where, f.severity) for f in found] == [("gates.b", Severity.WARNING)]


# --- who can run what -------------------------------------------------------------------------


def test_a_capability_that_no_pool_has_is_named_with_what_was_meant() -> None:
    pools = {"p": Pool(capabilities=("python3", "gpu"))}
    where, text, cure = only(plan({"w": {"t": task(requires=("gpu", "python"))}}, workers=pools))
    assert where == "workstreams.w.tasks.t.requires[1]"
    assert text == 'no pool has the capability "python"'
    assert cure == "did you mean `python3`?"


def test_a_plan_without_pools_has_no_capabilities() -> None:
    where, _, cure = only(plan({"w": {"t": task(requires=("gpu",))}}))
    assert where == "workstreams.w.tasks.t.requires[0]"
    assert cure == "add it to `capabilities` of a pool"


def test_capabilities_that_no_single_pool_has_together_are_refused() -> None:
    pools = {"p": Pool(capabilities=("a",)), "q": Pool(capabilities=("b",))}
    where, text, _ = only(plan({"w": {"t": task(requires=("a", "b"))}}, workers=pools))
    assert (where, text) == (
        "workstreams.w.tasks.t",
        "no single pool has all that this task requires",
    )


def test_a_workstream_that_no_able_pool_takes_is_refused() -> None:
    pools = {"p": Pool(affinity=("other",)), "q": Pool(capabilities=("x",), affinity=("w",))}
    assert faults(plan({"w": {"t": task()}, "other": {"t": task()}}, workers=pools)) == ()
    narrow = {"p": Pool(affinity=("other",))}
    text = only(plan({"w": {"t": task()}, "other": {"t": task()}}, workers=narrow))[1]
    assert "takes work of its workstream (`affinity`)" in text


def test_a_misspelt_affinity_is_one_fault_alone() -> None:
    pools = {"p": Pool(affinity=("biuld",))}
    where, text, cure = only(plan({"build": {"t": task(), "u": task()}}, workers=pools))
    assert where == "workers.p.affinity[0]"
    assert (text, cure) == ('there is no workstream "biuld"', "did you mean `build`?")


def test_a_command_needs_a_pool_of_processes() -> None:
    where, text, cure = only(plan({"w": {"t": task()}}, workers={"p": Pool(kind="inline")}))
    assert where == "workstreams.w.tasks.t"
    assert text == "a command runs in a process, and this task finds only inline pools"
    assert cure == 'add a pool to [workers] with kind = "process"'


def test_a_function_of_this_program_needs_an_inline_pool() -> None:
    local = plan({"w": {"t": Task(call="mine")}}, workers={"p": Pool()})
    assert "runs inline" in faults(local, calls=["mine"])[0].text
    inline = plan({"w": {"t": Task(call="mine")}}, workers={"p": Pool(kind="inline")})
    assert faults(inline, calls=["mine"]) == ()


def test_pools_of_too_many_slots_together_are_refused() -> None:
    pools = {f"p{i}": Pool(count=600) for i in range(2)}
    where, text, _ = only(plan({"w": {"t": task()}}, workers=pools))
    assert (where, text) == ("workers", "1200 slots in all pools together")


# --- the rest ---------------------------------------------------------------------------------


def test_a_call_that_names_no_function_is_refused() -> None:
    for call in ("json", "json:", "a b:c", "json:dumps()", "1:a", ":f", "a:b:c"):
        where, text, cure = only(plan({"w": {"t": Task(call=call)}}))
        assert where == "workstreams.w.tasks.t.call"
        assert text == f'"{call}" names no function'
        assert cure == 'write "package.module:function"'
    assert faults(plan({"w": {"t": Task(call="a.b:C.method")}})) == ()


def test_a_call_known_by_name_needs_no_module() -> None:
    named = plan({"w": {"t": Task(call="download")}})
    assert validate(named, frozenset({"download"})) == ()
    assert validate(named)[0].cure == 'write "package.module:function"'
    assert validate(named, frozenset({"downlod"}))[0].cure == "did you mean `downlod`?"


def test_a_backoff_above_its_cap_is_refused() -> None:
    where, text, _ = only(plan({"w": {"t": task(backoff_s=10.0, backoff_s_max=5.0)}}))
    assert (where, text) == (
        "workstreams.w.tasks.t.backoff_s",
        "10 is more than `backoff_s_max` (5)",
    )
    pools = {"p": Pool(restart=Restart(backoff_s=100.0))}
    assert only(plan({"w": {"t": task()}}, workers=pools))[0] == "workers.p.restart.backoff_s"


def test_a_backoff_may_be_as_long_as_its_cap() -> None:
    assert faults(plan({"w": {"t": task(backoff_s=5.0, backoff_s_max=5.0)}})) == ()


def test_an_exit_code_cannot_be_expected_and_a_reason_to_retry() -> None:
    both = task(max_retries=1, expected_exit_codes=(0, 2), retry_exit_codes=(1, 2))
    where, text, _ = only(plan({"w": {"t": both}}))
    assert (where, text) == (
        "workstreams.w.tasks.t.retry_exit_codes",
        "2 is an expected exit code too",
    )


@pytest.mark.parametrize(
    ("odd", "where", "text"),
    [
        (task(retry_exit_codes=(1,)), "retry_exit_codes", "there is no retry"),
        (task(timeout_s=9.0, total_timeout_s=5.0), "timeout_s", "longer than `total_timeout_s`"),
        (Task(command=("a", "&&", "b")), "command[1]", "no shell reads a command"),
    ],
)
def test_what_is_odd_is_a_warning(odd: Task, where: str, text: str) -> None:
    found = faults(plan({"w": {"t": odd}}))
    assert [(f.where, f.severity) for f in found] == [
        (f"workstreams.w.tasks.t.{where}", Severity.WARNING)
    ]
    assert text in found[0].text


def test_a_shell_word_in_the_command_of_a_gate_is_a_warning() -> None:
    gates = {"g": Gate(command=("make", "check", ">", "log"))}
    found = faults(plan({"w": Workstream(gates=("g",), tasks={"t": task()})}, gates=gates))
    assert [f.where for f in found] == ["gates.g.command[2]"]


def test_a_plan_that_skips_everything_is_a_warning() -> None:
    found = faults(plan({"w": Workstream(skip=True, tasks={"t": task()})}))
    assert [(f.text, f.severity) for f in found] == [
        ("every workstream is skipped", Severity.WARNING)
    ]


def test_tasks_whose_output_would_meet_in_one_file_are_refused() -> None:
    where, text, _ = only(plan({"a__b": {"c": task()}, "a": {"b__c": task()}}))
    assert where == "workstreams.a.tasks.b__c"
    assert text == "its output would go into the same file as that of a__b/c"
    meet = plan({"a_": {"b": task()}, "a": {"_b": task()}})
    assert any('"_b" cannot be a name' in f.text for f in faults(meet))


# --- a plan that a program built --------------------------------------------------------------


def test_a_value_is_held_to_the_rules_of_form_too() -> None:
    odd = Plan(
        run=Run(name="a b", priority=True),
        workers={"p": Pool(heartbeat_s=float("nan"))},
        workstreams={"w": Workstream(tasks={"t": Task(command="make", max_retries=-1)})},  # type: ignore[arg-type]
    )
    assert [f.where for f in validate(odd)] == [
        "run.name",
        "run.priority",
        "workers.p.heartbeat_s",
        "workstreams.w.tasks.t.command",
        "workstreams.w.tasks.t.max_retries",
    ]


def test_a_value_of_wrong_records_is_named_and_not_a_crash() -> None:
    odd = Plan(
        run=None,  # type: ignore[arg-type]
        gates={"g": None},  # type: ignore[dict-item]
        workstreams={7: Workstream(tasks=[1])},  # type: ignore[dict-item, arg-type]
    )
    found = {f.where: f.text for f in validate(odd)}
    assert found[""] == "there is no [run] table"
    assert found["gates.g"] == "expected a table, got nothing"
    assert found["workstreams.7"] == '"7" cannot be a name'
    assert found["workstreams.7.tasks"] == "expected a table, got a list"


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"a": object()}, "a Python object cannot be written as JSON"),
        ({"a": {1: 2}}, "1 is no text"),
        ({"a": "\ud800"}, "cannot be written as JSON"),
    ],
)
def test_arguments_of_a_value_that_json_cannot_carry_are_named(
    kwargs: dict[str, object], text: str
) -> None:
    odd = plan({"w": {"t": Task(call="json:dumps", kwargs=kwargs)}})
    assert text in only(odd)[1]


def test_arguments_that_contain_themselves_are_too_deep() -> None:
    loop: dict[str, object] = {}
    loop["loop"] = loop
    assert "nested deeper" in only(plan({"w": {"t": Task(call="json:dumps", kwargs=loop)}}))[1]


def test_a_command_of_half_characters_is_refused() -> None:
    half = plan({"w": {"t": Task(command=("echo", "\ud800"))}})
    assert "lone surrogate" in only(half)[1]


def test_a_value_may_name_its_base_dir() -> None:
    based = Plan(
        run=Run(name="r", base_dir="/"), workstreams={"w": Workstream(tasks={"t": task()})}
    )
    assert validate(based) == ()


def test_capabilities_of_an_unknown_owner_are_not_judged() -> None:
    needs = plan({"w": {"t": task(requires=("gpu",))}})
    assert validate(needs) == ()
    assert validate(needs, owner_pools={"p": Pool(capabilities=("gpu",))}) == ()
    assert "no pool has" in validate(needs, owner_pools={"p": Pool()})[0].text


def test_an_owner_without_any_pool_takes_no_plan_that_has_none() -> None:
    found = validate(plan({"w": {"t": task()}}), owner_pools={})
    assert [f.text for f in found] == ["there is no pool of workers to run it"]
