"""Shrinking: what is left out, what counts, and when it ends."""

from __future__ import annotations

from itertools import count

import msgspec

from runtime.sim.case import Case, Config, Failure, Result
from runtime.sim.shrink import Progress, extent_of, same_failure, shrink
from tests.sim.toy import BASE, Toy


def failing(toy: Toy | None = None) -> Result:
    toy = toy or Toy()
    for seed in count():
        result = toy.run(Case(toy.locator, seed, BASE))
        if result.failure is not None and len(result.choices) > 12:
            return result
    raise AssertionError


def test_a_case_is_left_with_the_one_fault_and_the_one_order_that_it_takes() -> None:
    shrunk = shrink(failing(), Toy().run)
    crash, order = sorted(shrunk.result.choices)
    assert crash.startswith("fault.crash/t")
    assert shrunk.result.choices == {crash: 1, "order/t0/1": 3}
    assert order == "order/t0/1"
    assert shrunk.pinned
    assert shrunk.whole


def test_kinds_of_faults_that_are_not_needed_are_no_longer_in_the_configuration() -> None:
    assert set(shrink(failing(), Toy().run).result.case.config.faults) == {"crash"}


def test_the_world_gets_smaller() -> None:
    shrunk = shrink(failing(), Toy().run)
    assert shrunk.result.failure is not None
    last = int(shrunk.result.failure.at)  # the task that crashes
    assert shrunk.result.case.config.sizes == {"tasks": last + 1}
    assert shrunk.before.sizes == {"tasks": 8}
    assert shrunk.after.events < shrunk.before.events


def test_the_run_is_cut_off_after_the_violation() -> None:
    shrunk = shrink(failing(), Toy().run).result
    assert shrunk.failure is not None
    assert shrunk.case.config.horizon_s == shrunk.failure.at + 1


def test_the_shrunk_case_holds_only_what_is_not_calm_and_that_the_rest_is() -> None:
    shrunk = shrink(failing(), Toy().run).result
    assert shrunk.case.overrides == {"*": 0, **shrunk.choices}


def test_a_fault_moves_to_the_first_occasion_at_which_it_still_does_harm() -> None:
    def third_or_later(case: Case, *, record: bool = False) -> Result:
        hits = {k: v for k, v in case.overrides.items() if k.startswith("fault.crash/owner/")}
        late = any(int(key.rpartition("/")[2]) >= 3 for key in hits)
        failure = Failure("p", "text", "p: text", 0.0, 1) if late else None
        return Result(case, failure, "", 1, 0.0, hits)

    first = third_or_later(
        Case("toy", 1, Config(faults={"crash": 0.1}), {"fault.crash/owner/37": 1})
    )
    assert shrink(first, third_or_later).result.choices == {"fault.crash/owner/3": 1}


def test_the_shrunk_case_fails_again_in_the_same_way() -> None:
    first = failing()
    again = Toy().run(shrink(first, Toy().run).result.case)
    assert same_failure(again, first)


def test_the_same_failing_case_is_shrunk_to_the_same_case() -> None:
    assert shrink(failing(), Toy().run).result == shrink(failing(), Toy().run).result


def test_a_case_that_fails_in_another_way_does_not_count() -> None:
    toy = Toy()
    first = failing()

    def another_bug_in_a_small_world(case: Case, *, record: bool = False) -> Result:
        result = toy.run(case, record=record)
        if result.failure is not None and case.config.sizes["tasks"] < 8:
            result.failure = msgspec.structs.replace(result.failure, signature="another")
        return result

    assert shrink(first, another_bug_in_a_small_world).result.case.config.sizes == {"tasks": 8}


def test_a_swarm_is_written_down_as_the_kinds_that_came() -> None:
    base = Config(faults={"swarm": 1.0}, sizes={"tasks": 30})
    toy = Toy()
    first = next(
        result
        for seed in count()
        if (result := toy.run(Case(toy.locator, seed, base))).failure is not None
    )
    assert set(shrink(first, toy.run).result.case.config.faults) == {"crash"}


def test_a_case_that_does_not_repeat_is_handed_back_as_it_was_and_said_to_be_unpinned() -> None:
    toy = Toy(mended=True)
    first = failing()
    shrunk = shrink(first, toy.run)
    assert not shrunk.pinned
    assert shrunk.result is first


def test_no_more_candidates_are_tried_than_allowed() -> None:
    toy = Toy()
    shrunk = shrink(failing(), toy.run, runs_max=7)
    assert shrunk.runs == len(toy.runs) == 7
    assert not shrunk.whole


def test_it_ends_when_the_time_is_up_with_the_smallest_so_far() -> None:
    ticks = count()
    shrunk = shrink(failing(), Toy().run, seconds_max=10, clock=lambda: float(next(ticks)))
    assert not shrunk.whole
    assert shrunk.result.failure is not None
    assert shrunk.runs <= 10


def test_no_candidate_is_run_twice() -> None:
    toy = Toy()
    shrink(failing(), toy.run)
    assert len({msgspec.json.encode(case) for case in toy.runs}) == len(toy.runs)


def test_progress_is_told_with_what_is_being_left_out() -> None:
    told: list[Progress] = []
    shrunk = shrink(failing(), Toy().run, say=told.append)
    assert [each.runs for each in told] == list(range(1, shrunk.runs + 1))
    assert {"all but faults", "faults", "tasks and workers"} <= {each.stage for each in told}
    assert told[-1].extent == extent_of(shrunk.result)
