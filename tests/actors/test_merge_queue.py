"""The plan of a merge queue, fact by fact; the histories prove the whole."""

from __future__ import annotations

import msgspec
import pytest

from actors.merge_queue import (
    Attempt,
    Build,
    Built,
    Conclude,
    End,
    GateOutcome,
    Land,
    Plan,
    Queue,
    Staged,
    Standing,
    Start,
    Stop,
    Unfit,
    plan,
)

UNIT = ("unit",)


def patches(*names: str, gates: tuple[str, ...] = UNIT) -> tuple[Staged, ...]:
    return tuple(Staged(name, 1, gates) for name in names)


def chain(*names: str, base: str = "0") -> dict[tuple[str, str, int], Built | Unfit]:
    """The builds of patches on top of each other: the tree of a and b on 0 is 0ab."""
    builds: dict[tuple[str, str, int], Built | Unfit] = {}
    for name in names:
        builds[base, name, 1] = Built(base + name)
        base += name
    return builds


def running(*trees: str, gate: str = "unit", stopping: bool = False) -> tuple[Attempt, ...]:
    return tuple(Attempt(f"on {tree}", tree[-1], 1, (tree, gate), stopping) for tree in trees)


def said(outcome: GateOutcome, *trees: str) -> dict[tuple[str, str], GateOutcome]:
    return {(tree, "unit"): outcome for tree in trees}


PASSED, FAILED = GateOutcome.PASSED, GateOutcome.FAILED
ABC = Queue(tree="0", patches=patches("a", "b", "c"), window=3, builds=chain("a", "b", "c"))


def with_(**changes: object) -> Plan:
    return plan(msgspec.structs.replace(ABC, **changes))


def started(found: Plan) -> list[str]:
    return [start.tree for start in found.start]


# --- ahead of their turn --------------------------------------------------------------------------


def test_patches_are_gated_at_once_each_on_all_that_are_ahead_of_it() -> None:
    assert started(plan(ABC)) == ["0a", "0ab", "0abc"]


def test_no_more_start_than_the_window_has_places_for() -> None:
    assert started(with_(window=2)) == ["0a", "0ab"]


def test_an_attempt_that_was_told_to_stop_holds_its_place_until_it_is_dead() -> None:
    assert started(with_(attempts=running("0x", stopping=True))) == ["0a", "0ab"]


def test_what_runs_is_not_started_again() -> None:
    found = with_(attempts=running("0a", "0ab"))
    assert (started(found), found.stop) == (["0abc"], ())


def test_a_smaller_window_stops_nothing_and_starts_nothing() -> None:
    found = with_(window=1, attempts=running("0a", "0ab"))
    assert (found.start, found.stop) == ((), ())


def test_a_window_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one place"):
        with_(window=0)


def test_a_tree_that_nobody_has_built_is_asked_for_and_what_is_behind_it_waits() -> None:
    found = with_(builds=chain("a"))
    assert (found.build, started(found)) == (Build("b", 1, "0a"), ["0a"])


def test_a_gate_whose_result_is_hardly_of_use_does_not_start() -> None:
    unlikely = tuple(Staged(name, 1, UNIT, odds=0.6) for name in "abc")
    assert started(with_(patches=unlikely, worth=0.5)) == ["0a", "0ab"]


def test_a_position_that_passed_makes_what_is_behind_it_no_less_likely() -> None:
    unlikely = tuple(Staged(name, 1, UNIT, odds=0.6) for name in "abc")
    found = with_(patches=unlikely, worth=0.5, verdicts=said(PASSED, "0ab"))
    assert started(found) == ["0a", "0abc"]


def test_behind_a_slow_head_only_so_many_positions_hang_on_it() -> None:
    names = [chr(ord("a") + n) for n in range(20)]
    builds = chain(*names)
    trees = [built.tree for built in builds.values() if isinstance(built, Built)]
    queue = Queue(
        tree="0",
        patches=patches(*names),
        window=2,
        attempts=running("0a"),
        builds=builds,
        verdicts=said(PASSED, *trees[1:]),
    )
    assert len(plan(queue).positions) == 8


def test_failures_that_hang_on_a_slow_head_count_as_well() -> None:
    names = [chr(ord("a") + n) for n in range(20)]
    clash = Unfit(End.BLOCKED, ("conflict",))
    behind: dict[tuple[str, str, int], Built | Unfit] = {("0a", name, 1): clash for name in names}
    builds = {**behind, **chain("a")}
    found = plan(Queue(tree="0", patches=patches(*names), window=2, builds=builds))
    assert len(found.positions) == 8


def test_no_tree_is_built_that_no_place_is_left_to_gate() -> None:
    assert with_(window=1, builds=chain("a")).build is None


def test_no_tree_is_built_that_is_hardly_of_use() -> None:
    unlikely = tuple(Staged(name, 1, UNIT, odds=0.4) for name in "abc")
    assert with_(patches=unlikely, worth=0.5, builds=chain("a")).build is None
    passed = with_(patches=unlikely, worth=0.5, builds=chain("a"), verdicts=said(PASSED, "0a"))
    assert passed.build == Build("b", 1, "0a")


# --- a failure ahead ------------------------------------------------------------------------------


def test_a_failure_ahead_stops_what_was_built_on_it_and_parents_it_anew() -> None:
    builds = {**ABC.builds, **chain("b", "c")}
    found = with_(
        builds=builds, attempts=running("0ab", "0abc"), verdicts=said(FAILED, "0a"), window=4
    )
    assert found.stop == (Stop("on 0ab"), Stop("on 0abc"))
    assert started(found) == ["0b", "0bc"]


def test_a_failure_at_the_head_is_final() -> None:
    found = with_(verdicts=said(FAILED, "0a"))
    assert found.conclude == (Conclude("a", 1, End.QUARANTINED, ("gate_failed:unit",), "unit"),)


def test_a_failure_behind_an_open_head_is_not_final_yet_and_is_passed_by() -> None:
    builds = {**ABC.builds, **chain("c", base="0a")}
    found = with_(builds=builds, attempts=running("0a"), verdicts=said(FAILED, "0ab"))
    assert (found.conclude, started(found)) == ((), ["0ac"])


def test_a_failure_on_a_tree_that_did_not_come_to_be_is_forgotten() -> None:
    # b failed on top of a; a failed too: b has its turn on the committed tree.
    builds = {**ABC.builds, **chain("b")}
    found = with_(builds=builds, verdicts=said(FAILED, "0a", "0ab"))
    assert [end.patch for end in found.conclude] == ["a"]
    assert started(found) == ["0b"]


def test_a_failure_behind_what_is_landing_is_not_final_until_it_has_landed() -> None:
    verdicts = {**said(PASSED, "0a"), **said(FAILED, "0ab")}
    assert with_(verdicts=verdicts, landing="a").conclude == ()
    landed = patches("b", "c")
    assert [e.patch for e in with_(verdicts=verdicts, tree="0a", patches=landed).conclude] == ["b"]


def test_failures_in_a_row_at_the_head_are_final_together() -> None:
    builds = {**chain("a"), **chain("b"), **chain("c")}
    found = with_(builds=builds, verdicts=said(FAILED, "0a", "0b"))
    assert [end.patch for end in found.conclude] == ["a", "b"]


def test_until_a_new_tree_is_built_nothing_says_that_a_gate_behind_it_is_of_no_use() -> None:
    found = with_(attempts=running("0ab", "0abc"), verdicts=said(FAILED, "0a"))
    assert (found.build, found.stop) == (Build("b", 1, "0"), ())


def test_a_gate_whose_declared_inputs_a_failure_ahead_does_not_change_runs_on() -> None:
    builds = {
        ("0", "a", 1): Built("0a"),
        ("0a", "b", 1): Built("0ab", {"unit": "src 7"}),
        ("0", "b", 1): Built("0b", {"unit": "src 7"}),
    }
    attempt = Attempt("1", "b", 1, ("src 7", "unit"))
    found = with_(
        patches=patches("a", "b"), builds=builds, attempts=[attempt], verdicts=said(FAILED, "0a")
    )
    assert (found.stop, found.start) == ((), ())


def test_the_attempts_of_a_patch_that_was_withdrawn_are_stopped() -> None:
    found = with_(patches=patches("a"), attempts=running("0a", "0ab"))
    assert found.stop == (Stop("on 0ab"),)


# --- landing --------------------------------------------------------------------------------------


def test_the_head_lands_as_the_very_tree_that_passed() -> None:
    assert with_(verdicts=said(PASSED, "0a")).land == Land("a", 1, "0", "0a")


def test_what_passed_behind_an_open_head_waits_for_it() -> None:
    assert with_(verdicts=said(PASSED, "0ab", "0abc"), attempts=running("0a")).land is None


def test_one_lands_at_a_time() -> None:
    assert with_(verdicts=said(PASSED, "0a", "0ab"), landing="a").land is None


def test_what_lands_stays_ahead_of_a_patch_that_jumps_the_queue() -> None:
    found = with_(
        patches=patches("x", "a"), landing="a", builds=chain("a", "x"), verdicts=said(PASSED, "0a")
    )
    assert started(found) == ["0ax"]


def test_after_another_hand_moved_the_target_nothing_lands_on_the_old_base() -> None:
    found = with_(tree="1", verdicts=said(PASSED, "0a"))
    assert (found.land, found.build) == (None, Build("a", 1, "1"))


def test_a_patch_without_gates_lands_once_it_is_built() -> None:
    assert with_(patches=patches("a", gates=())).land == Land("a", 1, "0", "0a")


def test_a_tree_that_passed_before_is_not_gated_again() -> None:
    found = with_(verdicts=said(PASSED, "0ab"))
    assert started(found) == ["0a", "0abc"]


# --- neither pass nor fail ------------------------------------------------------------------------


def test_infrastructure_holds_the_patch_and_those_behind_go_past_it() -> None:
    found = with_(
        builds={**ABC.builds, **chain("b", "c")}, stalls=frozenset({("a", 1, ("0a", "unit"))})
    )
    assert found.conclude == (Conclude("a", 1, End.BLOCKED, ("infrastructure:unit",), "unit"),)
    assert started(found) == ["0b", "0bc"]


def test_a_verdict_goes_before_trouble() -> None:
    stalls = frozenset({("a", 1, ("0a", "unit"))})
    assert with_(stalls=stalls, verdicts=said(PASSED, "0a")).land is not None
    ends = with_(stalls=stalls, verdicts=said(FAILED, "0a")).conclude
    assert [end.end for end in ends] == [End.QUARANTINED]


def test_a_patch_that_was_released_is_gated_anew() -> None:
    released = (Staged("a", 2, UNIT),)
    found = with_(
        patches=released,
        builds={("0", "a", 2): Built("0a")},
        stalls=frozenset({("a", 1, ("0a", "unit"))}),
    )
    assert started(found) == ["0a"]


def test_a_conflict_with_a_neighbour_is_not_final_while_the_neighbour_is_open() -> None:
    clash = Unfit(End.BLOCKED, ("conflict",))
    builds = {**chain("a"), ("0a", "b", 1): clash, ("0a", "c", 1): Built("0ac")}
    found = with_(builds=builds)
    assert (found.conclude, started(found)) == ((), ["0a", "0ac"])
    assert found.positions[1].standing is Standing.FAILING


def test_a_conflict_with_what_is_committed_is_final() -> None:
    clash = Unfit(End.BLOCKED, ("conflict",))
    found = with_(builds={("0", "a", 1): clash})
    assert found.conclude == (Conclude("a", 1, End.BLOCKED, ("conflict",)),)


def test_judged_again_on_a_new_base_a_patch_may_be_rejected() -> None:
    found = with_(builds={("0", "a", 1): Unfit(End.QUARANTINED, ("too_large",))})
    assert found.conclude == (Conclude("a", 1, End.QUARANTINED, ("too_large",)),)


# --- several gates --------------------------------------------------------------------------------


def test_the_first_gate_in_order_that_does_not_pass_names_the_end() -> None:
    two = patches("a", gates=("lint", "unit"))
    found = with_(patches=two, verdicts=said(FAILED, "0a"))
    assert (found.conclude, found.start) == ((), (Start("a", 1, "0a", ("0a", "lint")),))
    both = {**said(FAILED, "0a"), ("0a", "lint"): FAILED}
    assert [end.gate for end in with_(patches=two, verdicts=both).conclude] == ["lint"]


def test_a_gate_behind_one_that_failed_is_stopped() -> None:
    two = patches("a", gates=("lint", "unit"))
    found = with_(patches=two, attempts=running("0a"), verdicts={("0a", "lint"): FAILED})
    assert found.stop == (Stop("on 0a"),)
